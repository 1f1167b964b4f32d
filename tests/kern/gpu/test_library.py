"""The kernel library against NumPy, on the reference engine of lanes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kern.gpu.bench import KernelBench

_RANDOM = np.random.default_rng(4)


def _floats(*shape: int) -> np.ndarray:
    return _RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("n", [1, 256, 1000])
def test_vecadd(n: int) -> None:
    x, y = _floats(n), _floats(n)
    *_, total = KernelBench("blas").run("vecadd", (n,), (256,), n, x, y, np.zeros_like(x))
    np.testing.assert_array_equal(total, x + y)


def test_saxpy_rounds_once() -> None:
    x, y = _floats(1000), _floats(1000)
    _, got = KernelBench("blas").run("saxpy", (1000,), (128,), 1000, 2.5, x, y)
    np.testing.assert_array_equal(got, (2.5 * x.astype(float) + y).astype(np.float32))
