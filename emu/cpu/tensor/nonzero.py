"""`tnonzero`: where the elements are that are not zero, in row-major order, and how many.

One pass on one thread: vectors of elements are compared with zero, and for each that is not, its
coordinates are written. As many are written as the result has room for; all are counted.
"""

from __future__ import annotations

from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.emit import I1, I64, Block, Emitter, Value, target, vector
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.rows import rows_with_index, set_bits, whole, words
from emu.cpu.tensor.vectors import storage, widen

_BLOCK = Block(f"{words(1)} to total axes along each room")


@schedule("tnonzero")
def _nonzero(call: Call) -> None:
    run_nonzero(call["d"], call["x"], call["w"])


def run_nonzero(destination: View, source: View, total: View) -> None:
    """destination[:, j] = the coordinates of the j-th element that is not zero, 0 behind the last;
    `total` how many there are."""
    dims, strides = source.dims[::-1] or (1,), source.strides[::-1] or (source.dtype.size,)
    if source.count == 0:
        dims, strides = (0,), strides[:1]
    count = 1
    for extent in dims[1:]:
        count *= extent
    adjacent = strides[0] == source.dtype.size
    index, dtype = destination.dtype, source.dtype
    name = f"nonzero {dtype.name} {index.name} {total.dtype.name}{' row' if adjacent else ''}"
    along, each = destination.strides
    kernel(name, _BLOCK, lambda e: _write(e, dtype, index, total.dtype, adjacent))(
        p0=source.address, s0=strides[1:], i0=strides[0], rank=len(dims) - 1, dims=dims[1:],
        rows=count, n=dims[0], to=destination.address, total=total.address, axes=source.rank,
        along=along, each=each, room=destination.dims[1],
    )  # fmt: skip


def _write(e: Emitter, dtype: DType, index: DType, total: DType, adjacent: bool) -> None:
    b, share, zero = e.b, whole(e), e.const(I64, 0)
    lanes = target()[0] // dtype.size if adjacent else 1
    n, step, room = share.end, e.word("i0"), e.word("room")
    counter = e.local(64)
    b.store(zero, counter, align=8)
    with rows_with_index(e, 1, share) as (number, (line,)):
        with e.loop(0, n, lanes, [b.load(counter, typ=I64, align=8)]) as at:
            mask = e.mask_below(b.sub(n, at.index), lanes) if lanes > 1 else None
            place = e.offset(line, b.mul(at.index, step))
            value = widen(e, e.load(place, vector(storage(dtype), lanes), mask), dtype)
            bits = set_bits(e, _differs(e, value, dtype))
            found = e.intrinsic("llvm.ctpop", I64, bits)
            have = b.add(at.values[0], found)
            with e.loop(at.values[0], have, carry=[bits]) as each:
                left = each.values[0]
                lane = e.intrinsic("llvm.cttz", I64, left, e.const(I1, 1))
                with b.if_then(b.icmp_signed("<", each.index, room)):
                    _put(e, index, number, b.add(at.index, lane), each.index)
                each.next(b.and_(left, b.sub(left, e.const(I64, 1))))
            at.next(have)
        b.store(at.values[0], counter, align=8)
    count = b.load(counter, typ=I64, align=8)
    with e.loop(count, room) as at, e.loop(0, e.word("axes")) as axis:
        _store(e, index, zero, axis.index, at.index)
    count = count if total.size == 8 else b.trunc(count, storage(total))
    e.store(count, e.pointer("total"))


def _differs(e: Emitter, value: Value, dtype: DType) -> Value:
    if dtype.kind == "bool":
        return value
    zero = e.const(value.type, 0)
    if dtype.kind == "float":
        return e.b.fcmp_unordered("une", value, zero)
    return e.b.icmp_signed("!=", value, zero)


def _put(e: Emitter, index: DType, row: Value, column: Value, place: Value) -> None:
    """The coordinates of an element, the last first."""
    b, axes = e.b, e.word("axes")
    last = b.sub(axes, e.const(I64, 1))
    with b.if_then(b.icmp_signed(">=", last, e.const(I64, 0))):
        _store(e, index, column, last, place)
    with e.loop(0, last, carry=[row]) as d:
        rest, extent = d.values[0], e.word("dims", d.index)
        axis = b.sub(b.sub(last, e.const(I64, 1)), d.index)
        _store(e, index, b.urem(rest, extent), axis, place)
        d.next(b.udiv(rest, extent))


def _store(e: Emitter, index: DType, value: Value, axis: Value, place: Value) -> None:
    b = e.b
    value = value if index.size == 8 else b.trunc(value, storage(index))
    offset = b.add(b.mul(axis, e.word("along")), b.mul(place, e.word("each")))
    e.store(value, e.offset(e.pointer("to"), offset))
