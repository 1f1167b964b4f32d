"""Translation regimes, told apart by numbers: the *contexts* in the tags of `State`'s buffers.

What a virtual address means depends on satp, on the privilege of the access (with MPRV) and, for
data, on SUM and MXR. `State.spaces` has a row for each of the address spaces seen last, found by
hashing satp, and one for what is not translated (machine mode, and every mode while satp is bare):

    satp | generation | fences | - | fetch contexts by privilege (4) | data contexts (16)

The index of a data context is privilege + 4 * SUM + 8 * MXR. A context that a row lacks is
`NO_CONTEXT`, which no tag ever holds; it gets the next number when it is first in force. So
returning to an earlier regime finds its entries in the buffers again, and forgetting all
translations is taking new numbers. SFENCE.VMA with an address need not do that: a page stands in
the buffers where its address says, unless it is kept as part of something larger (`large_start`).
When the numbers are used up, `State.start_contexts_anew` clears the buffers: only Python does that,
and until then nothing hits.
"""

from __future__ import annotations

from emu.cpu.routine import Routine
from emu.cpu.state import (
    DATA_CONTEXTS,
    FETCH_CONTEXTS,
    FIRST_DATA,
    FIRST_FETCH,
    NEVER,
    NO_CONTEXT,
    PAGE_BITS,
    SPACE_WORDS,
    SPACES,
    TLB_ENTRIES,
    UNTRANSLATED,
)
from emu.isa.causes import M_MODE, S_MODE
from emu.isa.csrfields import flag
from emu.isa.csrs import MSTATUS
from emu.isa.graph import Node, Trace, const, select

_SATP, _GENERATION, _FENCES = 0, 1, 2
_MPRV = MSTATUS.mask("MPRV")
_MPP, _SUM = MSTATUS.by_name["MPP"], MSTATUS.by_name["SUM"]
_FETCH_CONTEXTS = range(FIRST_FETCH, FIRST_FETCH + FETCH_CONTEXTS)
_CONTEXTS = range(FIRST_FETCH, FIRST_DATA + DATA_CONTEXTS)
_MODE = 60  # lowest bit of satp.MODE, which is 0 where addresses are bare


def _select(m: Trace) -> None:
    """Put the contexts of the regime in force into `fetch_context` and `data_context`. To be called
    when privilege, mstatus or the row of satp is another."""
    s = m.state
    priv, status, space = s["priv"], s["mstatus"], s["space"]
    data = data_privilege(m)
    rights = status >> _SUM.low & 3  # MXR stands next to SUM
    s["fetch_context"] = _context(m, _row(space, priv) + FIRST_FETCH + priv)
    data_row = _row(space, data)
    rights = select(data_row.eq(UNTRANSLATED), const(0), rights)
    s["data_context"] = _context(m, data_row + FIRST_DATA + data + (rights << 2))


def data_privilege(m: Trace) -> Node:
    """The privilege that counts for loads and stores: MPRV lends them that of MPP."""
    status = m.state["mstatus"]
    lent = status >> _MPP.low & _MPP.ones
    return select((status & _MPRV).ne(0), lent, m.state["priv"])


def _row(space: Node, privilege: Node) -> Node:
    return select(privilege.eq(M_MODE), const(UNTRANSLATED), space)


def _context(m: Trace, place: Node) -> Node:
    """The context at a place in `spaces`, with a new number if it has none."""
    s = m.state
    known, number = s["spaces", place], s["next_context"]
    takes = known.eq(NO_CONTEXT) & number.ltu(NO_CONTEXT)
    context = select(takes, number, known)
    s["spaces", place] = context
    s["next_context"] = number + flag(takes)
    return context


def _find(m: Trace) -> None:
    """Find the row of satp, or take one over for it. To be called when satp was written."""
    s = m.state
    satp = s["satp"]
    bare = (satp >> _MODE).eq(0)
    hashed = (satp ^ satp >> 44) & (SPACES - 1)
    row = select(bare, const(UNTRANSLATED), hashed * SPACE_WORDS)
    is_known = s["spaces", row].eq(satp) & s["spaces", row + _GENERATION].eq(s["generation"])
    is_known = is_known | bare
    is_fenced = s["spaces", row + _FENCES].ne(s["fences"])
    for place in _CONTEXTS:
        is_valid = is_known & ~is_fenced if place in _FETCH_CONTEXTS else is_known
        s["spaces", row + place] = select(is_valid, s["spaces", row + place], const(NO_CONTEXT))
    s["spaces", row + _SATP] = satp
    s["spaces", row + _GENERATION] = s["generation"]
    s["spaces", row + _FENCES] = s["fences"]
    s["space"] = row


def _forget(m: Trace) -> None:
    """Forget all translations (SFENCE.VMA): rows of an earlier generation are as good as empty."""
    s = m.state
    s["generation"] = s["generation"] + 1
    s["oldest_context"] = s["next_context"]
    row = s["space"]
    for place in _CONTEXTS:
        s["spaces", row + place] = const(NO_CONTEXT)
        s["spaces", const(UNTRANSLATED + place)] = const(NO_CONTEXT)
    s["spaces", row + _GENERATION] = s["generation"]
    s["large_start"], s["large_last"] = const(NEVER), const(0)


def _keep_large(m: Trace, start: Node, last: Node) -> None:
    """Something is kept of these addresses, not page by page: for `FORGET_PAGE` to know. The last
    of them may be the last one of all."""
    s = m.state
    s["large_start"] = select(start.ltu(s["large_start"]), start, s["large_start"])
    s["large_last"] = select(s["large_last"].ltu(last), last, s["large_last"])


def _is_small(m: Trace, address: Node) -> Node:
    """1 bit: what is kept of the address is in the buffers, by its page, and nowhere else."""
    return address.ltu(m.state["large_start"]) | m.state["large_last"].ltu(address)


def _forget_page(m: Trace, address: Node) -> None:
    """Forget the page of a small address: in the buffers of data by its place there, in that of
    code by giving all code new contexts, which is found again fast."""
    s = m.state
    place = (address >> PAGE_BITS & (TLB_ENTRIES - 1)) << 1
    s["load_tlb", place] = const(0)
    s["store_tlb", place] = const(0)
    for row in range(0, UNTRANSLATED, SPACE_WORDS):
        for context in range(row + FIRST_FETCH, row + FIRST_FETCH + FETCH_CONTEXTS):
            s["spaces", const(context)] = const(NO_CONTEXT)
    s["pages_forgotten"] = s["pages_forgotten"] + 1


def _fence(m: Trace) -> None:
    """Abandon all fetch contexts (FENCE.I), those of other rows when satp is written."""
    s = m.state
    s["fences"] = s["fences"] + 1
    for row in (s["space"], const(UNTRANSLATED)):
        for place in _FETCH_CONTEXTS:
            s["spaces", row + place] = const(NO_CONTEXT)
        s["spaces", row + _FENCES] = s["fences"]


def _fence_permitted(m: Trace) -> Node:
    """1 bit: SFENCE.VMA is illegal in user mode, and in supervisor mode while TVM is set."""
    priv, trapped = m.state["priv"], (m.state["mstatus"] & MSTATUS.mask("TVM")).ne(0)
    return priv.eq(M_MODE) | priv.eq(S_MODE) & ~trapped


SELECT = Routine(_select)
FIND = Routine(_find)
FORGET = Routine(_forget)
KEEP_LARGE = Routine(_keep_large, "start", "last")
IS_SMALL = Routine(_is_small, "address")
FORGET_PAGE = Routine(_forget_page, "address")
FENCE = Routine(_fence)
FENCE_PERMITTED = Routine(_fence_permitted)
DATA_PRIVILEGE = Routine(data_privilege)

if FIRST_DATA - FIRST_FETCH != FETCH_CONTEXTS:
    raise ImportError("the rows of spaces do not have their contexts one behind the other")
