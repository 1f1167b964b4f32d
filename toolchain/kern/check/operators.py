"""Prefix and infix operators."""

from __future__ import annotations

from dataclasses import replace

from toolchain.kern import syntax, typed
from toolchain.kern.check.constants import fold_binary, wrap
from toolchain.kern.check.context import Context, checks_expression
from toolchain.kern.check.convert import (
    address_of,
    convert,
    lvalue_of,
    try_convert,
    widens,
)
from toolchain.kern.check.names import resolve
from toolchain.kern.check.symbols import FunctionSymbol
from toolchain.kern.check.tensors import infix_tensors, prefix_tensor
from toolchain.kern.types import (
    ANY_INT,
    BOOL,
    INT,
    POISON,
    STR,
    U64,
    AnyFloat,
    AnyInt,
    Bool,
    Enum,
    Float,
    Fn,
    Int,
    Ptr,
    Result,
    Str,
    Tensor,
    Type,
)

_ARITHMETIC = {"+": "add", "-": "sub", "*": "mul", "/": "div", "%": "rem"}
_BITWISE = {"&": "and", "|": "or", "^": "xor"}
_SHIFTS = {"<<": "shl", ">>": "shr"}
_COMPARISONS = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_NUMBERS = Int | Float | AnyInt | AnyFloat

NAMES = {**_ARITHMETIC, **_BITWISE, **_SHIFTS, **_COMPARISONS}
"""The typed tree's name of each operator."""


@checks_expression(syntax.Infix)
def infix(context: Context, node: syntax.Infix, expected: Type | None) -> typed.Expr:
    """`left op right`."""
    if node.op in ("&&", "||"):
        return _logical(context, node)
    if node.op in _SHIFTS:
        return _shift(context, node, expected)
    if node.op in _COMPARISONS:
        left, right = _compared(context, node)
    else:
        left = context.expression(node.left, _guide(expected))
        right = context.expression(node.right, _guide(expected) or _operand_guide(left))
    return combine(context, node, left, right)


def _guide(expected: Type | None) -> Type | None:
    """What an operand may be guided by; never an enum: it has no arithmetic."""
    return expected if isinstance(expected, Int | Float) else None


def _operand_guide(left: typed.Expr) -> Type | None:
    return left.type if isinstance(left.type, Int | Float) else None


def _compared(context: Context, node: syntax.Infix) -> tuple[typed.Expr, typed.Expr]:
    """Both sides of a comparison; each may be a bare member of the other's enum."""
    if isinstance(node.left, syntax.Name) and _is_unknown(context, node.left):
        right = context.expression(node.right)
        return context.expression(node.left, right.type), right
    left = context.expression(node.left)
    return left, context.expression(node.right, left.type)


def _is_unknown(context: Context, node: syntax.Name) -> bool:
    return (
        context.find_local(node.name, node.place) is None
        and resolve(context, node) is None
    )  # fmt: skip


def combine(
    context: Context, node: syntax.Infix, left: typed.Expr, right: typed.Expr
) -> typed.Expr:
    """The operation on two checked operands."""
    if POISON in (left.type, right.type):
        return typed.Zero(BOOL if node.op in _COMPARISONS else POISON, node.place)
    if isinstance(left.type, Tensor) or isinstance(right.type, Tensor):
        return infix_tensors(context, node, left, right)
    pair = _unify(context, node, left, right)
    if pair is None:
        return typed.Zero(BOOL if node.op in _COMPARISONS else POISON, node.place)
    left, right = pair
    if not _allowed(node.op, left.type):
        return _refuse(context, node, left, right)
    type_ = BOOL if node.op in _COMPARISONS else left.type
    op = NAMES[node.op]
    if op in ("div", "rem") and isinstance(right, typed.IntConst) and right.value == 0:
        return context.wrong(node.place, "division by zero")
    folded = fold_binary(op, left, right, type_, node.place)
    if folded is None and isinstance(type_, AnyInt | AnyFloat):
        return context.wrong(node.place, "this constant is too large or not defined")
    return folded or typed.Binary(type_, node.place, op, left, right)


def _unify(
    context: Context, node: syntax.Infix, left: typed.Expr, right: typed.Expr
) -> tuple[typed.Expr, typed.Expr] | None:
    """Both operands as one type; None after reporting that there is none."""
    for a, b, swapped in ((left, right, False), (right, left, True)):
        converted = try_convert(context, a, b.type)
        if converted is not None:
            return (b, converted) if swapped else (converted, b)
    if widens(left.type, INT) and widens(right.type, INT):
        return convert(context, left, INT), convert(context, right, INT)
    for value, other in ((left, right), (right, left)):
        if isinstance(value, typed.IntConst) and value.type == ANY_INT:
            if isinstance(other.type, Int):
                convert(context, value, other.type)
                return None
            if isinstance(other.type, Bool | Enum | Ptr):
                break
    _refuse(context, node, left, right)
    return None


def _allowed(op: str, type_: Type) -> bool:
    if op in _ARITHMETIC:
        return isinstance(type_, _NUMBERS)
    if op == "@":
        return False  # of tensors only
    if op in _BITWISE:
        return isinstance(type_, Int | AnyInt | Bool)
    if op in ("==", "!="):
        return isinstance(type_, _NUMBERS | Bool | Enum | Ptr | Fn | Str)
    return isinstance(type_, _NUMBERS | Ptr | Str)


def _refuse(
    context: Context, node: syntax.Infix, left: typed.Expr, right: typed.Expr
) -> typed.Expr:
    hint = ""
    types = (left.type, right.type)
    if left.type == right.type:
        message = f"'{node.op}' does not work on {left.type}"
    else:
        message = f"'{node.op}' does not work on {left.type} and {right.type}"
    if any(isinstance(t, Result) for t in types):
        hint = "handle the error first, with 'try' or 'else'"
    elif all(isinstance(t, Int) for t in types):
        hint = "cast one side: int(...) or u64(...)"
    elif all(isinstance(t, _NUMBERS) for t in types):
        hint = f"cast one side: {_float_of(types)}(...)"
    elif any(isinstance(t, Ptr) for t in types) and node.op in ("+", "-"):
        hint = "write &p[i], or ptr(int(p) + n)"
    elif types == (STR, STR) and node.op == "+":
        hint = 'write format(buffer, "{}{}", a, b)'
    result = context.wrong(node.op_place if node.op not in ("&&", "||") else node.place,
                           message, hint)  # fmt: skip
    return replace(result, type=BOOL) if node.op in _COMPARISONS else result


def _float_of(types: tuple[Type, ...]) -> Type:
    return next((t for t in types if isinstance(t, Float | AnyFloat)), types[0])


def _shift(context: Context, node: syntax.Infix, expected: Type | None) -> typed.Expr:
    """The result has the left operand's type; the amount is any integer."""
    left = context.expression(node.left, _guide(expected))
    right = context.expression(node.right)
    return shift_values(context, node, left, right, expected)


def shift_values(
    context: Context,
    node: syntax.Infix,
    left: typed.Expr,
    right: typed.Expr,
    expected: Type | None,
) -> typed.Expr:
    """A shift of two checked operands."""
    if POISON in (left.type, right.type):
        return typed.Zero(POISON, node.place)
    constant = left.type == ANY_INT and right.type == ANY_INT
    if not constant and left.type == ANY_INT and isinstance(right.type, Int):
        wanted = expected if isinstance(expected, Int) else INT
        if isinstance(left, typed.IntConst) and left.value > wanted.maximum:
            wanted = U64
        left = convert(context, left, wanted)
    integers = isinstance(left.type, Int | AnyInt) and isinstance(right.type, Int | AnyInt)
    if not integers:
        return _refuse(context, node, left, right)
    if not constant and right.type != left.type:
        right = _as_amount(context, right, left.type)
    op = _SHIFTS[node.op]
    folded = fold_binary(op, left, right, left.type, node.place)
    if folded is None and constant:
        return context.wrong(node.place, "this constant is too large or not defined")
    return folded or typed.Binary(left.type, node.place, op, left, right)


def _as_amount(context: Context, amount: typed.Expr, type_: Type) -> typed.Expr:
    """A shift amount as the shifted type; only its low bits matter."""
    from toolchain.kern.check.convert import cast

    return cast(context, amount, type_, amount.place)


def _logical(context: Context, node: syntax.Infix) -> typed.Expr:
    left = convert(context, context.expression(node.left, BOOL), BOOL, f"the left of '{node.op}'")
    right = convert(
        context, context.expression(node.right, BOOL), BOOL, f"the right of '{node.op}'"
    )
    op = "and" if node.op == "&&" else "or"
    if isinstance(left, typed.IntConst):
        decided = left.value == (op == "or")
        return left if decided else right
    return typed.Logical(BOOL, node.place, op, left, right)


# ── Prefix ───────────────────────────────────────────────────────────────────────────────────


@checks_expression(syntax.Prefix)
def prefix(context: Context, node: syntax.Prefix, expected: Type | None) -> typed.Expr:
    """`op operand`."""
    if node.op == "&":
        return _address(context, node)
    if node.op == "!":
        value = convert(context, context.expression(node.operand, BOOL), BOOL, "what '!' negates")
        if isinstance(value, typed.IntConst):
            return typed.IntConst(BOOL, node.place, 1 - value.value)
        return typed.Unary(BOOL, node.place, "not", value)
    value = context.expression(node.operand, None if node.op == "*" else _guide(expected))
    if value.type == POISON:
        return value
    if node.op == "*":
        return _dereference(context, node, value)
    if isinstance(value.type, Tensor):
        return prefix_tensor(context, node, value)
    if node.op == "~" and isinstance(expected, Int) and value.type == ANY_INT:
        value = convert(context, value, expected)
    return _negate(context, node, value)


def _negate(context: Context, node: syntax.Prefix, value: typed.Expr) -> typed.Expr:
    numbers = _NUMBERS if node.op == "-" else Int | AnyInt
    if not isinstance(value.type, numbers):
        return context.wrong(node.place, f"'{node.op}' does not work on {value.type}")
    if isinstance(value, typed.IntConst):
        number = -value.value if node.op == "-" else ~value.value
        return typed.IntConst(value.type, node.place, wrap(number, value.type))
    if isinstance(value, typed.FloatConst):
        return typed.FloatConst(value.type, node.place, -value.value)
    op = "neg" if node.op == "-" else "invert"
    return typed.Unary(value.type, node.place, op, value)


def _dereference(context: Context, node: syntax.Prefix, value: typed.Expr) -> typed.Expr:
    if not isinstance(value.type, Ptr) or value.type.target is None:
        hint = "cast it: ptr[T](...)" if isinstance(value.type, Ptr) else ""
        return context.wrong(node.place, f"'*' needs a ptr[T], not {value.type}", hint)
    target = value.type.target
    return typed.Load(target, node.place, typed.Deref(target, node.place, value, True))


def _address(context: Context, node: syntax.Prefix) -> typed.Expr:
    symbol = (
        resolve(context, node.operand)
        if isinstance(node.operand, syntax.Name | syntax.Dot) else None
    )  # fmt: skip
    if isinstance(symbol, FunctionSymbol):
        return context.expression(node.operand)
    value = context.expression(node.operand)
    if value.type == POISON:
        return value
    if not isinstance(value, typed.Load):
        return context.wrong(node.place, "'&' needs something that lies in memory")
    return replace(address_of(lvalue_of(value)), place=node.place)
