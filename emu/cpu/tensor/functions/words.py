"""What the functions have in common: polynomials, comparisons with NaN, powers of two, f64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emu.cpu.tensor.emit import F32, F64, I32, I64, Emitter, Type, Value, bits_of, like

LN2_HIGH = {32: 0.693145751953125, 64: 0.6931471803691238}
"""ln 2 in two parts, the first short enough for its product with an exponent to be exact."""
LN2_LOW = {32: 1.4286068203094172e-06, 64: 1.9082149292705877e-10}
MANTISSA = {32: 23, 64: 52}
BIAS = {32: 127, 64: 1023}


def polynomial(e: Emitter, x: Value, coefficients: Sequence[float]) -> Value:
    """By Horner's rule; the lowest power comes first."""
    result = e.const(x.type, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = e.fma(result, x, e.const(x.type, c))
    return result


def paired(e: Emitter, x: Value, square: Value, coefficients: Sequence[float]) -> Value:
    """The same polynomial in half the time, if the square of x is there: Horner's rule over pairs
    of terms, which do not wait for each other."""
    terms = [
        e.fma(x, e.const(x.type, high), e.const(x.type, low))
        for low, high in zip(coefficients[::2], coefficients[1::2], strict=False)
    ]
    if len(coefficients) % 2:
        terms.append(e.const(x.type, coefficients[-1]))
    result = terms.pop()
    while terms:
        result = e.fma(result, square, terms.pop())
    return result


def integers(x: Value) -> Type:
    """The integers of the width of `x`."""
    return like(x.type, I32 if bits_of(x.type) == 32 else I64)


def absolute(e: Emitter, x: Value) -> Value:
    """|x|."""
    return e.intrinsic("llvm.fabs", x.type, x)


def copysign(e: Emitter, size: Value, sign: Value) -> Value:
    """The magnitude of one with the sign of the other."""
    return e.intrinsic("llvm.copysign", size.type, size, sign)


def at_most(e: Emitter, x: Value, limit: float) -> Value:
    """min(x, limit); NaN stays NaN (one instruction on x86, unlike llvm.minimum)."""
    bound = e.const(x.type, limit)
    return e.b.select(e.b.fcmp_ordered("<", bound, x), bound, x)


def at_least(e: Emitter, x: Value, limit: float) -> Value:
    """max(x, limit); NaN stays NaN."""
    bound = e.const(x.type, limit)
    return e.b.select(e.b.fcmp_ordered(">", bound, x), bound, x)


def is_nan(e: Emitter, x: Value) -> Value:
    """Whether x is not a number."""
    return e.b.fcmp_unordered("uno", x, x)


def nearest(e: Emitter, x: Value, factor: float) -> tuple[Value, Value]:
    """(w, n): x * factor rounded to a whole number, as a float and in the low bits of an integer.

    Adding 1.5 * 2^mantissa leaves no room for a fraction; the sum's low bits are the number.
    """
    shift = e.const(x.type, 1.5 * 2 ** MANTISSA[bits_of(x.type)])
    moved = e.fma(x, e.const(x.type, factor), shift)
    return e.b.fsub(moved, shift), e.b.bitcast(moved, integers(x))


def power_of_two(e: Emitter, n: Value, type_: Type) -> Value:
    """2^n for n within the exponent's range; bits of n above the exponent's do not matter."""
    width = bits_of(type_)
    one = e.const(n.type, BIAS[width] << MANTISSA[width])
    return e.b.bitcast(e.b.add(e.b.shl(n, e.const(n.type, MANTISSA[width])), one), type_)


def in_f64(function: Callable[[Emitter, Value], Value]) -> Callable[[Emitter, Value], Value]:
    """A function written for f64, for both formats: f32 is widened, and the result rounded."""

    def both(e: Emitter, x: Value) -> Value:
        if bits_of(x.type) == 64:
            return function(e, x)
        return e.b.fptrunc(function(e, e.b.fpext(x, like(x.type, F64))), like(x.type, F32))

    both.__doc__ = function.__doc__
    return both
