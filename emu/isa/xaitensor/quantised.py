"""Quantised: numbers as small integers with a scale and a zero point.

A real number is (integer - zero) * scale. Scales and zero points of each channel, or of each block,
are tensors that stretch to the result by their strides.
"""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import WIDE, declare

tensor = partial(declare, "quantised")

tensor(
    "tqmatmul", WIDE, 4,
    "x: T[~*b, m, k], y: U[~*b, k, n], bias?: i32[~d], xz?: T[m], yz?: U[n], scale?: f32[~d], "
    "dz?: V[] -> d: V[*b, m, n]",
    T="u8|i8", U="u8|i8", V="i32|u8|i8",
    means="""products = sum((x[*b, i, l] - xz[i]) * (y[*b, l, j] - yz[j]) for l in k)
    total = (products if k > 0 else 0) + bias[*b, i, j]
    d[*b, i, j] = (rint(total * scale[*b, i, j]) if has(scale) else total) + dz[()]""",
    work="2 * k * prod(d)", pieces="prod(b)",
    doc="Matrix product of bytes, exact: sums wrap in i32. Zero points are those of rows of x and "
    "of columns of y (a stride of 0 makes one serve all). With a scale the sums are rounded to "
    "nearest, ties to even, and saturate; without one they are cut to the result's type.",
)  # fmt: skip
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
tensor(
    "tqconv", WIDE, 5,
    "x: T[n, c*groups, *t:1..3], w: U[m, c, *taps:t], bias?: i32[m], xz?: T[~x], wz?: U[~w], "
    "scale?: f32[~d], dz?: V[~d] -> d: V[n, m, *windows(t, taps)]",
    T="u8|i8", U="u8|i8", V="i32|u8|i8",
    requires={"m % groups == 0": "at", "spatial_rank in (0, len(t))": "at"},
    means="""at = p * stride + k * dilation - pad_begin
    first = o * groups // m * c
    total = sum((x[i, first + j, *at] - xz[i, first + j, *at]) * (w[o, j, *k] - wz[o, j, *k])
                for j in c for k in taps if at in t) + bias[o]
    d[i, o, *p] = (rint(total * scale[i, o, *p]) if has(scale) else total) + dz[i, o, *p]""",
    work="2 * prod(d) * c * prod(taps)", pieces="n * groups * prod(d[2:-1])",
    doc="Convolution of quantised numbers: products of integers less their zero points, summed "
    "exactly (modulo 2^32). With a scale, what the result's zero point and scale make of the sums: "
    "rounded to nearest (ties to even), moved and saturated. Padding is the zero point.",
)  # fmt: skip
