"""A convolution to be scheduled: operands of three spatial dimensions, and how windows lie in them.

One or two spatial dimensions are computed as three with leading extents of 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emu.cpu.tensor.attributes import SPATIAL_MAX, Attributes
from emu.cpu.tensor.conv_words import Activation
from emu.cpu.tensor.descriptor import DType, View, dense, dense_strides
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import Emitter, Value
from emu.cpu.tensor.kernels import SCRATCH, Word
from emu.cpu.tensor.semantics import UNARY
from emu.cpu.tensor.vectors import Arithmetic, parameters

FUSED = ("trelu", "tleakyrelu", "tclip", "thardswish", "thardsigmoid")
"""Activations that take few operations: done on registers. Others are a pass of their own."""


@dataclass(frozen=True)
class Window:
    """One spatial dimension: extents of image and result, and how the taps lie."""

    size: int
    out: int
    taps: int
    step: int
    gap: int
    pad: int
    """In front of the image; if negative, so many elements are left out."""

    @property
    def phases(self) -> int:
        """Into how many phases the padded image is split."""
        return self.step if self.taps > 1 else 1

    @property
    def line(self) -> int:
        """Elements of one phase."""
        return self.out + (self.taps - 1) * self.gap // self.step


NONE = Window(1, 1, 1, 1, 1, 0)
"""A spatial dimension that is not there."""


@dataclass(frozen=True)
class Job:
    """y (n, o, three spatial) = x (n, c, …) * w (o, c / groups, three taps), plus bias (o), then
    the activation `fused`, one of `FUSED`. In y the spatial dimensions are row-major."""

    y: View
    x: View
    w: View
    bias: View | None
    windows: tuple[Window, ...]
    groups: int = 1
    fused: str | None = None
    params: tuple[float, float] = (0.0, 0.0)

    @property
    def outputs(self) -> int:
        """Output channels of a group."""
        return self.w.dims[0] // self.groups

    @property
    def taps(self) -> int:
        return math.prod(self.w.dims[2:])

    def activation(self) -> Activation | None:
        """What the fused activation does to a vector of results."""
        if self.fused is None:
            return None
        expr, dtype = UNARY[self.fused].expr, self.y.dtype.compute

        def act(e: Emitter, value: Value) -> Value:
            params = parameters(e, dtype, value.type, ("alpha", "beta"))
            return Arithmetic(e, dtype).lower(expr, [value], params)

        return act

    @property
    def name(self) -> str:
        """Of the activation, in the name of a kernel."""
        return self.fused or "linear"

    def words(self) -> dict[str, Word]:
        """The parameters of every kernel: operands, their bias and activation."""
        alpha, beta = (float(p) for p in self.params)
        words: dict[str, Word] = {"y": self.y.address, "alpha": alpha, "beta": beta}
        if self.bias is not None:
            words |= {"bias": self.bias.address, "bias_o": self.bias.strides[0]}
        return words


def windows_of(destination: View, image: View, weights: View, at: Attributes) -> tuple[Window, ...]:
    """How windows lie in the three spatial dimensions of a convolution of these tensors."""
    own = [
        Window(image.dims[d + 2], destination.dims[d + 2], weights.dims[d + 2], at.stride[d],
               at.dilation[d], at.pad_begin[d])
        for d in range(image.rank - 2)
    ]  # fmt: skip
    return (NONE,) * (SPATIAL_MAX - len(own)) + tuple(own)


def spatial(view: View) -> View:
    """With three spatial dimensions."""
    lead = SPATIAL_MAX - (view.rank - 2)
    return View(
        view.address,
        view.dtype,
        view.dims[:2] + (1,) * lead + view.dims[2:],
        view.strides[:2] + (0,) * lead + view.strides[2:],
    )


def scratch(dims: tuple[int, ...], dtype: DType) -> View:
    """A row-major tensor in scratch memory, with room behind it for a vector that starts in it."""
    return dense(SCRATCH.take(math.prod(dims) * dtype.size + 128), dtype, dims)


def is_dense(view: View, first: int) -> bool:
    """Whether the dimensions from `first` on are adjacent elements in row-major order."""
    wanted = dense_strides(view.dims[first:], view.dtype.size)
    return all(
        n == 1 or s == t
        for n, s, t in zip(view.dims[first:], view.strides[first:], wanted, strict=True)
    )


def adjacent(view: View, first: int, dtype: DType) -> View:
    """The view as `dtype`, its dimensions from `first` on row-major: itself, or a copy."""
    if view.dtype is dtype and is_dense(view, first):
        return view
    copy = scratch(view.dims, dtype)
    run_copy(copy, view)
    return copy


def lines_of(size: int) -> int:
    """`size` bytes, rounded up to whole cache lines."""
    return -(-size // 64) * 64
