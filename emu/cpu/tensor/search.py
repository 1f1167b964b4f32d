"""Index searches: where along an axis the greatest or the least element is; hardmax.

The first of equal elements, or the last if asked; the first (last) NaN, if there is one, as in
NumPy.

*Schedule.* Layouts are those of `axes.py`. Along a row only values are compared, block by block;
which block had the best one is remembered, and that block alone is looked through for the place. Of
columns, a strip's best elements and their indices stay in the first-level cache while the rows of
the source stream past.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from emu.cpu.tensor.axes import (
    UNROLL,
    VECTOR,
    WORDS,
    across,
    blank,
    each_vector,
    expanded,
    extreme,
    share,
    split,
    strip_width,
    sweep,
    visit,
)  # fmt: skip
from emu.cpu.tensor.call import Call
from emu.cpu.tensor.call import schedule as bound
from emu.cpu.tensor.descriptor import I64 as INDEX
from emu.cpu.tensor.descriptor import DType, View, dense
from emu.cpu.tensor.emit import I32, I64, Block, Emitter, Value, bits_of, is_float, vector
from emu.cpu.tensor.folds import FOLDS
from emu.cpu.tensor.kernels import SCRATCH, kernel
from emu.cpu.tensor.vectors import Arithmetic, compute, narrow, storage, widen

_BLOCK = Block(f"{WORDS} strips")
_STRIP = 512
"""Columns whose best elements are held at a time."""
_SPAN = 4096
"""Elements of a row that are compared before the best block is noted."""
SEARCHES = {"targmax": FOLDS["tredmax"], "targmin": FOLDS["tredmin"]}
_HOW = {"max": ">", "min": "<"}


@bound(*SEARCHES)
def _search(call: Call) -> None:
    run_search(call.mnemonic, call["d"], call["x"], call.axis, call.flag("last"))


def run_search(
    mnemonic: str, destination: View, source: View, axis: int, last: bool = False
) -> None:
    """The index, along `axis`, of the first (`last`) greatest or least element, as i64."""
    lines = split(expanded(destination, source.rank, [axis]), source, [axis])
    dtype, layout = source.dtype, lines.layout
    wide = lines.n >= 1 << 31
    run = kernel(
        f"{mnemonic} {dtype.name} {layout} {'last' if last else 'first'} {'wide' if wide else ''}",
        _BLOCK,
        lambda e: _Search(e, mnemonic, dtype, layout, last, wide).write(),
        parallel=True,
    )
    strips = -(-lines.columns // _STRIP)
    lines = lines.cut(strips, _STRIP * destination.dtype.size, _STRIP * dtype.size)
    run(**lines.words(), strips=strips)


@bound("thardmax", in_place=True)
def _hardmax(call: Call) -> None:
    run_hardmax(call["d"], call["x"], call.axis)


def run_hardmax(destination: View, source: View, axis: int) -> None:
    """1 where the first greatest element along `axis` is, 0 elsewhere; over host views."""
    dims = tuple(1 if d == axis else n for d, n in enumerate(source.dims))
    where = dense(SCRATCH.take(8 * math.prod(dims)), INDEX, dims)
    run_search("targmax", where, source, axis)
    lines, dtype = split(where, destination, [axis]), destination.dtype
    run = kernel(
        f"thardmax {dtype.name} {lines.layout}",
        _BLOCK,
        lambda e: _write_ones(e, dtype, lines.layout),
        parallel=True,
    )
    run(**lines.words() | {"n": destination.dims[axis], "step": destination.strides[axis]})


def _write_ones(e: Emitter, dtype: DType, layout: str) -> None:
    """Lines of zeros with a one where the index at p0 says."""
    b, lanes = e.b, 1 if layout == "element" else VECTOR // 8
    n, step, index = e.word("n"), e.word("step"), vector(I64, lanes)
    one, zero = (narrow(e, e.const(vector(compute(dtype), lanes), v), dtype) for v in (1, 0))
    first, end = share(e, e.word("lines"))
    pointers = [e.pointer("p0"), e.pointer("p1")]
    with visit(e, first, end, ["s0", "s1"], pointers) as (_, (where, line)):
        if layout == "column":
            with e.loop(0, n) as row:
                target = e.offset(line, b.mul(row.index, step))
                here = e.splat(row.index, lanes)

                def across_lines(at: Value, mask: Value | None, target: Value = target) -> None:
                    wanted = e.load(e.offset(where, b.mul(at, e.const(I64, 8))), index, mask)
                    value = b.select(b.icmp_signed("==", wanted, here), one, zero)
                    e.store(value, e.offset(target, b.mul(at, e.const(I64, dtype.size))), mask)

                each_vector(e, e.word("m"), lanes, across_lines)
        else:
            wanted = e.splat(e.load(where, I64), lanes)

            def along(at: Value, mask: Value | None, _: Sequence[Value]) -> list[Value]:
                places = b.add(e.splat(at, lanes), e.iota(I64, lanes))
                value = b.select(b.icmp_signed("==", places, wanted), one, zero)
                e.store(value, e.offset(line, b.mul(at, step)), mask)
                return []

            sweep(e, n, lanes, [], along)


class _Search:
    """Writes the kernel of an index search."""

    def __init__(
        self, e: Emitter, mnemonic: str, dtype: DType, layout: str, last: bool, wide: bool
    ) -> None:
        self.e, self.dtype, self.layout, self.last = e, dtype, layout, last
        self.fold, self.math = SEARCHES[mnemonic], Arithmetic(e, dtype)
        self.how = _HOW[self.fold.op] + ("=" if last else "")
        self.counter = I64 if wide else I32
        width = max(bits_of(storage(dtype)), bits_of(compute(dtype)))
        self.lanes = 1 if layout == "element" else min(VECTOR * 8 // width, 16)
        self.n, self.step = e.word("n"), e.word("step")

    def write(self) -> None:
        """Write the walk over the results and, in it, each of them."""
        e = self.e
        first, end = share(e, e.word("lines"))
        pointers = [e.pointer("p0"), e.pointer("p1")]
        rooms = [e.local(_STRIP * 8) for _ in range(2)]
        with visit(e, first, end, ["s0", "s1"], pointers) as (index, (out, source)):
            if self.layout == "column":
                width = strip_width(e, index, _STRIP)
                self._columns(out, source, width, rooms)
            else:
                self._row(out, source)

    def _better(self, x: Value, best: Value) -> Value:
        """Whether x, found later, is preferred to `best`; a NaN is to everything but a NaN."""
        b = self.e.b
        if not is_float(x.type):
            return (b.icmp_signed if self.dtype.signed else b.icmp_unsigned)(self.how, x, best)
        if self.last:
            greater = b.and_(b.fcmp_ordered(self.how, x, best), b.fcmp_ordered("ord", best, best))
            return b.or_(b.fcmp_unordered("uno", x, x), greater)
        return b.and_(b.fcmp_unordered(self.how, x, best), b.fcmp_ordered("ord", best, best))

    def _same(self, x: Value, best: Value) -> Value:
        b = self.e.b
        if not is_float(x.type):
            return b.icmp_signed("==", x, best)
        nan = b.and_(b.fcmp_unordered("uno", x, x), b.fcmp_unordered("uno", best, best))
        return b.or_(b.fcmp_ordered("==", x, best), nan)

    def _load(self, place: Value, mask: Value | None) -> Value:
        loaded = self.e.load(place, vector(storage(self.dtype), self.lanes), mask)
        return widen(self.e, loaded, self.dtype)

    # along a row

    def _row(self, out: Value, source: Value) -> None:
        e, b = self.e, self.e.b
        none = self.fold.start(e, self.dtype.compute, compute(self.dtype))
        start = e.splat(none, self.lanes)
        with e.loop(0, self.n, _SPAN, carry=[none, e.const(I64, 0)]) as blocks:
            block, length = self._block(source, blocks.index)

            def fold(index: Value, mask: Value | None, values: Sequence[Value]) -> list[Value]:
                x = self._load(e.offset(block, b.mul(index, self.step)), mask)
                return [self._pick(blank(e, x, mask, start), values[0])]

            (lanes,) = sweep(e, length, self.lanes, [start], fold, self._pick)
            value, (best, where) = across(e, lanes, self._pick), blocks.values
            take = self._better(value, best)
            blocks.next(b.select(take, value, best), b.select(take, blocks.index, where))
        best, where = blocks.values
        e.store(b.add(where, self._place(source, best, where)), out)

    def _pick(self, x: Value, y: Value) -> Value:
        if is_float(x.type):
            return extreme(self.e, self.fold.op, x, y)
        return self.math.apply(self.fold.op, x, y)

    def _block(self, source: Value, at: Value) -> tuple[Value, Value]:
        """Where the block at index `at` begins, and its length."""
        e, b = self.e, self.e.b
        length = e.intrinsic("llvm.smin", I64, b.sub(self.n, at), e.const(I64, _SPAN))
        return e.offset(source, b.mul(at, self.step)), length

    def _place(self, source: Value, best: Value, where: Value) -> Value:
        """The index of `best` in the block at `where`."""
        e, b = self.e, self.e.b
        block, length = self._block(source, where)
        value, kind = e.splat(best, self.lanes), vector(I32, self.lanes)
        none = e.const(kind, -1 if self.last else _SPAN)
        nearest = "llvm.smax" if self.last else "llvm.smin"

        def closer(x: Value, y: Value) -> Value:
            return e.intrinsic(nearest, x.type, x, y)

        def look(index: Value, mask: Value | None, values: Sequence[Value]) -> list[Value]:
            x = self._load(e.offset(block, b.mul(index, self.step)), mask)
            found = self._same(x, value)
            here = b.add(e.splat(b.trunc(index, I32), self.lanes), e.iota(I32, self.lanes))
            found = found if mask is None else b.and_(found, mask)
            return [closer(values[0], b.select(found, here, none))]

        (lanes,) = sweep(e, length, self.lanes, [none], look, closer)
        return b.sext(across(e, lanes, closer), I64)

    # adjacent results

    def _columns(self, out: Value, source: Value, width: Value, rooms: Sequence[Value]) -> None:
        e, b = self.e, self.e.b
        kinds = [vector(t, self.lanes) for t in (compute(self.dtype), self.counter)]
        sizes = [bits_of(t) // 8 for t in kinds]

        def held(at: Value) -> list[Value]:
            return [
                e.offset(r, b.mul(at, e.const(I64, s))) for r, s in zip(rooms, sizes, strict=True)
            ]

        def each(body: Callable[[Value, Value | None], None]) -> None:
            each_vector(e, width, self.lanes, body)

        def element(row: Value, at: Value, mask: Value | None) -> Value:
            place = b.add(b.mul(row, self.step), b.mul(at, e.const(I64, self.dtype.size)))
            return self._load(e.offset(source, place), mask)

        def begin(at: Value, mask: Value | None) -> None:
            value, place = held(at)
            b.store(element(e.const(I64, 0), at, mask), value, align=8)
            b.store(e.const(kinds[1], 0), place, align=8)

        each(begin)
        whole = b.or_(
            b.and_(b.sub(self.n, e.const(I64, 1)), e.const(I64, -UNROLL)), e.const(I64, 1)
        )
        for first, end, count in ((e.const(I64, 1), whole, UNROLL), (whole, self.n, 1)):
            with e.loop(first, end, count) as loop:

                def compare(
                    at: Value, mask: Value | None, top: Value = loop.index, count: int = count
                ) -> None:
                    spots = held(at)
                    best, index = (
                        b.load(p, typ=t, align=8) for p, t in zip(spots, kinds, strict=True)
                    )
                    for k in range(count):
                        row = b.add(top, e.const(I64, k))
                        x = element(row, at, mask)
                        take = self._better(x, best)
                        here = row if self.counter == I64 else b.trunc(row, I32)
                        best = b.select(take, x, best)
                        index = b.select(take, e.splat(here, self.lanes), index)
                    for value, spot in zip((best, index), spots, strict=True):
                        b.store(value, spot, align=8)

                each(compare)

        def finish(at: Value, mask: Value | None) -> None:
            index = b.load(held(at)[1], typ=kinds[1], align=8)
            if self.counter != I64:
                index = b.sext(index, vector(I64, self.lanes))
            e.store(index, e.offset(out, b.mul(at, e.const(I64, 8))), mask)

        each(finish)
