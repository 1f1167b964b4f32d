"""Reference semantics: an instruction computed from its declared meaning, in plain Python.

Slow and obvious: every element of every result is evaluated on its own, integers exactly, floats in
double precision, and converted to the result's type at the end. What the compiled code gives is
judged by it.

A meaning is written in the notation of `emu.isa.xaitensor.notation`. An expression alone is over
one element of each source. Otherwise

    m = max(x[*p, j, *q] for j in n)               an abbreviation: evaluated where it is used
    h[t, i] = f(x[t, i] + h[t - 1, i]) if t >= 0 else 0     a table, which may look at itself
    d[*p, i, *q] = exp(x[*p, i, *q] - m)           a result, for every index of it

Names are extents (as in the signature), operands, attribute fields, flags and modes. An operand
that was left out has elements 0 and `has(w)` is false. An element outside an operand is an error: a
meaning says itself what padding is.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from emu.cpu.tensor import expr
from emu.cpu.tensor.descriptor import BF16, F16, F64, DType
from emu.cpu.tensor.semantics import ACTIVATIONS
from emu.isa.xaitensor import TENSORS, Declaration
from emu.isa.xaitensor.notation import Code, Scope, Value, divide, read, statements
from emu.isa.xaitensor.rules import RULES, Extents
from emu.isa.xaitensor.signature import Operand

Number = int | float | bool
CONSTANTS = {"pi": math.pi, "inf": math.inf, "nan": math.nan}
Indices = tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Array:
    """Elements in row-major order."""

    dtype: DType
    dims: Extents
    elements: Sequence[Number]

    def at(self, index: Extents, *, stretched: bool) -> Number:
        """The element at an index; of a `stretched` array, by NumPy's rule of broadcasting."""
        if stretched:
            own = index[len(index) - len(self.dims) :]
            index = tuple(0 if n == 1 else i for i, n in zip(own, self.dims, strict=True))
        place = 0
        for i, n in zip(index, self.dims, strict=True):
            if not 0 <= i < n:
                raise IndexError(f"the element {index} of {self.dims} does not exist")
            place = place * n + i
        return self.elements[place]


@dataclass
class _Meaning:
    """What the scopes of one evaluation share."""

    arrays: Mapping[str, Array | None]
    result: DType
    stretched: frozenset[str]
    abbreviations: dict[str, Code] = field(default_factory=dict)
    tables: dict[str, tuple[Indices, Code]] = field(default_factory=dict)
    known: dict[tuple[str, Extents], Value] = field(default_factory=dict)
    """Elements of tables that have been computed."""


class _Names(Scope):
    """The scope of a meaning."""

    def __init__(self, names: Mapping[str, Value], meaning: _Meaning) -> None:
        super().__init__(names, FUNCTIONS)
        self.meaning = meaning

    def __getitem__(self, name: str) -> Value:
        if name in self.names:
            return self.names[name]
        return self.meaning.abbreviations[name](self)

    def element(self, name: str, index: Extents) -> Value:
        if name in self.meaning.tables:
            return self._entry(name, index)
        if name not in self.meaning.arrays:
            return self[name][index[0]]
        array = self.meaning.arrays[name]
        if array is None:
            return 0
        return array.at(index, stretched=name in self.meaning.stretched)

    def _entry(self, name: str, index: Extents) -> Value:
        key = name, index
        if key not in self.meaning.known:
            indices, code = self.meaning.tables[name]
            lengths = [len(index) - len(indices) + 1 if star else 1 for _, star in indices]
            self.meaning.known[key] = code(_placed(self, indices, lengths, index))
        return self.meaning.known[key]


def _placed(scope: Scope, indices: Indices, lengths: Sequence[int], index: Extents) -> Scope:
    """The scope in which the names of `indices` have their parts of `index`."""
    at = 0
    for (name, starred), length in zip(indices, lengths, strict=True):
        scope = scope.bind(name, index[at : at + length] if starred else index[at])
        at += length
    return scope


def evaluate(
    declaration: Declaration, scope: Scope, sources: Mapping[str, Array], results: Sequence[DType]
) -> list[Array]:
    """The results of an instruction, whose types are given, in the order of the signature.

    `scope` is what its checks have bound, the extents of the results included; `sources` lacks the
    operands that were left out.
    """
    present = [o for o in declaration.results if o.name in scope.names]
    arrays = {o.name: sources.get(o.name) for o in declaration.operands if not o.written}
    stretched = frozenset(
        o.name for o in declaration.operands if any(d.kind in ("join", "stretch") for d in o.dims)
    )
    known = {**CONSTANTS, **dict.fromkeys(arrays), **scope.names}
    names = _Names(known, _Meaning(arrays, results[0], stretched))
    cells = (
        _one_element(declaration, names) if declaration.elementwise else _lines(declaration, names)
    )
    return [
        Array(dtype, scope[result.name], [
            converted(cells[result.name](index), dtype)
            for index in product(*map(range, scope[result.name]))
        ])
        for result, dtype in zip(present, results, strict=True)
    ]  # fmt: skip


def _one_element(declaration: Declaration, names: _Names) -> dict[str, Callable[[Extents], Number]]:
    """The result of an elementwise meaning by index."""
    code = read(declaration.means)

    def cell(index: Extents) -> Number:
        inner: Scope = names
        for name, array in names.meaning.arrays.items():
            value = None if array is None else array.at(index, stretched=True)
            inner = inner.bind(name, value)
        return code(inner)  # type: ignore[no-any-return]

    return {declaration.results[0].name: cell}


def _lines(declaration: Declaration, names: _Names) -> dict[str, Callable[[Extents], Number]]:
    """The results by index, each as its line says."""
    cells = {}
    for line in statements(declaration.means):
        result = next((o for o in declaration.results if o.name == line.name), None)
        if line.indices is None:
            names.meaning.abbreviations[line.name] = line.code
        elif result is None:
            names.meaning.tables[line.name] = line.indices, line.code
        else:
            cells[line.name] = _cell(result, line.indices, line.code, names)
    return cells


def _cell(
    result: Operand, indices: Indices, code: Code, names: _Names
) -> Callable[[Extents], Number]:
    lengths = _lengths(result, indices, names)
    return lambda index: code(_placed(names, indices, lengths, index))


def _lengths(result: Operand, indices: Indices, names: _Names) -> list[int]:
    """How many dimensions each index of the line stands for."""
    rank = len(names[result.name]) if result.name in names.names else 0
    if sum(starred for _, starred in indices) <= 1:
        return [rank - len(indices) + 1 if starred else 1 for _, starred in indices]
    lengths = []
    for dim, (_, starred) in zip(result.dims, indices, strict=True):
        lengths.append(len(read(dim.text)(names)) if starred else 1)
    return lengths


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
    return x**y if y >= 0 else divide(1, x**-y) if x else 0


def _bits(logical: str, operation: Callable[[int, int], int]) -> Callable[..., Number]:
    def apply(_: Scope, x: Number, y: Number) -> Number:
        return bool(_SCALARS[logical](x, y)) if isinstance(x, bool) else operation(x, y)  # type: ignore[arg-type]

    return apply


def _activated(at: Scope, value: Number) -> Number:
    """The activation that the attribute block asks for, as the instruction for it means it; of an
    integer, after it has wrapped."""
    mnemonic = ACTIVATIONS[at["activation"]]
    if mnemonic is None:
        return value
    if isinstance(value, int):
        assert isinstance(at, _Names)
        value = converted(value, at.meaning.result)
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
    "wrap": lambda _, index, extent: index + extent if index < 0 else index,
    "has": lambda _, operand: operand is not None,
    "act": _activated,
}
"""What a meaning may call."""


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
