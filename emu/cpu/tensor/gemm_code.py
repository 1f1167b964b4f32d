"""The kernel of a product: batches, blocks and panels around the register tile.

`Writer` emits one function for a `Form`, everything the code depends on; the rest is parameters
(`WORDS`), which `gemm.py` computes. From the outside in the loops are: products of the batch, bands
of rows, blocks of columns, blocks of the inner dimension (a block of the right operand is packed),
blocks of rows (one of the left operand is packed), tiles of rows, tiles of columns. Threads divide
what the word `split` names, and each packs for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import I64, POINTER, Block, Emitter, Value
from emu.cpu.tensor.epilogue import Epilogue, lanes, sum_size
from emu.cpu.tensor.pack import Lines, pack
from emu.cpu.tensor.product import (
    BY_BATCH,
    BY_COLUMNS,
    BY_ROWS,
    OPERAND_WORDS,
    at_batch,
    share,
    smaller,
)
from emu.cpu.tensor.tile import Matrix, Tile, accumulate, finish, scaled

WORDS = Block(
    f"{OPERAND_WORDS} sums left right row_tiles tall col_tiles wide"
    " block_rows block_cols band depth left_part right_part sums_part sums_row"
)


@dataclass(frozen=True)
class Form:
    """What the code of a kernel depends on.

    Operands are of `dtype`, the result of the epilogue's, which has the same type of sums.
    `left` is "row" (in place, any strides), "column" (in place, adjacent along a column) or a
    layout to pack from; `right` is "row" (in place) or a layout to pack from. `direct`: partial
    sums stay in the result. `adjacent`: rows of the result are adjacent elements. `blocked`: the
    inner dimension is cut, so that there are partial sums. `masked`: the last vector of a row may
    not be whole. `ragged`: some tiles of rows, or of
    columns, are shorter by one. Rows of the right operand `ahead` are prefetched.
    """

    epilogue: Epilogue
    height: int
    vectors: int
    dtype: DType
    left: str
    right: str
    direct: bool
    adjacent: bool
    blocked: bool
    masked: bool
    ragged: tuple[bool, bool]
    ahead: int = 0

    @property
    def name(self) -> str:
        """What tells it from every other."""
        flags = [f for f in ("direct", "adjacent", "blocked", "masked") if getattr(self, f)]
        return (
            f"tmatmul {self.dtype.name} {self.epilogue.name} {self.heights} {self.widths}"
            f" {self.left} {self.right} {self.ahead} {' '.join(flags)}"
        )

    @property
    def heights(self) -> tuple[int, ...]:
        """Heights of tiles, in rows."""
        return (self.height, self.height - 1) if self.ragged[0] else (self.height,)

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of tiles, in vectors."""
        return (self.vectors, self.vectors - 1) if self.ragged[1] else (self.vectors,)

    @property
    def packs_left(self) -> bool:
        """Whether the left operand is copied into panels."""
        return self.left not in ("row", "column")

    @property
    def packs_right(self) -> bool:
        """Whether the right operand is copied into panels."""
        return self.right != "row"


class Writer:
    """Writes the kernel of one form."""

    def __init__(self, e: Emitter, form: Form) -> None:
        self.e, self.b, self.form, self.dtype = e, e.b, form, form.dtype

    def write(self) -> None:
        """The subroutines, then the loops over batches and blocks."""
        e, form = self.e, self.form
        self.tiles = {(h, v): self.tile(h, v) for h in form.heights for v in form.widths}
        self.pack_left = self.packer("pack_left", form.left) if form.packs_left else None
        self.pack_right = self.packer("pack_right", form.right) if form.packs_right else None
        with e.loop(*share(e, e.word("batches"), BY_BATCH)) as batch:
            self.at = at_batch(e, form.epilogue, batch.index)
            self.blocks()

    def tile(self, rows: int, vectors: int) -> Value:
        """A subroutine: one tile of the result for one block of the inner dimension."""
        e, form, dtype = self.e, self.form, self.dtype
        tile = Tile(dtype, rows, vectors, form.packs_left, form.packs_right)
        size = sum_size(dtype)
        types = [POINTER] * 5 + [I64] * 4
        with e.subroutine(f"tile_{rows}x{vectors}", *types) as function:
            _, a, b, c, sums_at, bias_at, k, columns, first, last = function.args
            left = Matrix(a, e.word("a_row"), e.word("a_col"))
            if form.packs_left:
                left = Matrix(a, size, rows * size)
            elif form.left == "column":
                left = replace(left, row=dtype.size)
            right = Matrix(b, e.word("b_row"), dtype.size)
            if form.packs_right:
                right = Matrix(b, tile.columns * size, size)
            mask = None
            if form.masked:
                before = e.const(I64, tile.columns - lanes(dtype))
                mask = e.mask_below(e.b.sub(columns, before), lanes(dtype))
            inside = None if form.packs_right else mask
            sums = accumulate(e, tile, left, right, k, inside, form.ahead)
            bias = None
            if form.epilogue.bias:
                bias = Matrix(bias_at, e.word("bias_row"), form.epilogue.bias_step)
            column = form.epilogue.dtype.size if form.adjacent else e.word("c_col")
            result = Matrix(c, e.word("c_row"), column)
            ending = (result, form.epilogue, bias, columns, mask)
            if not form.blocked:
                finish(e, tile, sums, *ending)
            else:
                partial = Matrix(sums_at, e.word("c_row" if form.direct else "sums_row"), size)
                sums = self.added(tile, sums, partial, mask, first)
                with e.b.if_else(e.b.icmp_signed("!=", last, e.const(I64, 0))) as (then, otherwise):
                    with then:
                        finish(e, tile, sums, *ending)
                    with otherwise:
                        for at, value, inside in self.places(tile, partial, sums, mask):
                            e.store(value, at, inside)
        return function

    def places(
        self, tile: Tile, partial: Matrix, sums: list[Value], mask: Value | None
    ) -> Iterator[tuple[Value, Value, Value | None]]:
        """Where each register of sums is kept between blocks of the inner dimension."""
        for r in range(tile.rows):
            for v in range(tile.vectors):
                at = partial.moved(self.e, 0, v * lanes(self.dtype)).at
                yield at, sums[r * tile.vectors + v], mask if v == tile.vectors - 1 else None
            partial = partial.moved(self.e, 1, 0)

    def added(
        self, tile: Tile, sums: list[Value], partial: Matrix, mask: Value | None, first: Value
    ) -> list[Value]:
        """`sums` and those of the blocks before, unless this is the first."""
        e = self.e
        add = e.b.fadd if self.dtype.kind == "float" else e.b.add
        with e.branch(e.b.icmp_signed("==", first, e.const(I64, 0)), sums) as more:
            more.next(*(
                add(e.load(at, value.type, inside), value)
                for at, value, inside in self.places(tile, partial, sums, mask)
            ))  # fmt: skip
        return more.values

    def packer(self, name: str, how: str) -> Value:
        """A subroutine that packs one panel."""
        e = self.e
        with e.subroutine(name, POINTER, I64, I64, I64, I64, POINTER, I64) as function:
            _, at, line, step, valid, steps, to, width = function.args
            size = self.dtype.size
            source = Matrix(at, size if how == "v" else line, size if how == "t" else step)
            pack(e, self.dtype, how, Lines(source, valid, steps), to, width)
        return function

    def blocks(self) -> None:
        """Blocks of columns, of the inner dimension, of rows."""
        e, b = self.e, self.b
        rows = share(e, e.word("row_tiles"), BY_ROWS)
        columns = share(e, e.word("col_tiles"), BY_COLUMNS)
        with e.loop(*rows, e.word("band")) as band:
            end = smaller(e, b.add(band.index, e.word("band")), rows[1])
            self.band((band.index, end), columns)

    def band(self, rows: tuple[Value, Value], columns: tuple[Value, Value]) -> None:
        """Some rows of a product: as many as partial sums are kept for."""
        e, b = self.e, self.b
        self.band_row = self.row(rows[0])
        k, depth = e.word("k"), e.word("depth")
        end_k = e.intrinsic("llvm.smax", I64, k, e.const(I64, 1))
        with e.loop(*columns, e.word("block_cols")) as jb:
            j_end = smaller(e, b.add(jb.index, e.word("block_cols")), columns[1])
            with e.loop(0, end_k, depth) as inner:
                steps = smaller(e, depth, b.sub(k, inner.index))
                if self.form.packs_right:
                    self.pack_columns(jb.index, j_end, inner.index, steps)
                with e.loop(*rows, e.word("block_rows")) as ib:
                    i_end = smaller(e, b.add(ib.index, e.word("block_rows")), rows[1])
                    if self.form.packs_left:
                        self.pack_rows(ib.index, i_end, inner.index, steps)
                    self.block((ib.index, i_end), (jb.index, j_end), inner.index, steps)

    def begin(self, tile: Value, word: str, size: int) -> Value:
        """Where tile number `tile` begins, in rows or vectors: the first ones are larger by 1."""
        e, b = self.e, self.b
        return b.add(b.mul(tile, e.const(I64, size - 1)), smaller(e, tile, e.word(word)))

    def row(self, tile: Value) -> Value:
        """The first row of a tile of rows."""
        return self.begin(tile, "tall", self.form.height)

    def column(self, tile: Value) -> Value:
        """The first column of a tile of columns."""
        vectors = self.begin(tile, "wide", self.form.vectors)
        return self.b.mul(vectors, self.e.const(I64, lanes(self.dtype)))

    def scratch(self, name: str) -> Value:
        """The part's own piece of a scratch area."""
        e = self.e
        return e.offset(e.pointer(name), e.b.mul(e.part, e.word(f"{name}_part")))

    def panel(self, name: str, lines: Value, steps: Value) -> Value:
        """The panel that begins `lines` lines into the packed block `name`."""
        size = sum_size(self.dtype)
        return self.e.offset(self.scratch(name), scaled(self.e, self.b.mul(lines, steps), size))

    def pack_rows(self, start: Value, end: Value, inner: Value, steps: Value) -> None:
        """Panels of the left operand for tiles `start` to `end` of a block."""
        e, b = self.e, self.b
        first = self.row(start)
        with e.loop(start, end) as tile:
            row = self.row(tile.index)
            width = b.sub(self.row(b.add(tile.index, e.const(I64, 1))), row)
            at = self.at.a.moved(e, row, inner)
            to = self.panel("left", b.sub(row, first), steps)
            e.call(self.pack_left, at.at, at.row, at.column, width, steps, to, width)

    def pack_columns(self, start: Value, end: Value, inner: Value, steps: Value) -> None:
        """Panels of the right operand for tiles `start` to `end` of a block."""
        e, b = self.e, self.b
        first = self.column(start)
        with e.loop(start, end) as tile:
            column = self.column(tile.index)
            width = b.sub(self.column(b.add(tile.index, e.const(I64, 1))), column)
            at = self.at.b.moved(e, inner, column)
            to = self.panel("right", b.sub(column, first), steps)
            valid = smaller(e, width, b.sub(e.word("n"), column))
            e.call(self.pack_right, at.at, at.column, at.row, valid, steps, to, width)

    def block(
        self, rows: tuple[Value, Value], columns: tuple[Value, Value], inner: Value, steps: Value
    ) -> None:
        """All tiles of one block."""
        e, b = self.e, self.b
        corner = self.row(rows[0]), self.column(columns[0])
        first = b.icmp_signed("==", inner, e.const(I64, 0))
        last = b.icmp_signed(">=", b.add(inner, steps), e.word("k"))
        ends = (b.zext(first, I64), b.zext(last, I64))
        with e.loop(*rows) as i, e.loop(*columns) as j:  # the result is written along its rows
            self.one_tile(i.index, j.index, corner, (inner, steps), ends)

    def one_tile(
        self, i: Value, j: Value, corner: tuple[Value, Value], inner: tuple[Value, Value],
        ends: tuple[Value, Value],
    ) -> None:  # fmt: skip
        """Tile (i, j) of a block that begins at `corner`."""
        e, b, form = self.e, self.b, self.form
        start, steps = inner
        row, column, one = self.row(i), self.column(j), e.const(I64, 1)
        down, across = (
            b.sub(self.row(b.add(i, one)), row),
            b.sub(self.column(b.add(j, one)), column),
        )
        below, beside = b.sub(row, corner[0]), b.sub(column, corner[1])
        left, right = self.at.a.moved(e, row, start).at, self.at.b.moved(e, start, column).at
        if form.packs_left:
            left = self.panel("left", below, steps)
        if form.packs_right:
            right = self.panel("right", beside, steps)
        c = sums = self.at.c.moved(e, row, column).at
        if form.blocked and not form.direct:
            partial = Matrix(self.scratch("sums"), e.word("sums_row"), sum_size(self.dtype))
            sums = partial.moved(e, b.sub(row, self.band_row), beside).at
        bias = self.at.bias.moved(e, row, column).at
        free = smaller(e, across, b.sub(e.word("n"), column))
        self.choose((down, across), (left, right, c, sums, bias, steps, free, *ends))

    def choose(self, shape: tuple[Value, Value], arguments: tuple[Value, ...]) -> None:
        """Call the tile of this height and width."""
        e, b, form = self.e, self.b, self.form
        for (height, vectors), tile in self.tiles.items():
            same = b.and_(
                b.icmp_signed("==", shape[0], e.const(I64, height)),
                b.icmp_signed("==", shape[1], e.const(I64, vectors * lanes(form.dtype))),
            )
            with b.if_then(same):
                e.call(tile, *arguments)
