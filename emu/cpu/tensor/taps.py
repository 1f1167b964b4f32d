"""Where the elements of a resized dimension come from: coordinates and weighted taps.

A `Stretch` maps the result's index i to the coordinate ((i + a) * p) / q + c in the source; every
coordinate transformation of ONNX's Resize is of that form, computed in f64. Kernels turn it into
tables in scratch memory: for nearest, what each index adds to an address (`tables.py`); for linear
and cubic, the first of a number of neighbouring elements (*taps*) and their weights. A tap beyond
either end means the element at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import F64, I1, I32, I64, Block, Emitter, Value
from emu.cpu.tensor.kernels import SCRATCH, Word, kernel
from emu.cpu.tensor.vectors import storage

COORDINATES = "source extent a p q c"
"""The words of a stretch: the source's extent, the result's, and the map."""
_TAPS = Block(f"{COORDINATES} base weights narrow start taps unit lead stride cubic entries")


@dataclass(frozen=True)
class Stretch:
    """One resized dimension: its extents and the map of coordinates."""

    dim: int
    source: int
    extent: int
    a: float
    p: float
    q: float
    c: float
    scale: float
    crops: bool = False
    """Whether coordinates outside the source mean a constant."""

    @property
    def idle(self) -> bool:
        """Whether every element stays where it is."""
        return self.source == self.extent and self.scale == 1.0 and not self.crops

    def words(self) -> dict[str, Word]:
        """The values of `COORDINATES`."""
        return {
            "source": self.source, "extent": self.extent,
            "a": self.a, "p": self.p, "q": self.q, "c": self.c,
        }  # fmt: skip

    def at(self, index: int) -> float:
        """The coordinate of an index, to the last bit what kernels compute."""
        return (index + self.a) * self.p / self.q + self.c


def stretch(
    dim: int,
    source: int,
    extent: int,
    given: float,
    transformation: str,
    region: tuple[float, float],
) -> Stretch:  # fmt: skip
    """The map of a coordinate transformation by ONNX's name; `given` is the scale, 0 if that is the
    quotient of the extents; `region` the part of the source that tf_crop_and_resize takes."""
    scale = given or extent / source
    length = source * given if given else float(extent)

    def made(a: float, p: float, q: float, c: float, crops: bool = False) -> Stretch:
        return Stretch(dim, source, extent, a, p, q, c, scale, crops)

    constant = made(0.0, 0.0, 1.0, 0.0)

    match transformation:
        case "asymmetric":
            return made(0.0, 1.0, scale, 0.0)
        case "align_corners":
            return made(0.0, source - 1.0, length - 1, 0.0) if length != 1 else constant
        case "tf_crop_and_resize":
            (low, high), last = region, source - 1
            if length == 1:
                return made(0.0, 0.0, 1.0, (high - low) * last / 2 + low * last, True)
            return made(0.0, (high - low) * last, length - 1, low * last, True)
        case "pytorch_half_pixel" if length == 1:
            return made(0.0, 0.0, 1.0, -0.5)
        case "half_pixel_symmetric":
            offset = source / 2 * (1 - extent / length)
            return made(0.5, 1.0, scale, offset - 0.5)
    return made(0.5, 1.0, scale, -0.5)


def coordinate(e: Emitter, index: Value, axis: Value | int = 0) -> Value:
    """The coordinate of an index, as f64; of the axis-th stretch where words hold several."""
    b = e.b
    a, p, q, c = (b.bitcast(e.word(w, axis), F64) for w in "apqc")
    position = b.fmul(b.fadd(b.sitofp(index, F64), a), p)
    return b.fadd(b.fdiv(position, q), c)


def whole_part(e: Emitter, x: Value) -> tuple[Value, Value]:
    """The integer at or below x, as i64, and what is above it."""
    floor = e.intrinsic("llvm.floor", F64, x)
    index = e.intrinsic("llvm.fptosi.sat.i64.f64", I64, floor, suffix=False)
    return index, e.b.fsub(x, floor)


@dataclass(frozen=True)
class Taps:
    """The table of one stretch: base[i], i32, is the first tap; weights[k][i] the k-th's weight."""

    count: int
    base: Word
    weights: Word
    stride: int
    """Bytes from one tap's weights to the next's."""


def plan_taps(
    line: Stretch,
    dtype: DType,
    mode: str,
    *,
    a: float,
    exclude: bool,
    antialias: bool,
    unit: int = 1,
    padded: bool = False,
) -> Taps:
    """Record the step that makes a table. `unit` adjacent elements share a coordinate and have an
    entry each; `padded` bases count in a line that has as many elements as there are taps before
    it, otherwise they may be negative. Weights are of `dtype`, entries padded to a whole vector."""
    narrow = min(line.scale, 1.0) if antialias else 1.0
    reach = 1 if mode == "linear" else 2
    start = math.floor(-reach / narrow) + 1
    count = 2 - 2 * start if not line.idle else 1
    start = start if not line.idle else 0
    entries = -(-line.extent * unit // 64) * 64
    base, weights = SCRATCH.take(4 * entries), SCRATCH.take(count * entries * dtype.size)
    normal = exclude or antialias
    name = f"resize taps {mode} {dtype.name}{' normal' if normal else ''}"
    name += " exclude" if exclude else ""
    kernel(name, _TAPS, lambda e: _write_taps(e, dtype, mode, normal, exclude))(
        **line.words(), base=base, weights=weights, narrow=narrow, start=start, taps=count,
        unit=unit, lead=count if padded else 0, stride=entries * dtype.size, cubic=a,
        entries=entries,
    )  # fmt: skip
    return Taps(count, base, weights, entries * dtype.size)


def _filter(e: Emitter, mode: str, distance: Value) -> Value:
    """The weight of a tap at a distance: a triangle, or Keys's cubic with the parameter a."""
    b, one = e.b, e.const(F64, 1.0)
    x = e.intrinsic("llvm.fabs", F64, distance)
    if mode == "linear":
        return e.intrinsic("llvm.maxnum", F64, b.fsub(one, x), e.const(F64, 0.0))
    a = b.bitcast(e.word("cubic"), F64)

    def polynomial(*coefficients: Value) -> Value:
        value = coefficients[0]
        for coefficient in coefficients[1:]:
            value = b.fadd(b.fmul(value, x), coefficient)
        return value

    zero = e.const(F64, 0.0)
    times = [b.fmul(a, e.const(F64, factor)) for factor in (-5.0, 8.0, -4.0)]
    two, three = (b.fadd(a, e.const(F64, n)) for n in (2.0, 3.0))
    near = polynomial(two, b.fneg(three), zero, one)
    far = polynomial(a, *times)
    far = b.select(b.fcmp_ordered("<", x, e.const(F64, 2.0)), far, zero)
    return b.select(b.fcmp_ordered("<=", x, one), near, far)


def _write_taps(e: Emitter, dtype: DType, mode: str, normal: bool, exclude: bool) -> None:
    b, zero = e.b, e.const(F64, 0.0)
    source, taps, start, unit = (e.word(w) for w in ("source", "taps", "start", "unit"))
    lead, stride, narrow = e.word("lead"), e.word("stride"), b.bitcast(e.word("narrow"), F64)
    size = e.const(I64, dtype.size)
    with e.loop(0, e.word("extent")) as at:
        floor, rest = whole_part(e, coordinate(e, at.index))
        first = b.add(floor, start)

        def weight(k: Value, first: Value = first, rest: Value = rest) -> Value:
            distance = b.fsub(b.sitofp(b.add(start, k), F64), rest)
            value = _filter(e, mode, b.fmul(distance, narrow))
            inside = b.icmp_unsigned("<", b.add(first, k), source) if exclude else e.const(I1, 1)
            return b.select(inside, value, zero)

        total = e.const(F64, 1.0)
        if normal:
            with e.loop(0, taps, carry=[zero]) as k:
                k.next(b.fadd(k.values[0], weight(k.index)))
            total = k.values[0]
        entry = b.mul(at.index, unit)
        with e.loop(0, taps) as k:
            value = b.fdiv(weight(k.index), total)
            value = b.fptrunc(value, storage(dtype)) if dtype.size < 8 else value
            row = e.offset(e.pointer("weights"), b.mul(k.index, stride))
            with e.loop(0, unit) as u:
                e.store(value, e.offset(row, b.mul(b.add(entry, u.index), size)))
        # wholly beyond an end, all taps are the element there
        first = e.intrinsic("llvm.smax", I64, first, b.neg(taps))
        first = b.add(e.intrinsic("llvm.smin", I64, first, source), lead)
        with e.loop(0, unit) as u:
            value = b.trunc(b.add(b.mul(first, unit), u.index), I32)
            e.store(value, _base(e, b.add(entry, u.index)))
    # kernels read whole vectors of entries: those behind the last lead somewhere too
    with e.loop(b.mul(e.word("extent"), unit), e.word("entries")) as at:
        e.store(e.const(I32, 0), _base(e, at.index))


def _base(e: Emitter, index: Value) -> Value:
    return e.offset(e.pointer("base"), e.b.shl(index, e.const(I64, 2)))
