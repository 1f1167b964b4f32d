"""Reductions and index searches against NumPy: axes, strides, types, NaN, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.traps import Trap
from tests.tensor.bench import NUMPY, Array, Bench
from tests.tensor.test_elementwise import sample, views

ORACLES: dict[str, Callable[..., Array]] = {
    "tsum": np.sum, "tmean": np.mean, "tprod": np.prod, "tredmax": np.max, "tredmin": np.min,
}  # fmt: skip
SEARCHES: dict[str, Callable[..., Array]] = {"targmax": np.argmax, "targmin": np.argmin}
KEEP_DIMS = 2


@st.composite
def sources(draw: st.DrawFn, dtypes: tuple[str, ...]) -> Array:
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 7, 19, 40]), max_size=4)))
    return draw(views(shape, draw(st.sampled_from(dtypes))))


def reduced(x: Array, name: str, mask: int, keep: bool) -> Array:
    """NumPy's answer, in the source's type; sums in f64, so that only ours is rounded."""
    axes = tuple(d for d in range(x.ndim) if not mask or mask >> d & 1)
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    kept = {} if name in ("tredmax", "tredmin") or x.dtype.kind == "f" else {"dtype": x.dtype}
    with np.errstate(over="ignore"):
        result = ORACLES[name](wide, axis=axes, keepdims=keep, **kept)
        return np.asarray(result).astype(x.dtype)


@settings(max_examples=80)
@given(st.data())
def test_reductions_agree_with_numpy(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(ORACLES)))
    x = data.draw(sources(("f32", "f64") if name == "tmean" else ("f32", "f64", "i32", "i64")))
    mask, keep = data.draw(st.integers(0, (1 << x.ndim) - 1)), data.draw(st.booleans())
    expected = reduced(x, name, mask, keep)
    attributes = Attributes(axes=mask, flags=KEEP_DIMS * keep)
    dtype = next(n for n, t in NUMPY.items() if np.dtype(t) == x.dtype)
    got = Bench().run(name, expected.shape, dtype, x, attributes=attributes)
    tolerance = {"tsum": 1e-11, "tmean": 1e-11, "tprod": 1e-9}.get(name, 0) + (
        1e-7 if dtype == "f32" else 0
    )
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@given(st.data())
def test_index_searches_find_the_first_as_numpy(data: st.DataObject) -> None:
    x = data.draw(sources(("f32", "f64", "i32", "u8")).filter(lambda v: v.ndim > 0))
    if x.dtype.kind == "f":
        x = np.round(x)  # so that there are ties
    name, axis = data.draw(st.sampled_from(sorted(SEARCHES))), data.draw(st.integers(0, x.ndim - 1))
    keep = data.draw(st.booleans())
    expected = np.asarray(SEARCHES[name](x, axis=axis, keepdims=keep))
    place = axis - x.ndim if data.draw(st.booleans()) else axis
    attributes = Attributes(axis=place, flags=KEEP_DIMS * keep)
    got = Bench().run(name, expected.shape, "i64", x, attributes=attributes)
    np.testing.assert_array_equal(got, expected)


@given(st.data())
def test_a_nan_is_everywhere_what_numpy_makes_of_it(data: st.DataObject) -> None:
    x = sample("f32", (5, 40), data.draw(st.integers(0, 9)))
    x[data.draw(st.integers(0, 4)), data.draw(st.integers(0, 39))] = np.nan
    x[data.draw(st.integers(0, 4)), data.draw(st.integers(0, 39))] = np.nan
    x = data.draw(st.sampled_from([x, x.T, x[:, ::-1]]))
    axis = data.draw(st.integers(0, 1))
    for name, oracle in SEARCHES.items():
        expected = oracle(x, axis=axis)
        got = Bench().run(name, expected.shape, "i64", x, attributes=Attributes(axis=axis))
        np.testing.assert_array_equal(got, expected)
    for name in ("tsum", "tredmax", "tredmin"):
        expected = ORACLES[name](x, axis=axis)
        got = Bench().run(name, expected.shape, "f32", x, attributes=Attributes(axes=1 << axis))
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_long_f32_sum_is_rounded_once() -> None:
    x = np.abs(sample("f32", (1000, 1003), 1))
    exact = x.astype(np.longdouble).sum()
    assert Bench().run("tsum", (), "f32", x) == np.float32(exact)


@pytest.mark.parametrize(("dtype", "name"), [("f16", "tsum"), ("u8", "tredmin"), ("i8", "tprod")])
def test_small_types_reduce_in_their_own_range(dtype: str, name: str) -> None:
    x = sample(dtype, (9, 33), 4)
    got = Bench().run(name, (33,), dtype, x, attributes=Attributes(axes=1))
    np.testing.assert_array_equal(got, reduced(x, name, 1, keep=False))


def test_what_nothing_is_reduced_to_is_neutral() -> None:
    x = np.zeros((2, 0), np.float32)
    for name, neutral in (("tsum", 0), ("tprod", 1), ("tredmax", -np.inf), ("tmean", np.nan)):
        got = Bench().run(name, (2,), "f32", x, attributes=Attributes(axes=2))
        np.testing.assert_array_equal(got, np.full(2, neutral, np.float32))


REFUSED = [
    ("tsum", (3,), "f64", Attributes(axes=2), (1, 0)),
    ("tsum", (3, 1), "f32", Attributes(axes=2), (3, 0)),
    ("tsum", (3,), "f32", Attributes(axes=4), (4, 3)),
    ("targmax", (3,), "f32", Attributes(axis=1), (1, 0)),
    ("targmax", (3,), "i64", Attributes(axis=2), (4, 3)),
    ("targmin", (4,), "i64", Attributes(axis=-1), (3, 0)),
]


@pytest.mark.parametrize(("name", "shape", "dtype", "attributes", "reason"), REFUSED)
def test_what_does_not_fit_traps_with_its_reason(
    name: str, shape: tuple[int, ...], dtype: str, attributes: Attributes, reason: tuple[int, int]
) -> None:
    bench = Bench()
    target = bench.empty(shape, dtype)
    before = bench.array(target)
    with pytest.raises(Trap) as trap:
        bench.execute(name, target, bench.place(sample("f32", (3, 4), 1)), attributes=attributes)
    assert trap.value.cause == 24
    assert (bench.tcause, bench.toperand) == reason
    np.testing.assert_array_equal(bench.array(target), before)
