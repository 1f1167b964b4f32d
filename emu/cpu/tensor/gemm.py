"""tmatmul: packed panels, a register tile, and a walk over batches.

*Schedule.* The left matrix is packed into panels of a tile's rows, so that the tile's column of it
is adjacent; the right one into panels two vectors wide, unless its rows are adjacent already and
too few left rows would use the copy. A tile of the product stays in registers over a block of
`_DEPTH` of the inner dimension: for each step one column of the left panel is broadcast and
multiplied with the two vectors of the right one. Element types narrower than their type of
arithmetic are widened while packing, and the product is converted when it is stored. A few rows
times columns that are adjacent already (a fully connected layer with its weights transposed) are
inner products, at the speed of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product as every_index

from emu.cpu.tensor.axes import across
from emu.cpu.tensor.descriptor import Address, DType, View, dense
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import Block, Emitter, Value, bits_of, target, vector
from emu.cpu.tensor.kernels import SCRATCH, kernel
from emu.cpu.tensor.vectors import compute, storage, widen

_PACK = Block("from to across along count depth")
_TILE = Block("a b c m n k c_row a_panel b_panel b_step accumulate")
_DOT = Block("a b c m n k a_row b_column c_row accumulate")
_DOT_COLUMNS = 4
_DEPTH = 256
"""Steps of the inner dimension for which a right panel should stay in the first-level cache."""
_BLOCK, _LEFT_ROWS, _RIGHT_COLUMNS = 1024, 36, 4096
"""What is packed at a time: steps of the inner dimension, tiles of rows, columns."""
_FEW_ROWS = (1, 2, 4)
_PACK_FROM = 9
"""Rows of the left matrix from which on copying the right one pays."""
_VECTORS = 2


def lanes(dtype: DType) -> int:
    """Elements of the type of arithmetic in a vector register."""
    return target()[0] * 8 // bits_of(compute(dtype))


def tile_rows(m: int) -> int:
    """Rows of the register tile for a product of `m` rows.

    At most, all registers but the step's vectors, the broadcast and a spare one; few rows get a
    tile that does not waste the others.
    """
    most = (target()[1] - _VECTORS - 2) // _VECTORS
    return next((few for few in _FEW_ROWS if m <= few < most), most)


def run_matmul(destination: View, left: View, right: View, bias: View | None) -> None:
    """destination = left @ right (+ bias) over host views of at least two dimensions each.

    Batch dimensions and the bias broadcast to the destination's by NumPy's rule.
    """
    batch = destination.dims[:-2]
    a, b = _batched(left, batch), _batched(right, batch)
    with accumulator(destination) as c:
        if bias is not None:
            run_copy(c, bias)
        for index in every_index(*map(range, batch)):
            multiply(_at(c, index), _at(a, index), _at(b, index), bias is not None)


@contextmanager
def accumulator(destination: View) -> Iterator[View]:
    """Where products are summed: the destination, or scratch in the type of arithmetic with
    adjacent rows, which is copied to the destination at the end."""
    wide, sums = destination.dtype.compute, destination
    if destination.dtype is not wide or destination.strides[-1] != wide.size:
        sums = dense(SCRATCH.take(destination.count * wide.size), wide, destination.dims)
    yield sums
    if sums is not destination:
        run_copy(destination, sums)


def _batched(view: View, batch: tuple[int, ...]) -> View:
    stretched = view.broadcast((*batch, *view.dims[-2:]))
    assert stretched is not None  # the instruction has checked the shapes
    return stretched


def _at(view: View, index: tuple[int, ...]) -> View:
    """The matrix at a batch index."""
    offset = sum(i * s for i, s in zip(index, view.strides, strict=False))
    return View(view.address + offset, view.dtype, view.dims[-2:], view.strides[-2:])


def multiply(c: View, a: View, b: View, accumulate: bool) -> None:
    """c (+)= a @ b for matrices; c's rows are adjacent elements of the type of arithmetic.

    Blocks of both matrices are packed one at a time, so that scratch memory is bounded and the
    left block stays in the second-level cache.
    """
    if a.dims[0] < _PACK_FROM and a.strides[1] == b.strides[0] == c.dtype.size == a.dtype.size:
        _dot(c, a, b, accumulate)
    else:
        with SCRATCH.borrowed():
            _tiled(c, a, b, accumulate)


def _tiled(c: View, a: View, b: View, accumulate: bool) -> None:
    (m, k), n = a.dims, b.dims[1]
    size, width, height = c.dtype.size, _VECTORS * lanes(c.dtype), tile_rows(m)
    rows = min(m, _LEFT_ROWS * height)
    columns = min(n, _RIGHT_COLUMNS)
    left = SCRATCH.take((rows + height) * min(k, _BLOCK) * size)
    direct = m < _PACK_FROM and b.strides[1] == size and b.dtype is c.dtype
    right: Address = 0 if direct else SCRATCH.take((columns + width) * min(k, _BLOCK) * size)
    run = kernel(
        f"tmatmul {c.dtype.name} {height}", _TILE, lambda e: _write_product(e, c.dtype, height)
    )
    for j, start in every_index(range(0, n, _RIGHT_COLUMNS), range(0, max(k, 1), _BLOCK)):
        block = min(_BLOCK, k - start)
        part = _part(b, start, j, block, min(_RIGHT_COLUMNS, n - j))
        if direct:
            at, panel, step = part.address, width * size, b.strides[0]
        else:
            _pack(part.permuted((1, 0)), right, width)
            at, panel, step = right, block * width * size, width * size
        for i in range(0, m, rows):
            block_a = _part(a, i, start, min(rows, m - i), block)
            _pack(block_a, left, height)
            for inner in range(0, max(block, 1), _DEPTH):
                run(
                    a=left + inner * height * size, b=at + inner * step,
                    c=c.address + i * c.strides[0] + j * size,
                    m=block_a.dims[0], n=part.dims[1], k=min(_DEPTH, block - inner),
                    c_row=c.strides[0], b_panel=panel, b_step=step, a_panel=block * height * size,
                    accumulate=int(accumulate or start + inner > 0),
                )  # fmt: skip


def _dot(c: View, a: View, b: View, accumulate: bool) -> None:
    """Few rows times columns that are adjacent along the inner dimension: inner products."""
    run = kernel(f"dot {c.dtype.name}", _DOT, lambda e: _write_dot(e, c.dtype))
    run(
        a=a.address, b=b.address, c=c.address, m=a.dims[0], n=b.dims[1], k=a.dims[1],
        a_row=a.strides[0], b_column=b.strides[1], c_row=c.strides[0], accumulate=int(accumulate),
    )  # fmt: skip


def _write_dot(e: Emitter, dtype: DType) -> None:
    """Columns in fours, each with every row; columns left over one by one."""
    n = e.word("n")
    fours = e.b.and_(n, e.const(n.type, -_DOT_COLUMNS))
    for columns, first, end in ((_DOT_COLUMNS, e.const(n.type, 0), fours), (1, fours, n)):
        with e.loop(first, end, columns) as j, e.loop(0, e.word("m")) as i:
            left = e.offset(e.pointer("a"), e.b.mul(i.index, e.word("a_row")))
            right = e.offset(e.pointer("b"), e.b.mul(j.index, e.word("b_column")))
            place = e.offset(e.pointer("c"), e.b.mul(i.index, e.word("c_row")))
            place = e.offset(place, e.b.mul(j.index, e.const(n.type, dtype.size)))
            _write_dots(e, dtype, (left, right, place), columns)


def _write_dots(e: Emitter, dtype: DType, places: tuple[Value, Value, Value], columns: int) -> None:
    """One row with `columns` columns, a vector of partial sums for each."""
    left, right, place = places
    count, k = lanes(dtype), e.word("k")
    type_ = vector(compute(dtype), count)
    rights = [
        e.offset(right, e.b.mul(e.word("b_column"), e.const(k.type, c))) for c in range(columns)
    ]

    def step(index: Value, sums: list[Value], mask: Value | None) -> list[Value]:
        at = e.b.mul(index, e.const(k.type, dtype.size))
        x = e.load(e.offset(left, at), type_, mask)
        return [
            e.fma(x, e.load(e.offset(r, at), type_, mask), s)
            for r, s in zip(rights, sums, strict=True)
        ]

    whole = e.b.and_(k, e.const(k.type, -count))
    with e.loop(0, whole, count, carry=[e.const(type_, 0)] * columns) as loop:
        loop.next(*step(loop.index, loop.values, None))
    rest = e.b.sub(k, whole)
    with e.branch(e.b.icmp_signed(">", rest, e.const(k.type, 0)), loop.values) as last:
        last.next(*step(whole, loop.values, e.mask_below(rest, count)))
    add = e.b.fadd if dtype.kind == "float" else e.b.add
    more = e.b.icmp_signed("!=", e.word("accumulate"), e.const(k.type, 0))
    for c, sums in enumerate(last.values):
        total = across(e, sums, add)
        here = e.offset(place, c * dtype.size)
        with e.branch(more, [total]) as added:
            added.next(add(total, e.load(here, total.type)))
        e.store(added.values[0], here)


def _part(view: View, row: int, column: int, rows: int, columns: int) -> View:
    """A block of a matrix."""
    address = view.address + row * view.strides[0] + column * view.strides[1]
    return View(address, view.dtype, (rows, columns), view.strides)


def _pack(lines: View, to: Address, width: int) -> None:
    """Panels of `width` lines each: element (line, step) of a panel is at step * width + line.

    `lines` is (line, step); lines that the last panel lacks are zero.
    """
    dtype, (across, along) = lines.dtype, lines.strides
    adjacent = across == dtype.size
    run = kernel(
        f"pack {dtype.name} {width} {'v' if adjacent else 'g'}",
        _PACK,
        lambda e: _write_pack(e, dtype, width, adjacent),
    )
    run(**{"from": lines.address, "to": to, "across": across, "along": along},
        count=lines.dims[0], depth=lines.dims[1])  # fmt: skip


def _write_pack(e: Emitter, dtype: DType, width: int, adjacent: bool) -> None:
    b, wide = e.b, dtype.compute.size
    across, along, depth = e.word("across"), e.word("along"), e.word("depth")
    source, to, count = e.pointer("from"), e.pointer("to"), e.word("count")
    panel_bytes = b.mul(depth, e.const(depth.type, width * wide))
    with e.loop(0, count, width) as panel:
        left = b.sub(count, panel.index)
        start = e.offset(source, b.mul(panel.index, across))
        number = b.sdiv(panel.index, e.const(depth.type, width))
        out = e.offset(to, b.mul(number, panel_bytes))
        with e.loop(0, depth) as step:
            here = e.offset(start, b.mul(step.index, along))
            there = e.offset(out, b.mul(step.index, e.const(depth.type, width * wide)))
            if adjacent:
                mask = e.mask_below(left, width)
                value = e.load(here, vector(storage(dtype), width), mask)
                e.store(widen(e, value, dtype), there)
            for line in range(0 if adjacent else width):
                inside = b.icmp_signed("<", e.const(left.type, line), left)
                place = e.offset(here, b.mul(across, e.const(left.type, line)))
                value = widen(e, e.load(place, storage(dtype), inside), dtype)
                e.store(value, e.offset(there, line * wide))


def _write_product(e: Emitter, dtype: DType, height: int) -> None:
    """All tiles of the product over one block of the inner dimension."""
    width = _VECTORS * lanes(dtype)
    m, n, c = e.word("m"), e.word("n"), e.pointer("c")
    a, right, c_row = e.pointer("a"), e.pointer("b"), e.word("c_row")
    with e.loop(0, n, width) as column:
        number = e.b.sdiv(column.index, e.const(n.type, width))
        panel = e.offset(right, e.b.mul(number, e.word("b_panel")))
        with e.loop(0, m, height) as row:
            index = e.b.sdiv(row.index, e.const(m.type, height))
            left = e.offset(a, e.b.mul(index, e.word("a_panel")))
            place = e.offset(c, e.b.mul(row.index, c_row))
            place = e.offset(place, e.b.mul(column.index, e.const(n.type, dtype.size)))
            free_rows, free_columns = e.b.sub(m, row.index), e.b.sub(n, column.index)
            _write_tile(e, dtype, height, (left, panel, place), (free_rows, free_columns))


def _write_tile(
    e: Emitter,
    dtype: DType,
    height: int,
    places: tuple[Value, Value, Value],
    free: tuple[Value, Value],
) -> None:
    """One tile: `height` by `_VECTORS` accumulators, all of them values of the loop.

    `places` are the left panel, the right one and the tile's corner in the product; `free` are the
    rows and columns of the product from that corner on.
    """
    (a, b, c), (left_rows, left_columns) = places, free
    type_, count = compute(dtype), lanes(dtype)
    whole = vector(type_, count)
    i64 = left_rows.type
    masks = [
        e.mask_below(e.b.sub(left_columns, e.const(i64, v * count)), count) for v in range(_VECTORS)
    ]
    b_step = e.word("b_step")
    zero = [e.const(whole, 0)] * (height * _VECTORS)
    with e.loop(0, e.word("k"), carry=zero) as loop:
        here = e.offset(b, e.b.mul(loop.index, b_step))
        vectors = [
            e.load(e.offset(here, v * count * dtype.size), whole, masks[v]) for v in range(_VECTORS)
        ]
        column = e.offset(a, e.b.mul(loop.index, e.const(i64, height * dtype.size)))
        following: list[Value] = []
        for r in range(height):
            factor = e.splat(e.load(e.offset(column, r * dtype.size), type_), count)
            sums = loop.values[r * _VECTORS : (r + 1) * _VECTORS]
            following += [e.fma(factor, v, s) for v, s in zip(vectors, sums, strict=True)]
        loop.next(*following)
    accumulate = e.b.icmp_signed("!=", e.word("accumulate"), e.const(i64, 0))
    add = e.b.fadd if dtype.kind == "float" else e.b.add
    for r in range(height):
        with e.b.if_then(e.b.icmp_signed("<", e.const(i64, r), left_rows)):
            line = e.offset(c, e.b.mul(e.word("c_row"), e.const(i64, r)))
            for v in range(_VECTORS):
                place = e.offset(line, v * count * dtype.size)
                value = loop.values[r * _VECTORS + v]
                with e.branch(accumulate, [value]) as more:
                    more.next(add(value, e.load(place, whole, masks[v])))
                e.store(more.values[0], place, masks[v])
