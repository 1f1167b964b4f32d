"""Votes, shuffles, barriers and registers of lanes against plain models written here."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.devices.gpu.dispatch import GROUP_BASE, FaultCode
from emu.isa.csrs import LANE_CSRS
from tests.devices.gpu.lanes import Bench

LANES = 32
_VALUES = st.lists(st.integers(0, (1 << 64) - 1), min_size=LANES, max_size=LANES)
OWN = "csrr t0, lane_id; slli t6, t0, 4; add t6, t6, a0; ld a1, 0(t6); ld a2, 8(t6)"
"""Two doublewords of each lane in a1 and a2."""


def _each(instruction: str, first: list[int], second: list[int], part: int = LANES) -> list[int]:
    """The result, in a3, of an instruction that the lanes below `part` execute alone."""
    bench = Bench()
    pairs = zip(first, second, strict=True)
    bench.put(bench.DATA, b"".join(v.to_bytes(8, "little") for pair in pairs for v in pair))
    text = f"{OWN}; sltiu t1, t0, {part}; beqz t1, out; {instruction}; sd a3, 0(t6); out: ret"
    assert bench.run(text).fault is None
    return bench.words(bench.DATA, 2 * LANES, 8)[: 2 * part : 2]


VOTES: dict[str, Callable[[list[int]], int]] = {
    "all": lambda bits: int(0 not in bits),
    "any": lambda bits: int(1 in bits),
    "uni": lambda bits: int(min(bits) == max(bits)),
    "ballot": lambda bits: int("".join(map(str, reversed(bits))), 2),
}


@given(st.sampled_from(sorted(VOTES)), _VALUES, st.integers(1, LANES), st.sampled_from([0, 1, 2]))
def test_votes_count_bit_0_of_the_lanes_at_hand(
    kind: str, values: list[int], part: int, same: int
) -> None:
    if same:  # so that all and uni are seen to hold
        values = [value & ~1 | (same - 1) for value in values]
    expected = VOTES[kind]([value % 2 for value in values[:part]])
    assert _each(f"vote.{kind} a3, a1", values, values, part) == [expected] * part


def _shuffled(kind: str, values: list[int], packed: list[int], lanes: int) -> list[int]:
    """Vortex's rule, lane by lane: the part of the warp that a lane belongs to goes from its number
    with only the mask's bits to that with the bits of c filled in."""
    results = []
    for own in range(lanes):
        b, c, mask = (packed[own] // 64**i % 64 for i in range(3))
        lowest = own & mask
        highest = lowest | (c & (63 - mask))
        source = {"up": own - b, "down": own + b, "bfly": own ^ b, "idx": lowest | (b & 63 - mask)}[
            kind
        ]
        inside = source >= lowest if kind == "up" else source <= highest
        results.append(values[source if inside and 0 <= source < lanes else own])
    return results


@given(
    st.sampled_from(["up", "down", "bfly", "idx"]),
    _VALUES,
    st.lists(st.integers(0, (1 << 18) - 1), min_size=LANES, max_size=LANES),
    st.sampled_from([LANES, LANES, 20]),
)
def test_shuffles_follow_the_rule_of_parts(
    kind: str, values: list[int], packed: list[int], part: int
) -> None:
    got = _each(f"shfl.{kind} a3, a1, a2", values, packed, part)
    assert got == _shuffled(kind, values, packed, part)


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("up", lambda i: i - 3 if i % 8 >= 3 else i),
        ("down", lambda i: i + 3 if i % 8 + 3 < 8 else i),
        ("bfly", lambda i: i ^ 3),
        ("idx", lambda i: i // 8 * 8 + 3),
    ],
)
def test_shuffles_within_parts_of_eight(kind: str, source: Callable[[int], int]) -> None:
    values = [1000 + i for i in range(LANES)]
    packed = [3 | 7 << 6 | 0x38 << 12] * LANES
    expected = [1000 + source(i) for i in range(LANES)]
    assert _each(f"shfl.{kind} a3, a1, a2", values, packed) == expected


def test_lanes_may_exchange_in_place() -> None:
    values = list(range(LANES))
    packed = [1 | 31 << 6] * LANES
    assert _each("shfl.bfly a1, a1, a2; mv a3, a1", values, packed) == [i ^ 1 for i in range(LANES)]


# registers


@given(*[st.tuples(*[st.integers(1, 6)] * 3) for _ in range(2)])
def test_registers_say_where_a_lane_is(
    grid: tuple[int, int, int], workgroup: tuple[int, int, int]
) -> None:
    """Each work-item stores all of its registers at its place in the grid."""
    names = sorted(csr.name for csr in LANE_CSRS.values())
    reads = "; ".join(f"csrr t0, {name}; sd t0, {8 * i}(t6)" for i, name in enumerate(names))
    linear = "; ".join(
        f"csrr t1, group_id_{d}; csrr t2, group_size_{d}; mul t1, t1, t2; csrr t2, local_id_{d}; "
        f"add t1, t1, t2; csrr t2, grid_size_{d}; mul t6, t6, t2; add t6, t6, t1"
        for d in "zyx"
    )
    bench = Bench()
    text = f"li t6, 0; {linear}; slli t6, t6, 8; add t6, t6, a0; {reads}; ret"
    assert bench.run(text, grid=grid, workgroup=workgroup).fault is None
    groups = [-(-n // size) for n, size in zip(grid, workgroup, strict=True)]
    items = workgroup[0] * workgroup[1] * workgroup[2]
    for item in range(grid[0] * grid[1] * grid[2]):
        place = item % grid[0], item // grid[0] % grid[1], item // (grid[0] * grid[1])
        group = [p // size for p, size in zip(place, workgroup, strict=True)]
        local = [p % size for p, size in zip(place, workgroup, strict=True)]
        number = local[0] + workgroup[0] * (local[1] + workgroup[1] * local[2])
        seen = dict(zip(names, bench.words(bench.DATA + 256 * item, len(names), 8), strict=True))
        assert (seen["warp_id"], seen["lane_id"]) == divmod(number, LANES)
        assert seen["unit_id"] == (group[0] + groups[0] * (group[1] + groups[1] * group[2])) % 4
        assert (seen["warp_lanes"], seen["units"]) == (LANES, 4)
        assert seen["group_warps"] == -(-items // LANES)
        assert seen["group_memory"] == GROUP_BASE
        assert seen["lane_mask"] >> seen["lane_id"] & seen["warp_mask"] >> seen["warp_id"] & 1
        for axis, d in enumerate("xyz"):
            assert seen[f"group_id_{d}"] == group[axis]
            assert seen[f"local_id_{d}"] == local[axis]
            assert seen[f"group_size_{d}"] == workgroup[axis]
            assert seen[f"grid_size_{d}"] == grid[axis]


@pytest.mark.parametrize(
    "text",
    ["csrw lane_id, t0", "csrrsi t0, lane_id, 1", "csrrci t0, lane_id, 1", "csrrwi t0, units, 0",
     "csrr t0, 0xcc5", "csrr t0, cycle", "csrr t0, time", "csrr t0, fcsr", "csrr t0, mstatus"],
)  # fmt: skip
def test_lanes_have_no_other_registers_and_write_none(text: str) -> None:
    fault = Bench().run(text + "; ret").fault
    assert fault is not None
    assert fault.code is FaultCode.ILLEGAL_INSTRUCTION


# barriers

_AT = "csrr t0, local_id_x; csrr t1, group_memory; slli t2, t0, 2; add t2, t2, t1"


@pytest.mark.parametrize("items", [1, 31, 33, 100, 256, 1024])
def test_a_barrier_lets_every_warp_see_what_the_others_stored(items: int) -> None:
    """Each lane stores to group memory and reads what the lane at the other end stored; there are
    two rounds, so that the barrier is used again."""
    text = f"""
        {_AT}; sw t0, 0(t2)
        li a1, 0; csrr a2, group_warps; bar a1, a2
        li t3, {items - 1}; sub t3, t3, t0; slli t3, t3, 2; add t3, t3, t1; lw t4, 0(t3)
        bar a1, a2
        slli t4, t4, 1; sw t4, 0(t3)
        bar a1, a2
        lw t4, 0(t2); slli t0, t0, 2; add t0, t0, a0; sw t4, 0(t0); ret"""
    bench = Bench()
    outcome = bench.run(text, grid=(items, 1, 1), workgroup=(items, 1, 1), group_size=4 * items)
    assert outcome.fault is None
    assert outcome.counts.barriers == 3 * -(-items // 32)
    assert outcome.counts.group_bytes == 16 * items
    assert bench.words(bench.DATA, items) == [2 * i for i in range(items)]


def test_a_barrier_does_not_wait_for_warps_that_have_ended() -> None:
    text = "csrr t0, warp_id; bnez t0, end; li a2, 4; bar zero, a2; sw a2, 0(a0); end: ret"
    bench = Bench()
    assert bench.run(text, grid=(128, 1, 1), workgroup=(128, 1, 1)).fault is None
    assert bench.words(bench.DATA, 1) == [4]


def test_a_barrier_for_some_warps_lets_them_go_when_so_many_wait() -> None:
    """Warps 0 and 1 meet at barrier 5; warp 2 ends only when warp 0 has told it so."""
    text = """
        csrr t0, warp_id; li t1, 2; beq t0, t1, two
        li a1, 5; li a2, 2; bar a1, a2; li t2, 1; sw t2, 0(a0)
        two: li a1, 6; li a2, 3; bar a1, a2; lw t3, 0(a0)
        slli t0, t0, 3; add t0, t0, a0; sw t3, 8(t0); ret"""
    bench = Bench()
    assert bench.run(text, grid=(96, 1, 1), workgroup=(96, 1, 1)).fault is None
    assert bench.words(bench.DATA + 8, 3, 8) == [1, 1, 1]


def test_a_barrier_in_half_a_warp_is_a_fault() -> None:
    for text in ("beqz t1, .+8; bar zero, zero; ret", "split t2, t1; bar zero, zero; ret"):
        fault = Bench().run(f"csrr t0, lane_id; andi t1, t0, 1; {text}").fault
        assert fault is not None
        assert (fault.code, fault.lane) == (FaultCode.DIVERGED, 1)


def test_warps_that_wait_for_different_things_are_stopped() -> None:
    text = "csrr t0, warp_id; li a1, 8; bar t0, a1; ret"
    fault = Bench().run(text, grid=(64, 1, 1), workgroup=(64, 1, 1)).fault
    assert fault is not None
    assert fault.code is FaultCode.WATCHDOG


def test_shuffled_sum_of_a_warp() -> None:
    """The usual reduction by halves."""
    rng = random.Random(1)
    values = [rng.getrandbits(32) for _ in range(LANES)]
    step = "shfl.bfly t1, a1, t2; add a1, a1, t1"
    text = "; ".join(f"li t2, {n | 31 << 6}; {step}" for n in (16, 8, 4, 2, 1)) + "; mv a3, a1"
    assert _each(text, values, values) == [sum(values)] * LANES
