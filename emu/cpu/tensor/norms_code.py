"""The kernels of norms: statistics of lines, then results. `norms.py` is the schedule.

Statistics are taken of spans that stay in the nearest cache, from the sums of x - x0 and of its
square, x0 being the span's first element. Where x0 is so far from the mean that the difference of
the sums would be inaccurate, the squared deviations from the mean are summed instead. Spans are put
together in f64 (Chan, Golub and LeVeque's formula). So neither a large common offset nor a long
line costs accuracy, and a constant line has variance 0 exactly. The mean is subtracted as two
numbers.

A kernel has one of four roles. `row`: lines of one span, several at a time; `wide`: lines of more
spans, one by one; `sums` and `long`: the statistics of chunks, and results from those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emu.cpu.tensor.axes import (
    GROUP,
    VECTOR,
    across,
    blank,
    drain,
    finish_row,
    in_stages,
    share,
    sweep,
    visit,
)  # fmt: skip
from emu.cpu.tensor.descriptor import F64 as WIDE
from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import F64, I64, Block, Emitter, Value, vector
from emu.cpu.tensor.vectors import compute, convert, narrow, storage, widen

BLOCK = Block(
    "p0 p1 p2 p3 lines rank dims:8 s0:8 s1:8 s2:8 s3:8 "
    "n groups segments segment pieces scale bias i_scale i_bias sums epsilon ahead stream group"
)
CHUNK = 1 << 13
"""Elements of a chunk."""
ENTRY = 24
"""Bytes that a chunk's statistics take: three of f64."""
_CANCELLED = 16
"""How many times larger than the sum of squared deviations what is subtracted to get it may be."""
SPAN = 1 << 12
"""Elements whose statistics are taken at a time: they stay in the nearest cache."""


@dataclass(frozen=True)
class Norm:
    """Which statistics a norm takes: the mean or not, and the power whose mean or sum it is."""

    centred: bool = False
    power: int = 2
    averages: bool = True


LAYER, RMS = Norm(centred=True), Norm()
LP = {p: Norm(power=p, averages=False) for p in (1, 2)}
"""Lp normalisation by p."""


@dataclass(frozen=True)
class Form:
    """What the kernel depends on: element types (empty: there is no such operand) and shape."""

    norm: Norm
    role: str
    dtype: DType
    along: bool
    scale: DType | None
    bias: DType | None
    results: tuple[DType | None, DType | None]

    @property
    def name(self) -> str:
        types = (self.scale, self.bias, *self.results)
        spelled = " ".join(t.name if t else "-" for t in types)
        norm = f"{'centred' if self.norm.centred else ''}{self.norm.power}{self.norm.averages}"
        place = "along" if self.along else "each"
        return f"norm {norm} {self.role} {self.dtype.name} {place} {spelled}"


class Writer:
    """Writes the kernels."""

    def __init__(self, e: Emitter, form: Form) -> None:
        self.e, self.form, self.norm, self.dtype = e, form, form.norm, form.dtype
        self.held = compute(form.dtype)
        self.lanes = VECTOR // (8 if form.dtype is WIDE else 4)
        self.n = e.word("n")

    def write(self) -> None:
        """Write the walk over lines, or pieces of them, and in it each of them."""
        e = self.e
        first, end = share(e, e.word("lines"))
        names = ["p0", "p1", *(f"p{2 + k}" for k, r in enumerate(self.form.results) if r)]
        pointers = [e.pointer(p) for p in names]
        steps = [f"s{p[1]}" for p in names]
        if self.form.role == "row":
            in_stages(e, first, end, steps, pointers, self._stages())
        else:
            each = {"wide": self._wide, "sums": self._store_sums, "long": self._long}[
                self.form.role
            ]
            with visit(e, first, end, steps, pointers) as (index, places):
                each(index, places)
        drain(e)

    # statistics

    def _add(self, x: Value, y: Value) -> Value:
        return self.e.b.fadd(x, y)

    def _sums(
        self, line: Value, n: Value, shift: Value, terms: Sequence[Callable[[Value, Value], Value]]
    ) -> list[Value]:
        """The sums over a span, in f64, of what each of `terms` adds for x - shift."""
        e, b = self.e, self.e.b
        none = e.const(vector(self.held, self.lanes), 0.0)
        shifts = e.splat(shift, self.lanes)

        def body(index: Value, mask: Value | None, values: Sequence[Value]) -> list[Value]:
            place = e.offset(line, b.mul(index, e.const(I64, self.dtype.size)))
            x = widen(e, e.load(place, vector(storage(self.dtype), self.lanes), mask), self.dtype)
            if self.norm.centred:
                x = blank(e, b.fsub(x, shifts), mask, none)
            return [add(total, x) for add, total in zip(terms, values, strict=True)]

        totals = sweep(e, n, self.lanes, [none] * len(terms), body, self._add)
        return [self._widened(across(e, total, self._add)) for total in totals]

    def _widened(self, value: Value) -> Value:
        return convert(self.e, value, self.dtype.compute, WIDE)

    def _narrowed(self, value: Value) -> Value:
        return convert(self.e, value, WIDE, self.dtype.compute)

    def _square(self, total: Value, x: Value) -> Value:
        return self.e.fma(x, x, total)

    def _magnitude(self, total: Value, x: Value) -> Value:
        return self.e.b.fadd(total, self.e.intrinsic("llvm.fabs", x.type, x))

    def _span(self, line: Value, n: Value) -> list[Value]:
        """The statistics of at most `SPAN` elements, in f64: count, mean and the sum of squared
        deviations; or, without a mean, count and the sum of powers."""
        e, b = self.e, self.e.b
        count = b.sitofp(n, F64)
        if not self.norm.centred:
            add = self._square if self.norm.power == 2 else self._magnitude
            return [count, *self._sums(line, n, e.const(self.held, 0.0), [add])]
        some = b.icmp_signed(">", n, e.const(I64, 0))  # of no elements none may be read
        first = widen(e, e.load(line, storage(self.dtype), some), self.dtype)
        total, square = self._sums(line, n, first, [self._add, self._square])
        shift = b.fdiv(total, count)
        mean, lost = b.fadd(self._widened(first), shift), b.fmul(total, shift)
        deviations = b.fsub(square, lost)
        limit = b.fmul(deviations, e.const(F64, _CANCELLED))
        with e.branch(b.fcmp_ordered(">", lost, limit), [deviations]) as again:
            near = self._narrowed(mean)
            (square,) = self._sums(line, n, near, [self._square])
            rest = b.fsub(mean, self._widened(near))
            again.next(b.fsub(square, b.fmul(count, b.fmul(rest, rest))))
        return [count, mean, again.values[0]]

    def _joined(self, old: Sequence[Value], new: Sequence[Value]) -> list[Value]:
        """The statistics of both of two spans."""
        e, b = self.e, self.e.b
        count = b.fadd(old[0], new[0])
        if not self.norm.centred:
            return [count, b.fadd(old[1], new[1])]
        share_ = b.fdiv(new[0], count)
        step = b.fsub(new[1], old[1])
        between = b.fmul(b.fmul(step, step), b.fmul(old[0], share_))
        return [
            count, e.fma(step, share_, old[1]), b.fadd(b.fadd(old[2], new[2]), between),
        ]  # fmt: skip

    def _nothing(self) -> list[Value]:
        return [self.e.const(F64, 0.0)] * (3 if self.norm.centred else 2)

    def _take(self, line: Value, n: Value) -> list[Value]:
        """The statistics of a line, or a piece of one, span by span."""
        e, b = self.e, self.e.b
        with e.loop(0, n, SPAN, carry=self._nothing()) as loop:
            place = e.offset(line, b.mul(loop.index, e.const(I64, self.dtype.size)))
            rest = b.sub(n, loop.index)
            length = e.intrinsic("llvm.smin", I64, rest, e.const(I64, SPAN))
            loop.next(*self._joined(loop.values, self._span(place, length)))
        return loop.values

    def _statistics(self, found: Sequence[Value]) -> tuple[Value, Value]:
        """(mean or 0, factor) in f64, from the statistics of a whole line."""
        e, b = self.e, self.e.b
        zero, one = e.const(F64, 0.0), e.const(F64, 1.0)
        power = found[-1]
        if self.norm.averages:
            power = b.fdiv(power, found[0])
        power = b.fadd(power, e.number("epsilon", F64))
        size = power if self.norm.power == 1 else e.intrinsic("llvm.sqrt", F64, power)
        factor = b.fdiv(one, size)
        if not self.norm.averages:
            factor = b.select(b.fcmp_ordered("==", size, zero), zero, factor)
        return found[1] if self.norm.centred else zero, factor

    # results

    def _parameter(self, name: str, dtype: DType, index: Value | None, mask: Value | None) -> Value:
        """Scale or bias in the type of arithmetic: along the line, or (no index) one for all."""
        e, b = self.e, self.e.b
        at, lanes = (index, self.lanes) if index is not None else (e.const(I64, 0), 1)
        place = e.offset(e.pointer(name), b.mul(at, e.const(I64, dtype.size)))
        value = widen(e, e.load(place, vector(storage(dtype), lanes), mask), dtype)
        return convert(e, value, dtype.compute, self.dtype.compute)

    def _channel(self, name: str, dtype: DType, channel: Value) -> Value:
        e, b = self.e, self.e.b
        place = e.offset(e.pointer(name), b.mul(channel, e.word(f"i_{name}")))
        value = widen(e, e.load(place, storage(dtype)), dtype)
        return convert(e, value, dtype.compute, self.dtype.compute)

    def _apply(
        self, out: Value, line: Value, n: Value, at: Value, channel: Value, mean: Value, by: Value
    ) -> None:
        """Results of `n` elements at `line`, `at` elements into the line, all of one channel."""
        e, b, form = self.e, self.e.b, self.form
        high, factor = self._narrowed(mean), self._narrowed(by)
        low = self._narrowed(b.fmul(b.fsub(self._widened(high), mean), by))
        if not form.along:
            if form.scale:
                scale = self._channel("scale", form.scale, channel)
                factor, low = b.fmul(factor, scale), b.fmul(low, scale)
            if form.bias:
                low = b.fadd(low, self._channel("bias", form.bias, channel))
        highs, lows, factors = (e.splat(v, self.lanes) for v in (high, low, factor))
        following = e.offset(line, e.word("ahead"))

        def result(index: Value, mask: Value | None) -> Value:
            offset = b.mul(index, e.const(I64, self.dtype.size))
            stored = e.load(e.offset(line, offset), vector(storage(self.dtype), self.lanes), mask)
            if mask is None:
                e.prefetch(e.offset(following, offset))
            x = widen(e, stored, self.dtype)
            if self.norm.centred:
                x = b.fsub(x, highs)
            if self.norm.centred or not form.along:
                x = e.fma(x, factors, lows)
            else:
                x = b.fmul(x, factors)
            if not form.along:
                return x
            here = b.add(index, at)
            scale = form.scale and self._parameter("scale", form.scale, here, mask)
            bias = form.bias and self._parameter("bias", form.bias, here, mask)
            if scale and bias:
                return e.fma(x, scale, bias)
            return b.fmul(x, scale) if scale else b.fadd(x, bias) if bias else x

        def stored(index: Value, mask: Value | None) -> Value:
            return narrow(e, result(index, mask), self.dtype)

        finish_row(e, out, n, self.lanes, self.dtype.size, stored)

    def _stages(self) -> list[Callable[[Value, Value, list[Value]], None]]:
        """The statistics of a line of one span, then its results."""
        e, b = self.e, self.e.b
        rooms = [e.local(8 * GROUP) for _ in range(2)]

        def held(slot: Value) -> list[Value]:
            return [e.offset(room, b.mul(slot, e.const(I64, 8))) for room in rooms]

        def statistics(slot: Value, _: Value, places: list[Value]) -> None:
            found = self._statistics(self._span(places[1], self.n))
            self._tell(places[2:], *found)
            for value, place in zip(found, held(slot), strict=True):
                b.store(value, place, align=8)

        def results(slot: Value, index: Value, places: list[Value]) -> None:
            mean, factor = (b.load(place, typ=F64, align=8) for place in held(slot))
            self._segments(index, places[0], places[1], mean, factor)

        return [statistics, results]

    def _wide(self, index: Value, places: Sequence[Value]) -> None:
        out, line, *results = places
        mean, factor = self._statistics(self._take(line, self.n))
        self._tell(results, mean, factor)
        self._segments(index, out, line, mean, factor)

    def _segments(self, index: Value, out: Value, line: Value, mean: Value, factor: Value) -> None:
        """The results of a line, segment by segment."""
        e, b = self.e, self.e.b
        length, segments = e.word("segment"), e.word("segments")
        channel = b.mul(b.urem(index, e.word("groups")), segments)
        with e.loop(0, segments) as loop:
            offset = b.mul(b.mul(loop.index, length), e.const(I64, self.dtype.size))
            self._apply(
                e.offset(out, offset), e.offset(line, offset), length, e.const(I64, 0),
                b.add(channel, loop.index), mean, factor,
            )  # fmt: skip

    def _tell(self, results: Sequence[Value], mean: Value, factor: Value) -> None:
        """Store mean and factor where they are wanted."""
        rest = iter(results)
        for dtype, value in zip(self.form.results, (mean, factor), strict=True):
            if dtype:
                value = convert(self.e, value, WIDE, dtype.compute)
                self.e.store(narrow(self.e, value, dtype), next(rest))

    # pieces of long lines

    def _piece(self, index: Value) -> tuple[Value, Value, Value, Value]:
        """(line, segment in it, elements into the segment, length) of piece `index`."""
        e, b = self.e, self.e.b
        pieces, segments = e.word("pieces"), e.word("segments")
        whole = b.udiv(index, pieces)
        at = b.mul(b.urem(index, pieces), e.const(I64, CHUNK))
        left = b.sub(e.word("segment"), at)
        length = e.intrinsic("llvm.smin", I64, left, e.const(I64, CHUNK))
        return b.udiv(whole, segments), b.urem(whole, segments), at, length

    def _store_sums(self, index: Value, places: Sequence[Value]) -> None:
        e, b = self.e, self.e.b
        *_, length = self._piece(index)
        room = e.offset(e.pointer("sums"), b.mul(index, e.const(I64, ENTRY)))
        for k, value in enumerate(self._take(places[1], length)):
            b.store(value, e.offset(room, 8 * k), align=8)

    def _long(self, index: Value, places: Sequence[Value]) -> None:
        e, b = self.e, self.e.b
        out, source, *results = places
        line, segment, at, length = self._piece(index)
        count = b.mul(e.word("pieces"), e.word("segments"))
        room = e.offset(e.pointer("sums"), b.mul(b.mul(line, count), e.const(I64, ENTRY)))
        nothing = self._nothing()
        with e.loop(0, count, carry=nothing) as loop:
            place = e.offset(room, b.mul(loop.index, e.const(I64, ENTRY)))
            piece = [b.load(e.offset(place, 8 * k), typ=F64, align=8) for k in range(len(nothing))]
            loop.next(*self._joined(loop.values, piece))
        mean, factor = self._statistics(loop.values)
        self._tell(results, mean, factor)
        channel = b.add(b.mul(b.urem(line, e.word("groups")), e.word("segments")), segment)
        self._apply(out, source, length, at, channel, mean, factor)
