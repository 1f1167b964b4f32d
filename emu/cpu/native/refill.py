"""What emitted code does about a missing entry of the load or store buffer before it gives up.

It walks the page tables (`emu.cpu.native.walk`); what lies in no RAM may be in a run that is known
(`emu.cpu.runs`). Then the entry is made, and the instruction executed again.
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu.native.alarm import emit_alarm_store
from emu.cpu.native.fault import emit_data_fault
from emu.cpu.native.handler import LONG, PTR, Frame, i64
from emu.cpu.native.walk import CALLER_KEEPS_NOTHING, call_walk
from emu.cpu.state import NO_CONTEXT, PAGE_SIZE, RUNS, Exit, State

REFILLED = {Exit.LOAD_MISS: "load", Exit.STORE_MISS: "store"}
"""The exits that are tried so, and the kind of access of their buffers."""
_RUN_SIZE = 32
"""Bytes of an entry of `State.load_runs`."""
FINDER = ir.FunctionType(LONG, [PTR, LONG, LONG, LONG])


def emit_refill(f: Frame, access: str) -> None:
    """In such an exit, whose `record` is the address: make the entry and go on at `pc`; what
    follows is emitted for when that cannot be done."""
    b = f.builder
    page = b.and_(b.ptrtoint(f.record, LONG), i64(-PAGE_SIZE))
    entry = f.buffer_entry(page, f"{access}_tlb")
    context = f.load("data_context")
    walk, search, found, elsewhere, give_up = blocks(
        f, "walk", "search", "found", "elsewhere", "give_up"
    )
    # An entry that is there already did not help: the access crosses into the next page.
    is_there = b.icmp_unsigned("==", b.load(entry, typ=LONG), b.or_(page, context))
    is_known = b.icmp_unsigned("!=", context, i64(NO_CONTEXT))
    b.cbranch(b.and_(is_known, b.not_(is_there)), walk, give_up)
    b.position_at_end(walk)
    host = call_walk(f, page, access)
    walked = b.sub(host, page)
    b.cbranch(b.icmp_unsigned("==", host, i64(0)), search, found)
    b.position_at_end(search)
    distance, hit = _search(f, access, [page], elsewhere)
    b.branch(found)
    b.position_at_end(found)
    addend = b.phi(LONG)
    addend.add_incoming(walked, walk)
    addend.add_incoming(distance, hit)
    _enter(f, entry, page, addend)
    f.call("enter", f.record, f.pc, f.count)
    b.position_at_end(elsewhere)
    if access == "store":
        emit_alarm_store(f)
    emit_data_fault(f, access)
    b.branch(give_up)
    b.position_at_end(give_up)


def emit_find(module: ir.Module, access: str) -> ir.Function:
    """`find_load(state, address, size, marks)`, `find_store`: the host address of that memory, or 0
    if it is for Python to find. For translations, whose registers it leaves alone."""
    function = _finder(module, f"find_{access}")
    search = _emit_search(module, access)
    f = Lookup(function)
    b, (_, address, size, _) = f.builder, function.args
    last = b.and_(b.add(address, b.sub(size, i64(1))), i64(-PAGE_SIZE))
    entry = f.buffer_entry(address, f"{access}_tlb")
    hit, miss = blocks(f, "hit", "miss")
    is_there = b.icmp_unsigned("==", b.load(entry, typ=LONG), b.or_(last, f.load("data_context")))
    b.cbranch(is_there, hit, miss).set_weights([1000, 1])
    b.position_at_end(hit)
    b.ret(b.add(address, word(f, entry, 8)))
    b.position_at_end(miss)
    b.ret(b.call(search, function.args, cconv=CALLER_KEEPS_NOTHING, tail="tail"))
    return function


def _finder(module: ir.Module, name: str) -> ir.Function:
    function = ir.Function(module, FINDER, name)
    function.calling_convention = CALLER_KEEPS_NOTHING
    function.attributes.add("nounwind")
    return function


def _emit_search(module: ir.Module, access: str) -> ir.Function:
    """What a finder does when the buffer has no entry; apart, so that it saves few registers."""
    function = _finder(module, f"search_{access}")
    function.linkage = "internal"
    function.attributes.add("noinline")
    f = Lookup(function)
    b, (_, address, size, marks) = f.builder, function.args
    first, last = (
        b.and_(a, i64(-PAGE_SIZE)) for a in (address, b.add(address, b.sub(size, i64(1))))
    )
    entry = f.buffer_entry(address, f"{access}_tlb")
    walk, more, both, search, found, fail = blocks(
        f, "walk", "more", "both", "search", "found", "fail"
    )
    b.cbranch(b.icmp_unsigned("==", f.load("data_context"), i64(NO_CONTEXT)), fail, walk)
    b.position_at_end(walk)
    host = call_walk(f, first, access, marks)
    walked = b.sub(host, first)
    b.cbranch(b.icmp_unsigned("==", host, i64(0)), search, more)
    b.position_at_end(more)
    b.cbranch(b.icmp_unsigned("==", first, last), found, both)
    b.position_at_end(both)
    behind = call_walk(f, last, access, marks)
    follows = b.icmp_unsigned("==", behind, b.add(host, i64(PAGE_SIZE)))
    b.cbranch(follows, found, fail)
    b.position_at_end(search)
    distance, run_found = _search(f, access, [first, last], fail)
    b.branch(found)
    b.position_at_end(found)
    addend = b.phi(LONG)
    for block, value in ((more, walked), (both, walked), (run_found, distance)):
        addend.add_incoming(value, block)
    _enter(f, entry, first, addend)
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


def blocks(f: Frame, *names: str) -> list[ir.Block]:
    """New blocks of the function."""
    return [f.function.append_basic_block(name) for name in names]


def _enter(f: Frame, entry: ir.Value, page: ir.Value, addend: ir.Value) -> None:
    f.builder.store(f.builder.or_(page, f.load("data_context")), entry)
    f.builder.store(addend, f.at(entry, i64(8)))


def word(f: Frame, base: ir.Value, offset: int) -> ir.Value:
    """The 64 bits so many bytes behind a pointer."""
    return f.builder.load(f.at(base, i64(offset)), typ=LONG)


def _search(
    f: Frame, access: str, pages: list[ir.Value], fail: ir.Block
) -> tuple[ir.Value, ir.Block]:
    """Look for a run that holds all the pages; the distance to host memory and the block in which
    it is known. If there is none, control goes to `fail`."""
    b = f.builder
    search, look, found, following = blocks(f, "runs", "look", "found_run", "following")
    runs, context = f.at(f.state, i64(State.offset(f"{access}_runs"))), f.load("data_context")
    before = b.block
    b.branch(search)
    b.position_at_end(search)
    number = b.phi(LONG)
    number.add_incoming(i64(0), before)
    b.cbranch(b.icmp_unsigned("<", number, i64(RUNS)), look, fail)
    b.position_at_end(look)
    run = f.at(runs, b.mul(number, i64(_RUN_SIZE)))
    holds = _holds(f, run, context, pages[0])
    for page in pages[1:]:
        holds = b.and_(holds, _holds(f, run, context, page))
    b.cbranch(holds, found, following)
    b.position_at_end(following)
    number.add_incoming(b.add(number, i64(1)), following)
    b.branch(search)
    b.position_at_end(found)
    return word(f, run, 24), found


def _holds(f: Frame, run: ir.Value, context: ir.Value, page: ir.Value) -> ir.Value:
    """Whether the whole page is in the run, and the run valid."""
    b = f.builder
    before, size = b.sub(page, word(f, run, 8)), word(f, run, 16)
    starts = b.icmp_unsigned("<", before, size)
    ends = b.icmp_unsigned("<=", i64(PAGE_SIZE), b.sub(size, before))
    return b.and_(b.icmp_unsigned("==", word(f, run, 0), context), b.and_(starts, ends))
