"""Top-k and sorting against onnx's cases and NumPy's stable sort: ties, NaN, axes, types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.traps import Trap
from tests.tensor.bench import NAMES, NUMPY, Array, Bench
from tests.tensor.onnx_cases import Case, cases
from tests.tensor.test_elementwise import views


def run(x: Array, at: Attributes, count: int, index: str = "i64") -> tuple[Array, Array]:
    """Values and indices."""
    bench = Bench()
    axis = at.axis % x.ndim
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    values, indices = bench.empty(shape, NAMES[x.dtype]), bench.empty(shape, index)
    bench.tr[8] = indices
    bench.execute("ttopk", values, bench.place(x), attributes=replace(at, bias=9))
    return bench.array(values), bench.array(indices)


def order(x: Array, axis: int, largest: bool) -> Array:
    """The stable order; NaN above all numbers, zeros alike."""
    if x.dtype.kind != "f":
        key = x.astype(np.int64)
        return np.argsort(-key if largest else key, axis=axis, kind="stable")
    key, nan = x.astype(np.float64), np.isnan(x)
    key = np.where(nan, 0.0, -key if largest else key)
    return np.lexsort((key, ~nan if largest else nan), axis=axis)


@pytest.mark.parametrize("case", cases("TopK"), ids=lambda c: c.name)
def test_agrees_with_onnx(case: Case) -> None:
    x, k = case.inputs.values()
    flags = case.attributes.get("largest", 1)
    at = Attributes(axis=case.attributes.get("axis", -1), count=int(k[0]), flags=flags)
    values, indices = run(x, at, int(k[0]))
    np.testing.assert_array_equal(values, case.outputs[0])
    np.testing.assert_array_equal(indices, case.outputs[1])


@settings(max_examples=80)
@given(st.data())
def test_agrees_with_a_stable_sort(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["f32", "f64", "f16", "i8", "u8", "bool", "i32", "i64"]))
    extent = data.draw(st.sampled_from([1, 2, 7, 24, 25, 160, 161, 700, 3000]))
    outer = data.draw(st.lists(st.sampled_from([1, 2, 3]), max_size=2))
    at = data.draw(st.integers(0, len(outer)))
    shape = (*outer[:at], extent, *outer[at:])
    x = np.array(np.broadcast_to(data.draw(views(shape, dtype)), shape))
    if x.dtype.kind == "f":
        for special in (np.nan, 0.0, -0.0, np.inf, -np.inf):
            picked = np.random.default_rng(data.draw(st.integers(0, 9))).random(shape) < 0.05
            x[picked] = special
    if data.draw(st.booleans()):
        x = x[::-1].T
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = x.shape[axis]
    count, largest = data.draw(st.sampled_from([1, min(n, 5), n])), data.draw(st.booleans())
    expected = np.take(order(x, axis, largest), range(count), axis)
    index = data.draw(st.sampled_from(["i32", "i64"]))
    values, indices = run(x, Attributes(axis=axis, count=count, flags=int(largest)), count, index)
    np.testing.assert_array_equal(indices, expected)
    bits = f"u{x.dtype.itemsize}"
    np.testing.assert_array_equal(
        values.view(bits), np.take_along_axis(x, expected, axis).view(bits)
    )


@pytest.mark.parametrize("ascending", [True, False])
def test_elements_that_are_sorted_already(ascending: bool) -> None:
    x = np.arange(5000, dtype=np.float32)[:: 1 if ascending else -1]
    values, indices = run(x, Attributes(count=40, flags=1), 40)
    assert values.tolist() == [*range(4999, 4959, -1)]
    np.testing.assert_array_equal(x[indices], values)


def test_no_block_sorts_along_the_last_axis() -> None:
    x = np.array([[3, 1, 2], [-1, -3, -2]], np.float32)
    got = Bench().run("ttopk", (2, 3), "f32", x)
    assert got.tolist() == [[1, 2, 3], [-3, -2, -1]]


@pytest.mark.parametrize(
    ("at", "shape", "index", "reason"),
    [(Attributes(count=5), (5,), "i64", (4, 3)), (Attributes(axis=1), (4,), "i64", (4, 3)),
     (Attributes(count=2), (3,), "i64", (3, 0)), (Attributes(count=2), (2,), "i16", (1, 4)),
     (Attributes(flags=2), (4,), "i64", (4, 3))],
)  # fmt: skip
def test_what_does_not_fit_traps_with_its_reason(
    at: Attributes, shape: tuple[int, ...], index: str, reason: tuple[int, int]
) -> None:
    bench = Bench()
    bench.tr[8] = bench.empty(shape, index)
    x = bench.place(np.zeros(4, NUMPY["f32"]))
    with pytest.raises(Trap):
        bench.execute("ttopk", bench.empty(shape, "f32"), x, attributes=replace(at, bias=9))
    assert (bench.tcause, bench.toperand) == reason
