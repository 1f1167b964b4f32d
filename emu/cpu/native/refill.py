"""What emitted code does about a missing entry of the load or store buffer before it gives up.

The page may lie in a run that is known (`emu.cpu.runs`): then the entry is made from that, and the
instruction is executed again. So Python sees to each run of pages once, not to each page, and two
pages that compete for one entry cost some nanoseconds instead of microseconds.
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu.native.handler import LONG, PTR, Frame, i64
from emu.cpu.state import PAGE_SIZE, RUNS, TLB_ENTRIES, Exit, State

REFILLED = {Exit.LOAD_MISS: "load", Exit.STORE_MISS: "store"}
"""The exits that are tried so, and the kind of access of their buffers."""
_RUN_SIZE = 32
FINDER = ir.FunctionType(LONG, [PTR, LONG, LONG])


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


def emit_find(module: ir.Module, access: str) -> ir.Function:
    """`find_load(state, address, size)`, `find_store`: the host address of that memory, or 0 if the
    buffer and the runs do not have it. For translations, whose registers it leaves alone."""
    function = ir.Function(module, FINDER, f"find_{access}")
    function.calling_convention = "preserve_allcc"
    function.attributes.add("nounwind")
    f = Lookup(function)
    b, (_, address, size) = f.builder, function.args
    page = b.and_(address, i64(-PAGE_SIZE))
    last = b.add(address, b.sub(size, i64(1)))
    index = b.and_(b.lshr(address, i64(12)), i64(TLB_ENTRIES - 1))
    entry = f.at(f.state, b.add(b.shl(index, i64(4)), i64(State.offset(f"{access}_tlb"))))
    context = f.load("data_context")
    key = b.or_(b.and_(last, i64(-PAGE_SIZE)), context)
    hit, search, look, found, following, fail = (
        function.append_basic_block(n)
        for n in ("hit", "search", "look", "found", "following", "fail")
    )
    runs = f.at(f.state, i64(State.offset(f"{access}_runs")))
    start = b.block
    b.cbranch(b.icmp_unsigned("==", b.load(entry, typ=LONG), key), hit, search)
    b.position_at_end(hit)
    b.ret(b.add(address, b.load(f.at(entry, i64(8)), typ=LONG)))
    b.position_at_end(search)
    number = b.phi(LONG)
    number.add_incoming(i64(0), start)
    b.cbranch(b.icmp_unsigned("<", number, i64(RUNS)), look, fail)
    b.position_at_end(look)
    run = f.at(runs, b.mul(number, i64(_RUN_SIZE)))
    holds = b.and_(
        _holds(f, run, context, page), _holds(f, run, context, b.and_(last, i64(-PAGE_SIZE)))
    )
    b.cbranch(holds, found, following)
    b.position_at_end(following)
    number.add_incoming(b.add(number, i64(1)), following)
    b.branch(search)
    b.position_at_end(found)
    addend = _word(f, run, 24)
    b.store(b.or_(page, context), entry)
    b.store(addend, f.at(entry, i64(8)))
    b.ret(b.add(address, addend))
    b.position_at_end(fail)
    b.ret(i64(0))
    return function


class Lookup(Frame):
    """The frame of a function that is no handler."""

    def __init__(self, function: ir.Function) -> None:
        self.function = function
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.state = function.args[0]


def _word(f: Frame, run: ir.Value, offset: int) -> ir.Value:
    return f.builder.load(f.at(run, i64(offset)), typ=LONG)


def _holds(f: Frame, run: ir.Value, context: ir.Value, page: ir.Value) -> ir.Value:
    """Whether the whole page is in the run, and the run valid."""
    b = f.builder
    before, size = b.sub(page, _word(f, run, 8)), _word(f, run, 16)
    starts = b.icmp_unsigned("<", before, size)
    ends = b.icmp_unsigned("<=", i64(PAGE_SIZE), b.sub(size, before))
    return b.and_(b.icmp_unsigned("==", _word(f, run, 0), context), b.and_(starts, ends))
