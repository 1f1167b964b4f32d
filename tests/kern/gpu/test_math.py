"""Kern's functions for lanes against the same of NumPy and Python, computed in f64.

Each function's greatest error in ulp is the one that `kernel_src/gpu/math.kern` states.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.devices.gpu.lift import LiftedEngine
from tests.kern.gpu.bench import KernelBench

_ONE = ("exp", "expm1", "log", "log2", "sin", "cos", "tanh", "erf", "rsqrt", "sigmoid")
_WRAPPERS = (
    "\n".join(
        f"gpu fn {name}(n: int, x: ptr[f32], y: ptr[f32]) {{\n"
        f"    i = global_id(0)\n    if i < n {{ y[i] = math.{name}(x[i]) }}\n}}"
        for name in _ONE
    )
    + """
gpu fn pow(n: int, x: ptr[f32], e: ptr[f32], y: ptr[f32]) {
    i = global_id(0)
    if i < n { y[i] = math.pow(x[i], e[i]) }
}
gpu fn exp64(n: int, x: ptr[f64], y: ptr[f64]) {
    i = global_id(0)
    if i < n { y[i] = math.exp64(x[i]) }
}
gpu fn log64(n: int, x: ptr[f64], y: ptr[f64]) {
    i = global_id(0)
    if i < n { y[i] = math.log64(x[i]) }
}
"""
)
_SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0], np.float32)

Array = NDArray[np.floating]


@pytest.fixture(scope="module")
def bench() -> KernelBench:
    """The functions, each as a kernel over arrays."""
    return KernelBench("wrappers", _WRAPPERS, library=["math"], engines=[LiftedEngine()])


def _ulps(got: Array, exact: Array) -> float:
    """The greatest error in units of the last place of the rounded result."""
    rounded = exact.astype(got.dtype)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    with np.errstate(invalid="ignore"):
        error = np.abs(got.astype(np.float64) - exact) / np.spacing(np.abs(rounded))
    return float(np.max(np.where(same & ~(error <= 1), 0.0, error)))


def _spread(low: float, high: float, n: int = 1500) -> Array:
    """Numbers over an interval; over a ratio of sizes when both are positive."""
    if low > 0:
        return np.geomspace(low, high, n).astype(np.float32)
    return np.linspace(low, high, n).astype(np.float32)


_erf = np.vectorize(math.erf)
_CASES: list[tuple[str, Callable[[Array], Array], Array, float]] = [
    ("exp", np.exp, _spread(-87.3, 88.7), 1.0),
    ("exp", np.exp, _spread(-103.9, -87.3, 300), 1.0),
    ("expm1", np.expm1, _spread(-17.0, 88.7), 1.0),
    ("expm1", np.expm1, _spread(1e-30, 0.5), 1.0),
    ("log", np.log, _spread(1e-38, 3e38), 1.1),
    ("log", np.log, _spread(0.5, 2.0), 1.1),
    ("log", np.log, _spread(1e-44, 1e-38, 300), 1.1),
    ("log2", np.log2, _spread(1e-38, 3e38), 2.0),
    ("log2", np.log2, _spread(0.5, 2.0), 2.0),
    ("sin", np.sin, _spread(-30, 30), 1.4),
    ("sin", np.sin, _spread(1e-6, 1e5), 1.4),
    ("cos", np.cos, _spread(-30, 30), 1.4),
    ("cos", np.cos, _spread(1e-6, 1e5), 1.4),
    ("tanh", np.tanh, _spread(-11, 11), 1.6),
    ("tanh", np.tanh, _spread(1e-30, 1), 1.6),
    ("erf", _erf, _spread(-4.5, 4.5), 1.0),
    ("erf", _erf, _spread(1e-30, 1), 1.0),
    ("rsqrt", lambda x: 1 / np.sqrt(x), _spread(1e-38, 3e38), 1.3),
    ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), _spread(-80, 80), 1.5),
]


@pytest.mark.parametrize(("name", "exact", "x", "most"), _CASES)
def test_errors_are_as_stated(
    bench: KernelBench, name: str, exact: Callable[[Array], Array], x: Array, most: float
) -> None:
    _, got = bench.run(name, x.shape, (256,), len(x), x, np.zeros_like(x))
    assert _ulps(got, exact(x.astype(np.float64))) <= most


@pytest.mark.parametrize("name", [n for n in _ONE if n != "rsqrt"])
def test_special_values_are_those_of_c(bench: KernelBench, name: str) -> None:
    functions = {"erf": _erf, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}
    x = _SPECIAL[:2] if name in ("sin", "cos") else _SPECIAL
    _, got = bench.run(name, x.shape, (32,), len(x), x, np.zeros_like(x))
    with np.errstate(all="ignore"):
        want = functions.get(name, getattr(np, name, None))(x).astype(np.float32)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_powers(bench: KernelBench) -> None:
    x = np.tile(_spread(1e-6, 1e6, 40), 25).astype(np.float32)
    y = np.repeat(_spread(-6, 6, 25), 40).astype(np.float32)
    *_, got = bench.run("pow", x.shape, (256,), len(x), x, y, np.zeros_like(x))
    assert _ulps(got, x.astype(np.float64) ** y.astype(np.float64)) <= 0.51


def test_powers_of_special_values_are_those_of_c(bench: KernelBench) -> None:
    values = np.append(_SPECIAL, np.array([0.01, 2, 3, -2, -3, 2.5, -2.5, 300], np.float32))
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    *_, got = bench.run("pow", x.shape, (256,), len(x), x, y, np.zeros_like(x))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(got, np.power(x, y), rtol=2e-7)


@pytest.mark.parametrize(
    ("name", "exact", "x", "most"),
    [
        ("exp64", np.exp, np.linspace(-708, 709, 1000), 1.2),
        ("log64", np.log, np.geomspace(1e-300, 1e300, 1000), 1.0),
    ],
)
def test_errors_in_f64_are_as_stated(
    bench: KernelBench, name: str, exact: Callable[[Array], Array], x: Array, most: float
) -> None:
    _, got = bench.run(name, x.shape, (256,), len(x), x, np.zeros_like(x))
    assert _ulps(got, exact(x.astype(np.longdouble)).astype(np.longdouble)) <= most
