"""What resizing means, as ONNX's operator Resize says it: extents, coordinates, weights.

The k-th resized dimension has its scale in kernel[k] and its region, of tf_crop_and_resize, in
pad_begin[k] and pad_end[k], all of them the bits of f32 numbers.
"""

from __future__ import annotations

import math
import struct

from emu.isa.xaitensor.moving_rules import PADS
from emu.isa.xaitensor.notation import Scope
from emu.isa.xaitensor.rules import RULES, BadAttribute, Extents, folded_axes

TRANSFORMATIONS = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_crop_and_resize",
)  # fmt: skip
"""How a result's index leads to a coordinate in the source: the low four bits of `count`."""
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
"""How a coordinate leads to the nearest element: the bits of `count` above these."""


def number(bits: int) -> float:
    """The f32 that 32 bits are."""
    return float(struct.unpack("<f", struct.pack("<I", bits % (1 << 32)))[0])


def transformation(at: Scope) -> str:
    """The name of the coordinate transformation."""
    if at["count"] % 16 >= len(TRANSFORMATIONS):
        raise BadAttribute
    return TRANSFORMATIONS[at["count"] % 16]


def rounding(at: Scope) -> str:
    """The name of the rounding to nearest elements."""
    if at["count"] // 16 >= len(ROUNDINGS):
        raise BadAttribute
    return ROUNDINGS[at["count"] // 16]


def resized_axes(at: Scope, rank: int) -> Extents:
    """The dimensions that are resized: those of the bit mask `axes`; 0: all but the first two."""
    axes = folded_axes(at, rank) if at["axes"] else tuple(range(2, rank))
    if len(axes) > PADS:
        raise BadAttribute
    return axes


def scale(at: Scope, k: int, n: int, m: int) -> float:
    """How many results there are for an element of the k-th resized dimension, from n to m
    elements. A scale that is given must be one that can lead from n to m."""
    if not at["scales"]:
        return m / n
    given = number(at["kernel"][k])
    if not (n * given >= 0.5 and abs(n * given - m) < 1):  # no NaN either
        raise BadAttribute
    return given


def region(at: Scope, k: int) -> tuple[float, float]:
    """The part of the k-th resized dimension that tf_crop_and_resize takes: 0 to 1 is all."""
    low, high = number(at["pad_begin"][k]), number(at["pad_end"][k])
    if not (math.isfinite(low) and math.isfinite(high)):
        raise BadAttribute
    return low, high


def resizable(at: Scope, extents: Extents, result: Extents) -> bool:
    """Whether a tensor can be resized to those extents."""
    axes = resized_axes(at, len(extents))
    rounding(at)
    crops = transformation(at) == "tf_crop_and_resize"
    for d, (n, m) in enumerate(zip(extents, result, strict=True)):
        if d not in axes and n != m:
            return False
        if d in axes and m:
            if n == 0:
                return False
            scale(at, axes.index(d), n, m)
            if crops:
                region(at, axes.index(d))
    return True


def reach(at: Scope, k: int, n: int, m: int) -> float:
    """How far, in elements, the function that weighs the taps extends to either side."""
    wide = 1.0 if at["mode"] == at["linear"] else 2.0
    return wide / min(scale(at, k, n, m), 1.0) if at["antialias"] else wide


def taps(at: Scope, extents: Extents, result: Extents) -> int:
    """Taps of one result along all dimensions together: what computing it costs."""
    if at["mode"] == at["nearest"] or 0 in result:
        return 1
    axes = resized_axes(at, len(extents))
    return sum(2 * math.ceil(reach(at, k, extents[d], result[d])) for k, d in enumerate(axes))


# meaning


def _coordinate(at: Scope, k: int, i: int, n: int, m: int) -> float:
    """Where index i of the k-th resized dimension lies in the source."""
    given = scale(at, k, n, m)
    length = n * given if at["scales"] else float(m)
    match transformation(at):
        case "asymmetric":
            return i / given
        case "align_corners":
            return i * (n - 1) / (length - 1) if length != 1 else 0.0
        case "tf_crop_and_resize":
            low, high = region(at, k)
            inner = i * (high - low) * (n - 1) / (length - 1) if length != 1 else (
                (high - low) * (n - 1) / 2
            )  # fmt: skip
            return low * (n - 1) + inner
        case "pytorch_half_pixel" if length == 1:
            return -0.5
        case "half_pixel_symmetric":
            return n / 2 * (1 - m / length) + (i + 0.5) / given - 0.5
    return (i + 0.5) / given - 0.5


def _curve(at: Scope, x: float) -> float:
    """The weight of a tap at a distance: a triangle, or Keys's cubic with the parameter alpha."""
    x, a = abs(x), at["alpha"]
    if at["mode"] == at["linear"]:
        return max(1 - x, 0.0)
    if x <= 1:
        return float((a + 2) * x**3 - (a + 3) * x**2 + 1)
    return float(a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a) if x < 2 else 0.0


def _weights(at: Scope, k: int, i: int, n: int, m: int) -> dict[int, float]:
    """The elements of the source that an index of the result is made of, with their weights."""
    x = _coordinate(at, k, i, n, m)
    floor = math.floor(x)
    if at["mode"] == at["nearest"]:
        up = {"round_prefer_floor": x - floor > 0.5, "round_prefer_ceil": x - floor >= 0.5,
              "floor": False, "ceil": x > floor}[rounding(at)]  # fmt: skip
        return {min(max(floor + up, 0), n - 1): 1}
    width = reach(at, k, n, m)
    step = (1.0 if at["mode"] == at["linear"] else 2.0) / width
    found: dict[int, float] = {}
    total = 0.0
    for tap in range(floor + math.floor(-width) + 1, floor - math.floor(-width) + 1):
        if 0 <= tap < n or not at["exclude"]:
            weight = _curve(at, (tap - x) * step)
            place = min(max(tap, 0), n - 1)
            found[place] = found.get(place, 0.0) + weight
            total += weight
    if at["exclude"] or at["antialias"]:
        found = {place: weight / total for place, weight in found.items()}
    return found


def weight(at: Scope, index: Extents, element: Extents, s: Extents, t: Extents) -> float:
    """How much an element of the source counts for an index of the result."""
    axes, product = resized_axes(at, len(s)), 1.0
    if any(i != e for d, (i, e) in enumerate(zip(index, element, strict=True)) if d not in axes):
        return 0
    for k, d in enumerate(axes):
        own = _weights(at, k, index[d], s[d], t[d]).get(element[d], 0)
        product = own if product == 1 else product * own
    return product if axes else 1


def outside(at: Scope, index: Extents, s: Extents, t: Extents) -> bool:
    """Whether tf_crop_and_resize finds no element at an index of the result."""
    if transformation(at) != "tf_crop_and_resize":
        return False
    axes = resized_axes(at, len(s))
    places = [(_coordinate(at, k, index[d], s[d], t[d]), s[d]) for k, d in enumerate(axes)]
    return any(x < 0 or x > n - 1 for x, n in places)


RULES.update(resizable=resizable, taps=taps, weight=weight, outside=outside)
