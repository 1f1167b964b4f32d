"""Functions of one or two numbers as vector code of our own, for f32 and f64.

Every one takes an `Emitter` and values of any number of lanes, and is free of branches but where
its file says so. A reduction brings the argument near zero, a polynomial does the rest; the
coefficients are minimax fits made in 50 digits, lowest power first, whose error is far below the
format's rounding. What is used less is computed in f64 for both formats, so that an f32 result
is all but correctly rounded. Specials are as IEEE 754-2019 (9.2) says; docs/tensor.md has the
errors, and tests/tensor/test_functions.py measures them.

words         constants, polynomials, powers of two
exponential   exp expm1 sigmoid swish gelu_tanh mish sinh cosh tanh
logarithm     log log1p softplus power asinh acosh atanh
circular      sine tangent asin acos atan, for arguments of any size
normal        erf ncdf gelu
integer       integer_power remainder shift

A new one is a function here and an entry of `OF_ONE`.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.tensor.emit import Emitter, Value
from emu.cpu.tensor.functions.circular import acos, asin, atan, sine, tangent
from emu.cpu.tensor.functions.exponential import (
    cosh,
    exp,
    expm1,
    gelu_tanh,
    mish,
    sigmoid,
    sinh,
    swish,
    tanh,
)
from emu.cpu.tensor.functions.integer import integer_power, remainder, shift
from emu.cpu.tensor.functions.logarithm import acosh, asinh, atanh, log, log1p, power, softplus
from emu.cpu.tensor.functions.normal import erf, gelu, ncdf

__all__ = [
    "OF_ONE", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "erf", "exp", "expm1",
    "gelu", "gelu_tanh", "integer_power", "log", "log1p", "mish", "ncdf", "power", "remainder",
    "shift", "sigmoid", "sine", "sinh", "softplus", "swish", "tangent", "tanh",
]  # fmt: skip

OF_ONE: dict[str, Callable[[Emitter, Value], Value]] = {
    "expm1": expm1, "log1p": log1p, "tan": tangent, "asin": asin, "acos": acos, "atan": atan,
    "sinh": sinh, "cosh": cosh, "tanh": tanh, "asinh": asinh, "acosh": acosh, "atanh": atanh,
    "erf": erf, "ncdf": ncdf, "gelu": gelu, "gelu_tanh": gelu_tanh, "mish": mish,
    "sigmoid": sigmoid, "softplus": softplus,
}  # fmt: skip
"""The functions of one number by their name as an operation of `expr.OPS`."""
