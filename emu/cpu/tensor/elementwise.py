"""Elementwise instructions: any expression over any strides, in one pass over memory.

*Schedule.* Dimensions of extent 1 go, the rest are ordered by the destination's strides and merged
where every operand allows it. What remains is an inner row and an outer walk. If the row is
adjacent in the destination and each source's row is adjacent too (class `v`) or one element
(class `s`), it is computed by whole vectors, the rest of it under a mask; any other row (`g`) goes
element by element.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.cpu.tensor.call import Call
from emu.cpu.tensor.call import schedule as bound
from emu.cpu.tensor.descriptor import I8, I16, I32, I64, DType, View
from emu.cpu.tensor.emit import Block, Emitter, Value, bits_of, target, vector
from emu.cpu.tensor.expr import Expr, arg
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.semantics import BINARY, UNARY, WHERE
from emu.cpu.tensor.vectors import Arithmetic, compute, convert, narrow, storage, widen

_BLOCK = Block("rank n dims:8 p0 p1 p2 p3 s0:8 s1:8 s2:8 s3:8 i0 i1 i2 i3 alpha beta")
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


def activate(call: Call, result: View) -> None:
    """Apply the activation that the attribute block asks for."""
    if call.activation is not None:
        run_unary(call.activation, result, result, call.params)


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
    layout = _layout(operands, strides)
    dtypes = [source.dtype for source in sources]
    types = " ".join(d.name for d in dtypes)
    run = kernel(
        f"{name} {types} {destination.dtype.name} {layout}",
        _BLOCK,
        lambda e: _write(e, expr, destination.dtype, dtypes, layout),
    )
    words: dict[str, int | float | Sequence[int]] = {}
    for k, (view, steps) in enumerate(zip(operands, strides, strict=True)):
        words.update({f"p{k}": view.address, f"i{k}": steps[0], f"s{k}": steps[1:]})
    alpha, beta = (float(p) for p in params)
    run(rank=len(dims) - 1, n=dims[0], dims=dims[1:], alpha=alpha, beta=beta, **words)


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


def _layout(views: Sequence[View], strides: Sequence[Sequence[int]]) -> str:
    """The classes of the sources' rows, or 'g' where vectors do not apply."""
    if strides[0][0] != views[0].dtype.size:
        return "g"
    classes = ""
    for view, steps in zip(views[1:], strides[1:], strict=True):
        if steps[0] not in (0, view.dtype.size):
            return "g"
        classes += "s" if steps[0] == 0 else "v"
    return classes


def _write(e: Emitter, expr: Expr, result: DType, dtypes: Sequence[DType], layout: str) -> None:
    """Emit the kernel for one layout class."""
    dtype = next((d for d in dtypes if d.kind != "bool"), dtypes[0])
    widest = max(bits_of(storage(d.compute)) for d in (result, dtype))
    lanes = 1 if layout == "g" else target()[0] * 8 // widest
    names = range(len(dtypes) + 1)
    params = []
    if dtype.kind != "bool":
        params = [e.number(p, vector(compute(dtype), lanes)) for p in ("alpha", "beta")]
    steps = [e.word(f"i{k}") for k in names]
    n = e.word("n")
    pointers = [e.pointer(f"p{k}") for k in names]
    with e.walk("rank", "dims", [f"s{k}" for k in names], pointers) as row:
        single: list[Value | None] = [None] * len(dtypes)
        for k, c in enumerate(layout):
            if c == "s":
                single[k] = e.splat(e.load(row[k + 1], storage(dtypes[k])), lanes)

        def body(index: Value, mask: Value | None) -> None:
            at = [e.offset(p, e.b.mul(index, s)) for p, s in zip(row, steps, strict=True)]
            values = []
            for p, one, d in zip(at[1:], single, dtypes, strict=True):
                held = one if one is not None else e.load(p, vector(storage(d), lanes), mask)
                values.append(widen(e, held, d))
            value = Arithmetic(e, dtype).lower(expr, values, params)
            compared = value.type != vector(compute(dtype), lanes)
            value = convert(e, value, result if compared else dtype, result)
            e.store(narrow(e, value, result), at[0], mask)

        whole = e.b.and_(n, e.const(n.type, -lanes))
        with e.loop(0, whole, lanes) as at:
            body(at.index, None)
        if lanes > 1:
            rest = e.b.sub(n, whole)
            with e.b.if_then(e.b.icmp_signed(">", rest, e.const(n.type, 0))):
                body(whole, e.mask_below(rest, lanes))
