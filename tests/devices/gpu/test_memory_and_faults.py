"""What lanes reach, what they may execute, and how a dispatch that goes wrong ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.devices.gpu.dispatch import (
    GROUP_BASE,
    PRIVATE_BASE,
    Dispatch,
    Fault,
    FaultCode,
    KernelObject,
)
from emu.devices.gpu.simt import ReferenceEngine
from tests.devices.gpu.lanes import Bench

B = Bench
_SIZES = {"b": 1, "h": 2, "w": 4, "d": 8}
ENDS = {
    "near": (B.CODE, B.END),
    "far": (B.FAR, B.FAR + B.FAR_SIZE),
    "group": (GROUP_BASE, GROUP_BASE + 96),
    "private": (PRIVATE_BASE, PRIVATE_BASE + 48),
}
"""The first byte of each memory that there is, and the first behind it."""


def _fault(text: str, **where: object) -> Fault:
    outcome = Bench().run(text, **where)  # type: ignore[arg-type]
    assert outcome.fault is not None
    return outcome.fault


@given(
    st.sampled_from(sorted(ENDS)), st.booleans(), st.integers(-9, 9), st.sampled_from("bhwd"),
    st.booleans(),
)  # fmt: skip
def test_every_byte_of_an_access_must_be_there(
    name: str, at_end: bool, offset: int, width: str, stores: bool
) -> None:
    low, high = ENDS[name]
    address = (high if at_end else low) + offset
    inside = low <= address and address + _SIZES[width] <= high
    text = f"li t1, {address}; {'s' if stores else 'l'}{width} t2, 0(t1); ret"
    outcome = Bench().run(text, grid=(1, 1, 1), group_size=96, private_size=48)
    if inside:
        assert outcome.fault is None
    else:
        assert outcome.fault is not None
        code = FaultCode.STORE_ADDRESS if stores else FaultCode.LOAD_ADDRESS
        assert (outcome.fault.code, outcome.fault.address) == (code, address)


@pytest.mark.parametrize("address", [0, 8, B.END, B.FAR - 8, (1 << 64) - 8, (1 << 64) - 4])
@pytest.mark.parametrize("operation", ["amoadd.w t2, t2, (t1)", "amomaxu.w t2, t2, (t1)"])
def test_an_atomic_operation_is_a_store(address: int, operation: str) -> None:
    fault = _fault(f"li t1, {address}; {operation}; ret")
    assert (fault.code, fault.address) == (FaultCode.STORE_ADDRESS, address)


@pytest.mark.parametrize(("operation", "by"), [("amoadd.w", 2), ("amoswap.d", 4), ("amoor.d", 1)])
def test_a_misaligned_atomic_operation_is_a_fault(operation: str, by: int) -> None:
    fault = _fault(f"addi t1, a0, {by}; {operation} t2, t2, (t1); ret")
    assert (fault.code, fault.address) == (FaultCode.MISALIGNED_ATOMIC, B.DATA + by)


def test_misaligned_loads_and_stores_are_allowed() -> None:
    bench = Bench()
    text = "li t1, 0x1122334455667788; sd t1, 3(a0); lw t2, 5(a0); sw t2, 16(a0); ret"
    assert bench.run(text, grid=(1, 1, 1)).fault is None
    assert bench.words(B.DATA + 16, 1) == [0x33445566]


def test_a_fault_says_where_it_was_and_leaves_what_was_stored() -> None:
    """Lane 21 of warp 1 of the fifth group has no place to store to; lower lanes have stored."""
    text = f"""
        csrr t0, group_id_x; csrr t1, local_id_x; li t2, 4; li t3, 53; mv t4, a0
        bne t0, t2, on; bne t1, t3, on; li t4, {B.END}
        on: slli t5, t1, 2; beq t4, a0, .+8; li t5, 0; add t4, t4, t5; sw t1, 0(t4); ret"""
    bench = Bench()
    outcome = bench.run(text, grid=(640, 1, 1), workgroup=(64, 1, 1))
    assert outcome.fault is not None
    assert outcome.fault.code is FaultCode.STORE_ADDRESS
    assert (outcome.fault.address, outcome.fault.workgroup) == (B.END, (4, 0, 0))
    assert outcome.fault.lane == 53
    assert bench.words(outcome.fault.pc, 1) == [0x006EA023]  # sw t1, 0(t4)
    assert bench.words(B.DATA, 53) == list(range(53))


def test_group_memory_is_the_groups_and_private_memory_the_lanes() -> None:
    """Each lane of each group finds zeros in both, and its own number on its stack afterwards."""
    text = """
        csrr t0, local_id_x; csrr t1, group_id_x; csrr t2, group_memory
        slli t3, t0, 3; add t2, t2, t3; ld t4, 0(t2); addi t5, t0, 1; sd t5, 0(t2)
        ld t6, -8(sp); or t4, t4, t6; sd t5, -8(sp)
        li a1, 0; csrr a2, group_warps; bar a1, a2
        ld t6, -8(sp); sub t6, t6, t5; or t4, t4, t6
        csrr t6, group_size_x; mul t1, t1, t6; add t1, t1, t0; slli t1, t1, 3; add t1, t1, a0
        seqz t4, t4; sd t4, 0(t1); ret"""
    bench = Bench()
    sizes = {"group_size": 320, "private_size": 16}
    assert bench.run(text, grid=(120, 1, 1), workgroup=(40, 1, 1), **sizes).fault is None
    assert bench.words(B.DATA, 120, 8) == [1] * 120


def test_the_start_state_of_a_lane() -> None:
    """Registers but sp and a0 are zero; sp is the end of private memory."""
    integers = [f"x{i}" for i in range(1, 32) if i not in (2, 10)]
    text = "; ".join(f"or x31, x31, {x}" for x in integers)
    text += "; ".join(["", *(f"fmv.x.d x30, f{i}; or x31, x31, x30" for i in range(32))])
    bench = Bench()
    text += "; sd x31, 0(a0); sd sp, 8(a0); sd a0, 16(a0); ret"
    assert bench.run(text, private_size=64).fault is None
    assert bench.words(B.DATA, 3, 8) == [0, PRIVATE_BASE + 64, B.DATA]


def test_atomic_operations_go_lane_by_lane() -> None:
    text = "csrr t0, lane_id; li t1, 3; amoadd.w t2, t1, (a0); slli t0, t0, 2; add t0, t0, a0"
    bench = Bench()
    outcome = bench.run(f"{text}; sw t2, 4(t0); ret")
    assert bench.words(B.DATA, 33) == [96, *range(0, 96, 3)]
    assert (outcome.counts.bytes_loaded, outcome.counts.bytes_stored) == (128, 256)


@pytest.mark.parametrize(
    "text",
    ["lr.w t0, (a0)", "sc.d t0, t0, (a0)", "ecall", "ebreak", "c.ebreak", "mret", "sret", "wfi",
     "sfence.vma", "fence.i", "fadd.s fa0, fa0, fa0, 5", "fadd.d fa0, fa0, fa0, 6", "unimp"],
)  # fmt: skip
def test_what_only_a_hart_has_is_illegal(text: str) -> None:
    fault = _fault(f"nop; {text}; ret")
    assert (fault.code, fault.pc, fault.lane) == (FaultCode.ILLEGAL_INSTRUCTION, B.CODE + 4, 0)


def test_an_illegal_instruction_is_shown() -> None:
    assert _fault(b"\x13\x00\x00\x00\xff\xff\xff\xff").address == 0xFFFF_FFFF  # type: ignore[arg-type]
    assert _fault("ecall").address == 0x73


def test_fence_does_nothing() -> None:
    assert Bench().run("fence; fence rw, w; ret").fault is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("nop", B.CODE + 4),
        ("j .-4", B.CODE - 4),
        ("li t0, 0x80010000; jr t0", B.DATA),
        ("c.nop; c.nop; j .+6", B.CODE + 10),
        ("li t0, 2; jr t0", 2),
    ],
)
def test_code_ends_where_the_kernel_says(text: str, address: int) -> None:
    fault = _fault(text)
    assert (fault.code, fault.address, fault.pc) == (
        FaultCode.INSTRUCTION_ADDRESS, address, address,
    )  # fmt: skip


def test_an_instruction_that_is_cut_off_is_not_fetched() -> None:
    fault = _fault(b"\x01\x00\x13\x00")  # type: ignore[arg-type]
    assert (fault.code, fault.pc) == (FaultCode.INSTRUCTION_ADDRESS, B.CODE + 2)


def test_code_is_read_once() -> None:
    """A kernel that overwrites its own next instruction executes what stood there."""
    text = "auipc t0, 0; li t1, 0x73; sw t1, 12(t0); li t2, 9; sw t2, 0(a0); ret"
    bench = Bench()
    assert bench.run(text).fault is None
    assert bench.words(B.CODE + 12, 1) == [0x73]
    assert bench.words(B.DATA, 1) == [9]


@pytest.mark.parametrize("limit", [0, 1, 10, 1000])
def test_the_watchdog_stops_a_kernel_that_never_ends(limit: int) -> None:
    outcome = Bench().run("nop; j .", limit=limit)
    assert outcome.fault is not None
    assert outcome.fault.code is FaultCode.WATCHDOG
    assert outcome.counts.warp_instructions == limit


def test_the_watchdog_leaves_a_kernel_alone_that_ends_in_time() -> None:
    assert Bench().run("nop; nop; ret", limit=3).fault is None


def test_a_kernel_whose_code_is_not_in_memory_is_refused() -> None:
    engine, bench = ReferenceEngine(), Bench()
    for entry, size in ((B.END - 2, 4), (0, 2), (B.FAR + B.FAR_SIZE, 2), ((1 << 64) - 2, 2)):
        dispatch = Dispatch(KernelObject(entry, size), 0, (1, 1, 1), (1, 1, 1))
        outcome = engine.run(dispatch, bench.regions, 10)
        assert outcome.fault == Fault(FaultCode.BAD_KERNEL)


def test_a_packet_that_no_machine_can_run_is_refused() -> None:
    fault = _fault("ret", workgroup=(2000, 1, 1))
    assert fault == Fault(FaultCode.BAD_PACKET)


@given(st.tuples(*[st.integers(1, 7)] * 3), st.tuples(*[st.integers(1, 5)] * 3))
def test_every_work_item_of_the_grid_runs_once(
    grid: tuple[int, int, int], workgroup: tuple[int, int, int]
) -> None:
    linear = "; ".join(
        f"csrr t1, group_id_{d}; csrr t2, group_size_{d}; mul t1, t1, t2; csrr t2, local_id_{d}; "
        f"add t1, t1, t2; csrr t2, grid_size_{d}; mul t6, t6, t2; add t6, t6, t1"
        for d in "zyx"
    )
    bench = Bench()
    text = f"{linear}; slli t6, t6, 2; add t6, t6, a0; lw t0, 0(t6); addi t0, t0, 1; sw t0, 0(t6)"
    outcome = bench.run(f"{text}; ret", grid=grid, workgroup=workgroup)
    items = grid[0] * grid[1] * grid[2]
    assert outcome.fault is None
    assert bench.words(B.DATA, items + 1) == [1] * items + [0]
    assert outcome.counts.lane_instructions == items * 30
    assert (outcome.counts.bytes_loaded, outcome.counts.bytes_stored) == (4 * items, 4 * items)


@given(st.binary(min_size=2, max_size=200), st.integers(1, 40))
def test_any_bytes_are_a_kernel_that_ends(code: bytes, items: int) -> None:
    outcome = Bench().run(code, grid=(items, 1, 1), limit=300, private_size=64)
    assert outcome.counts.warp_instructions <= 300
