"""Products against NumPy, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from emu.devices.tpu.matrix import Product, multiply
from tests.devices.tpu.oracle import BITS, draw, products


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("m", [1, 7, 8, 37])
@pytest.mark.parametrize(
    ("x", "w"), [*((a, b) for a in ("i8", "u8", "i16") for b in ("i8", "u8", "i16")), ("bf16",) * 2]
)
def test_products_are_exact(x: str, w: str, m: int, accumulate: bool) -> None:
    rng = np.random.default_rng(m)
    k, n = 64, 48
    inputs, tile = draw(rng, x, m, 2 * k), draw(rng, w, k, n)
    sums = draw(rng, "i32", m, n) if x != "bf16" else rng.normal(size=(m, n)).astype(np.float32)
    expected = products(inputs[:, :k], tile, x, w)
    if accumulate:
        expected = sums + expected
    p = Product(m, k, n, 2 * k * BITS[x] // 8, x, w, accumulate)
    multiply(p, sums.ctypes.data, inputs.ctypes.data, tile.ctypes.data)
    assert np.array_equal(sums, expected)
