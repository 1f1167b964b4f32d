"""Depthwise convolution: every output channel has one input channel of its own.

There is nothing to sum over but a few taps, so memory sets the pace. A kernel is made for the taps
and steps it has: vectors lie along the last dimension, `rows` rows of results are computed at a
time, and each row of the image that any of them needs is loaded once for all. Rows above and below
the image are a row of zeros; columns beside it are masked, where a vector reaches that far.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from emu.cpu.tensor.conv_job import Job, adjacent
from emu.cpu.tensor.conv_words import Activation, Words, lanes, zero_room
from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import I64, Block, Emitter, Value, vector
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, kernel
from emu.cpu.tensor.vectors import compute, narrow, storage, widen

DEPTHWISE = Block(
    "x w y bias zeros private alpha beta images outputs multiplier"
    " in_h in_w out_h out_w pad_h pad_w x_n x_c x_h w_o y_n y_c y_h bias_o"
)
"""Strides are in bytes; `zeros` is scratch memory for a row of zeros, `private` bytes for each
part."""
_TAPS_MAX, _CONSTANT_MAX = 49, 4
"""More taps, or larger steps and gaps, are not made kernels for."""
_SHORT = 2
"""Vectors of a row of results up to which it is short."""


@dataclass(frozen=True)
class Taps:
    """What a kernel is made for: taps, steps and gaps by (row, column), rows at a time, and whether
    a row of results is one vector."""

    taps: tuple[int, int]
    step: tuple[int, int]
    gap: tuple[int, int]
    rows: int
    lanes: int
    """Of a vector that is a whole row of results; 0: rows are longer than a vector."""
    image: range | None = None
    """If all rows of results are computed at a time: the rows of the image, counted from the first
    tap of the first result. Then rows outside are known, and left out."""
    short: bool = False
    """Whether few vectors make a row of results."""

    @property
    def name(self) -> str:
        pairs = ("x".join(map(str, pair)) for pair in (self.taps, self.step, self.gap))
        rows = "" if self.image is None else f" {self.image.start}-{self.image.stop}"
        return f"{' '.join(pairs)} {self.rows} {self.lanes}{rows}{' short' * self.short}"

    def needed(self) -> dict[int, list[tuple[int, int]]]:
        """By row of the image, counted from the first tap of the first row of results: which rows
        of results need it, for which row of taps."""
        found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for tap in range(self.taps[0]):
            for row in range(self.rows):
                found[row * self.step[0] + tap * self.gap[0]].append((row, tap))
        image = self.image
        return {i: found[i] for i in sorted(found) if image is None or i in image}


def rows_for(out_h: int, taps: int, step: int) -> int:
    """Rows of results at a time: more share loads, until registers run out; no row is idle."""
    most = 8 if taps <= 9 or step == 1 else 5
    most = min(out_h, most if taps <= 25 else 4)
    blocks = -(-out_h // most)
    return -(-out_h // blocks)


def lanes_for(out_w: int, lanes: int) -> int:
    """The shortest vector, half of a register at least, that holds a row of results; 0 if none."""
    if out_w > lanes:
        return 0
    return lanes // 2 if out_w * 2 <= lanes else lanes


class Depthwise(Words):
    """Writes the kernel."""

    def __init__(self, e: Emitter, dtype: DType, taps: Taps, act: Activation | None) -> None:
        super().__init__(e, dtype, act)
        self.taps = taps
        self.lanes = taps.lanes or self.lanes
        self.stored = vector(storage(dtype), self.lanes)
        self.masks: dict[int, Value] = {}
        """Which lanes lie in the image, by how far they are from the first tap's."""

    def write(self) -> None:
        """A part is some of all images' output channels."""
        e, b = self.e, self.b
        self.zeros = self.zero_row()
        if self.taps.lanes:
            self.mask(self.const(0))
        outputs = e.word("outputs")
        first, end = self.share(b.mul(e.word("images"), outputs))
        with e.loop(first, end) as u:
            image, output = self.divided(u.index, outputs)
            channel = b.sdiv(output, e.word("multiplier"))
            x = self.moved("x", (image, "x_n"), (channel, "x_c"))
            y = self.moved("y", (image, "y_n"), (output, "y_c"))
            bias = e.splat(self.bias(output), self.lanes)
            self.plane(x, self.moved("w", (output, "w_o")), y, bias)

    def plane(self, x: Value, w: Value, y: Value, bias: Value) -> None:
        """One channel. Masks are made once where few vectors make a row."""
        e = self.e
        kind, size = compute(self.dtype), self.dtype.compute.size
        weights = [
            [
                e.splat(e.load(e.offset(w, (r * self.taps.taps[1] + c) * size), kind), self.lanes)
                for c in range(self.taps.taps[1])
            ]
            for r in range(self.taps.taps[0])
        ]
        if self.taps.lanes:
            self.blocks(
                x, y, lambda rows, to: self.columns(rows, to, weights, bias, self.const(0), True)
            )
        elif self.taps.short:
            with e.loop(0, e.word("out_w"), self.lanes) as at:
                self.mask(at.index)
                self.blocks(
                    x, y, lambda rows, to: self.columns(rows, to, weights, bias, at.index, True)
                )
        else:
            self.blocks(x, y, lambda rows, to: self.row(rows, to, weights, bias))

    def blocks(
        self, x: Value, y: Value, body: Callable[[dict[int, Value], list[Value]], None]
    ) -> None:
        """Blocks of rows; the last one may compute some rows a second time. The body is given where
        the rows of the image and those of the results are."""
        e, b = self.e, self.b
        last = b.sub(e.word("out_h"), self.const(self.taps.rows))
        with e.loop(0, e.word("out_h"), self.taps.rows) as block:
            row = self.least(block.index, last)
            top = b.sub(self.times(row, self.taps.step[0]), e.word("pad_h"))
            lines = {}
            for i in self.taps.needed():
                at = b.add(top, self.const(i))
                lines[i] = e.offset(x, self.times(at, e.word("x_h")))
                if self.taps.image is None:
                    inside = b.icmp_unsigned("<", at, e.word("in_h"))
                    lines[i] = b.select(inside, lines[i], self.zeros)
            results = [
                e.offset(y, self.times(b.add(row, self.const(r)), e.word("y_h")))
                for r in range(self.taps.rows)
            ]
            body(lines, results)

    def row(
        self,
        lines: dict[int, Value],
        results: list[Value],
        weights: list[list[Value]],
        bias: Value,
    ) -> None:
        """All columns of a block of rows."""
        e, out_w = self.e, self.e.word("out_w")
        with (
            e.loop(0, out_w, self.lanes) as column,
            self.b.if_else(self.is_inner(column.index)) as (inner, edge),
        ):
            with inner:
                self.columns(lines, results, weights, bias, column.index, False)
            with edge:
                self.mask(column.index)
                self.columns(lines, results, weights, bias, column.index, True)

    def is_inner(self, column: Value) -> Value:
        """Whether a vector of results from `column` on is whole and needs no column but the
        image's."""
        e, b, (_, step) = self.e, self.b, self.taps.step
        left = b.sub(self.times(column, step), e.word("pad_w"))
        reach = max(self.shifts()) + self.lanes
        ends = b.icmp_signed("<=", b.add(left, self.const(reach)), e.word("in_w"))
        whole = b.icmp_signed("<=", b.add(column, self.const(self.lanes)), e.word("out_w"))
        return b.and_(b.and_(b.icmp_signed(">=", left, self.const(0)), whole), ends)

    def shifts(self) -> list[int]:
        """How far from the first tap's first element vectors of the image begin: for step 2, those
        of which every second element is taken."""
        n, shifts = self.lanes, [c * self.taps.gap[1] for c in range(self.taps.taps[1])]
        if self.taps.step[1] != 2:
            return shifts
        if max(shifts) <= 2:
            return [0, n, 2 * n][: 2 + max(shifts) // 2]
        return sorted({(s & ~1) + half for s in shifts for half in (0, n)})

    def mask(self, column: Value) -> None:
        """Make the masks for results from `column` on."""
        e, b, (_, step) = self.e, self.b, self.taps.step
        left = b.sub(self.times(column, step), e.word("pad_w"))
        self.masks = {
            s: self.between(b.add(left, self.const(s)), e.word("in_w")) for s in self.shifts()
        }
        self.free = e.mask_below(b.sub(e.word("out_w"), column), self.lanes)

    def columns(
        self,
        lines: dict[int, Value],
        results: list[Value],
        weights: list[list[Value]],
        bias: Value,
        column: Value,
        masked: bool,
    ) -> None:
        """A vector of columns of every row of results, all whose taps pass by row of the image."""
        e, b = self.e, self.b
        left = b.sub(self.times(column, self.taps.step[1]), e.word("pad_w"))
        sums = [bias] * self.taps.rows
        for i, users in self.taps.needed().items():
            loaded: dict[int, Value] = {}
            for c in range(self.taps.taps[1]):
                value = self.load(lines[i], left, c * self.taps.gap[1], masked, loaded)
                for row, tap in users:
                    sums[row] = e.fma(value, weights[tap][c], sums[row])
        for place, value in zip(results, sums, strict=True):
            value = self.act(e, value) if self.act else value
            place = e.offset(place, self.times(column, self.dtype.size))
            e.store(narrow(e, value, self.dtype), place, self.free if masked else None)

    def load(
        self, line: Value, left: Value, shift: int, masked: bool, loaded: dict[int, Value]
    ) -> Value:
        """Elements `left` + `shift` of a row of the image and those a step apart from it. `loaded`
        holds the vectors of this row so far, by shift."""
        e, b, step = self.e, self.b, self.taps.step[1]

        def adjacent(shift: int) -> Value:
            if shift not in loaded:
                place = e.offset(line, self.times(b.add(left, self.const(shift)), self.dtype.size))
                mask = self.masks[shift] if masked else None
                loaded[shift] = e.load(place, self.stored, mask)
            return loaded[shift]

        if step == 1:
            value = adjacent(shift)
        elif step == 2:
            n, even, parity = self.lanes, shift & ~1, shift & 1
            third = even == 2 and even not in self.shifts()
            even = 0 if third else even
            pick = range(parity, 2 * n, 2)
            value = self.shuffled(adjacent(even), adjacent(even + n), pick)
            if third:  # the last lane comes from a third vector
                value = self.shuffled(value, adjacent(2 * n), range(1, n + 1))
        else:
            start = b.add(left, self.const(shift))
            steps = b.mul(e.iota(I64, self.lanes), e.const(vector(I64, self.lanes), step))
            places = b.add(e.splat(start, self.lanes), steps)
            inside = b.icmp_unsigned("<", places, e.splat(e.word("in_w"), self.lanes))
            offsets = b.mul(places, e.const(places.type, self.dtype.size))
            value = e.gather(line, offsets, storage(self.dtype), inside)
        return widen(e, value, self.dtype)


def is_depthwise(job: Job) -> bool:
    """Whether each output channel has one input channel, and a plane of it is worth unrolling."""
    deep, high, wide = job.windows
    if job.groups != job.x.dims[1] or (deep.size, deep.out, deep.taps, deep.pad) != (1, 1, 1, 0):
        return False
    constants = (high.step, wide.step, high.gap, wide.gap)
    if (wide.taps - 1) * wide.gap >= lanes(job.y.dtype):
        return False
    return high.taps * wide.taps <= _TAPS_MAX and max(constants) <= _CONSTANT_MAX


def depthwise(job: Job) -> None:
    """The convolution channel by channel."""
    (_, high, wide), x, y = job.windows, job.x, job.y
    weights = adjacent(job.w, 1, y.dtype.compute)
    if x.strides[4] != x.dtype.size and wide.size > 1:
        x = adjacent(x, 2, x.dtype)
    rows, lane = (
        rows_for(high.out, high.taps * wide.taps, high.step),
        lanes_for(wide.out, lanes(y.dtype)),
    )
    whole = lane > 0 and rows == high.out and high.pad <= high.taps * high.gap
    taps = Taps(
        (high.taps, wide.taps), (high.step, wide.step), (high.gap, wide.gap), rows, lane,
        range(high.pad, high.pad + high.size) if whole else None,
        not lane and wide.out <= _SHORT * lanes(y.dtype),
    )  # fmt: skip
    private = zero_room(wide.size * y.dtype.size)
    run = kernel(
        f"tconv depthwise {y.dtype.name} {taps.name} {job.name}",
        DEPTHWISE,
        lambda e: Depthwise(e, y.dtype, taps, job.activation()).write(),
        parallel=True,
    )
    run(
        x=x.address, w=weights.address,
        zeros=SCRATCH.take(private * THREADS_MAX), private=private,
        images=x.dims[0], outputs=y.dims[1], multiplier=y.dims[1] // job.groups,
        in_h=high.size, in_w=wide.size, out_h=high.out, out_w=wide.out,
        pad_h=high.pad, pad_w=wide.pad,
        x_n=x.strides[0], x_c=x.strides[1], x_h=x.strides[3], w_o=weights.strides[0],
        y_n=y.strides[0], y_c=y.strides[1], y_h=y.strides[3], **job.words(),
    )  # fmt: skip
