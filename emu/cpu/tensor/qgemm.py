"""tqmatmul: products of matrices of bytes, exact in i32, with zero points and requantisation.

*Schedule.* The host multiplies an unsigned byte with a signed one, four at a time (`dots.py`). x is
read in place, four steps of the inner dimension to a broadcast lane; y is packed, as quads of the
signedness that x does not have: its high bit is turned over where both have the same, which moves
its zero point b by 128. Zero points are taken out at the end, from the sums of y's columns, made
while packing, and of x's rows:

    sum of x * y  -  a[i] * (columns[j] - k * b[j])  -  b[j] * rows[i]

A panel, `DEPTH` quads deep, stays in the first-level cache, a group of them in the second, while
all rows of x pass by; where the inner dimension is deeper, sums wait in the result, or in scratch
memory, for what is still to be added. Then bias, scale and zero point of the result, while the sums
are still in registers. Threads divide the columns, or the rows where there are few columns; each
packs for itself. Integers are exact, so nothing depends on how the work is cut.

The kernel is in `qgemm_code.py`.
"""

from __future__ import annotations

from typing import Any

from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import View, dense
from emu.cpu.tensor.dots import QUAD, quad_lanes
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import I64, Block
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, kernel
from emu.cpu.tensor.qgemm_code import BLOCK, DEPTH, VECTORS, Form, Writer
from emu.cpu.tensor.tile import most_rows

_GROUP_BYTES = 1 << 18
"""Of packed panels that are kept in the second-level cache."""


@schedule("tqmatmul")
def _qmatmul(call: Call) -> None:
    extras = {name: call.get(name) for name in ("bias", "xz", "yz", "scale", "dz")}
    run_qmatmul(call["d"], call["x"], call["y"], extras)


def run_qmatmul(d: View, x: View, y: View, extras: dict[str, View | None]) -> None:
    """d = (x - xz) @ (y - yz) + bias, scaled if there is a scale, + dz; see the declaration."""
    batch, (m, n), k = d.dims[:-2], d.dims[-2:], x.dims[-1]
    quads = -(-k // QUAD)
    if x.strides[-1] != 1 or k % QUAD or k == 0:
        x = _padded(x, quads * QUAD)
    turned = y.strides[-2] == 1 and k % QUAD == 0
    if y.strides[-1] != 1 and not turned:
        y = _copied(y)
    out = d if d.strides[-1] == d.dtype.size else dense(SCRATCH.take(d.bytes), d.dtype, d.dims)
    views = {"x": _stretched(x, (*batch, *x.dims[-2:])), "y": _stretched(y, (*batch, k, n)),
             "d": out}  # fmt: skip
    layouts = {}
    for name in ("bias", "scale"):
        given = extras[name]
        if given is not None:
            views[name], layouts[name] = _lined(_stretched(given, d.dims))
    blocks = max(-(-m // most_rows(VECTORS)), 1)
    height = max(-(-m // blocks), 1)
    form = Form(
        x.dtype, y.dtype, d.dtype, height, turned, layouts.get("bias", ""),
        layouts.get("scale", ""), extras["xz"] is not None, extras["yz"] is not None,
        extras["dz"] is not None, quads > DEPTH,
    )  # fmt: skip
    width = VECTORS * quad_lanes()
    panels = -(-n // width)
    depth = min(quads, DEPTH)
    group = max(1, min(panels, _GROUP_BYTES // (width * depth * QUAD + 1)))
    packed = group * width * depth * QUAD
    columns = group * width * 2 * QUAD
    words: dict[str, Any] = {
        "m": m, "n": n, "k": k, "quads": quads, "blocks": blocks, "tall": m - blocks * (height - 1),
        "panels": panels, "group": group, "by_rows": int(panels < THREADS_MAX and blocks > panels),
        "packed": SCRATCH.take(packed * THREADS_MAX), "packed_part": packed,
        "sums": SCRATCH.take(m * QUAD * THREADS_MAX), "sums_part": m * QUAD, "depth": depth,
        "columns": SCRATCH.take(columns * THREADS_MAX), "columns_part": columns,
        **_batches(views), "y_column": y.strides[-1],
    }  # fmt: skip
    for name, view in views.items():
        words |= {name: view.address, f"{name}_row": view.strides[-2]}
    for name in ("xz", "yz", "dz"):
        given = extras[name]
        if given is not None:
            words[name] = given.address
            if given.rank:
                words[f"{name}_step"] = given.strides[0]
    if form.deep and not form.direct:
        waiting = m * group * width * QUAD
        words |= {"waiting": SCRATCH.take(waiting * THREADS_MAX), "waiting_part": waiting}
        words["waiting_row"] = group * width * QUAD
    kernel(form.name, BLOCK, lambda e: Writer(e, form).write(), parallel=True)(**words)
    if out is not d:
        run_copy(d, out)


def _batches(views: dict[str, View]) -> dict[str, Any]:
    """The words of the walk over batches."""
    dims = views["d"].dims[:-2]
    kept = [i for i, extent in enumerate(dims) if extent != 1]
    words: dict[str, Any] = {"batches": 1, "rank": len(kept), "dims": [dims[i] for i in kept]}
    for i in kept:
        words["batches"] *= dims[i]
    for name, view in views.items():
        words[f"{name}_s"] = [view.strides[i] for i in kept]
    return words


def _stretched(view: View, dims: tuple[int, ...]) -> View:
    stretched = view.broadcast(dims)
    assert stretched is not None  # the instruction has checked the shapes
    return stretched


def _copied(view: View) -> View:
    copy = dense(SCRATCH.take(view.bytes), view.dtype, view.dims)
    run_copy(copy, view)
    return copy


def _lined(view: View) -> tuple[View, str]:
    """A view and how its rows lie: "v" adjacent elements, "s" one element for all."""
    if view.strides[-1] == 0 or view.dims[-1] == 1:
        return view, "s"
    return (view, "v") if view.strides[-1] == view.dtype.size else (_copied(view), "v")


def _padded(x: View, width: int) -> View:
    """A copy whose rows are `width` bytes, zeros at their ends."""
    whole = dense(SCRATCH.take(max(x.count // max(x.dims[-1], 1), 1) * width), x.dtype,
                  (*x.dims[:-1], width))  # fmt: skip
    zero = dense(SCRATCH.take(64), x.dtype, (1,))
    kernel("tqmatmul zero", Block("to"), lambda e: e.store(e.const(I64, 0), e.pointer("to")))(
        to=zero.address
    )
    run_copy(whole, _stretched(zero, whole.dims))
    rows = View(whole.address, x.dtype, x.dims, whole.strides)
    if x.count:
        run_copy(rows, x)
    return rows
