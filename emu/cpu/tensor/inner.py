"""Inner products: few rows times columns whose elements are adjacent, at the speed of memory.

Such is a fully connected layer that keeps its weights by output, and a large matrix times a few
columns, seen transposed. Packing would cost more than the product; instead vectors lie along the
inner dimension, `columns` columns at a time with `rows` rows, a vector of partial sums for each
pair. The sums across vectors go to a strip on the stack, rows by one vector of columns, to which
the epilogue is applied. Each sum is formed alike wherever its row and column are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import I64, POINTER, Emitter, Value, lanes_of, target, vector
from emu.cpu.tensor.epilogue import lanes, sum_type, to_sum
from emu.cpu.tensor.tile import Matrix, prefetch, scaled
from emu.cpu.tensor.vectors import storage

_AHEAD = 1024
"""Bytes of a column to prefetch: it comes from memory, and the processor's own prefetcher stops at
the end of a page."""


@dataclass(frozen=True)
class Dots:
    """A block of `rows` by `columns` inner products of `dtype`; columns are a power of 2."""

    dtype: DType
    rows: int
    columns: int


def dots_for(dtype: DType, m: int) -> Dots:
    """The block for `m` rows: registers hold its sums, a vector of every row and one column."""
    room = target()[1] - 1
    most = min(lanes(dtype), 8)
    columns = next((c for c in (8, 4) if c <= most and m <= room // (c + 1)), min(most, 4))
    height = room // (columns + 1)
    return Dots(dtype, -(-m // -(-m // height)), columns)


def write_dots(e: Emitter, dots: Dots, line: int, name: str) -> Value:
    """A subroutine (left, row stride, right, column stride, columns, k, strip): the inner products
    of the rows at `left` with so many columns (at least 1) at `right`, into a strip with rows of
    `line` bytes."""
    dtype = dots.dtype
    types = (POINTER, I64, POINTER, I64, I64, I64, POINTER)
    with e.subroutine(name, *types) as function:
        b = e.b
        _, left, row, right, column, valid, k, strip = function.args
        last = b.sub(valid, e.const(I64, 1))
        places = [Matrix(left, row, 0).moved(e, r, 0).at for r in range(dots.rows)]
        for c in range(dots.columns):
            at = e.intrinsic("llvm.smin", I64, e.const(I64, c), last)
            places.append(e.offset(right, b.mul(at, column)))
        sums = _partial_sums(e, dots, places, k)
        for r in range(dots.rows):
            value = summed(e, dtype, sums[r * dots.columns : (r + 1) * dots.columns])
            e.store(value, e.offset(strip, r * line))
    return function


def _partial_sums(e: Emitter, dots: Dots, places: Sequence[Value], k: Value) -> list[Value]:
    """For each row and column, the sums of every n-th product in the lanes of a vector."""
    dtype, count = dots.dtype, lanes(dots.dtype)

    def step(at: Sequence[Value], sums: Sequence[Value], mask: Value | None) -> list[Value]:
        def load(place: Value) -> Value:
            return to_sum(e, e.load(place, vector(storage(dtype), count), mask), dtype)

        rows = [load(place) for place in at[: dots.rows]]
        following = list(sums)
        for c, place in enumerate(at[dots.rows :]):
            y = load(place)
            for r, x in enumerate(rows):
                following[r * dots.columns + c] = e.fma(x, y, sums[r * dots.columns + c])
        return following

    zero = [e.const(vector(sum_type(dtype), count), 0)] * (dots.rows * dots.columns)
    whole = e.b.and_(k, e.const(I64, -count))
    with e.loop(0, whole, count, carry=zero) as loop:
        offset = scaled(e, loop.index, dtype.size)
        here = [e.offset(place, offset) for place in places]
        for place in here[dots.rows :]:
            prefetch(e, e.offset(place, _AHEAD))
        loop.next(*step(here, loop.values, None))
    rest = e.b.sub(k, whole)
    with e.branch(e.b.icmp_signed(">", rest, e.const(I64, 0)), loop.values) as tail:
        offset = scaled(e, whole, dtype.size)
        here = [e.offset(place, offset) for place in places]
        tail.next(*step(here, loop.values, e.mask_below(rest, count)))
    return tail.values


def summed(e: Emitter, dtype: DType, vectors: Sequence[Value]) -> Value:
    """A vector whose lane i is the sum of the lanes of vector i; a power of 2 of them."""
    add = e.b.fadd if dtype.kind == "float" else e.b.add
    values, width = list(vectors), lanes_of(vectors[0].type)
    block = width
    while len(values) > 1:  # two vectors become one: halves of their blocks, added
        half, block = len(values) // 2, block // 2
        low = [_pick(lane, block, width, 0) for lane in range(width)]
        high = [_pick(lane, block, width, block) for lane in range(width)]
        values = [
            add(e.shuffle(x, y, low), e.shuffle(x, y, high))
            for x, y in zip(values[:half], values[half:], strict=True)
        ]
    (value,) = values
    distance = block // 2
    while distance:
        other = [lane ^ distance for lane in range(width)]
        value, distance = add(value, e.shuffle(value, value, other)), distance // 2
    return e.shuffle(value, value, [lane * block for lane in range(width // block)])


def _pick(lane: int, block: int, width: int, offset: int) -> int:
    """Where lane `lane` comes from when blocks twice as large are halved: even blocks of the
    result are from the first vector, odd ones from the second."""
    number, within = divmod(lane, block)
    return number // 2 * 2 * block + within + offset + (width if number & 1 else 0)
