"""Scatter: a copy of a tensor in which indices say what to replace, or what to combine with.

The reverse of a gather (`gather.py`), with the same three ways of addressing: `tscatter` writes
slices along an axis, `tscatter_elements` elements with an index each, `tscatter_nd` slices behind
coordinates. After a look at the indices the tensor is copied, unless it *is* the destination: then
only what changes is touched. The updates follow, strictly in the order of their indices, on one
thread: so where two lead to one place the last one stays, and sums are rounded in one order.
"""

from __future__ import annotations

from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import BOOL, U8, DType, View
from emu.cpu.tensor.elementwise import RAW, run_copy
from emu.cpu.tensor.emit import I64, Block, Emitter, Value, target, vector
from emu.cpu.tensor.gather import (
    COORDINATES,
    Locator,
    Picks,
    along,
    coordinates,
    elements,
    look,
    row_kind,
)
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.rows import RowCopy, elements_at, layout, rows, shares, whole, words
from emu.cpu.tensor.vectors import Arithmetic, narrow, storage, widen

_COPY = Block(words(2))
_OF_BOOLS = {"add": "max", "mul": "min", "max": "max", "min": "min"}
"""OR and AND of zeros and ones."""
_BLOCK = Block(f"{words(3)} {COORDINATES}")


@schedule("tscatter", in_place=("x",))
def _scatter(call: Call) -> None:
    run_scatter(call["d"], call["x"], call["y"], call["u"], call.axis, call.mode)


@schedule("tscatter_elements", in_place=("x",))
def _scatter_elements(call: Call) -> None:
    run_scatter_elements(call["d"], call["x"], call["y"], call["u"], call.axis, call.mode)


@schedule("tscatter_nd", in_place=("x",))
def _scatter_nd(call: Call) -> None:
    run_scatter_nd(call["d"], call["x"], call["y"], call["u"], call.mode)


def run_scatter(
    destination: View, data: View, indices: View, updates: View, axis: int, reduction: str
) -> None:
    """destination = data, its slices along `axis` at the indices updated. `reduction` is a mode of
    the declaration: what an update does to the element it meets."""
    _run(destination, data, updates, along(destination, indices, axis), reduction)


def run_scatter_elements(
    destination: View, data: View, indices: View, updates: View, axis: int, reduction: str
) -> None:
    """destination = data, updated at an index along `axis` for each element of `updates`."""
    _run(destination, data, updates, elements(destination, indices, axis), reduction)


def run_scatter_nd(
    destination: View, data: View, indices: View, updates: View, reduction: str
) -> None:
    """destination = data, the slices behind the coordinates updated."""
    _run(destination, data, updates, coordinates(destination, indices, 0), reduction)


def _run(destination: View, data: View, updates: View, picks: Picks, reduction: str) -> None:
    look(picks)
    _copy(destination, data)
    if updates.count == 0:
        return
    dtype = destination.dtype if reduction != "none" else RAW[destination.dtype.size]
    if dtype is BOOL:
        dtype, reduction = U8, _OF_BOOLS[reduction]
    index = picks.indices.dtype
    parameters = layout([updates, picks.data, picks.indices], ordered=True)
    kind = row_kind(parameters, dtype, index, vectors=False)
    name = f"scatter {reduction} {dtype.name} {index.name} {kind}"
    kernel(name, _BLOCK, lambda e: _write(e, dtype, index, kind, reduction))(
        **parameters, **picks.coordinates
    )


def _copy(destination: View, source: View) -> None:
    """destination = source, which costs nothing where both are the same elements."""
    if destination.strides != source.strides:
        run_copy(destination, source)
        return
    raw = RAW[destination.dtype.size]
    parameters = layout([destination, source])
    adjacent = parameters["i0"] == raw.size

    def write(e: Emitter) -> None:
        with e.b.if_then(e.b.icmp_unsigned("==", e.word("p0"), e.word("p1"))):
            e.b.ret(e.const(I64, 0))
        share, step = shares(e, 64), e.word("i0")
        copy = RowCopy(e, share.begin, share.end, storage(raw))
        with rows(e, 2, share) as (to, back):
            if adjacent:
                copy(to, back)
                return
            with e.loop(share.begin, share.end) as at:
                place, origin = elements_at(e, (to, back), at.index, [step, step])
                e.store(e.load(origin, storage(raw)), place)

    name = f"scatter copy {raw.name} {'row' if adjacent else 'element'}"
    kernel(name, _COPY, write, parallel=True)(**parameters)


def _write(e: Emitter, dtype: DType, index: DType, kind: str, reduction: str) -> None:
    b, share = e.b, whole(e)
    steps, locator = [e.word(w) for w in ("i0", "i1", "i2")], Locator(e, index)
    copy = RowCopy(e, share.begin, share.end, storage(RAW[dtype.size]))
    with rows(e, 3, share) as (source, to, pick):
        if kind == "row":
            line = e.offset(to, locator.one(pick))
            if reduction == "none":
                copy(line, source)
                return
            lanes = target()[0] // dtype.compute.size
            with e.loop(0, share.end, lanes) as at:
                mask = e.mask_below(b.sub(share.end, at.index), lanes)
                offset = b.mul(at.index, e.const(I64, dtype.size))
                places = e.offset(line, offset), e.offset(source, offset)
                _update(e, dtype, reduction, *places, lanes, mask)
            return
        with e.loop(0, share.end) as at:
            update, place, own = elements_at(e, (source, to, pick), at.index, steps)
            line = e.offset(place, locator.one(own))
            _update(e, dtype, reduction, line, update, 1, None)


def _update(
    e: Emitter,
    dtype: DType,
    reduction: str,
    line: Value,
    source: Value,
    lanes: int,
    mask: Value | None,
) -> None:
    """The elements at `line` combined with those at `source`; halves are rounded each time."""
    type_ = vector(storage(dtype), lanes)
    value = e.load(source, type_, mask)
    if reduction != "none":
        old, new = (widen(e, v, dtype) for v in (e.load(line, type_, mask), value))
        value = narrow(e, Arithmetic(e, dtype.compute).apply(reduction, old, new), dtype)
    e.store(value, line, mask)
