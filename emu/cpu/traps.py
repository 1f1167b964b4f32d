"""Traps: what can go wrong or interrupt, which mode takes it, and the way there and back.

RISC-V privileged specification, sections 3.1.6 (the status stack), 3.1.8 (delegation), 3.1.9 (the
order of interrupts), 3.3.2 (MRET and SRET), 3.3.3 (WFI) and 12.1 (the supervisor's registers). What
happens is in the bodies of the routines, `ENTER` to `DUE`; the functions behind them apply those to
a hart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.cpu.routine import Routine
from emu.cpu.state import State
from emu.isa.causes import (
    INTERRUPT_BIT,
    M_MODE,
    PRIORITY,
    S_MODE,
    Cause,
    Interrupt,
)
from emu.isa.csrfields import flag
from emu.isa.csrs import MSTATUS
from emu.isa.graph import Node, Trace, const, select

if TYPE_CHECKING:
    from emu.cpu.hart import Hart

SIE, MIE, SPIE, MPIE, SPP, MPP, MPRV = map(
    MSTATUS.mask, ("SIE", "MIE", "SPIE", "MPIE", "SPP", "MPP", "MPRV")
)
SUM, MXR, TVM, TW, TSR = map(MSTATUS.mask, ("SUM", "MXR", "TVM", "TW", "TSR"))
MPP_SHIFT = MSTATUS.by_name["MPP"].low

NONE_DUE = 64
"""What `DUE` gives when there is no interrupt to take."""

WAKEFUL_WFI_PS = 1_000_000
"""What a WFI takes that need not wait. So harts that loop over it, with an interrupt pending that
nobody takes, leave the host's time to the others."""

_ALL = (1 << 64) - 1
_PC, _PRIV = State.indices["pc"], State.indices["priv"]


class Trap(Exception):
    """An exception of the guest. An illegal instruction without `tval` gets its own bits."""

    def __init__(self, cause: int, tval: int | None = None) -> None:
        super().__init__(f"cause {cause}, tval {tval if tval is None else hex(tval)}")
        self.cause, self.tval = cause, tval


def illegal() -> Trap:
    """The exception of an instruction that may not be executed here."""
    return Trap(Cause.ILLEGAL)


# --- routines -----------------------------------------------------------------------------------


def _enter(m: Trace, pc: Node, cause: Node, tval: Node, interrupt: Node) -> Node:
    """Take the trap `cause` at `pc`; `interrupt` is 1 for an interrupt. Gives the handler."""
    s = m.state
    is_interrupt = interrupt.ne(0)
    code = select(is_interrupt, cause | INTERRUPT_BIT, cause)
    delegated = select(is_interrupt, s["mideleg"], s["medeleg"]) >> cause & 1
    priv, status = s["priv"], s["mstatus"]
    down = delegated.ne(0) & priv.ne(M_MODE)  # never to a less privileged mode
    for_supervisor = {"sepc": pc, "scause": code, "stval": tval}
    for_machine = {"mepc": pc, "mcause": code, "mtval": tval}
    for name, value in for_supervisor.items():
        s[name] = select(down, value, s[name])
    for name, value in for_machine.items():
        s[name] = select(down, s[name], value)
    to_supervisor = (
        _without(status, SIE | SPIE | SPP)
        | _moved(status, SIE, SPIE)
        | (priv & 1) << _place(SPP)  # user 0, supervisor 1
    )
    to_machine = _without(status, MIE | MPIE | MPP) | _moved(status, MIE, MPIE) | priv << MPP_SHIFT
    s["mstatus"] = select(down, to_supervisor, to_machine)
    s["priv"] = select(down, const(S_MODE), const(M_MODE))
    s["reserved"] = const(0)
    s["stall_ps"] = s["stall_ps"] + s["trap_ps"]
    vector = select(down, s["stvec"], s["mtvec"])
    vectored = is_interrupt & (vector & 1).ne(0)
    return (vector & ~3) + select(vectored, cause << 2, 0)


def _leave(m: Trace, status: Node, mode: Node, to: Node) -> Node:
    """Go on in `mode` at `to`; leaving machine mode ends MPRV (3.1.6.3)."""
    m.state["mstatus"] = select(mode.eq(M_MODE), status, _without(status, MPRV))
    m.state["priv"] = mode
    m.state["reserved"] = const(0)
    return to


def _mret(m: Trace) -> Node:
    """Restore mode and interrupt enable from the machine's fields; gives where to go."""
    status = m.state["mstatus"]
    left = _without(status, MIE | MPP) | _moved(status, MPIE, MIE) | MPIE
    return _leave(m, left, (status & MPP) >> MPP_SHIFT, m.state["mepc"])


def _sret(m: Trace) -> Node:
    """The same from the supervisor's fields."""
    status = m.state["mstatus"]
    left = _without(status, SIE | SPP) | _moved(status, SPIE, SIE) | SPIE
    return _leave(m, left, (status & SPP) >> _place(SPP), m.state["sepc"])


def _sret_permitted(m: Trace) -> Node:
    """1 bit: in user mode never, in supervisor mode while TSR is clear."""
    priv, trapped = m.state["priv"], (m.state["mstatus"] & TSR).ne(0)
    return priv.eq(M_MODE) | priv.eq(S_MODE) & ~trapped


def _need_not_wait(m: Trace) -> Node:
    """1 bit: WFI, illegal in user mode and in supervisor mode while TW is set, is permitted, and an
    enabled interrupt is pending, even if it is masked (3.3.3)."""
    s = m.state
    permitted = s["priv"].eq(M_MODE) | s["priv"].eq(S_MODE) & (s["mstatus"] & TW).eq(0)
    return permitted & ((s["lines"] | s["soft_mip"]) & s["mie"]).ne(0)


def _due(m: Trace) -> Node:
    """The interrupt to take now, or `NONE_DUE`: pending, enabled, and not masked by mode and
    mstatus. Those of machine mode come before those delegated to supervisor mode."""
    s = m.state
    priv, status, delegated = s["priv"], s["mstatus"], s["mideleg"]
    waiting = (s["lines"] | s["soft_mip"]) & s["mie"]
    machine = priv.ne(M_MODE) | (status & MIE).ne(0)
    supervisor = priv.ltu(S_MODE) | priv.eq(S_MODE) & (status & SIE).ne(0)
    first = waiting & select(machine, ~delegated, 0)
    second = waiting & select(supervisor, delegated, 0)
    ready = select(first.ne(0), first, second)
    due = const(NONE_DUE)
    for interrupt in reversed(PRIORITY):
        due = select((ready >> interrupt & 1).ne(0), const(interrupt), due)
    return due


def _place(mask: int) -> int:
    return mask.bit_length() - 1


def _without(status: Node, mask: int) -> Node:
    return status & (~mask & _ALL)


def _moved(status: Node, source: int, target: int) -> Node:
    """The bit `source` of `status`, at the place of the bit `target`."""
    return flag((status & source).ne(0)) << _place(target)


ENTER = Routine(_enter, "pc", "cause", "tval", "interrupt")
MRET = Routine(_mret)
SRET = Routine(_sret)
SRET_PERMITTED = Routine(_sret_permitted)
NEED_NOT_WAIT = Routine(_need_not_wait)
DUE = Routine(_due)


# --- on a hart ----------------------------------------------------------------------------------


def take(hart: Hart, cause: int, tval: int, interrupt: bool = False) -> None:
    """Enter the handler: the instruction at pc has had no effect."""
    words = hart.state.words
    pc = words[_PC]
    words[_PC] = ENTER.python(words, pc, cause, tval, int(interrupt))
    if hart.on_trap is not None:
        hart.on_trap(cause | (INTERRUPT_BIT if interrupt else 0), tval, pc, words[_PC])
    hart.regime_changed()


def leave_machine(hart: Hart) -> int:
    """MRET: gives the address to go to; illegal below machine mode."""
    if hart.state.words[_PRIV] != M_MODE:
        raise illegal()
    return _left(hart, MRET)


def leave_supervisor(hart: Hart) -> int:
    """SRET: as MRET, from the supervisor's fields; forbidden to it while mstatus.TSR is set."""
    if not SRET_PERMITTED.python(hart.state.words):
        raise illegal()
    return _left(hart, SRET)


def _left(hart: Hart, routine: Routine) -> int:
    target: int = routine.python(hart.state.words)
    hart.regime_changed()
    hart.interrupts_changed()
    return target


def deliverable(hart: Hart) -> Interrupt | None:
    """The interrupt to take now, if any."""
    due = DUE.python(hart.state.words)
    return None if due == NONE_DUE else Interrupt(due)
