"""Powers and shifts of integers, and the exact remainder of floats."""

from __future__ import annotations

import math

from emu.cpu.tensor.emit import F32, F64, I1, I64, Emitter, Value, bits_of, lanes_of, like, mangled
from emu.cpu.tensor.functions.words import absolute, copysign

_STEP = 2.0**600


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


def shift(e: Emitter, x: Value, count: Value, *, left: bool, signed: bool) -> Value:
    """x shifted by `count` (unsigned); a count of the width or more leaves 0 or, of a signed number
    shifted right, its sign."""
    width = bits_of(x.type)
    beyond = e.b.icmp_unsigned(">=", count, e.const(x.type, width))
    if signed and not left:
        return e.b.ashr(x, e.b.select(beyond, e.const(x.type, width - 1), count))
    held = e.b.select(beyond, e.const(x.type, 0), count)
    moved = e.b.shl(x, held) if left else e.b.lshr(x, held)
    return e.b.select(beyond, e.const(x.type, 0), moved)


def remainder(e: Emitter, x: Value, y: Value) -> Value:
    """x - y trunc(x / y), exactly, with the sign of x (C's fmod).

    The rest of a rounded division is a number of the format (a loop takes what is left, 53 bits of
    the quotient at a time), and a rest of the wrong sign is one |y| away from the right one.
    """
    if bits_of(x.type) == 32:
        wide = like(x.type, F64)
        return e.b.fptrunc(remainder(e, e.b.fpext(x, wide), e.b.fpext(y, wide)), like(x.type, F32))
    divisor, infinity = absolute(e, y), e.const(x.type, math.inf)
    size, before = absolute(e, x), e.b.block
    head, body, after = (e.function.append_basic_block(n) for n in ("divide", "reduce", "rest"))
    e.b.branch(head)
    e.b.position_at_end(head)
    rest = e.b.phi(x.type)
    rest.add_incoming(size, before)
    left = e.b.fcmp_ordered(">=", absolute(e, rest), divisor)
    left = e.b.and_(left, e.b.fcmp_ordered("<", absolute(e, rest), infinity))
    left = e.b.and_(left, e.b.fcmp_ordered(">", divisor, e.const(x.type, 0.0)))
    some = left
    if lanes_of(x.type) > 1:
        some = e.intrinsic(f"llvm.vector.reduce.or.{mangled(left.type)}", I1, left, suffix=False)
    e.b.cbranch(some, body, after)
    e.b.position_at_end(body)
    unit = divisor
    for _ in range(2):  # where the quotient is beyond the format, by a multiple of y first
        huge = e.b.fcmp_ordered("==", absolute(e, e.b.fdiv(rest, unit)), infinity)
        unit = e.b.select(huge, e.b.fmul(unit, e.const(x.type, _STEP)), unit)
    quotient = e.intrinsic("llvm.trunc", x.type, e.b.fdiv(rest, unit))
    smaller = e.fma(e.b.fneg(quotient), unit, rest)
    rest.add_incoming(e.b.select(left, smaller, rest), e.b.block)
    e.b.branch(head)
    e.b.position_at_end(after)
    negative = e.b.fcmp_ordered("<", rest, e.const(x.type, 0.0))
    y_less = e.b.select(negative, e.b.fadd(rest, divisor), rest)
    bad = e.b.or_(
        e.b.fcmp_unordered("uno", x, y),
        e.b.or_(
            e.b.fcmp_ordered("==", absolute(e, x), infinity),
            e.b.fcmp_ordered("==", y, e.const(x.type, 0.0)),
        ),
    )
    return e.b.select(bad, e.const(x.type, math.nan), copysign(e, y_less, x))
