"""Exponential, logarithm, power, sine, tanh and erf as vector code, for f32 and f64.

Each is a polynomial over a reduced argument. The coefficients are Chebyshev fits made in 50 digits,
lowest power first; their relative error is far below the format's rounding. Reduction follows Cody
and Waite with fused multiply-adds. Errors are at most 2 units in the last place (tests measure
them); sine and cosine of f32 are reduced in f64 and stay exact to 1e8, those of f64 to 1e5.
Specials are as IEEE 754-2019 (9.2) says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from emu.cpu.tensor.emit import F64, I1, I32, I64, Emitter, Type, Value, bits_of, like

# (e^r - 1 - r) / r^2 for |r| <= ln(2)/2
_EXP = {
    32: (0.5000000013463886, 0.16666666681621095, 0.041666464944505696, 0.008333310927615311,
         0.0013933647862928863, 0.00019890988455544567),
    64: (0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326136, 0.001388888888888375,
         0.00019841269874815834, 2.480158732554432e-05, 2.7557255406285044e-06,
         2.7557273647451087e-07, 2.5105214474751413e-08, 2.0914685161418067e-09),
}  # fmt: skip
# (log(1+f) - f + f^2/2) / f^3 for sqrt(1/2) <= 1+f <= sqrt(2)
_LOG32 = (0.3333333328083783, -0.24999990267338093, 0.20000010173610624, -0.16668002418846226,
          0.14286517203920812, -0.12450713250826549, 0.11037908419106257, -0.10646590261757502,
          0.10530209926122834, -0.06199653360998712)  # fmt: skip
# (log(1+f) - 2s) / s^3 by powers of s^2, s = f / (2+f): fdlibm's e_log.c
_LOG64 = (6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
          2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
          1.479819860511658591e-01)  # fmt: skip
# (sin(x) - x) / x^3 and (cos(x) - 1 + x^2/2) / x^4 by powers of x^2, |x| <= pi/4
_SIN = {
    32: (-0.16666666663837051, 0.008333331867623304, -0.0001984008291000507,
         2.7249430185299884e-06),
    64: (-0.16666666666666666, 0.008333333333333331, -0.00019841269841265027,
         2.755731921930901e-06, -2.5052106221979607e-08, 1.6058529961120116e-10,
         -7.586599468827193e-13),
}  # fmt: skip
_COS = {
    32: (0.04166666666430598, -0.0013888887666102256, 2.4800597184466e-05,
         -2.7300545545861007e-07),
    64: (0.041666666666666664, -0.0013888888888888887, 2.4801587301584625e-05,
         -2.755731922138606e-07, 2.0876755785260474e-09, -1.1470459965869794e-11,
         4.7458176110072754e-14),
}  # fmt: skip
# erf(x) / x by powers of x^2, |x| <= 1
_ERF = {
    32: (1.1283791670615435, -0.3761263846802871, 0.11283782495236845, -0.026865430727670243,
         0.005221031807858023, -0.0008484080405535107, 0.00011265959025606609,
         -9.667044571486996e-06),
    64: (1.1283791670955126, -0.3761263890318375, 0.11283791670954879, -0.026866170645076792,
         0.0052239776248180145, -0.000854832698083379, 0.0001205533111164271,
         -1.4925595266831182e-05, 1.6461000484121368e-06, -1.6350312701054695e-07,
         1.4659775274047436e-08, -1.1372848856791674e-09, 5.957176147748911e-11),
}  # fmt: skip
# erfc(x) e^(x^2) by powers of (x-2)/(x+2), 1 <= x <= 4 and 6.1
_ERFCX = {
    32: (0.25539567625190335, -0.42718584761434303, 0.24165821109072444, -0.07897852327253349,
         0.0037321413513030097, 0.006994855413599958, -0.0008365899736486057,
         -0.0009441596340872735),
    64: (0.25539567631050575, -0.4271858474139584, 0.24165819424246648, -0.07897858101573173,
         0.0037328924043254176, 0.006997461739165674, -0.0008471432507770763,
         -0.0009819770252589815, 4.355559754246626e-05, 0.00017436114081030403,
         2.7525567054419376e-05, -2.7579630257483574e-05, -1.3968996095493882e-05,
         1.3916993310677514e-06, 3.7944202935439458e-06, 1.1774885828268988e-06,
         -5.442494801787353e-07, -4.1142847051692333e-07),
}  # fmt: skip

_LN2_HIGH = {32: 0.693145751953125, 64: 0.6931471803691238}
_LN2_LOW = {32: 1.4286068203094172e-06, 64: 1.9082149292705877e-10}
_EXP_RANGE = {32: (-105.0, 89.0), 64: (-746.0, 710.0)}
_MANTISSA = {32: 23, 64: 52}
_BIAS = {32: 127, 64: 1023}
_PI_HALVES = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
"""π/2 in three parts of 33 bits, so that their products with small integers are exact."""


def _polynomial(e: Emitter, x: Value, coefficients: Sequence[float]) -> Value:
    result = e.const(x.type, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = e.fma(result, x, e.const(x.type, c))
    return result


def _is_nan(e: Emitter, x: Value) -> Value:
    return e.b.fcmp_unordered("uno", x, x)


def _integers(x: Value) -> Type:
    return like(x.type, I32 if bits_of(x.type) == 32 else I64)


def _reduce_exp(e: Emitter, x: Value, low: float) -> tuple[Value, Value, Value]:
    """(n, r, e^r - 1) with x = n ln2 + r; x is held between `low` and where e^x overflows."""
    width = bits_of(x.type)
    clamped = e.intrinsic("llvm.maxnum", x.type, x, e.const(x.type, low))
    clamped = e.intrinsic("llvm.minnum", x.type, clamped, e.const(x.type, _EXP_RANGE[width][1]))
    whole = e.intrinsic("llvm.rint", x.type, e.b.fmul(clamped, e.const(x.type, 1 / math.log(2))))
    r = e.fma(whole, e.const(x.type, -_LN2_HIGH[width]), clamped)
    r = e.fma(whole, e.const(x.type, -_LN2_LOW[width]), r)
    p = e.fma(e.b.fmul(r, r), _polynomial(e, r, _EXP[width]), r)
    return e.b.fptosi(whole, _integers(x)), r, p


def _power_of_two(e: Emitter, n: Value, type_: Type) -> Value:
    """2^n for n within the exponent's range."""
    width = bits_of(type_)
    biased = e.b.add(n, e.const(n.type, _BIAS[width]))
    return e.b.bitcast(e.b.shl(biased, e.const(n.type, _MANTISSA[width])), type_)


def _scale(e: Emitter, x: Value, n: Value) -> Value:
    """x * 2^n, in two steps so that results below the normal numbers are right."""
    half = e.b.ashr(n, e.const(n.type, 1))
    x = e.b.fmul(x, _power_of_two(e, half, x.type))
    return e.b.fmul(x, _power_of_two(e, e.b.sub(n, half), x.type))


def exp(e: Emitter, x: Value) -> Value:
    """e^x."""
    n, _, p = _reduce_exp(e, x, _EXP_RANGE[bits_of(x.type)][0])
    y = _scale(e, e.b.fadd(p, e.const(x.type, 1.0)), n)
    return e.b.select(_is_nan(e, x), x, y)


def expm1(e: Emitter, x: Value) -> Value:
    """e^x - 1 without cancellation: 2 (2^(n-1) p + (2^(n-1) - 1/2))."""
    n, _, p = _reduce_exp(e, x, -40.0)
    s = _power_of_two(e, e.b.sub(n, e.const(n.type, 1)), x.type)
    y = e.fma(s, p, e.b.fsub(s, e.const(x.type, 0.5)))
    y = e.b.fadd(y, y)
    return e.b.select(e.b.fcmp_unordered("ueq", x, e.const(x.type, 0.0)), x, y)


def tanh(e: Emitter, x: Value) -> Value:
    """m / (m + 2) with m = e^2|x| - 1; 1 from where the format knows no difference."""
    size = e.intrinsic("llvm.fabs", x.type, x)
    size = e.intrinsic("llvm.minnum", x.type, size, e.const(x.type, 20.0))
    m = expm1(e, e.b.fadd(size, size))
    y = e.b.fdiv(m, e.b.fadd(m, e.const(x.type, 2.0)))
    y = e.intrinsic("llvm.copysign", x.type, y, x)
    return e.b.select(_is_nan(e, x), x, y)


def _split(e: Emitter, x: Value) -> tuple[Value, Value]:
    """(k, f) with x = 2^k (1 + f) and 1 + f near 1; for positive finite x."""
    width = bits_of(x.type)
    tiny = e.b.fcmp_ordered("<", x, e.const(x.type, 2.0 ** (2 - _BIAS[width])))
    scaled = e.b.select(tiny, e.b.fmul(x, e.const(x.type, 2.0**54)), x)
    bits = e.b.bitcast(scaled, _integers(x))
    root = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}[width]  # the bits of sqrt(1/2)
    above = e.b.sub(bits, e.const(bits.type, root))
    k = e.b.ashr(above, e.const(bits.type, _MANTISSA[width]))
    m = e.b.bitcast(e.b.sub(bits, e.b.shl(k, e.const(bits.type, _MANTISSA[width]))), x.type)
    k = e.b.sub(k, e.b.select(tiny, e.const(k.type, 54), e.const(k.type, 0)))
    return e.b.sitofp(k, x.type), e.b.fsub(m, e.const(x.type, 1.0))


def _log_specials(e: Emitter, x: Value, y: Value) -> Value:
    zero = e.const(x.type, 0.0)
    y = e.b.select(e.b.fcmp_ordered("==", x, e.const(x.type, math.inf)), x, y)
    y = e.b.select(e.b.fcmp_ordered("==", x, zero), e.const(x.type, -math.inf), y)
    return e.b.select(e.b.fcmp_unordered("ult", x, zero), e.const(x.type, math.nan), y)


def log(e: Emitter, x: Value) -> Value:
    """The natural logarithm."""
    width = bits_of(x.type)
    k, f = _split(e, x)
    half_square = e.b.fmul(e.b.fmul(f, f), e.const(x.type, 0.5))
    low = e.b.fmul(k, e.const(x.type, _LN2_LOW[width]))
    if width == 32:
        cube = e.b.fmul(e.b.fmul(f, f), f)
        tail = e.fma(cube, _polynomial(e, f, _LOG32), low)
        y = e.b.fadd(f, e.b.fsub(tail, half_square))
    else:  # f - (f^2/2 - (s (f^2/2 + R) + low)), as fdlibm orders it
        s = e.b.fdiv(f, e.b.fadd(f, e.const(x.type, 2.0)))
        z = e.b.fmul(s, s)
        r = e.b.fmul(z, _polynomial(e, z, _LOG64))
        tail = e.fma(s, e.b.fadd(half_square, r), low)
        y = e.b.fsub(f, e.b.fsub(half_square, tail))
    return _log_specials(e, x, e.fma(k, e.const(x.type, _LN2_HIGH[width]), y))


def log1p(e: Emitter, x: Value) -> Value:
    """log(1 + x), corrected for what 1 + x loses."""
    u = e.b.fadd(x, e.const(x.type, 1.0))
    lost = e.b.fsub(x, e.b.fsub(u, e.const(x.type, 1.0)))
    y = e.b.fadd(log(e, u), e.b.fdiv(lost, u))
    infinite = e.b.fcmp_ordered("==", u, e.const(x.type, math.inf))
    return e.b.select(infinite, u, y)


def sine(e: Emitter, x: Value, quarter: int) -> Value:
    """sin(x), or cos(x) with `quarter` = 1: a quarter turn further."""
    width = bits_of(x.type)
    wide = e.b.fpext(x, like(x.type, F64)) if width == 32 else x
    turns = e.intrinsic("llvm.rint", wide.type, e.b.fmul(wide, e.const(wide.type, 2 / math.pi)))
    r = wide
    for part in _PI_HALVES:
        r = e.fma(turns, e.const(wide.type, -part), r)
    whole = e.intrinsic("llvm.maxnum", wide.type, turns, e.const(wide.type, -(2.0**62)))
    whole = e.intrinsic("llvm.minnum", wide.type, whole, e.const(wide.type, 2.0**62))
    n = e.b.add(e.b.fptosi(whole, like(x.type, I64)), e.const(like(x.type, I64), quarter))
    if width == 32:
        r = e.b.fptrunc(r, x.type)
    z = e.b.fmul(r, r)
    sin = e.fma(e.b.fmul(z, r), _polynomial(e, z, _SIN[width]), r)
    cos = e.fma(z, e.const(x.type, -0.5), e.const(x.type, 1.0))
    cos = e.fma(e.b.fmul(z, z), _polynomial(e, z, _COS[width]), cos)
    odd = e.b.trunc(n, like(x.type, I1))
    y = e.b.select(odd, cos, sin)
    negative = e.b.trunc(e.b.lshr(n, e.const(n.type, 1)), like(x.type, I1))
    return e.b.select(negative, e.b.fneg(y), y)


def erf(e: Emitter, x: Value) -> Value:
    """The error function: a polynomial below 1, 1 - e^(-x^2) erfcx(x) above."""
    width = bits_of(x.type)
    end = {32: 4.0, 64: 6.1}[width]  # from where it rounds to 1
    size = e.intrinsic("llvm.fabs", x.type, x)
    small = e.b.fmul(x, _polynomial(e, e.b.fmul(x, x), _ERF[width]))
    v = e.intrinsic("llvm.minnum", x.type, size, e.const(x.type, end))
    two = e.const(x.type, 2.0)
    t = e.b.fdiv(e.b.fsub(v, two), e.b.fadd(v, two))
    tail = e.b.fmul(exp(e, e.b.fneg(e.b.fmul(v, v))), _polynomial(e, t, _ERFCX[width]))
    large = e.b.fsub(e.const(x.type, 1.0), tail)
    large = e.intrinsic("llvm.copysign", x.type, large, x)
    return e.b.select(
        e.b.fcmp_unordered("uge", size, e.const(x.type, 1.0)), _keep_nan(e, x, large), small
    )


def _keep_nan(e: Emitter, x: Value, y: Value) -> Value:
    return e.b.select(_is_nan(e, x), x, y)


def _log_pair(e: Emitter, x: Value) -> tuple[Value, Value]:
    """log(x) as a sum of two f64, about 60 bits, for positive finite x."""
    k, f = _split(e, x)
    two = e.const(x.type, 2.0)
    divisor = e.b.fadd(f, two)
    divisor_low = e.b.fsub(f, e.b.fsub(divisor, two))
    s = e.b.fdiv(f, divisor)
    rest = e.fma(e.b.fneg(s), divisor, f)
    s_low = e.b.fdiv(e.fma(e.b.fneg(s), divisor_low, rest), divisor)
    z = e.b.fmul(s, s)
    cubic = e.b.fmul(e.b.fmul(z, s), _polynomial(e, z, _LOG64))
    high = e.b.fmul(k, e.const(x.type, _LN2_HIGH[64]))
    total = e.b.fadd(high, e.b.fadd(s, s))  # exact enough: the larger first
    lost = e.b.fsub(e.b.fadd(s, s), e.b.fsub(total, high))
    low = e.fma(k, e.const(x.type, _LN2_LOW[64]), e.b.fadd(s_low, s_low))
    low = e.b.fadd(lost, e.b.fadd(low, cubic))
    head = e.b.fadd(total, low)
    return head, e.b.fsub(low, e.b.fsub(head, total))


def power(e: Emitter, x: Value, y: Value) -> Value:
    """x^y, in f64 for both formats, with pow()'s special cases."""
    if bits_of(x.type) == 32:
        wide = like(x.type, F64)
        return e.b.fptrunc(power(e, e.b.fpext(x, wide), e.b.fpext(y, wide)), x.type)
    zero, one, infinity = (e.const(x.type, v) for v in (0.0, 1.0, math.inf))
    size = e.intrinsic("llvm.fabs", x.type, x)
    high, low = _log_pair(e, size)
    high = _log_specials(e, size, high)
    product = e.b.fmul(y, high)
    rest = e.fma(y, low, e.fma(y, high, e.b.fneg(product)))
    finite = e.b.fcmp_ordered("<", e.intrinsic("llvm.fabs", x.type, product), infinity)
    rest = e.b.select(e.b.and_(finite, e.b.fcmp_ordered("==", rest, rest)), rest, zero)
    magnitude = exp(e, product)
    correctable = e.b.fcmp_ordered("<", magnitude, infinity)
    result = e.b.select(correctable, e.fma(magnitude, rest, magnitude), magnitude)
    whole = e.b.fcmp_ordered("==", e.intrinsic("llvm.floor", y.type, y), y)
    halved = e.b.fmul(y, e.const(y.type, 0.5))
    even = e.b.fcmp_ordered("==", e.intrinsic("llvm.floor", y.type, halved), halved)
    sign_bit = e.b.icmp_signed(
        "<", e.b.bitcast(x, like(x.type, I64)), e.const(like(x.type, I64), 0)
    )
    odd = e.b.and_(whole, e.b.not_(even))
    result = e.b.select(e.b.and_(sign_bit, odd), e.b.fneg(result), result)
    imaginary = e.b.and_(
        e.b.and_(e.b.fcmp_ordered("<", x, zero), e.b.fcmp_ordered("<", size, infinity)),
        e.b.not_(e.b.or_(whole, _is_nan(e, y))),
    )
    result = e.b.select(imaginary, e.const(x.type, math.nan), result)
    both_infinite = e.b.and_(
        e.b.fcmp_ordered("==", size, one),
        e.b.fcmp_ordered("==", e.intrinsic("llvm.fabs", y.type, y), infinity),
    )
    certain = e.b.or_(e.b.fcmp_ordered("==", x, one), e.b.fcmp_ordered("==", y, zero))
    return e.b.select(e.b.or_(certain, both_infinite), one, result)


def integer_power(e: Emitter, x: Value, y: Value, signed: bool) -> Value:
    """x^y by squaring, wrapping; a negative exponent gives the truncated real result."""
    type_, width = x.type, bits_of(x.type)
    zero, one = e.const(type_, 0), e.const(type_, 1)
    with e.loop(0, e.const(I64, width), carry=[one, x, y]) as bit:
        result, square, left = bit.values
        odd = e.b.icmp_unsigned("!=", e.b.and_(left, one), zero)
        bit.next(
            e.b.select(odd, e.b.mul(result, square), result),
            e.b.mul(square, square),
            e.b.lshr(left, one),
        )
    result = bit.values[0]
    if not signed:
        return result
    minus = e.const(type_, -1)
    unit = e.b.or_(e.b.icmp_signed("==", x, one), e.b.icmp_signed("==", x, minus))
    fraction = e.b.select(unit, result, zero)  # ±1 to a negative power: its parity decides
    fraction = e.b.select(e.b.icmp_signed("==", x, zero), minus, fraction)
    return e.b.select(e.b.icmp_signed("<", y, zero), fraction, result)
