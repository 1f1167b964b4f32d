"""Conversions: what one type becomes another by itself, and what a cast does.

By itself: constants adapt to what is expected, integers widen without loss, `ptr[T]` becomes
`ptr`, an array in memory becomes a slice of it, null becomes any pointer.
"""

from __future__ import annotations

from dataclasses import replace

from toolchain.kern import typed
from toolchain.kern.check.constants import wrap
from toolchain.kern.check.context import Context
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import (
    ANY_FLOAT,
    ANY_INT,
    BOOL,
    F64,
    I32,
    INT,
    NEVER,
    NULL,
    POISON,
    PTR,
    STR,
    U8,
    U64,
    VOID,
    AnyFloat,
    AnyInt,
    Array,
    Bool,
    Enum,
    Float,
    Fn,
    Int,
    Ptr,
    Result,
    Slice,
    SlotTable,
    Tensor,
    Type,
)


def widens(source: Type, target: Type) -> bool:
    """Whether every value of one integer type is one of the other."""
    if not isinstance(source, Int) or not isinstance(target, Int):
        return False
    return source.minimum >= target.minimum and source.maximum <= target.maximum


def convert(context: Context, value: typed.Expr, target: Type, what: str = "") -> typed.Expr:
    """A value as `target`, by implicit conversion, or a poisoned one after reporting.

    `what` says what is being converted, for the message ("argument 'size' of 'alloc'").
    """
    converted = try_convert(context, value, target)
    if converted is not None:
        return converted
    subject = f"{what} " if what else ""
    message = f"{subject}must be {target}, not {value.type}" if what else (
        f"expected {target}, found {value.type}")  # fmt: skip
    if isinstance(value, typed.IntConst) and value.type == ANY_INT and isinstance(target, Int):
        message = f"{value.value} does not fit {target}"
        return context.wrong(
            value.place, message, f"{target} holds {target.minimum} to {target.maximum}"
        )
    return context.wrong(value.place, message, _hint(value.type, target))


def _hint(source: Type, target: Type) -> str:
    if isinstance(source, Result):
        return "handle its error with 'try' or 'else'"
    numbers = Int | Float | AnyInt | AnyFloat
    if isinstance(source, numbers) and isinstance(target, numbers):
        return f"write {target}(...) if that is meant"
    if isinstance(source, Enum | Bool) and isinstance(target, Int):
        return f"write {target}(...) for its number"
    if isinstance(source, Ptr | Int) and isinstance(target, Ptr | Int | Enum):
        return f"write {target}(...) if that is meant"
    if isinstance(source, Int) and target == BOOL:
        return "compare it: ... != 0"
    if isinstance(source, Slice) and target == STR:
        return "write str(...)"
    return ""


def try_convert(context: Context, value: typed.Expr, target: Type) -> typed.Expr | None:
    """As `convert`, but None when there is no implicit conversion."""
    source, place = value.type, value.place
    if source == target:
        return value
    if POISON in (source, target):
        return typed.Zero(target, place)
    if source == NEVER:
        return typed.Seq(target, place, (typed.Evaluate(place, value),), typed.Zero(target, place))
    if isinstance(source, AnyInt | AnyFloat):
        return _adapt(value, target)
    if widens(source, target):
        return cast_node("extend", value, target)
    if source == NULL and isinstance(target, Ptr | Fn):
        return typed.Zero(target, place)
    if isinstance(source, Ptr) and target == PTR:
        return cast_node("bits", value, target)
    if isinstance(value, typed.ArrayValue) and isinstance(target, SlotTable):
        return _full_table(value, target)
    if isinstance(source, Array | SlotTable) and target == Slice(source.element):
        return slice_of_array(context, value, source)
    if isinstance(source, Tensor) and isinstance(target, Tensor):
        from toolchain.kern.check.tensors import as_tensor

        return as_tensor(context, value, target)
    return None


def _full_table(value: typed.ArrayValue, target: SlotTable) -> typed.Expr | None:
    """An array literal as a slot table whose slots are all in use."""
    if value.type != Array(target.element, target.length):
        return None
    words = [(1 << min(64, target.length - i)) - 1 for i in range(0, target.length, 64)]
    used = tuple(typed.IntConst(U64, value.place, word) for word in words)
    bits = typed.ArrayValue(Array(U64, len(used)), value.place, used)
    return typed.StructValue(target, value.place, ((0, value), (1, bits)))


def _adapt(value: typed.Expr, target: Type) -> typed.Expr | None:
    """A constant without a type of its own as one with."""
    place = value.place
    if isinstance(value, typed.IntConst):
        if isinstance(target, Int):
            fits = target.minimum <= value.value <= target.maximum
            return typed.IntConst(target, place, value.value) if fits else None
        if isinstance(target, Float | AnyFloat):
            return _float_const(value.value, target, place)
    if isinstance(value, typed.FloatConst) and isinstance(target, Float):
        return typed.FloatConst(target, place, value.value)
    return None


def _float_const(value: int, target: Type, place: Place) -> typed.Expr | None:
    try:
        return typed.FloatConst(target, place, float(value))
    except OverflowError:
        return None


def default_type(context: Context, value: typed.Expr) -> typed.Expr:
    """A value with a type that objects can have: constants become int (u64 when only that holds
    them) or float, `null` the untyped pointer."""
    if isinstance(value.type, AnyInt):
        big = isinstance(value, typed.IntConst) and value.value > INT.maximum
        return convert(context, value, U64 if big else INT)
    if isinstance(value.type, AnyFloat):
        return convert(context, value, F64)
    return convert(context, value, PTR) if value.type == NULL else value


def value_type(value: typed.Expr) -> Type:
    """The type that `default_type` would give."""
    if isinstance(value.type, AnyInt):
        return INT
    return {ANY_FLOAT: F64, NULL: PTR}.get(value.type, value.type)


def cast_node(kind: str, value: typed.Expr, target: Type) -> typed.Expr:
    """A Cast, folded when the operand is constant."""
    if isinstance(value, typed.IntConst):
        if isinstance(target, Int):
            return typed.IntConst(target, value.place, wrap(value.value, target))
        if isinstance(target, Enum) or kind == "int_to_ptr":
            return typed.IntConst(target, value.place, value.value)
        if isinstance(target, Float):
            folded = _float_const(value.value, target, value.place)
            return folded or typed.Cast(target, value.place, kind, value)
    if isinstance(value, typed.FloatConst) and target == F64:
        return replace(value, type=F64)
    return typed.Cast(target, value.place, kind, value)


def lvalue_of(value: typed.Expr) -> typed.Lvalue:
    """The object that a value was loaded from, or a temporary that holds it."""
    if isinstance(value, typed.Load):
        return value.lvalue
    return typed.Temporary(value.type, value.place, value)


def address_of(lvalue: typed.Lvalue) -> typed.Expr:
    """The address of an object, as a `ptr[T]`; that of a dereferenced pointer is the pointer."""
    if isinstance(lvalue, typed.Deref) and not lvalue.checked:
        return lvalue.pointer
    return typed.AddressOf(Ptr(lvalue.type), lvalue.place, lvalue)


def slice_of_array(context: Context, value: typed.Expr, source: Array | SlotTable) -> typed.Expr:
    """All of an array (or all slots of a table) as a slice. A literal lies in the frame of the
    function, or in memory of its own when it is a global's initial value."""
    place = value.place
    if isinstance(value, typed.ArrayValue) and context.function is None:
        return typed.ArrayValue(Slice(source.element), place, value.elements)
    pointer = cast_node("bits", address_of(lvalue_of(value)), Ptr(source.element))
    length = typed.IntConst(INT, place, source.length)
    return typed.MakeSlice(Slice(source.element), place, pointer, length)


# ── Casts ────────────────────────────────────────────────────────────────────────────────────


def cast(context: Context, value: typed.Expr, target: Type, place: Place) -> typed.Expr:
    """`target(value)`."""
    if isinstance(target, Tensor):
        return _cast_to_tensor(context, value, target, place)
    if isinstance(value, typed.IntConst) and value.type == ANY_INT:
        return _cast_constant(context, value, target, place)
    if value.type == ANY_FLOAT:
        value = convert(context, value, target if isinstance(target, Float) else F64)
    implicit = try_convert(context, value, target)
    if implicit is not None:
        return replace(implicit, place=place)
    kinds = cast_kinds(value.type, target)
    if not kinds:
        hint = "handle its error with 'try' or 'else'" if isinstance(value.type, Result) else ""
        if value.type == VOID:
            return context.wrong(place, "this call gives no value")
        return context.wrong(place, f"{value.type} cannot be cast to {target}", hint)
    for kind, step in kinds:
        value = cast_node(kind, value, step)
    return replace(value, place=place)


def _cast_to_tensor(
    context: Context, value: typed.Expr, target: Tensor, place: Place
) -> typed.Expr:
    from toolchain.kern.check.tensors import cast_to_tensor

    if isinstance(value.type, Array):
        value = slice_of_array(context, value, value.type)
    made = cast_to_tensor(context, value, target, place)
    return made or context.wrong(place, f"{value.type} cannot be cast to {target}")


def _cast_constant(
    context: Context, value: typed.IntConst, target: Type, place: Place
) -> typed.Expr:
    if isinstance(target, Int):
        return typed.IntConst(target, place, wrap(value.value, target))
    if isinstance(target, Enum):
        if value.value in target.members.values():
            return typed.IntConst(target, place, value.value)
        return context.wrong(place, f"no member of {target} has the number {value.value}")
    if isinstance(target, Ptr):
        return typed.IntConst(target, place, wrap(value.value, U64))
    if target == BOOL:
        return typed.IntConst(BOOL, place, int(value.value != 0))
    return convert(context, replace(value, place=place), target)


def cast_kinds(source: Type, target: Type) -> list[tuple[str, Type]]:
    """The conversions, in turn, that lead from one type to the other; none when none do."""
    match source, target:
        case Int(), Int():
            return [_resize(source, target)]
        case Int(), Float():
            return [("int_to_float", target)]
        case Float(), Int():
            return [("float_to_int", target)]
        case Float(), Float():
            return [("float_resize", target)]
        case Int(), Ptr() | Fn():
            first = [("extend", INT if source.signed else U64)] if source.bits < 64 else []
            last = [("bits", target)] if isinstance(target, Fn) else []
            return [*first, ("int_to_ptr", PTR if last else target), *last]
        case Ptr() | Fn(), Int():
            from_fn: list[tuple[str, Type]] = [("bits", PTR)] if isinstance(source, Fn) else []
            rest = [_resize(U64, target)] if target != U64 else []
            return [*from_fn, ("ptr_to_int", U64), *rest]
        case Ptr() | Fn(), Ptr() | Fn():
            return [("bits", target)]
        case Enum(), Int():
            return [("bits", I32), *([_resize(I32, target)] if target != I32 else [])]
        case Int(), Enum():
            return [*([_resize(source, I32)] if source != I32 else []), ("bits", target)]
    if source == BOOL and isinstance(target, Int):
        return [("extend", target)]
    if (source, target) in ((STR, Slice(U8)), (Slice(U8), STR)):
        return [("bits", target)]
    return []


def _resize(source: Int, target: Int) -> tuple[str, Type]:
    if source.bits < target.bits:
        return "extend", target
    return ("truncate" if source.bits > target.bits else "bits"), target
