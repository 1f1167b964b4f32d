"""Resizing to the nearest by whole numbers: every element and every row repeated, as often as each.

No tables: a row of the source is read once, by vectors, spread by shuffles and written to as many
rows of the result. This is the upsampling of feature pyramids. `Spread` alone is for rows whose
elements are repeated where rows are not, or not alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llvmlite import ir

from emu.cpu.tensor.descriptor import View
from emu.cpu.tensor.elementwise import RAW
from emu.cpu.tensor.emit import I32, I64, Block, Emitter, Value, target, vector
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.rows import layout, rows, shares, words
from emu.cpu.tensor.taps import Stretch
from emu.cpu.tensor.vectors import storage

_BLOCK = Block(f"{words(2)} times below")
FACTORS = (1, 2, 4)
"""How often elements of a row can be repeated by shuffles."""


def run_repeat(
    destination: View, source: View, stretches: Sequence[Stretch], rounding: str
) -> bool:
    """Record the step if this is how the destination follows from the source, and say so."""
    rank, size = source.rank, source.dtype.size
    moving = {s.dim: s for s in stretches if not s.idle}
    if rank < 2 or not moving or min(moving) < rank - 2 or any(s.crops for s in moving.values()):
        return False
    down, wide = (factor_of(moving.get(d), rounding) for d in (rank - 2, rank - 1))
    adjacent = source.strides[-1] == size and destination.strides[-1] == size
    if not down or wide not in FACTORS or not adjacent:
        return False
    *outer, row, element = destination.strides
    spread = View(
        destination.address, destination.dtype, source.dims, (*outer, row * down, element * wide)
    )
    parameters = layout([spread, source])
    if (parameters["i0"], parameters["i1"]) != (element * wide, size):
        return False  # another dimension is the fastest
    raw = RAW[size]
    run = kernel(
        f"nearest repeat {raw.name} {wide}", _BLOCK, lambda e: _write(e, storage(raw), wide),
        parallel=True,
    )  # fmt: skip
    run(**parameters, times=down, below=row)
    return True


def factor_of(line: Stretch | None, rounding: str) -> int:
    """How often each element is repeated; 0 if not each as often as the others."""
    if line is None:
        return 1
    factor = line.extent // line.source
    if factor == 0 or line.extent != factor * line.source:
        return 0

    def place(index: int) -> int:
        return min(max(_rounded(line.at(index), rounding), 0), line.source - 1)

    return factor if all(place(i) == i // factor for i in range(line.extent)) else 0


def _rounded(x: float, rounding: str) -> int:
    floor = math.floor(x)
    rest = x - floor
    match rounding:
        case "floor":
            return floor
        case "ceil":
            return floor + (rest > 0)
        case "round_prefer_ceil":
            return floor + (rest >= 0.5)
    return floor + (rest > 0.5)


class Spread:
    """Spreads rows of adjacent elements, each `wide` times. Made before the loop over rows, since
    the masks of the last vectors are the same in all."""

    def __init__(self, e: Emitter, raw: ir.Type, wide: int, begin: Value, count: Value) -> None:
        """`count` elements of the source from `begin` on."""
        b, self.e, self.wide, self.begin = e.b, e, wide, begin
        self.size = int(raw.width) // 8
        self.lanes = lanes = target()[0] // self.size
        self.type = vector(raw, lanes)
        self.whole = b.add(begin, b.and_(count, e.const(I64, -lanes)))
        self.rest = b.sub(b.add(begin, count), self.whole)
        self.have, left = e.mask_below(self.rest, lanes), b.mul(self.rest, e.const(I64, wide))
        self.masks = [
            e.mask_below(b.sub(left, e.const(I64, k * lanes)), lanes) for k in range(wide)
        ]  # fmt: skip

    def row(self, to: Value, back: Value, times: Value, below: Value) -> None:
        """The row at `back` to the row at `to` and so many in all, `below` bytes apart."""
        e, b = self.e, self.e.b
        with e.loop(self.begin, self.whole, self.lanes) as at:
            self._block(to, back, at.index, times, below, last=False)
        with b.if_then(b.icmp_signed(">", self.rest, e.const(I64, 0))):
            self._block(to, back, self.whole, times, below, last=True)

    def _block(
        self, to: Value, back: Value, at: Value, times: Value, below: Value, *, last: bool
    ) -> None:
        e, b, lanes = self.e, self.e.b, self.lanes
        undefined = ir.Constant(self.type, ir.Undefined)
        source = e.offset(back, b.mul(at, e.const(I64, self.size)))
        value = e.load(source, self.type, self.have if last else None)
        values = []
        for k in range(self.wide):
            picks = [ir.Constant(I32, (k * lanes + lane) // self.wide) for lane in range(lanes)]
            picked = ir.Constant(vector(I32, lanes), picks)
            values.append(b.shuffle_vector(value, undefined, picked))
        first = e.offset(to, b.mul(at, e.const(I64, self.size * self.wide)))
        with e.loop(0, times, carry=[first]) as row:
            place = row.values[0]
            for k, spread in enumerate(values):
                mask = self.masks[k] if last else None
                e.store(spread, e.offset(place, k * lanes * self.size), mask)
            row.next(e.offset(place, below))


def _write(e: Emitter, raw: ir.Type, wide: int) -> None:
    share, times, below = shares(e, 64), e.word("times"), e.word("below")
    spread = Spread(e, raw, wide, share.begin, e.b.sub(share.end, share.begin))
    with rows(e, 2, share) as (to, back):
        spread.row(to, back, times, below)
