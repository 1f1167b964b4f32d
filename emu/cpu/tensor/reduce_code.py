"""The kernels of reductions, by layout.

A row is swept with accumulators in registers. Columns are cut into strips whose accumulators stay
in the first-level cache, while the rows of the source stream past, one or several at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from llvmlite import ir

from emu.cpu.tensor.axes import (
    VECTOR,
    WORDS,
    across,
    blank,
    each_vector,
    extreme,
    share,
    sweep,
    visit,
)  # fmt: skip
from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import I32, I64, Block, Emitter, Value, bits_of, is_float, vector
from emu.cpu.tensor.expr import Expr
from emu.cpu.tensor.folds import ELEMENT, GREATEST, Fold
from emu.cpu.tensor.vectors import Arithmetic, compute, convert, narrow, storage, widen

BLOCK = Block(f"{WORDS} chunk chunks strips count")
_AHEAD = 4096
"""Bytes that rows behind one another are fetched ahead."""
STRIP = 1024
"""Columns whose accumulators are held at a time."""


class Reduction:
    """Writes the kernel of a fold."""

    def __init__(
        self, e: Emitter, fold: Fold, role: str, source: DType, target: DType, layout: str, few: int
    ) -> None:
        self.e, self.fold, self.layout, self.source, self.target = e, fold, layout, source, target
        self.few = few
        """The elements of a short row; the columns of a cycle; how many rows of columns are folded
        at a time, one where they lie behind one another, else several; 1 for a line of one row."""
        self.held = fold.accumulator(source)
        self.math = Arithmetic(e, self.held)
        self.each = ELEMENT if role == "second" and not fold.shifted else fold.each
        self.last = ELEMENT if role == "first" and not fold.shifted else fold.last
        widest = max(storage(source), compute(self.held), key=bits_of)
        self.lanes = 1 if layout == "element" else VECTOR * 8 // bits_of(widest)
        self.size = bits_of(compute(self.held)) // 8
        self.step = e.word("step")

    def write(self) -> None:
        """Write the walk over strips, chunks and results and, in it, each of them."""
        e, b = self.e, self.e.b
        first, end = share(e, e.word("lines"))
        pointers = [e.pointer("p0"), e.pointer("p1")]
        n, chunk, strips = e.word("n"), e.word("chunk"), e.word("strips")
        rooms = [e.local(STRIP * self.size) for _ in range(2)]
        with visit(e, first, end, ["s0", "s1"], pointers) as (index, (out, source)):
            at = b.urem(b.udiv(index, strips), e.word("chunks"))
            rest = b.sub(n, b.mul(at, chunk))
            length = e.intrinsic("llvm.smin", I64, rest, chunk)
            if self.layout == "cycle":
                self._cycle(out, source, length, rooms[0])
            elif self.layout in ("column", "short"):
                strip = b.mul(b.urem(index, strips), e.const(I64, STRIP))
                left = b.sub(e.word("m"), strip)
                width = e.intrinsic("llvm.smin", I64, left, e.const(I64, STRIP))
                if self.layout == "short":
                    self._short(out, source, width)
                else:
                    self._columns(out, source, length, width, rooms)
            else:
                self._row(out, source, length, [rooms[0], e.offset(rooms[0], VECTOR)])

    def _start(self, lanes: int, op: Fold) -> Value:
        return op.start(self.e, self.held, vector(compute(self.held), lanes))

    def _load(self, place: Value, mask: Value | None) -> Value:
        """Elements in the form of the accumulator."""
        return self._taken(self.e.load(place, vector(storage(self.source), self.lanes), mask))

    def _taken(self, value: Value) -> Value:
        value = widen(self.e, value, self.source)
        return convert(self.e, value, self.source.compute, self.held)

    def _store(self, value: Value, top: Value, place: Value, mask: Value | None) -> None:
        e = self.e
        value = self.math.lower(self.last, [value, top], [e.number("count", value.type)])
        value = convert(e, value, self.held, self.target)
        e.store(narrow(e, value, self.target), place, mask)

    def _combine(self, fold: Fold, x: Value, y: Value) -> Value:
        if fold.op in ("max", "min") and is_float(x.type):
            return extreme(self.e, fold.op, x, y)
        return self.math.apply(fold.op, x, y)

    def _shift(self, top: Value) -> Value:
        """What to subtract before exponentiating: the greatest element, unless it is infinite."""
        size = self.math.op_abs(top)
        infinite = self.e.b.fcmp_ordered("==", size, self.e.const(top.type, math.inf))
        return self.e.b.select(infinite, self.e.const(top.type, 0.0), top)

    # one result

    def _row(self, out: Value, source: Value, n: Value, rooms: Sequence[Value]) -> None:
        top = self._start(1, GREATEST)
        if self.fold.shifted:
            top = self._shift(self._line(source, n, GREATEST, ELEMENT, top, rooms[0]))
        total = self._line(source, n, self.fold, self.each, top, rooms[1])
        self._store(total, top, out, None)

    def _line(
        self, source: Value, n: Value, fold: Fold, each: Expr, top: Value, room: Value
    ) -> Value:
        """A line folded to a scalar: vectors along it, over all rows of the folded dimensions."""
        e, b = self.e, self.e.b
        start = self._start(self.lanes, fold)
        tops = e.splat(top, self.lanes)

        def combine(x: Value, y: Value) -> Value:
            return self._combine(fold, x, y)

        def swept(row: Value) -> Value:
            def body(index: Value, mask: Value | None, values: Sequence[Value]) -> list[Value]:
                x = self._load(e.offset(row, b.mul(index, self.step)), mask)
                x = blank(e, self.math.lower(each, [x, tops], []), mask, start)
                return [combine(x, values[0])]

            return sweep(e, n, self.lanes, [start], body, combine)[0]

        if self.few == 1:
            return across(e, swept(source), combine)
        b.store(start, room, align=VECTOR)
        with e.walk("folds", "extents", ["steps"], [source]) as (row,):
            total = swept(row)
            before = b.load(room, typ=start.type, align=VECTOR)
            b.store(combine(before, total), room, align=VECTOR)
        return across(e, b.load(room, typ=start.type, align=VECTOR), combine)

    # adjacent results

    def _columns(
        self, out: Value, source: Value, n: Value, width: Value, rooms: Sequence[Value]
    ) -> None:
        """A strip of columns: the rows of the source added to accumulators in memory."""
        e, b = self.e, self.e.b
        tops, totals = rooms
        none = self._start(self.lanes, GREATEST)
        if self.fold.shifted:
            self._rows(source, n, width, GREATEST, ELEMENT, None, tops)

            def shift(at: Value, mask: Value | None) -> None:
                place = self._held(tops, at)
                b.store(self._shift(b.load(place, typ=none.type, align=8)), place, align=8)

            self._each(width, shift)
        self._rows(source, n, width, self.fold, self.each, tops, totals)

        def finish(at: Value, mask: Value | None) -> None:
            total = b.load(self._held(totals, at), typ=none.type, align=8)
            top = b.load(self._held(tops, at), typ=none.type, align=8)
            place = e.offset(out, b.mul(at, e.const(I64, self.target.size)))
            self._store(total, top if self.fold.shifted else none, place, mask)

        self._each(width, finish)

    def _held(self, room: Value, at: Value) -> Value:
        return self.e.offset(room, self.e.b.mul(at, self.e.const(I64, self.size)))

    def _each(self, width: Value, body: Callable[[Value, Value | None], None]) -> None:
        each_vector(self.e, width, self.lanes, body)

    def _rows(
        self, source: Value, n: Value, width: Value,
        fold: Fold, each: Expr, tops: Value | None, room: Value,
    ) -> None:  # fmt: skip
        """Fold all rows of a strip into the accumulators at `room`, `few` at a time."""
        e, b = self.e, self.e.b
        start = self._start(self.lanes, fold)
        self._each(width, lambda at, _: b.store(start, self._held(room, at), align=8))
        whole = b.and_(n, e.const(I64, -self.few))
        ahead = e.const(I64, _AHEAD)
        if self.few > 1:
            ahead = b.mul(self.step, e.const(I64, self.few))
        with e.walk("folds", "extents", ["steps"], [source]) as (line,):
            passes = [(e.const(I64, 0), whole, self.few), (whole, n, 1)]
            for first, end, count in passes[: self.few]:
                with e.loop(first, end, count) as loop:
                    places = [
                        e.offset(line, b.mul(b.add(loop.index, e.const(I64, k)), self.step))
                        for k in range(count)
                    ]

                    def add(at: Value, mask: Value | None, rows: list[Value] = places) -> None:
                        total = b.load(self._held(room, at), typ=start.type, align=8)
                        top = start
                        if self.fold.shifted and tops is not None:
                            top = b.load(self._held(tops, at), typ=start.type, align=8)
                        offset = b.mul(at, e.const(I64, self.source.size))
                        for row in rows:
                            e.prefetch(e.offset(row, b.add(offset, ahead)))
                            x = self._load(e.offset(row, offset), mask)
                            x = self.math.lower(each, [x, top], [])
                            total = self._combine(fold, x, total)
                        b.store(total, self._held(room, at), align=8)

                    self._each(width, add)

    # narrow lines

    def _short(self, out: Value, source: Value, width: Value) -> None:
        """A strip of rows of `few` elements: a lane has a row."""
        e, b, few, lanes = self.e, self.e.b, self.few, self.lanes
        loaded = vector(storage(self.source), lanes * few)
        picks = [
            ir.Constant(vector(I32, lanes), [ir.Constant(I32, k * few + j) for k in range(lanes)])
            for j in range(few)
        ]

        def strip(at: Value, mask: Value | None) -> None:
            if mask is not None:
                left = b.mul(b.sub(width, at), e.const(I64, few))
                mask = e.mask_below(left, lanes * few)
            place = e.offset(source, b.mul(at, e.const(I64, few * self.source.size)))
            rows = e.load(place, loaded, mask)
            none = ir.Constant(loaded, ir.Undefined)
            elements = [self._taken(b.shuffle_vector(rows, none, pick)) for pick in picks]
            top = elements[0]
            if self.fold.shifted:
                for x in elements[1:]:
                    top = self._combine(GREATEST, x, top)
                top = self._shift(top)
            total = self._start(lanes, self.fold)
            for x in elements:
                total = self._combine(self.fold, self.math.lower(self.each, [x, top], []), total)
            only = None if mask is None else e.mask_below(b.sub(width, at), lanes)
            self._store(total, top, e.offset(out, b.mul(at, e.const(I64, self.target.size))), only)

        self._each(width, strip)

    def _cycle(self, out: Value, source: Value, n: Value, room: Value) -> None:
        """Rows of `few` elements: as many at a time as there are lanes, in `few` vectors."""
        e, b, few, lanes = self.e, self.e.b, self.few, self.lanes
        start, row = self._start(lanes, self.fold), few * self.source.size
        whole = b.and_(n, e.const(I64, -lanes))

        def add(total: Value, place: Value, mask: Value | None) -> Value:
            x = self.math.lower(self.each, [self._load(place, mask), start], [])
            return self._combine(self.fold, x, total)

        with e.loop(0, whole, lanes, carry=[start] * few) as loop:
            first = e.offset(source, b.mul(loop.index, e.const(I64, row)))
            places = [e.offset(first, k * lanes * self.source.size) for k in range(few)]
            loop.next(*(add(t, p, None) for t, p in zip(loop.values, places, strict=True)))
        for k, total in enumerate(loop.values):
            b.store(total, e.offset(room, k * lanes * self.size), align=8)

        def gather(at: Value, mask: Value | None) -> None:
            with e.loop(0, e.const(I64, lanes), carry=[start]) as held:
                place = b.add(b.mul(held.index, e.const(I64, few)), at)
                x = e.load(self._held(room, place), start.type, mask)
                held.next(self._combine(self.fold, x, held.values[0]))
            with e.loop(whole, n, carry=held.values) as rest:
                place = b.add(b.mul(rest.index, e.const(I64, few)), at)
                place = e.offset(source, b.mul(place, e.const(I64, self.source.size)))
                rest.next(add(rest.values[0], place, mask))
            target = e.offset(out, b.mul(at, e.const(I64, self.target.size)))
            self._store(rest.values[0], start, target, mask)

        self._each(e.const(I64, few), gather)
