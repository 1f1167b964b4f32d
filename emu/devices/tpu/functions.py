"""Sigmoid and tanh as the activation unit has them: tables.

For integers the argument is a 16-bit fixed-point number with `FRACTION` bits behind the point, for
bf16 a bf16; so a table of 65536 results says all. A result is the function's value, rounded to the
nearest that its type can hold (halves to even): i8 and i16 hold fractions of 128 and 32768, u8 of
256 for sigmoid, and of 128 with 128 as its zero for tanh.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRACTION = 12
_SIZE = 1 << 16


def _sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    result: NDArray[Any] = 1 / (1 + np.exp(-x))
    return result


_FUNCTIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
}
_ONE = {"i8": 128, "i16": 32768}
_LIMITS = {"i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767)}


@cache
def table(function: str, result: str) -> NDArray[np.int32]:
    """Results as i32, by the argument's 16 bits, unsigned. For f32 results are those of bf16."""
    if result in ("bf16", "f32"):
        return _of_bf16(_FUNCTIONS[function])
    argument = np.arange(_SIZE, dtype=np.uint16).view(np.int16) / (1 << FRACTION)
    one, zero = _ONE.get(result, 256 if function == "sigmoid" else 128), 0
    if result == "u8" and function == "tanh":
        zero = 128
    exact = np.rint(_FUNCTIONS[function](argument) * one) + zero
    low, high = _LIMITS[result]
    clipped: NDArray[Any] = np.minimum(np.maximum(exact, low), high)
    return clipped.astype(np.int32)


def _of_bf16(function: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[np.int32]:
    single = (np.arange(_SIZE, dtype=np.uint32) << 16).view(np.float32)
    with np.errstate(all="ignore"):
        argument = single.astype(np.float64)
        exact = function(argument).astype(np.float32)
    bits = exact.view(np.uint32).astype(np.int64)
    rounded = bits + 0x7FFF + (bits >> 16 & 1) >> 16
    return np.where(np.isnan(argument), 0x7FC0, rounded).astype(np.int32)
