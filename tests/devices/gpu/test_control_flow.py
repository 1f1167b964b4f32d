"""Lanes that part and meet again: against a hart, which runs each lane's path alone, and rules of
masks one by one."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.bus import Bus
from emu.cpu.hart import Hart
from emu.cpu.reference import ReferenceEngine
from emu.devices.gpu.dispatch import FaultCode
from emu.memory import Memory
from tests.devices.gpu.lanes import Bench, assemble
from tests.devices.gpu.structured import VALUES, Node, blocks, text_of

OWN = "csrr t6, local_id_x; slli t6, t6, 6; add a0, a0, t6"
"""Makes a0 the address of the lane's own 64 bytes."""
LOAD = "; ".join(f"ld {register}, {8 * i}(a0)" for i, register in enumerate(VALUES))
STORE = "; ".join(f"sd {register}, {8 * i}(a0)" for i, register in enumerate(VALUES)) + "; ret"
LANES = 32


def on_harts(text: str, values: list[list[int]]) -> list[list[int]]:
    """Each lane's values after the program, computed by a hart."""
    code, data, end = Bench.CODE, Bench.DATA, Bench.CODE + 0x8000
    memory = Memory(code, 0x2_0000)
    hart = Hart(Bus(memory), memory)
    engine = ReferenceEngine(hart)
    program = assemble(f"{LOAD}\n{text}\n{STORE}", code)
    memory.view(code, len(program))[:] = program
    results = []
    for own in values:
        memory.view(data, 64)[:] = _block(own)
        hart.reset(code)
        hart.state.x[10], hart.state.x[1] = data, end
        while hart.state.pc != end:
            engine.step()
        block = bytes(memory.view(data, 64))
        results.append([int.from_bytes(block[8 * i : 8 * i + 8], "little") for i in range(6)])
    return results


def _block(values: list[int]) -> bytes:
    return b"".join(v.to_bytes(8, "little") for v in values) + bytes(16)


@given(blocks, st.integers(0, 1 << 32), st.booleans())
def test_every_lane_takes_its_own_way(block: tuple[Node, ...], seed: int, masks: bool) -> None:
    rng = random.Random(seed)
    values = [[rng.getrandbits(64) for _ in VALUES] for _ in range(LANES)]
    bench = Bench()
    bench.put(bench.DATA, b"".join(map(_block, values)))
    outcome = bench.run(f"{OWN}; {LOAD}\n{text_of(block, masks=masks)}\n{STORE}")
    assert outcome.fault is None
    got = [bench.words(bench.DATA + 64 * lane, len(VALUES), 8) for lane in range(LANES)]
    assert got == on_harts(text_of(block), values)


# how often the lanes execute, which says that they meet again


def _executed(text: str, **where: tuple[int, int, int]) -> tuple[int, int]:
    outcome = Bench().run(text, **where)
    assert outcome.fault is None
    return outcome.counts.warp_instructions, outcome.counts.lane_instructions


def test_lanes_meet_where_their_paths_do() -> None:
    """2 + 1 (16 lanes) + 1 (all) + 1 instructions."""
    text = "csrr t0, lane_id; sltiu t1, t0, 16; beqz t1, on; nop; on: nop; ret"
    assert _executed(text) == (6, 32 * 5 + 16)


def test_a_loop_runs_as_often_as_the_longest_lane_needs() -> None:
    text = "csrr t0, lane_id; again: addi t0, t0, -1; bgez t0, again; ret"
    assert _executed(text) == (1 + 2 * 32 + 1, 32 + 2 * sum(range(1, 33)) + 32)


def test_lanes_that_return_early_do_not_hold_up_the_others() -> None:
    text = "csrr t0, lane_id; bnez t0, on; ret; on: nop; ret"
    assert _executed(text) == (5, 32 + 32 + 1 + 31 + 31)


# masks


def _stored(body: str, grid: int = 32) -> list[int | None]:
    """What each lane leaves in its word: `body` sets t5 and stores it by `keep`; None if it never
    does."""
    bench = Bench()
    bench.put(bench.DATA, b"\xff" * 4 * 64)
    kernel = f"csrr t0, lane_id; csrr t6, local_id_x; slli t6, t6, 2; add t6, t6, a0\n{body}"
    outcome = bench.run(kernel, grid=(grid, 1, 1), workgroup=(64 if grid > 32 else 32, 1, 1))
    assert outcome.fault is None
    return [None if w == 0xFFFF_FFFF else w for w in bench.words(bench.DATA, grid)]


KEEP = "sw t5, 0(t6)"


def test_tmc_switches_lanes_off_and_on_again() -> None:
    body = (
        f"li t5, 1; {KEEP}; li t1, 5; tmc t1; li t5, 2; {KEEP}; li t1, 9; tmc t1; li t5, 3; {KEEP}"
    )
    assert _stored(f"{body}; ret") == [3, 1, 2, 3] + [1] * 28


def test_tmc_of_no_lane_ends_the_warp() -> None:
    assert _stored(f"li t5, 1; {KEEP}; tmc zero; li t5, 2; {KEEP}; ret") == [1] * 32


def test_tmc_does_not_start_lanes_beyond_the_grid() -> None:
    text = f"li t1, -1; tmc t1; csrr t5, lane_mask; {KEEP}; ret"
    assert _stored(text, grid=5) == [31] * 5


def test_split_that_parts_nobody_leaves_nothing_to_join() -> None:
    assert _stored(f"li t1, 1; split t2, t1; addi t5, t2, 7; join t2; {KEEP}; ret") == [7] * 32
    assert _stored(f"li t1, 0; split t2, t1; addi t5, t2, 7; join t2; {KEEP}; ret") == [7] * 32


def test_split_lets_the_lanes_with_the_condition_go_first() -> None:
    """A word in memory that both sides count up shows the order; then all go on."""
    body = f"""
        andi t1, t0, 1; split t2, t1
        lw t5, 512(a0); addi t5, t5, 1; sw t5, 512(a0)
        join t2; {KEEP}; ret"""
    assert _stored(body) == [2, 1] * 16


def test_negated_split_lets_the_others_go_first() -> None:
    body = f"""
        andi t1, t0, 1; split.n t2, t1
        lw t5, 512(a0); addi t5, t5, 1; sw t5, 512(a0)
        join t2; {KEEP}; ret"""
    assert _stored(body) == [1, 2] * 16


def test_all_lanes_are_active_behind_the_last_join() -> None:
    body = "andi t1, t0, 3; snez t1, t1; split t2, t1; nop; join t2; csrr t5, lane_mask"
    bench = Bench()
    assert bench.run(f"csrr t0, lane_id; {body}; sw t5, 0(a0); ret").fault is None
    assert bench.words(bench.DATA, 1) == [0xFFFF_FFFF]


def test_a_side_that_returns_leaves_the_rest_to_the_other() -> None:
    body = f"andi t1, t0, 1; split t2, t1; bnez t1, end; li t5, 4; join t2; {KEEP}; end: ret"
    assert _stored(body) == [4, None] * 16


def test_lanes_that_return_in_anothers_turn_are_not_waited_for() -> None:
    """The odd lanes switch the even ones on, which return; nobody is left to come to the join."""
    body = f"""
        andi t1, t0, 1; split t2, t1
        li t3, -1; tmc t3; bnez t1, on; jr zero
        on: li t5, 5; join t2; {KEEP}; ret"""
    assert _stored(body) == [None, 5] * 16


def test_a_mask_set_between_split_and_join_lasts_until_the_join() -> None:
    """Each side works with lanes 0 to 7; the rest begins behind the split wherever it has been, and
    behind the last join all lanes are there."""
    body = f"""
        andi t1, t0, 1; li t5, 1; split t2, t1
        li t3, 0xff; tmc t3; addi t5, t5, 1
        join t2; {KEEP}; ret"""
    assert _stored(body) == [3] * 8 + [1] * 24


def test_pred_keeps_lanes_until_none_is_left_then_brings_back_the_mask() -> None:
    """Lane i goes round i % 4 times; behind the loop all lanes are there."""
    body = f"""
        csrr s1, lane_mask; andi t1, t0, 3; li t5, 0
        again: snez t2, t1; pred t2, s1; beqz t1, out
        addi t5, t5, 10; addi t1, t1, -1; j again
        out: vote.ballot t3, s1; snez t3, t3; add t5, t5, t3; {KEEP}; ret"""
    assert _stored(body) == [10 * (i % 4) + 1 for i in range(32)]


def test_negated_pred_keeps_the_other_lanes() -> None:
    body = f"li t5, 1; {KEEP}; csrr s1, lane_mask; andi t1, t0, 1; pred.n t1, s1; li t5, 2; {KEEP}"
    assert _stored(f"{body}; ret") == [2, 1] * 16


def test_wspawn_starts_warps_when_the_others_have_ended() -> None:
    """Warp 1, which has ended, starts with one lane and then wakes the others."""
    body = f"""
        csrr t1, warp_id; beqz t1, first; tmc zero
        first: li t5, 1; {KEEP}; li t2, 2; lla t3, other; wspawn t2, t3; ret
        other: csrr t4, lane_mask; li t2, -1; tmc t2; addi t5, t4, 5; {KEEP}; ret"""
    body = body.replace("lla t3, other", "auipc t3, 0; addi t3, t3, 16")
    assert _stored(body, grid=64) == [1] * 32 + [6] + [5] * 31


def _nesting(depth: int) -> str:
    """Splits that take one lane away each, then the joins."""
    splits = "; ".join(f"sltiu t1, t0, {31 - i}; split s{i + 2}, t1" for i in range(depth))
    joins = "; ".join(f"join s{i + 2}" for i in reversed(range(depth)))
    return f"{splits}; addi t5, t5, 1; {joins}; {KEEP}; ret"


@pytest.mark.parametrize("depth", [1, 2, 9])
def test_splits_nest(depth: int) -> None:
    """Every lane comes by the innermost place once, and stores once."""
    assert _stored("li t5, 0; " + _nesting(depth)) == [1] * 32


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("li t1, 1; join t1; ret", FaultCode.ILLEGAL_INSTRUCTION),
        ("li t1, -1; join t1; ret", FaultCode.ILLEGAL_INSTRUCTION),
        ("csrr t0, lane_id; beqz t0, .+8; join zero; ret", FaultCode.DIVERGED),
    ],
)
def test_a_wrong_join_is_a_fault(text: str, code: FaultCode) -> None:
    fault = Bench().run(text).fault
    assert fault is not None
    assert fault.code is code


@pytest.mark.parametrize("text", ["tmc t0", "wspawn t0, t0", "split t1, t0", "pred t0, t0"])
def test_what_is_for_the_whole_warp_wants_all_active_lanes(text: str) -> None:
    bench = Bench()
    fault = bench.run(f"csrr t0, lane_id; beqz t0, .+8; {text}; ret").fault
    assert fault is not None
    assert (fault.code, fault.pc, fault.lane) == (FaultCode.DIVERGED, bench.CODE + 8, 1)


def test_splits_without_joins_end_in_a_fault() -> None:
    text = "li t2, -1; csrr t0, lane_id; again: tmc t2; split t1, t0; j again"
    fault = Bench().run(text).fault
    assert fault is not None
    assert fault.code is FaultCode.ILLEGAL_INSTRUCTION


# each branch and jump

_EDGES = [0, 1, 2, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


def _signed(value: int) -> int:
    return value - (value >> 63 << 64)


BRANCHES: dict[str, Callable[[int, int], bool]] = {
    "beq a1, a2": lambda a, b: a == b,
    "bne a1, a2": lambda a, b: a != b,
    "blt a1, a2": lambda a, b: _signed(a) < _signed(b),
    "bge a1, a2": lambda a, b: _signed(a) >= _signed(b),
    "bltu a1, a2": lambda a, b: a < b,
    "bgeu a1, a2": lambda a, b: a >= b,
    "c.beqz a1": lambda a, b: a == 0,
    "c.bnez a1": lambda a, b: a != 0,
}


@pytest.mark.parametrize("branch", BRANCHES)
def test_each_branch_is_taken_by_the_lanes_that_meet_its_condition(branch: str) -> None:
    pairs = [(a, b) for a in _EDGES for b in _EDGES][:LANES]
    bench = Bench()
    bench.put(bench.DATA, b"".join(_block([*pair, 0, 0, 0, 0]) for pair in pairs))
    text = f"{OWN}; ld a1, 0(a0); ld a2, 8(a0); {branch}, on; li t5, 1; on: sd t5, 16(a0); ret"
    assert bench.run(text).fault is None
    fell = [bench.words(bench.DATA + 64 * lane + 16, 1, 8)[0] for lane in range(LANES)]
    assert fell == [int(not BRANCHES[branch](*pair)) for pair in pairs]


@pytest.mark.parametrize(
    ("call", "size"),
    [("jal t1, on", 4), ("jalr t1, 0(t2)", 4), ("jalr t1, 1(t2)", 4), ("c.jalr t2", 2)],
)
def test_a_call_leaves_its_return_address_and_lanes_return_by_it(call: str, size: int) -> None:
    """The auipc stands 8 bytes before the call; what is called, 4 bytes behind that."""
    link = "ra" if call.startswith("c.") else "t1"
    bench = Bench()
    text = f"auipc t3, 0; addi t2, t3, {12 + size}; {call}; addi t5, t5, 1; on: addi t5, t5, 2"
    text += f"; sub {link}, {link}, t3; sd {link}, 0(a0); sd t5, 8(a0); jr zero"
    assert bench.run(text).fault is None
    assert bench.words(bench.DATA, 2, 8) == [8 + size, 2]


def test_lanes_jump_to_addresses_of_their_own() -> None:
    """Lane i jumps over i instructions that count."""
    text = f"""
        csrr t0, lane_id; {OWN}; li t5, 0
        auipc t1, 0; slli t2, t0, 2; add t1, t1, t2; jalr zero, 16(t1)
        {"; ".join(["addi t5, t5, 1"] * 31)}
        sd t5, 0(a0); ret"""
    bench = Bench()
    assert bench.run(text).fault is None
    counted = [bench.words(bench.DATA + 64 * lane, 1, 8)[0] for lane in range(LANES)]
    assert counted == [31 - lane for lane in range(LANES)]
