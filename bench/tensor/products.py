"""Rows that multiply: matrices of f32 and of bytes, and convolutions.

In the matrix rows both operands are run-time inputs of every engine, as they are the instruction's.
In rows called `linear` and in convolutions the second operand is a constant of the ONNX model, as
in networks, and an engine may have prepared it before the clock runs; the instruction has not.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.tensor.problem import Array, Case, Instruction, Node, Problem, random, wide


def gemm(m: int, k: int, n: int, *, transposed: bool = False, constant: bool = False) -> Case:
    """(m, k) times (k, n) in f32; `transposed`: the second lies in memory as (n, k)."""

    def make() -> Problem:
        a = random(m, k)
        b = random(n, k).T if transposed else random(k, n)
        stored = b.T if transposed else b
        nodes = (Node("MatMul", "a b"),)
        if transposed:
            nodes = (Node("Gemm", "a b", attributes={"transB": 1}),)
        return Problem(
            instructions=(Instruction("tmatmul", (a, b)),),
            shape=(m, n),
            dtype=np.float32,
            expected=lambda: wide(a) @ wide(b),
            tolerance=2e-5,
            inputs={"a": a} if constant else {"a": a, "b": stored},
            weights={"b": stored} if constant else {},
            nodes=nodes,
            numpy=lambda out: np.matmul(a, b, out=out),
        )

    square = m == k == n
    counts = set() if constant else {"worst_gemm_vs_best"}
    if square and m >= 512:
        counts.add("gemm_roof_512")
    shape = f"{m}" if square else f"{m}x{k}x{n}"
    name = f"{'linear' if constant else 'gemm'} {shape}{' transposed' if transposed else ''}"
    traffic = 4.0 * (m * k + k * n + m * n)
    roof = "read" if m == 1 else "fma"
    return Case(name, "gemm", make, 2.0 * m * k * n, traffic, roof, frozenset(counts))


def byte_gemm(size: int) -> Case:
    """Square matrices of u8 and i8, summed in i32."""

    def make() -> Problem:
        generator = np.random.default_rng(size)
        a = generator.integers(0, 256, (size, size), np.uint8)
        b = generator.integers(-128, 128, (size, size), np.int8)
        return Problem(
            instructions=(Instruction("tqmatmul", (a, b)),),
            shape=(size, size),
            dtype=np.int32,
            expected=lambda: wide(a) @ wide(b),
            tolerance=0.0,
            inputs={"a": a, "b": b},
            nodes=(Node("MatMulInteger", "a b"),),
            openvino=lambda: _openvino_bytes(size),
        )

    counts = frozenset({"int8_roof_512"} if size >= 512 else ())
    return Case(f"int8 gemm {size}", "int8", make, 2.0 * size**3, 6.0 * size**2, "int8", counts)


def _openvino_bytes(size: int) -> Any:
    """OpenVINO multiplies bytes as bytes only in a model that it takes for a quantised one: the
    products of the integers as f32, with a FakeQuantize besides that nobody needs."""
    ops = importlib.import_module("openvino.opset13")
    a, b = ops.parameter([size, size], np.uint8), ops.parameter([size, size], np.int8)
    one = ops.constant(np.float32(1))
    factors = [ops.multiply(ops.convert(x, np.float32), one) for x in (a, b)]
    unused = ops.parameter([1, 1], np.float32)
    bounds = [ops.constant(np.float32(x)) for x in (0, 255, 0, 255)]
    outputs = [ops.matmul(*factors, False, False), ops.fake_quantize(unused, *bounds, 256)]
    return importlib.import_module("openvino").Model(outputs, [a, b, unused])


@dataclass(frozen=True)
class Convolution:
    """The shape of a two-dimensional convolution of one square image, with a bias."""

    channels: int
    size: int
    """Rows of the image, and columns."""
    outputs: int
    taps: int = 1
    stride: int = 1
    groups: int = 1
    transposed: bool = False

    @property
    def pad(self) -> int:
        """On every side: the usual half of the window."""
        return 0 if self.transposed else self.taps // 2

    @property
    def result_size(self) -> int:
        """Rows of the result."""
        if self.transposed:
            return (self.size - 1) * self.stride + self.taps
        return (self.size + 2 * self.pad - self.taps) // self.stride + 1

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """As ONNX has it: outputs first, but inputs first where it is transposed."""
        first, second = self.outputs, self.channels // self.groups
        if self.transposed:
            first, second = self.channels, self.outputs // self.groups
        return first, second, self.taps, self.taps

    @property
    def result_shape(self) -> tuple[int, ...]:
        """(1, outputs, rows, columns)."""
        return 1, self.outputs, self.result_size, self.result_size

    @property
    def name(self) -> str:
        """Such as `3x3 s2 64->128 @56`."""
        stride = f" s{self.stride}" if self.stride > 1 else ""
        kind = "transposed " if self.transposed else "depthwise " if self.groups > 1 else ""
        ends = self.channels if self.groups > 1 else f"{self.channels}->{self.outputs}"
        return f"{kind}{self.taps}x{self.taps}{stride} {ends} @{self.size}"


def convolution(model: str, form: Convolution) -> Case:
    """A convolution as it occurs in `model`."""

    def make() -> Problem:
        x = random(1, form.channels, form.size, form.size)
        w = random(*form.weight_shape)
        bias = random(form.outputs)
        window = {"strides": [form.stride] * 2, "pads": [form.pad] * 4, "group": form.groups}
        mnemonic = "tconvtranspose" if form.transposed else "tconv"
        block = {
            "groups": form.groups,
            "stride": (form.stride, form.stride, 1, 1),
            "pad_begin": (form.pad, form.pad, 0, 0),
            "pad_end": (form.pad, form.pad, 0, 0),
        }
        return Problem(
            instructions=(Instruction(mnemonic, (x, w), (bias,), block),),
            shape=form.result_shape,
            dtype=np.float32,
            expected=lambda: _convolved(wide(x), wide(w), form) + wide(bias)[:, None, None],
            tolerance=1e-4,  # Winograd's transformations lose a digit
            inputs={"x": x},
            weights={"w": w, "b": bias},
            nodes=(Node("ConvTranspose" if form.transposed else "Conv", "x w b", "y", window),),
        )

    across = form.size if form.transposed else form.result_size
    taps = math.prod(form.weight_shape)
    work = 2.0 * across**2 * taps
    traffic = 4.0 * (form.channels * form.size**2 + taps + math.prod(form.result_shape))
    roof = "triad" if form.groups == form.channels > 1 else "fma"
    return Case(f"{model} {form.name}", "conv", make, work, traffic, roof)


def _convolved(x: Array, w: Array, form: Convolution) -> Array:
    """The convolution, tap by tap."""
    across, step = form.result_size, form.stride
    result = np.zeros(form.result_shape)
    if form.transposed:
        for row, column in np.ndindex(form.taps, form.taps):
            part = np.tensordot(w[:, :, row, column], x[0], (0, 0))
            rows, columns = (slice(t, t + step * form.size, step) for t in (row, column))
            result[0, :, rows, columns] += part
        return result
    padded = np.pad(x[0], ((0, 0), (form.pad,) * 2, (form.pad,) * 2))
    for row, column in np.ndindex(form.taps, form.taps):
        rows, columns = (slice(t, t + step * (across - 1) + 1, step) for t in (row, column))
        seen = padded[:, rows, columns]
        if form.groups == 1:
            result[0] += np.tensordot(w[:, :, row, column], seen, (1, 0))
        else:
            result[0] += w[:, :, row, column][:, :, None] * seen
    return result


def cases() -> Iterator[Case]:
    """All rows of this module."""
    for size in (16, 32, 64, 128, 256, 512, 1024, 2048):
        yield gemm(size, size, size)
    for shape in ((1, 1024, 1024), (1, 4096, 4096), (4, 1024, 1024), (16, 768, 3072)):
        yield gemm(*shape)
        yield gemm(*shape, transposed=True)
    for shape in ((128, 768, 768), (128, 768, 3072), (128, 3072, 768)):
        yield gemm(*shape)
    for shape in ((1, 1024, 1024), (16, 768, 3072), (128, 768, 768)):
        yield gemm(*shape, constant=True)
    for size in (256, 512, 1024, 2048):
        yield byte_gemm(size)
    for model, forms in _CONVOLUTIONS.items():
        for form in forms:
            yield convolution(model, form)


def _depthwise(channels: int, size: int, stride: int = 1, taps: int = 3) -> Convolution:
    return Convolution(channels, size, channels, taps, stride, channels)


_CONVOLUTIONS = {
    "resnet": [
        Convolution(3, 224, 64, 7, 2),
        Convolution(64, 56, 64),
        Convolution(64, 56, 64, 3),
        Convolution(64, 56, 256),
        Convolution(256, 56, 64),
        Convolution(256, 56, 128),
        Convolution(128, 56, 128, 3, 2),
        Convolution(256, 56, 512, 1, 2),
        Convolution(128, 28, 128, 3),
        Convolution(128, 28, 512),
        Convolution(512, 28, 128),
        Convolution(256, 28, 256, 3, 2),
        Convolution(512, 28, 1024, 1, 2),
        Convolution(256, 14, 256, 3),
        Convolution(256, 14, 1024),
        Convolution(1024, 14, 256),
        Convolution(512, 14, 512, 3, 2),
        Convolution(1024, 14, 2048, 1, 2),
        Convolution(512, 7, 512, 3),
        Convolution(512, 7, 2048),
        Convolution(2048, 7, 512),
    ],
    "mobilenet": [
        Convolution(3, 224, 32, 3, 2),
        _depthwise(32, 112),
        _depthwise(64, 112, 2),
        _depthwise(128, 56),
        _depthwise(256, 28),
        _depthwise(256, 28, 2),
        _depthwise(512, 14),
        _depthwise(1024, 7),
        Convolution(32, 112, 64),
        Convolution(128, 56, 128),
        Convolution(256, 28, 256),
        Convolution(512, 14, 512),
        Convolution(1024, 7, 1024),
    ],
    "ocr": [
        Convolution(3, 640, 16, 3, 2),
        Convolution(64, 160, 64, 3),
        Convolution(64, 160, 128),
        Convolution(96, 160, 24, 3),
        _depthwise(128, 40, 1, 5),
        _depthwise(256, 40, 2, 5),
        Convolution(64, 160, 64, 2, 2, 1, True),
        Convolution(24, 320, 1, 2, 2, 1, True),
    ],
}
