"""The vocabulary of meanings: the functions that the declared meaning of an instruction may call.

Each takes the scope first, as the rules of shapes do, which may be called too. Generators
(`sum(f(k) for k in n)`) arrive as iterators over the values.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence

from emu.cpu.tensor import expr
from emu.cpu.tensor.descriptor import BF16, F16, F64, DType
from emu.cpu.tensor.semantics import ACTIVATIONS
from emu.isa.xaitensor import TENSORS
from emu.isa.xaitensor.notation import Scope, Value, divide, read
from emu.isa.xaitensor.rules import RULES

Number = int | float | bool
RESULT = "type of the result"
"""The name under which a scope has the element type of the first result."""

# elements


def converted(value: Number, dtype: DType) -> Number:
    """A value as an element of a type: floats are rounded to nearest even; integers wrap, and
    saturate where a float becomes one."""
    if dtype.kind == "bool":
        return value != 0
    if dtype.kind == "float":
        return _rounded(float(value), dtype)
    least = -(1 << dtype.size * 8 - 1) if dtype.signed else 0
    size = 1 << dtype.size * 8
    if isinstance(value, float):
        if math.isnan(value):
            return 0
        value = min(max(value, least), least + size - 1)
    return (int(value) - least) % size + least


def _rounded(value: float, dtype: DType) -> float:
    """Half precision goes through f32, as the type of arithmetic."""
    if dtype is F64:
        return value
    single = _packed("f", value)
    if dtype is F16:
        return _packed("e", single)
    if dtype is BF16 and math.isfinite(single):
        bits: int = struct.unpack("<I", struct.pack("<f", single))[0]
        bits = bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF_0000
        rounded: float = struct.unpack("<f", struct.pack("<I", bits))[0]
        return rounded
    return single


def _packed(form: str, value: float) -> float:
    try:
        nearest: float = struct.unpack(f"<{form}", struct.pack(f"<{form}", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return nearest


# functions


def _least(choose: Callable[[Sequence[Number]], Number], none: float) -> Callable[..., Number]:
    """The least or greatest of arguments, or of all values of a generator; NaN if one is."""

    def chosen(_: Scope, *values: Value) -> Number:
        numbers = list(values[0]) if isinstance(values[0], Iterator) else values
        if any(v != v for v in numbers):
            return math.nan
        return choose(numbers) if numbers else none

    return chosen


def _position(better: Callable[[Number, Number], bool]) -> Callable[..., int]:
    """Where the first value stands that no other is better than; a NaN is better than all."""

    def found(_: Scope, values: Iterator[Number]) -> int:
        best, place = None, 0
        for i, value in enumerate(values):
            if best is None or (best == best and (value != value or better(value, best))):
                best, place = value, i
        return place

    return found


def _sum(_: Scope, values: Iterator[Number]) -> Number:
    """The sum, exact before it is rounded; of nothing, 0.0, which divided by 0 is NaN."""
    numbers = list(values)
    if numbers and all(isinstance(v, int) for v in numbers):
        return sum(numbers)
    return math.fsum(numbers) if all(map(math.isfinite, numbers)) else sum(map(float, numbers))


def _modulo(x: Number, y: Number) -> Number:
    return (x % y if y else x) if isinstance(x, int) else _SCALARS["mod"](x, y)


def _power(x: Number, y: Number) -> Number:
    if not isinstance(x, int) or not isinstance(y, int):
        return _SCALARS["pow"](x, y)
    found: int = x**y if y >= 0 else divide(1, x**-y)
    return found


def _ordered(_: Scope, values: Sequence[Number], descending: bool) -> tuple[int, ...]:
    """Where the values stand, in order; equal ones as they come, NaN the greatest."""
    ranks = [(v != v, 0 if v != v else v) for v in values]
    if descending:
        ranks = [(not nan, -v) for nan, v in ranks]
    return tuple(sorted(range(len(values)), key=lambda i: ranks[i]))


def _updated(at: Scope, old: Number, values: Sequence[Number]) -> Number:
    """An element and the updates it meets, by the modes none, add, mul, max, min."""
    name = next(m for m in ("none", *_OF_BOOLS) if at[m] == at["mode"])
    if name == "none":
        return values[-1] if values else old
    combine = FUNCTIONS[_OF_BOOLS[name] if isinstance(old, bool) else name]
    for value in values:
        old = combine(at, old, value)
    return old


_OF_BOOLS = {"add": "or", "mul": "and", "max": "or", "min": "and"}


def _whole(at: Scope, value: Number) -> Number:
    """Rounded to the nearest integer, ties to even, where the result has integers."""
    if at[RESULT].kind == "int" and math.isfinite(value):
        return float(round(value))
    return value


def _bits(logical: str, operation: Callable[[int, int], int]) -> Callable[..., Number]:
    def apply(_: Scope, x: Number, y: Number) -> Number:
        return bool(_SCALARS[logical](x, y)) if isinstance(x, bool) else operation(x, y)  # type: ignore[arg-type]

    return apply


def _wrapped(_: Scope, index: Value, extents: Value) -> Value:
    """An index that may count from the end, or several coordinates, counted from the front."""
    if isinstance(index, tuple):
        return tuple(i + n if i < 0 else i for i, n in zip(index, extents, strict=False))
    return index + extents if index < 0 else index


def _activated(at: Scope, value: Number) -> Number:
    """The activation that the attribute block asks for, as the instruction for it means it; of an
    integer, after it has wrapped."""
    mnemonic = ACTIVATIONS[at["activation"]]
    if mnemonic is None:
        return value
    if isinstance(value, int):
        value = converted(value, at[RESULT])
    return read(TENSORS[mnemonic].means)(at.bind("x", value))  # type: ignore[no-any-return]


def _scalar(op: str, count: int) -> Callable[..., Number]:
    expression = expr.call(op, *map(expr.arg, range(count)))
    return lambda *values: expr.evaluate(expression, values)


def _unscoped(function: Callable[..., Number]) -> Callable[..., Number]:
    return lambda _, *values: function(*values)


_SCALARS = {op: _scalar(op, count) for op, count in expr.OPS.items() if count}
"""The vocabulary of elementwise expressions, in double precision."""

FUNCTIONS: dict[str, Callable[..., Value]] = {
    **{op: _unscoped(function) for op, function in _SCALARS.items()},
    **RULES,
    "sum": _sum,
    "max": _least(max, -math.inf),
    "min": _least(min, math.inf),
    "argmax": _position(lambda x, y: x > y),
    "argmin": _position(lambda x, y: x < y),
    "count": lambda _, values: sum(1 for _ in values),
    "any": lambda _, values: any(values),
    "all": lambda _, values: all(values),
    "sorted": lambda _, values: tuple(sorted(values)),
    "mod": lambda _, x, y: _modulo(x, y),
    "pow": lambda _, x, y: _power(x, y),
    "bitand": _bits("and", lambda x, y: x & y),
    "bitor": _bits("or", lambda x, y: x | y),
    "bitxor": _bits("xor", lambda x, y: x ^ y),
    "bitnot": lambda _, x: not x if isinstance(x, bool) else ~x,
    "wrap": _wrapped,
    "list": lambda _, values: tuple(values),
    "ordered": _ordered,
    "updated": _updated,
    "whole": _whole,
    "has": lambda _, operand: operand is not None,
    "act": _activated,
}
"""What a meaning may call."""
