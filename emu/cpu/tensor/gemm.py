"""tmatmul: one kernel call for a whole product, batches, blocks and edges included.

*Schedule.* `run_matmul` decides, from types, extents and strides alone: which batch dimensions are
further rows; whether the transposed product is the better one; the register tile and how many of
them cover the result; what is packed and what is read in place; along which dimension threads
divide the result. The kernel (`Writer`) loops over batches, then over blocks of columns, of the
inner dimension and of rows, packs, and calls the tile (`tile.py`) for each piece of the result.

Rows are cut into tiles of two heights that differ by one, columns into tiles whose numbers of
vectors differ by one, so that nothing is computed in vain but the lanes of the last vector. A panel
of the right operand stays in the first-level cache while a block of the left one passes by in the
second. Every element is summed in the same order whatever the blocks of rows and columns are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import DType, View, dense
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import target
from emu.cpu.tensor.epilogue import Epilogue, bias_layout, sum_size
from emu.cpu.tensor.epilogue import lanes as lanes
from emu.cpu.tensor.gemm_code import BY_BATCH, BY_COLUMNS, BY_ROWS, WORDS, Form, Writer
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, Word, kernel
from emu.cpu.tensor.pack import layout, slack
from emu.cpu.tensor.plan import ALIGNMENT
from emu.cpu.tensor.tile import most_rows

PLAIN = Attributes()
"""No activation."""
_DEPTH_BYTES = 1024
"""Of a line of the inner dimension in a block: a panel of the right operand is to stay in the
first-level cache."""
_LATENCY = 8
"""Multiplications under way at a time."""
_BAND = 1024
"""Rows for which partial sums are kept, where they cannot be kept in the result."""
_LEFT_BYTES, _RIGHT_BYTES = 1 << 19, 1 << 22
"""Of a packed block: half the second-level cache, a part of the third."""


@dataclass(frozen=True)
class Product:
    """c = a @ b with batch dimensions in front of all (strides 0 where broadcast), one rank."""

    c: View
    a: View
    b: View
    bias: View | None

    @property
    def extents(self) -> tuple[int, int, int]:
        """m, n, k."""
        return self.c.dims[-2], self.c.dims[-1], self.a.dims[-1]

    @property
    def batch(self) -> tuple[int, ...]:
        return self.c.dims[:-2]


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
    batch = destination.dims[:-2]
    if bias is not None:
        bias = _stretched(bias, destination.dims)
        if bias_layout(bias) is None and bias.strides[-2] not in (0, bias.dtype.size):
            bias = _copied(bias)
    product = Product(
        destination,
        _stretched(left, (*batch, *left.dims[-2:])),
        _stretched(right, (*batch, *right.dims[-2:])),
        bias,
    )
    _run(product, attributes, accumulate=False)


def multiply(c: View, a: View, b: View, accumulate: bool) -> None:
    """c (+)= a @ b for matrices; operands may be narrower than c, with the same type of sums."""
    _run(Product(c, a, b, None), PLAIN, accumulate)


def _stretched(view: View, dims: tuple[int, ...]) -> View:
    stretched = view.broadcast(dims)
    assert stretched is not None  # the instruction has checked the shapes
    return stretched


def _copied(view: View) -> View:
    """A dense copy."""
    copy = dense(SCRATCH.take(view.bytes), view.dtype, view.dims)
    run_copy(copy, view)
    return copy


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


# the schedule


def _folded(p: Product) -> Product:
    """Batch dimensions that the right operand lacks and that continue the rows, as rows; others
    merged where all operands allow it, extents of 1 dropped."""
    views = [v for v in (p.c, p.a, p.b, p.bias) if v is not None]
    while True:
        for at in range(len(views[0].dims) - 2):
            if views[0].dims[at] == 1:
                views = [_without(v, at) for v in views]
                break
            if at == len(views[0].dims) - 3:
                joined = views[2].strides[at] == 0 and all(
                    v.strides[at] == v.strides[-2] * v.dims[-2]
                    for v in (views[0], views[1], *views[3:])
                )
                if joined:
                    views = [
                        _joined(v, at) if v is not views[2] else _without(v, at) for v in views
                    ]
                    break
            elif all(v.strides[at] == v.strides[at + 1] * v.dims[at + 1] for v in views):
                views = [_joined(v, at) for v in views]
                break
        else:
            return Product(views[0], views[1], views[2], views[3] if p.bias else None)


def _without(view: View, at: int) -> View:
    return View(
        view.address, view.dtype, view.dims[:at] + view.dims[at + 1 :],
        view.strides[:at] + view.strides[at + 1 :],
    )  # fmt: skip


def _joined(view: View, at: int) -> View:
    """Dimensions `at` and the next as one."""
    dims = (*view.dims[:at], view.dims[at] * view.dims[at + 1], *view.dims[at + 2 :])
    return View(view.address, view.dtype, dims, view.strides[:at] + view.strides[at + 1 :])


def _turned(p: Product) -> Product:
    """The transposed product: c.T = b.T @ a.T."""

    def turned(view: View) -> View:
        rank = view.rank
        return view.permuted((*range(rank - 2), rank - 1, rank - 2))

    return Product(turned(p.c), turned(p.b), turned(p.a), p.bias and turned(p.bias))


def _run(p: Product, attributes: Attributes, accumulate: bool) -> None:
    p = _folded(p)
    size = p.c.dtype.size
    if p.c.strides[-1] != size and p.c.strides[-2] == size:
        p = _turned(p)
    if p.bias is not None and bias_layout(p.bias) is None:
        p = replace(p, bias=_copied(p.bias))
    form = _form(p, attributes.activation)
    if accumulate and not form.direct:  # partial sums lie elsewhere: what c holds is a bias
        return _run(replace(p, bias=p.c), attributes, accumulate=False)
    words = _words(p, form)
    words["accumulate"] = int(accumulate)
    words |= {"alpha": float(attributes.alpha), "beta": float(attributes.beta)}
    run = kernel(form.name, WORDS, lambda e: Writer(e, form).write(), parallel=True)
    run(**words)


def _shape(dtype: DType, m: int, n: int) -> tuple[int, int]:
    """Height and vectors of the tile that covers m by n best.

    A tile costs what limits a step of the inner dimension: multiplications, loads, or the latency
    of one multiplication, and something for beginning and storing it.
    """
    across = -(-n // lanes(dtype))
    best = (math.inf, 1, 1)
    for most in range(1, target()[1] // 2):
        vectors = -(-across // -(-across // most))
        height = -(-m // -(-m // most_rows(vectors)))
        tiles = -(-m // height) * -(-across // vectors)
        waits = max(height * vectors, height + vectors, _LATENCY)
        best = min(best, (tiles * (waits + (height + vectors) / 8 + 2), height, vectors))
    return best[1], best[2]


def _form(p: Product, activation: int) -> Form:
    """The kernel for a product."""
    (m, n, _), dtype = p.extents, p.a.dtype
    height, vectors = _shape(dtype, m, n)
    layouts = bias_layout(p.bias)
    assert layouts is not None
    return Form(
        Epilogue(p.c.dtype, layouts, activation),
        height,
        vectors,
        dtype,
        _left(p, vectors),
        _right(p, height),
        sum_size(dtype) == p.c.dtype.size == p.c.strides[-1],
        p.c.strides[-1] == p.c.dtype.size,
    )


def _left(p: Product, vectors: int) -> str:
    n, dtype = p.extents[1], p.a.dtype
    row, column = p.a.strides[-2:]
    if -(-n // (lanes(dtype) * vectors)) <= 8:
        return "column" if row == dtype.size else "row"
    return layout(dtype, row, column)


def _right(p: Product, height: int) -> str:
    m, dtype = p.extents[0], p.b.dtype
    row, column = p.b.strides[-2:]
    if column == dtype.size and m <= 4 * height:
        return "row"
    return layout(dtype, column, row)


def _words(p: Product, form: Form) -> dict[str, Word]:
    """The parameters of a product."""
    (m, n, k), dtype = p.extents, form.dtype
    size = sum_size(dtype)
    across = -(-n // lanes(dtype))
    rows, columns = -(-m // form.height), -(-across // form.vectors)
    depth = _even(k, _DEPTH_BYTES // size)
    block_rows = _even(rows, max(_LEFT_BYTES // (depth * size * form.height), 1))
    width = form.vectors * lanes(dtype)
    block_cols = _even(columns, max(_RIGHT_BYTES // (depth * size * width), 1))
    words: dict[str, Word] = {"m": m, "n": n, "k": k, "depth": depth, "block_rows": block_rows}
    words |= {"row_tiles": rows, "tall": m - rows * (form.height - 1), "block_cols": block_cols}
    words |= {"col_tiles": columns, "wide": across - columns * (form.vectors - 1), "band": rows}
    words |= {"batches": math.prod(p.batch), "rank": len(p.batch), "dims": p.batch[::-1]}
    words["split"] = _split(math.prod(p.batch), rows, columns)
    for name, view in (("a", p.a), ("b", p.b), ("c", p.c), ("bias", p.bias)):
        if view is not None:
            words |= {name: view.address, f"{name}_s": view.strides[-3::-1]}
            words[f"{name}_row"] = view.strides[-2]
            if name != "bias":
                words[f"{name}_col"] = view.strides[-1]
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
    """What threads divide: whole products if there are some for each, or the longer side."""
    if batches >= THREADS_MAX:
        return BY_BATCH
    return BY_ROWS if rows > columns else BY_COLUMNS
