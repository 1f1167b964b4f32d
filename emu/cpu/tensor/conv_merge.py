"""Phases put together: the opposite of splitting by stride (`conv_split.py`).

Element q of phase r becomes element q * step + r of the result, along each spatial dimension.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.cpu.tensor.conv_words import Words
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.emit import Block, Emitter, Value
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.vectors import storage

MERGE = Block(
    "y z bias bias_o images channels y_n y_c y_d y_h z_c z_phase:3 z_line:3 step:3 extents:3"
)
"""Strides are in bytes; the channels of all images are `z_c` apart in the phases. Elements of the
last dimension are adjacent in both."""


class Merge(Words):
    """Writes the kernel. `step` is that along the last dimension if it is 1 or 2, and else 0."""

    def __init__(self, e: Emitter, dtype: DType, step: int) -> None:
        super().__init__(e, dtype)
        self.step = step

    def write(self) -> None:
        """A part is some channels of all images."""
        e, b = self.e, self.b
        first, end = self.share(b.mul(e.word("images"), e.word("channels")))
        with e.loop(first, end) as u:
            image, channel = self.divided(u.index, e.word("channels"))
            y = self.moved("y", (image, "y_n"), (channel, "y_c"))
            z = self.moved("z", (u.index, "z_c"))
            with e.loop(0, e.word("extents", 0)) as d, e.loop(0, e.word("extents", 1)) as h:
                line, row = z, y
                for k, (at, stride) in enumerate(((d.index, "y_d"), (h.index, "y_h"))):
                    q, phase = self.divided(at, e.word("step", k))
                    line = e.offset(line, self.times(phase, e.word("z_phase", k)))
                    line = e.offset(line, self.times(q, e.word("z_line", k)))
                    row = e.offset(row, self.times(at, e.word(stride)))
                if self.step:
                    self.vectors(line, row)
                else:
                    self.elements(line, row)

    def vectors(self, line: Value, row: Value) -> None:
        """A row of results, from one phase as it is or from two in turn."""
        e, b, n = self.e, self.b, self.lanes
        size = self.dtype.size
        with e.loop(0, e.word("extents", 2), n * self.step) as w:
            place = self.times(b.sdiv(w.index, self.const(self.step)), size)
            left = b.sub(e.word("extents", 2), w.index)
            parts = []
            for phase in range(self.step):
                more = b.sub(left, self.const(phase))
                mask = e.mask_below(self.up(more, self.step), n)
                there = e.offset(line, self.times(e.word("z_phase", 2), phase))
                parts.append(e.load(e.offset(there, place), self.stored, mask))
            if self.step == 2:
                low = [k // 2 + (k & 1) * n for k in range(n)]
                high = [k + n // 2 for k in low]
                parts = [self.shuffled(parts[0], parts[1], p) for p in (low, high)]
            for k, value in enumerate(parts):
                mask = e.mask_below(b.sub(left, self.const(k * n)), n)
                to = e.offset(row, self.times(w.index, size))
                e.store(value, e.offset(to, k * n * size), mask)

    def elements(self, line: Value, row: Value) -> None:
        """A row of results, element by element."""
        e, step = self.e, self.e.word("step", 2)
        with e.loop(0, step) as phase:
            source = e.offset(line, self.times(phase.index, e.word("z_phase", 2)))
            with e.loop(phase.index, e.word("extents", 2), step) as w:
                q = self.b.sdiv(w.index, step)
                value = e.load(e.offset(source, self.times(q, self.dtype.size)),
                               storage(self.dtype))  # fmt: skip
                e.store(value, e.offset(row, self.times(w.index, self.dtype.size)))


def merge(y: View, z: View, step: Sequence[int]) -> None:
    """y (n, c, three spatial) = phases z (n, c, three phases, three lines)."""
    own = step[2] if step[2] <= 2 else 0
    run = kernel(
        f"tconv merge {y.dtype.name} {own}",
        MERGE,
        lambda e: Merge(e, y.dtype, own).write(),
        parallel=True,
    )
    run(
        y=y.address, z=z.address, images=y.dims[0], channels=y.dims[1],
        y_n=y.strides[0], y_c=y.strides[1], y_d=y.strides[2], y_h=y.strides[3],
        z_c=z.strides[1], z_phase=z.strides[2:5], z_line=z.strides[5:8],
        step=step, extents=y.dims[2:],
    )  # fmt: skip
