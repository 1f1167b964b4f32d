"""The functions of the language itself: `len`, `min`, `select`, `sort`, `format`, `panic`, …

One function each, entered in the table by `@builtin`.
"""

from __future__ import annotations

from collections.abc import Callable

from toolchain.kern import syntax, typed
from toolchain.kern.check.access import length_of
from toolchain.kern.check.constants import wrap
from toolchain.kern.check.containers import call_sort
from toolchain.kern.check.context import Context
from toolchain.kern.check.convert import convert, default_type, try_convert, widens
from toolchain.kern.check.declare import fill_struct
from toolchain.kern.check.format import format_text
from toolchain.kern.check.intrinsics import call_intrinsic
from toolchain.kern.check.names import declare_builtin
from toolchain.kern.check.typenames import named_type, resolve_type
from toolchain.kern.types import (
    ANY_INT,
    BOOL,
    F32,
    F64,
    INT,
    NEVER,
    POISON,
    STR,
    U8,
    U32,
    U64,
    VOID,
    AnyFloat,
    AnyInt,
    Array,
    Float,
    Int,
    Ptr,
    Slice,
    Struct,
    Type,
    is_scalar,
    offset_of,
    size_of,
)

Builtin = Callable[[Context, syntax.Call, Type | None], typed.Expr]

_TABLE: dict[str, tuple[int, int, Builtin]] = {}


def builtin(name: str, least: int, most: int | None = None) -> Callable[[Builtin], Builtin]:
    """Enters a builtin that takes `least` to `most` arguments (`least` when not given)."""

    def enter(function: Builtin) -> Builtin:
        _TABLE[name] = (least, least if most is None else most, function)
        declare_builtin(name)
        return function

    return enter


def call_builtin(
    context: Context, name: str, node: syntax.Call, expected: Type | None
) -> typed.Expr:
    """A call of a builtin function."""
    result = call_intrinsic(context, name, node)
    if result is not None:
        return result
    least, most, function = _TABLE[name]
    if not least <= len(node.arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        plural = "" if wanted == "1" else "s"
        message = f"'{name}' takes {wanted} argument{plural}, not {len(node.arguments)}"
        return context.wrong(node.place, message)
    if node.keywords and name != "sort":
        return context.wrong(node.keywords[0].place, f"'{name}' takes no named arguments")
    return function(context, node, expected)


@builtin("len", 1)
def len_(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """`len(x)`, the same as `x.len`."""
    value = context.expression(node.arguments[0])
    if value.type == POISON:
        return value
    length = length_of(value, node.place)
    return length or context.wrong(node.place, f"{value.type} has no length")


def _extreme(name: str) -> None:
    @builtin(name, 2)
    def extreme(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
        a, b = _alike(context, node, expected)
        if POISON in (a.type, b.type):
            return typed.Zero(POISON, node.place)
        if not isinstance(a.type, Int | Float | AnyInt | AnyFloat):
            return context.wrong(node.place, f"'{name}' does not work on {a.type}")
        choose = min if name == "min" else max
        if isinstance(a, typed.IntConst) and isinstance(b, typed.IntConst):
            return typed.IntConst(a.type, node.place, choose(a.value, b.value))
        if isinstance(a, typed.FloatConst) and isinstance(b, typed.FloatConst):
            return typed.FloatConst(a.type, node.place, choose(a.value, b.value))
        return typed.Intrinsic(a.type, node.place, name, (), (a, b))


_extreme("min")
_extreme("max")


def _alike(
    context: Context, node: syntax.Call, expected: Type | None
) -> tuple[typed.Expr, typed.Expr]:
    """The last two arguments as one type."""
    first, second = node.arguments[-2:]
    a = context.expression(first, expected)
    b = context.expression(second, a.type if is_scalar(a.type) else expected)
    if POISON in (a.type, b.type):
        return typed.Zero(POISON, a.place), typed.Zero(POISON, b.place)
    as_b = try_convert(context, a, b.type)
    if as_b is not None:
        return as_b, b
    as_a = try_convert(context, b, a.type)
    if as_a is not None:
        return a, as_a
    if widens(a.type, INT) and widens(b.type, INT):
        return convert(context, a, INT), convert(context, b, INT)
    wrong = context.wrong(b.place, f"{a.type} and {b.type} are different types", "cast one of them")
    return wrong, wrong


@builtin("abs", 1)
def abs_(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """The absolute value; that of the least integer wraps to itself."""
    value = context.expression(node.arguments[0], expected)
    if isinstance(value, typed.IntConst):
        return typed.IntConst(value.type, node.place, wrap(abs(value.value), value.type))
    if isinstance(value, typed.FloatConst):
        return typed.FloatConst(value.type, node.place, abs(value.value))
    return _numeric(context, node, "abs", value, Int | Float)


def _numeric(
    context: Context, node: syntax.Call, name: str, value: typed.Expr, kinds: object
) -> typed.Expr:
    if value.type == POISON:
        return value
    if not isinstance(value.type, kinds):  # type: ignore[arg-type]  # a class or a union
        return context.wrong(node.place, f"'{name}' does not work on {value.type}")
    return typed.Intrinsic(value.type, node.place, name, (), (value,))


def _rounding(name: str) -> None:
    @builtin(name, 1)
    def rounding(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
        value = context.expression(node.arguments[0], expected)
        if isinstance(value.type, AnyInt | AnyFloat):
            value = convert(context, value, expected if isinstance(expected, Float) else F64)
        return _numeric(context, node, name, value, Float)


for _name in ("sqrt", "floor", "ceil"):
    _rounding(_name)


@builtin("fma", 3)
def fma(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """`fma(a, b, c)`: a * b + c, rounded once."""
    values = [context.expression(a, expected) for a in node.arguments]
    own = [v.type for v in values if isinstance(v.type, Float)]
    wanted = own[0] if own else (expected if isinstance(expected, Float) else F64)
    values = [convert(context, v, wanted, "an argument of 'fma'") for v in values]
    if any(v.type == POISON for v in values):
        return typed.Zero(POISON, node.place)
    return typed.Intrinsic(wanted, node.place, "fma", (), tuple(values))


@builtin("float_bits", 1)
def float_bits(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """The bits of a float, as an unsigned integer of its size."""
    value = default_type(context, context.expression(node.arguments[0]))
    if not isinstance(value.type, Float):
        return _numeric(context, node, "float_bits", value, Float)
    result = U32 if value.type == F32 else U64
    return typed.Intrinsic(result, node.place, "float_bits", (), (value,))


@builtin("bits_float", 1)
def bits_float(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """The f32 with the bits of a u32, or the float with those of a u64."""
    value = default_type(context, context.expression(node.arguments[0]))
    if value.type not in (U32, U64):
        if value.type == POISON:
            return value
        message = f"'bits_float' takes the bits in a u32 or a u64, not {value.type}"
        return context.wrong(node.place, message)
    result = F32 if value.type == U32 else F64
    return typed.Intrinsic(result, node.place, "bits_float", (), (value,))


@builtin("select", 3)
def select(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """`select(c, a, b)`: a if c, else b; both are evaluated."""
    condition = convert(
        context, context.expression(node.arguments[0], BOOL), BOOL, "the condition of 'select'"
    )
    a, b = _alike(context, node, expected)
    if isinstance(a.type, AnyInt | AnyFloat):
        wanted = expected if isinstance(expected, Int | Float) else None
        a = convert(context, a, wanted) if wanted else default_type(context, a)
        b = convert(context, b, a.type)
    if POISON in (condition.type, a.type, b.type):
        return typed.Zero(POISON, node.place)
    return typed.Select(a.type, node.place, condition, a, b)


@builtin("sizeof", 1)
def sizeof(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """The bytes that an object of a type, or of a value's type, takes."""
    argument = node.arguments[0]
    type_ = named_type(context, argument)
    if type_ is None:
        type_ = default_type(context, context.expression(argument)).type
    if type_ == POISON:
        return typed.Zero(POISON, node.place)
    if isinstance(type_, Struct):
        fill_struct(context.world, type_)
    return typed.IntConst(ANY_INT, node.place, size_of(type_))


@builtin("offsetof", 2)
def offsetof(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """`offsetof(Struct, field)` in bytes."""
    type_ = resolve_type(context, node.arguments[0])
    field = node.arguments[1]
    if not isinstance(type_, Struct) or not isinstance(field, syntax.Name):
        return context.wrong(node.place, "offsetof takes a struct and the name of a field")
    fill_struct(context.world, type_)
    index = type_.index_of(field.name)
    if index is None:
        return context.wrong(field.place, f"'{type_}' has no field '{field.name}'")
    return typed.IntConst(ANY_INT, node.place, offset_of(type_, index))


@builtin("sort", 1)
def sort(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """`sort(xs, key=expr)`."""
    return call_sort(context, node)


@builtin("format", 2, 64)
def format_(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """`format(buffer, "text {}", x)`: the text, made in the buffer."""
    buffer = context.expression(node.arguments[0], Slice(U8))
    if isinstance(buffer.type, Array) and not isinstance(buffer, typed.Load):
        return context.wrong(buffer.place, "the buffer must lie in memory")
    buffer = convert(context, buffer, Slice(U8), "the buffer")
    return format_text(context, node.arguments[1:], node.place, buffer)


@builtin("panic", 1, 64)
def panic(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """`panic("text {}", x)`: ends the guarded call or the machine."""
    text = format_text(context, node.arguments, node.place, "stack")
    return typed.Panic(NEVER, node.place, text)


@builtin("assert", 1, 64)
def assert_(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """`assert(condition)`, or with a text: panics unless the condition holds."""
    condition = context.expression(node.arguments[0], BOOL)
    condition = convert(context, condition, BOOL, "the condition of 'assert'")
    text: typed.Expr = typed.StrConst(STR, node.place, b"assertion failed")
    if len(node.arguments) > 1:
        text = format_text(context, node.arguments[1:], node.place, "stack")
    failed = typed.Unary(BOOL, node.place, "not", condition)
    stop = typed.Evaluate(node.place, typed.Panic(NEVER, node.place, text))
    branch = typed.If(node.place, failed, typed.Block(node.place, (stop,), node.place), None)
    return typed.Seq(VOID, node.place, (branch,), None)


@builtin("volatile_load", 1)
def volatile_load(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """The scalar at a ptr[T], read exactly once."""
    pointer = context.expression(node.arguments[0])
    target = _volatile_target(context, "volatile_load", pointer)
    if target is None:
        return typed.Zero(POISON, node.place)
    return typed.Intrinsic(target, node.place, "volatile_load", (), (pointer,))


@builtin("volatile_store", 2)
def volatile_store(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """Writes a scalar to a ptr[T], exactly once."""
    pointer = context.expression(node.arguments[0])
    target = _volatile_target(context, "volatile_store", pointer)
    if target is None:
        return typed.Zero(POISON, node.place)
    value = convert(context, context.expression(node.arguments[1], target), target)
    return typed.Intrinsic(VOID, node.place, "volatile_store", (), (pointer, value))


def _volatile_target(context: Context, name: str, pointer: typed.Expr) -> Type | None:
    target = pointer.type.target if isinstance(pointer.type, Ptr) else None
    if target is not None and is_scalar(target):
        return target
    if pointer.type != POISON:
        message = f"'{name}' needs a ptr[T] to a number, not {pointer.type}"
        context.wrong(pointer.place, message)
    return None
