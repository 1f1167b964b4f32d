"""Elements that are not zero: onnx's cases, numpy.nonzero, and room for fewer or more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu.tensor.attributes import Attributes
from tests.tensor.bench import Array, Bench
from tests.tensor.onnx_cases import Case, cases
from tests.tensor.test_elementwise import views

TYPES = ("f32", "f64", "f16", "bool", "u8", "i16", "i32", "i64")


def run(x: Array, room: int, index: str = "i64") -> tuple[Array, int]:
    """The coordinates and the count."""
    bench = Bench()
    target, total = bench.empty((x.ndim, room), index), bench.empty((), "i64")
    bench.tr[8] = total
    bench.execute("tnonzero", target, bench.place(x), attributes=Attributes(bias=9))
    return bench.array(target), int(bench.array(total))


@pytest.mark.parametrize("case", cases("NonZero"), ids=lambda c: c.name)
def test_agrees_with_onnx(case: Case) -> None:
    (expected,) = case.outputs
    found, total = run(case.inputs["condition"], expected.shape[1])
    assert total == expected.shape[1]
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=60)
@given(st.data())
def test_agrees_with_numpy(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 5, 19, 70]), min_size=1, max_size=3)))
    x = np.asarray(data.draw(views(shape, data.draw(st.sampled_from(TYPES)))))
    x = np.where(np.random.default_rng(1).random(x.shape) < 0.7, np.zeros((), x.dtype), x)
    flat = np.flatnonzero(x)
    count = len(flat)
    expected = np.array(np.unravel_index(flat, x.shape)).reshape(x.ndim, count)
    room = data.draw(st.sampled_from([0, count // 2, count, count + 5]))
    found, total = run(x, room, data.draw(st.sampled_from(["i32", "i64"])))
    assert total == count
    kept = min(room, count)
    np.testing.assert_array_equal(found[:, :kept], expected[:, :kept])
    assert not found[:, kept:].any()


def test_a_scalar_has_no_coordinates() -> None:
    found, total = run(np.array(3), 1)
    assert (found.shape, total) == ((0, 1), 1)


def test_of_nothing_there_is_nothing() -> None:
    found, total = run(np.zeros((3, 0), np.float32), 2)
    assert (found.tolist(), total) == ([[0, 0], [0, 0]], 0)


def test_a_negative_zero_is_zero_and_nan_is_not() -> None:
    x = np.array([0.0, -0.0, np.nan, 1e-45, 2], np.float32)
    found, total = run(x, 5)
    assert (found.tolist(), total) == ([[2, 3, 4, 0, 0]], 3)
