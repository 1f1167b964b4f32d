"""What emitted code does about a page of code that is missing in the fetch buffer, and about a
translation that has been closed, before it leaves them to Python.

A page is entered again if a walk finds it and its records are known. They are cleared first if its
code is no longer what they were decoded from (`emu.cpu.native.codepages`). A translation that was
found valid in another context is opened in the one in force if all of its pages are there and have
not been cleared since, which their versions tell. (That a record still holds the number of the
region says so of the record's own page only.)
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu.native.fault import emit_fetch_fault
from emu.cpu.native.handler import HALF, HANDLER, LONG, PTR, Frame, i64
from emu.cpu.native.layout import (
    CELL_SIZE,
    CHANGED,
    COPY,
    NO_PAGE,
    RECORD_SCALE,
    RECORD_SIZE,
    RECORDS,
    VERSION,
    Cell,
)
from emu.cpu.native.refill import Lookup, blocks, word
from emu.cpu.native.walk import CALLER_KEEPS_NOTHING, call_walk
from emu.cpu.state import CODE_PAGES, ENTERED, NO_CONTEXT, PAGE_BITS, PAGE_SIZE, State

_ENTER = ir.FunctionType(ir.IntType(1), [PTR, LONG, LONG])
_PLACE_SIZE = 16
"""Bytes of a row of `Cell.PAGES`."""
_VECTOR = ir.VectorType(LONG, 8)
"""What is compared, cleared and copied at a time."""


def emit_refill_code(f: Frame) -> None:
    """In the exit FETCH_MISS, whose `record` is the address: enter the page and go on at `pc`; what
    follows is emitted for when that cannot be done."""
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
    emit_fetch_fault(f)


def _call_enter(f: Frame, page: ir.Value, *, marks: bool) -> ir.Value:
    """Enter a page in the fetch buffer, `marks` as in a walk; whether it is there now (1 bit).
    Without marks no records are cleared: somebody may still execute them."""
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
    walk, find, compare, changed, clear, found, fail = blocks(
        f, "walk", "find", "compare", "changed", "clear", "found", "fail"
    )
    context = f.load("fetch_context")
    b.cbranch(b.icmp_unsigned("==", context, i64(NO_CONTEXT)), fail, walk)
    b.position_at_end(walk)
    host = call_walk(f, page, "fetch", marks)
    b.cbranch(b.icmp_unsigned("==", host, i64(0)), fail, find)
    b.position_at_end(find)
    index = b.and_(b.lshr(host, i64(PAGE_BITS)), i64(CODE_PAGES - 1))
    known = f.at(f.state, b.add(b.shl(index, i64(5)), i64(State.offset("code_pages"))))
    is_it = b.icmp_unsigned("==", word(f, known, 0), host)
    is_new = b.icmp_unsigned("==", word(f, known, 8), f.load("code_generation"))
    b.cbranch(b.and_(is_it, is_new), compare, fail)
    b.position_at_end(compare)
    code, records = b.inttoptr(host, PTR), b.inttoptr(word(f, known, 16), PTR)
    b.cbranch(_is_changed(f, code, records), changed, found)
    b.position_at_end(changed)
    b.cbranch(b.icmp_unsigned("!=", marks, i64(0)), clear, fail)
    b.position_at_end(clear)
    _emit_clear(f, code, records)
    b.branch(found)
    b.position_at_end(found)
    entry = f.buffer_entry(page, "fetch_tlb")
    addend = b.sub(word(f, known, 16), b.mul(page, i64(RECORD_SCALE)))
    for at, value in enumerate((b.or_(page, context), addend, b.sub(host, page))):
        b.store(value, f.at(entry, i64(8 * at)))
    b.ret(ir.Constant(ir.IntType(1), 1))
    b.position_at_end(fail)
    b.ret(ir.Constant(ir.IntType(1), 0))
    return function


def _is_changed(f: Frame, code: ir.Value, records: ir.Value) -> ir.Value:
    """Whether a page's code may be other than what its records were decoded from (1 bit)."""
    b, copy = f.builder, f.at(records, i64(COPY))
    different = ir.Constant(_VECTOR, [0] * _VECTOR.count)
    with _Steps(f, PAGE_SIZE) as offset:
        seen = b.phi(_VECTOR)
        seen.add_incoming(different, offset.before)
        now, then = (b.load(f.at(p, offset.value), typ=_VECTOR, align=8) for p in (code, copy))
        different = b.or_(seen, b.xor(now, then))
        seen.add_incoming(different, b.block)
    answer = word(f, records, CHANGED)
    for i in range(_VECTOR.count):
        answer = b.or_(answer, b.extract_element(different, ir.Constant(ir.IntType(32), i)))
    return b.icmp_unsigned("!=", answer, i64(0))


def _emit_clear(f: Frame, code: ir.Value, records: ir.Value) -> None:
    """Begin a page of records anew, as `CodePages` does."""
    b, copy = f.builder, f.at(records, i64(COPY))
    with _Steps(f, RECORDS * RECORD_SIZE) as offset:
        nothing = ir.Constant(_VECTOR, [0] * _VECTOR.count)
        b.store(nothing, f.at(records, offset.value), align=8)
    with _Steps(f, PAGE_SIZE) as offset:
        now = b.load(f.at(code, offset.value), typ=_VECTOR, align=8)
        b.store(now, f.at(copy, offset.value), align=8)
    version = b.add(f.load("code_version"), i64(1))
    f.store("code_version", version)
    b.store(i64(0), f.at(records, i64(CHANGED)))
    b.store(version, f.at(records, i64(VERSION)))


class _Steps:
    """The body of a loop over so many bytes, a vector at a time: `value` is the offset."""

    def __init__(self, f: Frame, size: int) -> None:
        self._builder, self._size = f.builder, size
        self._body, self._behind = blocks(f, "step", "behind")

    def __enter__(self) -> _Steps:
        self.before = self._builder.block
        self._builder.branch(self._body)
        self._builder.position_at_end(self._body)
        self.value = self._builder.phi(LONG)
        self.value.add_incoming(i64(0), self.before)
        return self

    def __exit__(self, *_: object) -> None:
        b = self._builder
        following = b.add(self.value, i64(_VECTOR.count * 8))
        self.value.add_incoming(following, b.block)
        b.cbranch(b.icmp_unsigned("<", following, i64(self._size)), self._body, self._behind)
        b.position_at_end(self._behind)


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
    entry = f.buffer_entry(page, "fetch_tlb")
    is_there = b.icmp_unsigned("==", word(f, entry, 0), b.or_(page, context))
    b.cbranch(is_there, there, enter)
    b.position_at_end(enter)
    b.cbranch(_call_enter(f, page, marks=False), there, closed)
    b.position_at_end(there)
    records = b.add(word(f, entry, 8), b.mul(page, i64(RECORD_SCALE)))
    version = word(f, b.inttoptr(records, PTR), VERSION)
    b.cbranch(b.icmp_unsigned("==", version, word(f, where, 8)), following, closed)
    b.position_at_end(following)
    place.add_incoming(b.add(place, i64(_PLACE_SIZE)), following)
    b.branch(check)
    b.position_at_end(opened)
    b.store(context, f.at(cell, i64(8 * Cell.CONTEXT)))
    f.dispatch(f.record, f.pc, f.count)
    b.position_at_end(closed)
    original = f.at(f.table, b.shl(word(f, cell, 8 * Cell.ORIGINAL), i64(3)))
    f.tail(b.load(original, typ=HANDLER.as_pointer()), f.record, f.pc, f.count)
