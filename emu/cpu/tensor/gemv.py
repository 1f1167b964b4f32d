"""tmatmul for a few rows: inner products along adjacent elements (`inner.py`), never packing.

Columns are taken one vector of results at a time. The sums of such a strip, for all rows, are kept
in scratch memory until it is complete; then the epilogue finishes it row by row. Threads divide the
strips or the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.descriptor import dense, dense_strides
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import I64, Block, Emitter, Value, vector
from emu.cpu.tensor.epilogue import Epilogue, bias_layout, lanes, sum_size, sum_type
from emu.cpu.tensor.inner import Dots, dots_for, write_dots
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, kernel
from emu.cpu.tensor.product import (
    BY_BATCH,
    BY_COLUMNS,
    OPERAND_WORDS,
    Operands,
    Product,
    at_batch,
    operand_words,
    share,
    smaller,
    turned,
    with_plain_bias,
)
from emu.cpu.tensor.tile import Matrix, Tile, scaled, scatter, store_row

_WORDS = Block(f"{OPERAND_WORDS} strip strip_part row_tiles tall")
_ROWS = 16
"""Rows up to which inner products beat packing the right operand, and columns up to which they
beat a tile that is one vector wide."""
_DEEP = 8
"""Elements of a row for each of as many rows that inner products pay for: to add up the lanes of a
vector at the end costs as much as some steps."""


def as_dots(p: Product) -> Product | None:
    """The product, perhaps transposed, as inner products of a few rows; None if it is not such."""
    (m, n, k), size = p.extents, p.a.dtype.size
    most = min(_ROWS, k // _DEEP)
    if m <= most and p.b.strides[-2] == size:
        return p
    if n <= most and p.a.strides[-1] == size and m > n:
        return with_plain_bias(turned(p))
    return None


def run_dots(p: Product, attributes: Attributes) -> None:
    """Record the product; `p` is of the form that `as_dots` gives."""
    m, k, dtype = p.a.dims[-2], p.a.dims[-1], p.a.dtype
    if p.a.strides[-1] != dtype.size:
        batch = tuple(1 if s == 0 else n for n, s in zip(p.batch, p.a.strides, strict=False))
        copy = dense(SCRATCH.take(math.prod(batch) * m * k * dtype.size), dtype, (*batch, m, k))
        steps = zip(batch, dense_strides(copy.dims, dtype.size), strict=False)
        strides = tuple(0 if n == 1 else step for n, step in steps) + copy.strides[-2:]
        sparse = tuple(0 if n == 1 else s for n, s in zip(batch, p.a.strides, strict=False))
        run_copy(copy, replace(p.a, dims=copy.dims, strides=sparse + p.a.strides[-2:]))
        p = replace(p, a=replace(copy, dims=p.a.dims, strides=strides))
    bias = bias_layout(p.bias)
    assert bias is not None
    dots = dots_for(dtype, m)
    form = _Form(
        Epilogue(p.c.dtype, bias, attributes.activation), dots, m % dots.rows > 0,
        p.c.strides[-1] == p.c.dtype.size,
    )  # fmt: skip
    tiles = -(-m // dots.rows)
    room = m * lanes(dtype) * 8
    words = operand_words(p) | {"strip": SCRATCH.take(room * THREADS_MAX), "strip_part": room}
    words |= {"row_tiles": tiles, "tall": m - tiles * (dots.rows - 1)}
    words |= {"split": BY_BATCH if math.prod(p.batch) >= THREADS_MAX else BY_COLUMNS}
    words |= {"alpha": float(attributes.alpha), "beta": float(attributes.beta)}
    run = kernel(form.name, _WORDS, lambda e: _Writer(e, form).write(), parallel=True, lean=True)
    run(**words)


@dataclass(frozen=True)
class _Form:
    """What the code depends on: `ragged` says that some blocks of rows are shorter by one,
    `adjacent` that rows of the result are adjacent elements."""

    epilogue: Epilogue
    dots: Dots
    ragged: bool
    adjacent: bool

    @property
    def heights(self) -> tuple[int, ...]:
        """Rows of the blocks there are."""
        return (self.dots.rows, self.dots.rows - 1) if self.ragged else (self.dots.rows,)

    @property
    def name(self) -> str:
        """What tells it from every other."""
        dots = f"{self.dots.dtype.name} {self.heights}x{self.dots.columns}"
        return f"dots {self.epilogue.name} {dots} {'adjacent' if self.adjacent else 'scattered'}"


class _Writer:
    """Writes the kernel of one form."""

    def __init__(self, e: Emitter, form: _Form) -> None:
        self.e, self.form, self.dtype = e, form, form.dots.dtype
        self.line = lanes(self.dtype) * 8
        """Bytes of a row of the strip: a vector of sums, with room for any finished element."""

    def write(self) -> None:
        """The inner products as subroutines, then the loops over batch and strips."""
        e, form = self.e, self.form
        self.dots = {
            rows: write_dots(e, replace(form.dots, rows=rows), self.line, f"dots_{rows}")
            for rows in form.heights
        }
        self.strip = e.offset(e.pointer("strip"), e.b.mul(e.part, e.word("strip_part")))
        width = e.const(I64, lanes(self.dtype))
        n = e.word("n")
        strips = e.b.sdiv(e.b.add(n, e.b.sub(width, e.const(I64, 1))), width)
        with e.loop(*share(e, e.word("batches"), BY_BATCH)) as batch:
            at = at_batch(e, form.epilogue, batch.index)
            with e.loop(*share(e, strips, BY_COLUMNS)) as strip:
                column = e.b.mul(strip.index, width)
                columns = smaller(e, width, e.b.sub(n, column))
                self.sums(at, column, columns)
                self.finish(at, column, columns)

    def sums(self, at: Operands, column: Value, columns: Value) -> None:
        """The inner products of all rows with the columns of a strip."""
        e, b, form = self.e, self.e.b, self.form
        rows = form.dots.rows
        with e.loop(0, columns, form.dots.columns) as c:
            right = at.b.moved(e, 0, b.add(column, c.index)).at
            place = e.offset(self.strip, scaled(e, c.index, sum_size(self.dtype)))
            with e.loop(0, e.word("row_tiles"), carry=[e.const(I64, 0)]) as tile:
                (row,) = tile.values
                tall = b.icmp_signed("<", tile.index, e.word("tall"))
                here = e.offset(place, scaled(e, row, self.line))
                left, free = at.a.moved(e, row, 0).at, b.sub(columns, c.index)
                values = (left, at.a.row, right, at.b.column, free, e.word("k"), here)
                for height, function in self.dots.items():
                    with b.if_then(tall if height == rows else b.not_(tall)):
                        e.call(function, *values)
                tile.next(b.add(row, b.select(tall, e.const(I64, rows), e.const(I64, rows - 1))))

    def finish(self, at: Operands, column: Value, columns: Value) -> None:
        """Apply the epilogue to a strip and store it."""
        e, form = self.e, self.form
        tile, result = Tile(self.dtype, 1, 1), form.epilogue.dtype
        mask = e.mask_below(columns, lanes(self.dtype))
        with e.loop(0, e.word("m")) as row:
            line = e.offset(self.strip, scaled(e, row.index, self.line))
            sums = [e.load(line, vector(sum_type(self.dtype), lanes(self.dtype)))]
            place = at.c.moved(e, row.index, column)
            bias = at.bias.moved(e, row.index, column) if form.epilogue.bias else None
            if form.adjacent:
                store_row(e, tile, sums, place, form.epilogue, bias, mask)
            else:
                store_row(e, tile, sums, Matrix(line, 0, result.size), form.epilogue, bias, mask)
                scatter(e, result, line, place, columns)
