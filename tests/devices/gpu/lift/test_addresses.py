"""Every way in which lanes' addresses may lie, on both engines: memory, faults and counts."""

from __future__ import annotations

import pytest

from emu.devices.gpu.dispatch import GROUP_BASE, PRIVATE_BASE, FaultCode
from tests.devices.gpu.lanes import Bench
from tests.devices.gpu.lift.both import both

D = Bench.DATA
PATTERN = bytes(i * 7 & 0xFF for i in range(1 << 13))
RESULT = D + (1 << 14)
STRIDES = {"b": [0, 1, 3], "h": [2, -2], "w": [0, 4, -4, 12], "d": [8, 4, 40]}


def _kernel(width: str, stride: int, base: int, scramble: str = "") -> str:
    """Lane k loads at base + k * stride, leaves what it found, and stores one more there."""
    return f"""
        csrr t0, group_id_x; csrr t1, group_size_x; mul t0, t0, t1; csrr t1, local_id_x
        add t0, t0, t1; mv t2, t0; {scramble}
        li t3, {stride}; mul t2, t2, t3; li t3, {base}; add t2, t2, t3
        l{width} t4, 0(t2)
        slli t5, t0, 3; li t6, {RESULT}; add t5, t5, t6; sd t4, 0(t5)
        addi t4, t4, 1; s{width} t4, 0(t2); ret
    """


@pytest.mark.parametrize(("width", "stride"), [(w, s) for w, all_ in STRIDES.items() for s in all_])
@pytest.mark.parametrize("lanes", [64, 40])
def test_strides(width: str, stride: int, lanes: int) -> None:
    text = _kernel(width, stride, D + 4001)
    outcome, _ = both(text, {D: PATTERN}, grid=(lanes, 1, 1), workgroup=(lanes, 1, 1))
    assert outcome.fault is None


@pytest.mark.parametrize("width", "bhwd")
def test_scattered_addresses(width: str) -> None:
    """Some lanes have the same: the highest one's store stays."""
    scramble = "li t3, 37; mul t2, t2, t3; andi t2, t2, 31"
    outcome, _ = both(_kernel(width, 8, D, scramble), {D: PATTERN}, grid=(64, 1, 1))
    assert outcome.fault is None


def test_neighbours_in_an_order_that_only_the_run_shows() -> None:
    """A 32-bit index: its sum may wrap, so that nobody knows beforehand."""
    outcome, _ = both(_kernel("w", 4, D, "addiw t2, t2, 5"), {D: PATTERN}, grid=(64, 1, 1))
    assert outcome.fault is None


@pytest.mark.parametrize("width", "bw")
@pytest.mark.parametrize("base", [Bench.END - 100, Bench.CODE - 60, 1 << 63])
def test_lanes_beyond_memory(width: str, base: int) -> None:
    outcome, _ = both(_kernel(width, 4, base), grid=(96, 1, 1))
    assert outcome.fault is not None
    assert outcome.fault.code is FaultCode.LOAD_ADDRESS


@pytest.mark.parametrize("scramble", ["", "xori t2, t2, 1"])
def test_lanes_in_two_regions(scramble: str) -> None:
    """Half of the warp here, half there: one lane after the other."""
    text = f"""
        csrr t0, lane_id; mv t2, t0; {scramble}
        slli t3, t2, 3; li t1, {D}; andi t4, t0, 1; beqz t4, near; li t1, {Bench.FAR}
        near: add t3, t3, t1; ld t4, 0(t3); add t4, t4, t0; sd t4, 0(t3); ret
    """
    assert both(text, {D: PATTERN})[0].fault is None


@pytest.mark.parametrize("base", [GROUP_BASE + 4, PRIVATE_BASE + 8])
@pytest.mark.parametrize("stride", [0, 4])
def test_memory_of_the_group_and_of_the_lane(base: int, stride: int) -> None:
    """Equal addresses are one place in the group's memory, and 32 in the lanes' own."""
    text = _kernel("w", stride, base)
    sizes = {"group_size": 1024, "private_size": 1024}
    assert both(text, grid=(64, 1, 1), **sizes)[0].fault is None


def test_a_store_for_all_lanes_at_one_place_keeps_the_highest_lanes_value() -> None:
    text = "csrr t0, local_id_x; sw t0, 0(a0); lw t1, 0(a0); slli t0, t0, 2; add t0, t0, a0; " \
           "sw t1, 64(t0); ret"  # fmt: skip
    _, bench = both(text, workgroup=(48, 1, 1), grid=(48, 1, 1))
    assert bench.words(D + 64, 48) == [31] * 32 + [47] * 16


def test_a_square_workgroup() -> None:
    """Its warps are no rows, so that x and y are tables."""
    text = """
        csrr t0, local_id_x; csrr t1, local_id_y; csrr t2, local_id_z; csrr t3, group_id_y
        slli t4, t1, 3; add t4, t4, t0; slli t4, t4, 2; add t4, t4, a0
        slli t5, t3, 10; add t4, t4, t5; slli t6, t2, 8; add t4, t4, t6
        slli t1, t1, 8; or t0, t0, t1; sw t0, 0(t4); ret
    """
    both(text, grid=(8, 13, 3), workgroup=(8, 8, 2))
