"""tconv: which schedule computes a convolution, and the operands in the form it wants.

Up to three spatial dimensions are computed as three with leading extents of 1. A convolution with
one tap and no stride or padding reads its image in place; any other reads a copy with zeros for the
padding, *split by stride*: element q * stride + r of a dimension is element q of phase r, so that
what a tap finds for adjacent positions is adjacent whatever the stride.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as every_index

from emu.cpu.tensor.attributes import SPATIAL_MAX, Attributes
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.conv_gemm import BLOCK, Activation, Product, lanes, tile_for
from emu.cpu.tensor.descriptor import DType, View, dense, dense_strides
from emu.cpu.tensor.elementwise import run_copy, run_unary
from emu.cpu.tensor.emit import I64, Block, Emitter, Value
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, Word, kernel
from emu.cpu.tensor.semantics import ACTIVATIONS, UNARY
from emu.cpu.tensor.vectors import Arithmetic

FUSED = ("trelu", "tleakyrelu", "tclip", "thardswish", "thardsigmoid")
"""Activations that take few operations: done on registers. Others are a pass of their own."""
_DEPTH = 512
"""Steps of the inner dimension, about, for which columns are packed at a time."""
_UNIT_BYTES = 1 << 18
"""Of packed columns: a part of the second-level cache."""


@dataclass(frozen=True)
class Window:
    """One spatial dimension: extents of image and result, and how the taps lie."""

    size: int
    out: int
    taps: int
    step: int
    gap: int
    pad: int

    @property
    def phases(self) -> int:
        """Into how many phases the padded image is split."""
        return self.step if self.taps > 1 else 1

    @property
    def line(self) -> int:
        """Elements of one phase."""
        return self.out + (self.taps - 1) * self.gap // self.step

    def interior(self, phase: int) -> tuple[int, int, int]:
        """Elements first to end of a phase come from the image; the first from index `origin`."""
        first = max(0, -(-(self.pad - phase) // self.step))
        end = min(self.line, (self.size - 1 + self.pad - phase) // self.step + 1)
        return first, max(end, first), first * self.step + phase - self.pad


@schedule("tconv")
def _conv(call: Call) -> None:
    run_conv(call["d"], call["x"], call["w"], call.get("bias"), call.at)


def run_conv(
    destination: View, image: View, weights: View, bias: View | None, at: Attributes
) -> None:
    """destination (n, o, spatial…) = image (n, c, spatial…) * weights (o, c / groups, taps…), plus
    bias (o), and then the activation."""
    mnemonic = ACTIVATIONS[at.activation]
    fused = mnemonic if mnemonic in FUSED else None
    result = destination
    if not _is_dense(destination, 2):
        result = _scratch(destination.dims, destination.dtype)
    windows = _windows(destination, image, weights, at)
    _multiply(_spatial(result), _spatial(image), _spatial(weights), bias, windows, at, fused)
    if mnemonic is not None and fused is None:
        run_unary(mnemonic, result, result, (at.alpha, at.beta))
    if result is not destination:
        run_copy(destination, result)


def _windows(y: View, x: View, w: View, at: Attributes) -> list[Window]:
    spatial = x.rank - 2
    own = [
        Window(x.dims[d + 2], y.dims[d + 2], w.dims[d + 2], at.stride[d], at.dilation[d],
               at.pad_begin[d])
        for d in range(spatial)
    ]  # fmt: skip
    return [Window(1, 1, 1, 1, 1, 0)] * (SPATIAL_MAX - spatial) + own


def _spatial(view: View) -> View:
    """With three spatial dimensions, the leading ones of extent 1."""
    lead = SPATIAL_MAX - (view.rank - 2)
    return View(
        view.address,
        view.dtype,
        view.dims[:2] + (1,) * lead + view.dims[2:],
        view.strides[:2] + (0,) * lead + view.strides[2:],
    )


def _scratch(dims: tuple[int, ...], dtype: DType) -> View:
    """A row-major tensor in scratch memory, with room behind it for a vector that starts in it."""
    return dense(SCRATCH.take(math.prod(dims) * dtype.size + 128), dtype, dims)


def _is_dense(view: View, first: int) -> bool:
    """Whether the dimensions from `first` on are adjacent elements in row-major order."""
    wanted = dense_strides(view.dims[first:], view.dtype.size)
    return all(
        n == 1 or s == t
        for n, s, t in zip(view.dims[first:], view.strides[first:], wanted, strict=True)
    )


def _adjacent(view: View, first: int, dtype: DType) -> View:
    """The view as `dtype`, its dimensions from `first` on row-major: itself, or a copy."""
    if view.dtype is dtype and _is_dense(view, first):
        return view
    copy = _scratch(view.dims, dtype)
    run_copy(copy, view)
    return copy


def zeros(view: View) -> None:
    """Fill a tensor with zeros."""
    cell = SCRATCH.take(8)
    run = kernel("zero", Block("to"), lambda e: e.store(e.const(I64, 0), e.pointer("to")))
    run(to=cell)
    run_copy(view, View(cell, view.dtype, (1,), (0,)))


def split(x: View, windows: Sequence[Window], dtype: DType) -> tuple[View, list[int]]:
    """The padded image, split by stride: (n, c, three phases, three lines), as `dtype`."""
    phases = [w.phases for w in windows]
    dims = (*x.dims[:2], *phases, *(w.line for w in windows))
    whole = _scratch(dims, dtype)
    if any(w.interior(p)[1] - w.interior(p)[0] < w.line for w in windows for p in range(w.phases)):
        zeros(whole)
    for index in every_index(*map(range, phases)):
        parts = [w.interior(p) for w, p in zip(windows, index, strict=True)]
        extents = tuple(end - first for first, end, _ in parts)
        if not all(extents):
            continue
        to, source = whole.address, x.address
        for k, (first, _, origin) in enumerate(parts):
            to += index[k] * whole.strides[2 + k] + first * whole.strides[5 + k]
            source += origin * x.strides[2 + k]
        steps = tuple(s * w.step for s, w in zip(x.strides[2:], windows, strict=True))
        run_copy(
            View(to, dtype, (*x.dims[:2], *extents), whole.strides[:2] + whole.strides[5:]),
            View(source, x.dtype, (*x.dims[:2], *extents), x.strides[:2] + steps),
        )
    return whole, phases


def _multiply(
    y: View,
    x: View,
    w: View,
    bias: View | None,
    windows: Sequence[Window],
    at: Attributes,
    fused: str | None,
) -> None:
    """The convolution as an implicit matrix product."""
    wide, groups = y.dtype.compute, at.groups
    outputs, channels = w.dims[0] // groups, w.dims[1]
    taps = math.prod(w.dims[2:])
    pointwise = taps == 1 and all(v.step == 1 and v.size == v.out and not v.pad for v in windows)
    weights = _adjacent(w, 1, wide)
    words: dict[str, Word] = {}
    if pointwise:
        image = _adjacent(x, 2, wide)
    else:
        image, _ = split(x, windows, wide)
        words |= {"out_h": y.dims[3], "out_w": y.dims[4]}
        words |= {"row_d": image.strides[5], "row_h": image.strides[6]}
        words |= {"phase": image.strides[2:5], "line": image.strides[5:8]}
    tile = tile_for(outputs)
    lane, positions = lanes(y.dtype), math.prod(y.dims[2:])
    block = channels if y.dtype is not wide else max(1, min(channels, _DEPTH // taps))
    pieces = max(1, _UNIT_BYTES // (block * taps * lane * wide.size * tile.vectors))
    vectors = min(pieces, -(-positions // (lane * tile.vectors))) * tile.vectors
    panels = lane * wide.size * vectors * (block * taps + 1)
    room = [-(-n // 64) * 64 for n in (taps * 8, vectors * lane * 16, panels)]
    scratch = SCRATCH.take(THREADS_MAX * sum(room))
    words |= {"table": scratch, "runs": scratch + room[0], "panels": scratch + room[0] + room[1]}
    if bias is not None:
        words |= {"bias": bias.address, "bias_o": bias.strides[0]}
    kind = "taps" if not pointwise else "plane"
    run = kernel(
        f"tconv {kind} {y.dtype.name} {tile.rows}x{tile.vectors} {fused or 'linear'}",
        BLOCK,
        lambda e: Product(e, y.dtype, tile, not pointwise, _activation(y.dtype, fused)).write(),
        parallel=True,
    )
    run(
        x=image.address, w=weights.address, y=y.address, alpha=at.alpha, beta=at.beta,
        images=x.dims[0], groups=groups, channels=channels, channel_block=block, outputs=outputs,
        positions=positions, unit_vectors=vectors, private=sum(room),
        x_n=image.strides[0], x_g=channels * image.strides[1], x_c=image.strides[1],
        w_g=outputs * weights.strides[0], w_o=weights.strides[0],
        y_n=y.strides[0], y_g=outputs * y.strides[1], y_o=y.strides[1],
        taps=w.dims[2:], gap=[v.gap for v in windows], step=[v.step for v in windows],
        **words,
    )  # fmt: skip


def _activation(dtype: DType, mnemonic: str | None) -> Activation | None:
    """What a fused activation does to a vector of results."""
    if mnemonic is None:
        return None
    expr = UNARY[mnemonic].expr

    def act(e: Emitter, value: Value) -> Value:
        params = [e.number(name, value.type) for name in ("alpha", "beta")]
        return Arithmetic(e, dtype.compute).lower(expr, [value], params)

    return act
