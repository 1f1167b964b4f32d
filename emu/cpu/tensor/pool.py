"""Pooling: the greatest or the mean element of every window, over one to three spatial dimensions.

Tensors are N, C, then the spatial dimensions; one or two of these are computed as three with
leading extents of 1. Vectors lie along the last dimension of the result: lane by lane the windows
are `stride` apart, so elements are loaded adjacent (stride 1), as every second of adjacent ones
(stride 2) or gathered, under a mask that leaves out the padding. In the other dimensions the part
of the window that lies in the source is known before the loop. A window wholly in the padding has
-inf as its greatest element (integers: the least one); its mean is 0 where padding counts and NaN
where it does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llvmlite import ir

from emu.cpu.tensor.attributes import SPATIAL_MAX, Attributes
from emu.cpu.tensor.axes import VECTOR, blank
from emu.cpu.tensor.call import Call
from emu.cpu.tensor.call import schedule as bound
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.elementwise import schedule
from emu.cpu.tensor.emit import I32, I64, Block, Emitter, Value, bits_of, vector
from emu.cpu.tensor.expr import arg
from emu.cpu.tensor.folds import FOLDS, Fold
from emu.cpu.tensor.kernels import Word, kernel
from emu.cpu.tensor.reduce import run_reduce
from emu.cpu.tensor.vectors import Arithmetic, compute, convert, narrow, storage, widen

POOLS = {"tmaxpool": FOLDS["tredmax"], "tavgpool": FOLDS["tmean"]}
_GLOBAL = {"tmaxpool": "tredmax", "tavgpool": "tmean"}
_BLOCK = Block(
    "p0 p1 rank dims:8 s0:8 s1:8 "
    "size:3 out:3 to:3 back:3 kernel:3 stride:3 dilation:3 pad:3 divisor"
)


@bound(*POOLS)
def _pool(call: Call) -> None:
    run_pool(call.mnemonic, call["d"], call["x"], call.at)


def run_pool(mnemonic: str, destination: View, source: View, window: Attributes) -> None:
    """Over host views. A window that is all of the source is an ordinary reduction."""
    spatial = source.rank - 2
    if _is_global(destination, source, window):
        run_reduce(_GLOBAL[mnemonic], destination, source, range(2, source.rank))
        return
    dtype, layout = source.dtype, _layout(destination, source, window)
    counted = window.count_include_pad and mnemonic == "tavgpool"
    run = kernel(
        f"{mnemonic} {dtype.name} {layout} {'all' if counted else 'real'}",
        _BLOCK,
        lambda e: _Pool(e, POOLS[mnemonic], dtype, layout, counted).write(),
    )
    dims, (to, back) = schedule([destination.permuted((0, 1)), source.permuted((0, 1))])
    lead = SPATIAL_MAX - spatial

    def three(values: Sequence[int], filler: int) -> Word:
        return [filler] * lead + list(values[:spatial])

    run(
        p0=destination.address, p1=source.address, rank=len(dims), dims=dims, s0=to, s1=back,
        size=three(source.dims[2:], 1), out=three(destination.dims[2:], 1),
        to=three(destination.strides[2:], 0), back=three(source.strides[2:], 0),
        kernel=three(window.kernel, 1), stride=three(window.stride, 1),
        dilation=three(window.dilation, 1), pad=three(window.pad_begin, 0),
        divisor=float(math.prod(window.kernel[:spatial])),
    )  # fmt: skip


def _is_global(destination: View, source: View, window: Attributes) -> bool:
    spatial = source.rank - 2
    return (
        math.prod(destination.dims[2:]) == 1
        and window.kernel[:spatial] == source.dims[2:]
        and not any(window.pad_begin[:spatial])
        and max(window.dilation[:spatial]) == 1
    )


def _layout(destination: View, source: View, window: Attributes) -> str:
    """All but 'element' write adjacent results, by where their windows begin: at adjacent elements
    ('row'), at every second one ('pairs'), or anywhere else ('steps')."""
    size = source.dtype.size
    if destination.strides[-1] != size:
        return "element"
    step = window.stride[source.rank - 3]
    if source.strides[-1] == size and step <= 2:
        return "row" if step == 1 else "pairs"
    return "steps"


class _Pool:
    """Writes the kernel. `self.part[d]` is the part of the window that dimension d has."""

    def __init__(self, e: Emitter, fold: Fold, dtype: DType, layout: str, counted: bool) -> None:
        self.e, self.fold, self.dtype, self.layout, self.counted = e, fold, dtype, layout, counted
        self.held = fold.accumulator(dtype)
        self.math = Arithmetic(e, self.held)
        widest = max(storage(dtype), compute(self.held), key=bits_of)
        self.lanes = 1 if layout == "element" else VECTOR * 8 // bits_of(widest)
        self.shift = {"row": 0, "pairs": 1}.get(layout)
        """log2 of how far apart the lanes' elements are, if they are loaded, not gathered."""
        self.index = vector(I64, self.lanes)

    def _word(self, name: str, d: int) -> Value:
        return self.e.word(name, d)

    def write(self) -> None:
        """Write the loops over planes, the outer spatial dimensions, and strips of the last."""
        e, b = self.e, self.e.b
        pointers = [e.pointer("p0"), e.pointer("p1")]
        with (
            e.walk("rank", "dims", ["s0", "s1"], pointers) as (out, source),
            e.loop(0, self._word("out", 0)) as depth,
            e.loop(0, self._word("out", 1)) as row,
            e.loop(0, self._word("out", 2), self.lanes) as column,
        ):
            parts = [self._part(d, at.index) for d, at in enumerate((depth, row))]
            left = b.sub(self._word("out", 2), column.index)
            mask = e.mask_below(left, self.lanes)
            total, count = self._window(source, parts, column.index, mask)
            for d, at in enumerate((depth, row, column)):
                out = e.offset(out, b.mul(at.index, self._word("to", d)))
            self._store(total, count, parts, out, mask)

    def _part(self, d: int, at: Value) -> tuple[Value, Value, Value]:
        """(first, end, origin) of window `at`: kernel elements first to end lie in the source."""
        e, b = self.e, self.e.b
        origin = b.sub(b.mul(at, self._word("stride", d)), self._word("pad", d))
        dilation, zero, one = self._word("dilation", d), e.const(I64, 0), e.const(I64, 1)

        def steps(distance: Value) -> Value:
            """How many steps of the dilation cover a distance."""
            up = b.sdiv(b.add(distance, b.sub(dilation, one)), dilation)
            return e.intrinsic("llvm.smax", I64, up, zero)

        end = steps(b.sub(self._word("size", d), origin))
        end = e.intrinsic("llvm.smin", I64, end, self._word("kernel", d))
        first = e.intrinsic("llvm.smin", I64, steps(b.neg(origin)), end)
        return first, end, origin

    def _window(
        self, source: Value, parts: Sequence[tuple[Value, Value, Value]], at: Value, mask: Value
    ) -> tuple[Value, Value]:
        """What each lane's window holds, and how many elements of it lie in a row of the source."""
        e, b = self.e, self.e.b
        start = self.fold.start(e, self.dtype, vector(compute(self.held), self.lanes))
        columns = b.add(e.splat(at, self.lanes), e.iota(I64, self.lanes))
        stride, pad, size, dilation = (
            e.splat(self._word(name, 2), self.lanes)
            for name in ("stride", "pad", "size", "dilation")
        )
        origin = b.sub(b.mul(columns, stride), pad)
        none = e.const(self.index, 0)
        (first, end, top), (first_row, end_row, top_row) = parts

        def inside(k: Value) -> tuple[Value, Value]:
            """Where kernel column k falls (in the first lane or in each), and which lanes of it
            are in the source."""
            if self.shift is not None:
                where = b.sub(b.mul(at, self._word("stride", 2)), self._word("pad", 2))
                where = b.add(where, b.mul(k, self._word("dilation", 2)))
                return where, self._between(where, self.lanes, self.shift)
            place = b.add(origin, b.mul(e.splat(k, self.lanes), dilation))
            return place, b.and_(mask, b.icmp_unsigned("<", place, size))

        with e.loop(first, end, carry=[start]) as deep:
            plane = self._move(source, 0, top, deep.index)
            with e.loop(first_row, end_row, carry=deep.values) as high:
                line = self._move(plane, 1, top_row, high.index)
                with e.loop(0, self._word("kernel", 2), carry=high.values) as wide:
                    place, real = inside(wide.index)
                    value = self._load(line, place, real)
                    value = blank(e, value, real, start)
                    wide.next(self.math.apply(self.fold.op, wide.values[0], value))
                high.next(*wide.values)
            deep.next(*high.values)
        if self.counted or self.fold.last == arg(0):
            return deep.values[0], none
        with e.loop(0, self._word("kernel", 2), carry=[none]) as counting:
            _, real = inside(counting.index)
            counting.next(b.add(counting.values[0], b.zext(real, self.index)))
        return deep.values[0], counting.values[0]

    def _move(self, pointer: Value, d: int, origin: Value, k: Value) -> Value:
        """To where kernel element k falls in dimension d."""
        b = self.e.b
        place = b.add(origin, b.mul(k, self._word("dilation", d)))
        return self.e.offset(pointer, b.mul(place, self._word("back", d)))

    def _between(self, place: Value, lanes: int, shift: int) -> Value:
        """Which lanes, 2^shift elements apart and the first at `place`, lie in the source's row."""
        e, b = self.e, self.e.b

        def below(distance: Value) -> Value:
            up = b.ashr(b.add(distance, e.const(I64, shift)), e.const(I64, shift))
            return e.mask_below(e.intrinsic("llvm.smax", I64, up, e.const(I64, 0)), lanes)

        before, all_ = below(b.neg(place)), below(b.sub(self._word("size", 2), place))
        return b.and_(all_, b.not_(before))

    def _load(self, line: Value, place: Value, mask: Value) -> Value:
        """The elements at `place`, one in each lane, in the form of the accumulator."""
        e, b, element = self.e, self.e.b, storage(self.dtype)
        if self.shift is None:
            back = e.splat(self._word("back", 2), self.lanes)
            value = e.gather(line, b.mul(place, back), element, mask)
        else:
            first = e.offset(line, b.mul(place, self._word("back", 2)))
            lanes = self.lanes << self.shift
            mask = self._between(place, lanes, 0) if self.shift else mask
            value = e.load(first, vector(element, lanes), mask)
            if self.shift:
                even = [ir.Constant(I32, 2 * k) for k in range(self.lanes)]
                pick = ir.Constant(vector(I32, self.lanes), even)
                value = b.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), pick)
        return convert(e, widen(e, value, self.dtype), self.dtype.compute, self.held)

    def _store(
        self,
        value: Value,
        count: Value,
        parts: Sequence[tuple[Value, Value, Value]],
        out: Value,
        mask: Value,
    ) -> None:
        e, b = self.e, self.e.b
        if self.fold.last != arg(0):
            divisor = e.number("divisor", value.type)
            if not self.counted:
                for first, end, _ in parts:
                    count = b.mul(count, e.splat(b.sub(end, first), self.lanes))
                divisor = b.sitofp(count, value.type)
            value = b.fdiv(value, divisor)
        value = convert(e, value, self.held, self.dtype)
        e.store(narrow(e, value, self.dtype), out, mask)
