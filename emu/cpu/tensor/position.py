"""Instructions in which an element's position decides: `tonehot`, `ttrilu`, `treverse_sequence`.

They need coordinates, not only places. A walk's pointers give them for nothing: one more operand,
which lies nowhere, starts at 0 and has a stride of 1 along the dimension that is asked for, so the
"place" a row begins at *is* the coordinate. Such a view takes part in merging dimensions like any
other, so none is merged whose coordinate would be lost.
"""

from __future__ import annotations

from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import I64 as INDEX
from emu.cpu.tensor.descriptor import DType, View, dense
from emu.cpu.tensor.elementwise import RAW
from emu.cpu.tensor.emit import I64, Block, Emitter, Value, target, vector
from emu.cpu.tensor.faults import Operand
from emu.cpu.tensor.gather import Picks, pick
from emu.cpu.tensor.kernels import SCRATCH, kernel
from emu.cpu.tensor.rows import (
    RowCopy,
    constant,
    elements_at,
    fill_row,
    layout,
    rows,
    shares,
    whole,
    words,
)
from emu.cpu.tensor.vectors import storage
from emu.isa.xaitensor.rules import normal_axis

_ONE_HOT = Block(f"{words(3)} depth off on values second")
_TRIANGLE = Block(f"{words(3)} diagonal")
_REVERSE = Block(f"{words(3)} extent")


def _coordinate(dims: tuple[int, ...], steps: dict[int, int]) -> View:
    """The operand that lies nowhere: `{3: 1}` counts along dimension 3."""
    strides = tuple(steps.get(d, 0) for d in range(len(dims)))
    return View(0, RAW[1], dims, strides)


# one-hot


@schedule("tonehot")
def _one_hot(call: Call) -> None:
    rank = call["d"].rank
    run_one_hot(
        call["d"], call["x"], call.get("values"), normal_axis(call.at.axis, rank), call.params
    )


def run_one_hot(
    destination: View,
    indices: View,
    values: View | None,
    axis: int,
    numbers: tuple[float, float],
) -> None:
    """destination = the second of two values where the coordinate along `axis` is the index, the
    first elsewhere; an index out of range is nowhere. `values` holds the two, else `numbers`."""
    dims = destination.dims
    strides = (*indices.strides[:axis], 0, *indices.strides[axis:])
    spread = View(indices.address, indices.dtype, dims, strides)
    parameters = layout([destination, spread, _coordinate(dims, {axis: 1})])
    dtype, size = destination.dtype, destination.dtype.size
    kind = "element"
    if parameters["i0"] == size and parameters["i1"] == 0 and parameters["i2"] == 1:
        kind = "row"
    elif parameters["i0"] == size and parameters["i2"] == 0:
        kind = "lanes" if parameters["i1"] == indices.dtype.size else "element"
    given = values is not None
    name = f"one hot {RAW[size].name if given else dtype.name} {indices.dtype.name} {kind} {given}"
    run = kernel(
        name, _ONE_HOT, lambda e: _write_one_hot(e, dtype, indices.dtype, kind, given),
        parallel=True,
    )  # fmt: skip
    off, on = (float(n) for n in numbers)
    if values is None:
        run(**parameters, depth=dims[axis], off=off, on=on)
    else:
        run(
            **parameters, depth=dims[axis], values=values.address, second=values.strides[0]
        )  # fmt: skip


def _write_one_hot(e: Emitter, dtype: DType, index: DType, kind: str, given: bool) -> None:
    b, share, raw = e.b, shares(e), storage(RAW[dtype.size])
    steps, depth = [e.word(w) for w in ("i0", "i1", "i2")], e.word("depth")
    if given:
        first = e.pointer("values")
        off, on = e.load(first, raw), e.load(e.offset(first, e.word("second")), raw)
    else:
        off, on = constant(e, "off", dtype), constant(e, "on", dtype)
    lanes = target()[0] // 8 if kind == "lanes" else 1

    def wanted(place: Value, mask: Value | None) -> Value:
        value = e.load(place, vector(storage(index), lanes), mask)
        value = b.sext(value, vector(I64, lanes)) if index.size < 8 else value
        below = b.icmp_signed("<", value, e.const(value.type, 0))
        return b.select(below, b.add(value, e.splat(depth, lanes)), value)

    with rows(e, 3, share) as (to, pick_, coordinate):
        here = b.ptrtoint(coordinate, I64)
        if kind == "row":
            fill_row(e, to, off, share.begin, share.end)
            hot = b.sub(wanted(pick_, None), here)
            inside = b.and_(
                b.icmp_signed(">=", hot, share.begin), b.icmp_signed("<", hot, share.end)
            )
            with b.if_then(inside):
                e.store(on, e.offset(to, b.mul(hot, steps[0])))
            return
        with e.loop(share.begin, share.end, lanes) as at:
            mask = e.mask_below(b.sub(share.end, at.index), lanes) if lanes > 1 else None
            out, place, _ = elements_at(e, (to, pick_, coordinate), at.index, steps)
            own = e.splat(b.add(here, b.mul(at.index, steps[2])), lanes)
            equal = b.icmp_signed("==", wanted(place, mask), own)
            e.store(b.select(equal, e.splat(on, lanes), e.splat(off, lanes)), out, mask)


# triangles


@schedule("ttrilu")
def _triangle(call: Call) -> None:
    run_triangle(call["d"], call["x"], call.at.axis, call.flag("lower"))


def run_triangle(destination: View, source: View, diagonal: int, lower: bool) -> None:
    """destination = source where the column less the row is at least `diagonal` (`lower`: at most),
    over the last two dimensions, and 0 elsewhere."""
    rank, raw = destination.rank, RAW[destination.dtype.size]
    distance = _coordinate(destination.dims, {rank - 1: 1, rank - 2: -1})
    parameters = layout([destination, source, distance])
    steps = tuple(parameters[f"i{k}"] for k in range(3))
    kind = "row" if steps == (raw.size, raw.size, 1) else "element"
    name = f"triangle {raw.name} {kind} {'lower' if lower else 'upper'}"
    run = kernel(name, _TRIANGLE, lambda e: _write_triangle(e, raw, kind, lower), parallel=True)
    run(**parameters, diagonal=diagonal)


def _write_triangle(e: Emitter, raw: DType, kind: str, lower: bool) -> None:
    b, share, element = e.b, shares(e, 64), storage(raw)
    steps, diagonal = [e.word(w) for w in ("i0", "i1", "i2")], e.word("diagonal")
    zero = e.const(element, 0)
    with rows(e, 3, share) as (to, back, coordinate):
        distance = b.ptrtoint(coordinate, I64)
        if kind == "row":
            edge = b.sub(diagonal, distance)  # the first column of the upper triangle
            edge = b.add(edge, e.const(I64, 1)) if lower else edge
            edge = e.intrinsic("llvm.smax", I64, edge, share.begin)
            edge = e.intrinsic("llvm.smin", I64, edge, share.end)
            left, right = (share.begin, edge), (edge, share.end)
            RowCopy(e, *(left if lower else right), element)(to, back)
            fill_row(e, to, zero, *(right if lower else left))
            return
        with e.loop(share.begin, share.end) as at:
            out, origin, _ = elements_at(e, (to, back, coordinate), at.index, steps)
            own = b.add(distance, b.mul(at.index, steps[2]))
            kept = b.icmp_signed("<=" if lower else ">=", own, diagonal)
            e.store(b.select(kept, e.load(origin, element), zero), out)


# sequences


@schedule("treverse_sequence")
def _reverse_sequence(call: Call) -> None:
    run_reverse_sequence(call["d"], call["x"], call["y"], call.at.axis)


def run_reverse_sequence(destination: View, data: View, lengths: View, axis: int) -> None:
    """destination = data with the first lengths[b] steps along `axis` (0 or 1) in reverse, b being
    the coordinate along the other of the first two. Plans a look at the lengths first."""
    extents = data.dims[:2]
    picks = dense(SCRATCH.take(8 * extents[0] * extents[1]), INDEX, extents)
    along = (0, lengths.strides[0]) if axis == 0 else (lengths.strides[0], 0)
    spread = View(lengths.address, lengths.dtype, extents, along)
    dtype = lengths.dtype
    run = kernel(f"reverse {dtype.name}", _REVERSE, lambda e: _write_reverse(e, dtype))
    parameters = layout([picks, spread, _coordinate(extents, {axis: 1})], ordered=True)
    run.check(Operand.SECOND, **parameters, extent=extents[axis])
    still = tuple(0 if d == axis else stride for d, stride in enumerate(data.strides))
    behind = (0,) * (data.rank - 2)
    pick(
        destination,
        Picks(
            View(data.address, data.dtype, data.dims, still),
            View(picks.address, INDEX, data.dims, picks.strides + behind),
            picks,
            {"k": 1, "extents": [extents[axis]], "steps": [data.strides[axis]], "next": 0},
        ),
    )


def _write_reverse(e: Emitter, dtype: DType) -> None:
    """Where each step comes from; fails when there are fewer steps than a length says."""
    b, share = e.b, whole(e)
    steps, extent = [e.word(w) for w in ("i0", "i1", "i2")], e.word("extent")
    with rows(e, 3, share) as row, e.loop(0, share.end) as at:
        out, place, _ = elements_at(e, row, at.index, steps)
        length = e.load(place, storage(dtype))
        length = b.sext(length, I64) if dtype.size < 8 else length
        e.fail_if(b.icmp_unsigned(">", length, extent))
        step = b.add(b.ptrtoint(row[2], I64), b.mul(at.index, steps[2]))
        back = b.sub(b.sub(length, e.const(I64, 1)), step)
        e.store(b.select(b.icmp_signed("<", step, length), back, step), out)
