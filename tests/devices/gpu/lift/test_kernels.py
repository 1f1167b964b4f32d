"""Kernels as programs write them, on both engines."""

from __future__ import annotations

import struct

import pytest

from emu.devices.gpu.dispatch import Fault, FaultCode
from emu.devices.gpu.lift import engine
from tests.devices.gpu.lanes import Bench
from tests.devices.gpu.lift.both import ENGINE, both

D = Bench.DATA
GLOBAL_ID = """
    csrr t0, group_id_x; csrr t1, group_size_x; mul t0, t0, t1; csrr t1, local_id_x; add t0, t0, t1
"""
SAXPY = f"""
    {GLOBAL_ID}
    ld a1, 0(a0); ld a2, 8(a0); ld a3, 16(a0); flw fa0, 24(a0)
    bgeu t0, a3, end
    slli t0, t0, 2; add a1, a1, t0; add a2, a2, t0
    flw fa1, 0(a1); flw fa2, 0(a2); fmadd.s fa2, fa0, fa1, fa2; fsw fa2, 0(a2)
    end: ret
"""


@pytest.mark.parametrize(("items", "group"), [(1000, 64), (64, 64), (33, 32), (100, 10)])
def test_saxpy(items: int, group: int) -> None:
    x, y = range(items), [3 * i for i in range(items)]
    data = {
        D: struct.pack("<QQQf", D + 0x1000, D + 0x8000, items, 2.5),
        D + 0x1000: struct.pack(f"<{items}f", *x),
        D + 0x8000: struct.pack(f"<{items}f", *y),
    }
    grid = -(-items // group) * group
    outcome, bench = both(SAXPY, data, grid=(grid, 1, 1), workgroup=(group, 1, 1))
    assert outcome.fault is None
    result = struct.unpack(f"<{items}f", bench.bytes(D + 0x8000, 4 * items))
    assert result == tuple(2.5 * a + b for a, b in zip(x, y, strict=True))


SUM = f"""
    {GLOBAL_ID}
    csrr s0, group_memory; csrr s1, local_id_x; csrr s2, group_warps; li s3, 128
    slli t2, t0, 3; add t2, t2, a0; ld t3, 0(t2)
    slli t4, s1, 3; add t4, t4, s0; sd t3, 0(t4)
    again: srli s3, s3, 1
    bar zero, s2
    beqz s3, done
    bgeu s1, s3, meet
    slli t5, s3, 3; add t5, t5, t4; ld t6, 0(t5); ld t3, 0(t4); add t3, t3, t6; sd t3, 0(t4)
    meet: j again
    done: bnez s1, end
    csrr t0, group_id_x; slli t0, t0, 3; add t0, t0, a0; ld t3, 0(s0); li t1, 4096
    add t0, t0, t1; sd t3, 0(t0)
    end: ret
"""


def test_a_grid_that_nobody_could_finish_is_refused() -> None:
    """Its work-items cannot even be counted in a word."""
    most = (1 << 32) - 1
    outcome, _ = both("ret", grid=(most, most, most), workgroup=(1024, 1, 1))
    assert outcome.fault == Fault(FaultCode.BAD_PACKET)


def test_a_sum_in_group_memory_meets_at_barriers() -> None:
    """Lanes part at the loop's head, and all meet at the barrier of the next round."""
    words = [i * i for i in range(256)]
    data = {D: struct.pack("<256Q", *words)}
    outcome, bench = both(SUM, data, grid=(256, 1, 1), workgroup=(128, 1, 1), group_size=1024)
    assert outcome.fault is None
    assert outcome.counts.barriers == 2 * 4 * 8
    assert bench.words(D + 4096, 2, 8) == [sum(words[:128]), sum(words[128:])]


CALLS = f"""
    {GLOBAL_ID}
    addi sp, sp, -16; sd ra, 0(sp); sd s0, 8(sp)
    slli s0, t0, 3; add s0, s0, a0; ld a1, 0(s0)
    andi t1, a1, 1; beqz t1, even
    jal ra, triple
    j meet
    even: jal ra, halve
    meet: jal ra, triple
    sd a1, 0(s0); ld ra, 0(sp); ld s0, 8(sp); addi sp, sp, 16; ret
    triple: addi sp, sp, -16; sd ra, 0(sp); slli t1, a1, 1; add a1, a1, t1; jal ra, halve
    ld ra, 0(sp); addi sp, sp, 16; ret
    halve: srli a1, a1, 1; ret
"""


def test_calls_from_parted_lanes_return_to_each_ones_caller() -> None:
    words = list(range(100, 164))
    data = {D: struct.pack("<64Q", *words)}
    outcome, bench = both(CALLS, data, grid=(64, 1, 1), private_size=64)
    assert outcome.fault is None

    def triple(n: int) -> int:
        return n * 3 >> 1

    expected = [triple(triple(n) if n & 1 else n >> 1) for n in words]
    assert bench.words(D, 64, 8) == expected


def test_a_histogram_counts_by_atomic_operations() -> None:
    text = f"""
        {GLOBAL_ID}
        add t1, a0, t0; lbu t2, 0(t1); andi t2, t2, 7; slli t2, t2, 2; add t2, t2, a0
        li t3, 1; amoadd.w t4, t3, (t2)
        slli t0, t0, 2; add t0, t0, a0; sw t4, 256(t0); ret
    """
    data = {D: bytes(i * i % 251 for i in range(128))}
    outcome, _ = both(text, data, grid=(128, 1, 1), workgroup=(64, 1, 1))
    assert outcome.fault is None
    assert outcome.counts.bytes_stored == 128 * 8


@pytest.mark.parametrize("stores", [False, True])
def test_a_fault_in_the_middle_of_a_warp(stores: bool) -> None:
    """Lane 21 of the second warp leaves memory; what lanes stored before it stays."""
    access = "sd t0, 0(t1)" if stores else "ld t2, 0(t1); sd t2, 8(a0)"
    text = f"""
        {GLOBAL_ID}
        slli t1, t0, 3; li t2, {Bench.END - 8 * 53}; add t1, t1, t2; sd t0, 16(a0); {access}; ret
    """
    outcome, _ = both(text, grid=(64, 1, 1), workgroup=(64, 1, 1))
    assert outcome.fault is not None
    assert outcome.fault.lane == 53


def test_private_memory_is_every_lanes_own() -> None:
    """A table on the stack, indexed by the lane: written whole, read at one place."""
    text = f"""
        {GLOBAL_ID}
        addi sp, sp, -64; mv t1, sp; li t2, 8
        fill: mul t3, t0, t2; sw t3, 0(t1); addi t1, t1, 4; addi t2, t2, -1; bnez t2, fill
        andi t4, t0, 7; slli t4, t4, 2; add t4, t4, sp; lw t5, 0(t4); lhu t6, 2(sp)
        slli t0, t0, 3; add t0, t0, a0; sw t5, 0(t0); sw t6, 4(t0); addi sp, sp, 64; ret
    """
    both(text, grid=(96, 1, 1), private_size=64)


def test_a_barrier_that_a_part_of_the_warp_reaches_is_a_fault() -> None:
    outcome, _ = both(SUM.replace("s3, meet", "s3, again"), workgroup=(128, 1, 1), grid=(128, 1, 1),
                      group_size=1024)  # fmt: skip
    assert outcome.fault is not None
    assert outcome.fault.code is FaultCode.DIVERGED


def test_warps_that_wait_for_nothing_are_stopped() -> None:
    """Each warp waits at a barrier of its own for one more."""
    outcome, _ = both("csrr t0, warp_id; li t1, 2; bar t0, t1; ret", workgroup=(64, 1, 1),
                      grid=(64, 1, 1))  # fmt: skip
    assert outcome.fault is not None
    assert outcome.fault.code is FaultCode.WATCHDOG


@pytest.mark.parametrize("text", ["tmc t0; ret", "fadd.s fa0, fa0, fa0, rtz; ret", "jr a0"])
def test_what_is_not_lifted_is_executed_all_the_same(text: str) -> None:
    both(text, lifts=False)


def test_a_refused_kernel_that_never_ends_is_stopped_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "REFERENCE_LIMIT", 1000)
    outcome = Bench(ENGINE).run("li t0, -1; tmc t0; j .", limit=1 << 40)
    assert outcome.fault is not None
    assert outcome.fault.code is FaultCode.WATCHDOG
    assert outcome.counts.warp_instructions == 1000


def test_a_stack_that_private_memory_has_no_room_for_is_a_fault_where_it_is_accessed() -> None:
    """The second of two places lies below private memory."""
    text = f"{GLOBAL_ID} addi sp, sp, -32; sd t0, 24(sp); sd t0, 0(a0); sd t0, 8(sp); ret"
    outcome, _ = both(text, grid=(64, 1, 1), private_size=16)
    assert outcome.fault is not None
    assert outcome.fault.code is FaultCode.STORE_ADDRESS
    assert both(text, grid=(64, 1, 1), private_size=32)[0].fault is None


@pytest.mark.parametrize("size", ["s", "d"])
def test_signs_of_nans_that_arithmetic_gave(size: str) -> None:
    """0 / 0 is canonical; negated, it has a sign; of absolute value, none. Then they are stored."""
    text = f"""
        {GLOBAL_ID}
        slli t0, t0, 6; add t0, t0, a0; fmv.{"w" if size == "s" else "d"}.x fa0, zero
        fdiv.{size} fa0, fa0, fa0; fneg.{size} fa1, fa0; fabs.{size} fa2, fa1; fmv.{size} fa3, fa1
        fsd fa0, 0(t0); fsd fa1, 8(t0); fsd fa2, 16(t0); fsd fa3, 24(t0)
        fneg.{size} fa4, fa1; fadd.{size} fa5, fa1, fa4; fsd fa4, 32(t0); fsd fa5, 40(t0)
        fld fa6, 0(t0); fdiv.{size} fa6, fa6, fa6; fneg.{size} fa6, fa6; fabs.{size} fa7, fa6
        fsd fa6, 48(t0); fsd fa7, 56(t0); ret
    """
    assert both(text)[0].fault is None
