"""Resizing images and other grids: nearest, linear and cubic, along up to four dimensions.

Coordinates and weights are those of ONNX's Resize (`taps.py`). Nearest elements are copied
(`nearest.py`). Linear and cubic interpolation go dimension by dimension, the fastest two in one
pass (`resample.py`), with intermediate results in the type of arithmetic: f32, or f64 for f64, i32
and i64. Integers are rounded to nearest, ties to even, and saturate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import F32, F64, DType, View, dense
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.kernels import SCRATCH, Word
from emu.cpu.tensor.nearest import run_nearest, run_outside
from emu.cpu.tensor.resample import Types, run_columns, run_rows
from emu.cpu.tensor.taps import Stretch, Taps, plan_taps, stretch
from emu.isa.xaitensor import resize_rules as rules

_UNIT = 16
"""Adjacent elements up to which a dimension before them is stretched as one with them."""


@schedule("tresize")
def _resize(call: Call) -> None:
    at, name, result, source = call.scope, rules.transformation(call.scope), call["d"], call["x"]
    stretches = []
    for k, d in enumerate(rules.resized_axes(at, source.rank)):
        n, m = source.dims[d], result.dims[d]
        given = rules.scale(at, k, n, m) if call.flag("scales") else 0.0
        cut = rules.region(at, k) if name == "tf_crop_and_resize" else (0.0, 1.0)
        stretches.append(stretch(d, n, m, given, name, cut))
    if call.mode == "nearest":
        run_nearest(result, source, stretches, rules.rounding(at), call.at.beta)
        return
    how = Interpolation(call.mode, call.at.alpha, call.flag("exclude"), call.flag("antialias"))
    run_interpolate(result, source, stretches, how)
    if any(s.crops for s in stretches):
        run_outside(result, stretches, call.at.beta)


@dataclass(frozen=True)
class Interpolation:
    """Which function weighs the taps, and how."""

    mode: str
    """linear or cubic."""
    a: float = -0.75
    """The parameter of the cubic."""
    exclude: bool = False
    """Taps outside have no weight, those inside more for it."""
    antialias: bool = False
    """Where there are fewer results than elements, the function is as much wider."""

    def taps(self, line: Stretch, held: DType, unit: int = 1, *, padded: bool = False) -> Taps:
        """Plan the table of a stretch."""
        return plan_taps(
            line, held, self.mode, a=self.a, exclude=self.exclude, antialias=self.antialias,
            unit=unit, padded=padded,
        )  # fmt: skip


def run_interpolate(
    destination: View, source: View, stretches: Sequence[Stretch], how: Interpolation
) -> None:
    """destination = source, stretched along the dimensions of `stretches`."""
    moving = sorted((s for s in stretches if not s.idle), key=lambda s: s.dim)
    if not moving:
        run_copy(destination, source)
        return
    dtype = destination.dtype
    held = F64 if dtype.size == 8 or dtype.name == "i32" else F32
    source = source if source.is_dense() else _dense_copy(source)
    result = destination
    if not destination.is_dense():
        result = dense(SCRATCH.take(destination.bytes), dtype, destination.dims)
    place: Word = source.address
    dims, read = list(source.dims), dtype
    while moving:
        passed = 2 if len(moving) > 1 and _adjoin(moving[-2:], dims) else 1
        now, moving = moving[-passed:], moving[:-passed]
        for line in now:
            dims[line.dim] = line.extent
        written = held if moving else dtype
        to: Word = SCRATCH.take(math.prod(dims) * held.size) if moving else result.address
        _pass(to, place, dims, now, Types(read, held, written), how)
        place, read = to, held
    if result is not destination:
        run_copy(destination, result)


def _dense_copy(source: View) -> View:
    copy = dense(SCRATCH.take(source.bytes), source.dtype, source.dims)
    run_copy(copy, source)
    return copy


def _adjoin(pair: Sequence[Stretch], dims: Sequence[int]) -> bool:
    """Whether two stretches can be one pass: neighbours, with few elements behind them."""
    return pair[0].dim + 1 == pair[1].dim and math.prod(dims[pair[1].dim + 1 :]) <= _UNIT


def _pass(
    to: Word, source: Word, dims: Sequence[int], lines: Sequence[Stretch], types: Types,
    how: Interpolation,
) -> None:  # fmt: skip
    """Stretch one dimension or two neighbouring ones of a dense tensor; `dims` are the result's."""
    line, held = lines[-1], types.held
    unit = math.prod(dims[line.dim + 1 :])
    planes = math.prod(dims[: lines[0].dim])
    if unit > _UNIT:
        across = how.taps(line, held)
        run_columns(to, source, planes, (line.source, line.extent, unit), types, across)
        return
    along = how.taps(line, held, unit, padded=True)
    upper = lines[0] if len(lines) > 1 else Stretch(0, 1, 1, 0.0, 1.0, 1.0, 0.0, 1.0)
    across = how.taps(upper, held)
    extents = (upper.source, line.source * unit, upper.extent, line.extent * unit)
    run_rows(to, source, planes, extents, types, along, across, unit)
