"""What sampling at the coordinates of a grid means, as ONNX's operator GridSample says it."""

from __future__ import annotations

import math

from emu.isa.xaitensor.notation import Scope
from emu.isa.xaitensor.rules import RULES, BadAttribute, Extents

PADDINGS = ("zeros", "border", "reflection")
"""What lies around the image, by `count`."""


def padding(at: Scope) -> str:
    """The name of the padding."""
    if at["count"] >= len(PADDINGS):
        raise BadAttribute
    return PADDINGS[at["count"]]


def sampled(at: Scope, rank: int) -> bool:
    """Whether the attributes fit images of so many dimensions."""
    padding(at)
    return at["mode"] != at["cubic"] or rank < 3


def grid_taps(at: Scope, rank: int) -> int:
    """Elements that a result is made of."""
    along = 1 if at["mode"] == at["nearest"] else 2 if at["mode"] == at["linear"] else 4
    return int(along**rank)


def _reflected(x: float, low: float, high: float) -> float:
    if high <= low:
        return low
    far = math.fmod(abs(x - low), 2 * (high - low))
    return low + min(far, 2 * (high - low) - far)


def _weights(at: Scope, x: float, n: int) -> dict[int, float]:
    """The elements of a dimension that a normalised coordinate is made of, with their weights."""
    low, high = (0.0, n - 1.0) if at["corners"] else (-0.5, n - 0.5)
    x = (x + 1) / 2 * (n - 1) if at["corners"] else ((x + 1) * n - 1) / 2
    nearest, how = at["mode"] == at["nearest"], padding(at)
    x = round(x) if nearest else x
    if how == "border" and at["mode"] != at["cubic"]:
        x = min(max(x, 0), n - 1)
    elif how == "reflection":
        x = _reflected(x, low, high)
    floor = math.floor(x)
    reach = 1 if nearest else 2 if at["mode"] == at["linear"] else 4
    found: dict[int, float] = {}
    for tap in range(floor - (reach - 1) // 2, floor + reach // 2 + 1):
        place = min(max(tap, 0), n - 1)
        if how == "reflection":
            place = int(_reflected(tap, low, high))
        elif how == "zeros" and place != tap:
            continue
        weight = 1.0 if nearest else _curve(at, abs(tap - x))
        found[place] = found.get(place, 0.0) + weight
    return found


def _curve(at: Scope, x: float) -> float:
    """The weight of a tap at a distance: a triangle, or Keys's cubic with the parameter -0.75."""
    if at["mode"] == at["linear"]:
        return 1 - x
    if x <= 1:
        return (1.25 * x - 2.25) * x * x + 1
    return -0.75 * x**3 + 3.75 * x**2 - 6 * x + 3


def grid_weight(at: Scope, point: Extents, element: Extents, s: Extents) -> float:
    """How much an element of an image counts at a point, whose last coordinate comes first."""
    product = 1.0
    for x, k, n in zip(point[::-1], element, s, strict=True):
        product *= _weights(at, x, n).get(k, 0.0)
    return product


RULES.update(sampled=sampled, grid_taps=grid_taps, grid_weight=grid_weight)
