"""Tensors in expressions: operators, elements, views, conversions, methods.

Each becomes a call of the module `tensors` (`tensors.kern`), which finds the result's dims, makes
room for it and executes the instruction. That module works on the plain `tensor`; what is known
here about elements, `tensor[f32]`, is kept: two tensors of different elements do not meet in one
operator, and a result that the library gives as a plain `tensor` has the elements of the tensor
that the function takes them from (the first one, or as the instruction is declared), unless the
function was told a `dtype`.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.kern import syntax, typed
from toolchain.kern.check.context import Context
from toolchain.kern.check.declare import instantiate
from toolchain.kern.check.symbols import FunctionSymbol
from toolchain.kern.diagnostics import Place, did_you_mean
from toolchain.kern.types import (
    BOOL,
    ELEMENT_CODES,
    F64,
    INT,
    POISON,
    TENSOR,
    AnyFloat,
    AnyInt,
    Array,
    Bool,
    Float,
    Half,
    Int,
    Ptr,
    Slice,
    Tensor,
    Type,
)

LIBRARY = "tensors"
"""The module of the library."""

_ARITHMETIC = {"+": "add", "-": "sub", "*": "mul", "/": "div", "%": "mod", "@": "matmul"}
_LOGIC = {"&": "and", "|": "or", "^": "xor"}
_COMPARISONS = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
OPERATORS = {**_ARITHMETIC, **_LOGIC, **_COMPARISONS}
"""The library's function for each infix operator."""
PREFIXES = {"-": "neg", "~": "not"}


def library_function(context: Context, name: str) -> FunctionSymbol | None:
    """A function of the library."""
    symbol = context.world.modules.get(LIBRARY, {}).get(name)
    return symbol if isinstance(symbol, FunctionSymbol) else None


def call_library(
    context: Context, name: str, place: Place, arguments: Sequence[typed.Expr]
) -> typed.Expr:
    """A call of a library function whose parameters are known to fit."""
    symbol = library_function(context, name)
    assert symbol is not None, name
    function = instantiate(context.world, symbol, ())
    context.world.note_call(context.function, function, place)
    return typed.Call(function.result, place, function, tuple(arguments))


def plain(value: typed.Expr) -> typed.Expr:
    """A tensor as one that says only while running what its elements are."""
    return value if value.type == TENSOR else typed.Cast(TENSOR, value.place, "bits", value)


def as_tensor(context: Context, value: typed.Expr, target: Tensor) -> typed.Expr | None:
    """A tensor as one of type `target`; None when its elements are known to be others."""
    if target.element is None:
        return plain(value)
    if value.type != TENSOR:
        return None
    code = typed.IntConst(INT, value.place, ELEMENT_CODES[target.element])
    checked = call_library(context, "expect", value.place, (value, code))
    return typed.Cast(target, value.place, "bits", checked)


def typed_result(
    context: Context, symbol: FunctionSymbol, call: typed.Call, given: Sequence[Type]
) -> typed.Expr:
    """A call, with what is known about the elements of the plain tensor that the library gives."""
    if symbol.module != LIBRARY or call.type != TENSOR:
        return call
    if any(parameter.name == "dtype" for parameter in symbol.node.parameters):
        return call
    from toolchain.kern.tensorlib import like_source

    tensors = [type_ for type_ in given if isinstance(type_, Tensor)]
    number = like_source().get(symbol.name, 0)
    type_ = tensors[number] if number < len(tensors) else TENSOR
    return typed.Cast(type_, call.place, "bits", call)


# ── Operators ────────────────────────────────────────────────────────────────────────────────


def infix_tensors(
    context: Context, node: syntax.Infix, left: typed.Expr, right: typed.Expr
) -> typed.Expr:
    """`left op right`, at least one of them a tensor; the other may be a number."""
    name = OPERATORS.get(node.op)
    if name is None:
        return context.wrong(node.op_place, f"'{node.op}' does not work on tensors")
    element = _common_element(context, node, left, right)
    if element is POISON:
        return typed.Zero(POISON, node.place)
    if not isinstance(left.type, Tensor):
        let, kept = context.temporary(plain(right), "right")
        operands = (_number_like(context, kept, left), kept)
    else:
        let, kept = context.temporary(plain(left), "left")
        other = plain(right) if isinstance(right.type, Tensor) else None
        operands = (kept, other or _number_like(context, kept, right))
    result = Tensor(BOOL) if node.op in _COMPARISONS else Tensor(element)
    call = typed.Cast(result, node.place, "bits", call_library(context, name, node.place, operands))
    return typed.Seq(result, node.place, (let,), call)


def _common_element(
    context: Context, node: syntax.Infix, left: typed.Expr, right: typed.Expr
) -> Type | None:
    """What both operands are made of (None: only known while running); POISON after a report."""
    known = [v.type.element for v in (left, right) if isinstance(v.type, Tensor)]
    typed_ones = [element for element in known if element is not None]
    if len(typed_ones) == 2 and typed_ones[0] != typed_ones[1]:
        message = f"'{node.op}' does not work on {left.type} and {right.type}"
        context.wrong(node.op_place, message, f"convert one: {left.type}(...)")
        return POISON
    for value in (left, right):
        if not isinstance(value.type, Tensor) and not _is_number_for(value.type, typed_ones):
            message = f"'{node.op}' does not work on {left.type} and {right.type}"
            context.wrong(node.op_place, message)
            return POISON
    return typed_ones[0] if len(typed_ones) == len(known) else None


def _is_number_for(number: Type, elements: list[Type]) -> bool:
    """Whether a number of this type meets tensors of these elements without losing its meaning."""
    if isinstance(number, Int | AnyInt):
        return True
    return isinstance(number, Float | AnyFloat) and all(
        isinstance(element, Float | Half) for element in elements
    )


def _number_like(context: Context, tensor: typed.Expr, number: typed.Expr) -> typed.Expr:
    """A number as a tensor of rank 0 with the elements of another tensor."""
    from toolchain.kern.check.convert import cast

    whole = isinstance(number.type, Int | AnyInt)
    value = cast(context, number, INT if whole else F64, number.place)
    name = "whole_like" if whole else "number_like"
    return call_library(context, name, number.place, (tensor, value))


def prefix_tensor(context: Context, node: syntax.Prefix, value: typed.Expr) -> typed.Expr:
    """`-t` and `~t`."""
    name = PREFIXES.get(node.op)
    if name is None:
        return context.wrong(node.place, f"'{node.op}' does not work on {value.type}")
    call = call_library(context, name, node.place, (plain(value),))
    return typed.Cast(value.type, node.place, "bits", call)


# ── Elements and views ───────────────────────────────────────────────────────────────────────


def element_of(
    context: Context, value: typed.Expr, positions: Sequence[typed.Expr], place: Place
) -> typed.Expr:
    """`t[i, j]`: one element, which can be assigned to. Checked: the number of indices, each."""
    from toolchain.kern.check.convert import slice_of_array

    assert isinstance(value.type, Tensor)
    element = value.type.element
    if element is None or isinstance(element, Half):
        hint = "give it a type first: tensor[f32](...)"
        return context.wrong(place, f"the elements of a {value.type} have no type here", hint)
    indices = typed.ArrayValue(Array(INT, len(positions)), place, tuple(positions))
    view = slice_of_array(context, indices, Array(INT, len(positions)))
    address = call_library(context, "place", place, (plain(value), view))
    pointer = typed.Cast(Ptr(element), place, "bits", address)
    return typed.Load(element, place, typed.Deref(element, place, pointer, checked=False))


def rows_of(
    context: Context,
    value: typed.Expr,
    low: typed.Expr | None,
    high: typed.Expr | None,
    place: Place,
) -> typed.Expr:
    """`t[i:j]`: a view of some indices of the first dimension."""
    end = typed.IntConst(INT, place, INT.maximum)
    bounds = (low or typed.IntConst(INT, place, 0), high or end)
    call = call_library(context, "rows", place, (plain(value), *bounds))
    return typed.Cast(value.type, place, "bits", call)


# ── Conversions ──────────────────────────────────────────────────────────────────────────────


def cast_to_tensor(
    context: Context, value: typed.Expr, target: Tensor, place: Place
) -> typed.Expr | None:
    """`tensor[T](x)`: of a tensor, its elements converted; of a slice, a view of rank 1; of a
    number, a tensor of rank 0. None where that has no meaning."""
    from toolchain.kern.check.convert import cast

    element = target.element
    if isinstance(value.type, Tensor):
        return _converted(context, value, target, place)
    if element is None:
        element = value.type.element if isinstance(value.type, Slice) else None
    if element not in ELEMENT_CODES:
        return None
    code = typed.IntConst(INT, place, ELEMENT_CODES[element])
    if value.type == Slice(element):
        let, kept = context.temporary(value, "slice")
        start = typed.Cast(Ptr(), place, "bits", typed.DataOf(Ptr(element), place, kept))
        length = typed.Length(INT, place, kept)
        call = call_library(context, "vector", place, (start, length, code))
        return typed.Seq(target, place, (let,), typed.Cast(target, place, "bits", call))
    if not isinstance(value.type, Int | Float | AnyInt | AnyFloat | Bool):
        return None
    whole = isinstance(value.type, Int | AnyInt | Bool)
    number = cast(context, value, INT if whole else F64, place)
    call = call_library(context, "whole" if whole else "number", place, (number, code))
    return typed.Cast(target, place, "bits", call)


def _converted(context: Context, value: typed.Expr, target: Tensor, place: Place) -> typed.Expr:
    if target.element is None or value.type == target:
        return typed.Cast(target, place, "bits", value)
    code = typed.IntConst(INT, place, ELEMENT_CODES[target.element])
    call = call_library(context, "convert", place, (plain(value), code))
    return typed.Cast(target, place, "bits", call)


# ── Methods ──────────────────────────────────────────────────────────────────────────────────


def method_of(context: Context, callee: syntax.Dot, value: typed.Expr) -> FunctionSymbol | None:
    """The library function that `t.name(…)` calls; None after reporting that there is none."""
    symbol = library_function(context, callee.name)
    if symbol is None or not symbol.parameters or symbol.parameters[0] != TENSOR:
        known = [
            name
            for name, found in context.world.modules.get(LIBRARY, {}).items()
            if isinstance(found, FunctionSymbol) and found.parameters[:1] == (TENSOR,)
        ]
        message = f"{value.type} has no method '{callee.name}'"
        context.wrong(callee.name_place, message, did_you_mean(callee.name, known))
        return None
    return symbol
