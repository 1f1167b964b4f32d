"""What reductions fold: how elements combine, and what is done before and after.

Sums and products of floats are accumulated in f64 and rounded once, in vectors of several
independent accumulators, so an f32 sum is as good as exact. Integers wrap. A NaN among the elements
makes every one of them NaN, as in NumPy. What nothing is reduced to is the operation's neutral
element (a mean: NaN).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emu.cpu.tensor.descriptor import BOOL, F64, U8, DType
from emu.cpu.tensor.emit import Emitter, Type, Value, bits_of, is_float
from emu.cpu.tensor.expr import ALPHA, Expr, arg, call

ELEMENT = _X = arg(0)
_TOP = arg(1)


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
GREATEST = Fold("max", -math.inf, wide=False, kinds=_ALL)
FOLDS = {
    "tsum": Fold("add", 0.0),
    "tmean": Fold("add", 0.0, last=_X / ALPHA, kinds=_FLOAT),
    "tprod": Fold("mul", 1.0),
    "tredmax": GREATEST,
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
