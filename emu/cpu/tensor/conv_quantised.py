"""tqconv: convolution of small integers less their zero points, exact, and back to small integers.

Image and weights are widened to i32 and centred on their zero points in one pass each, so that
padding is zero and every schedule of tconv applies. A scale makes one more pass, in f64: products
of 32-bit integers and f32 are exact there, and are rounded once.
"""

from __future__ import annotations

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.conv import run_conv
from emu.cpu.tensor.conv_job import scratch
from emu.cpu.tensor.descriptor import F64, I32, DType, View
from emu.cpu.tensor.elementwise import run_copy, run_expression
from emu.cpu.tensor.expr import arg, call

_CENTRED = arg(1) - arg(0)
_SCALED = call("rint", arg(0) * arg(1))


@schedule("tqconv")
def _quantised_conv(call_: Call) -> None:
    d, scale, zero = call_["d"], call_.get("scale"), call_.get("dz")
    x, w = (_centred(call_[name], call_.get(f"{name}z")) for name in "xw")
    plain = d.dtype is I32 and scale is None and zero is None
    sums = d if plain else scratch(d.dims, I32)
    windows = call_.at
    at = Attributes(groups=windows.groups, stride=windows.stride, dilation=windows.dilation,
                    pad_begin=windows.pad_begin, pad_end=windows.pad_end)  # fmt: skip
    run_conv(sums, x, w, call_.get("bias"), at)
    if plain:
        return
    if scale is None:
        zeros = [] if zero is None else [zero]
        value = arg(0) + arg(1) if zeros else arg(0)
    else:  # the first float among the sources is the type of the arithmetic
        zeros = [] if zero is None else [_as(zero, F64)]
        value = _SCALED + arg(2) if zeros else _SCALED
    factors = [] if scale is None else [_as(scale, F64)]
    run_expression(f"tqconv {len(factors)}{len(zeros)}", value, d, [sums, *factors, *zeros])


def _as(view: View, dtype: DType) -> View:
    """A copy of another type."""
    copy = scratch(view.dims, dtype)
    run_copy(copy, view)
    return copy


def _centred(view: View, zero: View | None) -> View:
    """As i32, less the zero point."""
    if zero is None:
        return _as(view, I32)
    centred = scratch(view.dims, I32)
    run_expression("tqconv centred", _CENTRED, centred, [_as(zero, I32), view])
    return centred
