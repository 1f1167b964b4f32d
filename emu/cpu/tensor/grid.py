"""`tgridsample`: elements of images (N, C, spatial…) at coordinates that a second tensor holds.

A vector of results at a time: their coordinates are denormalised, brought into the image as the
padding says, and taken apart into taps and weights, along every dimension. From then on the work is
the same in each channel: an element for every combination of taps, times its weight.
"""

from __future__ import annotations

import math
from itertools import product

from llvmlite import ir

from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import F32, F64, DType, View, dense
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import I1, I32, I64, Block, Emitter, Value, target, vector
from emu.cpu.tensor.kernels import SCRATCH, kernel
from emu.cpu.tensor.rows import shares
from emu.cpu.tensor.vectors import compute, convert, narrow, storage, widen
from emu.isa.xaitensor.grid_rules import padding

_BLOCK = Block("p0 p1 p2 rows n channels batch channel extents:3 steps:3")
_TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
_A = -0.75
"""The parameter of Keys's cubic."""


@schedule("tgridsample")
def _grid_sample(call: Call) -> None:
    run_grid_sample(
        call["d"], call["x"], call["y"], call.mode, padding(call.scope), call.flag("corners")
    )


def run_grid_sample(
    destination: View, source: View, grid: View, mode: str, padding: str, corners: bool
) -> None:
    """destination[n, c, p…] = source[n, c] at grid[n, p…], whose coordinates are those of the last
    dimension first, from -1 to 1 (`corners`: the centres of the outermost elements)."""
    if not grid.is_dense():
        copy = dense(SCRATCH.take(grid.bytes), grid.dtype, grid.dims)
        run_copy(copy, grid)
        grid = copy
    result = destination
    if not destination.is_dense():
        result = dense(SCRATCH.take(destination.bytes), destination.dtype, destination.dims)
    rank = source.rank - 2
    name = f"grid {source.dtype.name} {grid.dtype.name} {rank} {mode} {padding}"
    name += " corners" if corners else ""
    kernel(
        name, _BLOCK,
        lambda e: _Sampler(e, source.dtype, grid.dtype, rank, mode, padding, corners).write(),
        parallel=True,
    )(
        p0=result.address, p1=source.address, p2=grid.address, rows=source.dims[0],
        n=math.prod(destination.dims[2:]), channels=source.dims[1], batch=source.strides[0],
        channel=source.strides[1], extents=source.dims[2:], steps=source.strides[2:],
    )  # fmt: skip
    if result is not destination:
        run_copy(destination, result)


class _Sampler:
    """Writes the kernel."""

    def __init__(
        self, e: Emitter, dtype: DType, grid: DType, rank: int, mode: str, padding: str,
        corners: bool,
    ) -> None:  # fmt: skip
        self.e, self.b, self.dtype, self.grid, self.rank = e, e.b, dtype, grid, rank
        self.mode, self.padding, self.corners = mode, padding, corners
        self.held = F64 if dtype is F64 else F32
        self.lanes = target()[0] // 8
        self.type = vector(compute(self.held), self.lanes)
        self.wide = vector(I64, self.lanes)
        self.extents = [e.word("extents", axis) for axis in range(rank)]
        self.steps = [e.word("steps", axis) for axis in range(rank)]
        self.offsets = e.local(8 * self.lanes * _TAPS[mode] ** rank)

    def write(self) -> None:
        """Every image, and this part's share of its results."""
        e, b = self.e, self.b
        share, channels, count = shares(e, 64), e.word("channels"), e.word("n")
        channel, size = e.word("channel"), e.const(I64, self.dtype.size)
        with e.loop(share.first, share.stop) as image:
            source = e.offset(e.pointer("p1"), b.mul(image.index, e.word("batch")))
            below = b.mul(b.mul(image.index, channels), count)
            with e.loop(share.begin, share.end, self.lanes) as at:
                mask = e.mask_below(b.sub(share.end, at.index), self.lanes)
                first = b.add(b.mul(image.index, count), at.index)
                taps = self._taps(first, mask)
                out = e.offset(e.pointer("p0"), b.mul(b.add(below, at.index), size))
                with e.loop(0, channels, carry=[out, source]) as c:
                    to, back = c.values
                    total = self._sum(back, taps)
                    total = narrow(e, convert(e, total, self.held, self.dtype), self.dtype)
                    e.store(total, to, mask)
                    c.next(e.offset(to, b.mul(count, size)), e.offset(back, channel))

    def _elements(self, back: Value, k: int) -> Value:
        """A channel's elements at the k-th offsets: loads of their own are faster than one that
        gathers."""
        e, element = self.e, storage(self.dtype)
        values = ir.Constant(vector(element, self.lanes), ir.Undefined)
        for lane in range(self.lanes):
            place = e.offset(self.offsets, 8 * (k * self.lanes + lane))
            value = e.load(e.offset(back, e.b.load(place, typ=I64, align=8)), element)
            values = e.b.insert_element(values, value, e.const(I32, lane))
        return values

    def _sum(self, back: Value, taps: list[tuple[Value, Value]]) -> Value:
        """A channel's elements, weighted."""
        e, total = self.e, self.e.const(self.type, 0)
        zero = e.const(vector(storage(self.dtype), self.lanes), 0)
        for k, (weight, inside) in enumerate(taps):
            value = e.b.select(inside, self._elements(back, k), zero)
            value = convert(e, widen(e, value, self.dtype), self.dtype.compute, self.held)
            total = value if self.mode == "nearest" else e.fma(value, weight, total)
        return total

    def _taps(self, first: Value, mask: Value) -> list[tuple[Value, Value]]:
        """(weight, whether it is in the image) of every combination of taps of a vector of results,
        whose offsets are put aside; `first` is the number of the first result."""
        e, b = self.e, self.b
        axes = [self._axis(axis, self._coordinate(axis, first, mask)) for axis in range(self.rank)]
        combined: list[tuple[Value, Value]] = []
        for chosen in product(*axes):
            offset, weight, inside = chosen[0]
            for other in chosen[1:]:
                offset, weight = b.add(offset, other[0]), b.fmul(weight, other[1])
                inside = b.and_(inside, other[2])
            inside = b.and_(inside, mask)
            offset = b.select(inside, offset, e.const(self.wide, 0))
            e.store(offset, e.offset(self.offsets, len(combined) * self.lanes * 8))
            combined.append((weight, inside))
        return combined

    def _coordinate(self, axis: int, first: Value, mask: Value) -> Value:
        """The coordinates along an axis in the image, not yet brought into it."""
        e, b = self.e, self.b
        last = self.rank - 1 - axis
        place = b.add(e.splat(first, self.lanes), e.iota(I64, self.lanes))
        place = b.add(b.mul(place, e.const(self.wide, self.rank)), e.const(self.wide, last))
        place = b.mul(place, e.const(self.wide, self.grid.size))
        value = widen(e, e.gather(e.pointer("p2"), place, storage(self.grid), mask), self.grid)
        value = convert(e, value, self.grid.compute, self.held)
        extent, one, half = self._number(axis), e.const(self.type, 1), e.const(self.type, 0.5)
        if self.corners:
            return b.fmul(b.fmul(b.fadd(value, one), half), b.fsub(extent, one))
        return b.fmul(b.fsub(b.fmul(b.fadd(value, one), extent), one), half)

    def _number(self, axis: int) -> Value:
        """The extent of an axis, as a number in every lane."""
        return self.e.splat(self.b.sitofp(self.extents[axis], compute(self.held)), self.lanes)

    def _axis(self, axis: int, x: Value) -> list[tuple[Value, Value, Value]]:
        """(what it adds to the address, weight, whether it is in the image) of each tap."""
        e, b = self.e, self.b
        if self.mode == "nearest":
            x = e.intrinsic("llvm.rint", self.type, x)
        x = self._inside(axis, x)
        floor = e.intrinsic("llvm.floor", self.type, x)
        rest = b.fsub(x, floor)
        lanes, narrow_ = self.lanes, vector(I32, self.lanes)
        kind = "f64" if self.held is F64 else "f32"
        index = e.intrinsic(
            f"llvm.fptosi.sat.v{lanes}i32.v{lanes}{kind}", narrow_, floor, suffix=False
        )
        index = b.sext(index, self.wide)
        taps = _TAPS[self.mode]
        extent = e.splat(self.extents[axis], lanes)
        step = e.splat(self.steps[axis], lanes)
        found = []
        for k in range(taps):
            place = b.add(index, e.const(self.wide, k - (taps - 1) // 2))
            inside = e.const(vector(I1, lanes), 1)
            if self.padding == "zeros":
                inside = b.icmp_unsigned("<", place, extent)
            place = self._index(place, extent)
            found.append((b.mul(place, step), self._weight(rest, k), inside))
        return found

    def _inside(self, axis: int, x: Value) -> Value:
        """A coordinate brought between the outermost ones."""
        e, b = self.e, self.b
        zero, one, half = (e.const(self.type, n) for n in (0, 1, 0.5))
        last = b.fsub(self._number(axis), one)
        if self.padding == "border" and self.mode == "cubic":
            return x  # only its taps are, as in PyTorch and onnxruntime
        if self.padding == "border":
            x = e.intrinsic("llvm.maxnum", self.type, x, zero)
            return e.intrinsic("llvm.minnum", self.type, x, last)
        if self.padding == "zeros":
            return x
        low = zero if self.corners else b.fneg(half)
        width = last if self.corners else b.fadd(last, one)
        period = b.fadd(width, width)
        far = e.intrinsic("llvm.fabs", self.type, b.fsub(x, low))
        turns = e.intrinsic("llvm.floor", self.type, b.fdiv(far, period))
        far = b.fsub(far, b.fmul(turns, period))
        far = e.intrinsic("llvm.minnum", self.type, far, b.fsub(period, far))
        return b.select(b.fcmp_ordered(">", width, zero), b.fadd(far, low), zero)

    def _index(self, place: Value, extent: Value) -> Value:
        """A tap's index brought into the image."""
        e, b = self.e, self.b
        zero, one = e.const(self.wide, 0), e.const(self.wide, 1)
        last = b.sub(extent, one)
        if self.padding == "reflection":  # no tap is further out than one reflection, or two
            for _ in range(2):
                low = b.sub(zero, place) if self.corners else b.xor(place, e.const(self.wide, -1))
                place = b.select(b.icmp_signed("<", place, zero), low, place)
                high = b.sub(b.add(last, last), place)
                high = high if self.corners else b.add(high, one)
                place = b.select(b.icmp_signed(">", place, last), high, place)
        place = e.intrinsic("llvm.smax", self.wide, place, zero)
        return e.intrinsic("llvm.smin", self.wide, place, last)

    def _weight(self, rest: Value, k: int) -> Value:
        """Of tap k, `rest` being how far the coordinate is above an element's."""
        e, b = self.e, self.b
        one = e.const(self.type, 1)
        if self.mode == "nearest":
            return one
        if self.mode == "linear":
            return rest if k else b.fsub(one, rest)
        # Keys's cubic at distances 1 + rest, rest, 1 - rest, 2 - rest
        x = rest if k < 2 else b.fsub(one, rest)
        x = b.fadd(x, one) if k in (0, 3) else x
        near = (_A + 2, -(_A + 3), 0.0, 1.0)
        far = (_A, -5 * _A, 8 * _A, -4 * _A)
        coefficients = [e.const(self.type, c) for c in (far if k in (0, 3) else near)]
        value = coefficients[0]
        for coefficient in coefficients[1:]:
            value = e.fma(value, x, coefficient)
        return value
