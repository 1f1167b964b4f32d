"""Loops: every `for` becomes a `Loop` with a hidden counter.

The counter is not the variable that the source sees: assigning to that one does not disturb the
loop. Elements that are structs are visited by reference, scalars by value.
"""

from __future__ import annotations

from collections.abc import Callable

from toolchain.kern import syntax, typed
from toolchain.kern.check.access import element
from toolchain.kern.check.context import Context, checks_statement, read
from toolchain.kern.check.convert import address_of, convert, lvalue_of, try_convert
from toolchain.kern.check.statements import block_in_scope, condition
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import (
    ANY_INT,
    BOOL,
    INT,
    POISON,
    Array,
    Int,
    Order,
    Ptr,
    Queue,
    Slice,
    SlotTable,
    Str,
    Type,
    is_aggregate,
)


@checks_statement(syntax.While)
def while_(context: Context, node: syntax.While) -> list[typed.Stmt]:
    """`while condition { }`."""
    test: typed.Expr | None = condition(context, node.condition, "while")
    with context.scope(loop=True) as scope:
        body = block_in_scope(context, node.body)
    endless = isinstance(test, typed.IntConst) and test.value == 1 and not scope.broken
    return [typed.Loop(node.place, None if endless else test, body, ())]


@checks_statement(syntax.For)
def for_(context: Context, node: syntax.For) -> list[typed.Stmt]:
    """`for x in xs`, `for i in a..b`, `for i, x in xs`."""
    if isinstance(node.iterable, syntax.Range):
        return _for_range(context, node, node.iterable)
    value = context.expression(node.iterable)
    match value.type:
        case SlotTable() | Array() | Queue():
            return _for_object(context, node, lvalue_of(value))
        case Slice() | Str() | Order():
            keep, again = context.temporary(value, "visited")
            length = typed.Length(INT, value.place, again)
            return [keep, *_count(context, node, length, lambda k: _part(context, again, k))]
    if value.type != POISON:
        hint = f"write 0..{_shown(node.iterable)}" if isinstance(value.type, Int) else ""
        context.wrong(value.place, f"{value.type} has nothing to iterate over", hint)
    _bad_body(context, node)
    return []


def _shown(node: syntax.Node) -> str:
    return node.name if isinstance(node, syntax.Name) else "n"


def _bad_body(context: Context, node: syntax.For) -> None:
    """Checks the body of a loop over nobody knows what, for its own mistakes."""
    with context.scope(loop=True):
        for name in (node.index, node.name):
            if name is not None:
                local = context.local(name.name, POISON, name.place)
                context.bind(name.name, typed.LocalVar(POISON, name.place, local))
        block_in_scope(context, node.body)


def _part(context: Context, value: typed.Expr, position: typed.Expr) -> typed.Lvalue:
    return lvalue_of(element(context, value, position, value.place, checked=False))


# ── Ranges ───────────────────────────────────────────────────────────────────────────────────


def _for_range(context: Context, node: syntax.For, range_: syntax.Range) -> list[typed.Stmt]:
    if node.index is not None:
        context.wrong(node.index.place, "a range has no index besides its value")
    low, high = _bounds(context, range_)
    if POISON in (low.type, high.type):
        _bad_body(context, node)
        return []
    keep, limit = context.temporary(high, "limit")
    counter = context.local("counter", low.type, node.place, hidden=True)
    start = typed.Let(node.place, counter, low)
    now = read(counter, node.name.place)
    test = typed.Binary(BOOL, range_.place, "lt", now, limit)
    with context.scope(loop=True):
        let = _let(context, node.name, now)
        body = _body(context, node, [let])
    return [start, keep, typed.Loop(node.place, test, body, (_increment(counter, node.place),))]


def _bounds(context: Context, node: syntax.Range) -> tuple[typed.Expr, typed.Expr]:
    low = context.expression(node.low)
    high = context.expression(node.high, low.type if isinstance(low.type, Int) else None)
    if low.type == ANY_INT and high.type == ANY_INT:
        return convert(context, low, INT), convert(context, high, INT)
    target: Type = INT
    for value, other in ((low, high), (high, low)):
        if isinstance(value.type, Int) and try_convert(context, other, value.type) is not None:
            target = value.type
            break
    what = "a bound of the range"
    return convert(context, low, target, what), convert(context, high, target, what)


def _increment(counter: typed.Local, place: Place) -> typed.Stmt:
    one = typed.IntConst(counter.type, place, 1)
    more = typed.Binary(counter.type, place, "add", read(counter, place), one)
    return typed.Store(place, typed.LocalVar(counter.type, place, counter), more)


def _let(context: Context, name: syntax.Name, value: typed.Expr) -> typed.Stmt:
    local = context.local(name.name, value.type, name.place)
    context.bind(name.name, typed.LocalVar(value.type, name.place, local))
    return typed.Let(name.place, local, value)


def _body(context: Context, node: syntax.For, first: list[typed.Stmt]) -> typed.Block:
    block = block_in_scope(context, node.body)
    return typed.Block(block.place, (*first, *block.body), block.end)


# ── Elements ─────────────────────────────────────────────────────────────────────────────────


def _for_object(context: Context, node: syntax.For, lvalue: typed.Lvalue) -> list[typed.Stmt]:
    """Over an object in memory, whose address is taken once."""
    before: list[typed.Stmt] = []
    if not isinstance(lvalue, typed.GlobalVar | typed.LocalVar):
        keep, again = context.temporary(address_of(lvalue), "visited")
        before = [keep]
        lvalue = typed.Deref(lvalue.type, lvalue.place, again, checked=False)
    if isinstance(lvalue.type, Queue):
        return [*before, *_for_queue(context, node, lvalue)]
    assert isinstance(lvalue.type, Array | SlotTable)
    table = lvalue.type
    length = typed.IntConst(INT, node.place, table.length)

    def part(k: typed.Expr) -> typed.Lvalue:
        return typed.Element(table.element, k.place, lvalue, k, checked=False)

    used = None
    if isinstance(table, SlotTable):

        def used(k: typed.Expr) -> typed.Expr:
            return typed.SlotOp(BOOL, k.place, "used", lvalue, (k,))

    return [*before, *_count(context, node, length, part, used)]


def _for_queue(context: Context, node: syntax.For, lvalue: typed.Lvalue) -> list[typed.Stmt]:
    assert isinstance(lvalue.type, Queue)
    entry = lvalue.type.element
    length = typed.QueueOp(INT, node.place, "len", lvalue, ())
    return _count(context, node, length, lambda k: typed.QueueElement(entry, k.place, lvalue, k))


def _count(
    context: Context,
    node: syntax.For,
    length: typed.Expr,
    part: Callable[[typed.Expr], typed.Lvalue],
    used: Callable[[typed.Expr], typed.Expr] | None = None,
) -> list[typed.Stmt]:
    """The loop over `part(0)`, `part(1)`, …, of those that are `used`."""
    counter = context.local("counter", INT, node.place, hidden=True)
    start = typed.Let(node.place, counter, typed.IntConst(INT, node.place, 0))
    now = read(counter, node.name.place)
    test = typed.Binary(BOOL, node.place, "lt", now, length)
    with context.scope(loop=True):
        first = [_let(context, node.index, now)] if node.index is not None else []
        first.append(_element(context, node.name, part(now)))
        body = _body(context, node, first)
    if used is not None:
        branch = typed.If(node.place, used(now), body, None)
        body = typed.Block(node.place, (branch,), body.end)
    return [start, typed.Loop(node.place, test, body, (_increment(counter, node.place),))]


def _element(context: Context, name: syntax.Name, lvalue: typed.Lvalue) -> typed.Stmt:
    """Binds the loop's variable: to the element itself when that is an aggregate."""
    if not is_aggregate(lvalue.type):
        return _let(context, name, typed.Load(lvalue.type, name.place, lvalue))
    local = context.local(name.name, Ptr(lvalue.type), name.place, reference=True)
    target = typed.Deref(lvalue.type, name.place, read(local, name.place), checked=False)
    context.bind(name.name, target)
    return typed.Let(name.place, local, address_of(lvalue))
