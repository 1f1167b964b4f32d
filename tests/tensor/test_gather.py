"""Gather against numpy.take: axes, strides, types, indices from the end, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.traps import Trap
from tests.tensor.bench import NUMPY, Bench
from tests.tensor.test_elementwise import sample, views

TYPES = ("f32", "f64", "f16", "bool", "u8", "i16", "i64")


@settings(max_examples=80)
@given(st.data())
def test_gather_agrees_with_numpy(data: st.DataObject) -> None:
    extents = st.sampled_from([1, 2, 3, 5, 19])
    dtype = data.draw(st.sampled_from(TYPES))
    shape = tuple(data.draw(st.lists(extents, min_size=1, max_size=3)))
    x = data.draw(views(shape, dtype))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    picked = data.draw(views(tuple(data.draw(st.lists(extents, max_size=2))), "i64"))
    assume(x.size * picked.size // x.shape[axis] < 50_000)
    n = x.shape[axis]
    indices = picked.astype(np.int64) % (2 * n) - n
    if data.draw(st.booleans()):
        indices = indices.astype(np.int32)
    indices = indices[::-1].T if indices.ndim else indices
    expected = np.take(x, indices, axis)
    got = Bench().run(
        "tgather", expected.shape, dtype, x, indices, attributes=Attributes(axis=axis)
    )
    np.testing.assert_array_equal(got, expected)


def test_the_destination_may_be_transposed_and_overlap_the_data() -> None:
    x = sample("f32", (8, 8), 1)
    indices = np.array([3, -1, 0, 2, 2, 5, -8, 1])
    bench = Bench()
    source = bench.place(x)
    target = source.copy()
    target.strides[:2] = [1, 8]
    bench.execute("tgather", target, source, bench.place(indices))
    np.testing.assert_array_equal(bench.array(target), x[indices])


@pytest.mark.parametrize("bad", [4, -5, 2**40, -(2**63)])
@pytest.mark.parametrize("axis", [0, 1])
def test_an_index_out_of_range_traps_before_anything_is_written(bad: int, axis: int) -> None:
    bench = Bench()
    indices = np.array([0, 1, bad, 2] * 3)
    target = bench.empty((12, 4) if axis == 0 else (4, 12), "f32")
    before = bench.array(target)
    with pytest.raises(Trap):
        bench.execute(
            "tgather", target, bench.place(sample("f32", (4, 4), 1)), bench.place(indices),
            attributes=Attributes(axis=axis),
        )  # fmt: skip
    assert (bench.tcause, bench.toperand) == (8, 2)
    np.testing.assert_array_equal(bench.array(target), before)


def test_a_gather_is_charged_for_what_it_picks_not_for_the_table() -> None:
    table, indices = sample("f32", (5000, 64), 1), np.array([7, 4999])
    bench = Bench()
    bench.execute("tgather", bench.empty((2, 64), "f32"), bench.place(table), bench.place(indices))
    assert bench.stall_ps < 200_000


@pytest.mark.parametrize(
    ("shape", "dtype", "indices", "axis", "reason"),
    [((2, 4), "f64", "i64", 0, (1, 0)), ((2, 4), "f32", "i16", 0, (1, 2)),
     ((2, 4), "f32", "i64", 2, (4, 3)), ((2, 4), "f32", "i64", 1, (3, 0))],
)  # fmt: skip
def test_what_does_not_fit_traps_with_its_reason(
    shape: tuple[int, ...], dtype: str, indices: str, axis: int, reason: tuple[int, int]
) -> None:
    bench = Bench()
    with pytest.raises(Trap):
        bench.run(
            "tgather", shape, dtype, sample("f32", (3, 4), 1), np.zeros(2, NUMPY[indices]),
            attributes=Attributes(axis=axis),
        )  # fmt: skip
    assert (bench.tcause, bench.toperand) == reason
