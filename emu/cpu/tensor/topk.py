"""`ttopk`: the first elements along an axis in ascending or descending order, and where they are.

All of them are a sort. Equal elements come in the order of their indices; NaN is greater than every
number, and the zeros are equal. Each line along the axis is worked on by itself:

sort     records of all elements, sorted (`sort.py`), the first k written
select   when k is small: records are gathered in a buffer, and whenever that is full it is sorted
         and cut to k; from then on only elements that come before the last of these get in,
         which vectors of elements are compared with at a time

A line whose elements are not adjacent is copied first.
"""

from __future__ import annotations

from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.elementwise import RAW
from emu.cpu.tensor.emit import I1, I64, Block, Emitter, Value, target, vector
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, kernel
from emu.cpu.tensor.rows import elements_at, layout, rows, set_bits, shares, words
from emu.cpu.tensor.sort import SLACK, Records
from emu.cpu.tensor.vectors import storage

_BLOCK = Block(f"{words(3)} extent k step0 step1 step2 room capacity spare copy private lines flip")


@schedule("ttopk")
def _top_k(call: Call) -> None:
    run_top_k(call["d"], call["x"], call.get("w"), call.axis, descending=call.flag("largest"))


def run_top_k(
    values: View, source: View, indices: View | None, axis: int, *, descending: bool
) -> None:
    """The first elements of `source` along `axis`, as many as the results have there, into
    `values`, and where they are into `indices` (i32 or i64)."""
    extent, k = source.dims[axis], values.dims[axis]
    capacity = 2 * k + 2 * _lanes(source.dtype)
    select = 3 * capacity <= 2 * extent
    capacity = capacity if select else extent
    kept = tuple(d for d in range(source.rank) if d != axis)
    views = [v.permuted(kept) for v in (values, source, indices or values)]
    dtype, size = source.dtype, 16 if source.dtype.size == 8 else 8
    lines = views[0].count
    buffer = -(-(capacity + SLACK) * size // 64) * 64
    adjacent = source.strides[axis] == dtype.size
    private = 2 * buffer + (0 if adjacent else -(-extent * dtype.size // 64) * 64)
    name = f"topk {'select' if select else 'sort'} {dtype.name}"
    name += f" {indices.dtype.name}" if indices else ""
    run = kernel(
        name, _BLOCK,
        lambda e: _Lines(e, dtype, select, indices.dtype if indices else None).write(),
        parallel=True,
    )  # fmt: skip
    run(
        **layout(views), extent=extent, k=k, step1=source.strides[axis], capacity=capacity,
        step0=values.strides[axis], step2=indices.strides[axis] if indices else 0,
        room=SCRATCH.take(min(lines, THREADS_MAX) * private), spare=buffer,
        copy=2 * buffer, private=private, lines=lines, flip=-1 if descending else 0,
    )  # fmt: skip


def _lanes(dtype: DType) -> int:
    """How many elements are compared at a time."""
    return target()[0] // dtype.size


class _Lines:
    """Writes the kernel."""

    def __init__(self, e: Emitter, dtype: DType, select: bool, index: DType | None) -> None:
        self.e, self.b, self.dtype, self.select, self.index = e, e.b, dtype, select, index
        self.records = Records(e, dtype, e.word("flip"))
        self.extent, self.k = e.word("extent"), e.word("k")
        self.raw = storage(RAW[dtype.size])
        # with fewer lines than parts, those that have one number their rooms by it
        first = self.b.sdiv(self.b.mul(e.word("lines"), e.part), e.parts)
        slot = e.intrinsic("llvm.smin", I64, first, e.part)
        self.room = e.offset(e.pointer("room"), self.b.mul(slot, e.word("private")))
        self.spare, self.copy = (e.offset(self.room, e.word(w)) for w in ("spare", "copy"))

    def write(self) -> None:
        """Every line of this part's share."""
        e = self.e
        share, steps = shares(e, 1), [e.word(w) for w in ("i0", "i1", "i2")]
        with rows(e, 3, share) as row, e.loop(share.begin, share.end) as at:
            out, line, places = elements_at(e, row, at.index, steps)
            line = self._adjacent(line)
            if self.select:
                found = self._select(line)
            else:
                self.records.fill(line, self.extent, self.room)
                found = self._sort(self.extent)
            self._give(found, line, out, places)

    def _adjacent(self, line: Value) -> Value:
        """The line, or a copy of it in which elements are adjacent."""
        e, b, step = self.e, self.b, self.e.word("step1")
        apart = b.icmp_signed("!=", step, e.const(I64, self.dtype.size))
        with e.branch(apart, [line]) as result:
            with e.loop(0, self.extent) as at:
                value = e.load(e.offset(line, b.mul(at.index, step)), self.raw)
                e.store(value, self._at(self.copy, at.index))
            result.next(self.copy)
        copied: Value = result.values[0]
        return copied

    def _at(self, line: Value, index: Value) -> Value:
        return self.e.offset(line, self.b.mul(index, self.e.const(I64, self.dtype.size)))

    def _sort(self, count: Value) -> Value:
        return self.b.call(self.records.sort, [self.room, self.spare, count])

    def _give(self, found: Value, line: Value, out: Value, places: Value) -> None:
        """The first k elements, as they are in the source, and their indices."""
        e, b = self.e, self.b
        to, back = e.word("step0"), e.word("step2")
        with e.loop(0, self.k) as at:
            index = self.records.index_of(self.records.load(found, at.index))
            value = e.load(self._at(line, index), self.raw)
            e.store(value, e.offset(out, b.mul(at.index, to)))
            if self.index is not None:
                index = b.trunc(index, storage(self.index)) if self.index.size < 8 else index
                e.store(index, e.offset(places, b.mul(at.index, back)))

    def _select(self, line: Value) -> Value:
        """Where the first k records are, sorted."""
        e, b, lanes = self.e, self.b, _lanes(self.dtype)
        start = e.intrinsic(
            "llvm.smax", I64, b.add(self.k, self.k), e.const(I64, 2 * lanes)
        )  # fmt: skip
        self.records.fill(line, start, self.room)
        whole = b.add(start, b.and_(b.sub(self.extent, start), e.const(I64, -lanes)))
        state = [self.k, self._cut(start)]
        for first, end, width in ((start, whole, lanes), (whole, self.extent, 1)):
            with e.loop(first, end, width, carry=state) as at:
                at.next(*self._look(line, at.index, width, at.values))
            state = at.values
        return self._sort(state[0])

    def _cut(self, count: Value) -> Value:
        """Leave the first k records in the buffer; the key of the last of them."""
        e, b, records = self.e, self.b, self.records
        found = self._sort(count)
        with e.loop(0, self.k) as at:  # nothing changes where they are there already
            records.store(records.load(found, at.index), self.room, at.index)
        return records.key_of(records.load(self.room, b.sub(self.k, e.const(I64, 1))))

    def _look(self, line: Value, index: Value, lanes: int, state: list[Value]) -> list[Value]:
        """Take those of `lanes` elements that come before the last; (records, the last's key)."""
        e, b = self.e, self.b
        count, last = state
        keys = self.records.key(e.load(self._at(line, index), vector(self.raw, lanes)))
        bits = set_bits(e, b.icmp_unsigned("<", keys, e.splat(last, lanes)))
        with e.branch(b.icmp_unsigned("!=", bits, e.const(I64, 0)), state) as some:
            taken = self._append(line, index, bits, count)
            full = b.icmp_signed(
                ">", b.add(taken, e.const(I64, _lanes(self.dtype))), e.word("capacity")
            )
            with e.branch(full, [taken, last]) as cut:
                cut.next(self.k, self._cut(taken))
            some.next(*cut.values)
        return some.values

    def _append(self, line: Value, index: Value, bits: Value, count: Value) -> Value:
        """Records of the elements that `bits` names, behind `count`; how many there are now."""
        e, b = self.e, self.b
        one = e.const(I64, 1)
        number = e.intrinsic("llvm.ctpop", I64, bits)
        with e.loop(count, b.add(count, number), carry=[bits]) as at:
            left = at.values[0]
            lane = e.intrinsic("llvm.cttz", I64, left, e.const(I1, 1))
            own = b.add(index, lane)
            key = self.records.key(e.load(self._at(line, own), self.raw))
            self.records.store(self.records.pack(key, own), self.room, at.index)
            at.next(b.and_(left, b.sub(left, one)))
        return b.add(count, number)
