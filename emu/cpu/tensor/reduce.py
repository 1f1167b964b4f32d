"""Reductions: sum, mean, product, norms, greatest and least over axes; logarithm of sums.

Sums and products of floats are accumulated in f64 and rounded once, in vectors of several
independent accumulators, so an f32 sum is as good as exact. Integers wrap. A NaN among the elements
makes every one of them NaN, as in NumPy. What nothing is reduced to is the operation's neutral
element (a mean: NaN).

*Schedule.* Layouts (row, column, element) are those of `axes.py`. A row is swept with accumulators
in registers. Columns are cut into strips whose accumulators stay in the first-level cache, while
the rows of the source stream past, several at a time. Where there are fewer results than would
occupy several threads, lines are cut into chunks of fixed size: one step folds each chunk, a second
one the chunks' results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from emu.cpu.tensor.axes import (
    UNROLL,
    VECTOR,
    WORDS,
    Lines,
    across,
    blank,
    each_vector,
    expanded,
    share,
    split,
    sweep,
    visit,
)  # fmt: skip
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import BOOL, F64, U8, DType, View
from emu.cpu.tensor.emit import I64, Block, Emitter, Type, Value, bits_of, is_float, vector
from emu.cpu.tensor.expr import ALPHA, Expr, arg, call
from emu.cpu.tensor.kernels import SCRATCH, kernel
from emu.cpu.tensor.vectors import Arithmetic, compute, convert, narrow, storage, widen

_BLOCK = Block(f"{WORDS} chunk chunks strips count")
_STRIP = 1024
"""Columns whose accumulators are held at a time."""
_CHUNK = 1 << 15
"""Elements that one result of the first step is made of, where a fold takes two steps."""
_FEW = 16
"""Results fewer than these are not enough to share among threads."""
_X, _TOP = arg(0), arg(1)


@dataclass(frozen=True)
class Fold:
    """What becomes of each element, how they combine, and what becomes of the total."""

    op: str
    neutral: float
    wide: bool = True
    """Whether floats are accumulated in f64."""
    each: Expr = _X
    last: Expr = _X
    """Over the total and, as alpha, the number of elements."""
    kinds: tuple[str, ...] = ("float", "int")
    shifted: bool = False
    """Whether the greatest element of a line is found first: it is the second operand of `each`
    and `last`."""

    def accumulator(self, dtype: DType) -> DType:
        """The type that elements of `dtype` are accumulated in."""
        if dtype is BOOL:
            return U8
        return F64 if self.wide and dtype.kind == "float" else dtype.compute

    def start(self, e: Emitter, dtype: DType, type_: Type) -> Value:
        """The neutral element; for integers, infinity is the type's limit."""
        if is_float(type_) or not math.isinf(self.neutral):
            return e.const(type_, self.neutral)
        bits = bits_of(type_) - dtype.signed
        least = -(1 << bits) if dtype.signed else 0
        return e.const(type_, least if self.neutral < 0 else (1 << bits) - 1)


_FLOAT = ("float",)
_ALL = ("float", "int", "bool")
_GREATEST = Fold("max", -math.inf, wide=False, kinds=_ALL)
FOLDS = {
    "tsum": Fold("add", 0.0),
    "tmean": Fold("add", 0.0, last=_X / ALPHA, kinds=_FLOAT),
    "tprod": Fold("mul", 1.0),
    "tredmax": _GREATEST,
    "tredmin": Fold("min", math.inf, wide=False, kinds=_ALL),
    "tsuml1": Fold("add", 0.0, each=call("abs", _X)),
    "tl2": Fold("add", 0.0, each=_X * _X, last=call("sqrt", _X), kinds=_FLOAT),
    "tsumsq": Fold("add", 0.0, each=_X * _X),
    "tlogsum": Fold("add", 0.0, last=call("log", _X), kinds=_FLOAT),
    "tlogsumexp": Fold(
        "add", 0.0, wide=False, each=call("exp", _X - _TOP), last=call("log", _X) + _TOP,
        kinds=_FLOAT, shifted=True,
    ),
}  # fmt: skip
"""Reductions by mnemonic."""


@schedule(*FOLDS)
def _reduce(call: Call) -> None:
    run_reduce(call.mnemonic, call["d"], call["x"], call.axes)


def run_reduce(mnemonic: str, destination: View, source: View, axes: Sequence[int]) -> None:
    """Fold `axes` of a host view; the destination has the other dimensions, or ones among them."""
    lines = split(expanded(destination, source.rank, axes), source, axes)
    count = float(math.prod(source.dims[d] for d in axes))
    strips = -(-lines.columns // _STRIP)
    few = lines.count * strips < _FEW and lines.n * lines.columns > 4 * _CHUNK
    if not few or lines.extents:
        _record(mnemonic, "all", source.dtype, destination.dtype, lines, lines.n, count)
        return
    held = FOLDS[mnemonic].accumulator(source.dtype)
    chunk = -(-_CHUNK // lines.columns)
    first, second = _in_chunks(lines, chunk, held.size)
    _record(mnemonic, "first", source.dtype, held, first, chunk, count)
    _record(mnemonic, "second", held, destination.dtype, second, second.n, count)


def _in_chunks(lines: Lines, chunk: int, size: int) -> tuple[Lines, Lines]:
    """The step that folds every `chunk` elements of a line to a result of `size` bytes in scratch
    memory, and the one that folds these."""
    chunks, row = -(-lines.n // chunk), lines.columns * size
    steps = [chunks * row * math.prod(lines.dims[:d]) for d in range(len(lines.dims))]
    scratch = SCRATCH.take(lines.count * chunks * row)
    first = replace(lines, to=scratch, to_steps=steps)
    layout = "column" if lines.layout == "column" else "row"
    second = replace(lines, layout=layout, source=scratch, source_steps=steps, n=chunks, step=row)
    return first, second


def _record(
    mnemonic: str, role: str, source: DType, target: DType, lines: Lines, chunk: int, count: float
) -> None:
    """Record a step. Its role: to fold `all`, chunks (`first`), or the chunks' results."""
    fold, layout = FOLDS[mnemonic], lines.layout
    run = kernel(
        f"{mnemonic} {role} {source.name} {target.name} {layout}",
        _BLOCK,
        lambda e: _Reduction(e, fold, role, source, target, layout).write(),
        parallel=True,
    )
    chunks, strips = max(-(-lines.n // max(chunk, 1)), 1), -(-lines.columns // _STRIP)
    row = lines.columns * target.size
    lines = lines.cut(chunks, row, chunk * lines.step)
    lines = lines.cut(strips, _STRIP * target.size, _STRIP * source.size)
    run(**lines.words(), chunk=chunk, chunks=chunks, strips=strips, count=count)


class _Reduction:
    """Writes the kernel of a fold."""

    def __init__(
        self, e: Emitter, fold: Fold, role: str, source: DType, target: DType, layout: str
    ) -> None:
        self.e, self.fold, self.layout, self.source, self.target = e, fold, layout, source, target
        self.held = fold.accumulator(source)
        self.math = Arithmetic(e, self.held)
        self.each = _X if role == "second" and not fold.shifted else fold.each
        self.last = _X if role == "first" and not fold.shifted else fold.last
        widest = max(storage(source), compute(self.held), key=bits_of)
        self.lanes = 1 if layout == "element" else VECTOR * 8 // bits_of(widest)
        self.size = bits_of(compute(self.held)) // 8
        self.step = e.word("step")

    def write(self) -> None:
        """Write the walk over strips, chunks and results and, in it, each of them."""
        e, b = self.e, self.e.b
        first, end = share(e, e.word("lines"))
        pointers = [e.pointer("p0"), e.pointer("p1")]
        n, chunk, strips = e.word("n"), e.word("chunk"), e.word("strips")
        rooms = [e.local(_STRIP * self.size) for _ in range(2)]
        with visit(e, first, end, ["s0", "s1"], pointers) as (index, (out, source)):
            at = b.urem(b.udiv(index, strips), e.word("chunks"))
            rest = b.sub(n, b.mul(at, chunk))
            length = e.intrinsic("llvm.smin", I64, rest, chunk)
            if self.layout == "column":
                strip = b.mul(b.urem(index, strips), e.const(I64, _STRIP))
                left = b.sub(e.word("m"), strip)
                width = e.intrinsic("llvm.smin", I64, left, e.const(I64, _STRIP))
                self._columns(out, source, length, width, rooms)
            else:
                self._row(out, source, length, [rooms[0], e.offset(rooms[0], VECTOR)])

    def _start(self, lanes: int, op: Fold) -> Value:
        return op.start(self.e, self.held, vector(compute(self.held), lanes))

    def _load(self, place: Value, mask: Value | None) -> Value:
        """Elements in the form of the accumulator."""
        e = self.e
        value = widen(e, e.load(place, vector(storage(self.source), self.lanes), mask), self.source)
        return convert(e, value, self.source.compute, self.held)

    def _store(self, value: Value, top: Value, place: Value, mask: Value | None) -> None:
        e = self.e
        value = self.math.lower(self.last, [value, top], [e.number("count", value.type)])
        value = convert(e, value, self.held, self.target)
        e.store(narrow(e, value, self.target), place, mask)

    def _shift(self, top: Value) -> Value:
        """What to subtract before exponentiating: the greatest element, unless it is infinite."""
        size = self.math.op_abs(top)
        infinite = self.e.b.fcmp_ordered("==", size, self.e.const(top.type, math.inf))
        return self.e.b.select(infinite, self.e.const(top.type, 0.0), top)

    # one result

    def _row(self, out: Value, source: Value, n: Value, rooms: Sequence[Value]) -> None:
        top = self._start(1, _GREATEST)
        if self.fold.shifted:
            top = self._shift(self._line(source, n, _GREATEST, _X, top, rooms[0]))
        total = self._line(source, n, self.fold, self.each, top, rooms[1])
        self._store(total, top, out, None)

    def _line(
        self, source: Value, n: Value, fold: Fold, each: Expr, top: Value, room: Value
    ) -> Value:
        """A line folded to a scalar: vectors along it, over all rows of the folded dimensions."""
        e, b = self.e, self.e.b
        start = self._start(self.lanes, fold)
        tops = e.splat(top, self.lanes)

        def combine(x: Value, y: Value) -> Value:
            return self.math.apply(fold.op, x, y)

        b.store(start, room, align=VECTOR)
        with e.walk("folds", "extents", ["steps"], [source]) as (row,):

            def body(index: Value, mask: Value | None, values: Sequence[Value]) -> list[Value]:
                x = self._load(e.offset(row, b.mul(index, self.step)), mask)
                x = blank(e, self.math.lower(each, [x, tops], []), mask, start)
                return [combine(values[0], x)]

            (total,) = sweep(e, n, self.lanes, [start], body, combine)
            before = b.load(room, typ=start.type, align=VECTOR)
            b.store(combine(before, total), room, align=VECTOR)
        return across(e, b.load(room, typ=start.type, align=VECTOR), combine)

    # adjacent results

    def _columns(
        self, out: Value, source: Value, n: Value, width: Value, rooms: Sequence[Value]
    ) -> None:
        """A strip of columns: the rows of the source added to accumulators in memory."""
        e, b = self.e, self.e.b
        tops, totals = rooms
        none = self._start(self.lanes, _GREATEST)
        if self.fold.shifted:
            self._rows(source, n, width, _GREATEST, _X, None, tops)

            def shift(at: Value, mask: Value | None) -> None:
                place = self._held(tops, at)
                b.store(self._shift(b.load(place, typ=none.type, align=8)), place, align=8)

            self._each(width, shift)
        self._rows(source, n, width, self.fold, self.each, tops, totals)

        def finish(at: Value, mask: Value | None) -> None:
            total = b.load(self._held(totals, at), typ=none.type, align=8)
            top = b.load(self._held(tops, at), typ=none.type, align=8)
            place = e.offset(out, b.mul(at, e.const(I64, self.target.size)))
            self._store(total, top if self.fold.shifted else none, place, mask)

        self._each(width, finish)

    def _held(self, room: Value, at: Value) -> Value:
        return self.e.offset(room, self.e.b.mul(at, self.e.const(I64, self.size)))

    def _each(self, width: Value, body: Callable[[Value, Value | None], None]) -> None:
        each_vector(self.e, width, self.lanes, body)

    def _rows(
        self, source: Value, n: Value, width: Value,
        fold: Fold, each: Expr, tops: Value | None, room: Value,
    ) -> None:  # fmt: skip
        """Fold all rows of a strip into the accumulators at `room`, `UNROLL` at a time."""
        e, b = self.e, self.e.b
        start = self._start(self.lanes, fold)
        self._each(width, lambda at, _: b.store(start, self._held(room, at), align=8))
        whole = b.and_(n, e.const(I64, -UNROLL))
        with e.walk("folds", "extents", ["steps"], [source]) as (line,):
            for first, end, count in ((e.const(I64, 0), whole, UNROLL), (whole, n, 1)):
                with e.loop(first, end, count) as loop:
                    places = [
                        e.offset(line, b.mul(b.add(loop.index, e.const(I64, k)), self.step))
                        for k in range(count)
                    ]

                    def add(at: Value, mask: Value | None, rows: list[Value] = places) -> None:
                        total = b.load(self._held(room, at), typ=start.type, align=8)
                        top = start
                        if self.fold.shifted and tops is not None:
                            top = b.load(self._held(tops, at), typ=start.type, align=8)
                        offset = b.mul(at, e.const(I64, self.source.size))
                        for row in rows:
                            x = self._load(e.offset(row, offset), mask)
                            x = self.math.lower(each, [x, top], [])
                            total = self.math.apply(fold.op, total, x)
                        b.store(total, self._held(room, at), align=8)

                    self._each(width, add)
