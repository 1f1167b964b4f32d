"""Quantised: numbers as small integers with a scale and a zero point.

A real number is (integer - zero) * scale. Scales and zero points of each channel, or of each block,
are tensors that stretch to the result by their strides.
"""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import WIDE, declare

tensor = partial(declare, "quantised")

tensor(
    "tquantize", WIDE, 6,
    "x: T[*s], scale: T[~d], zero?: U[~d] -> d: U[*s]", T="float", U="u8|i8|i16",
    means="d[*i] = rint(x[*i] / scale[*i]) + zero[*i]",
    doc="Quantise: divided by the scale, rounded to nearest (ties to even), moved by the zero "
    "point, saturated; NaN becomes 0.",
)  # fmt: skip
tensor(
    "tdequantize", WIDE, 7,
    "x: U[*s], scale: T[~d], zero?: U[~d] -> d: T[*s]", T="float", U="u8|i8|i16|i32",
    means="d[*i] = (x[*i] - zero[*i]) * scale[*i]", ulps=1,
    doc="The numbers that quantised ones stand for, computed in the type of the scale.",
)  # fmt: skip
