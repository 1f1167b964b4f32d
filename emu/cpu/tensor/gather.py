"""Gather: slices of a tensor along one axis, picked by a tensor of indices.

The result's dimensions are those of the data with the axis replaced by those of the indices. A
first kernel turns indices into byte offsets in scratch memory and looks for one out of range; only
when there is none does the second write. That one walks the result with three pointers, into the
result, the data and the offsets, each standing still along the dimensions it does not have.
"""

from __future__ import annotations

from emu.cpu.tensor.axes import VECTOR
from emu.cpu.tensor.call import Call
from emu.cpu.tensor.call import schedule as bound
from emu.cpu.tensor.descriptor import I64 as INDEX
from emu.cpu.tensor.descriptor import DType, View, dense
from emu.cpu.tensor.elementwise import RAW, schedule
from emu.cpu.tensor.emit import I1, I64, Block, Emitter, vector
from emu.cpu.tensor.faults import Operand
from emu.cpu.tensor.kernels import SCRATCH, kernel
from emu.cpu.tensor.vectors import storage

_OFFSETS = Block("p0 p1 rank dims:8 s0:8 s1:8 n i0 i1 extent step")
_COPY = Block("p0 p1 p2 rank dims:8 s0:8 s1:8 s2:8 n i0 i1 i2")


@bound("tgather")
def _gather(call: Call) -> None:
    run_gather(call["d"], call["x"], call["y"], call.axis)


def run_gather(destination: View, data: View, indices: View, axis: int) -> None:
    """destination = data, picked along `axis`. The plan begins with a look at the indices."""
    offsets = _offsets(indices, data.dims[axis], data.strides[axis])
    before, behind = data.dims[:axis], data.dims[axis + 1 :]
    still = (0,) * indices.rank
    dims = destination.dims
    source = View(
        data.address, data.dtype, dims, data.strides[:axis] + still + data.strides[axis + 1 :]
    )
    picks = View(
        offsets.address, INDEX, dims, (0,) * len(before) + offsets.strides + (0,) * len(behind)
    )
    extents, (to, back, pick) = schedule([destination, source, picks])
    raw = RAW[data.dtype.size]
    whole = (to[0], back[0], pick[0]) == (raw.size, raw.size, 0)
    layout = "row" if whole else "element"
    run = kernel(f"tgather {raw.name} {layout}", _COPY, lambda e: _write_copy(e, raw, whole))
    run(
        p0=destination.address, p1=data.address, p2=offsets.address, rank=len(extents) - 1,
        dims=extents[1:], s0=to[1:], s1=back[1:], s2=pick[1:], n=extents[0],
        i0=to[0], i1=back[0], i2=pick[0],
    )  # fmt: skip


def _offsets(indices: View, extent: int, step: int) -> View:
    """What each index adds to an address, in the indices' order."""
    offsets = dense(SCRATCH.take(8 * indices.count), INDEX, indices.dims)
    dims, (to, back) = schedule([offsets, indices])
    dtype = indices.dtype
    run = kernel(f"tgather offsets {dtype.name}", _OFFSETS, lambda e: _write_offsets(e, dtype))
    run.check(
        Operand.SECOND, p0=offsets.address, p1=indices.address, rank=len(dims) - 1, dims=dims[1:],
        s0=to[1:], s1=back[1:], n=dims[0], i0=to[0], i1=back[0], extent=extent, step=step,
    )  # fmt: skip
    return offsets


def _write_offsets(e: Emitter, dtype: DType) -> None:
    b, zero = e.b, e.const(I64, 0)
    n, to, back, extent, step = (e.word(w) for w in ("n", "i0", "i1", "extent", "step"))
    pointers = [e.pointer("p0"), e.pointer("p1")]
    with e.walk("rank", "dims", ["s0", "s1"], pointers) as (out, source):
        with e.loop(0, n, carry=[e.const(I1, 0)]) as loop:
            index = e.load(e.offset(source, b.mul(loop.index, back)), storage(dtype))
            index = index if index.type == I64 else b.sext(index, I64)
            counted = b.add(index, extent)
            index = b.select(b.icmp_signed("<", index, zero), counted, index)
            outside = b.icmp_unsigned(">=", index, extent)  # one still below zero is huge
            e.store(b.mul(index, step), e.offset(out, b.mul(loop.index, to)))
            loop.next(b.or_(loop.values[0], outside))
        e.fail_if(loop.values[0])


def _write_copy(e: Emitter, raw: DType, whole: bool) -> None:
    """Whole rows lie behind one offset and move by vectors; else each element has its own."""
    b, lanes = e.b, VECTOR // raw.size if whole else 1
    n, *steps = (e.word(w) for w in ("n", "i0", "i1", "i2"))
    pointers = [e.pointer(p) for p in ("p0", "p1", "p2")]
    with e.walk("rank", "dims", ["s0", "s1", "s2"], pointers) as row, e.loop(0, n, lanes) as at:
        to, back, pick = (e.offset(p, b.mul(at.index, s)) for p, s in zip(row, steps, strict=True))
        mask = e.mask_below(b.sub(n, at.index), lanes) if whole else None
        source = e.offset(back, e.load(pick, I64))
        e.store(e.load(source, vector(storage(raw), lanes), mask), to, mask)
