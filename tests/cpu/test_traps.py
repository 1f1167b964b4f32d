"""Traps, delegation, returns and interrupts, as the privileged specification has them."""

from __future__ import annotations

import pytest

from emu.isa.causes import Cause, Interrupt
from tests.cpu.machines import BASE, HANDLER, Board

U, S, M = 0, 1, 3
MIE, MPIE, SPP, SIE, SPIE = 1 << 3, 1 << 7, 1 << 8, 1 << 1, 1 << 5
TSR, TW, TVM, MPRV = 1 << 22, 1 << 21, 1 << 20, 1 << 17


@pytest.fixture
def board() -> Board:
    board = Board()
    board.open_memory()
    return board


@pytest.mark.parametrize(
    ("priv", "cause"), [(U, Cause.ECALL_U), (S, Cause.ECALL_S), (M, Cause.ECALL_M)]
)
def test_ecall_tells_the_mode_it_comes_from(board: Board, priv: int, cause: Cause) -> None:
    board.enter(priv)
    board.run("ecall")
    assert (board["mcause"], board["mepc"], board["mtval"]) == (cause, BASE, 0)
    assert board.hart.state.pc == HANDLER
    assert board["mstatus"] >> 11 & 3 == priv
    assert board.hart.instret == 0


def test_illegal_instruction_gives_its_bits(board: Board) -> None:
    board.program("nop")
    board.memory.write(BASE, 4, 0xFFFF_FFFF)
    board.engine.step()
    assert (board["mcause"], board["mtval"]) == (Cause.ILLEGAL, 0xFFFF_FFFF)


def test_illegal_compressed_instruction_gives_sixteen_bits(board: Board) -> None:
    board.program("nop")
    board.memory.write(BASE, 4, 0x1234_0000)
    board.engine.step()
    assert (board["mcause"], board["mtval"]) == (Cause.ILLEGAL, 0)


def test_floating_point_is_illegal_while_it_is_off(board: Board) -> None:
    board.run("fadd.d fa0, fa1, fa2")
    assert (board["mcause"], board["mtval"]) == (Cause.ILLEGAL, 0x02C5F553)


def test_reserved_dynamic_rounding_mode_is_illegal(board: Board) -> None:
    board["mstatus"] = 1 << 13
    board["frm"] = 5
    board.run("fadd.d fa0, fa1, fa2")
    assert board["mcause"] == Cause.ILLEGAL


def test_ebreak_gives_its_address(board: Board) -> None:
    board.run("nop; ebreak")
    assert (board["mcause"], board["mtval"], board["mepc"]) == (3, BASE + 4, BASE + 4)


def test_delegated_exception_goes_to_supervisor_mode(board: Board) -> None:
    board["medeleg"] = 1 << Cause.ECALL_U
    board["stvec"] = BASE + 0x2000
    board["mstatus"] = SIE
    board.enter(U)
    board.run("ecall")
    assert (board["scause"], board["sepc"]) == (Cause.ECALL_U, BASE)
    assert (board.hart.state.pc, board.hart.state.priv) == (BASE + 0x2000, S)
    assert board["sstatus"] & (SIE | SPIE | SPP) == SPIE


def test_delegation_does_not_lower_the_mode(board: Board) -> None:
    board["medeleg"] = 1 << Cause.BREAKPOINT
    board.run("ebreak")
    assert (board["mcause"], board.hart.state.priv) == (Cause.BREAKPOINT, M)


def test_mret_restores_mode_and_interrupt_enable(board: Board) -> None:
    board["mepc"] = BASE + 0x100
    board["mstatus"] = MPIE | S << 11 | MPRV
    board.run("mret")
    assert (board.hart.state.pc, board.hart.state.priv) == (BASE + 0x100, S)
    assert board["mstatus"] & (MIE | MPIE | MPRV | 3 << 11) == MIE | MPIE


@pytest.mark.parametrize(
    ("text", "status"), [("sret", TSR), ("wfi", TW), ("sfence.vma", TVM), ("csrr a0, satp", TVM)]
)
def test_machine_mode_can_forbid_the_supervisor(board: Board, text: str, status: int) -> None:
    board.enter(S)
    board.run(text)
    assert board["mcause"] == 0
    board.hart.waiting = False
    board["mstatus"] = status
    board.enter(S)
    board.run(text)
    assert board["mcause"] == Cause.ILLEGAL


@pytest.mark.parametrize("text", ["mret", "sret", "wfi", "sfence.vma", "csrr a0, sscratch"])
def test_user_mode_may_not_execute(board: Board, text: str) -> None:
    board.enter(U)
    board.run(text)
    assert board["mcause"] == Cause.ILLEGAL


def test_interrupt_is_taken_before_the_next_instruction(board: Board) -> None:
    board["mie"] = 1 << Interrupt.MTI
    board["mstatus"] = MIE
    board.program("nop; nop")
    board.hart.set_interrupt(Interrupt.MTI, True)
    assert board.hart.attention
    board.engine.step()
    assert board["mcause"] == 1 << 63 | Interrupt.MTI
    assert (board["mepc"], board.hart.instret) == (BASE, 0)


def test_vectored_interrupts_enter_at_their_number(board: Board) -> None:
    board["mtvec"] = HANDLER | 1
    board["mie"] = 1 << Interrupt.MEI
    board["mstatus"] = MIE
    board.program("nop")
    board.hart.set_interrupt(Interrupt.MEI, True)
    board.engine.step()
    assert board.hart.state.pc == HANDLER + 4 * Interrupt.MEI


def test_machine_interrupts_come_in_order_of_priority(board: Board) -> None:
    board["mie"] = 0xAAA
    board["mstatus"] = MIE
    for line in (Interrupt.MTI, Interrupt.MSI, Interrupt.MEI):
        board.hart.set_interrupt(line, True)
    board.program("nop")
    board.engine.step()
    assert board["mcause"] & 0xFF == Interrupt.MEI


def test_delegated_interrupt_waits_for_supervisor_enable(board: Board) -> None:
    board["mideleg"] = board["mie"] = 1 << Interrupt.STI
    board["mip"] = 1 << Interrupt.STI
    assert not board.hart.interrupt_pending()
    board.enter(S)
    assert not board.hart.interrupt_pending()
    board["sstatus"] = SIE
    assert board.hart.interrupt_pending()


def test_wfi_waits_and_ends_on_a_masked_interrupt(board: Board) -> None:
    board["mie"] = 1 << Interrupt.MTI
    board.program("wfi; addi a0, a0, 1")
    assert board.engine.run(10) == "attention"
    assert board.hart.waiting
    assert board.engine.run(10) == "attention"
    assert board.x("a0") == 0
    board.hart.set_interrupt(Interrupt.MTI, True)
    board.engine.step()
    assert (board.x("a0"), board.hart.waiting) == (1, False)


def test_unmasking_a_pending_interrupt_takes_it_within_the_run(board: Board) -> None:
    board["mie"] = 1 << Interrupt.MTI
    board.program("nop", HANDLER)
    board.program("csrrsi a0, mstatus, 8; nop; nop")
    board.hart.set_interrupt(Interrupt.MTI, True)
    assert board.engine.run(2) == "budget"
    assert (board["mepc"], board.hart.instret) == (BASE + 4, 2)
    assert board.hart.state.pc == HANDLER + 4


def test_an_interrupt_unmasked_by_the_last_instruction_is_taken_in_the_next_run(
    board: Board,
) -> None:
    board["mie"] = 1 << Interrupt.MTI
    board.program("csrrsi a0, mstatus, 8; nop; nop")
    board.hart.set_interrupt(Interrupt.MTI, True)
    assert board.engine.run(1) == "budget"
    assert board.hart.state.pc == BASE + 4
    board.engine.step()
    assert (board["mepc"], board.hart.state.pc) == (BASE + 4, HANDLER)


def test_machine_interrupts_come_before_those_of_the_supervisor(board: Board) -> None:
    """Section 3.1.9: whatever their numbers, those to machine mode are taken first."""
    board["mideleg"] = 1 << Interrupt.SEI
    board["mie"] = board["mip"] = 1 << Interrupt.SEI | 1 << Interrupt.STI
    board["mstatus"] = SIE
    board.program("nop")
    board.enter(U)
    board.engine.step()
    assert board["mcause"] == 1 << 63 | Interrupt.STI


def test_run_stops_before_a_breakpoint_but_not_on_its_first_instruction(board: Board) -> None:
    board.program("nop; nop; j .-8")
    board.hart.breakpoints.add(BASE + 4)
    assert board.engine.run(100) == "breakpoint"
    assert board.hart.state.pc == BASE + 4
    assert board.engine.run(2) == "budget"
    assert board.engine.run(100) == "breakpoint"
    assert board.hart.instret == 4


def test_a_loop_of_traps_uses_up_its_budget(board: Board) -> None:
    board["mtvec"] = 0
    board.program("ecall")
    assert board.engine.run(50) == "budget"
    assert board.hart.instret == 0
    assert board.hart.stall_ps == 50 * board.hart.trap_ps


def test_store_conditional_succeeds_only_with_its_reservation(board: Board) -> None:
    board.set(a0=BASE + 0x100, a1=BASE + 0x200, a2=7)
    board.run("lr.w a3, (a0); sc.w a4, a2, (a1); sc.w a5, a2, (a0)")
    assert (board.x("a4"), board.x("a5")) == (1, 1)
    board.run("lr.d a3, (a0); sc.d a4, a2, (a0)")
    assert (board.x("a4"), board.memory.read(BASE + 0x100, 8)) == (0, 7)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("lr.w a0, (a1)", Cause.LOAD_MISALIGNED),
        ("sc.d a0, a0, (a1)", Cause.STORE_MISALIGNED),
        ("amoadd.w a0, a0, (a1)", Cause.STORE_MISALIGNED),
    ],
)
def test_misaligned_atomics_trap(board: Board, text: str, cause: Cause) -> None:
    board.set(a1=BASE + 0x102).run(text)
    assert (board["mcause"], board["mtval"]) == (cause, BASE + 0x102)


@pytest.mark.parametrize(
    ("text", "cause"), [("ld a0, (a1)", Cause.LOAD_ACCESS), ("sw a0, (a1)", Cause.STORE_ACCESS)]
)
def test_nothing_at_an_address_is_an_access_fault(board: Board, text: str, cause: Cause) -> None:
    board.set(a1=0x5000_0000).run(text)
    assert (board["mcause"], board["mtval"]) == (cause, 0x5000_0000)


def test_jump_into_nothing_is_a_fetch_access_fault(board: Board) -> None:
    board.set(a0=0x1_0000).run("jr a0", steps=2)
    assert (board["mcause"], board["mepc"], board["mtval"]) == (1, 0x1_0000, 0x1_0000)
