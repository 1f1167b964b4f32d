"""Gathers and scatters by element and by coordinate: onnx's cases, NumPy, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.traps import Trap
from tests.tensor.bench import NAMES, Array, Bench
from tests.tensor.onnx_cases import Case, cases
from tests.tensor.test_elementwise import sample, views

MODES = ("none", "add", "mul", "max", "min")
TYPES = ("f32", "f64", "f16", "u8", "i16", "i32", "i64")


def run(
    mnemonic: str, shape: tuple[int, ...], x: Array, y: Array, *extras: Array, at: Attributes
) -> Array:
    """The result of an instruction with extra operands."""
    bench = Bench()
    target = bench.empty(shape, NAMES[x.dtype])
    for number, extra in enumerate(extras, 8):
        bench.tr[number] = bench.place(extra)
    if extras:
        at = replace(at, bias=9)
    bench.execute(mnemonic, target, bench.place(x), bench.place(y), attributes=at)
    return bench.array(target)


def identity(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", cases("GatherElements"), ids=identity)
def test_gather_elements_agrees_with_onnx(case: Case) -> None:
    data, indices = case.inputs.values()
    at = Attributes(axis=case.attributes.get("axis", 0))
    got = run("tgather_elements", indices.shape, data, indices, at=at)
    np.testing.assert_array_equal(got, case.outputs[0])


@pytest.mark.parametrize("case", cases("GatherND"), ids=identity)
def test_gather_nd_agrees_with_onnx(case: Case) -> None:
    data, indices = case.inputs.values()
    at = Attributes(count=case.attributes.get("batch_dims", 0))
    got = run("tgather_nd", case.outputs[0].shape, data, indices, at=at)
    np.testing.assert_array_equal(got, case.outputs[0])


@pytest.mark.parametrize("case", cases("ScatterElements"), ids=identity)
def test_scatter_elements_agrees_with_onnx(case: Case) -> None:
    data, indices, updates = case.inputs.values()
    mode = MODES.index(case.mode("reduction", "none"))
    at = Attributes(axis=case.attributes.get("axis", 0), mode=mode)
    got = run("tscatter_elements", data.shape, data, indices, updates, at=at)
    np.testing.assert_array_equal(got, case.outputs[0])


@pytest.mark.parametrize("case", cases("ScatterND"), ids=identity)
def test_scatter_nd_agrees_with_onnx(case: Case) -> None:
    data, indices, updates = case.inputs.values()
    at = Attributes(mode=MODES.index(case.mode("reduction", "none")))
    got = run("tscatter_nd", data.shape, data, indices, updates, at=at)
    np.testing.assert_array_equal(got, case.outputs[0])


def index_of(data: st.DataObject, shape: tuple[int, ...], extent: int) -> Array:
    """Indices into an extent, some of them from the end, with any strides."""
    drawn = data.draw(views(shape, "i64")).astype(np.int64) % (2 * extent) - extent
    drawn = np.broadcast_to(drawn, shape)
    indices = drawn.astype(data.draw(st.sampled_from([np.int32, np.int64])))
    return np.asarray(indices[::-1] if data.draw(st.booleans()) and indices.ndim else indices)


@settings(max_examples=60)
@given(st.data())
def test_gather_elements_agrees_with_numpy(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 5, 19]), min_size=1, max_size=3)))
    x = data.draw(views(shape, data.draw(st.sampled_from(TYPES))))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    count = [min(data.draw(st.integers(1, 20)), n) for n in x.shape]
    count[axis] = data.draw(st.integers(1, 40))
    indices = index_of(data, tuple(count), x.shape[axis])
    within = tuple(slice(0, n) for d, n in enumerate(count) if d != axis % x.ndim)
    cut = np.moveaxis(np.moveaxis(x, axis, 0)[(slice(None), *within)], 0, axis)
    expected = np.take_along_axis(cut, indices.astype(np.int64), axis)
    got = run("tgather_elements", indices.shape, x, indices, at=Attributes(axis=axis))
    np.testing.assert_array_equal(got, expected)


def combine(mode: str, old: Array, new: Array) -> Array:
    """One update."""
    functions = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    return np.asarray(functions[mode](old, new) if mode in functions else new)


@settings(max_examples=60)
@given(st.data())
def test_updates_with_one_index_each_follow_each_other(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    dtype, mode = data.draw(st.sampled_from(TYPES)), data.draw(st.sampled_from(MODES))
    x = data.draw(views(shape, dtype))
    axis = data.draw(st.integers(0, x.ndim - 1))
    count = tuple(data.draw(st.integers(1, 9)) if d == axis else n for d, n in enumerate(x.shape))
    indices, updates = index_of(data, count, x.shape[axis]), data.draw(views(count, dtype))
    updates = np.broadcast_to(updates, count)
    expected = np.array(x)
    for at in np.ndindex(*count):
        place = (*at[:axis], int(indices[at]), *at[axis + 1 :])
        with np.errstate(over="ignore"):
            expected[place] = combine(mode, expected[place], updates[at])
    got = run(
        "tscatter_elements", x.shape, x, indices, updates,
        at=Attributes(axis=axis, mode=MODES.index(mode)),
    )  # fmt: skip
    np.testing.assert_array_equal(got, expected)


@settings(max_examples=60)
@given(st.data())
def test_slices_along_an_axis_are_updated_in_order(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 19), min_size=1, max_size=3)))
    dtype, mode = data.draw(st.sampled_from(TYPES)), data.draw(st.sampled_from(MODES))
    x = data.draw(views(shape, dtype))
    axis = data.draw(st.integers(0, x.ndim - 1))
    indices = index_of(data, (data.draw(st.integers(1, 30)),), x.shape[axis])
    wide = (*x.shape[:axis], len(indices), *x.shape[axis + 1 :])
    updates = np.broadcast_to(data.draw(views(wide, dtype)), wide)
    expected = np.moveaxis(np.array(x), axis, 0)
    for k, index in enumerate(indices):
        with np.errstate(over="ignore"):
            expected[index] = combine(mode, expected[index], np.moveaxis(updates, axis, 0)[k])
    got = run(
        "tscatter", x.shape, x, indices, updates,
        at=Attributes(axis=axis, mode=MODES.index(mode)),
    )  # fmt: skip
    np.testing.assert_array_equal(got, np.moveaxis(expected, 0, axis))


def test_bools_combine_by_or_and_and() -> None:
    x, u = np.array([True, False]), np.array([False, True])
    for mode, expected in (("add", [True, True]), ("mul", [False, False])):
        at = Attributes(mode=MODES.index(mode), axis=0)
        got = run("tscatter_elements", (2,), x, np.array([0, 1]), u, at=at)
        assert got.tolist() == expected


@pytest.mark.parametrize("step", [1, 2])
def test_a_tensor_may_be_updated_in_place(step: int) -> None:
    bench = Bench()
    x = sample("f32", (40, 16 * step), 1)[:, ::step]
    place = bench.place(x)
    bench.tr[8] = bench.place(-x[:2])
    at = Attributes(axis=0, bias=9)
    bench.execute("tscatter", place, place, bench.place(np.array([7, -1])), attributes=at)
    expected = x.copy()
    expected[[7, 39]] = -x[:2]
    np.testing.assert_array_equal(bench.array(place), expected)


def test_a_tensor_may_be_updated_by_itself() -> None:
    bench = Bench()
    x = np.arange(9).reshape(3, 3)
    place = bench.place(x)
    bench.tr[8] = place
    at = Attributes(axis=0, mode=1, bias=9)
    bench.execute("tscatter", place, place, bench.place(np.array([1, 2, 0])), attributes=at)
    np.testing.assert_array_equal(bench.array(place), x + x[[2, 0, 1]])


def test_indices_may_lie_where_the_result_does() -> None:
    bench = Bench()
    place = bench.place(np.array([2, 0, 1]))
    bench.tr[8] = bench.place(np.array([10, 20, 30]))
    bench.execute("tscatter", place, place, place, attributes=Attributes(axis=0, bias=9))
    assert bench.array(place).tolist() == [20, 30, 10]


@pytest.mark.parametrize("bad", [4, -5, 2**40, -(2**63)])
@pytest.mark.parametrize(
    ("mnemonic", "indices", "shape"),
    [("tgather_elements", (4, 4), (4, 4)), ("tgather_nd", (4, 2), (4,)),
     ("tscatter", (4,), (4, 4)), ("tscatter_elements", (4, 4), (4, 4)),
     ("tscatter_nd", (4, 1), (4, 4))],
)  # fmt: skip
def test_an_index_out_of_range_traps_before_anything_is_written(
    mnemonic: str, indices: tuple[int, ...], shape: tuple[int, ...], bad: int
) -> None:
    bench = Bench()
    y = np.zeros(indices, np.int64)
    y[(-1,) * y.ndim] = bad
    target = bench.empty(shape, "f32")
    before = bench.array(target)
    at = Attributes(axis=0)
    if "scatter" in mnemonic:
        bench.tr[8], at = bench.place(sample("f32", (4, 4), 2)), replace(at, bias=9)
    with pytest.raises(Trap):
        bench.execute(
            mnemonic, target, bench.place(sample("f32", (4, 4), 1)), bench.place(y), attributes=at
        )
    assert (bench.tcause, bench.toperand) == (8, 2)
    np.testing.assert_array_equal(bench.array(target), before)


@pytest.mark.parametrize(
    ("mnemonic", "indices", "updates", "at", "reason"),
    [("tgather_elements", (4, 5), None, Attributes(axis=0), (3, 2)),
     ("tgather_nd", (4, 3), None, Attributes(), (3, 2)),
     ("tgather_nd", (3, 1), None, Attributes(count=1), (3, 2)),
     ("tscatter_elements", (4, 4), (4, 3), Attributes(axis=0, bias=9), (3, 4)),
     ("tscatter_nd", (4, 1), (4, 4), Attributes(mode=5, bias=9), (4, 3)),
     ("tscatter_nd", (4, 1), (4, 4), Attributes(), (4, 4))],
)  # fmt: skip
def test_what_does_not_fit_traps_with_its_reason(
    mnemonic: str, indices: tuple[int, ...], updates: tuple[int, ...] | None, at: Attributes,
    reason: tuple[int, int],
) -> None:  # fmt: skip
    bench = Bench()
    if updates is not None:
        bench.tr[8] = bench.place(sample("f32", updates, 2))
    with pytest.raises(Trap):
        bench.execute(
            mnemonic, bench.empty((4, 4), "f32"), bench.place(sample("f32", (4, 4), 1)),
            bench.place(np.zeros(indices, np.int64)), attributes=at,
        )  # fmt: skip
    assert (bench.tcause, bench.toperand) == reason
