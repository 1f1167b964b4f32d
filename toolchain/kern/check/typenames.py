"""From a type as written to a type."""

from __future__ import annotations

from toolchain.kern import syntax
from toolchain.kern.check.constants import constant_int
from toolchain.kern.check.context import Context
from toolchain.kern.check.names import resolve, undefined
from toolchain.kern.check.symbols import EnumSymbol, StructSymbol
from toolchain.kern.diagnostics import Place, did_you_mean
from toolchain.kern.types import (
    ELEMENT_CODES,
    NAMED,
    POISON,
    VOID,
    Array,
    Enum,
    Fn,
    Half,
    Ptr,
    Queue,
    Result,
    Slice,
    SlotTable,
    Struct,
    Tensor,
    Type,
    size_of,
)

PARAMETRISED = ("ptr", "array", "slice", "queue", "tensor")
_QUEUE_DEFAULT = 256
_MOST_BYTES = 1 << 40


def named_type(context: Context, node: syntax.Node) -> Type | None:
    """The type that an expression names, or None when it names none. Reports nothing."""
    if isinstance(node, syntax.Name) and node.name in NAMED:
        return NAMED[node.name]
    if isinstance(node, syntax.Index) and isinstance(node.base, syntax.Name):
        if node.base.name in PARAMETRISED:
            return resolve_type(context, node)
        return None
    if isinstance(node, syntax.FnType):
        return resolve_type(context, node)
    symbol = resolve(context, node) if isinstance(node, syntax.Name | syntax.Dot) else None
    return symbol.type if isinstance(symbol, StructSymbol | EnumSymbol) else None


def resolve_type(context: Context, node: syntax.Node, owner: str = "") -> Type:
    """The type that must stand here. `owner` names an anonymous enum (`Agent.state`)."""
    match node:
        case syntax.Name(_, name) if name in NAMED:
            return NAMED[name]
        case syntax.ResultType(_, value):
            return Result(VOID if value is None else _object(context, value))
        case syntax.FnType(_, parameters, result):
            types = tuple(_object(context, p) for p in parameters)
            return Fn(types, resolve_type(context, result) if result else VOID)
        case syntax.EnumType(place, members):
            return _anonymous_enum(context, place, members, owner)
        case syntax.Index(_, syntax.Name(), _):
            return _parametrised(context, node)
        case syntax.Name() | syntax.Dot():
            return _declared(context, node)
    context.world.report(node.place, "this is not a type")
    return POISON


def _declared(context: Context, node: syntax.Name | syntax.Dot) -> Type:
    symbol = resolve(context, node)
    if isinstance(symbol, StructSymbol | EnumSymbol):
        return symbol.type
    name = node.name
    if name in PARAMETRISED:
        message = f"'{name}' needs to say of what"
        context.world.report(node.place, message, f"as in {name}[int]")
        return POISON
    types = {
        n for m in context.world.modules.values() for n, s in m.items()
        if isinstance(s, StructSymbol | EnumSymbol)
    }  # fmt: skip
    if symbol is None and not isinstance(node, syntax.Dot):
        _, hint = undefined(context, name)
        hint = did_you_mean(name, types | set(NAMED) | set(PARAMETRISED)) or hint
        context.world.report(node.place, f"there is no type '{name}'", hint)
    else:
        context.world.report(node.place, f"'{name}' is not a type", did_you_mean(name, types))
    return POISON


def _object(context: Context, node: syntax.Node) -> Type:
    """A type of which there can be objects."""
    type_ = resolve_type(context, node)
    if isinstance(type_, Result):
        context.world.report(node.place, f"{type_} can only be the result of a function")
        return POISON
    return type_


def _anonymous_enum(context: Context, place: Place, names: tuple[str, ...], owner: str) -> Enum:
    enum = Enum(owner or "enum", context.module, place.file, place.line)
    if len(set(names)) < len(names):
        context.world.report(place, "two members of this enum have the same name")
    enum.members.update({name: number for number, name in enumerate(names)})
    context.world.enums.append(enum)
    return enum


def _parametrised(context: Context, node: syntax.Index) -> Type:
    assert isinstance(node.base, syntax.Name)
    kind, arguments = node.base.name, node.arguments
    if kind not in PARAMETRISED:
        context.world.report(node.place, f"'{kind}' takes no type arguments")
        return POISON
    most = 2 if kind in ("array", "queue") else 1
    if not 1 <= len(arguments) <= most:
        what = "a type" if most == 1 else "a type and perhaps a length"
        context.world.report(node.place, f"'{kind}' takes {what}, not {len(arguments)} arguments")
        return POISON
    first = arguments[0]
    if kind == "tensor" and isinstance(first, syntax.Name) and Half(first.name) in ELEMENT_CODES:
        return Tensor(Half(first.name))
    element = _object(context, first)
    if element == POISON:
        return POISON
    match kind:
        case "ptr":
            return Ptr(element)
        case "slice":
            return Slice(element)
        case "tensor":
            return _tensor(context, node, element)
    if kind == "array" and len(arguments) == 1:
        return Slice(element)
    return _sized(context, node, kind, element)


def _tensor(context: Context, node: syntax.Index, element: Type) -> Type:
    if element in ELEMENT_CODES:
        return Tensor(element)
    known = ", ".join(map(str, ELEMENT_CODES))
    context.world.report(node.place, f"a tensor's elements are not {element}", f"but {known}")
    return POISON


def _sized(context: Context, node: syntax.Index, kind: str, element: Type) -> Type:
    length = _QUEUE_DEFAULT
    if len(node.arguments) == 2:
        value = constant_int(context, node.arguments[1])
        if value is None:
            return POISON
        length = value
    if isinstance(element, Struct):
        from toolchain.kern.check.declare import fill_struct

        fill_struct(context.world, element)
    if length < 1 or length * max(1, size_of(element)) > _MOST_BYTES:
        message = f"the length {length} is not between 1 and what memory could hold"
        context.world.report(node.arguments[-1].place, message)
        return POISON
    if kind == "queue":
        return Queue(element, length)
    return SlotTable(element, length) if isinstance(element, Struct) else Array(element, length)
