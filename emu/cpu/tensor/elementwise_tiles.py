"""The pass over tiles: some sources are adjacent along another dimension than the destination.

The *inner* dimension is the one along which the destination is adjacent, the *cross* dimension the
one along which those sources are. A tile is as many elements in either as a vector has lanes: its
part of such a source is loaded by vectors along the cross dimension, transposed in registers and
put in a buffer, from where it is read as any other row (`elementwise_rows`). So both sides of the
memory are met by whole cache lines. Tiles at the ends are done under masks.

Tiles follow each other along the inner dimension; a strip of these is what parts of the work are.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.cpu.tensor.elementwise_rows import FAR, NEAR, STREAMED, share, walk
from emu.cpu.tensor.emit import I64, Emitter, Value
from emu.cpu.tensor.formula import Formula
from emu.cpu.tensor.pack import transposed
from emu.cpu.tensor.vectors import storage

_LANES_MAX = 16
"""A tile of more would not fit the registers."""
_AHEAD = 4
"""How many tiles before its turn a tile's lines are asked for: no host sees them coming."""
_LINES_AHEAD = 256
"""How many bytes before its turn a line of the destination is asked for."""


def lanes(formula: Formula) -> int:
    """The extent of a tile."""
    return min(formula.lanes, _LANES_MAX)


def write_tiles(e: Emitter, formula: Formula, layout: str, *, reach: str = NEAR) -> None:
    """Emit the kernel: `layout` has for each source 't' (to be transposed), 'v' or 's' (its row
    along the inner dimension is adjacent, or one element). The block is that of `elementwise_rows`,
    the cross dimension being the first of the outer ones. Memory that is not NEAR is asked for
    ahead of time: of the sources tiles, of the destination lines, if these are not streamed."""
    e.function.attributes.add("optsize")
    tiles = _Tiles(e, formula, layout, reach)
    extent, size = e.word("dims"), e.const(I64, tiles.lanes)
    blocks = e.b.udiv(e.b.add(extent, e.const(I64, tiles.lanes - 1)), size)
    strips = e.b.mul(blocks, e.b.udiv(e.word("rows"), extent))
    begin, end = share(e, strips, 1)
    with walk(e, begin, end, len(layout) + 1, unit=tiles.lanes) as (strip, left):
        count = e.intrinsic("llvm.smin", I64, left, size)
        with e.loop(0, e.word("n"), tiles.lanes) as at:
            tiles.emit(strip, at.index, count)
    if reach == STREAMED:
        e.drain()


class _Tiles:
    """Emits the work on one tile."""

    def __init__(self, e: Emitter, formula: Formula, layout: str, reach: str) -> None:
        self.e, self.formula, self.layout, self.reach = e, formula, layout, reach
        self.lanes = lanes(formula)
        self.params = formula.params(e, self.lanes)
        self.n = e.word("n")
        self.buffers = [
            e.local(self.lanes * self.lanes * d.size) if kind == "t" else None
            for kind, d in zip(layout, formula.sources, strict=True)
        ]

    def emit(self, strip: Sequence[Value], first: Value, count: Value) -> None:
        """The tile from inner index `first` on, `count` elements in the cross dimension."""
        e, formula = self.e, self.formula
        for k, (kind, buffer) in enumerate(zip(self.layout, self.buffers, strict=True)):
            if kind == "t":
                self._turn(k, strip[k + 1], first, count, buffer)
        inside = e.mask_below(e.b.sub(self.n, first), self.lanes)
        whole = e.b.icmp_signed("<=", e.b.add(first, e.const(I64, self.lanes)), self.n)
        start = [self._row(k, p, first) for k, p in enumerate(strip)]
        steps = [self._step(k) for k in range(len(strip))]
        with e.loop(0, count, carry=start) as line:
            held = []
            if self.reach == FAR:
                e.prefetch(e.offset(line.values[0], _LINES_AHEAD), write=True)
            for k, kind in enumerate(self.layout):
                at, type_ = line.values[k + 1], formula.loaded(k, self.lanes)
                if kind == "s":
                    held.append(e.splat(e.load(at, storage(formula.sources[k])), self.lanes))
                else:
                    held.append(e.load(at, type_, inside if kind == "v" else None))
            value = formula.value(e, held, self.params)
            if self.reach == STREAMED:
                self._stream(value, line.values[0], inside, whole)
            else:
                e.store(value, line.values[0], inside)
            line.next(*(e.offset(p, s) for p, s in zip(line.values, steps, strict=True)))

    def _stream(self, value: Value, at: Value, inside: Value, whole: Value) -> None:
        """Store past the caches what fills an aligned vector."""
        e = self.e
        bits = e.const(I64, self.lanes * self.formula.result.size - 1)
        aligned = e.b.icmp_signed("==", e.b.and_(e.b.ptrtoint(at, I64), bits), e.const(I64, 0))
        with e.b.if_else(e.b.and_(aligned, whole)) as (then, otherwise):
            with then:
                e.stream(value, at)
            with otherwise:
                e.store(value, at, inside)

    def _row(self, k: int, strip: Value, first: Value) -> Value:
        """Where the tile's first line begins, for operand `k`."""
        e = self.e
        kind = ("v" + self.layout)[k]
        if kind == "t":
            return self.buffers[k - 1]
        if kind == "s":
            return strip
        dtype = [self.formula.result, *self.formula.sources][k]
        return e.offset(strip, e.b.mul(first, e.const(I64, dtype.size)))

    def _step(self, k: int) -> Value:
        """From line to line, for operand `k`."""
        if ("v" + self.layout)[k] == "t":
            return self.e.const(I64, self.lanes * self.formula.sources[k - 1].size)
        return self.e.word(f"s{k}")

    def _turn(self, k: int, strip: Value, first: Value, count: Value, buffer: Value) -> None:
        """Transpose the tile of source `k` into its buffer. Lines beyond the inner extent are
        loaded from the last one: there must be something to load."""
        e = self.e
        mask = e.mask_below(count, self.lanes)
        step, last = e.word(f"i{k + 1}"), e.b.sub(self.n, e.const(I64, 1))
        soon = self._soon(k, strip, first)
        lines = []
        for i in range(self.lanes):
            index = e.intrinsic("llvm.smin", I64, e.b.add(first, e.const(I64, i)), last)
            at = e.offset(strip, e.b.mul(index, step))
            lines.append(e.load(at, self.formula.loaded(k, self.lanes), mask))
            if self.reach != NEAR:
                e.prefetch(soon)
                soon = e.offset(soon, step)
        size = self.lanes * self.formula.sources[k].size
        for i, line in enumerate(transposed(e, lines)):
            e.store(line, e.offset(buffer, i * size))

    def _soon(self, k: int, strip: Value, first: Value) -> Value:
        """Where source `k` will be read `_AHEAD` tiles later: in this strip, or in the next."""
        e, b = self.e, self.e.b
        lanes, zero = e.const(I64, self.lanes), e.const(I64, 0)
        then = b.add(first, e.const(I64, _AHEAD * self.lanes))
        over = b.icmp_signed(">=", then, self.n)
        strip_length = b.mul(b.udiv(b.add(self.n, b.sub(lanes, e.const(I64, 1))), lanes), lanes)
        then = b.select(over, b.sub(then, strip_length), then)
        across = e.const(I64, self.lanes * self.formula.sources[k].size)
        soon = e.offset(strip, b.select(over, across, zero))
        return e.offset(soon, b.mul(then, e.word(f"i{k + 1}")))
