"""The logarithm and what is made of it. Reduction: x = 2^k (1 + f) with 1 + f near 1."""

from __future__ import annotations

import math

from emu.cpu.tensor.emit import F64, Emitter, Value, bits_of, like
from emu.cpu.tensor.functions.exponential import exp
from emu.cpu.tensor.functions.words import (
    BIAS,
    LN2_HIGH,
    LN2_LOW,
    MANTISSA,
    absolute,
    at_least,
    copysign,
    in_f64,
    integers,
    is_nan,
    polynomial,
)

# (log(1+f) - f + f^2/2) / f^3 for sqrt(1/2) <= 1+f <= sqrt(2)
_LOG32 = (0.3333333328083783, -0.24999990267338093, 0.20000010173610624, -0.16668002418846226,
          0.14286517203920812, -0.12450713250826549, 0.11037908419106257, -0.10646590261757502,
          0.10530209926122834, -0.06199653360998712)  # fmt: skip
# (log((1+s)/(1-s)) - 2s) / s^3 by powers of s^2: |s| <= (sqrt(2)-1)/(sqrt(2)+1), and |s| <= 1/3
_LOG64 = (0.6666666666666734, 0.3999999999941519, 0.28571428742292265, 0.22222198580292418,
          0.18183564117145937, 0.1531405166784792, 0.1479597955878155)  # fmt: skip
_WIDE = {
    32: (0.6666641326256326, 0.40021694769204735, 0.27999142974250874, 0.2802472952764054),
    64: (0.6666666666666667, 0.39999999999993974, 0.2857142857251107, 0.2222222212538641,
         0.181818232067989, 0.15384451822167464, 0.1333680780498975, 0.11715927784671039,
         0.10972729664343277, 0.06993595026469614, 0.1646875767697419),
}  # fmt: skip
_FAR = 2.0**60
"""From here on 1 is nothing beside x, in f64."""


def _split(e: Emitter, x: Value) -> tuple[Value, Value]:
    """(k, f) with x = 2^k (1 + f) and 1 + f near 1; for positive finite x."""
    width = bits_of(x.type)
    tiny = e.b.fcmp_ordered("<", x, e.const(x.type, 2.0 ** (2 - BIAS[width])))
    scaled = e.b.select(tiny, e.b.fmul(x, e.const(x.type, 2.0**54)), x)
    bits = e.b.bitcast(scaled, integers(x))
    root = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}[width]  # the bits of sqrt(1/2)
    above = e.b.sub(bits, e.const(bits.type, root))
    k = e.b.ashr(above, e.const(bits.type, MANTISSA[width]))
    m = e.b.bitcast(e.b.sub(bits, e.b.shl(k, e.const(bits.type, MANTISSA[width]))), x.type)
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
    low = e.b.fmul(k, e.const(x.type, LN2_LOW[width]))
    if width == 32:
        cube = e.b.fmul(e.b.fmul(f, f), f)
        tail = e.fma(cube, polynomial(e, f, _LOG32), low)
        y = e.b.fadd(f, e.b.fsub(tail, half_square))
    else:  # with s = f / (2 + f), and 2 s = f - s f exactly: f - (f^2/2 - (s (f^2/2 + R) + low))
        s = e.b.fdiv(f, e.b.fadd(f, e.const(x.type, 2.0)))
        z = e.b.fmul(s, s)
        r = e.b.fmul(z, polynomial(e, z, _LOG64))
        tail = e.fma(s, e.b.fadd(half_square, r), low)
        y = e.b.fsub(f, e.b.fsub(half_square, tail))
    return _log_specials(e, x, e.fma(k, e.const(x.type, LN2_HIGH[width]), y))


def log1p(e: Emitter, x: Value) -> Value:
    """log(1 + x), corrected for what 1 + x loses."""
    one = e.const(x.type, 1.0)
    u = e.b.fadd(x, one)
    lost = e.b.fdiv(e.b.fsub(x, e.b.fsub(u, one)), u)
    y = log(e, u)
    y = e.b.select(e.b.fcmp_ordered("<", absolute(e, y), e.const(x.type, math.inf)),
                   e.b.fadd(y, lost), y)  # fmt: skip
    return e.b.select(e.b.fcmp_ordered("==", u, one), x, y)


def softplus(e: Emitter, x: Value) -> Value:
    """log(1 + e^x) = max(x, 0) + log(1 + t) with t = e^-|x|, the latter by s = t / (2 + t)."""
    t = exp(e, e.b.fneg(absolute(e, x)))
    s = e.b.fdiv(t, e.b.fadd(t, e.const(x.type, 2.0)))
    z = e.b.fmul(s, s)
    y = e.fma(e.b.fmul(s, z), polynomial(e, z, _WIDE[bits_of(x.type)]), e.b.fadd(s, s))
    return e.b.fadd(at_least(e, x, 0.0), y)


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
    cubic = e.b.fmul(e.b.fmul(z, s), polynomial(e, z, _LOG64))
    high = e.b.fmul(k, e.const(x.type, LN2_HIGH[64]))
    total = e.b.fadd(high, e.b.fadd(s, s))  # exact enough: the larger first
    lost = e.b.fsub(e.b.fadd(s, s), e.b.fsub(total, high))
    low = e.fma(k, e.const(x.type, LN2_LOW[64]), e.b.fadd(s_low, s_low))
    low = e.b.fadd(lost, e.b.fadd(low, cubic))
    head = e.b.fadd(total, low)
    return head, e.b.fsub(low, e.b.fsub(head, total))


def _magnitude(e: Emitter, size: Value, y: Value) -> Value:
    """size^y for size >= 0, but for 1 to an infinite power and anything to the power 0. For f64 the
    logarithm has more bits than the format, for f32 that of f64 has enough."""
    if bits_of(size.type) == 32:
        wide = like(size.type, F64)
        product = e.b.fmul(e.b.fpext(y, wide), log(e, e.b.fpext(size, wide)))
        return e.b.fptrunc(exp(e, product), size.type)
    high, low = _log_pair(e, size)
    high = _log_specials(e, size, high)
    product = e.b.fmul(y, high)
    rest = e.fma(y, low, e.fma(y, high, e.b.fneg(product)))
    infinity = e.const(size.type, math.inf)
    finite = e.b.fcmp_ordered("<", absolute(e, product), infinity)
    finite = e.b.and_(finite, e.b.fcmp_ordered("==", rest, rest))
    rest = e.b.select(finite, rest, e.const(size.type, 0.0))
    magnitude = exp(e, product)
    correctable = e.b.fcmp_ordered("<", magnitude, infinity)
    return e.b.select(correctable, e.fma(magnitude, rest, magnitude), magnitude)


def power(e: Emitter, x: Value, y: Value) -> Value:
    """x^y with pow()'s special cases."""
    zero, one, infinity = (e.const(x.type, v) for v in (0.0, 1.0, math.inf))
    size = absolute(e, x)
    result = _magnitude(e, size, y)
    whole = e.b.fcmp_ordered("==", e.intrinsic("llvm.floor", y.type, y), y)
    halved = e.b.fmul(y, e.const(y.type, 0.5))
    even = e.b.fcmp_ordered("==", e.intrinsic("llvm.floor", y.type, halved), halved)
    bits = e.b.bitcast(x, integers(x))
    sign_bit = e.b.icmp_signed("<", bits, e.const(bits.type, 0))
    odd = e.b.and_(whole, e.b.not_(even))
    result = e.b.select(e.b.and_(sign_bit, odd), e.b.fneg(result), result)
    imaginary = e.b.and_(
        e.b.and_(e.b.fcmp_ordered("<", x, zero), e.b.fcmp_ordered("<", size, infinity)),
        e.b.not_(e.b.or_(whole, is_nan(e, y))),
    )
    result = e.b.select(imaginary, e.const(x.type, math.nan), result)
    both_infinite = e.b.and_(
        e.b.fcmp_ordered("==", size, one), e.b.fcmp_ordered("==", absolute(e, y), infinity)
    )
    certain = e.b.or_(e.b.fcmp_ordered("==", x, one), e.b.fcmp_ordered("==", y, zero))
    return e.b.select(e.b.or_(certain, both_infinite), one, result)


@in_f64
def asinh(e: Emitter, x: Value) -> Value:
    """log(|x| + sqrt(x^2 + 1)) as log1p, with the sign of x."""
    one, size = e.const(x.type, 1.0), absolute(e, x)
    square = e.b.fmul(size, size)
    root = e.intrinsic("llvm.sqrt", x.type, e.b.fadd(square, one))
    near = e.b.fadd(size, e.b.fdiv(square, e.b.fadd(root, one)))
    return copysign(e, _log1p_or_far(e, size, near), x)


@in_f64
def acosh(e: Emitter, x: Value) -> Value:
    """log(x + sqrt(x^2 - 1)) as log1p; NaN below 1."""
    above = e.b.fsub(x, e.const(x.type, 1.0))
    square = e.fma(above, above, e.b.fadd(above, above))
    near = e.b.fadd(above, e.intrinsic("llvm.sqrt", x.type, square))
    below = e.b.fcmp_ordered("<", above, e.const(x.type, 0.0))
    return e.b.select(below, e.const(x.type, math.nan), _log1p_or_far(e, x, near))


def _log1p_or_far(e: Emitter, x: Value, near: Value) -> Value:
    """log1p(near), or log(2 x) where x is so large that this is the same."""
    far = e.b.fcmp_ordered(">", x, e.const(x.type, _FAR))
    y = log1p(e, e.b.select(far, x, near))
    return e.b.select(far, e.b.fadd(y, e.const(x.type, math.log(2))), y)


@in_f64
def atanh(e: Emitter, x: Value) -> Value:
    """log((1 + |x|) / (1 - |x|)) / 2 as log1p, with the sign of x; NaN beyond 1."""
    size = absolute(e, x)
    ratio = e.b.fdiv(e.b.fadd(size, size), e.b.fsub(e.const(x.type, 1.0), size))
    return copysign(e, e.b.fmul(log1p(e, ratio), e.const(x.type, 0.5)), x)
