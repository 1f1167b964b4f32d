"""What emitted code does about a page of code that is missing in the fetch buffer, and about a
translation that has been closed, before it leaves them to Python.

A page is entered again if a walk finds it and its records are known: it has been executed there
since the last FENCE.I. A translation that was found valid in another context is opened in the one
in force if all of its pages are where they were then. The number of a region in a record says that
its code has not changed since: records are cleared before the page is entered in a new generation.
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu.native.handler import HALF, HANDLER, LONG, PTR, Frame, i64
from emu.cpu.native.layout import CELL_SIZE, NO_PAGE, RECORD_SCALE, Cell
from emu.cpu.native.refill import Lookup, blocks, buffer_entry, word
from emu.cpu.native.walk import CALLER_KEEPS_NOTHING, call_walk
from emu.cpu.state import CODE_PAGES, ENTERED, NO_CONTEXT, PAGE_SIZE, State

_ENTER = ir.FunctionType(ir.IntType(1), [PTR, LONG, LONG])
_PLACE_SIZE = 16


def emit_refill_code(f: Frame) -> None:
    """In the handler of FETCH_MISS, whose `record` is the address: enter the page and go on at
    `pc`; what follows is emitted for when that cannot be done."""
    b = f.builder
    page = b.and_(b.ptrtoint(f.record, LONG), i64(-PAGE_SIZE))
    found, give_up = blocks(f, "found", "give_up")
    b.cbranch(_call_enter(f, page, marks=True), found, give_up)
    b.position_at_end(found)
    count = f.load("entered_at")
    f.store("entered", page, b.and_(count, i64(ENTERED - 1)))
    f.store("entered_at", b.add(count, i64(1)))
    f.call("enter", f.record, f.pc, f.count)
    b.position_at_end(give_up)


def _call_enter(f: Frame, page: ir.Value, *, marks: bool) -> ir.Value:
    """Enter a page in the fetch buffer, `marks` as in a walk; whether it is there now (1 bit)."""
    function = f.module.globals.get("enter_code") or _emit_enter(f.module)
    arguments = [f.state, page, i64(int(marks))]
    return f.builder.call(function, arguments, cconv=CALLER_KEEPS_NOTHING)


def _emit_enter(module: ir.Module) -> ir.Function:
    """`enter_code(state, page, marks) -> done`"""
    function = ir.Function(module, _ENTER, "enter_code")
    function.calling_convention = CALLER_KEEPS_NOTHING
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    f = Lookup(function)
    b, (_, page, marks) = f.builder, function.args
    walk, find, found, fail = blocks(f, "walk", "find", "found", "fail")
    context = f.load("fetch_context")
    b.cbranch(b.icmp_unsigned("==", context, i64(NO_CONTEXT)), fail, walk)
    b.position_at_end(walk)
    host = call_walk(f, page, "fetch", marks)
    b.cbranch(b.icmp_unsigned("==", host, i64(0)), fail, find)
    b.position_at_end(find)
    index = b.and_(b.lshr(host, i64(12)), i64(CODE_PAGES - 1))
    known = f.at(f.state, b.add(b.shl(index, i64(5)), i64(State.offset("code_pages"))))
    is_it = b.icmp_unsigned("==", word(f, known, 0), host)
    is_new = b.icmp_unsigned("==", word(f, known, 8), f.load("code_generation"))
    b.cbranch(b.and_(is_it, is_new), found, fail)
    b.position_at_end(found)
    entry = buffer_entry(f, page, "fetch_tlb", 5)
    records = b.sub(word(f, known, 16), b.mul(page, i64(RECORD_SCALE)))
    for at, value in enumerate((b.or_(page, context), records, b.sub(host, page))):
        b.store(value, f.at(entry, i64(8 * at)))
    b.ret(ir.Constant(ir.IntType(1), 1))
    b.position_at_end(fail)
    b.ret(ir.Constant(ir.IntType(1), 0))
    return function


def emit_reopen(function: ir.Function) -> None:
    """The handler that a region's prologue goes to when something does not hold: if that is the
    context, try to open the region, and begin it again; else execute the instruction."""
    f = Frame(function, 0)
    b = f.builder
    number = b.zext(b.load(f.record, typ=HALF), LONG)
    cell = f.at(f.state, b.add(b.mul(number, i64(CELL_SIZE)), i64(State.offset("cells"))))
    context = f.load("fetch_context")
    check, look, enter, there, following, opened, closed = blocks(
        f, "check", "look", "enter", "there", "following", "opened", "closed"
    )
    is_open = b.icmp_unsigned("==", word(f, cell, 8 * Cell.CONTEXT), context)
    is_here = b.icmp_unsigned("==", word(f, cell, 8 * Cell.PC), f.pc)
    table, before = word(f, cell, 8 * Cell.PAGES), b.block
    b.cbranch(b.and_(is_here, b.not_(is_open)), check, closed)
    b.position_at_end(check)
    place = b.phi(LONG)
    place.add_incoming(table, before)
    where = b.inttoptr(place, PTR)
    page = word(f, where, 0)
    b.cbranch(b.icmp_unsigned("==", page, i64(NO_PAGE)), opened, look)
    b.position_at_end(look)
    entry = buffer_entry(f, page, "fetch_tlb", 5)
    is_there = b.icmp_unsigned("==", word(f, entry, 0), b.or_(page, context))
    b.cbranch(is_there, there, enter)
    b.position_at_end(enter)
    b.cbranch(_call_enter(f, page, marks=False), there, closed)
    b.position_at_end(there)
    host = b.add(word(f, entry, 16), page)
    b.cbranch(b.icmp_unsigned("==", host, word(f, where, 8)), following, closed)
    b.position_at_end(following)
    place.add_incoming(b.add(place, i64(_PLACE_SIZE)), following)
    b.branch(check)
    b.position_at_end(opened)
    b.store(context, f.at(cell, i64(8 * Cell.CONTEXT)))
    f.dispatch(f.record, f.pc, f.count)
    b.position_at_end(closed)
    original = f.at(f.table, b.shl(word(f, cell, 8 * Cell.ORIGINAL), i64(3)))
    f.tail(b.load(original, typ=HANDLER.as_pointer()), f.record, f.pc, f.count)
