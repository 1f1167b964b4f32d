"""What emitted code does about a missing entry of the load or store buffer before it gives up.

The page may lie in a run that is known (`emu.cpu.runs`): then the entry is made from that, and the
instruction is executed again. So Python sees to each run of pages once, not to each page, and two
pages that compete for one entry cost some nanoseconds instead of microseconds.
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu.native.handler import LONG, Frame, i64
from emu.cpu.state import PAGE_SIZE, RUNS, TLB_ENTRIES, Exit, State

REFILLED = {Exit.LOAD_MISS: "load", Exit.STORE_MISS: "store"}
"""The exits that are tried so, and the kind of access of their buffers."""
_RUN_SIZE = 32


def emit_refill(f: Frame, access: str) -> None:
    """In the handler of such an exit, whose `record` is the address: go on at `pc` if that helps;
    what follows is emitted for when it does not."""
    b = f.builder
    page = b.and_(b.ptrtoint(f.record, LONG), i64(-PAGE_SIZE))
    index = b.and_(b.lshr(page, i64(12)), i64(TLB_ENTRIES - 1))
    buffer = State.offset(f"{access}_tlb")
    entry = f.at(f.state, b.add(b.shl(index, i64(4)), i64(buffer)))
    context = f.load("data_context")
    tag = b.or_(page, context)
    known, search, look, found, following, give_up = (
        f.function.append_basic_block(n)
        for n in ("known", "search", "look", "found", "following", "give_up")
    )
    # An entry that is there already did not help: the access crosses into the next page.
    b.cbranch(b.icmp_unsigned("==", b.load(entry, typ=LONG), tag), give_up, known)
    b.position_at_end(known)
    runs = f.at(f.state, i64(State.offset(f"{access}_runs")))
    b.branch(search)
    b.position_at_end(search)
    number = b.phi(LONG)
    number.add_incoming(i64(0), known)
    b.cbranch(b.icmp_unsigned("<", number, i64(RUNS)), look, give_up)
    b.position_at_end(look)
    run = f.at(runs, b.mul(number, i64(_RUN_SIZE)))
    b.cbranch(_holds(f, run, context, page), found, following)
    b.position_at_end(following)
    number.add_incoming(b.add(number, i64(1)), following)
    b.branch(search)
    b.position_at_end(found)
    b.store(tag, entry)
    b.store(_word(f, run, 24), f.at(entry, i64(8)))
    f.call("enter", f.record, f.pc, f.count)
    b.position_at_end(give_up)


def _word(f: Frame, run: ir.Value, offset: int) -> ir.Value:
    return f.builder.load(f.at(run, i64(offset)), typ=LONG)


def _holds(f: Frame, run: ir.Value, context: ir.Value, page: ir.Value) -> ir.Value:
    """Whether the whole page is in the run, and the run valid."""
    b = f.builder
    before, size = b.sub(page, _word(f, run, 8)), _word(f, run, 16)
    starts = b.icmp_unsigned("<", before, size)
    ends = b.icmp_unsigned("<=", i64(PAGE_SIZE), b.sub(size, before))
    return b.and_(b.icmp_unsigned("==", _word(f, run, 0), context), b.and_(starts, ends))
