"""Running sums and products along an axis, from either end, with or without the element itself.

Floats are accumulated in f64 and every result is rounded once; integers wrap.

*Schedule.* From the end is from the beginning with strides turned round. Layouts are those of
`axes.py`. Along a row the running values of a vector are found by doubling: each lane adds the one
1, 2, 4 lanes before it, then what came before the vector. Of columns, a strip of running values
stays in the first-level cache while the rows stream past.
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu.tensor.axes import VECTOR, WORDS, each_vector, share, split, strip_width, visit
from emu.cpu.tensor.call import Call
from emu.cpu.tensor.call import schedule as bound
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.emit import I32, I64, Block, Emitter, Value, vector
from emu.cpu.tensor.folds import FOLDS
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.vectors import Arithmetic, compute, convert, narrow, storage, widen

_BLOCK = Block(f"{WORDS} step_out strips")
_STRIP = 1024
"""Columns whose running values are held at a time."""
RUNNING = {"tcumsum": FOLDS["tsum"], "tcumprod": FOLDS["tprod"]}


@bound(*RUNNING, in_place=True)
def _cumulative(call: Call) -> None:
    exclusive, reverse = call.flag("exclusive"), call.flag("reverse")
    run_cumulative(call.mnemonic, call["d"], call["x"], call.axis, exclusive, reverse)


def run_cumulative(
    mnemonic: str, destination: View, source: View, axis: int, exclusive: bool, reverse: bool
) -> None:
    """Over host views of equal extents and type; the source may be the destination."""
    if reverse:
        destination, source = _turned(destination, axis), _turned(source, axis)
    lines = split(destination, source, [axis])
    dtype, size, layout = source.dtype, source.dtype.size, lines.layout
    if layout != "column":
        steps = {source.strides[axis], destination.strides[axis]}
        layout = {frozenset([size]): "row", frozenset([-size]): "back"}.get(
            frozenset(steps), "element"
        )
    run = kernel(
        f"{mnemonic} {dtype.name} {layout} {'exclusive' if exclusive else 'inclusive'}",
        _BLOCK,
        lambda e: _Cumulative(e, mnemonic, dtype, layout, exclusive).write(),
        parallel=True,
    )
    strips = -(-lines.columns // _STRIP)
    lines = lines.cut(strips, _STRIP * size, _STRIP * size)
    run(
        **lines.words() | {"n": source.dims[axis], "step": source.strides[axis]},
        step_out=destination.strides[axis], strips=strips,
    )  # fmt: skip


def _turned(view: View, axis: int) -> View:
    """The view with the elements along an axis in the opposite order."""
    reach = view.strides[axis] * (view.dims[axis] - 1)
    strides = [-s if d == axis else s for d, s in enumerate(view.strides)]
    return View(view.address + reach, view.dtype, view.dims, tuple(strides))


class _Cumulative:
    """Writes the kernel."""

    def __init__(
        self, e: Emitter, mnemonic: str, dtype: DType, layout: str, exclusive: bool
    ) -> None:
        self.e, self.dtype, self.layout, self.exclusive = e, dtype, layout, exclusive
        self.fold = RUNNING[mnemonic]
        self.held = self.fold.accumulator(dtype)
        self.math, self.lanes = Arithmetic(e, self.held), VECTOR // 8
        self.n, self.step, self.step_out = (e.word(w) for w in ("n", "step", "step_out"))

    def write(self) -> None:
        """Write the walk over lines or strips and, in it, each of them."""
        e = self.e
        first, end = share(e, e.word("lines"))
        room, pointers = e.local(_STRIP * 8), [e.pointer("p0"), e.pointer("p1")]
        with visit(e, first, end, ["s0", "s1"], pointers) as (index, (out, source)):
            if self.layout == "column":
                width = strip_width(e, index, _STRIP)
                self._columns(out, source, width, room)
            else:
                self._line(out, source)

    def _start(self, lanes: int) -> Value:
        return self.fold.start(self.e, self.held, vector(compute(self.held), lanes))

    def _combine(self, x: Value, y: Value) -> Value:
        return self.math.apply(self.fold.op, x, y)

    def _load(self, place: Value, lanes: int, mask: Value | None = None) -> Value:
        value = self.e.load(place, vector(storage(self.dtype), lanes), mask)
        return convert(self.e, widen(self.e, value, self.dtype), self.dtype.compute, self.held)

    def _store(self, value: Value, place: Value, mask: Value | None = None) -> None:
        value = convert(self.e, value, self.held, self.dtype)
        self.e.store(narrow(self.e, value, self.dtype), place, mask)

    # along a line

    def _line(self, out: Value, source: Value) -> None:
        """Whole vectors, unless elements are not adjacent; then one element at a time."""
        e, b = self.e, self.e.b
        total, whole = self._start(1), e.const(I64, 0)
        if self.layout != "element":
            whole = b.and_(self.n, e.const(I64, -self.lanes))
            with e.loop(0, whole, self.lanes, carry=[total]) as loop:
                loop.next(self._vector(out, source, loop.index, loop.values[0]))
            total = loop.values[0]
        with e.loop(whole, self.n, carry=[total]) as loop:
            x = self._load(e.offset(source, b.mul(loop.index, self.step)), 1)
            following = self._combine(loop.values[0], x)
            place = e.offset(out, b.mul(loop.index, self.step_out))
            self._store(loop.values[0] if self.exclusive else following, place)
            loop.next(following)

    def _vector(self, out: Value, source: Value, index: Value, before: Value) -> Value:
        """The running values of a vector from `index` on; what follows has this before it."""
        e, b, lanes = self.e, self.e.b, self.lanes
        if self.layout == "back":  # the lanes of a vector in memory are the last one first
            index = b.add(index, e.const(I64, lanes - 1))
        places = [
            e.offset(p, b.mul(index, s)) for p, s in ((out, self.step_out), (source, self.step))
        ]
        running = self._turn(self._load(places[1], lanes))
        distance = 1
        while distance < lanes:
            running = self._combine(running, self._moved(running, distance))
            distance *= 2
        total = b.extract_element(running, e.const(I32, lanes - 1))
        result = self._moved(running, 1) if self.exclusive else running
        result = self._combine(e.splat(before, lanes), result)
        self._store(self._turn(result), places[0])
        return self._combine(before, total)

    def _moved(self, value: Value, by: int) -> Value:
        """Lanes moved up, neutral elements behind them."""
        lanes = self.lanes
        picks = [ir.Constant(I32, k - by if k >= by else lanes) for k in range(lanes)]
        order = ir.Constant(vector(I32, lanes), picks)
        return self.e.b.shuffle_vector(value, self._start(lanes), order)

    def _turn(self, value: Value) -> Value:
        if self.layout != "back":
            return value
        picks = [ir.Constant(I32, k) for k in reversed(range(self.lanes))]
        order = ir.Constant(vector(I32, self.lanes), picks)
        return self.e.b.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), order)

    # adjacent lines

    def _columns(self, out: Value, source: Value, width: Value, room: Value) -> None:
        e, b, size = self.e, self.e.b, self.dtype.size
        kind = vector(compute(self.held), self.lanes)

        def held(at: Value) -> Value:
            return e.offset(room, b.mul(at, e.const(I64, self.held.size)))

        def begin(at: Value, _: Value | None) -> None:
            b.store(self._start(self.lanes), held(at), align=8)

        each_vector(e, width, self.lanes, begin)
        with e.loop(0, self.n) as row:
            line = e.offset(source, b.mul(row.index, self.step))
            target = e.offset(out, b.mul(row.index, self.step_out))

            def add(at: Value, mask: Value | None) -> None:
                offset = b.mul(at, e.const(I64, size))
                before = b.load(held(at), typ=kind, align=8)
                following = self._combine(
                    before, self._load(e.offset(line, offset), self.lanes, mask)
                )
                value = before if self.exclusive else following
                self._store(value, e.offset(target, offset), mask)
                b.store(following, held(at), align=8)

            each_vector(e, width, self.lanes, add)
