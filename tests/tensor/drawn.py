"""Random operands for any tensor instruction, drawn from its declaration.

`draw` gives a `Case`: extents that fit the signature, types of its sets, small values whose sums
are exact, and attributes. `Placed` puts a case into a bench's memory and executes it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from emu.cpu.tensor.attributes import EXTRAS, Attributes
from emu.cpu.tensor.checks import check, defaults, named
from emu.cpu.tensor.descriptor import DTYPES, DType, dense
from emu.cpu.tensor.faults import TensorFault
from emu.cpu.tensor.reference import Array, Number, converted, evaluate
from emu.isa.xaitensor import Declaration
from emu.isa.xaitensor.notation import Scope, read
from emu.isa.xaitensor.rules import RULES, BadAttribute, NoBroadcast, broadcast
from emu.isa.xaitensor.signature import Dim, Operand, admits

Dims = tuple[int, ...]
_ATTEMPTS = 2000
_USUAL = (1, 2, 2, 3, 3, 4, 5) * 4 + (0,)
FIRST_EXTRA = 3
"""The register of extra operand e0; the others follow."""


@dataclass
class Case:
    """One instruction's operands; `sources` and `results` lack those that are left out."""

    declaration: Declaration
    at: Attributes
    dims: dict[str, Dims]
    dtypes: dict[str, DType]
    scope: Scope
    sources: dict[str, Array] = field(default_factory=dict)

    def expected(self) -> list[Array]:
        """The results by the reference semantics."""
        results = [self.dtypes[o.name] for o in self.declaration.results if o.name in self.dims]
        return evaluate(self.declaration, self.scope, self.sources, results)


def draw(declaration: Declaration, rng: random.Random, extents: Sequence[int] = _USUAL) -> Case:
    """A case that passes the instruction's checks; where `extents` are not the usual ones, without
    elements."""
    for _ in range(_ATTEMPTS):
        at = _attributes(declaration, rng)
        left_out = {o.name for o in declaration.operands if o.optional and rng.random() < 0.4}
        try:
            case = _shaped(declaration, at, left_out, rng, extents)
        except (TensorFault, BadAttribute, NoBroadcast, KeyError):
            continue
        if max(map(len, case.dims.values())) <= 8 and (extents is not _USUAL or _fill(case, rng)):
            return case
    raise AssertionError(f"no operands of '{declaration.mnemonic}' could be drawn")


def _attributes(declaration: Declaration, rng: random.Random) -> Attributes:
    """A block, or sometimes none."""
    if not declaration.form.block or rng.random() < 0.2:
        return defaults(declaration)

    def four(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.randint(low, high) for _ in range(4))

    number = [0.25, 0.5, 1.0, 1.5, 2.0]
    at = Attributes(
        given=True, groups=rng.choice([1, 1, 2]), axis=rng.randint(-3, 2),
        flags=sum(1 << bit for bit in declaration.flags.values() if rng.random() < 0.5),
        alpha=rng.choice(number), beta=rng.choice(number), gamma=rng.choice(number),
        kernel=four(1, 3), stride=four(1, 2), dilation=four(1, 2), pad_begin=four(0, 1),
        pad_end=four(0, 1), axes=rng.choice([0, 1, 2, 3, 4, 6]), count=rng.randint(1, 3),
        mode=rng.randrange(max(len(declaration.modes), 1)),
        activation=rng.choice([0, 0, 1, 4, 5]) if declaration.activates else 0,
    )  # fmt: skip
    return replace(at, **{k: v for k, v in declaration.defaults.items() if rng.random() < 0.5})  # type: ignore[arg-type]


def _shaped(
    declaration: Declaration,
    at: Attributes,
    left_out: set[str],
    rng: random.Random,
    extents: Sequence[int],
) -> Case:
    """A case without elements. Raises what the checks raise."""
    scope = Scope(named(declaration, at), RULES)
    present = [o for o in declaration.operands if o.name not in left_out]
    at = replace(at, **_registers(declaration, left_out))
    if not at.given and any(o.extra is not None for o in present):
        at = replace(at, given=True)
    for operand in present:
        at = _bind_names(operand, at, scope, rng, extents)
    dims: dict[str, Dims] = {}
    joined: dict[str, list[Dims]] = {}
    for operand in present:
        if any(d.kind == "stretch" for d in operand.dims):
            continue
        if operand.written:
            scope.names |= {name: broadcast(*parts) for name, parts in joined.items()}
        dims[operand.name] = _extents(operand, scope, joined, rng)
    for operand in present:
        for dim in operand.dims:
            if dim.kind == "stretch":
                dims[operand.name] = _squeezed(dims[dim.text], rng)
    if at.given:
        at = Attributes.parse(at.encode())
    dtypes = _types(declaration, present, rng)
    views = {name: dense(0, dtypes[name], dims[name]) for name in dims}
    return Case(declaration, at, dims, dtypes, check(declaration, views, at).scope)


def _registers(declaration: Declaration, left_out: set[str]) -> dict[str, Any]:
    registers = [
        FIRST_EXTRA + place + 1 if (o := declaration.extras.get(place)) and o.name not in left_out
        else 0
        for place in range(EXTRAS)
    ]  # fmt: skip
    return {"bias": registers[0], "extras": tuple(registers[1:])}


def _bind_names(
    operand: Operand, at: Attributes, scope: Scope, rng: random.Random, extents: Sequence[int]
) -> Attributes:
    """Choose the extents that have names; an axis is where the dimensions before it end."""
    before = 0
    for dim in operand.dims:
        if dim.kind == "one" or dim.kind == "axis":
            scope.names.setdefault(dim.text, rng.choice(extents))
        elif dim.kind in ("rest", "join"):
            low, high = (dim.low or 0), min(dim.high, 2 if dim.high == 8 else dim.high)
            if dim.like:
                low = high = len(scope[dim.like])
            some = tuple(rng.choice(extents) for _ in range(rng.randint(low, high)))
            scope.names.setdefault(dim.text, some)
        if dim.kind == "axis":
            given = at.given or getattr(at, dim.axis) != before
            at = replace(at, given=given, **{dim.axis: before})
            scope.names[dim.axis] = before
        before += len(scope[dim.text]) if dim.kind in ("rest", "join") else 1
    return at


def _extents(
    operand: Operand, scope: Scope, joined: dict[str, list[Dims]], rng: random.Random
) -> Dims:
    out: list[int] = []
    for dim in operand.dims:
        value = _value(dim, scope)
        if dim.kind == "join":
            value = _squeezed(value, rng)
            joined.setdefault(dim.text, []).append(value)
        out += value
    return tuple(out)


def _value(dim: Dim, scope: Scope) -> Dims:
    if dim.kind in ("rest", "join"):
        return tuple(scope[dim.text])
    value = read(dim.text)(scope)
    return tuple(value) if dim.kind == "spread" else (value,)


def _squeezed(dims: Dims, rng: random.Random) -> Dims:
    """Extents that broadcast to `dims`."""
    start = rng.choice([0, 0, rng.randint(0, len(dims))])
    return tuple(1 if rng.random() < 0.2 else n for n in dims[start:])


def _types(
    declaration: Declaration, present: list[Operand], rng: random.Random
) -> dict[str, DType]:
    chosen: dict[str, DType] = {}
    out = {}
    for operand in present:
        wanted = declaration.types.get(operand.type, operand.type)
        dtype = rng.choice([d for d in DTYPES.values() if admits(wanted, d.name, d.kind)])
        if operand.type in declaration.types:
            dtype = chosen.setdefault(operand.type, dtype)
        out[operand.name] = dtype
    return out


def _fill(case: Case, rng: random.Random) -> bool:
    """Draw elements; False where there is no index that would be in range."""
    for operand in case.declaration.operands:
        if operand.written or operand.name not in case.dims:
            continue
        dims, dtype = case.dims[operand.name], case.dtypes[operand.name]
        count = int(np.prod(dims, dtype=np.int64))
        if operand.indexes:
            reach = read(operand.indexes)(case.scope)
            width = dims[-1] if isinstance(reach, tuple) else 1
            reach = reach if isinstance(reach, tuple) else (reach,)
            if count and not all(reach):
                return False
            ranges = [reach[i % width] for i in range(count)]
            elements: list[Number] = [
                rng.randint(0, n) if operand.type == "count" else rng.randrange(-n, n)
                for n in ranges
            ]
        else:
            elements = [_element(dtype, rng) for _ in range(count)]
        case.sources[operand.name] = Array(dtype, dims, elements)
    return True


def _element(dtype: DType, rng: random.Random) -> Number:
    if dtype.kind == "float":
        return rng.randint(-12, 12) / 4
    if dtype.kind == "int" and rng.random() < 0.05:
        return converted(rng.choice([-(2**63), 2**63 - 1, 128, 255]), dtype)
    return converted(rng.randint(-6, 6), dtype)
