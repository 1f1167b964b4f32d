"""One-hot, triangles and reversed sequences against onnx's cases and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.traps import Trap
from tests.tensor.bench import NAMES, NUMPY, Bench
from tests.tensor.onnx_cases import Case, cases
from tests.tensor.test_elementwise import sample, views


@pytest.mark.parametrize("case", cases("OneHot"), ids=lambda c: c.name)
def test_one_hot_agrees_with_onnx(case: Case) -> None:
    indices, _, values = case.inputs.values()
    (expected,) = case.outputs
    axis = case.attributes.get("axis", -1)
    depth = expected.shape[axis]
    bench = Bench()
    bench.tr[8] = bench.place(values)
    target = bench.empty(expected.shape, NAMES[values.dtype])
    at = Attributes(axis=axis, count=depth, bias=9)
    bench.execute("tonehot", target, bench.place(indices.astype(np.int64)), attributes=at)
    np.testing.assert_array_equal(bench.array(target), expected)


@settings(max_examples=60)
@given(st.data())
def test_one_hot_agrees_with_numpy(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 5, 19]), max_size=3)))
    depth = data.draw(st.sampled_from([1, 3, 20, 70]))
    picked = np.asarray(data.draw(views(shape, data.draw(st.sampled_from(["i32", "i64"])))))
    axis = data.draw(st.integers(-picked.ndim - 1, picked.ndim))
    dtype = data.draw(st.sampled_from(["f32", "f16", "u8", "i16", "f64"]))
    one = np.arange(depth) == np.where(picked < 0, picked + depth, picked)[..., None]
    expected = np.where(np.moveaxis(one, -1, axis), 3, 1).astype(NUMPY[dtype])
    at = Attributes(axis=axis, count=depth, alpha=1.0, beta=3.0)
    got = Bench().run("tonehot", expected.shape, dtype, picked, attributes=at)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("case", cases("Trilu"), ids=lambda c: c.name)
def test_triangles_agree_with_onnx(case: Case) -> None:
    x, *diagonal = case.inputs.values()
    at = Attributes(
        axis=int(diagonal[0]) if diagonal else 0, flags=1 - case.attributes.get("upper", 1)
    )
    got = Bench().run("ttrilu", x.shape, NAMES[x.dtype], x, attributes=at)
    np.testing.assert_array_equal(got, case.outputs[0])


@settings(max_examples=60)
@given(st.data())
def test_triangles_agree_with_numpy(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 3, 7, 40]), min_size=2, max_size=3)))
    x = data.draw(views(shape, data.draw(st.sampled_from(["f32", "bool", "i64", "i16"]))))
    x = np.array(x) if min(x.shape) == 0 else x
    diagonal, lower = data.draw(st.integers(-45, 45)), data.draw(st.booleans())
    expected = (np.tril if lower else np.triu)(x, diagonal)
    at = Attributes(axis=diagonal, flags=int(lower))
    got = Bench().run("ttrilu", x.shape, NAMES[x.dtype], x, attributes=at)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("case", cases("ReverseSequence"), ids=lambda c: c.name)
def test_reversed_sequences_agree_with_onnx(case: Case) -> None:
    x, lengths = case.inputs.values()
    at = Attributes(axis=case.attributes["time_axis"])
    got = Bench().run("treverse_sequence", x.shape, NAMES[x.dtype], x, lengths, attributes=at)
    np.testing.assert_array_equal(got, case.outputs[0])


@given(st.integers(0, 1), st.sampled_from(["f32", "u8", "f64"]), st.data())
def test_reversed_sequences_agree_with_numpy(axis: int, dtype: str, data: st.DataObject) -> None:
    x = sample(dtype, (5, 7, 3), 1)
    lengths = np.array([data.draw(st.integers(0, x.shape[axis])) for _ in range(x.shape[1 - axis])])
    expected = np.moveaxis(x.copy(), axis, 1)
    for row, length in zip(expected, lengths, strict=True):
        row[:length] = row[:length][::-1].copy()
    at = Attributes(axis=axis)
    got = Bench().run("treverse_sequence", x.shape, dtype, x, lengths, attributes=at)
    np.testing.assert_array_equal(got, np.moveaxis(expected, 1, axis))


@pytest.mark.parametrize("bad", [6, -1])
def test_a_length_out_of_range_traps_before_anything_is_written(bad: int) -> None:
    bench = Bench()
    x, target = bench.place(sample("f32", (5, 2), 1)), bench.empty((5, 2), "f32")
    before = bench.array(target)
    with pytest.raises(Trap):
        bench.execute("treverse_sequence", target, x, bench.place(np.array([1, bad])))
    assert (bench.tcause, bench.toperand) == (8, 2)
    np.testing.assert_array_equal(bench.array(target), before)


@pytest.mark.parametrize(
    ("mnemonic", "sources", "at", "reason"),
    [("tonehot", [np.zeros(3, np.int16)], Attributes(count=4), (1, 1)),
     ("tonehot", [np.zeros(3, np.int64)], Attributes(count=4, axis=2), (4, 3)),
     ("tonehot", [np.zeros(3, np.int64)], Attributes(count=5), (3, 0)),
     ("ttrilu", [np.zeros(12, np.float32)], Attributes(axis=0), (2, 1)),
     ("treverse_sequence", [np.zeros((3, 4), np.float32), np.zeros(3, np.int64)],
      Attributes(axis=0), (3, 2)),
     ("treverse_sequence", [np.zeros((3, 4), np.float32), np.zeros(3, np.int64)],
      Attributes(axis=2), (4, 3))],
)  # fmt: skip
def test_what_does_not_fit_traps_with_its_reason(
    mnemonic: str, sources: list[np.ndarray], at: Attributes, reason: tuple[int, int]
) -> None:
    bench = Bench()
    with pytest.raises(Trap):
        bench.run(mnemonic, (3, 4), "f32", *sources, attributes=at)
    assert (bench.tcause, bench.toperand) == reason
