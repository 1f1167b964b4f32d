"""Errors of the elementwise functions, in units in the last place, over all binades.

f32 is sampled evenly by bit pattern, so every binade, the numbers below the normal ones, infinities
and NaN are met, and judged by f64 functions of NumPy and SciPy; f64 is judged by mpmath.
`python -m tests.tensor.test_functions [stride]` measures more densely (stride 1: every f32).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special
from numpy.typing import NDArray

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.semantics import UNARY
from tests.tensor.bench import NUMPY, Array, Bench

Doubles = NDArray[np.float64]
Function = Callable[[Doubles], Doubles]
STRIDE = 65_521


def _sigmoid(x: Doubles) -> Doubles:
    fall = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, fall, 1.0) / (1 + fall))


def _vanishing(function: Function) -> Function:
    """0 at minus infinity, where the formula has no value."""
    return lambda x: np.asarray(np.where(x == -np.inf, -0.0, function(x)))


def _mish(x: Doubles) -> Doubles:
    t = np.exp(np.minimum(x, 100))
    return np.asarray(x * (t * (t + 2) / (t * (t + 2) + 2)))


def _elu(x: Doubles) -> Doubles:
    return np.asarray(np.where(x < 0, np.expm1(np.minimum(x, 0)), x))


_SELU_ALPHA, _SELU_SCALE = 1.67326319217681884765625, 1.05070102214813232421875


@dataclass(frozen=True)
class Limit:
    """The function that an instruction must come near, and how near for f32."""

    exact: Function
    ulps: float


LIMITS = {
    "tsqrt": Limit(np.sqrt, 0.5), "trsqrt": Limit(lambda x: 1 / np.sqrt(x), 1.5),
    "trecip": Limit(lambda x: 1 / x, 0.5), "texp": Limit(np.exp, 1.2),
    "tlog": Limit(np.log, 1.0), "tsin": Limit(np.sin, 1.6), "tcos": Limit(np.cos, 1.6),
    "ttan": Limit(np.tan, 0.6), "tasin": Limit(np.arcsin, 0.6), "tacos": Limit(np.arccos, 0.6),
    "tatan": Limit(np.arctan, 0.6), "tsinh": Limit(np.sinh, 0.6), "tcosh": Limit(np.cosh, 0.6),
    "ttanh": Limit(np.tanh, 2.0), "tasinh": Limit(np.arcsinh, 0.6),
    "tacosh": Limit(np.arccosh, 0.6), "tatanh": Limit(np.arctanh, 0.6),
    "terf": Limit(scipy.special.erf, 1.1), "tsigmoid": Limit(_sigmoid, 1.7),
    "telu": Limit(_elu, 1.1),
    "tselu": Limit(lambda x: _SELU_SCALE * np.where(
        x < 0, _SELU_ALPHA * np.expm1(np.minimum(x, 0)), x), 2.0),
    "tsoftplus": Limit(lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), 2.8),
    "tsoftsign": Limit(lambda x: x / (1 + np.abs(x)), 1.6),
    "thardswish": Limit(lambda x: x * np.clip(x + 3, 0, 6) / 6, 2.5),
    "tgelu": Limit(_vanishing(lambda x: x * 0.5 * scipy.special.erfc(-x * np.sqrt(0.5))), 5.2),
    "tgelu_tanh": Limit(_vanishing(
        lambda x: x * _sigmoid(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3))), 3.0),
    "tmish": Limit(_vanishing(_mish), 3.9),
    "tswish": Limit(_vanishing(lambda x: x * _sigmoid(x)), 2.7),
}  # fmt: skip


def every(stride: int) -> Array:
    """f32 by bit pattern, and what is special."""
    bits = np.arange(0, 1 << 32, stride, dtype=np.uint64).astype(np.uint32)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1, -1], np.float32)
    return np.concatenate([bits.view(np.float32), special])


def errors(got: Array, exact: Array) -> Doubles:
    """In units in the last place; infinite where one is NaN or infinite and the other is not."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(got.dtype)
        units = np.spacing(np.abs(rounded)).astype(exact.dtype)
        error = np.abs(got.astype(exact.dtype) - exact) / units
        largest = np.finfo(got.dtype).max
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    overflow = np.isinf(got) != np.isinf(rounded)
    near = overflow & (np.maximum(np.abs(rounded), np.abs(got)) >= largest)
    near &= np.minimum(np.abs(rounded), np.abs(got)) >= largest / 2
    error = np.where(same, np.where(np.isfinite(exact) & np.isfinite(rounded), error, 0), error)
    return np.asarray(np.where(near, 1.0, np.where(np.isnan(error), np.inf, error)), np.float64)


def measure(mnemonic: str, stride: int) -> tuple[float, float]:
    """The greatest error of f32, and the argument where it is."""
    worst = 0.0, 0.0
    x = every(stride)
    for part in np.array_split(x, -(-len(x) // (1 << 22))):
        with np.errstate(all="ignore"):
            exact = LIMITS[mnemonic].exact(part.astype(np.float64))
        found = errors(Bench().run(mnemonic, part.shape, "f32", part), exact)
        at = int(np.argmax(found))
        worst = max(worst, (float(found[at]), float(part[at])))
    return worst


@pytest.mark.parametrize("mnemonic", sorted(LIMITS))
def test_f32_functions_are_as_near_as_documented_for_every_argument(mnemonic: str) -> None:
    error, at = measure(mnemonic, STRIDE)
    assert error <= LIMITS[mnemonic].ulps, f"{error} units at {at!r}"


def test_power_of_f32_is_within_one_unit() -> None:
    rng = np.random.default_rng(1)
    x = np.exp2(rng.uniform(-20, 20, 50_000)).astype(np.float32)
    y = rng.uniform(-6, 6, 50_000).astype(np.float32)
    with np.errstate(all="ignore"):
        exact = x.astype(np.float64) ** y.astype(np.float64)
    assert errors(Bench().run("tpow", x.shape, "f32", x, y), exact).max() <= 1


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_power_has_the_special_cases_of_pow(dtype: str) -> None:
    values = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, np.inf, -np.inf, np.nan, 1e30,
              -1e30, 1e-30, 2.5, -2.5]  # fmt: skip
    x, y = (np.array(v, NUMPY[dtype]).ravel() for v in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    got = Bench().run("tpow", x.shape, dtype, x, y)
    np.testing.assert_allclose(got, expected, rtol=1e-6 if dtype == "f32" else 1e-15)
    np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(expected[got == 0]))


_PRECISE: dict[str, Callable[[Any], Any]] = {
    "texp": mpmath.exp, "tlog": mpmath.log, "tsin": mpmath.sin, "tcos": mpmath.cos,
    "ttan": mpmath.tan, "tasin": mpmath.asin, "tacos": mpmath.acos, "tatan": mpmath.atan,
    "tsinh": mpmath.sinh, "tcosh": mpmath.cosh, "ttanh": mpmath.tanh, "tasinh": mpmath.asinh,
    "tacosh": mpmath.acosh, "tatanh": mpmath.atanh, "terf": mpmath.erf,
    "tsigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "tgelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "tgelu_tanh": lambda x: x / (
        1 + mpmath.exp(-mpmath.sqrt(8 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))),
    "tsoftplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "tmish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "tswish": lambda x: x / (1 + mpmath.exp(-x)),
}  # fmt: skip
_DOMAIN = {"tlog": (0.0, 1e300), "tasin": (-1.0, 1.0), "tacos": (-1.0, 1.0), "tatanh": (-1.0, 1.0),
           "tacosh": (1.0, 1e300)}  # fmt: skip
_ULPS = {"tgelu": 6.0, "tgelu_tanh": 800.0, "tmish": 6.0, "tswish": 4.0}
"""For f64, where not 4. `tgelu_tanh` rounds an argument of up to 745 and takes its exponential."""


def doubles(mnemonic: str, count: int = 400) -> Doubles:
    """f64 of all magnitudes (those where the function is neither 0 nor infinite, mostly)."""
    rng = np.random.default_rng(7)
    low, high = _DOMAIN.get(mnemonic, (-np.inf, np.inf))
    near = rng.uniform(-1, 1, count) * rng.choice([0.5, 1, 4, 30, 700], count)
    wide = rng.choice([-1, 1], count) * np.exp2(rng.uniform(-1000, 1000, count))
    if mnemonic in ("tgelu", "tgelu_tanh", "tmish", "tswish"):
        wide = np.clip(wide, -30, np.inf)
    x = np.concatenate([near, wide, 1 + near / 1000])
    return x[(x > low) & (x < high)]


@pytest.mark.parametrize("mnemonic", sorted(_PRECISE))
def test_f64_functions_are_within_four_units(mnemonic: str) -> None:
    x = doubles(mnemonic)
    got = Bench().run(mnemonic, x.shape, "f64", x)
    worst, place = 0.0, 0.0
    with mpmath.workprec(2400 if mnemonic in ("tsin", "tcos", "ttan") else 400):
        for argument, value in zip(x.tolist(), got.tolist(), strict=True):
            exact = _PRECISE[mnemonic](mpmath.mpf(argument))
            rounded = float(exact)
            if np.isinf(rounded) or np.isinf(value):
                assert rounded == value, argument
                continue
            unit = float(np.spacing(abs(rounded)))
            error = float(abs(mpmath.mpf(value) - exact) / unit)
            worst, place = max((worst, place), (error, argument))
    assert worst <= _ULPS.get(mnemonic, 4.0), f"{worst} units at {place!r}"


def test_remainder_is_exact_for_any_quotient() -> None:
    rng = np.random.default_rng(3)
    for dtype, span in ((np.float32, 120), (np.float64, 1000)):
        x = (rng.choice([-1, 1], 3000) * np.exp2(rng.uniform(-span, span, 3000))).astype(dtype)
        y = (rng.choice([-1, 1], 3000) * np.exp2(rng.uniform(-span, span, 3000))).astype(dtype)
        name = "f32" if dtype is np.float32 else "f64"
        got = Bench().run("tfmod", x.shape, name, x, y)
        np.testing.assert_array_equal(got, np.fmod(x, y))
        np.testing.assert_array_equal(np.signbit(got), np.signbit(x))


def test_functions_keep_the_sign_of_zero() -> None:
    x = np.array([0.0, -0.0], np.float32)
    for mnemonic in ("tsin", "ttan", "tasin", "tatan", "tsinh", "ttanh", "tasinh", "tatanh", "terf",
                     "tgelu", "tswish", "tmish", "telu", "tsqrt"):  # fmt: skip
        got = Bench().run(mnemonic, (2,), "f32", x)
        assert np.signbit(got).tolist() == [False, True], mnemonic


def test_swish_and_celu_take_alpha() -> None:
    x = np.linspace(-9, 9, 200).astype(np.float32)
    wide = x.astype(np.float64)
    got = Bench().run("tswish", x.shape, "f32", x, attributes=Attributes(alpha=1.5))
    assert errors(got, wide * _sigmoid(1.5 * wide)).max() < 3
    got = Bench().run("tcelu", x.shape, "f32", x, attributes=Attributes(alpha=0.5))
    exact = np.where(wide < 0, 0.5 * np.expm1(np.minimum(wide, 0) / 0.5), wide)
    assert errors(got, exact).max() < 2


if __name__ == "__main__":
    stride = int(sys.argv[1]) if len(sys.argv) > 1 else 4_001
    for mnemonic in sorted(LIMITS):
        error, at = measure(mnemonic, stride)
        print(f"{mnemonic:12} {error:6.3f} at {at!r} (limit {LIMITS[mnemonic].ulps})")
    assert LIMITS.keys() <= UNARY.keys()
