"""The error function and the normal distribution.

Far from zero both fall as e^(-x^2/2) does; what remains after taking that out is smooth.
"""

from __future__ import annotations

import math

from emu.cpu.tensor.emit import Emitter, Value, bits_of
from emu.cpu.tensor.functions.exponential import EXP, reduce, scaled
from emu.cpu.tensor.functions.words import (
    BIAS,
    LN2_HIGH,
    LN2_LOW,
    MANTISSA,
    absolute,
    at_most,
    copysign,
    integers,
    polynomial,
)

# erf(x) / x - 1 by powers of x^2, |x| <= 1
_ERF = {
    32: (0.1283791670615435, -0.3761263846802871, 0.11283782495236845, -0.026865430727670243,
         0.005221031807858023, -0.0008484080405535107, 0.00011265959025606609,
         -9.667044571486996e-06),
    64: (0.12837916709551257, -0.3761263890318375, 0.11283791670954879, -0.026866170645076792,
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

# Φ(-x) e^(x^2/2) for 0 <= x <= 14.5: a quotient of polynomials, the lower one's last coefficient 1,
# fitted as the rounded numbers they are
_TAIL32 = (
    (48.458900451660156, 42.47867202758789, 17.75881004333496, 3.9381051063537598,
     0.3989469110965729),
    (96.91780090332031, 162.28660583496094, 116.54422760009766, 45.5002326965332,
     9.871990203857422),
)  # fmt: skip
# (x + 6) Φ(-x) e^(x^2/2) for 0 <= x <= 39, by powers of (x-6)/(x+6)
_TAIL64 = (
    0.7773517718933622, -0.7010090295908655, 0.5689688918147839, -0.4139035857755904,
    0.26797424584163837, -0.1526802320644953, 0.0751719156693901, -0.030985315507541623,
    0.010029820634582621, -0.00213160521082253, 3.2870066249621805e-05, 0.00018136042138371865,
    -6.475223467885485e-05, 1.0755849582467508e-06, 6.7971308660735416e-06,
    -1.7996773663508624e-06, -4.3121618897970166e-07, 3.1028910502717815e-07,
    9.927786121856895e-09, -4.2963618897782844e-08, 7.0669575022464135e-12,
    4.724282142017171e-09, 6.945701473313503e-10,
)  # fmt: skip
_CENTRE64 = 6.0
_END = {32: 14.5, 64: 39.0}
"""From here on Φ(-x) is 0."""
_LIFT = 96
"""The tail is computed times 2^_LIFT, a normal number to the end."""


def erf(e: Emitter, x: Value) -> Value:
    """The error function: a polynomial below 1, 1 - e^(-x^2) erfcx(x) above."""
    end = {32: 4.0, 64: 6.1}[bits_of(x.type)]  # from where it rounds to 1
    size = absolute(e, x)
    small = e.fma(x, polynomial(e, e.b.fmul(x, x), _ERF[bits_of(x.type)]), x)
    v = at_most(e, size, end)
    two, one = e.const(x.type, 2.0), e.const(x.type, 1.0)
    t = e.b.fdiv(e.b.fsub(v, two), e.b.fadd(v, two))
    fall = scaled(e, reduce(e, e.b.fneg(e.b.fmul(v, v))))
    large = e.b.fsub(one, e.b.fmul(fall, polynomial(e, t, _ERFCX[bits_of(x.type)])))
    return e.b.select(e.b.fcmp_ordered("<", size, one), small, copysign(e, large, x))


def _fall(e: Emitter, size: Value) -> Value:
    """e^(-x^2/2) 2^_LIFT for x from 0 to _END.

    x^2 is never rounded by itself: it goes into the reduced argument s = x^2 + 2 n ln2 by a fused
    operation. e^(-s/2) has the coefficients of e^r, times powers of -1/2.
    """
    width, type_ = bits_of(size.type), size.type
    shift = e.const(type_, 1.5 * 2 ** MANTISSA[width] + BIAS[width] + _LIFT)
    scaled_ = e.b.fmul(size, e.const(type_, -0.5 / math.log(2)))
    moved = e.fma(scaled_, size, shift)
    whole = e.b.fsub(moved, shift)
    s = e.fma(size, size, e.b.fmul(whole, e.const(type_, 2 * LN2_HIGH[width])))
    s = e.fma(whole, e.const(type_, 2 * LN2_LOW[width]), s)
    series = (1.0, *EXP[width])
    q = polynomial(e, s, [c * (-0.5) ** (k + 1) for k, c in enumerate(series)])
    n = e.b.bitcast(moved, integers(size))  # its low bits are those of an exponent
    power = e.b.bitcast(e.b.shl(n, e.const(n.type, MANTISSA[width])), type_)
    return e.fma(e.b.fmul(power, s), q, power)


def _tail(e: Emitter, size: Value) -> tuple[Value, Value]:
    """Φ(-x) as a quotient, for x from 0 to _END; both parts are normal numbers to the end."""
    fall, lowered = _fall(e, size), 2.0**-_LIFT
    if bits_of(size.type) == 32:
        over = polynomial(e, size, [c * lowered for c in _TAIL32[0]])
        last, *rest = reversed(_TAIL32[1])
        under = e.b.fadd(size, e.const(size.type, last))
        for c in rest:
            under = e.fma(under, size, e.const(size.type, c))
        return e.b.fmul(fall, over), under
    centre = e.const(size.type, _CENTRE64)
    above = e.b.fadd(size, centre)
    over = polynomial(e, e.b.fdiv(e.b.fsub(size, centre), above), _TAIL64)
    return e.b.fmul(fall, over), e.b.fmul(above, e.const(size.type, 1 / lowered))


def ncdf(e: Emitter, x: Value) -> Value:
    """The normal distribution function Φ(x), relatively exact for negative x too."""
    tail = e.b.fdiv(*_tail(e, at_most(e, absolute(e, x), _END[bits_of(x.type)])))
    upper = e.b.fsub(e.const(x.type, 1.0), tail)
    return e.b.select(e.b.fcmp_ordered(">", x, e.const(x.type, 0.0)), upper, tail)


def gelu(e: Emitter, x: Value) -> Value:
    """x Φ(x), as max(x, 0) - |x| Φ(-|x|); -0 at minus infinity, the limit."""
    size = at_most(e, absolute(e, x), _END[bits_of(x.type)])
    over, under = _tail(e, size)
    zero = e.const(x.type, -0.0)
    positive = e.b.select(e.b.fcmp_ordered("<", x, zero), zero, x)
    return e.b.fsub(positive, e.b.fdiv(e.b.fmul(over, size), under))
