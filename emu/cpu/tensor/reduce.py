"""Reductions: sum, mean, product, greatest and least over axes; index of the greatest and least.

Sums and products of floats are accumulated in f64 and rounded once, in vectors of several
independent accumulators, so an f32 sum is as good as exact. Integers wrap. A NaN among the elements
makes sum, product, greatest and least NaN, and is itself the greatest and the least element, as in
NumPy. What nothing is reduced to is the operation's neutral element (a mean: NaN).

Layouts (row, column, element) are those of `axes.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from emu.cpu.tensor.axes import VECTOR, WORDS, across, blank, expanded, halves, split
from emu.cpu.tensor.descriptor import F64, DType, View
from emu.cpu.tensor.emit import (
    I64,
    Block,
    Emitter,
    Type,
    Value,
    bits_of,
    is_float,
    lanes_of,
    vector,
)  # fmt: skip
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.vectors import Arithmetic, compute, convert, narrow, storage, widen

_BLOCK = Block(f"{WORDS} divisor")
_UNROLL = 4
"""Accumulators in the main loop: enough to hide the latency of an addition."""


@dataclass(frozen=True)
class Fold:
    """An operation of the vocabulary, its neutral element, and whether floats go through f64."""

    op: str
    neutral: float
    wide: bool
    averages: bool = False

    def accumulator(self, dtype: DType) -> DType:
        """The type that elements of `dtype` are accumulated in."""
        return F64 if self.wide and dtype.kind == "float" else dtype.compute

    def start(self, e: Emitter, dtype: DType, type_: Type) -> Value:
        """The neutral element; for integers, infinity is the type's limit."""
        if is_float(type_) or not math.isinf(self.neutral):
            return e.const(type_, self.neutral)
        bits = bits_of(type_) - dtype.signed
        least = -(1 << bits) if dtype.signed else 0
        return e.const(type_, least if self.neutral < 0 else (1 << bits) - 1)


FOLDS = {
    "tsum": Fold("add", 0.0, wide=True),
    "tmean": Fold("add", 0.0, wide=True, averages=True),
    "tprod": Fold("mul", 1.0, wide=True),
    "tredmax": Fold("max", -math.inf, wide=False),
    "tredmin": Fold("min", math.inf, wide=False),
}
SEARCHES = {"targmax": ">", "targmin": "<"}
"""Which element an index search prefers to the one it has."""


def run_reduce(mnemonic: str, destination: View, source: View, axes: Sequence[int]) -> None:
    """Fold `axes` of a host view; the destination has the other dimensions, or ones among them."""
    layout, words = split(expanded(destination, source.rank, axes), source, axes)
    fold, dtype = FOLDS[mnemonic], source.dtype
    run = kernel(
        f"{mnemonic} {dtype.name} {layout}",
        _BLOCK,
        lambda e: _Reduction(e, fold, dtype, layout).write(),
    )
    count = math.prod(source.dims[d] for d in axes)
    run(**words, divisor=float(count))


def run_search(mnemonic: str, destination: View, source: View, axis: int) -> None:
    """The index, along `axis`, of the first greatest or least element, as i64."""
    layout, words = split(expanded(destination, source.rank, [axis]), source, [axis])
    how, dtype = SEARCHES[mnemonic], source.dtype
    run = kernel(
        f"{mnemonic} {dtype.name} {layout}",
        _BLOCK,
        lambda e: _Search(e, how, dtype, layout).write(),
    )
    run(**words)


class _Reduction:
    """Writes the kernel of a fold."""

    def __init__(self, e: Emitter, fold: Fold, dtype: DType, layout: str) -> None:
        self.e, self.fold, self.dtype = e, fold, dtype
        self.layout, self.held = layout, fold.accumulator(dtype)
        self.math = Arithmetic(e, self.held)
        widest = max(storage(dtype), compute(self.held), key=bits_of)
        self.lanes = 1 if layout == "element" else VECTOR * 8 // bits_of(widest)
        self.n, self.step = e.word("n"), e.word("step")
        room = e.local(VECTOR * _UNROLL)
        self.place = [e.offset(room, k * VECTOR) for k in range(_UNROLL)]

    def write(self) -> None:
        """Write the walk over the results and, in it, each of them."""
        pointers = [self.e.pointer("p0"), self.e.pointer("p1")]
        with self.e.walk("rank", "dims", ["s0", "s1"], pointers) as (out, source):
            (self._columns if self.layout == "column" else self._row)(out, source)

    def _start(self, lanes: int) -> Value:
        return self.fold.start(self.e, self.dtype, vector(compute(self.held), lanes))

    def _combine(self, x: Value, y: Value) -> Value:
        return self.math.apply(self.fold.op, x, y)

    def _load(self, place: Value, mask: Value | None) -> Value:
        """Elements in the form of the accumulator, the neutral element outside the mask."""
        e = self.e
        value = widen(e, e.load(place, vector(storage(self.dtype), self.lanes), mask), self.dtype)
        value = convert(e, value, self.dtype.compute, self.held)
        return blank(e, value, mask, self._start(self.lanes))

    def _store(self, value: Value, place: Value, mask: Value | None) -> None:
        e = self.e
        if self.fold.averages:
            value = e.b.fdiv(value, e.number("divisor", value.type))
        value = convert(e, value, self.held, self.dtype)
        e.store(narrow(e, value, self.dtype), place, mask)

    def _row(self, out: Value, source: Value) -> None:
        """One result: vectors along the row, `_UNROLL` at a time, then the rest under a mask."""
        e, b, lanes = self.e, self.e.b, self.lanes
        start, type_ = self._start(lanes), vector(compute(self.held), lanes)
        whole = b.and_(self.n, e.const(I64, -lanes * _UNROLL))
        b.store(start, self.place[0], align=VECTOR)
        with e.walk("folds", "extents", ["steps"], [source]) as (row,):
            with e.loop(0, whole, lanes * _UNROLL, carry=[start] * _UNROLL) as main:
                first = e.offset(row, b.mul(main.index, self.step))
                stride = b.mul(self.step, e.const(I64, lanes))
                places = [e.offset(first, b.mul(stride, e.const(I64, k))) for k in range(_UNROLL)]
                main.next(
                    *(
                        self._combine(total, self._load(place, None))
                        for total, place in zip(main.values, places, strict=True)
                    )
                )
            with e.loop(whole, self.n, lanes, carry=[reduce(self._combine, main.values)]) as rest:
                left = b.sub(self.n, rest.index)
                mask = e.mask_below(left, lanes) if lanes > 1 else None
                place = e.offset(row, b.mul(rest.index, self.step))
                rest.next(self._combine(rest.values[0], self._load(place, mask)))
            total = b.load(self.place[0], typ=type_, align=VECTOR)
            b.store(self._combine(total, rest.values[0]), self.place[0], align=VECTOR)
        total = b.load(self.place[0], typ=type_, align=VECTOR)
        self._store(across(e, total, self._combine), out, None)

    def _columns(self, out: Value, source: Value) -> None:
        """Adjacent results: strips of `_UNROLL` vectors, then single ones under a mask."""
        e, b, m = self.e, self.e.b, self.e.word("m")
        whole = b.and_(m, e.const(I64, -self.lanes * _UNROLL))
        with e.loop(0, whole, self.lanes * _UNROLL) as at:
            self._strip(out, source, at.index, None, _UNROLL)
        with e.loop(whole, m, self.lanes) as at:
            mask = e.mask_below(b.sub(m, at.index), self.lanes)
            self._strip(out, source, at.index, mask, 1)

    def _strip(self, out: Value, source: Value, at: Value, mask: Value | None, count: int) -> None:
        e, b, size = self.e, self.e.b, self.dtype.size
        type_ = vector(compute(self.held), self.lanes)
        offset = b.mul(at, e.const(I64, size))
        totals = self.place[:count]
        for place in totals:
            b.store(self._start(self.lanes), place, align=VECTOR)
        with e.walk("folds", "extents", ["steps"], [e.offset(source, offset)]) as (first,):
            held = [b.load(place, typ=type_, align=VECTOR) for place in totals]
            with e.loop(0, self.n, carry=held) as fold:
                row = e.offset(first, b.mul(fold.index, self.step))
                fold.next(
                    *(
                        self._combine(value, self._load(e.offset(row, k * self.lanes * size), mask))
                        for k, value in enumerate(fold.values)
                    )
                )
            for value, place in zip(fold.values, totals, strict=True):
                b.store(value, place, align=VECTOR)
        for k, place in enumerate(totals):
            target = e.offset(e.offset(out, offset), k * self.lanes * size)
            self._store(b.load(place, typ=type_, align=VECTOR), target, mask)


class _Search:
    """Writes the kernel of an index search: carries the best element and its index."""

    def __init__(self, e: Emitter, how: str, dtype: DType, layout: str) -> None:
        self.e, self.how, self.dtype, self.layout = e, how, dtype, layout
        self.lanes = 1 if layout == "element" else VECTOR // 8
        self.n, self.step = e.word("n"), e.word("step")

    def write(self) -> None:
        """Write the walk over the results and, in it, each of them."""
        pointers = [self.e.pointer("p0"), self.e.pointer("p1")]
        with self.e.walk("rank", "dims", ["s0", "s1"], pointers) as (out, source):
            (self._columns if self.layout == "column" else self._row)(out, source)

    def _better(self, x: Value, best: Value) -> Value:
        """Whether x is preferred to `best`; a NaN is to everything but a NaN."""
        b = self.e.b
        if is_float(x.type):
            known = b.fcmp_ordered("ord", best, best)
            return b.and_(b.fcmp_unordered(self.how, x, best), known)
        return (b.icmp_signed if self.dtype.signed else b.icmp_unsigned)(self.how, x, best)

    def _load(self, place: Value, lanes: int, mask: Value | None) -> Value:
        loaded = self.e.load(place, vector(storage(self.dtype), lanes), mask)
        return widen(self.e, loaded, self.dtype)

    def _row(self, out: Value, source: Value) -> None:
        e, b, lanes = self.e, self.e.b, self.lanes
        first = e.splat(self._load(source, 1, None), lanes)
        start = [first, e.const(vector(I64, lanes), 0)]
        with e.loop(0, self.n, lanes, carry=start) as loop:
            mask = e.mask_below(b.sub(self.n, loop.index), lanes) if lanes > 1 else None
            place = e.offset(source, b.mul(loop.index, self.step))
            x, (best, index) = self._load(place, lanes, mask), loop.values
            take = self._better(x, best)
            if mask is not None:
                take = b.and_(take, mask)
            here = e.splat(loop.index, lanes)
            here = b.add(here, e.iota(I64, lanes))
            loop.next(b.select(take, x, best), b.select(take, here, index))
        best, index = loop.values
        while lanes_of(index.type) > 1:
            (best, other), (index, there) = halves(e, best), halves(e, index)
            take = self._better(other, best)
            tie = b.not_(b.or_(take, self._better(best, other)))
            take = b.or_(take, b.and_(tie, b.icmp_signed("<", there, index)))
            best, index = b.select(take, other, best), b.select(take, there, index)
        e.store(index, out)

    def _columns(self, out: Value, source: Value) -> None:
        e, b, m, lanes = self.e, self.e.b, self.e.word("m"), self.lanes
        with e.loop(0, m, lanes) as at:
            mask = e.mask_below(b.sub(m, at.index), lanes)
            column = e.offset(source, b.mul(at.index, e.const(I64, self.dtype.size)))
            start = [self._load(column, lanes, mask), e.const(vector(I64, lanes), 0)]
            with e.loop(1, self.n, carry=start) as loop:
                x = self._load(e.offset(column, b.mul(loop.index, self.step)), lanes, mask)
                best, index = loop.values
                take = self._better(x, best)
                here = e.splat(loop.index, lanes)
                loop.next(b.select(take, x, best), b.select(take, here, index))
            e.store(loop.values[1], e.offset(out, b.mul(at.index, e.const(I64, 8))), mask)
