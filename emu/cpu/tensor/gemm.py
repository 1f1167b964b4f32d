"""tmatmul: one kernel call for a whole product, batches, blocks and edges included.

*Schedule.* `run_matmul` decides, from types, extents and strides alone: which batch dimensions are
further rows; whether the transposed product is the better one; the register tile and how many of
them cover the result; what is packed and what is read in place; along which dimension threads
divide the result. The kernel (`Writer`) loops over batches, then over blocks of columns, of the
inner dimension and of rows, packs, and calls the tile (`tile.py`) for each piece of the result.

Rows are cut into tiles of two heights that differ by one, columns into tiles whose numbers of
vectors differ by one, so that nothing is computed in vain but the lanes of the last vector. The
rows of a tile stay in the first-level cache while a block of the right operand passes by from the
second. Every element is summed in the same order whatever the blocks of rows and columns are.
"""

from __future__ import annotations

import math

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.emit import target
from emu.cpu.tensor.epilogue import Epilogue, bias_layout, lanes, sum_size
from emu.cpu.tensor.gemm_code import WORDS, Form, Writer
from emu.cpu.tensor.gemv import as_dots, run_dots
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, Word, kernel
from emu.cpu.tensor.pack import layout, slack
from emu.cpu.tensor.plan import ALIGNMENT
from emu.cpu.tensor.product import (
    BY_BATCH,
    BY_COLUMNS,
    BY_ROWS,
    Product,
    broadcast,
    operand_words,
    simplified,
)
from emu.cpu.tensor.tile import most_rows

PLAIN = Attributes()
"""No activation."""
_UNBLOCKED = 3072
"""Bytes of a line of the inner dimension up to which it is not cut into blocks."""
_DEPTH_BYTES = 2048
"""Of such a line in a block."""
_IN_PLACE = 1 << 20
"""Bytes from the first to the last row of a right operand that need not be packed."""
_STREAM = 16
"""Rows of a large right operand that are read side by side, for as many rows of the left one."""
_LARGE = 1 << 25
"""Bytes from which a right operand is too large for any cache."""
_COLLISION, _WAYS = 4096, 9
"""Bytes apart at which lines share their place in a first-level cache, and how many find room."""
_NEAR = 1 << 23
"""Bytes of a right operand that a cache may have near enough for it to be read in place."""
_FEW_TILES, _FEW_TILES_OF_FAR, _FEW_TILES_AT_A_COST = 40, 10, 5
"""Tiles of rows up to which packing the right operand does not pay; where it is not near; where its
rows collide, or its elements have to be widened."""
_WIDEST = 16
"""Vectors across a tile at most."""
_LATENCY = 8
"""Multiplications under way at a time."""
_BAND = 1024
"""Rows for which partial sums are kept, where they cannot be kept in the result."""
_LEFT_BYTES = _RIGHT_BYTES = 1 << 19
"""Of a packed block, to be found in the second-level cache."""


@schedule("tmatmul")
def _matmul(call: Call) -> None:
    run_matmul(call["d"], call["x"], call["y"], call.get("bias"), call.at)


def run_matmul(
    destination: View, left: View, right: View, bias: View | None,
    attributes: Attributes = PLAIN,
) -> None:  # fmt: skip
    """destination = activation(left @ right + bias) over views of at least two dimensions each.

    Batch dimensions and the bias broadcast to the destination's by NumPy's rule.
    """
    p = simplified(broadcast(destination, left, right, bias))
    dots = as_dots(p)
    if dots is not None:
        run_dots(dots, attributes)
        return
    form = _form(p, attributes.activation)
    words = _words(p, form)
    words |= {"alpha": float(attributes.alpha), "beta": float(attributes.beta)}
    run = kernel(form.name, WORDS, lambda e: Writer(e, form).write(), parallel=True, lean=True)
    run(**words)


def _shape(dtype: DType, m: int, n: int) -> tuple[int, int]:
    """Height and vectors of the tile that covers m by n best."""
    across = -(-n // lanes(dtype))
    best = (math.inf, 1, 1)
    for most in range(1, min(across, target()[1] - 2, _WIDEST) + 1):
        columns = _cut(across, most)
        rows = _cut(m, most_rows(max(columns)))
        cost = sum(i * j * _cost(h, v) for h, i in rows.items() for v, j in columns.items())
        best = min(best, (cost, max(rows), max(columns)))
    return best[1], best[2]


def _cut(total: int, most: int) -> dict[int, int]:
    """How many pieces of which size, at most two that differ by one, `total` is cut into."""
    pieces = -(-total // most)
    size, larger = divmod(total, pieces)
    return {size + 1: larger, size: pieces - larger} if larger else {size: pieces}


def _cost(rows: int, vectors: int) -> float:
    """Of one step of a tile, in multiplications: what limits it of multiplications, loads and the
    latency of one multiplication, and something for beginning and storing the tile."""
    step = max(rows * vectors, 1.25 * (rows + vectors), _LATENCY)
    return step + rows / 4 + vectors / 2 + 2


def _form(p: Product, activation: int) -> Form:
    """The kernel for a product."""
    (m, n, k), dtype = p.extents, p.a.dtype
    height, vectors = _shape(dtype, m, n)
    bias = bias_layout(p.bias)
    assert bias is not None
    across = -(-n // lanes(dtype))
    return Form(
        Epilogue(p.c.dtype, bias, activation),
        height,
        vectors,
        dtype,
        left=_left(p, height),
        right=_right(p, height),
        direct=sum_size(dtype) == p.c.dtype.size == p.c.strides[-1],
        adjacent=p.c.strides[-1] == p.c.dtype.size,
        blocked=k > (_STREAM if _streamed(p) else _UNBLOCKED // sum_size(dtype)),
        masked=_has_masks() or n % lanes(dtype) > 0,
        ragged=(m % height > 0, across % vectors > 0),
        ahead=_ahead(p),
    )


def _streamed(p: Product) -> bool:
    """Whether a right operand too large for the caches serves few rows: then it is read along its
    rows, a few at a time, as memory likes it."""
    (m, n, k), size = p.extents, p.b.dtype.size
    return m <= _STREAM and k * n * size > _LARGE and p.b.strides[-1] == size


def _ahead(p: Product) -> int:
    """How many rows ahead the right operand is prefetched: where little is done with each."""
    m, n, k = p.extents
    if _streamed(p):
        return _STREAM // 2 if m > _STREAM // 4 else 0
    return _STREAM // 4 if m <= 2 and k * n * p.b.dtype.size > _IN_PLACE else 0


def _left(p: Product, height: int) -> str:
    """How the left operand is read: in place, as a tile's rows are few, unless they are so far
    apart that a cache cannot keep them side by side."""
    dtype, (row, column), k = p.a.dtype, p.a.strides[-2:], p.a.dims[-1]
    if dtype.size != sum_size(dtype):
        return layout(dtype, row, column)
    if row == dtype.size:
        return "column"
    collide = row % _COLLISION == 0 and height > _WAYS and k * dtype.size > _COLLISION // 4
    return layout(dtype, row, column) if collide else "row"


def _right(p: Product, height: int) -> str:
    """How the right operand is read: in place if too few rows use it for packing to pay, or caches
    hold it anyway."""
    (m, n, k), dtype, (row, column) = p.extents, p.b.dtype, p.b.strides[-2:]
    if column != dtype.size or not _readable(p):
        return layout(dtype, column, row)
    collide, narrow = row % _COLLISION == 0, sum_size(dtype) != dtype.size
    small = k * abs(row) * (4 if collide else 1) <= _IN_PLACE and not narrow
    tiles = _FEW_TILES if k * n * dtype.size <= _NEAR else _FEW_TILES_OF_FAR
    tiles = _FEW_TILES_AT_A_COST if collide or narrow else tiles
    return "row" if small or m <= tiles * height or _streamed(p) else "v"


def _has_masks() -> bool:
    """Whether the host loads a part of a vector as easily as the whole."""
    return target()[0] > 16


def _readable(p: Product) -> bool:
    """Whether rows of the right operand can be read by vectors, to their end."""
    return _has_masks() or p.extents[1] % lanes(p.b.dtype) == 0


def _words(p: Product, form: Form) -> dict[str, Word]:
    """The parameters of a product."""
    (m, n, k), dtype = p.extents, form.dtype
    size = sum_size(dtype)
    across = -(-n // lanes(dtype))
    rows, columns = -(-m // form.height), -(-across // form.vectors)
    depth = k if not form.blocked else _even(k, _STREAM if _streamed(p) else _DEPTH_BYTES // size)
    depth = max(depth, 1)
    block_rows = _even(rows, max(_LEFT_BYTES // (depth * size * form.height), 1))
    width = form.vectors * lanes(dtype)
    room = _RIGHT_BYTES * (4 if form.packs_left else 1)  # the left one is packed for every block
    block_cols = _even(columns, max(room // (depth * size * width), 1))
    words = operand_words(p) | {"depth": depth, "band": rows}
    words |= {"row_tiles": rows, "tall": m - rows * (form.height - 1), "block_rows": block_rows}
    words |= {"col_tiles": columns, "wide": across - columns * (form.vectors - 1)}
    words |= {"block_cols": block_cols, "split": _split(math.prod(p.batch), rows, columns)}
    if form.packs_left:
        panels = block_rows * form.height * depth * size + slack(dtype, form.height)
        words |= _private("left", panels)
    if form.packs_right:
        words |= _private("right", block_cols * width * depth * size + slack(dtype, width))
    if not form.direct and depth < k:
        band = min(rows, -(-_BAND // form.height))
        words |= {"band": band, "sums_row": block_cols * width * size}
        words |= _private("sums", band * form.height * block_cols * width * size)
    return words


def _private(name: str, size: int) -> dict[str, Word]:
    """Scratch memory for every part."""
    size = -(-size // ALIGNMENT) * ALIGNMENT
    return {name: SCRATCH.take(size * THREADS_MAX), f"{name}_part": size}


def _even(total: int, most: int) -> int:
    """The size of blocks of at most `most` that cover `total` evenly; at least 1."""
    return max(-(-total // max(-(-total // most), 1)), 1)


def _split(batches: int, rows: int, columns: int) -> int:
    """What threads divide: whole products if there are some for each; columns if there are enough,
    as each thread packs the columns it computes; or rows."""
    if batches >= THREADS_MAX:
        return BY_BATCH
    return BY_COLUMNS if columns >= min(2 * THREADS_MAX, rows) else BY_ROWS
