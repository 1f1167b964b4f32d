"""tquantize, tdequantize: between real numbers and small integers, as elementwise expressions."""

from __future__ import annotations

from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.elementwise import run_expression
from emu.cpu.tensor.expr import Expr, arg, call

_X, _SCALE, _ZERO = arg(0), arg(1), arg(2)


@schedule("tquantize")
def _quantize(call_: Call) -> None:
    whole = call("rint", _X / _SCALE)
    _run(call_, whole, whole + _ZERO)


@schedule("tdequantize")
def _dequantize(call_: Call) -> None:
    _run(call_, _X * _SCALE, (_X - _ZERO) * _SCALE)


def _run(call_: Call, without: Expr, with_zero: Expr) -> None:
    """Compute the expression for when there is a zero point, or the one for when there is none."""
    sources = [call_["x"], call_["scale"]]
    zero = call_.get("zero")
    if zero is None:
        run_expression(f"{call_.mnemonic} plain", without, call_["d"], sources)
    else:
        run_expression(call_.mnemonic, with_zero, call_["d"], [*sources, zero])
