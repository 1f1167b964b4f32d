"""tconvtranspose: convolutions of the phases of the result.

Position p of the result lies in *phase* p mod stride. Which taps reach it, and where from, depends
on the phase alone: so a phase is a convolution of its own, of step 1, with some of the taps in
reverse order. All phases are computed side by side in scratch memory and merged.

Where windows neither overlap nor leave gaps, each tap is a phase, and all of them are one matrix
product with a row for each output channel and tap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from emu.cpu.tensor.attributes import SPATIAL_MAX, Attributes
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.conv import convolve, fill
from emu.cpu.tensor.conv_job import FUSED, Job, Window, scratch, spatial, windows_of
from emu.cpu.tensor.conv_merge import merge
from emu.cpu.tensor.descriptor import View, dense
from emu.cpu.tensor.elementwise import run_copy, run_unary
from emu.cpu.tensor.faults import Cause, Operand, TensorFault
from emu.cpu.tensor.limits import PHASES
from emu.cpu.tensor.semantics import ACTIVATIONS


@schedule("tconvtranspose")
def _conv_transpose(call: Call) -> None:
    run_conv_transpose(call["d"], call["x"], call["w"], call.get("bias"), call.at)


@dataclass(frozen=True)
class _Phase:
    """One phase along one dimension: `count` taps from the tap `last` downwards, `apart` taps from
    one to the next, as a convolution with this gap and padding."""

    last: int
    apart: int
    count: int
    gap: int
    pad: int


def _phase(window: Window, phase: int) -> _Phase | None:
    """The taps of a phase of the result; None if there are none. `window` is that of the transposed
    convolution: `step` and `gap` of its result."""
    common, reached = math.gcd(window.step, window.gap), phase + window.pad
    apart, gap = window.step // common, window.gap // common
    first = reached // common * pow(gap, -1, apart) % apart  # first * gap = reached, modulo step
    if reached % common or first >= window.taps:
        return None
    count = (window.taps - 1 - first) // apart + 1
    last = first + (count - 1) * apart
    return _Phase(last, apart, count, gap, (last * window.gap - reached) // window.step)


def run_conv_transpose(
    destination: View, image: View, weights: View, bias: View | None, at: Attributes
) -> None:
    """destination (n, groups * o, spatial…) of image (n, c, spatial…) and weights (c, o, taps…),
    plus bias (groups * o), and then the activation."""
    mnemonic = ACTIVATIONS[at.activation]
    fused, params = mnemonic if mnemonic in FUSED else None, (at.alpha, at.beta)
    windows = windows_of(destination, image, weights, at)
    y, x, w = spatial(destination), spatial(image), spatial(weights)
    steps = tuple(min(v.step, v.out) for v in windows)
    lines = tuple(-(-v.out // s) for v, s in zip(windows, steps, strict=True))
    z = scratch((*y.dims[:2], *steps, *lines), y.dtype)
    job = Job(y, x, w, bias, windows, at.groups, fused, params)
    if _is_tiling(windows) and lines == x.dims[2:]:
        _all_taps(job, z)
    else:
        _each_phase(job, z)
    if mnemonic is not None and fused is None:
        run_unary(mnemonic, z, z, params)
    whole = y if y.strides[4] == y.dtype.size else scratch(y.dims, y.dtype)
    merge(whole, z, steps)
    if whole is not y:
        run_copy(y, whole)


def _is_tiling(windows: tuple[Window, ...]) -> bool:
    """Whether windows neither overlap nor leave gaps, so that each tap is one phase."""
    return all(v.taps == v.step <= v.out and v.gap == 1 and not v.pad for v in windows)


def _grouped(job: Job) -> tuple[tuple[int, int, int], View]:
    """(groups, outputs of one, channels of one), and weights (group, output, channel, taps…)."""
    (channels, outputs), groups, w = job.w.dims[:2], job.groups, job.w
    own = channels // groups
    view = View(w.address, w.dtype, (groups, outputs, own, *w.dims[2:]),
                (own * w.strides[0], w.strides[1], w.strides[0], *w.strides[2:]))  # fmt: skip
    return (groups, outputs, own), view


def _all_taps(job: Job, z: View) -> None:
    """Each output channel and tap is an output channel of a convolution with one tap."""
    (groups, outputs, channels), weights = _grouped(job)
    wide = z.dtype.compute
    rows = groups * outputs * math.prod(job.w.dims[2:])
    packed = scratch((groups, outputs, *job.w.dims[2:], channels), wide)
    run_copy(packed, weights.permuted((0, 1, 3, 4, 5, 2)))
    bias = job.bias
    if bias is not None:
        spread = scratch((bias.dims[0], rows // bias.dims[0]), bias.dtype)
        run_copy(spread, View(bias.address, bias.dtype, (*bias.dims, 1), (*bias.strides, 0)))
        bias = dense(spread.address, bias.dtype, (rows,))
    y = dense(z.address, z.dtype, (z.dims[0], rows, *z.dims[5:]))
    w = dense(packed.address, wide, (rows, channels, 1, 1, 1))
    windows = tuple(Window(n, n, 1, 1, 1, 0) for n in z.dims[5:])
    convolve(Job(y, job.x, w, bias, windows, groups, job.fused, job.params))


def _each_phase(job: Job, z: View) -> None:
    """A convolution for each phase; phases that no tap reaches have nothing but bias."""
    phases = [
        [_phase(window, p) for p in range(count)]
        for window, count in zip(job.windows, z.dims[2:5], strict=True)
    ]
    if math.prod(z.dims[2:5]) > PHASES:
        raise TensorFault(Cause.LIMIT, Operand.DESTINATION)
    if any(None in row for row in phases):
        fill(job, z)
    (groups, outputs, channels), weights = _grouped(job)
    for index in product(*map(range, z.dims[2:5])):
        chosen = [row[p] for row, p in zip(phases, index, strict=True)]
        own = [p for p in chosen if p is not None]
        if len(own) < SPATIAL_MAX:
            continue
        counts = tuple(p.count for p in own)
        start = sum(p.last * s for p, s in zip(own, weights.strides[3:], strict=True))
        back = tuple(-p.apart * s for p, s in zip(own, weights.strides[3:], strict=True))
        packed = scratch((groups, outputs, channels, *counts), z.dtype.compute)
        run_copy(packed, View(weights.address + start, weights.dtype, packed.dims,
                              weights.strides[:3] + back))  # fmt: skip
        at = sum(i * s for i, s in zip(index, z.strides[2:5], strict=True))
        y = View(z.address + at, z.dtype, z.dims[:2] + z.dims[5:], z.strides[:2] + z.strides[5:])
        w = dense(packed.address, packed.dtype, (groups * outputs, channels, *counts))
        windows = tuple(
            Window(v.size, n, p.count, 1, p.gap, p.pad)
            for v, n, p in zip(job.windows, z.dims[5:], own, strict=True)
        )
        convolve(Job(y, job.x, w, job.bias, windows, groups, job.fused, job.params))
