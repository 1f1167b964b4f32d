"""Sine, cosine, tangent and their inverses, for arguments of any size.

An angle is reduced by multiples of π/2, in three parts with fused multiply-adds. That is exact
enough up to a limit; the rare lanes beyond it take a branch: one by one, they are multiplied by the
bits of 2/π that matter for them, as an integer of 192 bits (M. Payne, R. Hanek, 1983).
"""

from __future__ import annotations

import math

from llvmlite import ir

from emu.cpu.tensor.emit import (
    F64,
    I1,
    I8,
    I32,
    I64,
    Emitter,
    Value,
    bits_of,
    lanes_of,
    like,
    mangled,
)
from emu.cpu.tensor.functions.words import (
    absolute,
    copysign,
    in_f64,
    integers,
    nearest,
    polynomial,
)

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
# (asin(s) - s) / s^3 by powers of s^2, |s| <= 1/2; (atan(s) - s) / s^3, |s| <= tan(pi/8)
_ASIN = (0.16666666666666763, 0.07499999999970096, 0.044642857175288715, 0.030381942675157203,
         0.022372215909208827, 0.01735159544397093, 0.013981019162975504, 0.011397288310107452,
         0.01078934550564592, 0.0036721010914973905, 0.021790833057254284,
         -0.021116957749083228, 0.03270229660674034)  # fmt: skip
_ATAN = (-0.3333333333333333, 0.19999999999999887, -0.14285714285695725, 0.11111111109586749,
         -0.09090909016952342, 0.07692305381657763, -0.06666617748137336, 0.05881630050107254,
         -0.052555928218132396, 0.04705752854649565, -0.04055611173966545, 0.02962152088147021,
         -0.012988902062874256)  # fmt: skip

_PI_HALVES = {
    32: (1.57079637050628662109375, -4.37113900018624283e-8, -1.71512449152844e-15),
    64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33),
}
"""π/2 as a sum of three numbers of the format."""
_PI_LOW = 1.2246467991473532e-16
_LIMIT = {32: 2.0**16, 64: 2.0**30}
_FRACTION, _WINDOW = 1200, 192
_TABLE = 160
"""Bytes of 2/π: `_FRACTION` bits behind the point, and zeros that a window may reach."""


def _reduce(e: Emitter, x: Value) -> tuple[Value, Value]:
    """(n, r) with x = n π/2 + r and |r| <= π/4; only the last two bits of n are meant."""
    width = bits_of(x.type)
    whole, n = nearest(e, x, 2 / math.pi)
    r = x
    for part in _PI_HALVES[width]:
        r = e.fma(whole, e.const(x.type, -part), r)
    size = absolute(e, x)
    far = e.b.and_(
        e.b.fcmp_ordered(">=", size, e.const(x.type, _LIMIT[width])),
        e.b.fcmp_ordered("<", size, e.const(x.type, math.inf)),
    )
    lanes = lanes_of(x.type)
    some = far
    if lanes > 1:
        some = e.intrinsic(f"llvm.vector.reduce.or.{mangled(far.type)}", I1, far, suffix=False)
    with e.branch(some, [n, r]) as reduced:
        if lanes == 1:
            reduced.next(*_reduce_far(e, x))
        else:
            with e.loop(0, e.const(I64, lanes), carry=[n, r]) as lane:
                with e.branch(e.b.extract_element(far, lane.index), lane.values) as one:
                    exact = _reduce_far(e, e.b.extract_element(x, lane.index))
                    one.next(*(e.b.insert_element(old, new, lane.index)
                               for old, new in zip(lane.values, exact, strict=True)))  # fmt: skip
                lane.next(*one.values)
            reduced.next(*lane.values)
    return reduced.values[0], reduced.values[1]


def _reduce_far(e: Emitter, x: Value) -> tuple[Value, Value]:
    """As `_reduce`, for one large number m 2^k: m times a window of the bits of 2/π."""
    wide = ir.IntType(_WINDOW)
    value = e.b.fpext(x, F64) if bits_of(x.type) == 32 else x
    bits = e.b.bitcast(absolute(e, value), I64)
    m = e.b.or_(e.b.and_(bits, e.const(I64, (1 << 52) - 1)), e.const(I64, 1 << 52))
    k = e.b.sub(e.b.lshr(bits, e.const(I64, 52)), e.const(I64, 1075))
    fraction = e.b.sub(e.const(I64, _FRACTION), k)
    skipped = e.b.lshr(e.b.sub(fraction, e.const(I64, _WINDOW - 9)), e.const(I64, 3))
    window = e.b.load(e.offset(_two_over_pi(e), skipped), typ=wide, align=1)
    product = e.b.mul(window, e.b.zext(m, wide))
    kept = e.b.sub(fraction, e.b.shl(skipped, e.const(I64, 3)))
    up = e.b.sub(e.const(I64, _WINDOW - 2), kept)  # the point goes behind the two highest bits
    turns = e.b.shl(product, e.b.zext(up, wide))
    half = ir.Constant(wide, 1 << (_WINDOW - 3))
    n = e.b.trunc(e.b.lshr(e.b.add(turns, half), ir.Constant(wide, _WINDOW - 2)), I64)
    rest = e.b.shl(turns, ir.Constant(wide, 2))  # signed: what rounding n left
    high = e.b.trunc(e.b.ashr(rest, ir.Constant(wide, 128)), I64)
    low = e.b.trunc(e.b.lshr(rest, ir.Constant(wide, 64)), I64)
    turn = e.b.fadd(
        e.b.fmul(e.b.sitofp(high, F64), e.const(F64, 2.0**-64)),
        e.b.fmul(e.b.uitofp(low, F64), e.const(F64, 2.0**-128)),
    )
    r = e.b.fmul(turn, e.const(F64, math.pi / 2))
    negative = e.b.fcmp_ordered("<", value, e.const(F64, 0.0))
    n, r = e.b.select(negative, e.b.neg(n), n), e.b.select(negative, e.b.fneg(r), r)
    if bits_of(x.type) == 32:
        n, r = e.b.trunc(n, I32), e.b.fptrunc(r, x.type)
    return n, r


def _two_over_pi(e: Emitter) -> Value:
    """The bits of 2/π in memory, the last ones first."""
    name = "two_over_pi"
    if name not in e.module.globals:
        type_ = ir.ArrayType(I8, _TABLE)
        table = ir.GlobalVariable(e.module, type_, name)
        table.linkage, table.global_constant = "internal", True
        table.initializer = ir.Constant(
            type_, bytearray(_two_over_pi_bits().to_bytes(_TABLE, "little"))
        )
    return e.module.globals[name]


def _two_over_pi_bits() -> int:
    """floor(2/π 2^_FRACTION), π by Machin's formula in integers."""
    one = 1 << (_FRACTION + 64)

    def inverse_tangent(n: int) -> int:
        term = total = one // n
        for k in range(1, _FRACTION):
            term //= -n * n
            total += term // (2 * k + 1)
        return total

    pi = 4 * (4 * inverse_tangent(5) - inverse_tangent(239))
    return (2 * one << _FRACTION) // pi


def _sine_and_cosine(e: Emitter, r: Value) -> tuple[Value, Value]:
    """Both, for |r| <= π/4."""
    width = bits_of(r.type)
    z = e.b.fmul(r, r)
    sin = e.fma(e.b.fmul(z, r), polynomial(e, z, _SIN[width]), r)
    half = e.b.fmul(z, e.const(r.type, 0.5))
    cos = e.b.fsub(e.const(r.type, 1.0), half)
    lost = e.b.fsub(e.b.fsub(e.const(r.type, 1.0), cos), half)
    cos = e.b.fadd(cos, e.fma(e.b.fmul(z, z), polynomial(e, z, _COS[width]), lost))
    return sin, cos


def sine(e: Emitter, x: Value, quarter: int) -> Value:
    """sin(x), or cos(x) with `quarter` = 1: a quarter turn further."""
    n, r = _reduce(e, x)
    if quarter:
        n = e.b.add(n, e.const(n.type, quarter))
    sin, cos = _sine_and_cosine(e, r)
    y = e.b.select(e.b.trunc(n, like(x.type, I1)), cos, sin)
    # bit 1 of n becomes the sign
    flip = e.b.shl(e.b.lshr(n, e.const(n.type, 1)), e.const(n.type, bits_of(x.type) - 1))
    y = e.b.bitcast(e.b.xor(e.b.bitcast(y, integers(x)), flip), x.type)
    if quarter:
        return y
    return e.b.select(e.b.fcmp_ordered("==", x, e.const(x.type, 0.0)), x, y)


@in_f64
def tangent(e: Emitter, x: Value) -> Value:
    """tan(x): sin/cos, or -cos/sin a quarter turn further."""
    n, r = _reduce(e, x)
    sin, cos = _sine_and_cosine(e, r)
    odd = e.b.trunc(n, like(x.type, I1))
    y = e.b.fdiv(e.b.select(odd, e.b.fneg(cos), sin), e.b.select(odd, sin, cos))
    return e.b.select(e.b.fcmp_ordered("==", x, e.const(x.type, 0.0)), x, y)


def _arc_sine_parts(e: Emitter, size: Value) -> tuple[Value, Value, Value]:
    """(large, s, asin(s) - s) where s is |x|, or sqrt((1 - |x|) / 2) for `large` |x| > 1/2."""
    large = e.b.fcmp_ordered(">", size, e.const(size.type, 0.5))
    rest = e.b.fmul(e.b.fsub(e.const(size.type, 1.0), size), e.const(size.type, 0.5))
    z = e.b.select(large, rest, e.b.fmul(size, size))
    s = e.b.select(large, e.intrinsic("llvm.sqrt", size.type, rest), size)
    return large, s, e.b.fmul(e.b.fmul(s, z), polynomial(e, z, _ASIN))


@in_f64
def asin(e: Emitter, x: Value) -> Value:
    """Arc sine; π/2 - 2 asin(s) for |x| > 1/2."""
    large, s, tail = _arc_sine_parts(e, absolute(e, x))
    quarter, low = e.const(x.type, math.pi / 2), e.const(x.type, _PI_LOW / 2)
    far = e.b.fsub(quarter, e.b.fsub(e.b.fadd(s, s), e.b.fsub(low, e.b.fadd(tail, tail))))
    return copysign(e, e.b.select(large, far, e.b.fadd(s, tail)), x)


@in_f64
def acos(e: Emitter, x: Value) -> Value:
    """Arc cosine: 2 asin(s) for x > 1/2, π less that for x < -1/2, π/2 - asin(x) between."""
    large, s, tail = _arc_sine_parts(e, absolute(e, x))
    near = e.b.fadd(s, tail)
    near = e.b.fadd(near, near)
    low = e.const(x.type, _PI_LOW)
    half_low = e.b.fmul(low, e.const(x.type, 0.5))
    far = e.b.fsub(e.const(x.type, math.pi), e.b.fsub(near, low))
    sine_ = copysign(e, s, x)
    between = e.b.fsub(half_low, copysign(e, tail, x))
    between = e.b.fsub(e.const(x.type, math.pi / 2), e.b.fsub(sine_, between))
    negative = e.b.fcmp_ordered("<", x, e.const(x.type, 0.0))
    return e.b.select(large, e.b.select(negative, far, near), between)


@in_f64
def atan(e: Emitter, x: Value) -> Value:
    """Arc tangent: of (t-1)/(t+1) after π/4, of -1/t after π/2, from where they are smaller."""
    size, one = absolute(e, x), e.const(x.type, 1.0)
    middle = e.b.fcmp_ordered(">", size, e.const(x.type, math.tan(math.pi / 8)))
    large = e.b.fcmp_ordered(">", size, e.const(x.type, math.tan(3 * math.pi / 8)))
    over = e.b.select(middle, e.b.fsub(size, one), size)
    over = e.b.select(large, e.const(x.type, -1.0), over)
    under = e.b.select(middle, e.b.fadd(size, one), one)
    under = e.b.select(large, size, under)
    t = e.b.fdiv(over, under)
    z = e.b.fmul(t, t)

    def offset(of_pi: float) -> Value:
        zero = e.const(x.type, 0.0)
        past = e.b.select(middle, e.const(x.type, of_pi / 4), zero)
        return e.b.select(large, e.const(x.type, of_pi / 2), past)

    tail = e.fma(e.b.fmul(t, z), polynomial(e, z, _ATAN), offset(_PI_LOW))
    return copysign(e, e.b.fadd(offset(math.pi), e.b.fadd(t, tail)), x)
