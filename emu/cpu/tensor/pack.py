"""Packing: lines of an operand copied side by side, as a register tile reads them.

A *panel* holds `width` lines (rows of a left operand, columns of a right one), in the type of sums:
element `step` of line `i` is number step * width + i. `pack` writes one panel from lines that lie
in one of three ways:

v   lines are next to each other, so that a step of all of them is adjacent: copied by vectors
t   a line's steps are adjacent: squares of them are transposed in registers
g   neither: element by element
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import I64, Emitter, Value, lanes_of, vector
from emu.cpu.tensor.epilogue import lanes, sum_size, to_sum
from emu.cpu.tensor.tile import Matrix, prefetch, scaled
from emu.cpu.tensor.vectors import storage

_AHEAD = 8
"""Steps to prefetch: an operand's rows are far apart, each a page of its own perhaps."""
_FURTHER = 512
"""Bytes to prefetch of a line whose steps are adjacent."""
_SQUARE = 16
"""Lines transposed together at most."""


def slack(dtype: DType, width: int) -> int:
    """Bytes behind the last panel that packing panels of at most `width` lines may overwrite."""
    return _SQUARE * (width + 1) * sum_size(dtype)


def layout(dtype: DType, line: int, step: int) -> str:
    """How lines lie whose strides (in bytes), from one to the next and along them, are these."""
    if line == dtype.size:
        return "v"
    return "t" if step == dtype.size else "g"


@dataclass(frozen=True)
class Lines:
    """Lines to pack: element `s` of line `i` is at source(i, s); `valid` lines exist."""

    source: Matrix
    valid: Value
    steps: Value


def pack(e: Emitter, dtype: DType, how: str, lines: Lines, to: Value, width: Value | int) -> None:
    """One panel of `width` lines at `to`. Lines from `valid` (at least 1) on have any content.

    May overwrite `slack` bytes behind the panel: panels are packed in ascending order.
    """
    width = e.const(I64, width) if isinstance(width, int) else width
    {"v": _copied, "t": _transposed, "g": _gathered}[how](e, dtype, lines, to, width)


def _smaller(e: Emitter, x: Value, y: Value | int) -> Value:
    return e.intrinsic("llvm.smin", I64, x, e.const(I64, y) if isinstance(y, int) else y)


def _copied(e: Emitter, dtype: DType, lines: Lines, to: Value, width: Value) -> None:
    b, count, size = e.b, lanes(dtype), sum_size(dtype)
    end = _smaller(e, width, lines.valid)
    whole = b.and_(end, e.const(I64, -count))
    rest = b.sub(end, whole)
    some, mask = b.icmp_signed(">", rest, e.const(I64, 0)), e.mask_below(rest, count)
    with e.loop(0, lines.steps, carry=[lines.source.at, to]) as step:
        here, there = step.values

        def copy(first: Value, mask: Value | None) -> None:
            from_ = e.offset(here, scaled(e, first, dtype.size))
            prefetch(e, e.offset(from_, scaled(e, _AHEAD, lines.source.column)))
            value = to_sum(e, e.load(from_, vector(storage(dtype), count), mask), dtype)
            e.store(value, e.offset(there, scaled(e, first, size)), mask)

        with e.loop(0, whole, count) as first:
            copy(first.index, None)
        with b.if_then(some):
            copy(whole, mask)
        step.next(e.offset(here, lines.source.column), e.offset(there, scaled(e, width, size)))


def _gathered(e: Emitter, dtype: DType, lines: Lines, to: Value, width: Value) -> None:
    size = sum_size(dtype)
    with e.loop(0, lines.steps) as step:
        row = e.offset(to, scaled(e, e.b.mul(step.index, width), size))
        with e.loop(0, _smaller(e, width, lines.valid)) as line:
            value = e.load(lines.source.moved(e, line.index, step.index).at, storage(dtype))
            e.store(to_sum(e, value, dtype), e.offset(row, scaled(e, line.index, size)))


def _transposed(e: Emitter, dtype: DType, lines: Lines, to: Value, width: Value) -> None:
    """Squares of lines by steps. A square's columns are stored whole: where they reach into the
    next step they are overwritten by what belongs there, as groups of lines go downwards."""
    b, count, size = e.b, min(lanes(dtype), _SQUARE), sum_size(dtype)
    last = b.sub(lines.valid, e.const(I64, 1))
    groups = b.sdiv(b.add(width, e.const(I64, count - 1)), e.const(I64, count))
    with e.loop(0, groups) as up:
        number = b.sub(b.sub(groups, e.const(I64, 1)), up.index)
        first = b.mul(number, e.const(I64, count))
        places = [
            lines.source.moved(e, _smaller(e, b.add(first, e.const(I64, i)), last), 0).at
            for i in range(count)
        ]
        target = e.offset(to, scaled(e, first, size))
        whole = b.and_(lines.steps, e.const(I64, -count))

        with e.loop(0, whole, count) as step:
            _square(e, dtype, places, target, width, step.index, None)
        rest = b.sub(lines.steps, whole)
        with e.b.if_then(b.icmp_signed(">", rest, e.const(I64, 0))):
            _square(e, dtype, places, target, width, whole, e.mask_below(rest, count))


def _square(
    e: Emitter, dtype: DType, places: list[Value], to: Value, width: Value, step: Value,
    mask: Value | None,
) -> None:  # fmt: skip
    """The lines at `places`, from `step` on, transposed to the panel's columns at `to`."""
    count, size = len(places), sum_size(dtype)
    here = [e.offset(p, scaled(e, step, dtype.size)) for p in places]
    for place in here:
        prefetch(e, e.offset(place, _FURTHER))
    rows = [to_sum(e, e.load(p, vector(storage(dtype), count), mask), dtype) for p in here]
    out = e.offset(to, scaled(e, e.b.mul(step, width), size))
    for column in transposed(e, rows):
        e.store(column, out)
        out = e.offset(out, scaled(e, width, size))


def transposed(e: Emitter, rows: list[Value]) -> list[Value]:
    """The columns of a square of vectors, by exchanging ever larger blocks."""
    count = lanes_of(rows[0].type)
    distance = 1
    while distance < count:
        low = [lane - distance + count if lane & distance else lane for lane in range(count)]
        high = [lane + count if lane & distance else lane + distance for lane in range(count)]
        rows = list(rows)
        for i in range(count):
            if not i & distance:
                pair = rows[i], rows[i + distance]
                rows[i], rows[i + distance] = (e.shuffle(*pair, p) for p in (low, high))
        distance *= 2
    return rows
