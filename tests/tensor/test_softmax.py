"""Softmax and its logarithm against NumPy in f64: axes, strides, extremes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.traps import Trap
from tests.tensor.bench import Array, Bench
from tests.tensor.test_elementwise import sample, views

TOLERANCE = {"f32": 1e-6, "f64": 1e-14, "f16": 1e-3}


def softmax(x: Array, axis: int) -> Array:
    """By the definition, in f64."""
    y = x.astype(np.float64)
    y = np.exp(y - y.max(axis, keepdims=True))
    return np.asarray(y / y.sum(axis, keepdims=True))


def log_softmax(x: Array, axis: int) -> Array:
    """By the definition, in f64."""
    y = x.astype(np.float64)
    y = y - y.max(axis, keepdims=True)
    return np.asarray(y - np.log(np.exp(y).sum(axis, keepdims=True)))


ORACLES = {"tsoftmax": softmax, "tlogsoftmax": log_softmax}


@given(st.data())
def test_softmax_agrees_with_numpy(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 7, 19, 40]), min_size=1, max_size=4)))
    dtype = data.draw(st.sampled_from(sorted(TOLERANCE)))
    x = data.draw(views(shape, dtype))
    name, axis = (
        data.draw(st.sampled_from(sorted(ORACLES))),
        data.draw(st.integers(-x.ndim, x.ndim - 1)),
    )
    got = Bench().run(name, x.shape, dtype, x, attributes=Attributes(axis=axis))
    expected, tolerance = ORACLES[name](x, axis), TOLERANCE[dtype]
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@given(st.integers(1, 9), st.integers(1, 70), st.sampled_from(sorted(ORACLES)))
def test_rows_shorter_than_a_vector_agree_with_numpy(length: int, rows: int, name: str) -> None:
    x = sample("f32", (rows, length), length)
    got = Bench().run(name, x.shape, "f32", x, attributes=Attributes(axis=1))
    np.testing.assert_allclose(got, ORACLES[name](x, 1), rtol=1e-6, atol=1e-6)


def test_a_row_that_is_masked_in_part_has_zeros_there() -> None:
    x = sample("f32", (5, 300), 1)
    x[:, 40:200] = -np.inf
    got = Bench().run("tsoftmax", x.shape, "f32", x, attributes=Attributes(axis=1))
    assert (got[:, 40:200] == 0).all()
    np.testing.assert_allclose(got, softmax(x, 1), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", sorted(ORACLES))
@pytest.mark.parametrize("axis", [0, 1])
def test_large_elements_do_not_overflow(name: str, axis: int) -> None:
    x = sample("f32", (5, 1000), 3) * np.float32(1e37)
    got = Bench().run(name, x.shape, "f32", x, attributes=Attributes(axis=axis))
    np.testing.assert_allclose(got, ORACLES[name](x, axis), rtol=1e-6)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_softmax_may_be_computed_in_place_and_along_the_last_axis_by_default(name: str) -> None:
    x = sample("f32", (6, 37), 2)
    bench = Bench()
    placed = bench.place(x)
    bench.execute(name, placed, placed)
    np.testing.assert_allclose(bench.array(placed), ORACLES[name](x, -1), rtol=1e-6, atol=1e-6)


def test_the_destination_may_be_transposed() -> None:
    x = sample("f64", (6, 37), 2)
    bench = Bench()
    target = bench.place(np.zeros((37, 6)).T)
    bench.execute("tsoftmax", target, bench.place(x))
    np.testing.assert_allclose(bench.array(target), softmax(x, 1), rtol=1e-14)


@pytest.mark.parametrize(
    ("source", "shape", "axis", "reason"),
    [("i32", (3, 4), 1, (1, 1)), ("f32", (3, 4), 2, (4, 3)), ("f32", (3, 4), -3, (4, 3)),
     ("f32", (3, 5), 1, (3, 0))],
)  # fmt: skip
def test_what_does_not_fit_traps_with_its_reason(
    source: str, shape: tuple[int, ...], axis: int, reason: tuple[int, int]
) -> None:
    bench = Bench()
    with pytest.raises(Trap):
        bench.run("tsoftmax", shape, source, sample(source, (3, 4), 1),
                  attributes=Attributes(axis=axis))  # fmt: skip
    assert (bench.tcause, bench.toperand) == reason
