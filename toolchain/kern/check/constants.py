"""Constants: which typed expressions are constant, and arithmetic on them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace

from toolchain.kern import syntax, typed
from toolchain.kern.check.context import Context
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import ANY_INT, BOOL, INT, POISON, AnyInt, Int, Type

_MOST_BITS = 4096

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt,
    "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip


def is_constant(value: typed.Expr) -> bool:
    """Whether an expression can be a global's initial value."""
    match value:
        case typed.IntConst() | typed.FloatConst() | typed.StrConst() | typed.Zero():
            return True
        case typed.FunctionAddress():
            return True
        case typed.AddressOf(lvalue=typed.GlobalVar()):
            return True
        case typed.Cast(kind="bits", operand=operand):
            return is_constant(operand)
        case typed.ArrayValue(elements=elements):
            return all(map(is_constant, elements))
        case typed.StructValue(fields=fields):
            return all(is_constant(v) for _, v in fields)
    return False


def constant_int(context: Context, node: syntax.Node) -> int | None:
    """The value of a constant integer expression; None after reporting that it is none."""
    value = context.expression(node, INT)
    if value.type == POISON:
        return None
    if isinstance(value, typed.IntConst) and isinstance(value.type, Int | AnyInt):
        return value.value
    context.world.report(node.place, "this must be a constant integer")
    return None


def wrap(value: int, type_: Type) -> int:
    """An integer as it lies in a register of the type; exact constants stay as they are."""
    if not isinstance(type_, Int):
        return value
    value &= (1 << type_.bits) - 1
    return value - (1 << type_.bits) if value > type_.maximum else value


def fold_binary(
    op: str, left: typed.Expr, right: typed.Expr, type_: Type, place: Place
) -> typed.Expr | None:
    """The value of an operation on constants; None when it must be left to the machine."""
    if isinstance(left, typed.IntConst) and isinstance(right, typed.IntConst):
        if op in _COMPARISONS:
            result = int(_COMPARISONS[op](left.value, right.value))
            return typed.IntConst(BOOL, place, result)
        folded = _fold_ints(op, left.value, right.value, type_)
        return None if folded is None else typed.IntConst(type_, place, wrap(folded, type_))
    if isinstance(left, typed.FloatConst) and isinstance(right, typed.FloatConst):
        if op in _COMPARISONS:
            result = int(_COMPARISONS[op](left.value, right.value))
            return typed.IntConst(BOOL, place, result)
        if type_ == ANY_INT or str(type_) == "f32":
            return None
        number = _fold_floats(op, left.value, right.value)
        return None if number is None else typed.FloatConst(type_, place, number)
    return None


def _fold_ints(op: str, a: int, b: int, type_: Type) -> int | None:
    bits = type_.bits if isinstance(type_, Int) else None
    match op:
        case "add":
            return a + b
        case "sub":
            return a - b
        case "mul":
            return a * b if a.bit_length() + b.bit_length() < _MOST_BITS else None
        case "and":
            return a & b
        case "or":
            return a | b
        case "xor":
            return a ^ b
        case "shl":
            amount = b & (bits - 1) if bits else b
            return a << amount if 0 <= amount < _MOST_BITS else None
        case "shr":
            amount = b & (bits - 1) if bits else b
            return a >> amount if amount >= 0 else None
    if b == 0:
        return None
    quotient = abs(a) // abs(b) if (a < 0) == (b < 0) else -(abs(a) // abs(b))
    return quotient if op == "div" else a - b * quotient


def _fold_floats(op: str, a: float, b: float) -> float | None:
    try:
        match op:
            case "add":
                return a + b
            case "sub":
                return a - b
            case "mul":
                return a * b
            case "div" if b != 0:
                return a / b
            case "rem" if b != 0 and math.isfinite(a):
                return math.fmod(a, b)
    except OverflowError:
        return None
    return None


def moved(value: typed.Expr, place: Place) -> typed.Expr:
    """The same constant, as used at another place."""
    return replace(value, place=place)
