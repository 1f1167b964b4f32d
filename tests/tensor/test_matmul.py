"""tmatmul's schedule over host memory, against NumPy: every way that operands may lie.

Whole numbers make sums exact in every type, so results are compared bit for bit; activations and
the division of work among threads are tested with real ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emu.cpu.tensor import epilogue, gemm, inner, kernels, tile
from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.descriptor import DTYPES, View
from emu.cpu.tensor.faults import Operand
from emu.cpu.tensor.gemm import run_matmul
from emu.cpu.tensor.plan import Place, planning
from emu.cpu.tensor.semantics import ACTIVATIONS
from tests.tensor.bench import NUMPY, bf16_to_f32, run_in_parts

Array = NDArray[Any]
BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}
PLAIN = Attributes()


def multiply(
    dtype: str, c: Array, a: Array, b: Array, bias: Array | None = None,
    at: Attributes = PLAIN, parts: int = 1,
) -> None:  # fmt: skip
    """c = a @ b (+ bias), activated; every step is done in `parts` parts, one after the other."""
    arrays = {Operand.DESTINATION: c, Operand.FIRST: a, Operand.SECOND: b}
    if bias is not None:
        arrays[Operand.BIAS] = bias
    with planning() as plan:
        views = {o: View(Place(o), BY_NAME[dtype], x.shape, x.strides) for o, x in arrays.items()}
        factors = (views[o] for o in (Operand.DESTINATION, Operand.FIRST, Operand.SECOND))
        run_matmul(*factors, views.get(Operand.BIAS), at)
    run_in_parts(plan, arrays, parts)


def encoded(values: Array, dtype: str) -> Array:
    """Whole numbers as elements of a type; bf16 as bits, rounded to nearest even."""
    if dtype != "bf16":
        return values.astype(NUMPY[dtype])
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


LAYOUTS = ("plain", "turned", "stepped", "backward", "repeated rows", "repeated columns")


def laid_out(values: Array, layout: str) -> Array:
    """The same elements (but for repeated ones) in another place, with other strides."""
    match layout if values.ndim > 1 else "plain":
        case "turned":
            return np.ascontiguousarray(values.swapaxes(-1, -2)).swapaxes(-1, -2)
        case "stepped":
            return np.repeat(values, 2, axis=-1)[..., ::2]
        case "backward":
            return np.ascontiguousarray(values[..., ::-1])[..., ::-1]
        case "repeated rows":
            return np.broadcast_to(values[..., :1, :], values.shape)
        case "repeated columns":
            return np.broadcast_to(values[..., :1], values.shape)
    return np.ascontiguousarray(values)


EXTENTS = st.sampled_from([1, 2, 3, 8, 9, 16, 17, 31, 50, 100])
DEPTHS = st.sampled_from([0, 1, 2, 7, 31, 33, 64, 130, 1100])


@st.composite
def products(draw: st.DrawFn) -> dict[str, Any]:
    dtype = draw(
        st.sampled_from(["f32", "f32", "f64", "f16", "bf16", "i64", "i32", "i16", "i8", "u8"])
    )
    m, n, k = draw(EXTENTS), draw(EXTENTS), draw(DEPTHS)
    batch = draw(st.sampled_from([(), (), (1,), (3,), (2, 2), (2, 1, 3)]))
    one_of = st.sampled_from([batch, (), tuple(1 for _ in batch)])
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def numbers(*shape: int) -> Array:
        values = rng.integers(0 if dtype == "u8" else -3, 4, shape)
        return laid_out(encoded(values, dtype), draw(st.sampled_from(LAYOUTS)))

    a, b = numbers(*batch, m, k), numbers(*draw(one_of), k, n)
    bias = draw(
        st.sampled_from([None, (n,), (m, 1), (m, n), (1, 1), (*batch, m, n), (*batch, 1, n)])
    )
    c = laid_out(encoded(np.full((*batch, m, n), 77), dtype), draw(st.sampled_from(LAYOUTS[:4])))
    return {
        "dtype": dtype,
        "c": c,
        "a": a,
        "b": b,
        "bias": None if bias is None else numbers(*bias),
    }


@settings(max_examples=30)
@given(products(), st.sampled_from([1, 2, 3]))
def test_products_of_any_layout_agree_with_numpy(case: dict[str, Any], parts: int) -> None:
    dtype = case["dtype"]
    multiply(**case, parts=parts)
    whole: Callable[[Array], Array] = bf16_to_f32 if dtype == "bf16" else np.asarray
    with np.errstate(over="ignore"):
        expected = whole(case["a"]).astype(np.int64) @ whole(case["b"]).astype(np.int64)
        if case["bias"] is not None:
            expected = expected + whole(case["bias"]).astype(np.int64)
        np.testing.assert_array_equal(case["c"], encoded(expected, dtype))


SHAPES = [(1, 300, 500), (1, 500, 40), (5, 70, 90), (16, 100, 64), (64, 64, 64), (300, 7, 50),
          (90, 130, 1500), (40, 1, 1000), (3, 9000, 40)]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("turned", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(
    shape: tuple[int, int, int], turned: bool
) -> None:
    m, n, k = shape
    rng = np.random.default_rng(m)
    a = rng.standard_normal((m, k)).astype(np.float32)
    b = laid_out(rng.standard_normal((k, n)).astype(np.float32), "turned" if turned else "plain")
    alone, *others = (np.full((m, n), np.nan, np.float32) for _ in range(4))
    multiply("f32", alone, a, b)
    np.testing.assert_allclose(alone, a.astype(np.float64) @ b, atol=1e-4 * math.sqrt(k))
    for parts, c in enumerate(others, 2):
        multiply("f32", c, a, b, parts=parts)
        np.testing.assert_array_equal(c, alone)


REAL = {
    "trelu": lambda x: np.maximum(x, 0),
    "tsigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "ttanh": np.tanh,
    "tleakyrelu": lambda x: np.where(x < 0, 0.1 * x, x),
    "tclip": lambda x: np.clip(x, 0.1, 0.9),
}


@pytest.mark.parametrize(
    ("mnemonic", "dtype", "layout"),
    [(mnemonic, dtype, "plain") for mnemonic in sorted(REAL) for dtype in ("f32", "f16")]
    + [(mnemonic, "f32", way) for mnemonic in ("trelu", "ttanh") for way in ("turned", "stepped")],
)
def test_bias_and_activation_are_applied_before_the_one_rounding(
    mnemonic: str, dtype: str, layout: str
) -> None:
    rng = np.random.default_rng(7)
    at = Attributes(activation=ACTIVATIONS.index(mnemonic), alpha=0.1, beta=0.9)
    for m, n, k in ((3, 40, 70), (33, 50, 1100)):
        a, b, bias = (
            (rng.standard_normal(s) / math.sqrt(k)).astype(NUMPY[dtype])
            for s in ((m, k), (k, n), (n,))
        )
        c = laid_out(np.zeros((m, n), NUMPY[dtype]), layout)
        multiply(dtype, c, a, b, bias, at)
        exact = REAL[mnemonic](a.astype(np.float64) @ b.astype(np.float64) + bias)
        np.testing.assert_allclose(c, exact, rtol={"f32": 1e-5, "f16": 2**-10}[dtype], atol=1e-6)


@pytest.mark.parametrize("batch", [(6,), (2, 3), (9,)])
def test_weights_shared_by_a_batch_are_multiplied_once_with_all_its_rows(
    batch: tuple[int, ...],
) -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(-3, 4, (*batch, 10, 30)).astype(np.float32)
    b = rng.integers(-3, 4, (30, 40)).astype(np.float32)
    bias = rng.integers(-3, 4, (40,)).astype(np.float32)
    c = np.zeros((*batch, 10, 40), np.float32)
    multiply("f32", c, a, b, bias, parts=2)
    np.testing.assert_array_equal(c, a @ b + bias)


@pytest.mark.parametrize("dtype", ["f32", "f16", "i8"])
def test_a_product_is_blocked_in_every_dimension(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for m, n, k in ((1300, 60, 2300), (20, 4200, 1100), (700, 700, 300)):
        a, b = (encoded(rng.integers(-2, 3, s), dtype) for s in ((m, k), (k, n)))
        c = np.zeros((m, n), NUMPY[dtype])
        multiply(dtype, c, a, b)
        expected = a.astype(np.float64) @ b.astype(np.float64)
        np.testing.assert_array_equal(c, encoded(expected.astype(np.int64), dtype))


@pytest.mark.parametrize("registers", [(32, 16), (16, 32)], ids=["AVX2", "NEON"])
@pytest.mark.parametrize("shape", [(30, 50, 70), (1, 64, 90), (40, 24, 33)])
@pytest.mark.parametrize("turned", [False, True])
def test_tiles_fit_the_registers_of_other_hosts(
    registers: tuple[int, int], shape: tuple[int, int, int], turned: bool,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("AIOS_CACHE", str(tmp_path))
    monkeypatch.setattr(kernels, "_kernels", {})
    for module in (epilogue, gemm, inner, tile):
        monkeypatch.setattr(module, "target", lambda: registers)
    m, n, k = shape
    rng = np.random.default_rng(m)
    a, b = (rng.integers(-3, 4, s).astype(np.float32) for s in ((m, k), (k, n)))
    c = np.zeros((m, n), np.float32)
    multiply("f32", c, a, laid_out(b, "turned" if turned else "plain"), parts=2)
    np.testing.assert_array_equal(c, a @ b)
