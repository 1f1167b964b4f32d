"""tconv, and which of its schedules computes a convolution.

conv_job         the operands of one convolution, in the form that schedules take
conv_product     an implicit matrix product, from the image or from a copy split by stride
conv_split       that copy
conv_gemm        the kernel, with packed columns; conv_tail has its last positions
conv_rows        the kernel for few output channels, without packing
conv_depthwise   one input channel for every output channel
conv_winograd    many channels, 3x3 taps
conv_transpose   tconvtranspose, by convolutions
conv_merge       their results put together
conv_quantised   tqconv, of small integers
conv_words       what the writers of their kernels share
"""

from __future__ import annotations

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.conv_depthwise import depthwise, is_depthwise
from emu.cpu.tensor.conv_job import FUSED, Job, is_dense, scratch, spatial, windows_of
from emu.cpu.tensor.conv_product import multiply
from emu.cpu.tensor.conv_winograd import is_winograd, winograd
from emu.cpu.tensor.descriptor import View
from emu.cpu.tensor.elementwise import run_copy, run_unary
from emu.cpu.tensor.emit import I64, Block
from emu.cpu.tensor.kernels import SCRATCH, kernel
from emu.cpu.tensor.semantics import ACTIVATIONS


@schedule("tconv")
def _conv(call: Call) -> None:
    run_conv(call["d"], call["x"], call["w"], call.get("bias"), call.at)


def run_conv(
    destination: View, image: View, weights: View, bias: View | None, at: Attributes
) -> None:
    """destination (n, o, spatial…) = image (n, c, spatial…) * weights (o, c / groups, taps…), plus
    bias (o), and then the activation."""
    mnemonic = ACTIVATIONS[at.activation]
    fused, params = mnemonic if mnemonic in FUSED else None, (at.alpha, at.beta)
    result = destination
    if not is_dense(destination, 2):
        result = scratch(destination.dims, destination.dtype)
    windows = windows_of(result, image, weights, at)
    y, x, w = spatial(result), spatial(image), spatial(weights)
    convolve(Job(y, x, w, bias, windows, at.groups, fused, params))
    if mnemonic is not None and fused is None:
        run_unary(mnemonic, result, result, params)
    if result is not destination:
        run_copy(destination, result)


def convolve(job: Job) -> None:
    """Compute a convolution by the schedule that suits it."""
    if not job.w.count:
        fill(job, job.y)
    elif is_depthwise(job):
        depthwise(job)
    elif is_winograd(job):
        winograd(job)
    else:
        multiply(job)


def fill(job: Job, view: View) -> None:
    """What there is where no tap reaches: the bias, or zeros, and then the activation. `view` has
    channels in dimension 1."""
    more = view.rank - 2
    if job.bias is None:
        cell = SCRATCH.take(8)
        kernel("zero", Block("to"), lambda e: e.store(e.const(I64, 0), e.pointer("to")))(to=cell)
        run_copy(view, View(cell, view.dtype, (), ()))
    else:
        bias = job.bias
        dims, strides = bias.dims + (1,) * more, bias.strides + (0,) * more
        run_copy(view, View(bias.address, view.dtype, dims, strides))
    if job.fused is not None:
        run_unary(job.fused, view, view, job.params)
