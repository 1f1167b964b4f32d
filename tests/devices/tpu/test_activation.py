"""The activation unit against NumPy, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from emu.devices.tpu.activation import FLOATS, SIZES, Form, Scaling, Shape, activate
from emu.devices.tpu.declare import FUNCTIONS, POOLS, RESULTS
from emu.devices.tpu.functions import table
from tests.devices.tpu.oracle import TYPES, activated, from_bf16, pooled

COLUMNS = 32
CASES = [
    (function, result)
    for function in FUNCTIONS
    for result in RESULTS
    if result != "i32" or function in ("identity", "relu")
]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(("function", "result"), CASES)
def test_results_are_those_of_numpy(function: str, result: str, pool: str) -> None:
    rng = np.random.default_rng(3)
    is_float = result in FLOATS
    sums = rng.integers(-(1 << 20), 1 << 20, (7, 9, COLUMNS)).astype(np.int32)
    bias = rng.integers(-(1 << 10), 1 << 10, COLUMNS).astype(np.int32)
    scaling = Scaling(-3 << 8 if function == "identity" else 77, 16, 5, 0x3E4CCCCD)
    if is_float:
        sums, bias = (a.astype(np.float32) / 65536 for a in (sums, bias))
        sums[1, 2, 3], sums[4, 4, :4] = np.nan, np.inf
    window, stride = (3, 2), (2, 3)
    t = sums if pool == "none" else pooled(sums, pool, window, stride)
    height, width = t.shape[:2]
    size = SIZES[result]
    shape = Shape(height, width, COLUMNS, width * 2 * COLUMNS * size, 2 * COLUMNS * size, 9, 1)
    if pool != "none":
        shape = Shape(height, width, COLUMNS, shape.out_y, shape.out_x, 18, 3, 3, 2, 9)
    out = np.full((height, width, 2, COLUMNS), 99, TYPES[result])
    form = Form(result, function, pool, True)
    activate(form, shape, scaling, sums.ctypes.data, out.ctypes.data, bias.ctypes.data)
    expected = activated(t + bias, function, result, scaling.multiplier, 16, 5, 0.2)
    assert np.array_equal(out[:, :, 0], expected, equal_nan=is_float and result == "f32")
    assert (out[:, :, 1] == 99).all()


@pytest.mark.parametrize("result", ["i8", "u8", "i16"])
@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
def test_no_entry_of_a_table_hangs_on_the_last_bit_of_a_host_s_exp(
    function: str, result: str
) -> None:
    """Halfway cases apart (exact ones: tanh 0), values stay clear of where rounding turns."""
    x = np.arange(-32768, 32768) / 4096
    real = 1 / (1 + np.exp(-x)) if function == "sigmoid" else np.tanh(x)
    one = {"i8": 128, "i16": 32768, "u8": 256 if function == "sigmoid" else 128}[result]
    distance = np.abs(real * one % 1 - 0.5)
    assert distance[distance > 0].min() > 1e-9


def test_tables_of_bf16_are_rounded_once() -> None:
    x = np.array([0x0000, 0x3F80, 0xBF80, 0x7F80, 0xFF80], np.uint16)
    results = from_bf16(table("sigmoid", "bf16")[x].astype(np.uint16))
    assert results.tolist() == [0.5, 0.73046875, 0.26953125, 1.0, 0.0]
