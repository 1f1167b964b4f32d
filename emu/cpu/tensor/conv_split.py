"""The padded image, split by stride: what convolutions read that cannot read the image itself.

Along each dimension, element q * step + r of the padded image is element q of *phase* r. So what
one tap finds for adjacent positions is adjacent, whatever the step. Padding is zeros in the copy,
and elements are widened to the type of arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.cpu.tensor.conv_job import Window, scratch
from emu.cpu.tensor.conv_words import Words
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.emit import I64, Block, Emitter, Value
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.vectors import storage, widen

SPLIT = Block(
    "x to images channels x_n x_c x_d x_h x_w to_c to_phase:3 to_line:3"
    " phases:3 lines:3 size:3 step:3 pad:3"
)
"""Strides are in bytes; the copy's channels of all images are `to_c` apart."""


class Split(Words):
    """Writes the kernel. `step` is that along the last dimension if its elements are loaded as
    vectors (1 or 2), 0 if they are gathered."""

    def __init__(self, e: Emitter, dtype: DType, step: int) -> None:
        super().__init__(e, dtype)
        self.step = step

    def write(self) -> None:
        """A part is some channels of all images."""
        e, b = self.e, self.b
        first, end = self.share(b.mul(e.word("images"), e.word("channels")))
        with e.loop(first, end) as u:
            image, channel = self.divided(u.index, e.word("channels"))
            x = self.moved("x", (image, "x_n"), (channel, "x_c"))
            self.channel(x, self.moved("to", (u.index, "to_c")))

    def channel(self, x: Value, to: Value) -> None:
        """All lines of one channel."""
        e, b = self.e, self.b
        with (
            e.loop(0, e.word("phases", 0)) as deep,
            e.loop(0, e.word("phases", 1)) as high,
            e.loop(0, e.word("lines", 0)) as d,
            e.loop(0, e.word("lines", 1)) as h,
        ):
            inside = []
            for k, (phase, line) in enumerate(((deep, d), (high, h))):
                at = b.add(self.times(line.index, e.word("step", k)), phase.index)
                at = b.sub(at, e.word("pad", k))
                inside.append(b.icmp_unsigned("<", at, e.word("size", k)))
                x = e.offset(x, self.times(at, e.word(("x_d", "x_h")[k])))
                to = e.offset(to, self.times(phase.index, e.word("to_phase", k)))
                to = e.offset(to, self.times(line.index, e.word("to_line", k)))
            self.line(x, b.and_(*inside), to)

    def line(self, x: Value, inside: Value, to: Value) -> None:
        """All phases of one line; zeros if it is not `inside` the image."""
        e, b = self.e, self.b
        size = b.select(inside, e.word("size", 2), self.const(0))
        with e.loop(0, e.word("lines", 2), self.lanes) as q:
            mask = e.mask_below(b.sub(e.word("lines", 2), q.index), self.lanes)
            goal = e.offset(to, self.times(q.index, self.size))
            if self.step:
                self.adjacent(x, size, q.index, goal, mask)
            else:
                self.gathered(x, size, q.index, goal, mask)

    def adjacent(self, x: Value, size: Value, q: Value, goal: Value, mask: Value) -> None:
        """A vector of every phase, from vectors of the line."""
        e, b = self.e, self.b
        at = b.sub(self.times(q, self.step), e.word("pad", 2))
        pieces = []
        for k in range(self.step):
            here = b.add(at, self.const(k * self.lanes))
            place = e.offset(x, self.times(here, self.dtype.size))
            pieces.append(e.load(place, self.stored, self.between(here, size)))
        for phase in range(self.step):
            value = pieces[0]
            if self.step == 2:
                value = self.shuffled(pieces[0], pieces[1], range(phase, 2 * self.lanes, 2))
            there = e.offset(goal, self.times(e.word("to_phase", 2), phase))
            e.store(widen(e, value, self.dtype), there, mask)

    def gathered(self, x: Value, size: Value, q: Value, goal: Value, mask: Value) -> None:
        """A vector of every phase, element by element."""
        e, b = self.e, self.b
        with e.loop(0, e.word("phases", 2)) as phase:
            numbers = b.add(e.splat(q, self.lanes), e.iota(I64, self.lanes))
            at = b.mul(numbers, e.splat(e.word("step", 2), self.lanes))
            shift = b.sub(phase.index, e.word("pad", 2))
            at = b.add(at, e.splat(shift, self.lanes))
            there = b.icmp_unsigned("<", at, e.splat(size, self.lanes))
            offsets = b.mul(at, e.splat(e.word("x_w"), self.lanes))
            value = e.gather(x, offsets, storage(self.dtype), there)
            to = e.offset(goal, self.times(phase.index, e.word("to_phase", 2)))
            e.store(widen(e, value, self.dtype), to, mask)


def split(x: View, windows: Sequence[Window], dtype: DType) -> View:
    """The padded image, split by stride: (n, c, three phases, three lines), as `dtype`."""
    phases, lines = [w.phases for w in windows], [w.line for w in windows]
    whole = scratch((*x.dims[:2], *phases, *lines), dtype)
    step = windows[-1].phases if x.strides[-1] == x.dtype.size else 0
    step = step if step <= 2 and windows[-1].step == step else 0
    kernel(
        f"tconv split {x.dtype.name} {step}",
        SPLIT,
        lambda e: Split(e, x.dtype, step).write(),
        parallel=True,
    )(
        x=x.address, to=whole.address, images=x.dims[0], channels=x.dims[1],
        x_n=x.strides[0], x_c=x.strides[1], x_d=x.strides[2], x_h=x.strides[3], x_w=x.strides[4],
        to_c=whole.strides[1], to_phase=whole.strides[2:5], to_line=whole.strides[5:8],
        phases=phases, lines=lines, size=[w.size for w in windows], step=[w.step for w in windows],
        pad=[w.pad for w in windows],
    )  # fmt: skip
    return whole
