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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.vocabulary import FUNCTIONS, RESULT, Number, converted
from emu.isa.xaitensor import Declaration
from emu.isa.xaitensor.notation import CONSTANTS, Code, Scope, Value, read, statements
from emu.isa.xaitensor.rules import Extents
from emu.isa.xaitensor.signature import Operand

Indices = tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Array:
    """Elements in row-major order."""

    dtype: DType
    dims: Extents
    elements: Sequence[Number]

    def at(self, index: Extents, *, stretched: bool) -> Value:
        """The element at an index; of a `stretched` array, by NumPy's rule of broadcasting. An
        index of one less gives the elements along the last dimension."""
        if stretched:
            own = index[len(index) - len(self.dims) :]
            index = tuple(0 if n == 1 else i for i, n in zip(own, self.dims, strict=True))
        place = 0
        for i, n in zip(index, self.dims, strict=False):
            if not 0 <= i < n:
                raise IndexError(f"the element {index} of {self.dims} does not exist")
            place = place * n + i
        if len(index) < len(self.dims):
            last = prod(self.dims[len(index) :])
            return tuple(self.elements[place * last : (place + 1) * last])
        return self.elements[place]


@dataclass
class _Meaning:
    """What the scopes of one evaluation share."""

    arrays: Mapping[str, Array | None]
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
    known = {**CONSTANTS, RESULT: results[0], **dict.fromkeys(arrays), **scope.names}
    names = _Names(known, _Meaning(arrays, stretched))
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
