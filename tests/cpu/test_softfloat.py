"""Floating point where RISC-V chooses, and where Unicorn is older than the specification.

What any host agrees on is tested instruction by instruction against Unicorn; double-precision
round-to-nearest also against Python's own arithmetic, with the operands chosen at random.
"""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.cpu import softfloat
from emu.cpu.softfloat import DZ, F32, F64, NV, NX, OF, OPERATIONS, RDN, RMM, RNE, RTZ, RUP, UF

_SIGNALING = 0x7F80_0001
_ONE, _MINUS_ONE = 0x3F80_0000, 0xBF80_0000
_DENORMAL = st.floats(allow_nan=False, allow_infinity=False)


def _bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


@given(_DENORMAL, _DENORMAL)
def test_double_arithmetic_is_the_hosts(a: float, b: float) -> None:
    x, y = _bits(a), _bits(b)
    assert OPERATIONS["f64.add"](RNE, x, y)[0] == _bits(a + b)
    assert OPERATIONS["f64.mul"](RNE, x, y)[0] == _bits(a * b)
    if b:
        assert OPERATIONS["f64.div"](RNE, x, y)[0] == _bits(a / b)
    if a >= 0:
        assert OPERATIONS["f64.sqrt"](RNE, x)[0] == _bits(math.sqrt(a))


def test_minimum_and_maximum_prefer_a_number_to_a_signaling_nan() -> None:
    assert OPERATIONS["f32.min"](RNE, _SIGNALING, _ONE) == (_ONE, NV)
    assert OPERATIONS["f32.max"](RNE, _MINUS_ONE, _SIGNALING) == (_MINUS_ONE, NV)
    assert OPERATIONS["f32.max"](RNE, F32.nan, F32.nan) == (F32.nan, 0)


def test_minimum_orders_the_zeros() -> None:
    assert OPERATIONS["f64.min"](RNE, 0, F64.sign) == (F64.sign, 0)
    assert OPERATIONS["f64.max"](RNE, F64.sign, 0) == (0, 0)


def test_fused_infinity_times_zero_is_invalid_even_with_a_quiet_nan() -> None:
    assert OPERATIONS["f32.madd"](RNE, F32.infinity, 0, F32.nan) == (F32.nan, NV)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(RNE, 2), (RTZ, 2), (RDN, 2), (RUP, 3), (RMM, 3)],
)
def test_rounding_modes_of_two_and_a_half(mode: int, expected: int) -> None:
    assert OPERATIONS["f64.to_i64"](mode, _bits(2.5)) == (expected, NX)


def test_out_of_range_conversion_saturates_and_is_only_invalid() -> None:
    assert OPERATIONS["f64.to_u32"](RTZ, _bits(-1.0)) == (0, NV)
    assert OPERATIONS["f64.to_u32"](RTZ, _bits(-0.5)) == (0, NX)
    assert OPERATIONS["f64.to_i32"](RTZ, F64.nan) == (0x7FFF_FFFF, NV)
    assert OPERATIONS["f32.to_i64"](RTZ, F32.sign | F32.infinity) == (1 << 63, NV)


def test_overflow_gives_infinity_or_the_largest_number_by_mode() -> None:
    largest = F32.infinity - 1
    assert OPERATIONS["f32.add"](RNE, largest, largest) == (F32.infinity, OF | NX)
    assert OPERATIONS["f32.add"](RTZ, largest, largest) == (largest, OF | NX)
    assert OPERATIONS["f32.add"](RDN, largest, largest) == (largest, OF | NX)


def test_tininess_is_detected_after_rounding() -> None:
    """What rounds to the smallest normal underflows only if it would stay below it with an
    unbounded exponent: 2**-126 * (1 - 2**-24) is exact there, 2**-126 - 2**-172 is not."""
    smallest, below_one = 0x0080_0000, 0x3F7F_FFFF
    assert OPERATIONS["f32.mul"](RUP, smallest, below_one) == (smallest, UF | NX)
    assert OPERATIONS["f32.madd"](RNE, 0xB400_0000, 1, smallest) == (smallest, NX)


def test_division_by_zero_and_zero_by_zero() -> None:
    assert OPERATIONS["f32.div"](RNE, _MINUS_ONE, 0) == (F32.sign | F32.infinity, DZ)
    assert OPERATIONS["f32.div"](RNE, 0, 0) == (F32.nan, NV)


def test_every_operation_of_the_table_exists() -> None:
    assert OPERATIONS.keys() == softfloat.FP_OPS.keys()
