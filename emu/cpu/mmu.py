"""Address translation: Sv39 and Sv48 page tables (privileged specification, 10.3 to 10.5) and PMP.

`resolve` is the one walk behind everything. It sets the accessed and dirty bits itself (Svadu). Its
answer covers a whole leaf page, 4 KiB to 512 GiB, as far as one PMP decision reaches, so callers
may keep what they need of it until SFENCE.VMA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from emu.bus import BusFault
from emu.cpu.traps import MPP_SHIFT, MPRV, MXR, SUM, Trap
from emu.isa.causes import M_MODE, S_MODE, U_MODE, Cause

if TYPE_CHECKING:
    from emu.cpu.hart import Hart

PAGE_BITS = 12
_V, _R, _W, _X, _U, _A, _D = 1, 2, 4, 8, 16, 64, 128
_PPN_MASK = (1 << 44) - 1
_RESERVED = ~((1 << 54) - 1)
LEVELS = {8: 3, 9: 4}
"""Levels of page tables by the mode in satp: Sv39, Sv48."""

PAGE_FAULT = {"fetch": Cause.FETCH_PAGE, "load": Cause.LOAD_PAGE, "store": Cause.STORE_PAGE}
ACCESS_FAULT = {"fetch": Cause.FETCH_ACCESS, "load": Cause.LOAD_ACCESS, "store": Cause.STORE_ACCESS}


class Mapping(NamedTuple):
    """Virtual addresses from `start` up to `end` are physical ones `offset` further on."""

    start: int
    end: int
    offset: int


def effective_privilege(hart: Hart, access: str) -> int:
    """The privilege that counts for an access: MPRV lends loads and stores that of MPP."""
    status = hart.state.mstatus
    if access != "fetch" and status & MPRV:
        return status >> MPP_SHIFT & 3
    return hart.state.priv


def resolve(hart: Hart, vaddr: int, access: str) -> Mapping:
    """The mapping of the page of `vaddr` for `access` ("fetch", "load", "store").

    Raises Trap, a page fault or an access fault, when the access is not allowed.
    """
    privilege = effective_privilege(hart, access)
    levels = LEVELS.get(hart.state.satp >> 60)
    if privilege == M_MODE or levels is None:
        paddr, start, end = vaddr, 0, 1 << 64
    else:
        paddr, size = _walk(hart, vaddr, access, privilege, levels)
        start = vaddr & ~(size - 1)
        end = start + size
    if not hart.pmp.allows(paddr, 1, access, privilege):
        raise Trap(ACCESS_FAULT[access], vaddr)
    if hart.pmp.rules:
        low, high = hart.pmp.uniform(paddr)
        start, end = max(start, vaddr - (paddr - low)), min(end, vaddr + (high - paddr))
    return Mapping(start, end, paddr - vaddr)


def _walk(hart: Hart, vaddr: int, access: str, privilege: int, levels: int) -> tuple[int, int]:
    """The physical address of `vaddr` and the size of its leaf page."""
    fault = Trap(PAGE_FAULT[access], vaddr)
    top = PAGE_BITS + 9 * levels - 1
    if vaddr >> top not in (0, (1 << 64 - top) - 1):  # the bits from the highest one up are alike
        raise fault
    table = (hart.state.satp & _PPN_MASK) << PAGE_BITS
    for level in reversed(range(levels)):
        shift = PAGE_BITS + 9 * level
        address = table + 8 * (vaddr >> shift & 511)
        entry = _read_entry(hart, address, access, vaddr)
        if not entry & _V or entry & (_R | _W) == _W or entry & _RESERVED:
            raise fault
        ppn = entry >> 10 & _PPN_MASK
        if entry & (_R | _X):
            if ppn & ((1 << 9 * level) - 1) or not _permitted(hart, entry, access, privilege):
                raise fault
            used = _A | (_D if access == "store" else 0)
            if entry & used != used:
                _write_entry(hart, address, entry | used, access, vaddr)
            offset_mask = (1 << shift) - 1
            return ppn << PAGE_BITS | vaddr & offset_mask, 1 << shift
        if entry & (_U | _A | _D):
            raise fault
        table = ppn << PAGE_BITS
    raise fault


def _permitted(hart: Hart, entry: int, access: str, privilege: int) -> bool:
    """Whether a leaf entry's rights allow the access."""
    status = hart.state.mstatus
    if privilege == U_MODE and not entry & _U:
        return False
    if privilege == S_MODE and entry & _U and (access == "fetch" or not status & SUM):
        return False
    if access == "fetch":
        return bool(entry & _X)
    if access == "store":
        return bool(entry & _W)
    return bool(entry & _R or (status & MXR and entry & _X))


def _read_entry(hart: Hart, paddr: int, access: str, vaddr: int) -> int:
    """A page table entry; the walk itself is a supervisor's access and may fault as such."""
    if not hart.pmp.allows(paddr, 8, "load", S_MODE):
        raise Trap(ACCESS_FAULT[access], vaddr)
    try:
        return hart.bus.read(paddr, 8)
    except BusFault:
        raise Trap(ACCESS_FAULT[access], vaddr) from None


def _write_entry(hart: Hart, paddr: int, entry: int, access: str, vaddr: int) -> None:
    if not hart.pmp.allows(paddr, 8, "store", S_MODE):
        raise Trap(ACCESS_FAULT[access], vaddr)
    try:
        hart.bus.write(paddr, 8, entry)
    except BusFault:
        raise Trap(ACCESS_FAULT[access], vaddr) from None
