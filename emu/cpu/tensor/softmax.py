"""Softmax, its logarithm and hardmax along an axis.

The greatest element is taken off before exponentiating, so nothing overflows, whatever the input.
Half-precision elements are computed in f32 and rounded once; sums have as many accumulators as
`sweep` has lanes, each of which adds up few enough terms to stay as good as a pairwise sum.

*Schedule.* Memory is read once and written once, wherever a line fits the caches.

short     rows of few elements, one behind the other: as many as a vector has lanes, taken apart
          and put together in registers
row       greatest element; exponentials into a line of scratch memory, and their sum; product with
          the sum's reciprocal. The line is in the nearest cache after the first pass.
long      a row that no cache holds is cut into chunks. One step finds the greatest element and the
          sum of each chunk; a second combines these (every part all of them) and computes results.
column    adjacent lines side by side, a strip of them at a time: as many as keep their
          exponentials in the second-level cache
other     through dense copies, as rows
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from emu.cpu.tensor.axes import (
    GROUP,
    VECTOR,
    WORDS,
    Lines,
    across,
    blank,
    dense_rows,
    drain,
    each_vector,
    finish_row,
    group_of,
    in_stages,
    share,
    split,
    sweep,
    visit,
)  # fmt: skip
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import DType, View, dense
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import I64, Block, Emitter, Value, bits_of, lanes_of, vector
from emu.cpu.tensor.functions.exponential import reduce, scaled
from emu.cpu.tensor.functions.words import at_least, nearest, power_of_two
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, Kernel, kernel
from emu.cpu.tensor.vectors import Arithmetic, compute, narrow, storage, widen

_BLOCK = Block(f"{WORDS} p2 p3 room ahead stream chunk chunks strips width group")
LOGARITHMIC = {"tsoftmax": False, "tlogsoftmax": True}
_LOWEST = {32: -88.0, 64: -709.0}
"""The logarithm of less than half the least normal number: the scale of its power is 0."""
_POWER = (0.16667115388080364, 0.49999230309500464, 0.008312501338268724, 0.041890331530371826)
"""Coefficients of (e^r - 1 - r) / r^2 for |r| <= ln(2)/2, by pairs, the higher power first; a
minimax fit, made in 50 digits, whose relative error in e^r is 1.1e-7."""
_SHORT, _ROWS = 8, 1024
"""The most elements of a row that has a lane, not a vector, to itself; such rows in a strip."""
_LONG = 1 << 17
"""Bytes of a line, in the type of arithmetic, from which it is cut into chunks."""
_CHUNK = 1 << 13
"""Elements of a chunk."""
_STRIP = 1 << 18
"""Bytes of exponentials that a strip of columns keeps."""
_AHEAD = 4
"""Rows of a strip that are fetched ahead."""
STREAM = 1 << 24
"""Bytes of a result from which it is written past the caches, which it would only sweep."""


@schedule(*LOGARITHMIC, in_place=True)
def _softmax(call: Call) -> None:
    run_softmax(call.mnemonic, call["d"], call["x"], call.axis)


def run_softmax(mnemonic: str, destination: View, source: View, axis: int) -> None:
    """Over host views of equal extents and type; the source may be the destination."""
    lines = split(destination, source, [axis])
    dtype, stream = source.dtype, int(destination.bytes >= STREAM)
    if lines.layout == "column":
        _record_columns(mnemonic, dtype, lines, destination.strides[axis])
    elif lines.layout == "row" and destination.strides[axis] == dtype.size:
        _record_rows(mnemonic, dtype, lines, stream)
    else:
        source, target = _rows_of(source, axis), _rows_of(destination, axis)
        whole = dense(SCRATCH.take(source.bytes), dtype, source.dims)
        run_copy(whole, source)
        _record_rows(mnemonic, dtype, dense_rows(whole, lines.n), stream)
        run_copy(target, whole)


def _rows_of(view: View, axis: int) -> View:
    """The view with `axis` last."""
    return view.permuted((*(d for d in range(view.rank) if d != axis), axis))


def _record_rows(mnemonic: str, dtype: DType, lines: Lines, stream: int) -> None:
    size = bits_of(compute(dtype)) // 8
    if lines.n <= _SHORT and lines.source_steps[0] == lines.to_steps[0] == lines.n * dtype.size:
        row, count = lines.n * dtype.size, lines.dims[0]
        lines = replace(
            lines, columns=count, dims=lines.dims[1:], to_steps=lines.to_steps[1:],
            source_steps=lines.source_steps[1:],
        ).cut(strips := -(-count // _ROWS), _ROWS * row, _ROWS * row)  # fmt: skip
        _kernel(mnemonic, dtype, "short", lines.n)(**lines.words(), strips=strips, width=_ROWS)
        return
    words = {**lines.words(), "stream": stream}
    if lines.n * size < _LONG:
        room = -(-lines.n * size // VECTOR) * VECTOR
        run = _kernel(mnemonic, dtype, "row")
        group = group_of(room)
        ahead = lines.source_steps[0] * group
        kept = SCRATCH.take(room * group * THREADS_MAX)
        run(**words, p2=kept, room=room, group=group, ahead=ahead)
        return
    chunks = -(-lines.n // _CHUNK)
    tops, totals = (SCRATCH.take(lines.count * chunks * 8) for _ in range(2))
    words |= {"p2": tops, "p3": totals, "chunk": _CHUNK, "chunks": chunks}
    cut = lines.cut(chunks, _CHUNK * dtype.size, _CHUNK * dtype.size)
    for role in ("sums", "long"):
        _kernel(mnemonic, dtype, role)(**words | cut.words())


def _record_columns(mnemonic: str, dtype: DType, lines: Lines, step_out: int) -> None:
    size = bits_of(compute(dtype)) // 8
    width = max(64, min(_STRIP // (lines.n * size) // 64 * 64, 1024))
    strips = -(-lines.columns // width)
    lines = lines.cut(strips, width * dtype.size, width * dtype.size)
    room = (lines.n + 2) * width * size
    _kernel(mnemonic, dtype, "column")(
        **lines.words(), p2=SCRATCH.take(room * THREADS_MAX), room=room, width=width,
        strips=strips, chunk=step_out,
    )  # fmt: skip


def _kernel(mnemonic: str, dtype: DType, role: str, few: int = 0) -> Kernel:
    """`few` is the number of elements of a short row."""

    def write(e: Emitter) -> None:
        _Softmax(e, LOGARITHMIC[mnemonic], dtype, few).write(role)

    return kernel(f"{mnemonic} {dtype.name} {role} {few}", _BLOCK, write, parallel=True)


class _Softmax:
    """Writes the kernels."""

    def __init__(self, e: Emitter, logarithmic: bool, dtype: DType, few: int = 0) -> None:
        self.e, self.logarithmic, self.dtype, self.few = e, logarithmic, dtype, few
        self.math = Arithmetic(e, dtype.compute)
        self.held = compute(dtype)
        self.size = bits_of(self.held) // 8
        self.lanes = VECTOR // self.size
        self.type = vector(self.held, self.lanes)
        self.none, self.lowest = e.const(self.type, 0.0), e.const(self.type, -math.inf)

    def write(self, role: str) -> None:
        """Write the walk over lines, chunks or strips and, in it, each of them."""
        e = self.e
        first, end = share(e, e.word("lines"))
        strides, pointers = ["s0", "s1"], [e.pointer("p0"), e.pointer("p1")]
        if role == "row":
            in_stages(e, first, end, strides, pointers, self._stages())
        else:
            each = {
                "short": self._short, "sums": self._sums, "long": self._long,
                "column": self._strip,
            }[role]  # fmt: skip
            with visit(e, first, end, strides, pointers) as (index, (out, source)):
                each(index, out, source)
        drain(e)

    # elements

    def _load(self, line: Value, index: Value, mask: Value | None) -> Value:
        e = self.e
        place = e.offset(line, e.b.mul(index, e.const(I64, self.dtype.size)))
        return widen(e, e.load(place, vector(storage(self.dtype), self.lanes), mask), self.dtype)

    def _place(self, room: Value, index: Value) -> Value:
        return self.e.offset(room, self.e.b.mul(index, self.e.const(I64, self.size)))

    def _greater(self, x: Value, y: Value) -> Value:
        """The greater one; of NaNs the exponentials will tell."""
        return self.e.b.select(self.e.b.fcmp_ordered(">", x, y), x, y)

    def _add(self, x: Value, y: Value) -> Value:
        return self.e.b.fadd(x, y)

    def _power(self, x: Value) -> Value:
        """e^x for x <= 0, or NaN; 0 where it is below the normal numbers.

        In f32 of fewer operations than `functions.exp`, two units in the last place from e^x.
        """
        e, b = self.e, self.e.b
        x = at_least(e, x, _LOWEST[bits_of(x.type)])
        if bits_of(x.type) == 64:
            return scaled(e, reduce(e, x))
        whole, n = nearest(e, x, 1 / math.log(2))
        r = e.fma(whole, e.const(x.type, -math.log(2)), x)
        square = b.fmul(r, r)
        low, high = (
            e.fma(r, *(e.const(x.type, c) for c in pair)) for pair in (_POWER[:2], _POWER[2:])
        )
        p = e.fma(square, e.fma(square, high, low), b.fadd(r, e.const(x.type, 1.0)))
        return b.fmul(p, power_of_two(e, n, x.type))

    def _finite(self, top: Value) -> Value:
        """What to subtract: 0 where all elements of a chunk are -inf."""
        none = self.e.b.fcmp_ordered("==", top, self.e.const(top.type, -math.inf))
        return self.e.b.select(none, self.e.const(top.type, 0.0), top)

    # rows

    def _top(self, source: Value, n: Value) -> Value:
        """The greatest element of a row, a scalar."""

        def body(index: Value, mask: Value | None, values: Sequence[Value]) -> list[Value]:
            x = blank(self.e, self._load(source, index, mask), mask, self.lowest)
            return [self._greater(x, values[0])]

        (top,) = sweep(self.e, n, self.lanes, [self.lowest], body, self._greater)
        return across(self.e, top, self._greater)

    def _total(
        self,
        source: Value,
        n: Value,
        top: Value,
        keep: Callable[[Value, Value, Value | None], None],
    ) -> Value:
        """The sum of a row's exponentials, a scalar; `keep` is given each vector of them."""
        e = self.e
        tops = e.splat(top, self.lanes)

        def body(index: Value, mask: Value | None, values: Sequence[Value]) -> list[Value]:
            y = self._power(e.b.fsub(self._load(source, index, mask), tops))
            keep(index, y, mask)
            return [self._add(values[0], blank(e, y, mask, self.none))]

        (total,) = sweep(e, n, self.lanes, [self.none], body, self._add)
        return across(e, total, self._add)

    def _finish(self, out: Value, n: Value, result: Callable[[Value, Value | None], Value]) -> None:
        def stored(index: Value, mask: Value | None) -> Value:
            return narrow(self.e, result(index, mask), self.dtype)

        finish_row(self.e, out, n, self.lanes, self.dtype.size, stored)

    def _stages(self) -> list[Callable[[Value, Value, list[Value]], None]]:
        """The greatest element of a row, its exponentials and their sum, its results."""
        e, b, n = self.e, self.e.b, self.e.word("n")
        tops, totals = (e.local(8 * GROUP) for _ in range(2))
        line = b.mul(e.word("room"), e.word("group"))
        lines = e.offset(e.pointer("p2"), b.mul(e.part, line))

        def held(room: Value, slot: Value) -> Value:
            return b.load(self._place(room, slot), typ=self.held, align=self.size)

        def hold(value: Value, room: Value, slot: Value) -> None:
            b.store(value, self._place(room, slot), align=self.size)

        def kept(slot: Value) -> Value:
            return e.offset(lines, b.mul(slot, e.word("room")))

        def greatest(slot: Value, _: Value, places: list[Value]) -> None:
            hold(self._top(places[1], n), tops, slot)

        def powers(slot: Value, _: Value, places: list[Value]) -> None:
            room, following = kept(slot), e.offset(places[1], e.word("ahead"))

            def keep(index: Value, y: Value, mask: Value | None) -> None:
                if not self.logarithmic:
                    e.store(y, self._place(room, index), mask)
                if mask is None:
                    e.prefetch(e.offset(following, b.mul(index, e.const(I64, self.dtype.size))))

            total = self._total(places[1], n, held(tops, slot), keep)
            if not self.logarithmic:
                total = b.fdiv(e.const(self.held, 1.0), total)
            hold(total, totals, slot)

        def results(slot: Value, _: Value, places: list[Value]) -> None:
            total = held(totals, slot)
            if self.logarithmic:
                self._finish(places[0], n, self._logarithm(places[1], held(tops, slot), total))
                return
            room, factor = kept(slot), e.splat(total, self.lanes)

            def scaled(index: Value, mask: Value | None) -> Value:
                return b.fmul(e.load(self._place(room, index), self.type, mask), factor)

            self._finish(places[0], n, scaled)

        return [greatest, powers, results]

    def _logarithm(
        self, source: Value, top: Value, total: Value
    ) -> Callable[[Value, Value | None], Value]:
        e, b = self.e, self.e.b
        tops, taken = (e.splat(v, self.lanes) for v in (top, self.math.op_log(total)))
        return lambda index, mask: b.fsub(b.fsub(self._load(source, index, mask), tops), taken)

    # chunks of long rows

    def _chunk(self, index: Value) -> tuple[Value, Value]:
        """The line a chunk belongs to, and the chunk's length."""
        e, b, chunk, chunks = self.e, self.e.b, self.e.word("chunk"), self.e.word("chunks")
        line = b.udiv(index, chunks)
        at = b.sub(index, b.mul(line, chunks))
        return line, e.intrinsic("llvm.smin", I64, b.sub(e.word("n"), b.mul(at, chunk)), chunk)

    def _sums(self, index: Value, out: Value, source: Value) -> None:
        e = self.e
        _, length = self._chunk(index)
        top = self._top(source, length)
        total = self._total(source, length, self._finite(top), lambda *_: None)
        e.b.store(top, self._place(e.pointer("p2"), index), align=self.size)
        e.b.store(total, self._place(e.pointer("p3"), index), align=self.size)

    def _long(self, index: Value, out: Value, source: Value) -> None:
        e, b, chunks = self.e, self.e.b, self.e.word("chunks")
        line, length = self._chunk(index)
        tops, totals = (self._place(e.pointer(p), b.mul(line, chunks)) for p in ("p2", "p3"))

        def greatest(index: Value, mask: Value | None, values: Sequence[Value]) -> list[Value]:
            x = e.load(self._place(tops, index), self.type, mask)
            return [self._greater(blank(e, x, mask, self.lowest), values[0])]

        (lanes,) = sweep(e, chunks, self.lanes, [self.lowest], greatest, self._greater)
        top = across(e, lanes, self._greater)
        shift = e.splat(top, self.lanes)

        def add(index: Value, mask: Value | None, values: Sequence[Value]) -> list[Value]:
            x = e.load(self._place(tops, index), self.type, mask)
            part = e.load(self._place(totals, index), self.type, mask)
            term = b.fmul(part, self._power(b.fsub(x, shift)))
            return [self._add(values[0], blank(e, term, mask, self.none))]

        (lanes,) = sweep(e, chunks, self.lanes, [self.none], add, self._add)
        total = across(e, lanes, self._add)
        if self.logarithmic:
            self._finish(out, length, self._logarithm(source, top, total))
            return
        factor = e.splat(b.fdiv(e.const(self.held, 1.0), total), self.lanes)

        def result(index: Value, mask: Value | None) -> Value:
            x = self._load(source, index, mask)
            return b.fmul(self._power(b.fsub(x, shift)), factor)

        self._finish(out, length, result)

    # rows shorter than a vector

    def _short(self, index: Value, out: Value, source: Value) -> None:
        """Rows of `few` elements, one behind the other: a lane has a row."""
        e, b, few, lanes = self.e, self.e.b, self.few, self.lanes
        whole = vector(storage(self.dtype), few * lanes)
        width = self._width(index)

        def rows(at: Value, mask: Value | None) -> None:
            wide = None
            if mask is not None:
                wide = e.mask_below(b.mul(b.sub(width, at), e.const(I64, few)), few * lanes)
            offset = b.mul(at, e.const(I64, few * self.dtype.size))
            loaded = e.load(e.offset(source, offset), whole, wide)
            picks = [range(j, few * lanes, few) for j in range(few)]
            x = [widen(e, e.shuffle(loaded, loaded, pick), self.dtype) for pick in picks]
            top = x[0]
            for other in x[1:]:
                top = self._greater(other, top)
            x = [b.fsub(value, top) for value in x]
            y = [self._power(value) for value in x]
            total = y[0]
            for value in y[1:]:
                total = self._add(value, total)
            if self.logarithmic:
                taken = self.math.op_log(total)
                y = [b.fsub(value, taken) for value in x]
            else:
                factor = b.fdiv(e.const(self.type, 1.0), total)
                y = [b.fmul(value, factor) for value in y]
            stored = self._interleaved([narrow(e, value, self.dtype) for value in y])
            e.store(stored, e.offset(out, offset), wide)

        each_vector(e, width, lanes, rows)

    def _interleaved(self, vectors: list[Value]) -> Value:
        """The first lane of each, then the second of each, and so on."""
        e, few = self.e, len(vectors)
        while len(vectors) > 1:  # one behind the other, the last one perhaps several times
            vectors += vectors[-1:] * (len(vectors) % 2)
            both = range(2 * lanes_of(vectors[0].type))
            vectors = [
                e.shuffle(x, y, both) for x, y in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        picks = [j * self.lanes + k for k in range(self.lanes) for j in range(few)]
        return e.shuffle(vectors[0], vectors[0], picks)

    def _width(self, index: Value) -> Value:
        """The columns, or short rows, of a strip."""
        e, b, most = self.e, self.e.b, self.e.word("width")
        before = b.mul(b.urem(index, e.word("strips")), most)
        return e.intrinsic("llvm.smin", I64, b.sub(e.word("m"), before), most)

    # strips of columns

    def _strip(self, index: Value, out: Value, source: Value) -> None:
        """Three passes down a strip; greatest elements and sums lie behind the exponentials."""
        e, b, n, most = self.e, self.e.b, self.e.word("n"), self.e.word("width")
        room = e.offset(e.pointer("p2"), b.mul(e.part, e.word("room")))
        width = self._width(index)
        tops = self._place(room, b.mul(n, most))
        totals = self._place(tops, most)
        ahead = b.mul(e.word("step"), e.const(I64, _AHEAD))

        def held(place: Value, at: Value) -> Value:
            return b.load(self._place(place, at), typ=self.type, align=VECTOR)

        def put(value: Value, place: Value, at: Value) -> None:
            b.store(value, self._place(place, at), align=VECTOR)

        def start(at: Value, _: Value | None) -> None:
            put(self.lowest, tops, at)
            put(self.none, totals, at)

        def down(body: Callable[[Value, Value, Value, Value, Value | None], None]) -> None:
            with e.loop(0, n) as row:
                line = e.offset(source, b.mul(row.index, e.word("step")))
                target = e.offset(out, b.mul(row.index, e.word("chunk")))
                kept = self._place(room, b.mul(row.index, most))
                each_vector(
                    e, width, self.lanes, lambda at, mask: body(line, target, kept, at, mask)
                )

        def greatest(line: Value, _: Value, __: Value, at: Value, mask: Value | None) -> None:
            offset = b.add(b.mul(at, e.const(I64, self.dtype.size)), ahead)
            e.prefetch(e.offset(line, offset))
            put(self._greater(self._load(line, at, mask), held(tops, at)), tops, at)

        def powers(line: Value, _: Value, kept: Value, at: Value, mask: Value | None) -> None:
            y = self._power(b.fsub(self._load(line, at, mask), held(tops, at)))
            put(y, kept, at)
            put(self._add(held(totals, at), y), totals, at)

        def invert(at: Value, _: Value | None) -> None:
            total = held(totals, at)
            if self.logarithmic:
                put(self.math.op_log(total), totals, at)
            else:
                put(b.fdiv(e.const(self.type, 1.0), total), totals, at)

        def finish(line: Value, target: Value, kept: Value, at: Value, mask: Value | None) -> None:
            if self.logarithmic:
                x = b.fsub(self._load(line, at, mask), held(tops, at))
                y = b.fsub(x, held(totals, at))
            else:
                y = b.fmul(held(kept, at), held(totals, at))
            place = e.offset(target, b.mul(at, e.const(I64, self.dtype.size)))
            e.store(narrow(e, y, self.dtype), place, mask)

        each_vector(e, width, self.lanes, start)
        down(greatest)
        down(powers)
        each_vector(e, width, self.lanes, invert)
        down(finish)
