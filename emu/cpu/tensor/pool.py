"""Pooling: the greatest element, the mean or the Lp norm of every window of an image (N, C, space).

A window wholly in the padding has -inf as its greatest element (integers: the least one), and no
place (-1); its mean is 0 where padding counts and NaN where it does not; its norm is 0. Elements of
a window are summed in the type of arithmetic, rows first.

*Schedule.* One and two spatial dimensions are computed as three with leading extents of 1. A row of
results is made in two passes, which is fewer operations than window by window: the rows of the
source that its windows reach are folded into one row in scratch memory, with the operation's
neutral element on both sides for the padding; then the elements of that row a window covers are
folded, lane by lane. So there are no masks within. Windows `stride` elements apart are loaded
as every `stride`th of adjacent ones, beyond 4 gathered, always from the nearest cache. A
window that is all of the source is an ordinary reduction. Rows that are not adjacent elements go
through dense copies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from emu.cpu.tensor.attributes import SPATIAL_MAX, Attributes
from emu.cpu.tensor.axes import VECTOR, group_of
from emu.cpu.tensor.call import Call
from emu.cpu.tensor.call import schedule as bound
from emu.cpu.tensor.descriptor import View, dense
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, Word, kernel
from emu.cpu.tensor.pool_code import BLOCK, SLACK, Form, Pool
from emu.cpu.tensor.reduce import run_reduce

_GLOBAL = {
    ("tmaxpool", 0): "tredmax", ("tavgpool", 0): "tmean",
    ("tlppool", 1): "tsuml1", ("tlppool", 2): "tl2",
}  # fmt: skip
"""The reduction that a pool over all of the source is, by mnemonic and power."""


@bound("tmaxpool", "tavgpool", "tlppool")
def _pool(call: Call) -> None:
    power = call.at.count if call.mnemonic == "tlppool" else 0
    padded = call.mnemonic == "tavgpool" and call.flag("include_pad")
    run_pool(
        call.mnemonic, call["d"], call["x"], call.at, indices=call.get("indices"),
        padded=padded, power=power,
    )  # fmt: skip


def run_pool(
    mnemonic: str,
    destination: View,
    source: View,
    window: Attributes,
    *,
    indices: View | None = None,
    padded: bool = False,
    power: int = 0,
) -> None:
    """Over host views. `indices` takes the place of each greatest element in the whole source;
    `padded` says that padding counts in a mean, `power` is the p of an Lp norm."""
    axes = range(2, source.rank)
    whole = _GLOBAL.get((mnemonic, power))
    if whole and indices is None and _is_global(destination, source, window):
        run_reduce(whole, destination, source, axes)
        return
    x, y, places = source, destination, indices
    if x.strides[-1] != x.dtype.size:
        x = dense(SCRATCH.take(x.bytes), x.dtype, x.dims)
        run_copy(x, source)
    y, places = _adjacent(y), places and _adjacent(places)
    _record(mnemonic, y, x, places, window, padded, power)
    for result, made in ((destination, y), (indices, places)):
        if result is not None and made is not None and made is not result:
            run_copy(result, made)


def _adjacent(view: View) -> View:
    """The view, or one in scratch memory if its rows are not adjacent elements."""
    if view.strides[-1] == view.dtype.size:
        return view
    return dense(SCRATCH.take(view.bytes), view.dtype, view.dims)


def _is_global(destination: View, source: View, window: Attributes) -> bool:
    spatial = source.rank - 2
    return (
        math.prod(destination.dims[2:]) == 1
        and window.kernel[:spatial] == source.dims[2:]
        and not any(window.pad_begin[:spatial])
        and max(window.dilation[:spatial]) == 1
    )


def _record(
    mnemonic: str,
    destination: View,
    source: View,
    indices: View | None,
    window: Attributes,
    padded: bool,
    power: int,
) -> None:
    """Record the step; every view's last dimension is of adjacent elements."""
    spatial = source.rank - 2

    def three(values: Sequence[int], filler: int) -> list[int]:
        return [filler] * (SPATIAL_MAX - spatial) + list(values[:spatial])

    out = three(destination.dims[2:], 1)
    taps, stride = three(window.kernel, 1), three(window.stride, 1)
    dilation, pad = three(window.dilation, 1), three(window.pad_begin, 0)
    size = three(source.dims[2:], 1)
    form = Form(
        mnemonic, source.dtype, stride[2] if stride[2] <= 4 else 0, taps[2] if taps[2] <= 8 else 0,
        max(dilation) > 1, min(power, 3), indices is not None, math.prod(size) >= 1 << 31,
    )  # fmt: skip
    reach = (out[2] - 1) * stride[2] + (taps[2] - 1) * dilation[2] + 1
    width = max(reach, size[2] + pad[2])
    room = -(-(width + SLACK) * 8 // VECTOR) * VECTOR
    group = group_of(width * 4)
    counts = -(-(out[2] + SLACK) * 8 // VECTOR) * VECTOR

    def steps(view: View | None) -> list[int]:
        """Strides of the walk over rows of results: row, depth, channel, image."""
        if view is None:
            return [0] * 4
        return [*three(view.strides[2:], 0)[1::-1], *view.strides[1::-1]]

    places: dict[str, Word] = {} if indices is None else {"p2": indices.address}
    run = kernel(form.name, BLOCK, lambda e: Pool(e, form).write(), parallel=True)
    run(
        p0=destination.address, p1=source.address, **places,
        p3=SCRATCH.take((2 * group * room + counts) * THREADS_MAX), room=room, group=group,
        counts=counts, width=width,
        lines=math.prod(destination.dims[:2]) * out[0] * out[1], rank=4,
        dims=[out[1], out[0], *source.dims[1::-1]], s0=steps(destination), s2=steps(indices),
        s1=[0, 0, *source.strides[1::-1]], size=size, out=out, kernel=taps, stride=stride,
        dilation=dilation, pad=pad, pad_end=three(window.pad_end, 0), padded=int(padded),
        back=three(source.strides[2:], 0), power=float(power),
    )  # fmt: skip
