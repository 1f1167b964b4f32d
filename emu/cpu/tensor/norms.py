"""Normalisation of lines: layer, RMS, instance and group norm, and division by a line's Lp norm.

Every one of them takes one or two sums over a line (its statistics) and maps each element to
(x - mean) * factor * scale + bias. `Norm` says which sums; scale and bias lie `along` the line
(layer norm), or there is one for each segment of it, a channel (instance and group norm).

Statistics are summed in f64, in one pass: of x - x0 and its square, x0 being the line's first
element. Because x0 is an element, (x0 - mean)² is at most n variances, so the variance is good to n
units in the last place of f64 whatever the data; a constant line has variance 0 exactly. The mean
is subtracted as a sum of two numbers. Each result is rounded once.

*Schedule.* A line that fits the caches is read from memory once: sums, then results, while the next
line is being fetched. A longer one is cut into chunks: one step sums each, a second adds these up
(every part all of them) and computes results. Lines that are not adjacent in memory go through
dense copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emu.cpu.tensor.axes import VECTOR, across, adjacent_from, finish_row, share, sweep, visit
from emu.cpu.tensor.call import Call
from emu.cpu.tensor.call import schedule as bound
from emu.cpu.tensor.descriptor import F64 as WIDE
from emu.cpu.tensor.descriptor import DType, View, dense
from emu.cpu.tensor.elementwise import run_copy, schedule
from emu.cpu.tensor.emit import F64, I64, Block, Emitter, Value, vector
from emu.cpu.tensor.kernels import SCRATCH, Word, kernel
from emu.cpu.tensor.softmax import STREAM
from emu.cpu.tensor.vectors import compute, convert, narrow, storage, widen

_BLOCK = Block(
    "p0 p1 p2 p3 lines rank dims:8 s0:8 s1:8 s2:8 s3:8 "
    "n groups segments segment pieces scale bias i_scale i_bias sums epsilon ahead stream"
)
_LONG = 1 << 18
"""Bytes of a line from which it is cut into chunks."""
_CHUNK = 1 << 13
"""Elements of a chunk."""
_ENTRY = 24
"""Bytes that a chunk's sums take: what was subtracted, and two sums."""


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
class _Form:
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


@bound("tlayernorm", "trmsnorm", in_place=True)
def _layer_norm(call: Call) -> None:
    norm = LAYER if call.mnemonic == "tlayernorm" else RMS
    run_layer_norm(
        call["d"], call["x"], call["scale"], call.get("bias"), call.axis, call.at.alpha,
        norm=norm, results=(call.get("mean"), call.get("factor")),
    )  # fmt: skip


@bound("tinstancenorm", "tgroupnorm", in_place=True)
def _group_norm(call: Call) -> None:
    groups = call.at.groups if call.mnemonic == "tgroupnorm" else call.size("c")
    scale, bias = call.get("scale"), call.get("bias")
    run_group_norm(call["d"], call["x"], scale, bias, groups, call.at.alpha)


@bound("tl2norm", in_place=True)
def _lp_norm(call: Call) -> None:
    run_lp_norm(call["d"], call["x"], call.axis, call.at.count)


def run_layer_norm(
    destination: View,
    source: View,
    scale: View | None,
    bias: View | None,
    axis: int,
    epsilon: float,
    *,
    norm: Norm = LAYER,
    results: tuple[View | None, View | None] = (None, None),
) -> None:
    """Over host views, the dimensions from `axis` on being a line.

    `scale` and `bias` broadcast to those; `results` take mean and 1/deviation, in the dimensions
    before `axis`. The source may be the destination.
    """
    target, source, after = _adjacent(destination, source, axis)
    line = source.dims[axis:]
    scale, bias = (v and _dense(v, line) for v in (scale, bias))
    lead = [v.permuted(tuple(range(axis))) for v in (target, source)]
    extra = [View(v.address, v.dtype, v.dims[:axis], v.strides[:axis]) for v in results if v]
    dims, steps = schedule([*lead, *extra])
    walk: dict[str, Word] = {"dims": dims, "s0": steps[0], "s1": steps[1]}
    rest = iter(steps[2:])
    walk |= {f"s{2 + k}": next(rest) for k, v in enumerate(results) if v}
    walk |= {f"p{2 + k}": v.address for k, v in enumerate(results) if v}
    n = _product(line)
    _record(norm, target, source, walk, True, (n, 1, 1, n), scale, bias, results, epsilon)
    after()


def run_group_norm(
    destination: View,
    source: View,
    scale: View | None,
    bias: View | None,
    groups: int,
    epsilon: float,
) -> None:
    """Over host views (N, C, spatial…), each group of C/groups channels of an image being a line;
    with as many groups as channels it is instance norm. `scale` and `bias` are (C)."""
    target, source, after = _adjacent(destination, source, 1)
    images, channels, *spatial = source.dims
    segments, segment = channels // groups, _product(spatial)
    n = segments * segment
    steps = [[n * v.dtype.size, v.strides[0]] for v in (target, source)]
    walk: dict[str, Word] = {"dims": [groups, images], "s0": steps[0], "s1": steps[1]}
    shape = (n, groups, segments, segment)
    _record(LAYER, target, source, walk, False, shape, scale, bias, (None, None), epsilon)
    after()


def run_lp_norm(destination: View, source: View, axis: int, power: int) -> None:
    """x / ||x||_p along an axis, p being 1 or 2; a line of zeros stays one."""
    order = (*(d for d in range(source.rank) if d != axis), axis)
    run_layer_norm(
        destination.permuted(order), source.permuted(order), None, None, source.rank - 1, 0.0,
        norm=LP[power],
    )  # fmt: skip


def _product(extents: Sequence[int]) -> int:
    count = 1
    for extent in extents:
        count *= extent
    return count


def _adjacent(destination: View, source: View, axis: int) -> tuple[View, View, Callable[[], None]]:
    """Destination and source with lines that are adjacent in memory, and what to do at the end."""
    if adjacent_from(source, axis) and adjacent_from(destination, axis):
        return destination, source, lambda: None
    copy = dense(SCRATCH.take(source.bytes), source.dtype, source.dims)
    run_copy(copy, source)
    return copy, copy, lambda: run_copy(destination, copy)


def _dense(view: View, dims: tuple[int, ...]) -> View:
    """The view broadcast to `dims`, one element behind the other."""
    if view.dims == dims and view.is_dense():
        return view
    stretched = view.broadcast(dims)
    assert stretched is not None  # the instruction has checked the shapes
    copy = dense(SCRATCH.take(_product(dims) * view.dtype.size), view.dtype, dims)
    run_copy(copy, stretched)
    return copy


def _record(
    norm: Norm,
    target: View,
    source: View,
    walk: dict[str, Word],
    along: bool,
    shape: tuple[int, int, int, int],
    scale: View | None,
    bias: View | None,
    results: tuple[View | None, View | None],
    epsilon: float,
) -> None:
    """Record the steps. `walk` visits the lines (extents and strides, the fastest first); `shape`
    is n, groups, segments, segment."""
    n, groups, segments, segment = shape
    size = source.dtype.size
    dims, to, back = (list(walk[k]) for k in ("dims", "s0", "s1"))  # type: ignore[arg-type]
    lines = _product(dims)
    long = n * size >= _LONG and segment >= _CHUNK // 4
    pieces = -(-segment // _CHUNK) if long else 1
    words: dict[str, Word] = dict(
        walk, p0=target.address, p1=source.address, n=n, groups=groups, segments=segments,
        segment=segment, pieces=pieces, epsilon=epsilon, ahead=back[0] if dims else 0,
        stream=int(target.bytes >= STREAM),
    )  # fmt: skip
    for name, view in (("scale", scale), ("bias", bias)):
        if view is not None:
            words |= {name: view.address, f"i_{name}": view.strides[0] if view.rank else 0}
    roles: tuple[str, ...] = ("row",)
    if long:
        cut = [(pieces, _CHUNK), (segments, segment)]
        dims = [count for count, _ in cut] + dims
        lines = _product(dims)
        steps = [step * size for _, step in cut]
        words |= {"s0": steps + to, "s1": steps + back, "sums": SCRATCH.take(lines * _ENTRY)}
        words |= {k: [0, 0, *v] for k, v in words.items() if k in ("s2", "s3")}  # type: ignore[misc]
        roles = ("sums", "long")
    words |= {"dims": dims, "rank": len(dims), "lines": lines}
    types = tuple(v.dtype if v else None for v in (scale, bias, *results))
    for role in roles:
        form = _Form(norm, role, source.dtype, along, types[0], types[1], (types[2], types[3]))
        run = kernel(form.name, _BLOCK, lambda e, f=form: _Norm(e, f).write(), parallel=True)  # type: ignore[misc]
        run(**words)


class _Norm:
    """Writes the kernels."""

    def __init__(self, e: Emitter, form: _Form) -> None:
        self.e, self.form, self.norm, self.dtype = e, form, form.norm, form.dtype
        self.held = compute(form.dtype)
        self.lanes = VECTOR // (8 if form.dtype is WIDE else 4)
        self.wide = VECTOR // 8
        self.n = e.word("n")

    def write(self) -> None:
        """Write the walk over lines, or pieces of them, and in it each of them."""
        e = self.e
        first, end = share(e, e.word("lines"))
        names = ["p0", "p1", *(f"p{2 + k}" for k, r in enumerate(self.form.results) if r)]
        pointers = [e.pointer(p) for p in names]
        steps = [f"s{p[1]}" for p in names]
        each = {"row": self._row, "sums": self._sums, "long": self._long}[self.form.role]
        with visit(e, first, end, steps, pointers) as (index, places):
            each(index, places)
        e.drain()

    # statistics

    def _add(self, x: Value, y: Value) -> Value:
        return self.e.b.fadd(x, y)

    def _take(self, line: Value, n: Value, first: Value) -> list[Value]:
        """The sums over a line, in f64: of x - first and its square, or of a power of |x|."""
        e, b = self.e, self.e.b
        type_ = vector(F64, self.wide)
        origin = e.splat(first, self.wide)

        def body(index: Value, mask: Value | None, values: Sequence[Value]) -> list[Value]:
            place = e.offset(line, b.mul(index, e.const(I64, self.dtype.size)))
            x = widen(e, e.load(place, vector(storage(self.dtype), self.wide), mask), self.dtype)
            x = convert(e, x, self.dtype.compute, WIDE)
            if not self.norm.centred:
                if self.norm.power == 2:
                    return [e.fma(x, x, values[0])]
                return [b.fadd(e.intrinsic("llvm.fabs", x.type, x), values[0])]
            d = b.fsub(x, origin)
            d = d if mask is None else b.select(mask, d, e.const(type_, 0.0))
            return [b.fadd(values[0], d), e.fma(d, d, values[1])]

        start = [e.const(type_, 0.0)] * (2 if self.norm.centred else 1)
        return [across(e, s, self._add) for s in sweep(e, n, self.wide, start, body, self._add)]

    def _first(self, line: Value) -> Value:
        """What is subtracted from elements before they are summed."""
        if not self.norm.centred:
            return self.e.const(F64, 0.0)
        x = widen(self.e, self.e.load(line, storage(self.dtype)), self.dtype)
        return convert(self.e, x, self.dtype.compute, WIDE)

    def _statistics(self, sums: Sequence[Value], first: Value) -> tuple[Value, Value]:
        """(mean or 0, factor) in f64, from the sums over a whole line."""
        e, b = self.e, self.e.b
        zero, one = e.const(F64, 0.0), e.const(F64, 1.0)
        count = b.sitofp(self.n, F64)
        if self.norm.averages:
            sums = [b.fdiv(s, count) for s in sums]
        if self.norm.centred:
            square = b.fmul(sums[0], sums[0])
            variance = e.intrinsic("llvm.maximum", F64, b.fsub(sums[1], square), zero)
            mean, power = b.fadd(first, sums[0]), variance
        else:
            mean, power = zero, sums[0]
        power = b.fadd(power, e.number("epsilon", F64))
        size = power if self.norm.power == 1 else e.intrinsic("llvm.sqrt", F64, power)
        factor = b.fdiv(one, size)
        if not self.norm.averages:
            factor = b.select(b.fcmp_ordered("==", size, zero), zero, factor)
        return mean, factor

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
        high = convert(e, mean, WIDE, self.dtype.compute)
        low = convert(
            e, b.fsub(mean, convert(e, high, self.dtype.compute, WIDE)), WIDE, self.dtype.compute
        )
        factor = convert(e, by, WIDE, self.dtype.compute)
        shift = e.const(self.held, -0.0)
        if not form.along:
            if form.scale:
                factor = b.fmul(factor, self._channel("scale", form.scale, channel))
            if form.bias:
                shift = self._channel("bias", form.bias, channel)
        highs, lows, factors, shifts = (e.splat(v, self.lanes) for v in (high, low, factor, shift))
        following = e.offset(line, e.word("ahead"))

        def result(index: Value, mask: Value | None) -> Value:
            offset = b.mul(index, e.const(I64, self.dtype.size))
            stored = e.load(e.offset(line, offset), vector(storage(self.dtype), self.lanes), mask)
            if mask is None:
                e.prefetch(e.offset(following, offset))
            x = widen(e, stored, self.dtype)
            if self.norm.centred:
                x = b.fsub(b.fsub(x, highs), lows)
            if not form.along:
                return e.fma(x, factors, shifts)
            x, here = b.fmul(x, factors), b.add(index, at)
            scale = form.scale and self._parameter("scale", form.scale, here, mask)
            bias = form.bias and self._parameter("bias", form.bias, here, mask)
            if scale and bias:
                return e.fma(x, scale, bias)
            return b.fmul(x, scale) if scale else b.fadd(x, bias) if bias else x

        def stored(index: Value, mask: Value | None) -> Value:
            return narrow(e, result(index, mask), self.dtype)

        finish_row(e, out, n, self.lanes, self.dtype.size, stored)

    def _row(self, index: Value, places: Sequence[Value]) -> None:
        e, b = self.e, self.e.b
        out, line, *results = places
        first = self._first(line)
        mean, factor = self._statistics(self._take(line, self.n, first), first)
        self._tell(results, mean, factor)
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
        at = b.mul(b.urem(index, pieces), e.const(I64, _CHUNK))
        left = b.sub(e.word("segment"), at)
        length = e.intrinsic("llvm.smin", I64, left, e.const(I64, _CHUNK))
        return b.udiv(whole, segments), b.urem(whole, segments), at, length

    def _start(self, line: Value, segment: Value, at: Value) -> Value:
        """Where the line begins that a piece is of."""
        e, b = self.e, self.e.b
        before = b.add(b.mul(segment, e.word("segment")), at)
        return e.offset(line, b.mul(before, e.const(I64, -self.dtype.size)))

    def _sums(self, index: Value, places: Sequence[Value]) -> None:
        e, b = self.e, self.e.b
        _, segment, at, length = self._piece(index)
        first = self._first(self._start(places[1], segment, at))
        room = e.offset(e.pointer("sums"), b.mul(index, e.const(I64, _ENTRY)))
        for k, total in enumerate([first, *self._take(places[1], length, first)]):
            b.store(total, e.offset(room, 8 * k), align=8)

    def _long(self, index: Value, places: Sequence[Value]) -> None:
        e, b = self.e, self.e.b
        out, source, *results = places
        line, segment, at, length = self._piece(index)
        count = b.mul(e.word("pieces"), e.word("segments"))
        room = e.offset(e.pointer("sums"), b.mul(b.mul(line, count), e.const(I64, _ENTRY)))
        kinds = 2 if self.norm.centred else 1
        with e.loop(0, count, carry=[e.const(F64, 0.0)] * kinds) as loop:
            place = e.offset(room, b.mul(loop.index, e.const(I64, _ENTRY)))
            parts = [b.load(e.offset(place, 8 + 8 * k), typ=F64, align=8) for k in range(kinds)]
            loop.next(*map(self._add, loop.values, parts))
        first = b.load(room, typ=F64, align=8)  # the line itself may be overwritten already
        mean, factor = self._statistics(loop.values, first)
        self._tell(results, mean, factor)
        channel = b.add(b.mul(b.urem(line, e.word("groups")), e.word("segments")), segment)
        self._apply(out, source, length, at, channel, mean, factor)
