"""What the TPU computes, in NumPy: integers modulo 2^32, bf16 sums in the order that is stated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BITS = {"i8": 8, "u8": 8, "i16": 16, "bf16": 16, "i32": 32, "f32": 32}
TYPES = {"i8": np.int8, "u8": np.uint8, "i16": np.int16, "bf16": np.uint16,
         "i32": np.int32, "f32": np.float32}  # fmt: skip


def to_bf16(x: Array) -> Array:
    """f32 rounded to nearest, ties to even; every NaN the same one."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(x), 0x7FC0, rounded).astype(np.uint16)


def from_bf16(x: Array) -> Array:
    """bf16 as f32."""
    return (x.astype(np.uint32) << 16).view(np.float32)


def draw(rng: np.random.Generator, form: str, *shape: int) -> Array:
    """Random elements of a format: all integers, or floats near 1."""
    if form == "bf16":
        return to_bf16(rng.normal(size=shape).astype(np.float32))
    limits = np.iinfo(TYPES[form])
    return rng.integers(limits.min, limits.max + 1, shape).astype(TYPES[form])


def products(x: Array, w: Array, x_form: str, w_form: str) -> Array:
    """x @ w as the array makes it."""
    if x_form == "bf16":
        a, b = from_bf16(x), from_bf16(w)
        total = np.zeros((len(x), w.shape[1]), np.float32)
        for k in range(len(w)):
            total = total + a[:, k : k + 1] * b[k]
        return total
    assert w_form != "bf16"
    return (x.astype(np.int64) @ w.astype(np.int64)).astype(np.int32)


def requantised(t: Array, multiplier: int, shift: int) -> Array:
    """Sums times a number, shifted right, halves up."""
    return t.astype(np.int64) * multiplier + (1 << shift >> 1) >> shift


LIMITS = {"i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767)}
EXACT = {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh}


def pooled(sums: Array, kind: str, window: tuple[int, int], stride: tuple[int, int]) -> Array:
    """Windows over (height, width, columns), each in its order."""
    height = (sums.shape[0] - window[0]) // stride[0] + 1
    width = (sums.shape[1] - window[1]) // stride[1] + 1
    total = None
    for i in range(window[0]):
        for j in range(window[1]):
            part = sums[
                i : i + height * stride[0] : stride[0], j : j + width * stride[1] : stride[1]
            ]
            part = part[:height, :width]
            if total is None:
                total = part if kind == "max" else np.zeros_like(part) + part
            else:
                total = np.where(part > total, part, total) if kind == "max" else total + part
    return total


def activated(
    t: Array, function: str, result: str, multiplier: int, shift: int, zero: int, scale: float
) -> Array:
    """Sums with their bias as results: see `emu.devices.tpu.activation`."""
    if result == "i32":
        return np.maximum(t, 0) if function == "relu" else t
    if result in ("bf16", "f32"):
        t = t * np.float32(scale)
        if function in EXACT:
            t = from_bf16(to_bf16(EXACT[function](from_bf16(to_bf16(t)).astype(np.float64))))
        elif function == "relu":
            t = np.where(t <= 0, np.float32(0), t)
        return to_bf16(t) if result == "bf16" else np.where(np.isnan(t), np.float32(np.nan), t)
    q = requantised(t, multiplier, shift)
    if function in EXACT:
        real = EXACT[function](np.clip(q, -32768, 32767) / 4096)
        one = {"i8": 128, "i16": 32768, "u8": 256 if function == "sigmoid" else 128}[result]
        q = np.rint(real * one) + (128 if (result, function) == ("u8", "tanh") else 0)
    else:
        q = (np.maximum(q, 0) if function == "relu" else q) + zero
    return np.clip(q, *LIMITS[result]).astype(TYPES[result])
