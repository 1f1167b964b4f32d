"""Workgroups whose lanes exchange values through group memory, on both engines, against a model.

A program is a list of rounds. In each, every lane reads the slot of another one, combines what is
there with its own value, and after a barrier stores that in its own slot. A lane that goes on too
early, or sees what was stored too late, gives another number.
"""

from __future__ import annotations

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.devices.gpu.lanes import Bench
from tests.devices.gpu.lift.both import both

MASK = (1 << 64) - 1
Round = tuple[int, int, bool]
"""Factor and offset of the slot that is read, and whether odd lanes alone do the work of a round
(which parts the warps between barriers)."""
ROUNDS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 99), st.booleans()), max_size=5)


def kernel(rounds: list[Round]) -> str:
    """t0 is the lane's number, t1 how many lanes the group has in the grid, s1 its value, s2 its
    slot."""
    text = """
        csrr t0, local_id_x; csrr s0, group_id_x; csrr t1, group_size_x; mul s0, s0, t1
        csrr t2, grid_size_x; sub t2, t2, s0; minu t1, t1, t2; add s0, s0, t0
        slli s0, s0, 3; add s0, s0, a0; csrr s3, group_memory; csrr s4, group_warps
        addi s1, t0, 1; slli s2, t0, 3; add s2, s2, s3; sd s1, 0(s2); bar zero, s4
    """
    for i, (factor, offset, odd) in enumerate(rounds):
        text += f"""
            li t3, {factor}; mul t3, t3, t0; addi t3, t3, {offset}; remu t3, t3, t1
            slli t3, t3, 3; add t3, t3, s3; ld t4, 0(t3)
            {f"andi t5, t0, 1; beqz t5, L{i}" if odd else ""}
            slli t5, s1, 1; add s1, t5, t4
            L{i}: bar zero, s4; sd s1, 0(s2); bar zero, s4
        """
    return text + "sd s1, 0(s0); ret"


def model(rounds: list[Round], lanes: int) -> list[int]:
    """What the lanes of one group hold at the end."""
    values = list(range(1, lanes + 1))
    for factor, offset, odd in rounds:
        values = [
            own if odd and i % 2 == 0 else (2 * own + values[(factor * i + offset) % lanes]) & MASK
            for i, own in enumerate(values)
        ]
    return values


@settings(max_examples=4, phases=[Phase.generate])
@given(ROUNDS, st.sampled_from([1, 31, 32, 33, 64, 100, 256]), st.integers(1, 600))
def test_lanes_exchange_values(rounds: list[Round], group: int, grid: int) -> None:
    outcome, bench = both(
        kernel(rounds), grid=(grid, 1, 1), workgroup=(group, 1, 1), group_size=8 * group
    )
    assert outcome.fault is None
    sizes = [min(group, grid - first) for first in range(0, grid, group)]
    expected = [value for size in sizes for value in model(rounds, size)]
    assert bench.words(Bench.DATA, grid, 8) == expected
