"""tlstm, tgru, trnn: recurrent cells over whole sequences.

*Schedule.* For each step a product, the state times the weights, and a kernel that makes the new
state from it and from the inputs' part of the gates. A sequence's first product is left out where
the initial state is zero. States are kept in the result itself; where sequences have different
lengths, or the result's rows are not adjacent, in scratch memory.

Threads divide products as they see fit, and the columns of a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emu.cpu.tensor.axes import each_vector, share
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import DType, View, dense
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import I32, I64, Block, Emitter, Value, vector
from emu.cpu.tensor.epilogue import lanes
from emu.cpu.tensor.gemm import run_matmul
from emu.cpu.tensor.kernels import SCRATCH, Word, kernel
from emu.cpu.tensor.vectors import Arithmetic, compute

_OPERANDS = ("x", "g", "old", "new", "out", "c_in", "c_out", "peephole", "bias")
"""Matrices (n, columns) of a cell, rows of adjacent elements; peephole and bias are one row."""
_BLOCK = Block(
    "n h step lengths lengths_step " + " ".join(f"{name} {name}_row" for name in _OPERANDS)
)


@schedule("tlstm")
def _lstm(call: Call) -> None:
    steps = _Steps.of(call)
    cell = _adjacent(call.get("c0"))
    last = call.get("c")
    kept = last if last is not None and _rows_adjacent(last) else steps.room()
    weights = call["r"].permuted((1, 0))
    for step in range(steps.count):
        gates = steps.product(steps.state, weights)
        steps.run("lstm", step, g=gates, c_in=cell, c_out=kept, peephole=call.get("peephole"))
        cell = kept
    if last is not None:
        _finish_state(last, cell)
    steps.finish()


@schedule("tgru")
def _gru(call: Call) -> None:
    steps = _Steps.of(call)
    weights, h = call["r"].permuted((1, 0)), call.size("h")
    bias = call.get("bias")
    after = call.flag("reset_after")
    for step in range(steps.count):
        state = steps.state
        if after:
            steps.run("gru after", step, g=steps.product(state, weights), bias=bias)
            continue
        gates = steps.product(state, _columns(weights, 0, 2 * h))
        hidden = None
        if state is not None:
            reset = steps.room()
            steps.record("reset", step, g=gates, old=state, out=reset)
            hidden = steps.product(reset, _columns(weights, 2 * h, h))
        steps.run("gru", step, g=gates, c_in=hidden, bias=bias)
    steps.finish()


@schedule("trnn")
def _rnn(call: Call) -> None:
    steps = _Steps.of(call)
    weights = call["r"].permuted((1, 0))
    function = call.declaration.modes[call.at.mode]
    for step in range(steps.count):
        steps.run(f"rnn {function}", step, g=steps.product(steps.state, weights))
    steps.finish()


def _rows_adjacent(view: View) -> bool:
    return view.strides[-1] == view.dtype.size or view.dims[-1] == 1


def _adjacent(view: View | None) -> View | None:
    """The same elements with rows of adjacent ones."""
    if view is None or _rows_adjacent(view):
        return view
    copy = dense(SCRATCH.take(view.bytes), view.dtype, view.dims)
    run_copy(copy, view)
    return copy


def _columns(view: View, first: int, count: int) -> View:
    address = view.address + first * view.strides[1]
    return View(address, view.dtype, (view.dims[0], count), view.strides)


def _step(view: View, step: int) -> View:
    """One step of a sequence."""
    return View(view.address + step * view.strides[0], view.dtype, view.dims[1:], view.strides[1:])


def _finish_state(last: View, state: View | None) -> None:
    if state is not None and state is not last:
        run_copy(last, state)


@dataclass
class _Steps:
    """A sequence while its steps are recorded. `state` is None while it is zero."""

    x: View
    result: View
    out: View
    """The result, or what becomes it, with adjacent rows."""
    state: View | None
    lengths: View | None

    @classmethod
    def of(cls, call: Call) -> _Steps:
        """At the start of a call's sequence."""
        x, d = _adjacent(call["x"]), call["d"]
        assert x is not None
        out = d if _rows_adjacent(d) else dense(SCRATCH.take(d.bytes), d.dtype, d.dims)
        return cls(x, d, out, _adjacent(call.get("h0")), call.get("lengths"))

    @property
    def count(self) -> int:
        return self.result.dims[0]

    def room(self) -> View:
        """Scratch memory for a state."""
        dims = self.result.dims[1:]
        size = self.result.dtype.size
        return dense(SCRATCH.take(dims[0] * dims[1] * size), self.result.dtype, dims)

    def product(self, state: View | None, weights: View) -> View | None:
        """state @ weights in scratch memory; nothing while the state is zero."""
        if state is None:
            return None
        dims = (state.dims[0], weights.dims[1])
        gates = dense(SCRATCH.take(dims[0] * dims[1] * state.dtype.size), state.dtype, dims)
        run_matmul(gates, state, weights, None)
        return gates

    def run(self, cell: str, step: int, **operands: View | None) -> None:
        """Record a cell that makes the state of this step."""
        out = _step(self.out, step)
        new = self.room() if self.lengths is not None else None
        self.record(cell, step, old=self.state, out=out, new=new, **operands)
        self.state = out if new is None else new

    def record(self, cell: str, step: int, **operands: View | None) -> None:
        """Record a kernel over one step."""
        views = {"x": _step(self.x, step), **operands}
        given = tuple(name for name in _OPERANDS if views.get(name) is not None)
        form = _Form(cell, self.x.dtype, given, self.lengths is not None)
        n, h = self.result.dims[1:]
        words: dict[str, Word] = {"n": n, "h": h, "step": step}
        for name in given:
            view = views[name]
            assert view is not None
            view = _adjacent(view) or view
            words |= {name: view.address, f"{name}_row": view.strides[0] if view.rank > 1 else 0}
        if self.lengths is not None:
            words |= {"lengths": self.lengths.address, "lengths_step": self.lengths.strides[0]}
        kernel(form.name, _BLOCK, lambda e: _Writer(e, form).write(), parallel=True)(**words)

    def finish(self) -> None:
        """Record what remains after the last step."""
        if self.out is not self.result:
            run_copy(self.result, self.out)


@dataclass(frozen=True)
class _Form:
    """What the code of a cell depends on."""

    cell: str
    dtype: DType
    given: Sequence[str]
    lengths: bool

    @property
    def name(self) -> str:
        limited = ["lengths"] if self.lengths else []
        return " ".join(["recurrent", self.cell, self.dtype.name, *self.given, *limited])


class _Writer:
    """Writes the kernel of a cell: rows, then vectors of columns."""

    def __init__(self, e: Emitter, form: _Form) -> None:
        self.e, self.b, self.form = e, e.b, form
        self.size, self.lanes = form.dtype.size, lanes(form.dtype)
        self.whole = vector(compute(form.dtype), self.lanes)
        self.math = Arithmetic(e, form.dtype)

    def write(self) -> None:
        """The part's columns of every row."""
        e, b = self.e, self.b
        count = e.const(I64, self.lanes)
        vectors = b.sdiv(b.add(e.word("h"), e.const(I64, self.lanes - 1)), count)
        first, end = (b.mul(v, count) for v in share(e, vectors))
        width = b.sub(e.intrinsic("llvm.smin", I64, end, e.word("h")), first)
        cell = {"lstm": self._lstm, "reset": self._reset, "gru": self._gru,
                "gru after": self._gru_after}.get(self.form.cell, self._rnn)  # fmt: skip
        with e.loop(0, e.word("n")) as row:
            self.row, self.live = row.index, self._live(row.index)

            def body(at: Value, mask: Value | None) -> None:
                self.column, self.mask = b.add(first, at), mask
                cell()

            each_vector(e, width, self.lanes, body)

    def _live(self, row: Value) -> Value | None:
        """Whether a row's sequence has not ended (i1)."""
        if not self.form.lengths:
            return None
        e, b = self.e, self.b
        place = e.offset(e.pointer("lengths"), b.mul(row, e.word("lengths_step")))
        return b.icmp_signed("<", e.word("step"), b.sext(e.load(place, I32), I64))

    def _place(self, name: str, gate: int) -> Value:
        e, b = self.e, self.b
        line = e.offset(e.pointer(name), b.mul(self.row, e.word(f"{name}_row")))
        column = b.add(self.column, b.mul(e.word("h"), e.const(I64, gate)))
        return e.offset(line, b.mul(column, e.const(I64, self.size)))

    def load(self, name: str, gate: int = 0) -> Value:
        """An operand's columns; zeros if it is left out."""
        if name not in self.form.given:
            return self.e.const(self.whole, 0.0)
        return self.e.load(self._place(name, gate), self.whole, self.mask)

    def store(self, name: str, value: Value) -> None:
        """Columns of a result, if it is wanted."""
        if name in self.form.given:
            self.e.store(value, self._place(name, 0), self.mask)

    def gate(self, number: int) -> Value:
        """Inputs' and state's part of a gate."""
        return self.b.fadd(self.load("x", number), self.load("g", number))

    def result(self, value: Value) -> None:
        """The new state, and what the step gives."""
        if self.live is None:
            self.store("out", value)
            return
        b, zero = self.b, self.e.const(self.whole, 0.0)
        self.store("new", b.select(self.live, value, self.load("old")))
        self.store("out", b.select(self.live, value, zero))

    # cells

    def _lstm(self) -> None:
        b, old = self.b, self.load("c_in")

        def peeped(gate: int, cell: Value) -> Value:
            weights = self.load("peephole", gate)
            return self.math.apply("sigmoid", self.e.fma(weights, cell, self.gate(gate)))

        wanted = b.fmul(peeped(0, old), self.math.apply("tanh", self.gate(3)))
        new = self.e.fma(peeped(2, old), old, wanted)
        self.result(b.fmul(peeped(1, new), self.math.apply("tanh", new)))
        self.store("c_out", new if self.live is None else b.select(self.live, new, old))

    def _reset(self) -> None:
        self.store("out", self.b.fmul(self.math.apply("sigmoid", self.gate(1)), self.load("old")))

    def _gru(self) -> None:
        hidden = self.b.fadd(self.load("x", 2), self.load("c_in"))
        self._blend(self.b.fadd(hidden, self.load("bias")))

    def _gru_after(self) -> None:
        b = self.b
        recurrent = b.fadd(self.load("g", 2), self.load("bias"))
        reset = self.math.apply("sigmoid", self.gate(1))
        self._blend(self.e.fma(reset, recurrent, self.load("x", 2)))

    def _blend(self, hidden: Value) -> None:
        b, update = self.b, self.math.apply("sigmoid", self.gate(0))
        rest = b.fsub(self.e.const(self.whole, 1.0), update)
        new = b.fmul(rest, self.math.apply("tanh", hidden))
        self.result(self.e.fma(update, self.load("old"), new))

    def _rnn(self) -> None:
        value = self.gate(0)
        match self.form.cell.split()[-1]:
            case "relu":
                self.result(self.math.apply("max", value, self.e.const(self.whole, 0.0)))
            case "sigmoid":
                self.result(self.math.apply("sigmoid", value))
            case _:
                self.result(self.math.apply("tanh", value))
