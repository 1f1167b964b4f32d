"""The padded image, split by stride: what convolutions read that cannot read the image itself.

Along each dimension, element q * step + r of the padded image is element q of *phase* r. So what
one tap finds for adjacent positions is adjacent, whatever the step. Padding is zeros in the copy,
and elements are widened to the type of arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emu.cpu.tensor.conv_job import Window, scratch
from emu.cpu.tensor.conv_words import Words, lanes, zero_room
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.emit import I64, Block, Emitter, Value
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, kernel
from emu.cpu.tensor.vectors import storage, widen

SPLIT = Block(
    "x to zeros private images channels x_n x_c x_d x_h x_w to_c to_phase:3 to_line:3"
    " phases:3 lines:3 size:3 step:3 pad:3"
)
"""Strides are in bytes; the copy's channels of all images are `to_c` apart. `zeros` is scratch
memory for a row of zeros, `private` bytes for each part."""


class Split(Words):
    """Writes the kernel. `step` is that along the last dimension if its elements are loaded as
    vectors (1 or 2), 0 if they are gathered. `phases` of 2 may be 1: the second one is not used.

    If lines are `narrow`, a vector of all lines comes after the other, so that masks are made once.
    """

    def __init__(self, e: Emitter, dtype: DType, step: int, phases: int, narrow: bool) -> None:
        super().__init__(e, dtype)
        self.step, self.phases, self.narrow = step, phases, narrow

    def write(self) -> None:
        """A part is some channels of all images."""
        e, b = self.e, self.b
        self.zeros = self.zero_row()
        first, end = self.share(b.mul(e.word("images"), e.word("channels")))
        with e.loop(first, end) as u:
            image, channel = self.divided(u.index, e.word("channels"))
            x = self.moved("x", (image, "x_n"), (channel, "x_c"))
            to = self.moved("to", (u.index, "to_c"))
            with e.loop(0, e.word("phases", 0)) as d, e.loop(0, e.word("phases", 1)) as h:
                self.channel(x, to, (d.index, h.index))

    def channel(self, x: Value, to: Value, phases: tuple[Value, Value]) -> None:
        """All lines of one channel that are of these phases."""
        e, columns = self.e, self.e.word("lines", 2)
        if self.narrow:
            with e.loop(0, columns, self.lanes) as q:
                masks = self.masks(q.index)
                self.lines(
                    x, to, phases, lambda line, goal: self.vector(line, goal, q.index, masks)
                )
        else:
            self.lines(x, to, phases, self.whole)

    def whole(self, x: Value, to: Value) -> None:
        """All of one line."""
        with self.e.loop(0, self.e.word("lines", 2), self.lanes) as q:
            self.vector(x, to, q.index, None)

    def lines(
        self,
        x: Value,
        to: Value,
        phases: tuple[Value, Value],
        body: Callable[[Value, Value], None],
    ) -> None:
        """Every line: where it is in the image, the row of zeros if it is outside, and where it
        goes."""
        e, b = self.e, self.b
        (size, high), (step, down) = (
            [e.word(name, k) for k in (0, 1)] for name in ("size", "step")
        )
        row, line = e.word("x_h"), e.word("to_line", 1)
        for k, phase in enumerate(phases):
            to = e.offset(to, self.times(phase, e.word("to_phase", k)))
        top = b.sub(phases[1], e.word("pad", 1))
        with e.loop(0, e.word("lines", 0)) as d:
            at = b.add(self.times(d.index, step), b.sub(phases[0], e.word("pad", 0)))
            plane = e.offset(x, self.times(at, e.word("x_d")))
            inside = b.icmp_unsigned("<", at, size)
            start = e.offset(to, self.times(d.index, e.word("to_line", 0)))
            with e.loop(0, e.word("lines", 1), carry=[top, start]) as h:
                at, goal = h.values
                there = b.and_(inside, b.icmp_unsigned("<", at, high))
                place = e.offset(plane, b.mul(at, row))
                h.next(b.add(at, down), e.offset(goal, line))
                body(b.select(there, place, self.zeros), goal)

    def first(self, q: Value) -> Value:
        """The column of the image that is element q of phase 0."""
        return self.b.sub(self.times(q, self.e.word("step", 2)), self.e.word("pad", 2))

    def masks(self, q: Value) -> list[Value]:
        """Which elements a vector of the copy has, and which of those loaded are in the image."""
        e, b = self.e, self.b
        size, at = e.word("size", 2), self.first(q)
        own = e.mask_below(b.sub(e.word("lines", 2), q), self.lanes)
        starts = [b.add(at, self.const(k * self.lanes)) for k in range(self.step)]
        return [own, *(self.between(start, size) for start in starts)]

    def vector(self, x: Value, to: Value, q: Value, masks: list[Value] | None) -> None:
        """A vector of every phase, from element q on. Without `masks` they are made if needed."""
        e, b = self.e, self.b
        to = e.offset(to, self.times(q, self.size))
        if not self.step:
            self.gathered(x, to, q)
        elif masks is not None:
            self.adjacent(x, to, q, masks)
        else:
            at = self.first(q)
            end = b.add(at, self.const(self.step * self.lanes))
            room = b.sub(e.word("lines", 2), self.const(self.lanes))
            inner = b.and_(
                b.and_(
                    b.icmp_signed(">=", at, self.const(0)),
                    b.icmp_signed("<=", end, e.word("size", 2)),
                ),
                b.icmp_signed("<=", q, room),
            )
            with b.if_else(inner) as (whole, edge):
                with whole:
                    self.adjacent(x, to, q, [None] * (1 + self.step))
                with edge:
                    self.adjacent(x, to, q, self.masks(q))

    def adjacent(self, x: Value, to: Value, q: Value, masks: Sequence[Value | None]) -> None:
        """A vector of every phase, from vectors of the line."""
        e = self.e
        place = e.offset(x, self.times(self.first(q), self.dtype.size))
        pieces = [
            e.load(e.offset(place, k * self.lanes * self.dtype.size), self.stored, mask)
            for k, mask in enumerate(masks[1:])
        ]
        for phase in range(self.phases):
            value = pieces[0]
            if self.step == 2:
                value = self.shuffled(pieces[0], pieces[1], range(phase, 2 * self.lanes, 2))
            there = e.offset(to, self.times(e.word("to_phase", 2), phase))
            e.store(widen(e, value, self.dtype), there, masks[0])

    def gathered(self, x: Value, to: Value, q: Value) -> None:
        """A vector of every phase, element by element."""
        e, b = self.e, self.b
        mask = e.mask_below(b.sub(e.word("lines", 2), q), self.lanes)
        size = b.select(
            b.icmp_unsigned("==", x, self.zeros), self.const(0), e.word("size", 2)
        )  # the row of zeros is not as long as strides may reach
        with e.loop(0, e.word("phases", 2)) as phase:
            numbers = b.add(e.splat(q, self.lanes), e.iota(I64, self.lanes))
            at = b.mul(numbers, e.splat(e.word("step", 2), self.lanes))
            shift = b.sub(phase.index, e.word("pad", 2))
            at = b.add(at, e.splat(shift, self.lanes))
            there = b.icmp_unsigned("<", at, e.splat(size, self.lanes))
            offsets = b.mul(at, e.splat(e.word("x_w"), self.lanes))
            value = e.gather(x, offsets, storage(self.dtype), there)
            goal = e.offset(to, self.times(e.word("to_phase", 2), phase.index))
            e.store(widen(e, value, self.dtype), goal, mask)


_NARROW = 4
"""Vectors of a line up to which it is narrow."""


def split(x: View, windows: Sequence[Window], dtype: DType) -> View:
    """The padded image, split by stride: (n, c, three phases, three lines), as `dtype`."""
    phases, lines = [w.phases for w in windows], [w.line for w in windows]
    whole = scratch((*x.dims[:2], *phases, *lines), dtype)
    wide, lane = windows[-1], lanes(x.dtype)
    step = wide.step if x.strides[-1] == x.dtype.size and wide.step <= 2 else 0
    narrow = step > 0 and wide.line <= _NARROW * lane
    private = zero_room(wide.size * x.dtype.size)
    kernel(
        f"tconv split {x.dtype.name} {step}/{wide.phases if step else 0} {narrow}",
        SPLIT,
        lambda e: Split(e, x.dtype, step, wide.phases, narrow).write(),
        parallel=True,
    )(
        x=x.address, to=whole.address, images=x.dims[0], channels=x.dims[1],
        x_n=x.strides[0], x_c=x.strides[1], x_d=x.strides[2], x_h=x.strides[3], x_w=x.strides[4],
        to_c=whole.strides[1], to_phase=whole.strides[2:5], to_line=whole.strides[5:8],
        phases=phases, lines=lines, size=[w.size for w in windows], step=[w.step for w in windows],
        pad=[w.pad for w in windows], zeros=SCRATCH.take(THREADS_MAX * private), private=private,
    )  # fmt: skip
    return whole
