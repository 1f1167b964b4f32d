"""Softmax and its logarithm along an axis, in three passes: greatest, sum of exponentials, result.

The greatest element is taken off before exponentiating, so nothing overflows, whatever the input.
Half-precision elements are computed in f32 and rounded once. Layouts are those of `axes.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from emu.cpu.tensor.axes import VECTOR, WORDS, across, blank, split
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.emit import Block, Emitter, Value, bits_of, vector
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.vectors import Arithmetic, compute, narrow, storage, widen

_BLOCK = Block(f"{WORDS} step_out")
LOGARITHMIC = {"tsoftmax": False, "tlogsoftmax": True}
FLOPS = 24
"""Operations an element, for the virtual clock: an exponential and four more."""


def run_softmax(mnemonic: str, destination: View, source: View, axis: int) -> None:
    """Over host views of equal extents and type; the source may be the destination."""
    lines = split(destination, source, [axis])
    layout, words = lines.layout, lines.words()
    dtype = source.dtype
    if layout == "row" and destination.strides[axis] != dtype.size:
        layout = "element"
    run = kernel(
        f"{mnemonic} {dtype.name} {layout}",
        _BLOCK,
        lambda e: _Softmax(e, LOGARITHMIC[mnemonic], dtype, layout).write(),
    )
    run(**words, step_out=destination.strides[axis])


class _Softmax:
    """Writes the kernel."""

    def __init__(self, e: Emitter, logarithmic: bool, dtype: DType, layout: str) -> None:
        self.e, self.logarithmic, self.dtype = e, logarithmic, dtype
        self.math = Arithmetic(e, dtype)
        self.lanes = 1 if layout == "element" else VECTOR * 8 // bits_of(compute(dtype))
        self.layout, self.along = layout, layout == "row"
        self.n, self.step, self.step_out = (e.word(w) for w in ("n", "step", "step_out"))

    def write(self) -> None:
        """Write the walk over the lines and, in it, each of them."""
        pointers = [self.e.pointer("p0"), self.e.pointer("p1")]
        with self.e.walk("rank", "dims", ["s0", "s1"], pointers) as (out, source):
            if self.layout == "column":
                self._columns(out, source)
            else:
                self._line(out, source, None)

    def _columns(self, out: Value, source: Value) -> None:
        e, m = self.e, self.e.word("m")
        with e.loop(0, m, self.lanes) as at:
            mask = e.mask_below(e.b.sub(m, at.index), self.lanes)
            offset = e.b.mul(at.index, e.const(m.type, self.dtype.size))
            self._line(e.offset(out, offset), e.offset(source, offset), mask)

    def _line(self, out: Value, source: Value, columns: Value | None) -> None:
        """One line along the axis, or as many adjacent lines as there are lanes."""
        e, b = self.e, self.e.b
        type_ = vector(compute(self.dtype), self.lanes)
        zero, lowest = e.const(type_, 0.0), e.const(type_, -math.inf)

        def fold(
            start: Value,
            combine: Callable[[Value, Value], Value],
            term: Callable[[Value, Value], Value],
        ) -> Value:
            with e.loop(0, self.n, self.lanes if self.along else 1, carry=[start]) as loop:
                mask = self._mask(loop.index, columns)
                x = term(self._load(source, loop.index, self.step, mask), loop.index)
                loop.next(combine(loop.values[0], blank(e, x, mask, start)))
            total = loop.values[0]
            return e.splat(across(e, total, combine), self.lanes) if self.along else total

        def power(x: Value, index: Value) -> Value:
            y = self.math.op_exp(b.fsub(x, top))
            if self._keeps_powers:
                self._store(y, out, index, self._mask(index, columns))
            return y

        top = fold(lowest, self.math.op_max, lambda x, _: x)
        total = fold(zero, self.math.op_add, power)
        taken = self.math.op_log(total) if self.logarithmic else total
        with e.loop(0, self.n, self.lanes if self.along else 1) as loop:
            mask = self._mask(loop.index, columns)
            if self._keeps_powers:
                y = b.fdiv(self._load(out, loop.index, self.step_out, mask), taken)
            else:
                x = b.fsub(self._load(source, loop.index, self.step, mask), top)
                y = b.fsub(x, taken) if self.logarithmic else b.fdiv(self.math.op_exp(x), taken)
            self._store(y, out, loop.index, mask)

    @property
    def _keeps_powers(self) -> bool:
        """Whether the destination holds the exponentials between the passes, unrounded."""
        return not self.logarithmic and self.dtype.compute is self.dtype

    def _mask(self, index: Value, columns: Value | None) -> Value | None:
        if not self.along:
            return columns
        return self.e.mask_below(self.e.b.sub(self.n, index), self.lanes)

    def _load(self, line: Value, index: Value, step: Value, mask: Value | None) -> Value:
        e = self.e
        type_ = vector(storage(self.dtype), self.lanes)
        return widen(e, e.load(e.offset(line, e.b.mul(index, step)), type_, mask), self.dtype)

    def _store(self, value: Value, line: Value, index: Value, mask: Value | None) -> None:
        place = self.e.offset(line, self.e.b.mul(index, self.step_out))
        self.e.store(narrow(self.e, value, self.dtype), place, mask)
