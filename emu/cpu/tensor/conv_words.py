"""What the writers of convolution kernels have in common: whole numbers, places, and shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import I8, I32, I64, Emitter, Value, bits_of, target, vector
from emu.cpu.tensor.vectors import compute, storage, widen

Activation = Callable[[Emitter, Value], Value]
"""What is done to results before they are stored."""
_ZERO_MARGIN = 64
"""Bytes before and behind a row of zeros, which vectors reach into."""


def lanes(dtype: DType) -> int:
    """Elements of the type of arithmetic in a vector register."""
    return target()[0] * 8 // bits_of(compute(dtype))


def zero_room(size: int) -> int:
    """What `private` must be for a row of zeros of `size` bytes."""
    return -(-size // 64) * 64 + 2 * _ZERO_MARGIN


class Words:
    """A kernel being written for elements of `dtype`, in vectors of `lanes`.

    Every such kernel has a parameter `bias`, 0 when there is none, and its stride `bias_o`.
    """

    def __init__(self, e: Emitter, dtype: DType, act: Activation | None = None) -> None:
        self.e, self.b, self.dtype, self.act = e, e.b, dtype, act
        self.lanes = lanes(dtype)
        self.size = dtype.compute.size
        self.type = vector(compute(dtype), self.lanes)
        """A vector in the form of arithmetic."""
        self.stored = vector(storage(dtype), self.lanes)
        self.nothing = e.local(8)
        e.store(self.const(0), self.nothing)

    def const(self, value: int) -> Value:
        """A whole number."""
        return self.e.const(I64, value)

    def least(self, x: Value, y: Value) -> Value:
        """The lesser of two whole numbers."""
        return self.e.intrinsic("llvm.smin", I64, x, y)

    def times(self, x: Value, y: Value | int) -> Value:
        """The product of two whole numbers."""
        return self.b.mul(x, self.const(y) if isinstance(y, int) else y)

    def up(self, x: Value, by: Value | int) -> Value:
        """x / by, rounded up."""
        by = self.const(by) if isinstance(by, int) else by
        return self.b.sdiv(self.b.add(x, self.b.sub(by, self.const(1))), by)

    def divided(self, x: Value, by: Value) -> tuple[Value, Value]:
        """Quotient and remainder of a number that is not negative."""
        quotient = self.b.sdiv(x, by)
        return quotient, self.b.sub(x, self.b.mul(quotient, by))

    def moved(self, name: str, *steps: tuple[Value, str]) -> Value:
        """The pointer `name` moved by indices times strides."""
        place = self.e.pointer(name)
        for index, stride in steps:
            place = self.e.offset(place, self.times(index, self.e.word(stride)))
        return place

    def share(self, count: Value) -> tuple[Value, Value]:
        """From where to where this part goes of `count` pieces."""
        first = self.b.sdiv(self.times(count, self.e.part), self.e.parts)
        next_ = self.b.add(self.e.part, self.const(1))
        return first, self.b.sdiv(self.times(count, next_), self.e.parts)

    def shares(self, units: Value, blocks: Value) -> tuple[tuple[Value, Value], ...]:
        """This part's units, and its blocks of each: some units with all of their blocks, or some
        blocks of every unit where units are few."""
        b = self.b
        many = b.icmp_signed(">=", units, self.times(self.e.parts, 2))
        mine, some = self.share(units), self.share(blocks)
        zero = self.const(0)
        return (
            (b.select(many, mine[0], zero), b.select(many, mine[1], units)),
            (b.select(many, zero, some[0]), b.select(many, blocks, some[1])),
        )

    def bias(self, output: Value) -> Value:
        """The bias of an output channel in the form of arithmetic, 0 where there is none."""
        given = self.b.icmp_signed("!=", self.e.word("bias"), self.const(0))
        place = self.b.select(given, self.moved("bias", (output, "bias_o")), self.nothing)
        return widen(self.e, self.e.load(place, storage(self.dtype)), self.dtype)

    def zero_row(self) -> Value:
        """This part's piece of `zeros` (`private` bytes), all zeros, from `_ZERO_MARGIN` on:
        vectors begin in the padding, and a masked load that reaches into a page which is not there
        costs hundreds of cycles."""
        e = self.e
        zeros = e.offset(e.pointer("zeros"), self.times(e.part, e.word("private")))
        with e.loop(0, e.word("private"), 64) as line:
            e.store(e.const(vector(I8, 64), 0), e.offset(zeros, line.index))
        return e.offset(zeros, _ZERO_MARGIN)

    def shuffled(self, x: Value, y: Value, lanes: Sequence[int]) -> Value:
        """Lanes of two vectors, those of the second counted on from the first's."""
        if self.lanes == 1:
            return (x, y)[lanes[0]]
        picks = ir.Constant(vector(I32, len(lanes)), [ir.Constant(I32, k) for k in lanes])
        return self.b.shuffle_vector(x, y, picks)

    def between(self, at: Value, end: Value) -> Value:
        """Which lanes of a vector that starts at column `at` are columns 0 to `end` - 1."""
        e, b = self.e, self.b
        before = e.mask_below(e.intrinsic("llvm.smax", I64, b.neg(at), self.const(0)), self.lanes)
        room = e.intrinsic("llvm.smax", I64, b.sub(end, at), self.const(0))
        return b.and_(e.mask_below(room, self.lanes), b.not_(before))
