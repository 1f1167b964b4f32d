"""The vocabulary in which elementwise instructions say what they compute.

An `Expr` is a small tree over the operands of one element (`arg(0)`, `arg(1)`), the attribute
block's numbers (`alpha`, `beta`) and constants. Each reading is one table over `OPS`: here the one
in Python floats, which states the meaning of every operation in words a reader can check; in
`vectors.py` the one in LLVM vectors. A reading that lacks an operation fails at import.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


def _operands(count: int, names: str) -> dict[str, int]:
    return dict.fromkeys(names.split(), count)


OPS = {
    **_operands(0, "arg const param"),
    **_operands(1, "neg abs not sqrt floor ceil rint exp expm1 log log1p sin cos tan asin acos"),
    **_operands(
        1, "atan sinh cosh tanh asinh acosh atanh erf ncdf gelu gelu_tanh mish sigmoid softplus"
    ),
    **_operands(2, "add sub mul div mod fmod pow min max swish and or xor shl shr eq ne lt le"),
    **_operands(3, "select"),
}
"""Operations and how many operands they take. `min` and `max` give NaN when either is NaN;
`rint` rounds halves to even; `mod` has the divisor's sign for integers and the dividend's for
floats, `fmod` always the dividend's; a shift by the width or more leaves nothing (or the sign);
comparisons give booleans, `select` takes one first. `ncdf` is the normal distribution function Φ
and `gelu` x Φ(x); `gelu`, `gelu_tanh`, `mish` and `swish` (x sigmoid(alpha x)) are 0 at minus
infinity, their limit."""


_PLAIN = {
    **_operands(1, "neg abs not sqrt floor ceil rint"),
    **_operands(2, "add sub mul div min max and or xor eq ne lt le"),
    **_operands(3, "select"),
}
"""Operations that are an instruction or two."""


@dataclass(frozen=True)
class Expr:
    """One operation. `value` is the constant, or the index of an operand or parameter."""

    op: str
    args: tuple[Expr, ...] = ()
    value: float = 0.0

    def __post_init__(self) -> None:
        if OPS[self.op] != len(self.args):
            raise ValueError(f"'{self.op}' takes {OPS[self.op]} operands, not {len(self.args)}")

    def _with(self, op: str, other: Expr | float) -> Expr:
        return Expr(op, (self, lift(other)))

    def __add__(self, other: Expr | float) -> Expr:
        return self._with("add", other)

    def __sub__(self, other: Expr | float) -> Expr:
        return self._with("sub", other)

    def __rsub__(self, other: float) -> Expr:
        return lift(other)._with("sub", self)

    def __mul__(self, other: Expr | float) -> Expr:
        return self._with("mul", other)

    __rmul__ = __mul__
    __radd__ = __add__

    def __truediv__(self, other: Expr | float) -> Expr:
        return self._with("div", other)

    def __rtruediv__(self, other: float) -> Expr:
        return lift(other)._with("div", self)

    def __neg__(self) -> Expr:
        return Expr("neg", (self,))

    def __le__(self, other: Expr | float) -> Expr:
        return self._with("le", other)

    def __lt__(self, other: Expr | float) -> Expr:
        return self._with("lt", other)

    def __gt__(self, other: Expr | float) -> Expr:
        return lift(other)._with("lt", self)


def lift(value: Expr | float) -> Expr:
    """A constant as an expression; an expression as it is."""
    return value if isinstance(value, Expr) else Expr("const", value=float(value))


def arg(index: int) -> Expr:
    """The element of source operand `index`."""
    return Expr("arg", value=index)


ALPHA, BETA = Expr("param", value=0), Expr("param", value=1)


def call(op: str, *args: Expr | float) -> Expr:
    """An operation by name."""
    return Expr(op, tuple(lift(a) for a in args))


def operations(expr: Expr) -> int:
    """How many operations an expression has; a function counts as many."""
    if not expr.args:
        return 0
    own = 1 if expr.op in _PLAIN else 16
    return own + sum(map(operations, expr.args))


def _nan_first(choose: Callable[[float, float], float]) -> Callable[[float, float], float]:
    return lambda x, y: math.nan if math.isnan(x) or math.isnan(y) else choose(x, y)


def _guard(
    function: Callable[[float], float], pole: float | None = None
) -> Callable[[float], float]:
    """A function of `math` with IEEE results where `math` raises; -inf at its pole."""

    def guarded(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return math.inf
        except ValueError:
            return -math.inf if x == pole else math.nan

    return guarded


def _odd(function: Callable[[float], float]) -> Callable[[float], float]:
    """An odd function from what it is for negative numbers, where a pole is -inf already."""
    return lambda x: math.copysign(function(-abs(x)), x)


def _divide(x: float, y: float) -> float:
    if y == 0:
        return math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x) * _sign(y)
    return x / y


def _places(count: float) -> int:
    """How far to shift: no element has more than 64 bits."""
    return int(count) if 0 <= count < 64 else 64


def _remainder(x: float, y: float) -> float:
    if isinstance(x, int) and isinstance(y, int):
        return (abs(x) % abs(y) if x >= 0 else -(abs(x) % abs(y))) if y else x
    return math.fmod(x, y) if y and math.isfinite(x) else math.nan


def _sign(x: float) -> float:
    return math.copysign(1.0, x)


def _rint(x: float) -> float:
    return float(round(x)) if math.isfinite(x) else x


def _whole(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: float(function(x)) if math.isfinite(x) else x


def _power(x: float, y: float) -> float:
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf
    except ValueError:
        return math.inf if x == 0 else math.nan


def _sigmoid(x: float) -> float:
    return 1 / (1 + _guard(math.exp)(-x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _vanishing(function: Callable[[float], float]) -> Callable[[float], float]:
    """A function of the form x P(x), P a probability, that is 0 at minus infinity."""
    return lambda x: -0.0 if x == -math.inf else function(x)


_PYTHON: dict[str, Callable[..., float]] = {
    "neg": lambda x: -x, "abs": abs, "not": lambda x: not x,
    "sqrt": _guard(math.sqrt), "exp": _guard(math.exp),
    "expm1": _guard(math.expm1), "log": _guard(math.log, 0.0),
    "log1p": _guard(math.log1p, -1.0), "sin": _guard(math.sin),
    "cos": _guard(math.cos), "tan": _guard(math.tan), "asin": _guard(math.asin),
    "acos": _guard(math.acos), "atan": math.atan, "sinh": _odd(_guard(math.sinh)),
    "cosh": _guard(math.cosh), "tanh": math.tanh, "asinh": math.asinh,
    "acosh": _guard(math.acosh), "atanh": _odd(_guard(math.atanh, -1.0)), "erf": math.erf,
    "ncdf": lambda x: 0.5 * math.erfc(-x * math.sqrt(0.5)),
    "gelu": _vanishing(lambda x: x * 0.5 * math.erfc(-x * math.sqrt(0.5))),
    "gelu_tanh": _vanishing(
        lambda x: x * 0.5 * (math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)) + 1)
    ),
    "mish": _vanishing(lambda x: x * math.tanh(_softplus(x))),
    "swish": lambda x, alpha: 0.0 if x * alpha == -math.inf else x * _sigmoid(x * alpha),
    "sigmoid": _sigmoid, "softplus": _softplus,
    "floor": _whole(math.floor), "ceil": _whole(math.ceil), "rint": _rint,
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y,
    "div": _divide, "mod": _remainder, "pow": _power,
    "fmod": _remainder,
    "min": _nan_first(min), "max": _nan_first(max),
    "shl": lambda x, y: int(x) << _places(y), "shr": lambda x, y: int(x) >> _places(y),
    "and": lambda x, y: x and y, "or": lambda x, y: x or y, "xor": lambda x, y: x != y,
    "eq": lambda x, y: x == y, "ne": lambda x, y: x != y,
    "lt": lambda x, y: x < y, "le": lambda x, y: x <= y,
    "select": lambda c, x, y: x if c else y,
}  # fmt: skip

if missing := OPS.keys() - _PYTHON.keys() - {"arg", "const", "param"}:
    raise TypeError(f"the Python reading of tensor expressions lacks {sorted(missing)}")


def evaluate(expr: Expr, args: tuple[float, ...], params: tuple[float, ...] = (0.0, 0.0)) -> float:
    """The value of an expression for one element, in double precision."""
    match expr.op:
        case "const":
            return expr.value
        case "arg":
            return args[int(expr.value)]
        case "param":
            return params[int(expr.value)]
    return _PYTHON[expr.op](*(evaluate(a, args, params) for a in expr.args))
