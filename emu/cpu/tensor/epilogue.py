"""What happens to the sums of a product before they are stored: bias, activation, rounding.

An `Epilogue` is applied to accumulators while they are still in registers, so that a bias and an
activation cost no pass over memory of their own. Products, convolutions and recurrent steps share
it. Sums are in the *type of sums* of their element type (`sum_type`), wide enough that rounding or
cutting happens once, at the end.

    last = Epilogue(F32, bias="v", activation=1)
    stored = last.apply(e, sums, bias_at, mask)     # a vector in the form it has in memory
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.emit import I16, Emitter, Type, Value, bits_of, lanes_of, like, target, vector
from emu.cpu.tensor.semantics import ACTIVATIONS, UNARY
from emu.cpu.tensor.vectors import Arithmetic, compute, narrow, parameters, storage, widen

EPILOGUE_WORDS = "alpha beta"
"""Parameters that the block of a kernel with an activation must have."""
_INLINE = 5
"""Operations up to which an activation is written out for every register of a tile."""


def sum_type(dtype: DType) -> Type:
    """The LLVM type in which products of `dtype` are summed: bytes in 16 bits, as there is no
    vector multiplication of bytes; halves in f32; others as they are."""
    return I16 if dtype.size == 1 else compute(dtype)


def sum_size(dtype: DType) -> int:
    """Bytes of one sum."""
    return bits_of(sum_type(dtype)) // 8


def lanes(dtype: DType) -> int:
    """Sums of `dtype` in one vector register."""
    return target()[0] // sum_size(dtype)


def to_sum(e: Emitter, value: Value, dtype: DType) -> Value:
    """Elements as loaded, in the type of sums."""
    if dtype.size == 1:
        return (e.b.sext if dtype.signed else e.b.zext)(value, like(value.type, I16))
    return widen(e, value, dtype)


@dataclass(frozen=True)
class Epilogue:
    """Bias and activation of a product of `dtype`; `name` tells two of them apart.

    `bias` says how the bias lies along a row of the result: "" there is none, "v" its elements are
    adjacent, "s" one element serves the whole row. `activation` is a code of `ACTIVATIONS`.
    """

    dtype: DType
    bias: str = ""
    activation: int = 0

    @property
    def name(self) -> str:
        """What tells it from every other, as a part of a kernel's name."""
        return f"{self.dtype.name} {self.bias or '-'} {ACTIVATIONS[self.activation] or '-'}"

    @property
    def bias_step(self) -> int:
        """Bytes from one element of the bias to the next along a row."""
        return self.dtype.size if self.bias == "v" else 0

    @property
    def inline(self) -> bool:
        """Whether the code is small enough to be written out for every register."""
        mnemonic = ACTIVATIONS[self.activation]
        return mnemonic is None or UNARY[mnemonic].flops <= _INLINE

    def apply(
        self, e: Emitter, sums: Value, bias: Value | None = None, mask: Value | None = None
    ) -> Value:
        """One vector of sums, finished, in the form it has in memory.

        `bias` points to the bias of the first lane; lanes outside `mask` are not read.
        """
        if self.bias:
            count = lanes_of(sums.type) if self.bias == "v" else 1
            more = e.load(bias, vector(storage(self.dtype), count), mask if count > 1 else None)
            more = to_sum(e, more, self.dtype)
            more = more if count > 1 else e.splat(more, lanes_of(sums.type))
            sums = e.b.fadd(sums, more) if self.dtype.kind == "float" else e.b.add(sums, more)
        if self.dtype.size == 1:
            sums = e.b.trunc(sums, like(sums.type, storage(self.dtype)))
        mnemonic = ACTIVATIONS[self.activation]
        if mnemonic is not None:
            params = parameters(e, self.dtype, sums.type, EPILOGUE_WORDS.split())
            sums = Arithmetic(e, self.dtype).lower(UNARY[mnemonic].expr, [sums], params)
        return narrow(e, sums, self.dtype)


def bias_layout(bias: View | None) -> str | None:
    """How the last dimension of a bias lies, as `Epilogue.bias` spells it; None for any other way,
    which has to be copied first."""
    if bias is None:
        return ""
    if bias.dims[-1] == 1 or bias.strides[-1] == 0:
        return "s"
    return "v" if bias.strides[-1] == bias.dtype.size else None
