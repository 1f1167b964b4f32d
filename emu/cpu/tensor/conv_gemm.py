"""Implicit matrix product: weights times image columns that are packed a block at a time.

The product has an output channel in each row, an output position in each column, and sums over
input channels and taps. It is computed in *units*, blocks of positions of one image and group:

pack    the columns of the unit, for some input channels, are copied to panels `vectors` wide. The
        source holds the padded image split by stride (`conv.py`), so that the elements which one
        tap finds for adjacent positions of a row are adjacent: a list of short runs, the same for
        every channel and tap, says where they come from and where they go.
tile    `rows` output channels by up to `vectors` vectors of positions stay in registers while the
        inner dimension passes by; weights are read in place, one scalar for a row and step.

A part of the work is some units, or, when there are few of those, some output channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emu.cpu.tensor.conv_tail import Line, Tail
from emu.cpu.tensor.conv_words import Activation
from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import I64, Block, Emitter, Value, target
from emu.cpu.tensor.vectors import compute, narrow, widen

BLOCK = Block(
    "x w y bias alpha beta images groups channels channel_block outputs positions unit_vectors"
    " x_n x_g x_c w_g w_o y_n y_g y_o bias_o"
    " out_h out_w row_d row_h taps:3 gap:3 step:3 phase:3 line:3"
    " table runs panels tails tail tail_pitch private"
)
"""Strides are in bytes. `taps`, `gap` (dilation) and `step` (stride) are by dimension; tap t of a
dimension finds its elements at (t gap mod step) `phase` + (t gap div step) `line`. `table`, `runs`,
`panels` and `tails` are scratch memory, `private` bytes apart for each part."""
RUN = 24
"""Bytes of an entry of the list of runs."""
_RUNS = 4
"""Runs that are copied together."""
_AHEAD = 16
"""Steps of a panel that are prefetched before they are used."""


@dataclass(frozen=True)
class Tile:
    """What stays in registers: rows of the product by vectors of positions."""

    rows: int
    vectors: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Vectors that the pieces of a panel may have, the panel's own first."""
        return self.vectors, -(-self.vectors // 2), 1


def tile_for(outputs: int) -> Tile:
    """The tile for so many output channels: no rows wasted, few registers left over."""
    many = target()[1] >= 32
    for rows, few, plenty in ((1, 4, 8), (2, 4, 8), (4, 2, 6)):
        if outputs <= rows:
            return Tile(rows, plenty if many else few)
    return Tile(8, 3) if many else Tile(4, 3)


class Product(Tail):
    """Writes the kernel. `taps` says whether there is more to a column than one element of each
    channel; `act` is what is done to a result before it is stored."""

    def __init__(
        self, e: Emitter, dtype: DType, tile: Tile, taps: bool, act: Activation | None
    ) -> None:
        super().__init__(e, dtype, act)
        self.tile, self.taps = tile, taps
        self.pitch = tile.vectors * self.lanes * self.size
        """Bytes from one step of a panel to the next."""

    # the walk

    def write(self) -> None:
        """Units, blocks of input channels, then tiles."""
        e, b = self.e, self.b
        private = self.times(e.part, e.word("private"))
        self.table, self.runs, self.panels, self.tails = (
            e.offset(e.pointer(name), private) for name in ("table", "runs", "panels", "tails")
        )
        self.depth = b.mul(b.mul(e.word("taps", 0), e.word("taps", 1)), e.word("taps", 2))
        self.unit = self.times(e.word("unit_vectors"), self.lanes)
        self.panel = self.times(b.mul(e.word("channel_block"), self.depth), self.pitch)
        if self.taps:
            self.tabulate()
        self.walk(self.up(b.add(e.word("positions"), e.word("tail")), self.unit))

    def walk(self, blocks: Value) -> None:
        """Units: `blocks` of every image and group."""
        e, b = self.e, self.b
        products = b.mul(e.word("images"), e.word("groups"))
        blocks_of_rows = self.up(e.word("outputs"), self.tile.rows)
        units, mine = self.shares(b.mul(products, blocks), blocks_of_rows)
        first, end = (self.times(m, self.tile.rows) for m in mine)
        self.rows = first, self.least(end, e.word("outputs"))
        with e.loop(*units) as u:
            product, block = self.divided(u.index, blocks)
            image, group = self.divided(product, e.word("groups"))
            is_last = b.icmp_signed("==", b.add(block, self.const(1)), blocks)
            self.one_unit(image, group, block, is_last)

    def operands(self, image: Value, group: Value) -> tuple[Value, Value, Value]:
        """Where image, weights and result of a group begin."""
        return (
            self.moved("x", (image, "x_n"), (group, "x_g")),
            self.moved("w", (group, "w_g")),
            self.moved("y", (image, "y_n"), (group, "y_g")),
        )

    def one_unit(self, image: Value, group: Value, block: Value, is_last: Value) -> None:
        """All rows of a unit; the tail belongs to the last one."""
        e, b = self.e, self.b
        start = self.times(block, self.unit)
        count = self.least(self.unit, b.sub(e.word("positions"), start))
        x, w, y = self.operands(image, group)
        y = e.offset(y, self.times(start, self.dtype.size))
        output = self.times(group, e.word("outputs"))
        runs = self.list_runs(start, count)
        channels = e.word("channels")
        with e.loop(0, channels, e.word("channel_block")) as c:
            some = self.least(e.word("channel_block"), b.sub(channels, c.index))
            columns = e.offset(x, self.times(c.index, e.word("x_c")))
            self.pack(columns, some, runs)
            with b.if_then(is_last):
                self.pack_tail(columns, some, self.source, self.table if self.taps else None)
            weights = e.offset(w, self.times(self.times(c.index, self.depth), self.size))
            behind = b.add(c.index, some)
            ends = (
                b.icmp_signed("==", c.index, self.const(0)),
                b.icmp_signed("==", behind, channels),
            )
            with e.loop(self.rows[0], self.rows[1], self.tile.rows) as row:
                lines = self.lines(weights, y, output, row.index)
                steps = self.times(some, self.depth)
                self.tiles(lines, count, steps, ends)
                with b.if_then(is_last):
                    self.add_tail(lines, self.times(count, self.dtype.size), steps, ends)

    def lines(self, w: Value, y: Value, output: Value, row: Value) -> list[Line]:
        """Of each row of a tile where its weights and results are, and its bias; `output` is the
        group's first channel. Rows that the product lacks repeat its last one: they compute and
        store the same once more."""
        e, b = self.e, self.b
        last = b.sub(e.word("outputs"), self.const(1))
        indices = [self.least(b.add(row, self.const(r)), last) for r in range(self.tile.rows)]
        return [
            (
                e.offset(w, self.times(i, e.word("w_o"))),
                e.offset(y, self.times(i, e.word("y_o"))),
                self.bias(b.add(output, i)),
            )
            for i in indices
        ]

    # packing

    def tabulate(self) -> None:
        """The table of where, from its first tap, each tap of a channel finds its elements."""
        e, b = self.e, self.b
        with (
            e.loop(0, e.word("taps", 0)) as d,
            e.loop(0, e.word("taps", 1)) as h,
            e.loop(0, e.word("taps", 2)) as w,
        ):
            total, number = self.const(0), self.const(0)
            for k, tap in enumerate((d, h, w)):
                reach = b.mul(tap.index, e.word("gap", k))
                lines = b.sdiv(reach, e.word("step", k))
                phase = b.sub(reach, b.mul(lines, e.word("step", k)))
                total = b.add(total, b.mul(phase, e.word("phase", k)))
                total = b.add(total, b.mul(lines, e.word("line", k)))
                number = b.add(b.mul(number, e.word("taps", k)), tap.index)
            e.store(total, e.offset(self.table, self.times(number, 8)))

    def list_runs(self, start: Value, count: Value) -> Value:
        """List the runs of positions of a unit that are adjacent in the source and within a panel,
        at most a vector long: where from, where to, how many positions. How many runs."""
        e, b = self.e, self.b
        head, body, after = (e.function.append_basic_block(n) for n in ("runs", "run", "listed"))
        before = b.block
        b.branch(head)
        b.position_at_end(head)
        at, number = b.phi(I64), b.phi(I64)
        b.cbranch(b.icmp_signed("<", at, count), body, after)
        b.position_at_end(body)
        width = self.const(self.tile.vectors * self.lanes)
        panel, within = self.divided(at, width)
        position = b.add(start, at)
        room = self.least(self.const(self.lanes), b.sub(width, within))
        room = self.least(room, b.sub(count, at))
        if self.taps:
            _, column = self.divided(position, e.word("out_w"))
            room = self.least(room, b.sub(e.word("out_w"), column))
        entry = e.offset(self.runs, self.times(number, RUN))
        goal = b.add(b.mul(panel, self.panel), self.times(within, self.size))
        for k, value in enumerate((self.source(position), goal, room)):
            e.store(value, e.offset(entry, 8 * k))
        following = b.add(at, room), b.add(number, self.const(1))
        b.branch(head)
        for phi, later in zip((at, number), following, strict=True):
            phi.add_incoming(self.const(0), before)
            phi.add_incoming(later, b.block)
        b.position_at_end(after)
        return number

    def source(self, position: Value) -> Value:
        """Bytes from the start of a channel to what the first tap of a position finds."""
        e, b = self.e, self.b
        if not self.taps:
            return self.times(position, self.size)
        line, column = self.divided(position, e.word("out_w"))
        deep, high = self.divided(line, e.word("out_h"))
        place = b.add(b.mul(deep, e.word("row_d")), b.mul(high, e.word("row_h")))
        return b.add(place, self.times(column, self.size))

    def pack(self, x: Value, channels: Value, number: Value) -> None:
        """Copy the columns of some input channels to panels, some runs at a time."""
        b = self.b
        whole = b.and_(number, self.const(-_RUNS))
        for first, end, count in ((self.const(0), whole, _RUNS), (whole, number, 1)):
            with self.e.loop(first, end, count) as run:
                self.copy(x, channels, self.e.offset(self.runs, self.times(run.index, RUN)), count)

    def copy(self, x: Value, channels: Value, entries: Value, count: int) -> None:
        """`count` runs of all channels and taps."""
        e, b = self.e, self.b
        words = [
            b.load(e.offset(entries, RUN * k + at), typ=I64, align=8)
            for k in range(count)
            for at in (0, 8, 16)
        ]
        masks = [e.mask_below(room, self.lanes) for room in words[2::3]]
        with e.loop(0, channels) as c:
            channel = e.offset(x, self.times(c.index, e.word("x_c")))
            first = self.times(c.index, self.depth)
            with e.loop(0, self.depth) as t:
                source = channel
                if self.taps:
                    shift = b.load(e.offset(self.table, self.times(t.index, 8)), typ=I64, align=8)
                    source = e.offset(channel, shift)
                to = e.offset(self.panels, self.times(b.add(first, t.index), self.pitch))
                values = [
                    e.load(e.offset(source, here), self.type, mask)
                    for here, mask in zip(words[::3], masks, strict=True)
                ]
                for value, there, mask in zip(values, words[1::3], masks, strict=True):
                    e.store(value, e.offset(to, there), mask)

    # tiles

    def tiles(
        self,
        lines: Sequence[Line],
        count: Value,
        steps: Value,
        ends: tuple[Value, Value],
    ) -> None:
        """All positions of a unit for the rows `lines`, in pieces as wide as they can be."""
        e, b = self.e, self.b
        width = self.const(self.tile.vectors)
        vectors = self.up(count, self.lanes)
        with e.loop(0, vectors, width) as panel:
            number = b.sdiv(panel.index, width)
            source = e.offset(self.panels, b.mul(number, self.panel))
            here = self.least(width, b.sub(vectors, panel.index))
            done = self.const(0)
            for piece in self.tile.widths:
                end = b.add(
                    done, b.mul(b.sdiv(b.sub(here, done), self.const(piece)), self.const(piece))
                )
                with e.loop(done, end, piece) as at:
                    first = b.add(panel.index, at.index)
                    columns = e.offset(source, self.times(at.index, self.lanes * self.size))
                    free = b.sub(count, self.times(first, self.lanes))
                    place = self.times(first, self.lanes * self.dtype.size)
                    self.one_tile(lines, columns, place, free, piece, steps, ends)
                done = end

    def one_tile(
        self,
        lines: Sequence[Line],
        columns: Value,
        place: Value,
        free: Value,
        piece: int,
        steps: Value,
        ends: tuple[Value, Value],
    ) -> None:
        """`piece` vectors of positions of every row, from the first step to the last of a block of
        input channels; what was summed so far is in the destination."""
        e, b = self.e, self.b
        masks: list[Value | None] = [
            e.mask_below(b.sub(free, self.const(v * self.lanes)), self.lanes) for v in range(piece)
        ]
        spots = [
            (e.offset(e.offset(y, place), v * self.lanes * self.dtype.size), masks[v])
            for _, y, _ in lines
            for v in range(piece)
        ]
        fresh = [e.splat(bias, self.lanes) for _, _, bias in lines for _ in range(piece)]
        with e.branch(b.not_(ends[0]), fresh) as more:
            more.next(*(widen(e, e.load(p, self.stored, m), self.dtype) for p, m in spots))
        results = self.sums(lines, columns, piece, steps, more.values)
        if self.act is not None:
            with e.branch(ends[1], results) as last:
                last.next(*(self.act(e, value) for value in results))
            results = last.values
        for value, (spot, mask) in zip(results, spots, strict=True):
            e.store(narrow(e, value, self.dtype), spot, mask)

    def sums(
        self, lines: Sequence[Line], columns: Value, piece: int, steps: Value, first: list[Value]
    ) -> list[Value]:
        """The sums of a tile over some steps of its panel, added to `first`."""
        e = self.e
        with e.loop(0, steps, carry=first) as k:
            here = e.offset(columns, self.times(k.index, self.pitch))
            for v in range(piece):  # panels are in the second-level cache
                e.prefetch(e.offset(here, _AHEAD * self.pitch + v * 64))
            k.next(*self.step(lines, here, self.times(k.index, self.size), piece, k.values))
        return list(k.values)

    def step(
        self, lines: Sequence[Line], columns: Value, at: Value, piece: int, sums: list[Value]
    ) -> list[Value]:
        """One step of the inner dimension: a broadcast weight of each row, `at` bytes from its
        first, times the vectors of columns."""
        e = self.e
        values = [
            e.load(e.offset(columns, v * self.lanes * self.size), self.type) for v in range(piece)
        ]
        following: list[Value] = []
        for r, (w, _, _) in enumerate(lines):
            factor = e.splat(e.load(e.offset(w, at), compute(self.dtype)), self.lanes)
            own = sums[r * piece : (r + 1) * piece]
            following += [e.fma(factor, value, s) for value, s in zip(values, own, strict=True)]
        return following
