"""The functions of shape expressions: extents from extents and attributes.

Each takes the scope first, where attribute fields and flags are found by name, then its arguments:
extents as integers, several as tuples. All that an instruction's shape needs beyond arithmetic
stands here, for the checks as well as for a compiler that infers shapes. A rule that the attributes
make meaningless raises `BadAttribute`.
"""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Callable
from functools import cache
from types import FunctionType

from emu.isa.xaitensor.notation import Scope, Value

Extents = tuple[int, ...]


class BadAttribute(Exception):
    """The attribute block asks for what does not exist."""


class NoBroadcast(Exception):
    """Extents that NumPy's rule does not bring together."""


def normal_axis(axis: int, rank: int) -> int:
    """An axis that may count from the end, as 0 to rank - 1. Raises BadAttribute outside."""
    if not -rank <= axis < rank:
        raise BadAttribute
    return axis % rank


def broadcast(*shapes: Extents) -> Extents:
    """NumPy's common shape: aligned at the end, 1 stretches. Raises NoBroadcast."""
    rank = max((len(s) for s in shapes), default=0)
    common = [1] * rank
    for shape in shapes:
        for d, extent in enumerate(shape, rank - len(shape)):
            if extent != 1:
                if common[d] not in (1, extent):
                    raise NoBroadcast
                common[d] = extent
    return tuple(common)


def stretches(dims: Extents, to: Extents) -> bool:
    """Whether `dims` broadcasts to exactly `to`."""
    lead = len(to) - len(dims)
    return lead >= 0 and all(n in (1, m) for n, m in zip(dims, to[lead:], strict=True))


def windows(at: Scope, extents: Extents, taps: Extents) -> Extents:
    """How many windows of `taps` fit along each extent, by stride, dilation and padding. With the
    flag `ceil`, where an instruction has it, one more if it begins before the padding's end."""
    up = bool(at.names.get("ceil"))
    counts = []
    for i, extent in enumerate(extents):
        begin, end = at["pad_begin"][i], at["pad_end"][i]
        if min(begin, end) < 0 or taps[i] < 1:
            raise BadAttribute
        rest = extent + begin + end - ((taps[i] - 1) * at["dilation"][i] + 1)
        if rest < 0:
            raise BadAttribute
        stride = at["stride"][i]
        count = rest // stride + 1
        if up and rest % stride and count * stride < extent + begin:
            count += 1
        counts.append(count)
    return tuple(counts)


def spreads(at: Scope, extents: Extents, taps: Extents, result: Extents) -> bool:
    """Whether a transposed convolution can have this result: windows of `taps`, a stride apart,
    less the padding; behind them less than a stride or a dilation."""
    for i, extent in enumerate(extents):
        begin, end = at["pad_begin"][i], at["pad_end"][i]
        stride, dilation = at["stride"][i], at["dilation"][i]
        if min(begin, end) < 0 or taps[i] < 1:
            raise BadAttribute
        least = (extent - 1) * stride + (taps[i] - 1) * dilation + 1 - begin - end
        if not 0 <= result[i] - least < max(stride, dilation):
            return False
    return True


def folded_axes(at: Scope, rank: int) -> Extents:
    """The dimensions that the bit mask `axes` names, 0 meaning all."""
    mask = at["axes"]
    if mask >> rank:
        raise BadAttribute
    return tuple(d for d in range(rank) if not mask or mask >> d & 1)


def reduced(at: Scope, extents: Extents) -> Extents:
    """The extents of a reduction over `axes`: those dimensions are 1 (flag `keep`), or gone."""
    axes = folded_axes(at, len(extents))
    return tuple(
        1 if d in axes else n for d, n in enumerate(extents) if at["keep"] or d not in axes
    )


def folded(at: Scope, extents: Extents) -> Extents:
    """The extents of the reduced dimensions."""
    return tuple(extents[d] for d in folded_axes(at, len(extents)))


def kept(at: Scope, index: Extents) -> Extents:
    """The index, in the result of a reduction, of what the element at `index` goes into."""
    axes = folded_axes(at, len(index))
    return tuple(0 if d in axes else i for d, i in enumerate(index) if at["keep"] or d not in axes)


def flat(_: Scope, index: Extents, extents: Extents) -> int:
    """The row-major number of an index."""
    number = 0
    for i, extent in zip(index, extents, strict=True):
        number = number * extent + i
    return number


def ones(_: Scope, count: int) -> Extents:
    """`count` extents of 1."""
    return (1,) * count


RULES: dict[str, Callable[..., Value]] = {
    "windows": windows,
    "spreads": spreads,
    "reduced": reduced,
    "folded": folded,
    "kept": kept,
    "ones": ones,
    "flat": flat,
    "prod": lambda _, extents: math.prod(extents),
    "len": lambda _, extents: len(extents),
    "max": lambda _, *numbers: max(*numbers),
    "min": lambda _, *numbers: min(*numbers),
}
"""The functions by the names they are called by."""


@cache
def names_read(rule: Callable[..., Value]) -> frozenset[str]:
    """The names that a rule looks up in its scope, `at["stride"]`, itself or in a rule it calls."""
    if not isinstance(rule, FunctionType) or rule.__name__ == "<lambda>":
        return frozenset()
    tree = ast.parse(textwrap.dedent(inspect.getsource(rule)))
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id="at"), slice=ast.Constant(value=str() as name)):
                found.add(name)
            case ast.Call(func=ast.Name(id=name)) if name != rule.__name__:
                found |= names_read(rule.__globals__.get(name, len))
    return frozenset(found)
