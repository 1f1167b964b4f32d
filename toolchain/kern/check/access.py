"""Parts of objects: fields, elements, slices."""

from __future__ import annotations

from toolchain.kern import syntax, typed
from toolchain.kern.check.context import Context, checks_expression
from toolchain.kern.check.convert import (
    address_of,
    cast_node,
    convert,
    lvalue_of,
    slice_of_array,
)
from toolchain.kern.check.declare import fill_struct
from toolchain.kern.check.expressions import symbol_value
from toolchain.kern.check.names import resolve
from toolchain.kern.check.symbols import EnumSymbol, ModuleSymbol
from toolchain.kern.check.tensors import element_of, rows_of
from toolchain.kern.check.typenames import PARAMETRISED, named_type
from toolchain.kern.diagnostics import Place, did_you_mean
from toolchain.kern.types import (
    DESCRIPTOR,
    INT,
    POISON,
    PTR,
    U8,
    Array,
    Enum,
    Int,
    Order,
    Ptr,
    Queue,
    Result,
    Slice,
    SlotTable,
    Str,
    Struct,
    Tensor,
    Type,
    members_of,
)


def has_member(context: Context, type_: Type, name: str) -> bool:
    """Whether `x.name` is a field or a method of an `x` of the type."""
    target = type_.target if isinstance(type_, Ptr) and type_.target else type_
    if isinstance(target, Struct):
        fill_struct(context.world, target)
        return target.index_of(name) is not None or name in context.world.structs[target].methods
    if isinstance(target, SlotTable | Queue):
        from toolchain.kern.check.containers import operations

        return name == "len" or name in operations(target)
    if isinstance(target, Slice | Str | Order | Array):
        return name in ("len", "ptr")
    return target == POISON or (isinstance(target, Tensor) and name in DESCRIPTOR)


# ── x.name ───────────────────────────────────────────────────────────────────────────────────


@checks_expression(syntax.Dot)
def dot(context: Context, node: syntax.Dot, expected: Type | None) -> typed.Expr:
    """A field, a member of an enum, or a name of a module."""
    symbol = resolve(context, node)
    if symbol is not None:
        return symbol_value(context, symbol, node.place)
    if isinstance(node.base, syntax.Name | syntax.Dot):
        base = resolve(context, node.base)
        if isinstance(base, EnumSymbol):
            return _member(context, node, base.type)
        if isinstance(base, ModuleSymbol):
            return _missing_in_module(context, node, base.name)
    value = context.expression(node.base)
    if value.type == POISON:
        return typed.Zero(POISON, node.place)
    return member(context, value, node)


def _member(context: Context, node: syntax.Dot, enum: Enum) -> typed.Expr:
    if node.name in enum.members:
        return typed.IntConst(enum, node.place, enum.members[node.name])
    hint = did_you_mean(node.name, enum.members)
    return context.wrong(node.name_place, f"'{enum}' has no member '{node.name}'", hint)


def _missing_in_module(context: Context, node: syntax.Dot, module: str) -> typed.Expr:
    hint = did_you_mean(node.name, context.world.modules[module])
    message = f"the module '{module}' has no '{node.name}'"
    return context.wrong(node.name_place, message, hint)


def member(context: Context, value: typed.Expr, node: syntax.Dot) -> typed.Expr:
    """The field `node.name` of a value; a pointer is followed by itself."""
    type_ = value.type
    if isinstance(type_, Ptr) and type_.target is not None:
        target = typed.Deref(type_.target, node.place, value, checked=not _is_self(value))
        value = typed.Load(type_.target, node.place, target)
        type_ = type_.target
    if isinstance(type_, Struct):
        fill_struct(context.world, type_)
    if isinstance(type_, Struct | Tensor):
        index = type_.index_of(node.name)
        if index is not None:
            field = (members_of(type_) or ())[index]
            lvalue = typed.FieldOf(field, node.place, lvalue_of(value), index)
            return typed.Load(field, node.place, lvalue)
    elif node.name in ("len", "ptr"):
        part = _length_or_data(value, node)
        if part is not None:
            return part
    return _no_field(context, value, node)


def _is_self(value: typed.Expr) -> bool:
    return (
        isinstance(value, typed.Load)
        and isinstance(value.lvalue, typed.LocalVar)
        and value.lvalue.local.by_reference
    )


def _length_or_data(value: typed.Expr, node: syntax.Dot) -> typed.Expr | None:
    if node.name == "len":
        return length_of(value, node.place)
    if isinstance(value.type, Slice | Str):
        element = value.type.element if isinstance(value.type, Slice) else U8
        return typed.DataOf(Ptr(element), node.place, value)
    if isinstance(value.type, Array):
        return cast_node("bits", address_of(lvalue_of(value)), Ptr(value.type.element))
    return None


def length_of(value: typed.Expr, place: Place) -> typed.Expr | None:
    """How many elements a value has; None for a type that has none."""
    match value.type:
        case Array(_, length) | SlotTable(_, length):
            return typed.IntConst(INT, place, length)
        case Slice() | Str() | Order():
            if isinstance(value, typed.StrConst):
                return typed.IntConst(INT, place, len(value.value))
            return typed.Length(INT, place, value)
        case Queue():
            return typed.QueueOp(INT, place, "len", lvalue_of(value), ())
    return None


def _no_field(context: Context, value: typed.Expr, node: syntax.Dot) -> typed.Expr:
    type_ = value.type
    known: list[str] = ["len", "ptr"] if isinstance(type_, Slice | Str | Array) else []
    hint = ""
    if isinstance(type_, Tensor):
        known = list(DESCRIPTOR)
    if isinstance(type_, Struct):
        known = [f.name for f in type_.fields]
        if node.name in context.world.structs[type_].methods:
            hint = f"'{node.name}' is a method; call it: .{node.name}(...)"
    elif isinstance(type_, Result):
        hint = "handle its error with 'try' or 'else'"
    elif type_ == PTR:
        hint = "cast it to what it points to: ptr[T](...)"
    if "ptr" in known and node.name == "data":
        hint = "the address of the first element is .ptr"
    hint = hint or did_you_mean(node.name, known)
    return context.wrong(node.name_place, f"'{type_}' has no field '{node.name}'", hint)


# ── x[i] ─────────────────────────────────────────────────────────────────────────────────────


@checks_expression(syntax.Index)
def index(context: Context, node: syntax.Index, expected: Type | None) -> typed.Expr:
    """An element of an array, slice, str, order, or what lies at a pointer plus an index."""
    if isinstance(node.base, syntax.Name) and node.base.name in PARAMETRISED:
        if context.find_local(node.base.name, node.place) is None:
            return context.wrong(node.place, "a type is not a value", "call it to make one")
    elif named_type(context, node.base) is not None:
        return context.wrong(node.place, "a type is not a value")
    value = context.expression(node.base)
    if isinstance(value.type, Tensor):
        positions = [as_int(context, context.expression(a, INT)) for a in node.arguments]
        return element_of(context, value, positions, node.place)
    if len(node.arguments) != 1:
        return context.wrong(node.place, "an index is one value", "write x[i][j]")
    position = index_value(context, node.arguments[0])
    if POISON in (value.type, position.type):
        return typed.Zero(POISON, node.place)
    return element(context, value, position, node.place)


def index_value(context: Context, node: syntax.Node) -> typed.Expr:
    """An integer of any type, constants as int."""
    value = context.expression(node, INT)
    if isinstance(value.type, Int) or value.type == POISON:
        return value
    return convert(context, value, INT, "an index")


def element(
    context: Context, value: typed.Expr, position: typed.Expr, place: Place, checked: bool = True
) -> typed.Expr:
    """`value[position]`."""
    lvalue: typed.Lvalue
    match value.type:
        case Array(type_, length) | SlotTable(type_, length):
            if isinstance(position, typed.IntConst):
                if not 0 <= position.value < length:
                    return context.wrong(
                        position.place, f"index {position.value} out of range 0..{length}"
                    )
                checked = False
            lvalue = typed.Element(type_, place, lvalue_of(value), position, checked)
        case Slice(type_):
            lvalue = typed.SliceElement(type_, place, value, position, checked)
        case Str():
            type_ = U8
            lvalue = typed.SliceElement(U8, place, value, position, checked)
        case Order(type_):
            lvalue = typed.OrderElement(type_, place, value, position, checked)
        case Ptr(target) if target is not None:
            type_ = target
            moved = offset(context, value, position)
            lvalue = typed.Deref(target, place, moved, checked=True)
        case _:
            hint = "cast it to what it points to: ptr[T](...)" if value.type == PTR else ""
            return context.wrong(place, f"{value.type} has no elements", hint)
    return typed.Load(type_, place, lvalue)


def offset(context: Context, pointer: typed.Expr, position: typed.Expr) -> typed.Expr:
    """The pointer to the element `position` after the one that is pointed to."""
    if isinstance(position, typed.IntConst) and position.value == 0:
        return pointer
    if position.type != INT:
        from toolchain.kern.check.convert import cast

        position = cast(context, position, INT, position.place)
    return typed.PointerAdd(pointer.type, position.place, pointer, position)


# ── x[i:j] ───────────────────────────────────────────────────────────────────────────────────


@checks_expression(syntax.SliceOf)
def slice_of(context: Context, node: syntax.SliceOf, expected: Type | None) -> typed.Expr:
    """A view of some elements."""
    value = context.expression(node.base)
    low = _bound(context, node.low)
    high = _bound(context, node.high)
    if POISON in (value.type, *(b.type for b in (low, high) if b is not None)):
        return typed.Zero(POISON, node.place)
    if isinstance(value.type, Ptr) and value.type.target is not None:
        return _slice_of_pointer(context, node, value, low, high)
    if isinstance(value.type, Tensor):
        return rows_of(context, value, low, high, node.place)
    if isinstance(value.type, Array | SlotTable):
        value = slice_of_array(context, value, value.type)
    if not isinstance(value.type, Slice | Str):
        return context.wrong(node.place, f"{value.type} has no elements to slice")
    if low is None and high is None:
        return value
    low = low or typed.IntConst(INT, node.place, 0)
    if high is None:
        return _open_slice(context, value, low, node.place)
    return typed.SubSlice(value.type, node.place, value, low, high)


def _open_slice(context: Context, value: typed.Expr, low: typed.Expr, place: Place) -> typed.Expr:
    """`value[low:]`, the value evaluated once."""
    if isinstance(value, typed.MakeSlice) and isinstance(value.length, typed.IntConst):
        return typed.SubSlice(value.type, place, value, low, value.length)
    let, again = context.temporary(value, "view")
    high = typed.Length(INT, place, again)
    return typed.Seq(value.type, place, (let,), typed.SubSlice(value.type, place, again, low, high))


def _bound(context: Context, node: syntax.Node | None) -> typed.Expr | None:
    return None if node is None else as_int(context, context.expression(node, INT))


def as_int(context: Context, value: typed.Expr) -> typed.Expr:
    """An integer value as an int."""
    return convert(context, value, INT, "an index")


def _slice_of_pointer(
    context: Context,
    node: syntax.SliceOf,
    pointer: typed.Expr,
    low: typed.Expr | None,
    high: typed.Expr | None,
) -> typed.Expr:
    """`p[i:j]`, unchecked: nobody knows how much lies there."""
    assert isinstance(pointer.type, Ptr)
    assert pointer.type.target is not None
    if high is None:
        return context.wrong(node.place, "a slice of a pointer needs an end", "write p[0:n]")
    type_ = Slice(pointer.type.target)
    if low is None or (isinstance(low, typed.IntConst) and low.value == 0):
        return typed.MakeSlice(type_, node.place, pointer, high)
    let, start = context.temporary(low, "low")
    length = typed.Binary(INT, node.place, "sub", high, start)
    made = typed.MakeSlice(type_, node.place, offset(context, pointer, start), length)
    return typed.Seq(type_, node.place, (let,), made)
