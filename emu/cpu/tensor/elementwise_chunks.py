"""The pass over chunks: rows too short for vectors, or elements too far apart.

A *chunk* is some hundred elements of the result. Sources that do not lie as the result does are
first copied into a buffer, element by element, in the result's order; then the chunk is computed by
vectors. So a costly function is never computed one element at a time, and a row of three elements
costs three elements. Letters for each operand, the destination first:

v   adjacent throughout the chunk
x   copied into its buffer for every chunk (a destination: out of it)
r   as x, by a vector for a row: adjacent elements of a short row
b   as x, by a vector for a row: one element, repeated in the row
p   the same elements in every row: copied once, while the place does not change
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.cpu.tensor.elementwise_rows import NEAR, bounds, share, walk
from emu.cpu.tensor.emit import I64, POINTER, Emitter, Value, vector
from emu.cpu.tensor.formula import Formula
from emu.cpu.tensor.vectors import storage

ROWS = 64
"""Rows of a chunk, where rows are short."""
_COLUMNS = 256
"""Elements of a chunk of a long row."""


def write_short_rows(e: Emitter, formula: Formula, layout: str, *, reach: str = NEAR) -> None:
    """Emit the kernel for rows of fewer elements than a vector has lanes, which follow each other
    in the destination along the first outer dimension. The block is that of `elementwise_rows`."""
    del reach  # what is buffered passes through the caches anyway
    chunks = _Chunks(e, formula, layout, ROWS * formula.lanes)
    n, extent = e.word("n"), e.word("dims")
    groups = e.b.udiv(e.b.add(extent, e.const(I64, ROWS - 1)), e.const(I64, ROWS))
    begin, end = share(e, e.b.mul(groups, e.b.udiv(e.word("rows"), extent)), 1)
    with walk(e, begin, end, len(layout), unit=ROWS) as (place, left):
        rows = e.intrinsic("llvm.smin", I64, left, e.const(I64, ROWS))
        for k, kind in enumerate(layout):
            if kind == "p":
                chunks.fill_once(k, place[k], n)
            elif kind in "rb":
                chunks.fill_by_rows(k, place[k], rows, n)
            elif kind == "x":
                chunks.fill(k, place[k], rows, n)
        chunks.compute(place, e.b.mul(rows, n))


def write_strided(e: Emitter, formula: Formula, layout: str, *, reach: str = NEAR) -> None:
    """Emit the kernel for long rows with any step from element to element."""
    del reach
    chunks = _Chunks(e, formula, layout, _COLUMNS)
    begin, end, first, last = bounds(e)
    with walk(e, begin, end, len(layout)) as (row, _), e.loop(first, last, _COLUMNS) as at:
        count = e.intrinsic("llvm.smin", I64, e.b.sub(last, at.index), e.const(I64, _COLUMNS))
        place = [e.offset(p, e.b.mul(at.index, e.word(f"i{k}"))) for k, p in enumerate(row)]
        for k, kind in enumerate(layout):
            if k and kind == "x":
                chunks.fill(k, place[k], e.const(I64, 1), count)
        chunks.compute(place, count)
        if layout[0] == "x":
            chunks.empty(place[0], count)


class _Chunks:
    """Emits the work on one chunk of at most `size` elements."""

    def __init__(self, e: Emitter, formula: Formula, layout: str, size: int) -> None:
        e.function.attributes.add("optsize")
        self.e, self.formula, self.layout = e, formula, layout
        self.dtypes = [formula.result, *formula.sources]
        self.lanes = formula.lanes
        self.params = formula.params(e, self.lanes)
        slack = self.lanes  # the last vector is read whole
        self.buffers = [
            e.local((size + slack) * d.size) if kind != "v" else None
            for kind, d in zip(layout, self.dtypes, strict=True)
        ]
        self.filled = [e.local(8) if kind == "p" else None for kind in layout]
        for known in self.filled:
            if known is not None:
                e.b.store(e.const(I64, 0), known, align=8)

    def fill(self, k: int, source: Value, rows: Value, columns: Value) -> None:
        """Copy rows of operand `k` into its buffer, one behind the other."""
        e, size = self.e, self.dtypes[k].size
        step, next_row = e.word(f"i{k}"), e.word(f"s{k}")
        with e.loop(0, rows, carry=[source, self.buffers[k]]) as row:
            with e.loop(0, columns, carry=list(row.values)) as at:
                value = e.load(at.values[0], storage(self.dtypes[k]))
                e.store(value, at.values[1])
                at.next(e.offset(at.values[0], step), e.offset(at.values[1], size))
            row.next(e.offset(row.values[0], next_row), at.values[1])

    def fill_by_rows(self, k: int, source: Value, rows: Value, columns: Value) -> None:
        """As `fill`, for rows of fewer elements than a vector has lanes: what a vector stores
        behind its row is overwritten by the next, or lies behind the last."""
        e, dtype, lanes = self.e, self.dtypes[k], self.lanes
        mask, next_row = e.mask_below(columns, lanes), e.word(f"s{k}")
        width = e.b.mul(columns, e.const(I64, dtype.size))
        with e.loop(0, rows, carry=[source, self.buffers[k]]) as row:
            place, buffer = row.values
            if self.layout[k] == "b":
                value = e.splat(e.load(place, storage(dtype)), lanes)
            else:
                value = e.load(place, vector(storage(dtype), lanes), mask)
            e.store(value, buffer)
            row.next(e.offset(place, next_row), e.offset(buffer, width))

    def fill_once(self, k: int, source: Value, columns: Value) -> None:
        """Copy as many times the one row of operand `k` as a chunk may have rows."""
        e = self.e
        known = self.e.b.inttoptr(e.b.load(self.filled[k], typ=I64, align=8), POINTER)
        with e.b.if_then(e.b.icmp_unsigned("!=", known, source)):
            self.fill(k, source, e.const(I64, ROWS), columns)
            e.b.store(e.b.ptrtoint(source, I64), self.filled[k], align=8)

    def compute(self, place: Sequence[Value], count: Value) -> None:
        """`count` elements, each operand from its buffer or its place."""
        e = self.e
        starts = [b if b is not None else p for b, p in zip(self.buffers, place, strict=True)]
        with e.loop(0, count, self.lanes) as at:
            mask = e.mask_below(e.b.sub(count, at.index), self.lanes)
            there = [
                e.offset(p, e.b.mul(at.index, e.const(I64, d.size)))
                for p, d in zip(starts, self.dtypes, strict=True)
            ]
            held = [
                e.load(there[k + 1], self.formula.loaded(k, self.lanes),
                       mask if self.buffers[k + 1] is None else None)
                for k in range(len(self.formula.sources))
            ]  # fmt: skip
            value = self.formula.value(e, held, self.params)
            e.store(value, there[0], mask if self.buffers[0] is None else None)

    def empty(self, target: Value, count: Value) -> None:
        """Copy what was computed to where it belongs."""
        e, size, step = self.e, self.dtypes[0].size, self.e.word("i0")
        with e.loop(0, count, carry=[self.buffers[0], target]) as at:
            e.store(e.load(at.values[0], storage(self.dtypes[0])), at.values[1])
            at.next(e.offset(at.values[0], size), e.offset(at.values[1], step))
