"""e^x and what is made of it. Reduction: x = n ln2 + r with |r| <= ln2 / 2, then e^x = 2^n e^r."""

from __future__ import annotations

import math
from dataclasses import dataclass

from emu.cpu.tensor.emit import F32, F64, I32, Emitter, Type, Value, bits_of, like
from emu.cpu.tensor.functions.words import (
    LN2_HIGH,
    LN2_LOW,
    MANTISSA,
    absolute,
    at_least,
    at_most,
    copysign,
    in_f64,
    integers,
    nearest,
    paired,
    polynomial,
    power_of_two,
)

# (e^r - 1 - r) / r^2 for |r| <= ln(2)/2
EXP = {
    32: (0.5000000095789483, 0.16666518837043895, 0.04166620410522782, 0.008368889730418902,
         0.0013950590536571318),
    64: (0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326136, 0.001388888888888375,
         0.00019841269874815834, 2.480158732554432e-05, 2.7557255406285044e-06,
         2.7557273647451087e-07, 2.5105214474751413e-08, 2.0914685161418067e-09),
}  # fmt: skip
# (tanh(r) - r) / r^3 by powers of r^2, |r| <= 0.2035
_TANH = {
    32: (-0.33333305863384616, 0.13329287301491263, -0.05226863147233403),
    64: (-0.3333333333333333, 0.13333333333333208, -0.05396825396791755, 0.021869488492499128,
         -0.008863232393677206, 0.003591996574027763, -0.0014526289802503137,
         0.0005477044735064413),
}  # fmt: skip
_RANGE = {32: (-105.0, 90.0), 64: (-747.0, 711.0)}
"""Beyond, e^x is 0 or infinity."""
_LOGISTIC_LOW = {32: -120.0, 64: -765.0}
"""Where even x e^x is 0."""
_LIFT = 96


@dataclass(frozen=True)
class Reduced:
    """An argument of the exponential: the integer n (in the low bits of `n`) and e^r - 1."""

    n: Value
    p: Value

    @property
    def type(self) -> Type:
        return self.p.type


def reduce(e: Emitter, x: Value, low: Value | None = None, *, narrow: bool = False) -> Reduced:
    """Reduce x, or x + low for a `low` that is small beside it; |n| must fit the exponent. `narrow`
    goes on in f32 from an argument in f64."""
    width = bits_of(x.type)
    whole, n = nearest(e, x, 1 / math.log(2))
    r = e.fma(whole, e.const(x.type, -LN2_HIGH[width]), x)
    if low is None:
        r = e.fma(whole, e.const(x.type, -LN2_LOW[width]), r)
    else:
        r = e.b.fadd(r, e.fma(whole, e.const(x.type, -LN2_LOW[width]), low))
    if narrow:
        width, r, n = 32, e.b.fptrunc(r, like(r.type, F32)), e.b.trunc(n, like(r.type, I32))
    square = e.b.fmul(r, r)
    return Reduced(n, e.fma(square, paired(e, r, square, EXP[width]), r))


def scaled(e: Emitter, x: Reduced, offset: int = 0) -> Value:
    """e^x 2^offset, if the result is a normal number."""
    n = e.b.add(x.n, e.const(x.n.type, offset)) if offset else x.n
    s = power_of_two(e, n, x.type)
    return e.fma(x.p, s, s)


def exp(e: Emitter, x: Value) -> Value:
    """e^x. 2^n is applied in two halves, so that results below the normal numbers are right."""
    width = bits_of(x.type)
    low, high = _RANGE[width]
    reduced = reduce(e, at_most(e, at_least(e, x, low), high))
    place = e.const(reduced.n.type, MANTISSA[width])
    full = e.b.shl(reduced.n, place)
    half = e.b.shl(e.b.ashr(full, e.const(full.type, MANTISSA[width] + 1)), place)
    one = e.b.bitcast(e.const(x.type, 1.0), integers(x))
    s = e.b.bitcast(e.b.add(half, one), x.type)
    rest = e.b.bitcast(e.b.add(e.b.sub(full, half), one), x.type)
    return e.b.fmul(e.fma(reduced.p, s, s), rest)


def expm1(e: Emitter, x: Value) -> Value:
    """e^x - 1 without cancellation: 2 (2^(n-1) p + (2^(n-1) - 1/2))."""
    reduced = reduce(e, at_most(e, at_least(e, x, -40.0), _RANGE[bits_of(x.type)][1]))
    s = power_of_two(e, e.b.sub(reduced.n, e.const(reduced.n.type, 1)), x.type)
    y = e.fma(s, reduced.p, e.b.fsub(s, e.const(x.type, 0.5)))
    tiny = e.b.fcmp_ordered("<", absolute(e, x), e.const(x.type, 2.0**-60))
    return e.b.select(tiny, x, e.b.fadd(y, y))


def _logistic(e: Emitter, x: Value, negative: Value, exponent: Reduced) -> Value:
    """x / (1 + e^-z) from the reduced -|z|, that is x (u - u t / (1 + t)) with t = e^-|z| and
    u = t for negative z, else 1.

    For negative z, u is computed times 2^_LIFT, which is taken back last, so that nothing is lost
    below the normal numbers.
    """
    one, lowered = e.const(x.type, 1.0), e.const(x.type, 2.0**-_LIFT)
    lifted = scaled(e, exponent, _LIFT)
    t = e.b.fmul(lifted, lowered)
    rest = e.b.fdiv(t, e.b.fadd(t, one))
    whole = e.b.select(negative, lifted, one)  # of which `rest` is missing
    y = e.fma(e.b.fneg(whole), rest, whole)
    return e.b.fmul(e.b.fmul(x, y), e.b.select(negative, lowered, one))


def sigmoid(e: Emitter, x: Value) -> Value:
    """1 / (1 + e^-x)."""
    size = at_least(e, e.b.fneg(absolute(e, x)), _LOGISTIC_LOW[bits_of(x.type)])
    negative = e.b.fcmp_ordered("<", x, e.const(x.type, 0.0))
    return _logistic(e, e.const(x.type, 1.0), negative, reduce(e, size))


def swish(e: Emitter, x: Value, alpha: Value) -> Value:
    """x sigmoid(alpha x); where alpha x is minus infinity, its limit 0."""
    low, zero = e.const(x.type, _LOGISTIC_LOW[bits_of(x.type)]), e.const(x.type, 0.0)
    z = e.b.fmul(x, alpha)
    negative = e.b.fcmp_ordered("<", z, zero)
    size = e.b.fneg(absolute(e, z))
    beyond = e.b.fcmp_ordered("<", size, low)
    lost = e.fma(x, alpha, e.b.fneg(z))
    lost = e.b.select(beyond, zero, e.b.select(negative, lost, e.b.fneg(lost)))
    held = e.b.select(e.b.and_(beyond, negative), copysign(e, zero, x), x)
    return _logistic(e, held, negative, reduce(e, e.b.select(beyond, low, size), lost))


def gelu_tanh(e: Emitter, x: Value) -> Value:
    """x sigmoid(z) with z = sqrt(8/π) (x + 0.044715 x^3), which is computed in f64, as a
    small error of a large z is a large one of e^z. -0 at minus infinity, the limit."""
    width = bits_of(x.type)
    x = at_least(e, x, {32: -14.0, 64: -24.0}[width])
    wide = e.b.fpext(x, like(x.type, F64)) if width == 32 else x
    factor = math.sqrt(8 / math.pi)
    inner = e.fma(
        e.b.fmul(wide, wide), e.const(wide.type, 0.044715 * factor), e.const(wide.type, factor)
    )
    z = e.b.fneg(absolute(e, e.b.fmul(wide, inner)))
    exponent = reduce(e, at_least(e, z, _LOGISTIC_LOW[width]), narrow=width == 32)
    return _logistic(e, x, e.b.fcmp_ordered("<", x, e.const(x.type, 0.0)), exponent)


def mish(e: Emitter, x: Value) -> Value:
    """x tanh(log(1 + t)) with t = e^x, which is x w / (w + 2) with w = t (t + 2); as `_logistic`
    where x is negative, and x where that is all."""
    width = bits_of(x.type)
    end, two = {32: 20.0, 64: 40.0}[width], e.const(x.type, 2.0)
    low = at_least(e, x, _LOGISTIC_LOW[width])
    exponent = reduce(e, at_most(e, low, end))
    negative = e.b.fcmp_ordered("<", x, e.const(x.type, 0.0))
    whole = exponent.n.type
    offset = e.b.select(negative, e.const(whole, _LIFT), e.const(whole, 0))
    lifted = scaled(e, Reduced(e.b.add(exponent.n, offset), exponent.p))
    back = e.b.select(negative, e.const(x.type, 2.0**-_LIFT), e.const(x.type, 1.0))
    t = e.b.fmul(lifted, back)
    more = e.b.fadd(t, two)
    y = e.b.fdiv(e.b.fmul(lifted, more), e.fma(t, more, two))
    y = e.b.fmul(e.b.fmul(low, y), back)
    return e.b.select(e.b.fcmp_ordered(">", x, e.const(x.type, end)), x, y)


def tanh(e: Emitter, x: Value) -> Value:
    """With |x| = n ln2 / 2 + r, s = 2^n and t = tanh r, the sum of two angles:
    (s - 1 + (s + 1) t) / (s + 1 + (s - 1) t). It is t itself for n = 0."""
    width, one = bits_of(x.type), e.const(x.type, 1.0)
    size = at_most(e, absolute(e, x), 20.0)
    # n = 2 begins where the result is 1/2, so that its errors count less
    whole, n = nearest(e, e.b.fsub(size, e.const(x.type, 0.0295)), 2 / math.log(2))
    r = e.fma(whole, e.const(x.type, -LN2_HIGH[width] / 2), size)
    r = e.fma(whole, e.const(x.type, -LN2_LOW[width] / 2), r)
    z = e.b.fmul(r, r)
    t = e.fma(e.b.fmul(r, z), polynomial(e, z, _TANH[width]), r)
    s = power_of_two(e, n, x.type)
    less, more = e.b.fsub(s, one), e.b.fadd(s, one)
    # near 1 its distance from 1 has the smaller error
    near = e.b.fcmp_ordered(">", size, e.const(x.type, 0.9))
    rest = e.fma(t, e.const(x.type, -2.0), e.const(x.type, 2.0))
    y = e.b.fdiv(e.b.select(near, rest, e.fma(more, t, less)), e.fma(less, t, more))
    return copysign(e, e.b.select(near, e.b.fsub(one, y), y), x)


def _hyperbolic(e: Emitter, x: Value, odd: bool) -> Value:
    """(e^x -+ e^-x) / 2 for x >= 0: with a = 2^n, b = 2^-n, q = e^-r - 1, a -+ b + (a p -+ b q)."""
    one = e.const(x.type, 1.0)
    reduced = reduce(e, at_most(e, x, 710.7))
    q = e.b.fdiv(e.b.fneg(reduced.p), e.b.fadd(reduced.p, one))
    # a quarter of either, as 2^1024 is no number; b matters only while it is not far below a
    two = e.const(reduced.n.type, 2)
    a = power_of_two(e, e.b.sub(reduced.n, two), x.type)
    counted = nearest(e, at_most(e, x, 40.0), 1 / math.log(2))[1]
    b = power_of_two(e, e.b.sub(e.b.neg(counted), two), x.type)
    b = e.b.fneg(b) if odd else b
    y = e.b.fadd(e.b.fadd(a, b), e.fma(a, reduced.p, e.b.fmul(b, q)))
    return e.b.fadd(y, y)


@in_f64
def sinh(e: Emitter, x: Value) -> Value:
    """Hyperbolic sine."""
    return copysign(e, _hyperbolic(e, absolute(e, x), True), x)


@in_f64
def cosh(e: Emitter, x: Value) -> Value:
    """Hyperbolic cosine."""
    return _hyperbolic(e, absolute(e, x), False)
