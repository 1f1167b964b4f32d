"""Elementwise instructions: any expression over any strides, in one pass over memory.

*Schedule.* Dimensions of extent 1 go, the rest are ordered by the destination's strides and merged
where every operand allows it. What remains is an inner row and an outer walk. If the row is
adjacent in the destination and each source's row is adjacent too (class `v`) or one element
(class `s`), it is computed by whole vectors (`elementwise_rows`). A source that is adjacent along
another dimension instead (class `t`: a transposed matrix) is taken by tiles (`elementwise_tiles`).
Rows too short for vectors, and rows of any other stride, are computed in chunks
(`elementwise_chunks`), or, if that costs little, element by element (class `g`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from emu.cpu.tensor.call import Call
from emu.cpu.tensor.call import schedule as bound
from emu.cpu.tensor.descriptor import I8, I16, I32, I64, View
from emu.cpu.tensor.elementwise_chunks import write_short_rows, write_strided
from emu.cpu.tensor.elementwise_rows import BLOCK, FAR, NEAR, STREAMED, write_rows
from emu.cpu.tensor.elementwise_tiles import write_tiles
from emu.cpu.tensor.expr import Expr, arg
from emu.cpu.tensor.formula import Formula
from emu.cpu.tensor.kernels import Word, kernel
from emu.cpu.tensor.semantics import BINARY, UNARY, WHERE

Writer = Callable[..., None]
_STREAMED = 16 << 20
"""Bytes from which on a destination is written past the caches: most of it would not stay."""
_NEAR, _NEAR_PAGED = 2 << 20, 8 << 20
"""Bytes up to which a destination is written by tiles without asking for memory ahead of time; the
latter where lines of a source are a multiple of a page apart."""
_LONG_ROW = 4096
_MANY_ROWS = 64
_MANY_SHORT = 8
"""Fewer short rows, or fewer elements across, are not worth a chunk or a tile."""
RAW = {1: I8, 2: I16, 4: I32, 8: I64}
"""The type, by size, as which elements are moved that nobody looks at."""


@bound(*BINARY, *UNARY, in_place=True)
def _elementwise(call: Call) -> None:
    meaning = BINARY.get(call.mnemonic) or UNARY[call.mnemonic]
    sources = [view for name, view in call.views.items() if name != "d"]
    run_expression(call.mnemonic, meaning.expr, call["d"], sources, call.params)


@bound("twhere", in_place=True)
def _where(call: Call) -> None:
    run_where(call["d"], call["c"], call["x"], call["y"])


@bound("tcopy", in_place=True)
def _copy(call: Call) -> None:
    run_copy(call["d"], call["x"])


def run_expression(
    name: str,
    expr: Expr,
    destination: View,
    sources: Sequence[View],
    params: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Compute `expr`, called `name`, over host views; sources are broadcast to the destination.

    All sources have one dtype, but for booleans that choose. The expression is computed in it; if
    the destination's differs, the result is converted (or, being a comparison, is boolean already).
    """
    if destination.count == 0:
        return
    operands = [destination]
    for source in sources:
        stretched = source.broadcast(destination.dims)
        assert stretched is not None  # the instruction has checked the shapes
        operands.append(stretched)
    dims, strides = schedule(operands)
    formula = Formula(name, expr, destination.dtype, tuple(v.dtype for v in sources))
    layout, write = _choice(formula, operands, dims, strides)
    reach = _reach(write, layout, destination.bytes, dims, strides)
    words: dict[str, Word] = {}
    for k, (view, steps) in enumerate(zip(operands, strides, strict=True)):
        words |= {f"p{k}": view.address, f"i{k}": steps[0], f"s{k}": steps[1:]}
    rows = math.prod(dims[1:])
    run = kernel(
        f"{formula.types} {write.__name__} {layout} {reach}",
        BLOCK,
        lambda e: write(e, formula, layout, reach=reach),
        parallel=True,
    )
    run(
        n=dims[0], rows=rows, rank=len(dims) - 1, dims=dims[1:] or [1],
        by_rows=rows >= _MANY_ROWS, alpha=float(params[0]), beta=float(params[1]), **words,
    )  # fmt: skip


def run_unary(mnemonic: str, destination: View, source: View, params: tuple[float, float]) -> None:
    """A unary instruction of `semantics.UNARY` over host views."""
    run_expression(mnemonic, UNARY[mnemonic].expr, destination, [source], params)


def run_copy(destination: View, source: View) -> None:
    """Copy with broadcasting and conversion; equal types are moved as raw bits."""
    if destination.dtype is source.dtype:
        destination, source = _raw(destination), _raw(source)
    run_expression("tcopy", arg(0), destination, [source])


def run_where(destination: View, chosen: View, this: View, other: View) -> None:
    """Elements of `this` where the boolean is true, of `other` elsewhere, moved as raw bits."""
    run_expression("twhere", WHERE, _raw(destination), [chosen, _raw(this), _raw(other)])


def _raw(view: View) -> View:
    return View(view.address, RAW[view.dtype.size], view.dims, view.strides)


def schedule(views: Sequence[View]) -> tuple[list[int], list[list[int]]]:
    """Common extents, fastest first, and each view's strides in that order; at least one."""
    first = views[0]
    order = [d for d in range(first.rank) if first.dims[d] > 1]
    order.sort(key=lambda d: (abs(first.strides[d]), -d))
    dims: list[int] = []
    strides: list[list[int]] = [[] for _ in views]
    for d in order:
        extent = first.dims[d]
        if dims and all(
            v.strides[d] == s[-1] * dims[-1] for v, s in zip(views, strides, strict=True)
        ):
            dims[-1] *= extent
            continue
        dims.append(extent)
        for view, steps in zip(views, strides, strict=True):
            steps.append(view.strides[d])
    if not dims:
        return [1], [[view.dtype.size] for view in views]
    return dims, strides


def _choice(
    formula: Formula, views: Sequence[View], dims: list[int], strides: Sequence[list[int]]
) -> tuple[str, Writer]:
    """The classes of the operands, and what writes a kernel for these. A dimension that is to be
    the cross dimension of tiles is moved in front of the other outer ones."""
    sizes = [view.dtype.size for view in views]
    lines = [
        {size: "v", 0: "s"}.get(steps[0], "g") for steps, size in zip(strides, sizes, strict=True)
    ]
    if lines[0] == "v":
        if len(dims) > 1 and dims[0] < formula.lanes and dims[1] >= _MANY_SHORT:
            short = [_short(s, dims[0], size) for s, size in zip(strides, sizes, strict=True)]
            if short[0] == "v":
                return "".join(short), write_short_rows
        if "g" not in lines:
            return "".join(lines[1:]), write_rows
        if cross := _cross(lines, dims, strides, sizes):
            for order in (dims, *strides):
                order.insert(1, order.pop(cross))
            return "".join(lines[1:]).replace("g", "t"), write_tiles
    if formula.cheap:
        return "g", write_rows
    return "".join("v" if line == "v" else "x" for line in lines), write_strided


def _reach(
    write: Writer, layout: str, size: int, dims: Sequence[int], strides: Sequence[Sequence[int]]
) -> str:
    """How far away the operands are, to the kernels that care, for a destination of `size` bytes.
    Lines a multiple of a page apart drive each other out of a cache if they come early."""
    if (
        size >= _STREAMED
        and layout != "g"
        and dims[0] >= (_LONG_ROW if write is write_rows else 64)
    ):
        return STREAMED
    if write is not write_tiles:
        return NEAR
    paged = any(steps[0] % 4096 == 0 for steps in strides[1:] if steps[0])
    return FAR if size > (_NEAR_PAGED if paged else _NEAR) else NEAR


def _short(steps: Sequence[int], columns: int, size: int) -> str:
    """The class of an operand in chunks of short rows (`elementwise_chunks`)."""
    if steps[:2] == [size, columns * size]:
        return "v"
    if not steps[1]:
        return "p"
    return {size: "r", 0: "b"}.get(steps[0], "x")


def _cross(
    lines: Sequence[str],
    dims: Sequence[int],
    strides: Sequence[Sequence[int]],
    sizes: Sequence[int],
) -> int:
    """The outer dimension along which all sources of class `g` are adjacent, if it is not too
    short for tiles; else 0."""
    for d in range(1, len(dims)):
        across = (line != "g" or steps[d] == size
                  for line, steps, size in zip(lines, strides, sizes, strict=True))  # fmt: skip
        if all(across):
            return d if dims[d] >= _MANY_SHORT else 0
    return 0
