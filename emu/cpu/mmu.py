"""Address translation: Sv39 and Sv48 page tables (privileged specification, 12.3 to 12.5) and PMP.

`resolve` is the one walk behind everything. It sets the accessed and dirty bits itself (Svadu). Its
answer covers a whole leaf page, 4 KiB to 512 GiB, as far as one PMP decision reaches, so callers
may keep what they need of it until SFENCE.VMA.

What an entry means and which rights it gives is said by the routine `JUDGE`, once for this walk and
for that of emitted code (`emu.cpu.native.walk`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from emu.bus import BusFault
from emu.cpu import regime
from emu.cpu.routine import Routine
from emu.cpu.state import PAGE_BITS
from emu.cpu.traps import MXR, SUM, Trap
from emu.isa.causes import M_MODE, S_MODE, U_MODE, Cause
from emu.isa.graph import Node, Trace, const, select

if TYPE_CHECKING:
    from emu.cpu.hart import Hart

LEVEL_BITS = 9
LEVEL_MASK = (1 << LEVEL_BITS) - 1
_V, _R, _W, _X, _U, _A, _D = 1, 2, 4, 8, 16, 64, 128
PPN_SHIFT, PPN_MASK = 10, (1 << 44) - 1
"""Where an entry holds the number of the page that it points to."""
_RESERVED = ~((1 << 54) - 1)  # Svnapot's and Svpbmt's bits among them
LEVELS = {8: 3, 9: 4}
"""Levels of page tables by the mode in satp: Sv39, Sv48."""

NUMBERS = {"load": 0, "store": 1, "fetch": 2}
"""The kinds of access as routines know them."""

TABLE, LEAF, FAULT = range(3)
"""What an entry is to an access: the next table, the page itself, or the end."""

PAGE_FAULT = {"fetch": Cause.FETCH_PAGE, "load": Cause.LOAD_PAGE, "store": Cause.STORE_PAGE}
ACCESS_FAULT = {"fetch": Cause.FETCH_ACCESS, "load": Cause.LOAD_ACCESS, "store": Cause.STORE_ACCESS}


def _judge(m: Trace, entry: Node, span: Node, access: Node, privilege: Node) -> tuple[Node, Node]:
    """What an entry is that maps `span` bytes, and what it is to become if it is a leaf."""
    status = m.state["mstatus"]
    is_store, is_fetch = access.eq(NUMBERS["store"]), access.eq(NUMBERS["fetch"])

    def has(bits: int) -> Node:
        return (entry & bits).ne(0)

    malformed = ~has(_V) | (entry & (_R | _W)).eq(_W) | has(_RESERVED)
    misaligned = ((entry >> PPN_SHIFT << PAGE_BITS) & (span - 1)).ne(0)
    lent = (status & SUM).ne(0) & ~is_fetch
    foreign = select(privilege.eq(U_MODE), ~has(_U), has(_U) & ~lent)
    readable = has(_R) | has(_X) & (status & MXR).ne(0)
    right = select(is_fetch, has(_X), select(is_store, has(_W), readable))
    is_leaf = has(_R | _X)
    no_table = has(_U | _A | _D) | span.eq(1 << PAGE_BITS)
    fault = malformed | select(is_leaf, misaligned | foreign | ~right, no_table)
    verdict = select(fault, const(FAULT), select(is_leaf, const(LEAF), const(TABLE)))
    return verdict, entry | _A | select(is_store, const(_D), const(0))


JUDGE = Routine(_judge, "entry", "span", "access", "privilege")


class Mapping(NamedTuple):
    """Virtual addresses from `start` up to `end` are physical ones `offset` further on."""

    start: int
    end: int
    offset: int


def effective_privilege(hart: Hart, access: str) -> int:
    """The privilege that counts for an access."""
    if access == "fetch":
        return hart.state.priv
    privilege: int = regime.DATA_PRIVILEGE.python(hart.state.words)
    return privilege


def is_translated(hart: Hart, access: str) -> bool:
    """Whether page tables say what an address means to that access."""
    return effective_privilege(hart, access) != M_MODE and hart.state.satp >> 60 in LEVELS


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
    top = PAGE_BITS + LEVEL_BITS * levels - 1
    if vaddr >> top not in (0, (1 << 64 - top) - 1):  # the bits from the highest one up are alike
        raise fault
    table, words = (hart.state.satp & PPN_MASK) << PAGE_BITS, hart.state.words
    for level in reversed(range(levels)):
        shift = PAGE_BITS + LEVEL_BITS * level
        address = table + 8 * (vaddr >> shift & LEVEL_MASK)
        entry = _read_entry(hart, address, access, vaddr)
        verdict, used = JUDGE.python(words, entry, 1 << shift, NUMBERS[access], privilege)
        target = (entry >> PPN_SHIFT & PPN_MASK) << PAGE_BITS
        if verdict == FAULT:
            break
        if verdict == LEAF:
            if entry != used:
                _write_entry(hart, address, used, access, vaddr)
            return target | vaddr & (1 << shift) - 1, 1 << shift
        table = target
    raise fault


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
