"""Functions of shape expressions for instructions that move elements; `rules` has the others.

Like those they take the scope first, then extents. Attributes without meaning raise `BadAttribute`;
whether operands go together is asked by functions that give a truth value.
"""

from __future__ import annotations

from emu.isa.xaitensor.notation import Scope
from emu.isa.xaitensor.rules import RULES, BadAttribute, Extents, folded_axes, normal_axis

PADS = 4
"""Dimensions that an attribute block has pads for."""


def covers(_: Scope, a: Extents, c: Extents, index: Extents) -> bool:
    """Whether indices with the extents `index`, one an element, fit data of extents (*a, n, *c)
    along the axis between a and c."""
    if len(index) != len(a) + 1 + len(c):
        return False
    others = index[: len(a)] + index[len(a) + 1 :]
    return all(i <= n for i, n in zip(others, a + c, strict=True))


def picks(_: Scope, data: Extents, index: Extents, batch: int) -> bool:
    """Whether the last dimension of `index` can hold coordinates in `data` behind `batch` common
    dimensions."""
    if not batch < len(index) or batch > len(data) or data[:batch] != index[:batch]:
        return False
    return 1 <= index[-1] <= len(data) - batch


def picked(_: Scope, data: Extents, index: Extents, batch: int) -> Extents:
    """The extents of the slices behind those coordinates."""
    return index[:-1] + data[batch + index[-1] :] if index else ()


def pads(at: Scope, rank: int) -> tuple[Extents, Extents]:
    """Elements added before and behind, by dimension: the pads go, in order, to the dimensions of
    the bit mask `axes`, at most four of them."""
    axes = folded_axes(at, rank)
    if len(axes) > PADS:
        raise BadAttribute
    begin, end = [0] * rank, [0] * rank
    for k, d in enumerate(axes):
        begin[d], end[d] = at["pad_begin"][k], at["pad_end"][k]
    return tuple(begin), tuple(end)


def padded(at: Scope, extents: Extents) -> Extents:
    """The extents of a padded tensor. What is taken away must be there, and something must be left
    that an added element could be like, unless that is a constant."""
    result = []
    for n, before, behind in zip(extents, *pads(at, len(extents)), strict=True):
        left = n + min(before, 0) + min(behind, 0)
        extent = n + before + behind
        if left < 0 or (left == 0 and extent and at["mode"] != at["constant"]):
            raise BadAttribute
        result.append(extent)
    return tuple(result)


def before(at: Scope, extents: Extents) -> Extents:
    """Elements added before the first, by dimension."""
    return pads(at, len(extents))[0]


def folded_back(at: Scope, index: Extents, extents: Extents) -> Extents:
    """The element that an index outside the extents repeats: the one at the edge, the mirrored
    one, or the one as far from the other end."""
    found = []
    for i, n in zip(index, extents, strict=True):
        if at["mode"] == at["reflect"]:
            i %= max(2 * n - 2, 1)
            i = min(i, 2 * n - 2 - i)
        found.append(min(max(i, 0), n - 1) if at["mode"] != at["wrap"] else i % n)
    return tuple(found)


def widened(at: Scope, extents: Extents, count: int) -> Extents:
    """The extents with one more at the axis, which counts in the result."""
    axis = normal_axis(at["axis"], len(extents) + 1)
    return (*extents[:axis], count, *extents[axis:])


RULES.update(
    covers=covers, picks=picks, picked=picked, padded=padded, before=before,
    folded_back=folded_back, widened=widened,
)  # fmt: skip
