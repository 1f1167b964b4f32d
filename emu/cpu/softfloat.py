"""IEEE 754 arithmetic on bit patterns, exact, with Python integers: the reference's reading of
`emu.isa.fpops`.

Every finite number is `±mantissa * 2**exponent` with an integer mantissa, so a result is first
computed without any error (a quotient or a root with one sticky bit below its last place) and then
rounded once, by `_round`. Functions take the rounding mode and the operands' bits and give the
result's bits and the flags raised. `OPERATIONS` has every name of `FP_OPS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isqrt
from typing import NamedTuple

from emu.isa.fpops import FP_OPS

RNE, RTZ, RDN, RUP, RMM = range(5)
NX, UF, OF, DZ, NV = 1, 2, 4, 8, 16

Result = tuple[int, int]


class Format(NamedTuple):
    """A binary interchange format: total width and bits of precision (hidden bit included)."""

    width: int
    precision: int

    @property
    def emax(self) -> int:
        """Largest exponent of a finite number; also the bias."""
        return int((1 << (self.width - self.precision - 1)) - 1)

    @property
    def infinity(self) -> int:
        """Bits of +infinity; greater magnitudes are NaNs."""
        return int((2 * self.emax + 1) << (self.precision - 1))

    @property
    def nan(self) -> int:
        """The canonical NaN."""
        return self.infinity | 1 << (self.precision - 2)

    @property
    def sign(self) -> int:
        """The sign bit."""
        return int(1 << (self.width - 1))


F32 = Format(32, 24)
F64 = Format(64, 53)


def _is_nan(f: Format, a: int) -> bool:
    return a & ~f.sign > f.infinity


def _is_signaling(f: Format, a: int) -> bool:
    return _is_nan(f, a) and not a >> (f.precision - 2) & 1


def _is_infinite(f: Format, a: int) -> bool:
    return a & ~f.sign == f.infinity


def _nan(f: Format, *operands: int) -> Result:
    """The canonical NaN; invalid if an operand signals."""
    return f.nan, NV if any(_is_signaling(f, a) for a in operands) else 0


def _split(f: Format, a: int) -> tuple[int, int, int]:
    """Sign, mantissa and exponent of a finite number."""
    fraction_bits = f.precision - 1
    mantissa = a & ((1 << fraction_bits) - 1)
    biased = (a & ~f.sign) >> fraction_bits
    if biased:
        mantissa |= 1 << fraction_bits
    return a >> (f.width - 1), mantissa, max(biased, 1) - f.emax - fraction_bits


def _rounded(mode: int, negative: int, mantissa: int, shift: int) -> tuple[int, bool]:
    """`mantissa / 2**shift` as an integer, and whether it was inexact."""
    if shift <= 0:
        return mantissa << -shift, False
    quotient, rest = mantissa >> shift, mantissa & ((1 << shift) - 1)
    half = 1 << (shift - 1)
    if mode == RNE:
        up = rest > half or (rest == half and quotient & 1 == 1)
    elif mode == RMM:
        up = rest >= half
    else:
        up = rest != 0 and mode == (RDN if negative else RUP)
    return quotient + up, rest != 0


def _overflow(f: Format, mode: int, negative: int) -> Result:
    """Infinity or the largest finite number, as the mode has it."""
    finite = mode == RTZ or mode == (RUP if negative else RDN)
    magnitude = f.infinity - 1 if finite else f.infinity
    return (f.sign if negative else 0) | magnitude, OF | NX


def _round(f: Format, mode: int, negative: int, mantissa: int, exponent: int) -> Result:
    """`±mantissa * 2**exponent` in the format. A zero keeps its sign."""
    sign = f.sign if negative else 0
    if mantissa == 0:
        return sign, 0
    emin = 1 - f.emax
    length = mantissa.bit_length()
    top = exponent + length - 1
    last = max(top, emin) - (f.precision - 1)  # exponent of the result's last place
    value, inexact = _rounded(mode, negative, mantissa, last - exponent)
    if value.bit_length() > f.precision:  # carried into a power of two
        value, last = value >> 1, last + 1
    if last + f.precision - 1 > f.emax:
        return _overflow(f, mode, negative)
    flags = NX if inexact else 0
    if inexact and top < emin:
        # Tiny means: below the smallest normal even when rounded with an unbounded exponent.
        free, _ = _rounded(mode, negative, mantissa, length - f.precision)
        if top + (free.bit_length() > f.precision) < emin:
            flags |= UF
    if value.bit_length() < f.precision:
        return sign | value, flags
    # The hidden bit adds one to the biased exponent in front of the fraction.
    return sign | (((last + f.precision - 2 + f.emax) << (f.precision - 1)) + value), flags


def _sum(f: Format, mode: int, x: tuple[int, int, int], y: tuple[int, int, int]) -> Result:
    """The sum of two finite numbers in parts."""
    exponent = min(x[2], y[2])
    total = 0
    for negative, mantissa, e in (x, y):
        total += (-mantissa if negative else mantissa) << (e - exponent)
    if total == 0:
        negative = x[0] & y[0] if x[0] == y[0] else int(mode == RDN)
        return (f.sign if negative else 0), 0
    return _round(f, mode, int(total < 0), abs(total), exponent)


def add(f: Format, mode: int, a: int, b: int) -> Result:
    """a + b."""
    if _is_nan(f, a) or _is_nan(f, b):
        return _nan(f, a, b)
    if _is_infinite(f, a):
        return (f.nan, NV) if b == a ^ f.sign else (a, 0)
    if _is_infinite(f, b):
        return b, 0
    return _sum(f, mode, _split(f, a), _split(f, b))


def sub(f: Format, mode: int, a: int, b: int) -> Result:
    """a - b."""
    return _nan(f, a, b) if _is_nan(f, b) else add(f, mode, a, b ^ f.sign)


def mul(f: Format, mode: int, a: int, b: int) -> Result:
    """a * b."""
    if _is_nan(f, a) or _is_nan(f, b):
        return _nan(f, a, b)
    sign = (a ^ b) & f.sign
    if _is_infinite(f, a) or _is_infinite(f, b):
        zero = a & ~f.sign == 0 or b & ~f.sign == 0
        return (f.nan, NV) if zero else (sign | f.infinity, 0)
    (_, x, e), (_, y, g) = _split(f, a), _split(f, b)
    return _round(f, mode, int(sign != 0), x * y, e + g)


def madd(f: Format, mode: int, a: int, b: int, c: int) -> Result:
    """a * b + c, rounded once. Infinity times zero is invalid whatever c is."""
    sign = (a ^ b) & f.sign
    infinite = _is_infinite(f, a) or _is_infinite(f, b)
    zero = a & ~f.sign == 0 or b & ~f.sign == 0
    if infinite and zero:
        return f.nan, NV
    if _is_nan(f, a) or _is_nan(f, b) or _is_nan(f, c):
        return _nan(f, a, b, c)
    if infinite:
        return add(f, mode, sign | f.infinity, c)
    if _is_infinite(f, c):
        return c, 0
    (_, x, e), (_, y, g) = _split(f, a), _split(f, b)
    return _sum(f, mode, (int(sign != 0), x * y, e + g), _split(f, c))


def div(f: Format, mode: int, a: int, b: int) -> Result:
    """a / b."""
    if _is_nan(f, a) or _is_nan(f, b):
        return _nan(f, a, b)
    sign = (a ^ b) & f.sign
    if _is_infinite(f, a):
        return (f.nan, NV) if _is_infinite(f, b) else (sign | f.infinity, 0)
    if _is_infinite(f, b):
        return sign, 0
    (_, x, e), (_, y, g) = _split(f, a), _split(f, b)
    if y == 0:
        return (f.nan, NV) if x == 0 else (sign | f.infinity, DZ)
    scale = 2 * f.precision + 2  # leaves more than `precision` bits even for subnormals
    quotient, rest = divmod(x << scale, y)
    return _round(f, mode, int(sign != 0), quotient << 1 | (rest != 0), e - g - scale - 1)


def sqrt(f: Format, mode: int, a: int) -> Result:
    """The square root; -0 for -0."""
    if _is_nan(f, a):
        return _nan(f, a)
    if a & ~f.sign == 0 or a == f.infinity:
        return a, 0
    if a & f.sign:
        return f.nan, NV
    _, x, e = _split(f, a)
    scale = 2 * f.precision + 2 + (e & 1)  # makes the exponent even
    root = isqrt(x << scale)
    inexact = root * root != x << scale
    return _round(f, mode, 0, root << 1 | inexact, (e - scale) // 2 - 1)


def _order(f: Format, a: int) -> int:
    """An integer that orders as the numbers do, -0 just below +0."""
    return -(a & ~f.sign) - 1 if a & f.sign else a


def _extreme(pick: Callable[[int, int], int], f: Format, mode: int, a: int, b: int) -> Result:
    """minimumNumber or maximumNumber: a NaN gives way to a number."""
    flags = NV if _is_signaling(f, a) or _is_signaling(f, b) else 0
    if _is_nan(f, a) or _is_nan(f, b):
        number = b if _is_nan(f, a) else a
        return (f.nan if _is_nan(f, number) else number), flags
    return (a if pick(_order(f, a), _order(f, b)) == _order(f, a) else b), flags


def equal(f: Format, mode: int, a: int, b: int) -> Result:
    """Whether a == b; invalid only for a signaling NaN."""
    if _is_nan(f, a) or _is_nan(f, b):
        return 0, _nan(f, a, b)[1]
    return int(a == b or (a | b) & ~f.sign == 0), 0


def less(f: Format, mode: int, a: int, b: int) -> Result:
    """Whether a < b; invalid for any NaN."""
    if _is_nan(f, a) or _is_nan(f, b):
        return 0, NV
    return int((a | b) & ~f.sign != 0 and _order(f, a) < _order(f, b)), 0


def less_equal(f: Format, mode: int, a: int, b: int) -> Result:
    """Whether a <= b; invalid for any NaN."""
    if _is_nan(f, a) or _is_nan(f, b):
        return 0, NV
    return int((a | b) & ~f.sign == 0 or _order(f, a) <= _order(f, b)), 0


def to_integer(f: Format, signed: bool, bits: int, mode: int, a: int) -> Result:
    """The integer's bits; what does not fit saturates (a NaN upwards) and is only invalid."""
    low = -(1 << (bits - 1)) if signed else 0
    high = low + (1 << bits) - 1
    mask = (1 << bits) - 1
    if _is_nan(f, a):
        return high & mask, NV
    negative = a >> (f.width - 1)
    if _is_infinite(f, a):
        return (low if negative else high) & mask, NV
    _, mantissa, exponent = _split(f, a)
    magnitude, inexact = _rounded(mode, negative, mantissa, -exponent)
    value = -magnitude if negative else magnitude
    if not low <= value <= high:
        return (low if negative else high) & mask, NV
    return value & mask, NX if inexact else 0


def from_integer(f: Format, signed: bool, bits: int, mode: int, a: int) -> Result:
    """The number nearest to an integer of `bits` bits."""
    negative = int(signed and a >> (bits - 1) & 1)
    return _round(f, mode, negative, (1 << bits) - a if negative else a, 0)


def convert(source: Format, target: Format, mode: int, a: int) -> Result:
    """From one format to the other."""
    if _is_nan(source, a):
        return target.nan, NV if _is_signaling(source, a) else 0
    negative = a >> (source.width - 1)
    if _is_infinite(source, a):
        return (target.sign if negative else 0) | target.infinity, 0
    _, mantissa, exponent = _split(source, a)
    return _round(target, mode, negative, mantissa, exponent)


def _operations() -> dict[str, Callable[..., Result]]:
    named: dict[str, Callable[..., Result]] = {
        "add": add, "sub": sub, "mul": mul, "div": div, "sqrt": sqrt, "madd": madd,
        "eq": equal, "lt": less, "le": less_equal,
        "min": partial(_extreme, min), "max": partial(_extreme, max),
    }  # fmt: skip
    formats = {"f32": F32, "f64": F64}
    table: dict[str, Callable[..., Result]] = {}
    for name, f in formats.items():
        table |= {f"{name}.{op}": partial(function, f) for op, function in named.items()}
        for kind in "iu":
            for bits in (32, 64):
                other = f"{kind}{bits}"
                table[f"{name}.to_{other}"] = partial(to_integer, f, kind == "i", bits)
                table[f"{other}.to_{name}"] = partial(from_integer, f, kind == "i", bits)
    table["f32.to_f64"] = partial(convert, F32, F64)
    table["f64.to_f32"] = partial(convert, F64, F32)
    return table


OPERATIONS: dict[str, Callable[..., Result]] = _operations()
"""Each operation of `FP_OPS`: called with a rounding mode 0 to 4 and the operands' bits."""

if OPERATIONS.keys() != FP_OPS.keys():
    raise ImportError(f"softfloat and fpops differ in {OPERATIONS.keys() ^ FP_OPS.keys()}")
