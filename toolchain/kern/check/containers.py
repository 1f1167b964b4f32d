"""The operations of slot tables and queues, and `sort`."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.kern import syntax, typed
from toolchain.kern.check.context import Context, read
from toolchain.kern.check.convert import convert, default_type, lvalue_of
from toolchain.kern.check.declare import fill_struct
from toolchain.kern.diagnostics import did_you_mean
from toolchain.kern.types import (
    BOOL,
    INT,
    POISON,
    VOID,
    Array,
    Bool,
    Float,
    Int,
    Order,
    Ptr,
    Queue,
    Slice,
    SlotTable,
    Struct,
    Type,
)


@dataclass(frozen=True)
class Operation:
    """Parameter and result types; "element" stands for the container's element type."""

    parameters: tuple[Type | str, ...]
    result: Type | str


SLOT_OPERATIONS = {
    "alloc": Operation((), INT),
    "free": Operation((INT,), VOID),
    "full": Operation((), BOOL),
    "count": Operation((), INT),
    "used": Operation((INT,), BOOL),
}
QUEUE_OPERATIONS = {
    "push": Operation(("element",), BOOL),
    "pop": Operation((), "element"),
    "peek": Operation((), "element"),
    "empty": Operation((), BOOL),
    "full": Operation((), BOOL),
    "len": Operation((), INT),
    "clear": Operation((), VOID),
}


def operations(type_: Type) -> dict[str, Operation]:
    """The operations that a type of container has; none for other types."""
    if isinstance(type_, SlotTable):
        return SLOT_OPERATIONS
    return QUEUE_OPERATIONS if isinstance(type_, Queue) else {}


def call_operation(
    context: Context, container: typed.Expr, node: syntax.Call, callee: syntax.Dot
) -> typed.Expr:
    """`container.operation(...)`."""
    type_ = container.type
    known = operations(type_)
    operation = known.get(callee.name)
    if operation is None:
        for argument in node.arguments:
            context.expression(argument)
        message = f"'{type_}' has no operation '{callee.name}'"
        hint = did_you_mean(callee.name, known) or f"it has {', '.join(known)}"
        return context.wrong(callee.name_place, message, hint)
    if len(node.arguments) != len(operation.parameters) or node.keywords:
        count = len(operation.parameters)
        message = f"'{callee.name}' takes {count} argument{'s' if count != 1 else ''}"
        return context.wrong(node.place, f"{message}, not {len(node.arguments)}")
    assert isinstance(type_, SlotTable | Queue)

    def actual(declared: Type | str) -> Type:
        return declared if isinstance(declared, Type) else type_.element

    arguments = tuple(
        convert(context, context.expression(argument, actual(declared)), actual(declared),
                f"the argument of '{callee.name}'")
        for argument, declared in zip(node.arguments, operation.parameters, strict=True)
    )  # fmt: skip
    lvalue = lvalue_of(container)
    kind = typed.SlotOp if isinstance(type_, SlotTable) else typed.QueueOp
    return kind(actual(operation.result), node.place, callee.name, lvalue, arguments)


def call_sort(context: Context, node: syntax.Call) -> typed.Expr:
    """`sort(xs, key=expr)`: an order; bare names in expr are fields of the element
    first, and `it` is the element."""
    wrong_keyword = [k for k in node.keywords if k.name != "key"]
    if len(node.arguments) != 1 or wrong_keyword or len(node.keywords) > 1:
        return context.wrong(node.place, "sort takes what to sort and key=...",
                             "sort(xs, key=priority)")  # fmt: skip
    value = context.expression(node.arguments[0])
    if value.type == POISON:
        return value
    if not isinstance(value.type, SlotTable | Array | Slice):
        return context.wrong(node.arguments[0].place, f"{value.type} cannot be sorted")
    element_type = value.type.element
    local = context.local("element", Ptr(element_type), node.place, hidden=True, reference=True)
    pointer = read(local, node.place)
    element = typed.Deref(element_type, node.place, pointer, checked=False)
    key = _sort_key(context, node, element)
    if key.type == POISON:
        return key
    base = lvalue_of(value)
    return typed.Sort(Order(element_type), node.place, base, local, key)


def _sort_key(context: Context, node: syntax.Call, element: typed.Deref) -> typed.Expr:
    with context.scope():
        context.bind("it", element)
        for name, lvalue in _fields(context, element):
            context.bind(name, lvalue)
        if node.keywords:
            key = default_type(context, context.expression(node.keywords[0].value))
        else:
            key = typed.Load(element.type, node.place, element)
    if not isinstance(key.type, Int | Float | Bool) and key.type != POISON:
        hint = "" if node.keywords else "say by what: sort(xs, key=...)"
        return context.wrong(key.place, f"a sort key is a number, not {key.type}", hint)
    return key


def _fields(context: Context, element: typed.Lvalue) -> list[tuple[str, typed.Lvalue]]:
    """The fields of an element, or of what it points to, as objects."""
    type_ = element.type
    if isinstance(type_, Ptr) and type_.target is not None:
        pointer = typed.Load(type_, element.place, element)
        element = typed.Deref(type_.target, element.place, pointer, checked=True)
        type_ = type_.target
    if not isinstance(type_, Struct):
        return []
    fill_struct(context.world, type_)
    return [
        (field.name, typed.FieldOf(field.type, element.place, element, index))
        for index, field in enumerate(type_.fields)
    ]
