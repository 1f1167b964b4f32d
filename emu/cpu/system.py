"""The system operations: what the table's bodies call as `m.system(name, ...)`.

Each is a function of the hart and 64-bit operands that gives 64 bits. It raises `Trap` before it
changes anything, or it completes. While it runs, pc still names its instruction. `SYSTEM` is
checked at import to have every name that the table uses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.cpu import csr, regime, traps
from emu.cpu.state import Dirty
from emu.cpu.traps import Trap, illegal
from emu.isa import TABLE
from emu.isa.causes import S_MODE, U_MODE, Cause

if TYPE_CHECKING:
    from emu.cpu.hart import Hart


def csr_swap(hart: Hart, number: int, value: int, writes: int) -> int:
    """Write a CSR and give its old value."""
    return csr.swap(hart, number, value)


def csr_set(hart: Hart, number: int, mask: int, writes: int) -> int:
    """Set bits of a CSR, if it `writes` at all, and give its old value."""
    return csr.change(hart, number, (lambda old: old | mask) if writes else None)


def csr_clear(hart: Hart, number: int, mask: int, writes: int) -> int:
    """Clear bits of a CSR, if it `writes` at all, and give its old value."""
    return csr.change(hart, number, (lambda old: old & ~mask) if writes else None)


def ecall(hart: Hart) -> int:
    """Always traps, by the mode it comes from."""
    raise Trap(Cause.ECALL_U + hart.state.priv, 0)


def ebreak(hart: Hart) -> int:
    """Always traps, with its address."""
    raise Trap(Cause.BREAKPOINT, hart.state.pc)


def mret(hart: Hart) -> int:
    """Leave a machine trap handler; gives the address to go to."""
    return traps.leave_machine(hart)


def sret(hart: Hart) -> int:
    """Leave a supervisor trap handler; gives the address to go to."""
    return traps.leave_supervisor(hart)


def wfi(hart: Hart) -> int:
    """Wait: the machine lets time pass until an interrupt is pending (section 3.3.3)."""
    priv = hart.state.priv
    if priv == U_MODE or (priv == S_MODE and hart.state.mstatus & traps.TW):
        raise illegal()
    if traps.NEED_NOT_WAIT.python(hart.state.words):
        hart.stall(traps.WAKEFUL_WFI_PS)
    else:
        hart.waiting = hart.attention = True
    return 0


def sfence_vma(hart: Hart, vaddr: int, asid: int) -> int:
    """Forget translations: all of them, which is more than any operands ask for."""
    if not regime.FENCE_PERMITTED.python(hart.state.words):
        raise illegal()
    hart.flush_translations()
    return 0


def fence_i(hart: Hart) -> int:
    """Forget decoded code."""
    hart.fence_i()
    return 0


def tensor(hart: Hart, mnemonic: str, *operands: int) -> int:
    """A tensor instruction; illegal while the tensor unit is off."""
    if hart.state.xs == Dirty.OFF:
        raise illegal()
    from emu.cpu.tensor import execute  # compiles code when first used

    result: int = execute(hart, mnemonic, *operands)
    hart.state.xs = Dirty.DIRTY
    return result


def lane(hart: Hart, name: str, *operands: int) -> int:
    """An instruction of the GPU's lanes: illegal on a hart."""
    raise illegal()


SYSTEM: dict[str, Callable[..., int]] = {
    function.__name__: function
    for function in (
        csr_swap, csr_set, csr_clear, ecall, ebreak, mret, sret, wfi, sfence_vma, fence_i, tensor,
        lane,
    )
}  # fmt: skip

_missing = {
    str(step.args[0]) for i in TABLE.values() for step in i.steps if step.op == "system"
} - SYSTEM.keys()
if _missing:
    raise ImportError(f"the table calls system operations that do not exist: {_missing}")
