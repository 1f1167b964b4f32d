"""Running sums and products against NumPy; hardmax against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu.tensor.attributes import Attributes
from tests.tensor.bench import NAMES, Array, Bench
from tests.tensor.test_elementwise import sample, views


def running(x: Array, name: str, axis: int, exclusive: bool, reverse: bool) -> Array:
    """NumPy's answer in f64, or in the integers' own type."""
    product = name == "tcumprod"
    y = x.astype(np.float64) if x.dtype.kind == "f" else x
    y = np.flip(y, axis) if reverse else y
    z = (np.cumprod if product else np.cumsum)(y, axis, dtype=y.dtype)
    if exclusive:
        z = np.roll(z, 1, axis)
        z[(slice(None),) * axis + (slice(0, 1),)] = int(product)
    return np.flip(z, axis) if reverse else z


@settings(max_examples=80)
@given(st.data())
def test_running_sums_and_products_agree_with_numpy(data: st.DataObject) -> None:
    extents = st.sampled_from([1, 2, 3, 7, 19, 40])
    shape = tuple(data.draw(st.lists(extents, min_size=1, max_size=3)))
    x = data.draw(views(shape, data.draw(st.sampled_from(["f32", "f64", "i32", "u8"]))))
    name, axis = (
        data.draw(st.sampled_from(["tcumsum", "tcumprod"])),
        data.draw(st.integers(0, x.ndim - 1)),
    )
    exclusive, reverse = data.draw(st.booleans()), data.draw(st.booleans())
    with np.errstate(over="ignore"):
        expected = running(x, name, axis, exclusive, reverse)
    block = Attributes(axis=axis, flags=exclusive + 2 * reverse)
    got = Bench().run(name, x.shape, NAMES[x.dtype], x, attributes=block)
    if x.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected)
    else:
        tolerance = 1e-6 if x.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def test_a_running_sum_may_be_taken_in_place() -> None:
    x = sample("f32", (5, 37), 1)
    bench = Bench()
    placed = bench.place(x)
    bench.execute("tcumsum", placed, placed, attributes=Attributes(axis=1))
    np.testing.assert_allclose(bench.array(placed), np.cumsum(x, 1, np.float64), rtol=1e-5)


@given(st.data())
def test_hardmax_marks_the_first_greatest_element(data: st.DataObject) -> None:
    extents = st.sampled_from([1, 2, 3, 7, 19, 40])
    shape = tuple(data.draw(st.lists(extents, min_size=1, max_size=3)))
    x = data.draw(views(shape, data.draw(st.sampled_from(["f32", "f16"]))))
    x = np.round(x)  # so that there are ties
    axis = data.draw(st.integers(0, x.ndim - 1))
    expected = np.zeros(x.shape, x.dtype)
    np.put_along_axis(expected, np.argmax(x, axis, keepdims=True), 1, axis)
    got = Bench().run("thardmax", x.shape, NAMES[x.dtype], x, attributes=Attributes(axis=axis))
    np.testing.assert_array_equal(got, expected)
