"""A batch of matrix products: as views, as parameters of a kernel, and as a kernel sees it.

`Product` is c = a @ b (+ bias) with batch dimensions in front. `simplified` turns it into the form
with the fewest and longest loops; `operand_words` states it in parameters (`OPERAND_WORDS`), from
which a kernel finds the matrices of one batch index (`at_batch`) and its `share` of the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from emu.cpu.tensor.descriptor import View, dense
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import I64, Emitter, Value
from emu.cpu.tensor.epilogue import Epilogue, bias_layout
from emu.cpu.tensor.kernels import SCRATCH, Word
from emu.cpu.tensor.tile import Matrix

OPERAND_WORDS = (
    "a b c bias m n k batches rank dims:6 a_s:6 b_s:6 c_s:6 bias_s:6"
    " a_row a_col b_row b_col c_row c_col bias_row split alpha beta"
)
BY_BATCH, BY_ROWS, BY_COLUMNS = range(3)
"""What the word `split` says is divided among the parts."""


@dataclass(frozen=True)
class Product:
    """c = a @ b (+ bias); all views have the batch dimensions of c (strides 0 where broadcast)."""

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
        """Extents of the batch dimensions."""
        return self.c.dims[:-2]

    def mapped(self, change: Callable[[View], View]) -> Product:
        """The same change made to every operand."""
        bias = None if self.bias is None else change(self.bias)
        return Product(change(self.c), change(self.a), change(self.b), bias)


def broadcast(c: View, a: View, b: View, bias: View | None) -> Product:
    """The product of operands whose batch dimensions broadcast to those of `c`."""

    def stretched(view: View, dims: tuple[int, ...]) -> View:
        wide = view.broadcast(dims)
        assert wide is not None  # the instruction has checked the shapes
        return wide

    batch = c.dims[:-2]
    return Product(
        c,
        stretched(a, (*batch, *a.dims[-2:])),
        stretched(b, (*batch, *b.dims[-2:])),
        bias and stretched(bias, c.dims),
    )


def simplified(p: Product) -> Product:
    """The same product with batch dimensions merged, into the rows where the right operand lacks
    them; transposed if that makes the result's rows adjacent; its bias as an epilogue reads it."""
    p = _merged(p)
    size = p.c.dtype.size
    if p.c.strides[-1] != size and p.c.strides[-2] == size:
        p = turned(p)
    return with_plain_bias(p)


def with_plain_bias(p: Product) -> Product:
    """The product with a bias that an epilogue can read, copied if need be."""
    if p.bias is None or bias_layout(p.bias) is not None:
        return p
    copy = dense(SCRATCH.take(p.bias.bytes), p.bias.dtype, p.bias.dims)
    run_copy(copy, p.bias)
    return replace(p, bias=copy)


def turned(p: Product) -> Product:
    """The transposed product: c.T = b.T @ a.T."""

    def transposed(view: View) -> View:
        rank = view.rank
        return view.permuted((*range(rank - 2), rank - 1, rank - 2))

    flipped = p.mapped(transposed)
    return replace(flipped, a=flipped.b, b=flipped.a)


def _merged(p: Product) -> Product:
    """Batch dimensions merged with their neighbours or into the rows, those of extent 1 dropped."""
    at = 0
    while at < len(p.batch):
        if p.batch[at] == 1:
            p = p.mapped(lambda view, at=at: _without(view, at))  # type: ignore[misc]
        elif at + 1 < len(p.batch) and _continues(at, *_views(p)):
            p = p.mapped(lambda view, at=at: _joined(view, at))  # type: ignore[misc]
        else:
            at += 1
    last = len(p.batch) - 1
    others = [view for view in _views(p) if view is not p.b]
    if last >= 0 and p.b.strides[last] == 0 and _continues(last, *others):
        b = _without(p.b, last)
        return replace(p.mapped(lambda view: _joined(view, last)), b=b)
    return p


def _views(p: Product) -> list[View]:
    return [view for view in (p.c, p.a, p.b, p.bias) if view is not None]


def _continues(at: int, *views: View) -> bool:
    """Whether dimension `at` goes on where the next one ends, in every view."""
    return all(v.strides[at] == v.strides[at + 1] * v.dims[at + 1] for v in views)


def _without(view: View, at: int) -> View:
    """A dimension dropped."""
    dims, strides = view.dims, view.strides
    return View(
        view.address, view.dtype, dims[:at] + dims[at + 1 :], strides[:at] + strides[at + 1 :]
    )


def _joined(view: View, at: int) -> View:
    """Dimensions `at` and the next as one."""
    dims = (*view.dims[:at], view.dims[at] * view.dims[at + 1], *view.dims[at + 2 :])
    return View(view.address, view.dtype, dims, view.strides[:at] + view.strides[at + 1 :])


def operand_words(p: Product) -> dict[str, Word]:
    """The values of `OPERAND_WORDS`, less split, alpha and beta."""
    m, n, k = p.extents
    words: dict[str, Word] = {"m": m, "n": n, "k": k}
    words |= {"batches": math.prod(p.batch), "rank": len(p.batch), "dims": p.batch[::-1]}
    for name, view in (("a", p.a), ("b", p.b), ("c", p.c)):
        words |= {name: view.address, f"{name}_s": view.strides[:-2][::-1]}
        words |= {f"{name}_row": view.strides[-2], f"{name}_col": view.strides[-1]}
    if p.bias is not None:
        words |= {"bias": p.bias.address, "bias_s": p.bias.strides[:-2][::-1]}
        words["bias_row"] = p.bias.strides[-2]
    return words


def smaller(e: Emitter, x: Value, y: Value) -> Value:
    """The lesser of two i64."""
    return e.intrinsic("llvm.smin", I64, x, y)


def share(e: Emitter, count: Value, split: int) -> tuple[Value, Value]:
    """The part's range of `count` things, all of them if something else is divided."""
    b, one = e.b, e.const(I64, 1)
    mine = b.icmp_signed("==", e.word("split"), e.const(I64, split))
    several = b.icmp_signed(">", e.parts, one)
    with e.branch(b.and_(mine, several), [e.const(I64, 0), count]) as divided:
        low = b.sdiv(b.mul(count, e.part), e.parts)
        divided.next(low, b.sdiv(b.mul(count, b.add(e.part, one)), e.parts))
    return divided.values[0], divided.values[1]


@dataclass(frozen=True)
class Operands:
    """The matrices of one batch index; without a bias `bias` is not to be read."""

    a: Matrix
    b: Matrix
    c: Matrix
    bias: Matrix


def at_batch(e: Emitter, epilogue: Epilogue, index: Value) -> Operands:
    """The operands at a batch index, counted over all batch dimensions."""
    b = e.b
    names = ["a", "b", "c"] + (["bias"] if epilogue.bias else [])
    pointers = [e.pointer(name) for name in names]
    with e.loop(0, e.word("rank"), carry=[index, *pointers]) as d:
        rest, extent = d.values[0], e.word("dims", d.index)
        here = b.srem(rest, extent)
        moved = [
            e.offset(place, b.mul(here, e.word(f"{name}_s", d.index)))
            for name, place in zip(names, d.values[1:], strict=True)
        ]
        d.next(b.sdiv(rest, extent), *moved)
    a, right, c, *bias = d.values[1:]
    return Operands(
        Matrix(a, e.word("a_row"), e.word("a_col")),
        Matrix(right, e.word("b_row"), e.word("b_col")),
        Matrix(c, e.word("c_row"), e.word("c_col")),
        Matrix(bias[0] if bias else c, e.word("bias_row"), epilogue.bias_step),
    )
