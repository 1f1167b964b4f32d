"""Instructions along axes: which indices are kept, which are folded, and in what order to visit.

`split` sorts a source's dimensions into the *kept* ones, which the destination has too, and the
*folded* ones, orders and merges both, and names the layout that results:

row       the fastest folded dimension is adjacent in memory: vectors lie along it
column    the fastest kept dimension is adjacent in both tensors: vectors lie across results
element   neither: one element at a time

Vectors have `VECTOR` bytes on every host (LLVM splits them where registers are shorter), so a fold
combines in one order everywhere and its result does not depend on the machine it is computed on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from emu.cpu.tensor.descriptor import View
from emu.cpu.tensor.elementwise import schedule
from emu.cpu.tensor.emit import I32, Emitter, Value, lanes_of, vector
from emu.cpu.tensor.kernels import Word

VECTOR = 64
WORDS = "p0 p1 rank dims:8 s0:8 s1:8 m n step folds extents:8 steps:8"
"""Parameters of every kernel of this kind: the destination p0 and source p1; the walk over kept
indices (rank, dims, strides s0 and s1); m, the columns; n and step, the fastest folded dimension;
the walk over the other folded indices (folds, extents, steps)."""


def split(destination: View, source: View, axes: Sequence[int]) -> tuple[str, dict[str, Word]]:
    """The layout and the values of `WORDS` for folding `axes` of `source`.

    `destination` has the source's rank; its extents along `axes` do not matter.
    """
    kept = tuple(d for d in range(source.rank) if d not in axes)
    dims, (to, back) = schedule([destination.permuted(kept), source.permuted(kept)])
    extents, (steps,) = schedule([source.permuted(tuple(axes))])
    if source.count == 0:
        extents, steps = [0], [0]
    layout = "element"
    if steps[0] == source.dtype.size and extents[0] > 1:
        layout = "row"
    elif (to[0], back[0]) == (destination.dtype.size, source.dtype.size) and dims[0] > 1:
        layout = "column"
    first = 1 if layout == "column" else 0
    return layout, {
        "p0": destination.address, "p1": source.address,
        "rank": len(dims) - first, "dims": dims[first:], "s0": to[first:], "s1": back[first:],
        "m": dims[0], "n": extents[0], "step": steps[0],
        "folds": len(extents) - 1, "extents": extents[1:], "steps": steps[1:],
    }  # fmt: skip


def expanded(view: View, rank: int, axes: Sequence[int]) -> View:
    """The view of a reduction's result with the reduced `axes` put back as extents of 1."""
    if view.rank == rank:
        return view
    own = iter(zip(view.dims, view.strides, strict=True))
    pairs = [(1, 0) if d in axes else next(own) for d in range(rank)]
    return View(
        view.address, view.dtype, tuple(n for n, _ in pairs), tuple(stride for _, stride in pairs)
    )


def reduced_dims(dims: tuple[int, ...], axes: Sequence[int], keep: bool) -> tuple[int, ...]:
    """The extents of a reduction's result: the reduced ones are 1, or gone."""
    return tuple(1 if d in axes else n for d, n in enumerate(dims) if keep or d not in axes)


def normal_axis(axis: int, rank: int) -> int | None:
    """An axis that may count from the end, as 0 to rank - 1; None when there is no such axis."""
    return axis % rank if -rank <= axis < rank else None


def masked_axes(mask: int, rank: int) -> tuple[int, ...] | None:
    """The axes of a bit mask, 0 meaning all; None when it names one that does not exist."""
    if mask >> rank:
        return None
    return tuple(d for d in range(rank) if not mask or mask >> d & 1)


def halves(e: Emitter, value: Value) -> tuple[Value, Value]:
    """The lower and the upper lanes of a vector; scalars, when it has two."""
    lanes = lanes_of(value.type) // 2
    if lanes == 1:
        low, high = (e.b.extract_element(value, e.const(I32, lane)) for lane in (0, 1))
        return low, high
    undefined = ir.Constant(value.type, ir.Undefined)
    picks = [
        ir.Constant(vector(I32, lanes), [ir.Constant(I32, first + k) for k in range(lanes)])
        for first in (0, lanes)
    ]
    low, high = (e.b.shuffle_vector(value, undefined, pick) for pick in picks)
    return low, high


def across(e: Emitter, value: Value, combine: Callable[[Value, Value], Value]) -> Value:
    """All lanes of a vector combined to a scalar, half with half."""
    while lanes_of(value.type) > 1:
        value = combine(*halves(e, value))
    return value


def blank(e: Emitter, value: Value, mask: Value | None, filler: Value) -> Value:
    """`value` with `filler` in the lanes outside `mask`."""
    return value if mask is None else e.b.select(mask, value, filler)
