"""Traps: what can go wrong or interrupt, which mode takes it, and the way there and back.

RISC-V privileged specification, sections 3.1.6 (the status stack), 3.1.8 (delegation), 3.1.9 (the
order of interrupts), 3.3.2 (MRET and SRET) and 10.1.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.cpu.hart import Hart

U_MODE, S_MODE, M_MODE = 0, 1, 3


class Cause(IntEnum):
    """Exception codes of mcause and scause."""

    FETCH_MISALIGNED = 0
    FETCH_ACCESS = 1
    ILLEGAL = 2
    BREAKPOINT = 3
    LOAD_MISALIGNED = 4
    LOAD_ACCESS = 5
    STORE_MISALIGNED = 6
    STORE_ACCESS = 7
    ECALL_U = 8
    ECALL_S = 9
    ECALL_M = 11
    FETCH_PAGE = 12
    LOAD_PAGE = 13
    STORE_PAGE = 15
    TENSOR = 24


class Interrupt(IntEnum):
    """Interrupt numbers: bits of mip and mie."""

    SSI = 1
    MSI = 3
    STI = 5
    MTI = 7
    SEI = 9
    MEI = 11


INTERRUPT_BIT = 1 << 63
"""Set in mcause and scause for an interrupt."""

PRIORITY = (
    Interrupt.MEI, Interrupt.MSI, Interrupt.MTI, Interrupt.SEI, Interrupt.SSI, Interrupt.STI,
)  # fmt: skip

SIE, MIE, SPIE, MPIE, SPP, MPRV = 1 << 1, 1 << 3, 1 << 5, 1 << 7, 1 << 8, 1 << 17
MPP_SHIFT = 11
MPP = 3 << MPP_SHIFT
SUM, MXR, TVM, TW, TSR = 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22


class Trap(Exception):
    """An exception of the guest. An illegal instruction without `tval` gets its own bits."""

    def __init__(self, cause: int, tval: int | None = None) -> None:
        super().__init__(f"cause {cause}, tval {tval if tval is None else hex(tval)}")
        self.cause, self.tval = cause, tval


def illegal() -> Trap:
    """The exception of an instruction that may not be executed here."""
    return Trap(Cause.ILLEGAL)


def take(hart: Hart, cause: int, tval: int, interrupt: bool = False) -> None:
    """Enter the handler: the instruction at pc has had no effect."""
    state, csr = hart.state, hart.csr
    delegated = (csr.mideleg if interrupt else csr.medeleg) >> cause & 1
    code = cause | (INTERRUPT_BIT if interrupt else 0)
    if delegated and state.priv <= S_MODE:
        csr.sepc, csr.scause, csr.stval, vector = state.pc, code, tval, csr.stvec
        enabled = csr.mstatus & SIE
        status = csr.mstatus & ~(SIE | SPIE | SPP)
        csr.mstatus = status | (SPIE if enabled else 0) | (SPP if state.priv else 0)
        state.priv = S_MODE
    else:
        csr.mepc, csr.mcause, csr.mtval, vector = state.pc, code, tval, csr.mtvec
        enabled = csr.mstatus & MIE
        status = csr.mstatus & ~(MIE | MPIE | MPP)
        csr.mstatus = status | (MPIE if enabled else 0) | state.priv << MPP_SHIFT
        state.priv = M_MODE
    vectored = interrupt and vector & 1
    pc, state.pc = state.pc, (vector & ~3) + (4 * cause if vectored else 0)
    state.reserved = 0
    if hart.on_trap is not None:
        hart.on_trap(code, tval, pc, state.pc)
    hart.regime_changed()


def leave_machine(hart: Hart) -> int:
    """MRET: restore the mode and the interrupt enable from mstatus; gives the address to go to."""
    csr, state = hart.csr, hart.state
    if state.priv != M_MODE:
        raise illegal()
    status = csr.mstatus
    mode = status >> MPP_SHIFT & 3
    enable = MIE if status & MPIE else 0
    status = status & ~(MIE | MPP | (0 if mode == M_MODE else MPRV)) | enable | MPIE
    return _leave(hart, status, mode, csr.mepc)


def leave_supervisor(hart: Hart) -> int:
    """SRET: as MRET, from the supervisor's fields; forbidden to it while mstatus.TSR is set."""
    csr, state = hart.csr, hart.state
    if state.priv < S_MODE or (state.priv == S_MODE and csr.mstatus & TSR):
        raise illegal()
    status = csr.mstatus
    mode = S_MODE if status & SPP else U_MODE
    enable = SIE if status & SPIE else 0
    status = status & ~(SIE | SPP | MPRV) | enable | SPIE
    return _leave(hart, status, mode, csr.sepc)


def _leave(hart: Hart, status: int, mode: int, target: int) -> int:
    hart.csr.mstatus = status
    hart.state.priv = mode
    hart.state.reserved = 0
    hart.regime_changed()
    hart.interrupts_changed()
    return target


def deliverable(hart: Hart) -> Interrupt | None:
    """The interrupt to take now, if any: pending, enabled, and not masked by mode and mstatus."""
    csr = hart.csr
    waiting = hart.mip & csr.mie
    if not waiting:
        return None
    priv = hart.state.priv
    open_now = 0
    if priv < M_MODE or csr.mstatus & MIE:
        open_now |= ~csr.mideleg
    if priv < S_MODE or (priv == S_MODE and csr.mstatus & SIE):
        open_now |= csr.mideleg
    return next((i for i in PRIORITY if waiting & open_now & 1 << i), None)
