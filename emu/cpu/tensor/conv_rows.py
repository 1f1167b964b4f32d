"""An implicit product without packed columns: for few output channels and long rows of results.

Packing a column costs as much as using it for some ten output channels. So the first layers of
networks, with three input channels and a few output channels, read the split image in place: a tile
lies in one row of results, and each of its steps finds its vectors where the tap does.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.cpu.tensor.conv_gemm import Product
from emu.cpu.tensor.conv_tail import Line
from emu.cpu.tensor.emit import I1, I64, Value

_OUTPUTS, _CHANNELS = 64, 32
"""More output channels share packed columns; more input channels are not in the cache at once."""
_WASTE = 8
"""A row of results may leave one in so many lanes unused."""


def suits(outputs: int, channels: int, row: int, lanes: int) -> bool:
    """Whether columns are better not packed, for rows of results of this length."""
    idle = -row % lanes
    few = outputs <= _OUTPUTS and channels <= _CHANNELS
    return few and row >= lanes and idle * _WASTE <= row


class Rows(Product):
    """Writes the kernel. A unit is `unit_vectors` rows of results."""

    def write(self) -> None:
        """Units, rows of results, then tiles."""
        e, b = self.e, self.b
        private = self.times(e.part, e.word("private"))
        self.table = e.offset(e.pointer("table"), private)
        self.depth = b.mul(b.mul(e.word("taps", 0), e.word("taps", 1)), e.word("taps", 2))
        self.tabulate()
        count = b.sdiv(e.word("positions"), e.word("out_w"))
        blocks = self.up(count, e.word("unit_vectors"))
        self.walk(blocks)

    def one_unit(self, image: Value, group: Value, block: Value, is_last: Value) -> None:
        """Some rows of results, all output channels of one after the other."""
        e, b = self.e, self.b
        x, w, y = self.operands(image, group)
        output = self.times(group, e.word("outputs"))
        first = self.times(block, e.word("unit_vectors"))
        end = b.add(first, e.word("unit_vectors"))
        end = self.least(end, b.sdiv(e.word("positions"), e.word("out_w")))
        always = e.const(I1, 1)
        with e.loop(first, end) as line:
            start = self.times(line.index, e.word("out_w"))
            columns = e.offset(x, self.source(start))
            result = e.offset(y, self.times(start, self.dtype.size))
            with e.loop(self.rows[0], self.rows[1], self.tile.rows) as row:
                lines = self.lines(w, result, output, row.index)
                self.row(lines, columns, (always, always))

    def row(self, lines: list[Line], columns: Value, ends: tuple[Value, Value]) -> None:
        """One row of results."""
        e, b, count = self.e, self.b, self.e.word("out_w")
        vectors, done = self.up(count, self.lanes), self.const(0)
        for piece in self.tile.widths:
            whole = self.times(b.sdiv(b.sub(vectors, done), self.const(piece)), piece)
            end = b.add(done, whole)
            with e.loop(done, end, piece) as at:
                place = self.times(at.index, self.lanes)
                here = e.offset(columns, self.times(place, self.size))
                free = b.sub(count, place)
                self.one_tile(lines, here, self.times(place, self.dtype.size), free, piece,
                              e.word("channels"), ends)  # fmt: skip
            done = end

    def sums(
        self, lines: Sequence[Line], columns: Value, piece: int, steps: Value, first: list[Value]
    ) -> list[Value]:
        """All taps of each of `steps` input channels."""
        e, b = self.e, self.b
        with e.loop(0, steps, carry=first) as c:
            channel = e.offset(columns, self.times(c.index, e.word("x_c")))
            number = b.mul(c.index, self.depth)
            with e.loop(0, self.depth, carry=c.values) as t:
                shift = b.load(e.offset(self.table, self.times(t.index, 8)), typ=I64, align=8)
                here = e.offset(channel, shift)
                at = self.times(b.add(number, t.index), self.size)
                t.next(*self.step(lines, here, at, piece, t.values))
            c.next(*t.values)
        return list(c.values)
