"""What every elementwise instruction computes, stated once.

`BINARY` and `UNARY` map mnemonics to their meaning: an expression (`expr.py`), the kinds of element
it takes, and whether the result is a boolean. The destination's dtype is the sources' dtype, or
bool. Half-precision floats are computed in f32. What a reader may wonder about:

* `tdiv` of integers truncates toward zero; dividing by zero gives -1 (all ones) and the smallest
  number by -1 itself, as RISC-V divides. `tmod` of integers takes the divisor's sign (ONNX Mod,
  NumPy), of floats the dividend's (ONNX fmod); an integer modulo zero is the dividend.
  `tfmod` takes the dividend's sign for both.
* `tmin`, `tmax` and `trelu` give NaN for NaN; `tthresholdedrelu` too, `tshrink` 0.
* `tpow` of integers wraps; a negative exponent gives the truncated real result.
* A shift by the element's width or more leaves 0, or a negative number's -1 when shifted right.
* `tgelu`, `tgelu_tanh`, `tmish` and `tswish` of minus infinity are 0, their limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emu.cpu.tensor.expr import ALPHA, BETA, Expr, arg, call, lift

NUMBERS = frozenset({"float", "int"})
FLOATS = frozenset({"float"})
ANY = frozenset({"float", "int", "bool"})
LOGIC = frozenset({"int", "bool"})
INTEGERS = frozenset({"int"})


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
    "tfmod": _binary("fmod"),
    "tshl": _binary("shl", INTEGERS),
    "tshr": _binary("shr", INTEGERS),
    "tprelu": Elementwise(call("select", _X < 0, _Y * _X, _X), FLOATS, flops=2),
    "taddrelu": Elementwise(call("max", _X + _Y, 0), flops=2),
}


def _clamp(x: Expr, low: Expr | float, high: Expr | float) -> Expr:
    return call("min", call("max", x, low), high)


def _function(expr: Expr, alpha: float = 0.0, beta: float = 0.0) -> Elementwise:
    return Elementwise(expr, FLOATS, defaults=(alpha, beta), flops=_TRANSCENDENTAL)


_HARD = _clamp(ALPHA * _X + BETA, 0, 1)

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
    "tsigmoid": _function(call("sigmoid", _X)),
    "thardsigmoid": Elementwise(_HARD, FLOATS, defaults=(0.2, 0.5), flops=4),
    "thardswish": Elementwise(_X * (_clamp(_X + 3, 0, 6) * lift(1 / 6)), FLOATS, flops=5),
    "telu": _function(call("select", _X < 0, ALPHA * call("expm1", _X), _X), 1.0),
    "tgelu": _function(call("gelu", _X)),
    "tgelu_tanh": _function(call("gelu_tanh", _X)),
    "tsoftplus": _function(call("max", _X, 0) + call("log1p", call("exp", -call("abs", _X)))),
    "tclip": Elementwise(_clamp(_X, ALPHA, BETA), defaults=(-math.inf, math.inf), flops=2),
    "tnot": Elementwise(call("not", _X), LOGIC),
    "tsign": Elementwise(call("select", _X > 0, 1, call("select", _X < 0, -1, _X)), flops=2),
    "trsqrt": Elementwise(1 / call("sqrt", _X), FLOATS, flops=8),
    "ttan": _function(call("tan", _X)),
    "tasin": _function(call("asin", _X)),
    "tacos": _function(call("acos", _X)),
    "tatan": _function(call("atan", _X)),
    "tsinh": _function(call("sinh", _X)),
    "tcosh": _function(call("cosh", _X)),
    "tasinh": _function(call("asinh", _X)),
    "tacosh": _function(call("acosh", _X)),
    "tatanh": _function(call("atanh", _X)),
    "tselu": _function(
        call("select", _X < 0, (ALPHA * BETA) * call("expm1", _X), BETA * _X),
        1.67326319217681884765625, 1.05070102214813232421875,
    ),
    "tcelu": _function(call("select", _X < 0, ALPHA * call("expm1", _X / ALPHA), _X), 1.0),
    "tmish": _function(call("mish", _X)),
    "tswish": _function(call("swish", _X, ALPHA), 1.0),
    "tsoftsign": Elementwise(_X / (call("abs", _X) + 1), FLOATS, flops=4),
    "tthresholdedrelu": Elementwise(
        call("select", _X <= ALPHA, 0, _X), FLOATS, defaults=(1.0, 0.0), flops=2
    ),
    "tshrink": Elementwise(
        call("select", _X < -ALPHA, _X + BETA, call("select", _X > ALPHA, _X - BETA, 0)),
        FLOATS, defaults=(0.5, 0.0), flops=4,
    ),
    "tisnan": _compare(call("ne", _X, _X), FLOATS),
    "tisinf": _compare(call("eq", call("abs", _X), math.inf), FLOATS),
}  # fmt: skip

ACTIVATIONS = (
    None, "trelu", "tsigmoid", "ttanh", "tleakyrelu", "tclip", "telu", "thardsigmoid", "thardswish",
    "tgelu", "tgelu_tanh", "tsoftplus", "tmish", "tswish", "tselu", "tcelu", "tsoftsign",
    "tthresholdedrelu",
)  # fmt: skip
"""The attribute block's activation codes (a code is a place in this tuple), as the instruction that
would compute them; `alpha` and `beta` are the block's, as they stand."""

WHERE = call("select", arg(0), arg(1), arg(2))
"""The second or third operand, by the boolean that is the first."""
