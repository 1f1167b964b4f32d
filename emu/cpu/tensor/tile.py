"""The register tile: the innermost loop of every product, and the way its sums leave the registers.

A tile is `rows` by `vectors` accumulators. Each step of the inner dimension loads one row of the
right operand (`vectors` registers) and multiplies it with `rows` broadcast elements of the left
one. `accumulate` writes that loop, `finish` what follows. Both take matrices by the address of an
element and two strides (`Matrix`), so the same code reads packed panels and operands in place.

    shape = tallest(F32, 2)                       # 14 rows by 2 vectors on AVX-512
    sums = accumulate(e, shape, left, right, k)
    finish(e, shape, sums, result, Epilogue(F32, "v", 1), bias, columns)

The sum of an element is one chain of fused multiply-adds in the order of the inner dimension,
whatever the tile: two shapes of tile give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from llvmlite import ir

from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import I32, I64, Emitter, Value, target, vector
from emu.cpu.tensor.epilogue import Epilogue, lanes, sum_size, sum_type, to_sum
from emu.cpu.tensor.vectors import storage

_ROWS_OF_A_POINTER = 3
"""Rows of the left operand reached from one pointer: an x86 address adds 0, 1 or 2 row strides to
it, so that fourteen rows in place take seven registers."""


_TALLEST = 16
"""Rows of a tile at most: each is a place in memory that a cache has to keep."""


Combine = Callable[[Value, Value, Value], Value]


@dataclass(frozen=True)
class Matrix:
    """Element (i, j) is at `at` + i * row + j * column; strides in bytes, known now or then."""

    at: Value
    row: Value | int
    column: Value | int

    def moved(self, e: Emitter, i: Value | int, j: Value | int) -> Matrix:
        """The matrix from element (i, j) on."""
        at = self.at
        for index, stride in ((i, self.row), (j, self.column)):
            if index != 0 or not isinstance(index, int):
                at = e.offset(at, scaled(e, index, stride))
        return replace(self, at=at)


@dataclass(frozen=True)
class Tile:
    """`rows` by `vectors` registers of sums of `dtype`; `packed` operands are in the type of sums
    already."""

    dtype: DType
    rows: int
    vectors: int
    packed_left: bool = False
    packed_right: bool = False

    @property
    def columns(self) -> int:
        """Columns of the result that a full tile covers."""
        return self.vectors * lanes(self.dtype)


def most_rows(vectors: int) -> int:
    """Rows of the tallest tile `vectors` wide: the registers must hold the sums, one row of the
    right operand and a broadcast. Tiles wider than high hold a column of the left one instead."""
    registers = target()[1]
    tall = min((registers - vectors - 1) // vectors, _TALLEST)
    return tall if tall >= vectors else max((registers - 1) // (vectors + 1), 1)


def scaled(e: Emitter, index: Value | int, stride: Value | int) -> Value | int:
    """index * stride in bytes, as a number where both are known."""
    if isinstance(index, int) and isinstance(stride, int):
        return index * stride
    if isinstance(index, int) and index == 1:
        return stride
    values = [e.const(I64, v) if isinstance(v, int) else v for v in (index, stride)]
    return e.b.mul(*values)


def accumulate(
    e: Emitter, tile: Tile, left: Matrix, right: Matrix, k: Value, mask: Value | None = None,
    ahead: int = 0, combine: Combine | None = None,
) -> list[Value]:  # fmt: skip
    """The sums of left[rows, k] @ right[k, columns], row by row.

    Rows of `right` are adjacent elements. Its last vector is read within `mask` only; lanes outside
    are 0. Rows `ahead` of the one in use are prefetched. `combine(x, y, sum)` is what is done with
    a factor, a vector and a sum, if it is not to multiply and add.
    """
    whole = vector(sum_type(tile.dtype), lanes(tile.dtype))
    group = _ROWS_OF_A_POINTER if not isinstance(left.row, int) else tile.rows
    starts = [left.moved(e, row, 0).at for row in range(0, tile.rows, group)]
    zero = [e.const(whole, 0)] * (tile.rows * tile.vectors)
    with e.loop(0, k, carry=[*starts, right.at, *zero]) as loop:
        pointers, row = loop.values[: len(starts)], loop.values[len(starts)]
        sums = loop.values[len(starts) + 1 :]
        if ahead:
            _prefetch(e, e.offset(row, scaled(e, ahead, right.row)), tile)

        def factor(r: int) -> Value:
            return _factor(e, tile, replace(left, at=pointers[r // group]), r % group)

        def vector_at(v: int) -> Value:
            return _vector(e, tile, row, v, mask if v == tile.vectors - 1 else None)

        following = _step(combine or e.fma, tile, factor, vector_at, sums)
        onward = [e.offset(p, left.column) for p in pointers]
        loop.next(*onward, e.offset(row, right.row), *following)
    return loop.values[len(starts) + 1 :]


def _step(
    combine: Combine, tile: Tile, factor: Value, vector_at: Value, sums: list[Value]
) -> list[Value]:
    """One step of the inner dimension. What there is less of, factors or vectors, is held in
    registers; the other passes by."""
    following = list(sums)
    if tile.rows >= tile.vectors:
        vectors = [vector_at(v) for v in range(tile.vectors)]
        for r in range(tile.rows):
            x = factor(r)
            for v, y in enumerate(vectors):
                at = r * tile.vectors + v
                following[at] = combine(x, y, sums[at])
        return following
    factors = [factor(r) for r in range(tile.rows)]
    for v in range(tile.vectors):
        y = vector_at(v)
        for r, x in enumerate(factors):
            at = r * tile.vectors + v
            following[at] = combine(x, y, sums[at])
    return following


def _factor(e: Emitter, tile: Tile, left: Matrix, row: int) -> Value:
    place = left.moved(e, row, 0).at
    if tile.packed_left:
        x = e.load(place, sum_type(tile.dtype))
    else:
        x = to_sum(e, e.load(place, storage(tile.dtype)), tile.dtype)
    return e.splat(x, lanes(tile.dtype))


def _vector(e: Emitter, tile: Tile, row: Value, index: int, mask: Value | None) -> Value:
    count = lanes(tile.dtype)
    if tile.packed_right:
        place = e.offset(row, index * count * sum_size(tile.dtype))
        return e.load(place, vector(sum_type(tile.dtype), count))
    place = e.offset(row, index * count * tile.dtype.size)
    return to_sum(e, e.load(place, vector(storage(tile.dtype), count), mask), tile.dtype)


def _prefetch(e: Emitter, place: Value, tile: Tile) -> None:
    size = sum_size(tile.dtype) if tile.packed_right else tile.dtype.size
    for line in range(0, tile.columns * size, 64):
        prefetch(e, e.offset(place, line))


def prefetch(e: Emitter, place: Value) -> None:
    """Bring the cache line at `place` into the first level; nothing happens at a bad address."""
    hints = [e.const(I32, n) for n in (0, 3, 1)]  # to read, of use again, data
    e.intrinsic("llvm.prefetch.p0", ir.VoidType(), place, *hints, suffix=False)


def finish(
    e: Emitter, tile: Tile, sums: list[Value], result: Matrix, epilogue: Epilogue,
    bias: Matrix | None, columns: Value, mask: Value | None,
) -> None:  # fmt: skip
    """Apply the epilogue and store the tile; `columns` of it exist, those of `mask` in its last
    vector.

    `bias` is the bias of the tile's corner. Results whose rows are not adjacent, and activations
    too long to be written out, pass through the stack, in the first-level cache.
    """
    adjacent = result.column == epilogue.dtype.size
    if adjacent and epilogue.inline:
        for r in range(tile.rows):
            values = sums[r * tile.vectors : (r + 1) * tile.vectors]
            store_row(e, tile, values, result, epilogue, bias, mask)
            result, bias = result.moved(e, 1, 0), bias and bias.moved(e, 1, 0)
        return
    size, count = sum_size(tile.dtype), lanes(tile.dtype)
    room = e.local(tile.rows * tile.columns * size)
    for at, value in enumerate(sums):
        e.store(value, e.offset(room, at * count * size))
    with e.loop(0, e.const(I64, tile.rows)) as row:
        line = e.offset(room, scaled(e, row.index, tile.columns * size))
        values = [
            e.load(e.offset(line, v * count * size), sums[0].type) for v in range(tile.vectors)
        ]
        here = bias and bias.moved(e, row.index, 0)
        place = result.moved(e, row.index, 0)
        if adjacent:
            store_row(e, tile, values, place, epilogue, here, mask)
        else:
            finished = Matrix(line, 0, epilogue.dtype.size)
            store_row(e, tile, values, finished, epilogue, here, mask)
            scatter(e, epilogue.dtype, line, place, columns)


def scatter(e: Emitter, dtype: DType, line: Value, place: Matrix, columns: Value) -> None:
    """Copy a row of `columns` finished elements to where its elements are not adjacent."""
    with e.loop(0, columns) as column:
        from_ = e.offset(line, scaled(e, column.index, dtype.size))
        e.store(e.load(from_, storage(dtype)), place.moved(e, 0, column.index).at)


def store_row(
    e: Emitter, tile: Tile, sums: list[Value], place: Matrix, epilogue: Epilogue,
    bias: Matrix | None, mask: Value | None,
) -> None:  # fmt: skip
    """One row of sums, finished, to adjacent elements."""
    count = lanes(tile.dtype)
    for v, value in enumerate(sums):
        inside = mask if v == tile.vectors - 1 else None
        here = bias and bias.moved(e, 0, v * count).at
        done = epilogue.apply(e, value, here, inside)
        e.store(done, e.offset(place.at, v * count * epilogue.dtype.size), inside)
