"""tconv: which schedule computes a convolution, and the operands in the form it wants.

Up to three spatial dimensions are computed as three with leading extents of 1. A convolution with
one tap and no stride or padding reads its image in place; any other reads a copy (`conv_split.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from emu.cpu.tensor.attributes import SPATIAL_MAX, Attributes
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.conv_depthwise import DEPTHWISE, TAPS_MAX, Depthwise, Taps, rows_for
from emu.cpu.tensor.conv_gemm import BLOCK, Product, tile_for
from emu.cpu.tensor.conv_split import SPLIT, Split
from emu.cpu.tensor.conv_winograd import CONVOLVE, OUT, TILE, WEIGHTS, Winograd, WinogradWeights
from emu.cpu.tensor.conv_words import Activation, lanes
from emu.cpu.tensor.descriptor import F32, DType, View, dense, dense_strides
from emu.cpu.tensor.elementwise import run_copy, run_unary
from emu.cpu.tensor.emit import Emitter, Value
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, Word, kernel
from emu.cpu.tensor.semantics import ACTIVATIONS, UNARY
from emu.cpu.tensor.vectors import Arithmetic

FUSED = ("trelu", "tleakyrelu", "tclip", "thardswish", "thardsigmoid")
"""Activations that take few operations: done on registers. Others are a pass of their own."""
_DEPTH = 512
"""Steps of the inner dimension, about, for which columns are packed at a time."""
_WINOGRAD_BYTES = 1 << 20
"""Of a transformed image, or of its rows of tiles that are transformed at a time."""
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


_NONE = Window(1, 1, 1, 1, 1, 0)
"""A spatial dimension that is not there."""


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
    views = _spatial(result), _spatial(image), _spatial(weights)
    run = _multiply
    if _is_depthwise(views[1], windows, at):
        run = _depthwise
    elif at.groups == 1 and _is_winograd(views[2], image.dims[0], windows):
        run = _winograd
    run(*views, bias, windows, at, fused)
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
    return [_NONE] * (SPATIAL_MAX - spatial) + own


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


def split(x: View, windows: Sequence[Window], dtype: DType) -> View:
    """The padded image, split by stride: (n, c, three phases, three lines), as `dtype`."""
    phases, lines = [w.phases for w in windows], [w.line for w in windows]
    whole = _scratch((*x.dims[:2], *phases, *lines), dtype)
    step = windows[-1].phases if x.strides[-1] == x.dtype.size else 0
    step = step if step <= 2 and windows[-1].step == step else 0
    kernel(
        f"tconv split {x.dtype.name} {step}",
        SPLIT,
        lambda e: Split(e, x.dtype, step).write(),
        parallel=True,
    )(
        x=x.address, to=whole.address, images=x.dims[0], channels=x.dims[1],
        x_n=x.strides[0], x_c=x.strides[1], x_d=x.strides[2], x_h=x.strides[3], x_w=x.strides[4],
        to_c=whole.strides[1], to_phase=whole.strides[2:5], to_line=whole.strides[5:8],
        phases=phases, lines=lines, size=[w.size for w in windows], step=[w.step for w in windows],
        pad=[w.pad for w in windows],
    )  # fmt: skip
    return whole


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
        image = split(x, windows, wide)
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


def _is_depthwise(x: View, windows: Sequence[Window], at: Attributes) -> bool:
    """Whether each output channel has one input channel, and a plane of it is worth unrolling."""
    deep, high, wide = windows
    return (
        at.groups == x.dims[1]
        and deep.taps == deep.out == 1
        and not deep.pad
        and (deep.size == 1 and high.taps * wide.taps <= TAPS_MAX)
    )


def _depthwise(
    y: View,
    x: View,
    w: View,
    bias: View | None,
    windows: Sequence[Window],
    at: Attributes,
    fused: str | None,
) -> None:
    """The convolution channel by channel."""
    _, high, wide = windows
    weights = _adjacent(w, 1, y.dtype.compute)
    if x.strides[4] != x.dtype.size and wide.size > 1:
        x = _adjacent(x, 2, x.dtype)
    taps = Taps(
        (high.taps, wide.taps), (high.step, wide.step), (high.gap, wide.gap),
        rows_for(high.out, high.taps * wide.taps), wide.out <= lanes(y.dtype),
    )  # fmt: skip
    row = (wide.size + 2 * wide.pad + (wide.taps * wide.gap) + 4 * lanes(y.dtype)) * y.dtype.size
    private = -(-row // 64) * 64
    run = kernel(
        f"tconv depthwise {y.dtype.name} {taps.name} {fused or 'linear'}",
        DEPTHWISE,
        lambda e: Depthwise(e, y.dtype, taps, _activation(y.dtype, fused)).write(),
        parallel=True,
    )
    words: dict[str, Word] = {}
    if bias is not None:
        words |= {"bias": bias.address, "bias_o": bias.strides[0]}
    run(
        x=x.address, w=weights.address, y=y.address, alpha=at.alpha, beta=at.beta,
        zeros=SCRATCH.take(private * THREADS_MAX), private=private,
        images=x.dims[0], outputs=y.dims[1], multiplier=y.dims[1] // at.groups,
        in_h=high.size, in_w=wide.size, out_h=high.out, out_w=wide.out,
        pad_h=high.pad, pad_w=wide.pad,
        x_n=x.strides[0], x_c=x.strides[1], x_h=x.strides[3], w_o=weights.strides[0],
        y_n=y.strides[0], y_c=y.strides[1], y_h=y.strides[3], **words,
    )  # fmt: skip


def _is_winograd(w: View, images: int, windows: Sequence[Window]) -> bool:
    """Whether Winograd's convolution applies and is expected to take less time."""
    deep, high, wide = windows
    if w.dtype is not F32 or deep != _NONE:
        return False
    if any(v.taps != 3 or v.step != 1 or v.gap != 1 for v in (high, wide)):
        return False
    outputs, channels = w.dims[:2]
    lane = lanes(F32)
    if min(outputs, channels) < lane:
        return False
    high_tiles, wide_tiles = -(-high.out // OUT), -(-wide.out // OUT)
    vectors = images * -(-high_tiles * wide_tiles // lane)
    moved = images * high_tiles * -(-wide_tiles // lane) * 8 * TILE**2 * (outputs + channels)
    ours = outputs * channels * (TILE**2 * vectors + 12) + moved
    return ours * 1.2 < outputs * channels * 9 * images * high.out * -(-wide.out // lane)


def _winograd(
    y: View,
    x: View,
    w: View,
    bias: View | None,
    windows: Sequence[Window],
    at: Attributes,
    fused: str | None,
) -> None:
    """Winograd's convolution: two steps, weights first."""
    _, high, wide = windows
    (outputs, channels), lane, size = w.dims[:2], lanes(F32), F32.size
    weights = _adjacent(w, 1, F32)
    if x.strides[4] != size:
        x = _adjacent(x, 2, F32)
    u_plane = _odd_lines(channels * lane * size)
    u = SCRATCH.take(-(-outputs // lane) * u_plane * TILE**2)
    kernel(
        "winograd weights f32", WEIGHTS, lambda e: WinogradWeights(e, F32).write(), parallel=True
    )(
        w=weights.address, u=u, outputs=outputs, channels=channels,
        w_o=weights.strides[0], u_plane=u_plane,
    )  # fmt: skip
    tiles_h, tiles_w = -(-high.out // OUT), -(-wide.out // OUT)
    unit_rows = _unit_rows(tiles_h, tiles_w, channels)
    tiles = unit_rows * tiles_w
    pitch = (-(-tiles // lane) + 1) * lane * size
    rows, vectors = (lane, 1) if tiles <= lane else (min(lane, tile_for(outputs).rows), 3)
    v_plane, m_plane = _odd_lines(channels * pitch), _odd_lines(lane * pitch)
    private = TILE**2 * (v_plane + m_plane)
    scratch = SCRATCH.take(THREADS_MAX * private)
    row = -(-((wide.size + 2 * wide.pad + 8 * lane) * size) // 64) * 64
    words: dict[str, Word] = {}
    if bias is not None:
        words |= {"bias": bias.address, "bias_o": bias.strides[0]}
    act = _activation(F32, fused)
    run = kernel(
        f"tconv winograd f32 {rows}x{vectors} {fused or 'linear'}",
        CONVOLVE,
        lambda e: Winograd(e, F32, act, rows, vectors).write(),
        parallel=True,
    )
    run(
        x=x.address, w=weights.address, u=u, y=y.address, alpha=at.alpha, beta=at.beta,
        zeros=SCRATCH.take(THREADS_MAX * row), private=row, v=scratch,
        m=scratch + TILE**2 * v_plane, scratch=private, pitch=pitch, u_plane=u_plane,
        v_plane=v_plane, m_plane=m_plane, images=x.dims[0], outputs=outputs, channels=channels,
        tiles_h=tiles_h, tiles_w=tiles_w, unit_rows=unit_rows, in_h=high.size, in_w=wide.size,
        out_h=high.out, out_w=wide.out, pad_h=high.pad, pad_w=wide.pad,
        x_n=x.strides[0], x_c=x.strides[1], x_h=x.strides[3], w_o=weights.strides[0],
        y_n=y.strides[0], y_c=y.strides[1], y_h=y.strides[3], **words,
    )  # fmt: skip


def _odd_lines(size: int) -> int:
    """`size` bytes rounded up to an odd number of cache lines."""
    return (-(-size // 64) | 1) * 64


def _unit_rows(tiles_h: int, tiles_w: int, channels: int) -> int:
    """Rows of tiles to transform at a time: few vectors of tiles are to be incomplete, and the
    transformed image should stay in the second-level cache."""
    lane = lanes(F32)

    def cost(rows: int) -> float:
        """Of one unit, in thirds of a tile."""
        full, rest = divmod(-(-rows * tiles_w // lane), 3)
        return 3 * full + (0, 1.2, 2.1)[rest]

    most = max(1, _WINOGRAD_BYTES // (TILE**2 * channels * tiles_w * F32.size))
    choices = range(1, min(tiles_h, most) + 1)

    def total(rows: int) -> float:
        whole, rest = divmod(tiles_h, rows)
        return whole * cost(rows) + (cost(rest) if rest else 0)

    return min(choices, key=lambda rows: (total(rows), rows))


def _activation(dtype: DType, mnemonic: str | None) -> Activation | None:
    """What a fused activation does to a vector of results."""
    if mnemonic is None:
        return None
    expr = UNARY[mnemonic].expr

    def act(e: Emitter, value: Value) -> Value:
        params = [e.number(name, value.type) for name in ("alpha", "beta")]
        return Arithmetic(e, dtype.compute).lower(expr, [value], params)

    return act
