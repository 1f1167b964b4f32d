"""Convolution as an implicit matrix product: which writer, and the parameters of its kernel."""

from __future__ import annotations

import math

from emu.cpu.tensor.conv_gemm import BLOCK, RUN, Product, tile_for
from emu.cpu.tensor.conv_job import Job, adjacent, lines_of
from emu.cpu.tensor.conv_rows import Rows, suits
from emu.cpu.tensor.conv_split import split
from emu.cpu.tensor.conv_tail import tail_of
from emu.cpu.tensor.conv_words import lanes
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, kernel

_DEPTH = 2048
"""Steps of the inner dimension, about, for which columns are packed at a time."""
_ROW_POSITIONS = 1 << 11
"""Of a unit, about, where columns are not packed."""
_UNIT_BYTES = 1 << 19
"""Of packed columns: a part of the second-level cache."""


def multiply(job: Job) -> None:
    """The convolution as an implicit matrix product."""
    y, x, w, windows, groups = job.y, job.x, job.w, job.windows, job.groups
    wide, outputs, channels, taps = y.dtype.compute, job.outputs, w.dims[1], job.taps
    pointwise = taps == 1 and all(v.step == 1 and v.size == v.out and not v.pad for v in windows)
    weights = adjacent(w, 1, wide)
    words = job.words()
    if pointwise:
        image = adjacent(x, 2, wide)
    else:
        image = split(x, windows, wide)
        words |= {"out_h": y.dims[3], "out_w": y.dims[4]}
        words |= {"row_d": image.strides[5], "row_h": image.strides[6]}
        words |= {"phase": image.strides[2:5], "line": image.strides[5:8]}
    tile = tile_for(outputs)
    lane, positions = lanes(y.dtype), math.prod(y.dims[2:])
    block = channels if y.dtype is not wide else max(1, min(channels, _DEPTH // taps))
    tail = tail_of(positions, lane, channels * taps)
    pieces = max(1, _UNIT_BYTES // (block * taps * lane * wide.size * tile.vectors))
    vectors = min(pieces, max(1, -(-(positions - tail) // (lane * tile.vectors)))) * tile.vectors
    panels = lane * wide.size * vectors * block * taps
    pitch = lines_of(block * taps * wide.size)
    room = [lines_of(n) for n in (taps * 8, vectors * lane * RUN, panels, tail * pitch)]
    private = SCRATCH.take(THREADS_MAX * sum(room))
    for k, name in enumerate(("table", "runs", "panels", "tails")):
        words[name] = private + sum(room[:k])
    kind, writer = ("plane" if pointwise else "taps"), Product
    if not pointwise and suits(outputs, channels, y.dims[4], lane):
        kind, writer, tail, vectors = "rows", Rows, 0, max(1, _ROW_POSITIONS // y.dims[4])
    run = kernel(
        f"tconv {kind} {y.dtype.name} {tile.rows}x{tile.vectors} {job.name}",
        BLOCK,
        lambda e: writer(e, y.dtype, tile, not pointwise, job.activation()).write(),
        parallel=True,
    )
    run(
        x=image.address, w=weights.address,
        images=x.dims[0], groups=groups, channels=channels, channel_block=block, outputs=outputs,
        positions=positions - tail, tail=tail, tail_pitch=pitch, unit_vectors=vectors,
        private=sum(room),
        x_n=image.strides[0], x_g=channels * image.strides[1], x_c=image.strides[1],
        w_g=outputs * weights.strides[0], w_o=weights.strides[0],
        y_n=y.strides[0], y_g=outputs * y.strides[1], y_o=y.strides[1],
        taps=w.dims[2:], gap=[v.gap for v in windows], step=[v.step for v in windows],
        **words,
    )  # fmt: skip
