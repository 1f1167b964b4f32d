"""What every elementwise instruction computes, stated once.

`BINARY` and `UNARY` map mnemonics to their meaning: an expression (`expr.py`), the kinds of element
it takes, and whether the result is a boolean. The destination's dtype is the sources' dtype, or
bool. Half-precision floats are computed in f32. What a reader may wonder about:

* `tdiv` of integers truncates toward zero; dividing by zero gives -1 (all ones) and the smallest
  number by -1 itself, as RISC-V divides. `tmod` of integers takes the divisor's sign (ONNX Mod,
  NumPy), of floats the dividend's (ONNX fmod); an integer modulo zero is the dividend.
* `tmin`, `tmax` and `trelu` give NaN for NaN.
* `tpow` of integers wraps; a negative exponent gives the truncated real result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emu.cpu.tensor.expr import ALPHA, BETA, Expr, arg, call, lift

NUMBERS = frozenset({"float", "int"})
FLOATS = frozenset({"float"})
ANY = frozenset({"float", "int", "bool"})
LOGIC = frozenset({"int", "bool"})


@dataclass(frozen=True)
class Elementwise:
    """An elementwise instruction: expression, element kinds, result, attribute defaults, cost."""

    expr: Expr
    kinds: frozenset[str] = NUMBERS
    compares: bool = False
    defaults: tuple[float, float] = (0.0, 0.0)
    flops: int = 1


_X, _Y = arg(0), arg(1)
_TRANSCENDENTAL = 20  # operations of one evaluation, for the timing model


def _binary(op: str, kinds: frozenset[str] = NUMBERS, flops: int = 1) -> Elementwise:
    return Elementwise(call(op, _X, _Y), kinds, flops=flops)


def _compare(expr: Expr, kinds: frozenset[str] = NUMBERS) -> Elementwise:
    return Elementwise(expr, kinds, compares=True)


BINARY = {
    "tadd": _binary("add"),
    "tsub": _binary("sub"),
    "tmul": _binary("mul"),
    "tdiv": _binary("div"),
    "tmod": _binary("mod"),
    "tpow": _binary("pow", flops=2 * _TRANSCENDENTAL),
    "tmin": _binary("min"),
    "tmax": _binary("max"),
    "teq": _compare(call("eq", _X, _Y), ANY),
    "tne": _compare(call("ne", _X, _Y), ANY),
    "tlt": _compare(call("lt", _X, _Y)),
    "tle": _compare(call("le", _X, _Y)),
    "tgt": _compare(call("lt", _Y, _X)),
    "tge": _compare(call("le", _Y, _X)),
    "tand": _binary("and", LOGIC),
    "tor": _binary("or", LOGIC),
    "txor": _binary("xor", LOGIC),
}


def _clamp(x: Expr, low: Expr | float, high: Expr | float) -> Expr:
    return call("min", call("max", x, low), high)


def _function(expr: Expr, alpha: float = 0.0, beta: float = 0.0) -> Elementwise:
    return Elementwise(expr, FLOATS, defaults=(alpha, beta), flops=_TRANSCENDENTAL)


def _sigmoid(x: Expr) -> Expr:
    return 1 / (call("exp", -x) + 1)


_HARD = _clamp(ALPHA * _X + BETA, 0, 1)
_GELU_TANH = call("tanh", math.sqrt(2 / math.pi) * (_X + 0.044715 * (_X * _X * _X)))

UNARY = {
    "tneg": Elementwise(-_X),
    "tabs": Elementwise(call("abs", _X)),
    "tsqrt": Elementwise(call("sqrt", _X), FLOATS, flops=4),
    "texp": _function(call("exp", _X)),
    "tlog": _function(call("log", _X)),
    "tsin": _function(call("sin", _X)),
    "tcos": _function(call("cos", _X)),
    "ttanh": _function(call("tanh", _X)),
    "terf": _function(call("erf", _X)),
    "tfloor": Elementwise(call("floor", _X)),
    "tceil": Elementwise(call("ceil", _X)),
    "tround": Elementwise(call("rint", _X)),
    "trecip": Elementwise(1 / _X, FLOATS, flops=4),
    "trelu": Elementwise(call("max", _X, 0)),
    "tleakyrelu": Elementwise(
        call("select", _X < 0, ALPHA * _X, _X), FLOATS, defaults=(0.01, 0.0), flops=2
    ),
    "tsigmoid": _function(_sigmoid(_X)),
    "thardsigmoid": Elementwise(_HARD, FLOATS, defaults=(0.2, 0.5), flops=4),
    "thardswish": Elementwise(_X * _clamp(_X * lift(1 / 6) + 0.5, 0, 1), FLOATS, flops=5),
    "telu": _function(call("select", _X < 0, ALPHA * call("expm1", _X), _X), 1.0),
    "tgelu": _function(0.5 * _X * (call("erf", _X * math.sqrt(0.5)) + 1)),
    "tgelu_tanh": _function(0.5 * _X * (_GELU_TANH + 1)),
    "tsoftplus": _function(call("max", _X, 0) + call("log1p", call("exp", -call("abs", _X)))),
    "tclip": Elementwise(_clamp(_X, ALPHA, BETA), defaults=(-math.inf, math.inf), flops=2),
    "tnot": Elementwise(call("not", _X), LOGIC),
    "tsign": Elementwise(call("select", _X > 0, 1, call("select", _X < 0, -1, _X)), flops=2),
}

ACTIVATIONS = (None, "trelu", "tsigmoid", "ttanh", "tleakyrelu", "tclip")
"""The attribute block's activation codes, as the instruction that would compute them."""
