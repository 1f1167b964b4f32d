"""The last positions of an image, too few to fill a vector: inner products of columns and weights.

Of 7 by 7 positions the last one would cost as much as the sixteen before it. Here vectors lie along
the inner dimension instead, where weights are adjacent, and their lanes are added up at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emu.cpu.tensor.axes import across
from emu.cpu.tensor.conv_words import Words
from emu.cpu.tensor.emit import I64, Value
from emu.cpu.tensor.vectors import compute, narrow, storage, widen

_TOGETHER = 2
"""Positions that share a load of weights."""
Line = tuple[Value, Value, Value]
"""Of a row of the product: where its weights are, where its results are, and its bias."""


def tail_of(positions: int, lanes: int, depth: int) -> int:
    """How many of `positions` are better summed this way: a quarter of a vector at most."""
    rest = positions % lanes
    return rest if rest * 4 <= lanes and depth >= 2 * lanes else 0


class Tail(Words):
    """What the writer of an implicit product has for its tail.

    Parameters: `positions` without the tail, `tail` the number of those in it, `tails` scratch
    memory with `tail_pitch` bytes for the column of each, `private` bytes for each part.
    """

    tails: Value
    depth: Value
    """Taps of a channel."""

    def pack_tail(
        self,
        x: Value,
        channels: Value,
        source: Callable[[Value], Value],
        table: Value | None,
    ) -> None:
        """Copy the columns of some input channels. `source` gives the bytes from the start of a
        channel to a position's first tap; `table` has those from there to each tap."""
        e, b = self.e, self.b
        with e.loop(0, e.word("tail")) as p:
            to = e.offset(self.tails, self.times(p.index, e.word("tail_pitch")))
            start = source(b.add(e.word("positions"), p.index))
            with e.loop(0, channels) as c:
                here = e.offset(e.offset(x, self.times(c.index, e.word("x_c"))), start)
                first = b.mul(c.index, self.depth)
                with e.loop(0, self.depth) as t:
                    place = here
                    if table is not None:
                        entry = e.offset(table, self.times(t.index, 8))
                        place = e.offset(here, b.load(entry, typ=I64, align=8))
                    value = e.load(place, compute(self.dtype))
                    there = self.times(b.add(first, t.index), self.size)
                    e.store(value, e.offset(to, there))

    def add_tail(
        self, lines: Sequence[Line], y: Value, steps: Value, ends: tuple[Value, Value]
    ) -> None:
        """The tail's results of some rows; `y` is how far they are from the rows' starts."""
        e, b, tail = self.e, self.b, self.e.word("tail")
        pairs = b.and_(tail, self.const(-_TOGETHER))
        for first, end, count in ((self.const(0), pairs, _TOGETHER), (pairs, tail, 1)):
            with e.loop(first, end, count) as p:
                column = e.offset(self.tails, self.times(p.index, e.word("tail_pitch")))
                place = b.add(y, self.times(p.index, self.dtype.size))
                self._products(lines, column, place, count, steps, ends)

    def _products(
        self,
        lines: Sequence[Line],
        column: Value,
        y: Value,
        count: int,
        steps: Value,
        ends: tuple[Value, Value],
    ) -> None:
        """Every row times `count` columns."""
        e, b = self.e, self.b
        columns = [e.offset(column, self.times(e.word("tail_pitch"), k)) for k in range(count)]

        def step(index: Value, sums: Sequence[Value], mask: Value | None) -> list[Value]:
            at = self.times(index, self.size)
            values = [e.load(e.offset(place, at), self.type, mask) for place in columns]
            following = []
            for r, (w, _, _) in enumerate(lines):
                weights = e.load(e.offset(w, at), self.type, mask)
                own = sums[r * count : (r + 1) * count]
                following += [e.fma(weights, x, s) for x, s in zip(values, own, strict=True)]
            return following

        whole = b.and_(steps, self.const(-self.lanes))
        zero = [e.const(self.type, 0)] * (len(lines) * count)
        with e.loop(0, whole, self.lanes, carry=zero) as k:
            k.next(*step(k.index, k.values, None))
        rest = b.sub(steps, whole)
        with e.branch(b.icmp_signed(">", rest, self.const(0)), k.values) as last:
            last.next(*step(whole, k.values, e.mask_below(rest, self.lanes)))
        add = b.fadd if self.dtype.kind == "float" else b.add
        sums = [across(e, value, add) for value in last.values]
        spots = [
            e.offset(e.offset(line, y), k * self.dtype.size)
            for _, line, _ in lines
            for k in range(count)
        ]
        fresh = [bias for _, _, bias in lines for _ in range(count)]
        with e.branch(b.not_(ends[0]), fresh) as more:
            more.next(*(widen(e, e.load(p, storage(self.dtype)), self.dtype) for p in spots))
        results = [add(*pair) for pair in zip(sums, more.values, strict=True)]
        if self.act is not None:
            with e.branch(ends[1], results) as done:
                done.next(*(self.act(e, value) for value in results))
            results = done.values
        for value, spot in zip(results, spots, strict=True):
            e.store(narrow(e, value, self.dtype), spot)
