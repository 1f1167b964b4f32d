"""Copies by table: result[…, y, x] = data[… + rows[y] + columns[x]], for `tpad` and `tresize`.

Where a result's dimension does not simply follow the data's, a table says, for each index, how many
bytes it adds to the data's address, or that there is a constant (`OUTSIDE`). One kernel fills
the tables, in scratch memory; another walks the result with `table_rows`: the outer dimensions once
a plane, the second fastest (y) once a row. What happens in a row (x) is its writer's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from emu.cpu.tensor.descriptor import View
from emu.cpu.tensor.emit import I1, I64, Emitter, Value
from emu.cpu.tensor.kernels import Word
from emu.cpu.tensor.rows import Share

OUTSIDE = -(1 << 63)
"""The entry of an index for which there is no element."""
WORDS = (
    "p0 p1 base rank dims:8 s0:8 s1:8 tables:8 rows height to back row_table n i0 i1 column_table"
    " shift low high"
)
"""The result, the data, the tables; the outer dimensions with strides and tables (offsets from the
base, or NONE: by the stride); the number of rows; the rows of a plane, their strides and table; the
row. Its elements low..high follow the data by the stride, index 0 being at `shift` bytes."""
NONE = -1


@dataclass(frozen=True)
class Line:
    """One dimension of the result."""

    extent: int
    to: int
    """Its stride in the result."""
    back: int
    """Its stride in the data, as far as that is followed."""
    mapped: bool = False
    """Whether it has a table."""
    low: int = 0
    high: int = 0
    """A row's elements that follow the data: index `low` is the data's first."""
    unit: int = 1
    """Adjacent elements, the data's stride between which is `back`, that a mapped row moves as one;
    from one such to the next it is `step`."""
    step: int = 0
    table: int = NONE
    """Where its table is, 8 bytes for each index."""
    dim: int = 0
    """Which dimension it was, if it is mapped."""


def merged(lines: Sequence[Line], *, row: bool = True) -> tuple[list[Line], int]:
    """The lines that matter, fastest in the result first, neighbours merged where possible; each
    mapped one (the fastest only with `row`) has a place for its table, and the tables take that
    many bytes."""
    result: list[Line] = []
    for line in sorted(lines, key=lambda line: abs(line.to)):
        if line.extent == 1 and not line.mapped:
            continue
        last = result[-1] if result else None
        if last is not None and _follows(line, last, len(result) == 1):
            unit = last.extent
            result[-1] = replace(
                last, extent=unit * line.extent, low=unit * line.low, high=unit * line.high,
                mapped=line.mapped, unit=unit if line.mapped else 1, step=line.back, dim=line.dim,
            )  # fmt: skip
        else:
            result.append(replace(line, step=line.back))
    taken = 0
    for k, line in enumerate(result):
        if line.mapped and (row or k):
            result[k] = replace(line, table=taken)
            taken += 8 * line.extent
    return result or [Line(1, 1, 1, high=1)], taken


def _follows(line: Line, last: Line, in_row: bool) -> bool:
    """Whether two lines are one longer one. Behind one that is mapped nothing can follow, and only
    in a row may a mapped one follow one that is not."""
    steps = (line.to, line.back) == (last.to * last.extent, last.back * last.extent)
    return steps and not last.mapped and (in_row or not line.mapped)


def parameters(
    destination: View, source: View, base: Word, lines: Sequence[Line]
) -> dict[str, Word]:
    """The values of `WORDS` for merged lines, with their tables at `base`."""
    row, *outer = lines
    plane, *outer = outer or [Line(1, 0, 0)]
    count = plane.extent
    for line in outer:
        count *= line.extent
    return {
        "p0": destination.address, "p1": source.address, "base": base, "rank": len(outer),
        "dims": [line.extent for line in outer], "s0": [line.to for line in outer],
        "s1": [line.back for line in outer], "rows": count, "height": plane.extent,
        "to": plane.to, "back": plane.back, "n": row.extent, "i0": row.to, "i1": row.back,
        "shift": -row.low * row.back, "low": row.low, "high": row.high,
        "tables": [line.table for line in outer], "row_table": plane.table,
        "column_table": row.table,
    }  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A row of the result being written."""

    to: Value
    back: Value
    """Where its data begins, if it is `inside`."""
    inside: Value
    again: Value
    """Whether the row before it, in the same plane, came from the same data."""
    stride: Value
    """From the row before it to this one, in the result."""


def entry(e: Emitter, table: Value, index: Value) -> Value:
    """What a table says of an index."""
    place = e.offset(e.pointer("base"), e.b.add(table, e.b.shl(index, e.const(I64, 3))))
    return e.b.load(place, typ=I64, align=8)


def put(e: Emitter, line: Value, index: Value, start: Value) -> None:
    """Write the entries of the elements of one unit, for kernels that have the words `base` and, by
    mapped line, `unit`, `back` and `table`."""
    b, size = e.b, e.const(I64, 8)
    unit, back = e.word("unit", line), e.word("back", line)
    table = e.offset(e.pointer("base"), e.word("table", line))
    first = e.offset(table, b.mul(b.mul(index, unit), size))
    outside = b.icmp_signed("==", start, e.const(I64, OUTSIDE))
    with e.loop(0, unit) as at:
        place = b.select(outside, start, b.add(start, b.mul(at.index, back)))
        b.store(place, e.offset(first, b.mul(at.index, size)), align=8)


def _moved(e: Emitter, table: Value, index: Value, stride: Value) -> Value:
    """What an index adds to the data's address."""
    b = e.b
    followed = b.mul(index, stride)
    with e.branch(b.icmp_signed("!=", table, e.const(I64, NONE)), [followed]) as there:
        there.next(entry(e, table, index))
    value: Value = there.values[0]
    return value


@contextmanager
def table_rows(e: Emitter, share: Share) -> Iterator[Row]:
    """Visit the rows of a share."""
    b, height, outside = e.b, e.word("height"), e.const(I64, OUTSIDE)
    one = e.const(I64, 1)
    begin = b.sdiv(share.first, height)
    end = b.sdiv(b.add(share.stop, b.sub(height, one)), height)
    table, stride = e.word("row_table"), e.word("to")
    with e.loop(begin, end) as plane:
        carry = [plane.index, e.pointer("p0"), e.pointer("p1"), e.const(I1, 1)]
        with e.loop(0, e.word("rank"), carry=carry) as outer:
            rest, to, back, inside = outer.values
            extent = e.word("dims", outer.index)
            index = b.urem(rest, extent)
            step = _moved(e, e.word("tables", outer.index), index, e.word("s1", outer.index))
            outer.next(
                b.udiv(rest, extent),
                e.offset(to, b.mul(index, e.word("s0", outer.index))),
                e.offset(back, step),
                b.and_(inside, b.icmp_signed("!=", step, outside)),
            )
        _, to, back, inside = outer.values
        above = b.mul(plane.index, height)
        low = e.intrinsic("llvm.smax", I64, b.sub(share.first, above), e.const(I64, 0))
        high = e.intrinsic("llvm.smin", I64, b.sub(share.stop, above), height)
        with e.loop(low, high, carry=[outside]) as y:
            step = _moved(e, table, y.index, e.word("back"))
            there = b.and_(inside, b.icmp_signed("!=", step, outside))
            again = b.and_(there, b.icmp_signed("==", step, y.values[0]))
            yield Row(
                e.offset(to, b.mul(y.index, stride)), e.offset(back, step), there, again, stride
            )
            y.next(step)
