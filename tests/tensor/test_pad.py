"""Padding against onnx's cases and numpy.pad; negative pads, constants, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.traps import Trap
from tests.tensor.bench import NAMES, Array, Bench
from tests.tensor.onnx_cases import Case, cases
from tests.tensor.test_elementwise import sample, views

MODES = ("constant", "reflect", "edge", "wrap")


def pads(rank: int, begin: dict[int, int], end: dict[int, int], **fields: float) -> Attributes:
    """A block that pads the dimensions named by either dictionary."""
    axes = sorted({*begin, *end})
    filled = [[side.get(d, 0) for d in axes] + [0] * (4 - len(axes)) for side in (begin, end)]
    return Attributes(
        axes=sum(1 << d for d in axes), pad_begin=tuple(filled[0]), pad_end=tuple(filled[1]),
        **fields,
    )  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize("case", cases("Pad"), ids=lambda c: c.name)
def test_agrees_with_onnx(case: Case) -> None:
    x, amounts, *rest = case.inputs.values()
    axes = range(x.ndim) if len(rest) < 2 else [int(d) % x.ndim for d in rest[1]]
    begin, end = (
        {d: int(n) for d, n in zip(axes, half, strict=True)}
        for half in np.split(amounts, 2)
    )  # fmt: skip
    value = float(rest[0]) if rest and rest[0].size else 0.0
    mode = MODES.index(case.mode("mode", "constant"))
    at = pads(x.ndim, begin, end, mode=mode, alpha=value)
    got = Bench().run("tpad", case.outputs[0].shape, NAMES[x.dtype], x, attributes=at)
    np.testing.assert_array_equal(got, case.outputs[0])


@settings(max_examples=80)
@given(st.data())
def test_agrees_with_numpy(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 3, 5, 19]), min_size=1, max_size=4)))
    dtype = data.draw(st.sampled_from(["f32", "f64", "f16", "u8", "i16", "i64"]))
    x, mode = data.draw(views(shape, dtype)), data.draw(st.sampled_from(MODES))
    sides = st.tuples(*[st.tuples(st.integers(0, 9), st.integers(0, 9))] * x.ndim)
    widths = data.draw(sides)
    constant = {"constant_values": 7} if mode == "constant" else {}
    expected = np.pad(x, widths, mode=mode, **constant)  # type: ignore[call-overload]
    begin, end = ({d: w[k] for d, w in enumerate(widths)} for k in (0, 1))
    at = pads(x.ndim, begin, end, mode=MODES.index(mode), alpha=7.0)
    got = Bench().run("tpad", expected.shape, dtype, x, attributes=at)
    np.testing.assert_array_equal(got, expected)


@given(st.integers(-4, 6), st.integers(-4, 6), st.sampled_from(MODES))
def test_negative_pads_take_away_first(before: int, behind: int, mode: str) -> None:
    x = sample("f32", (3, 9), 1)
    left = x[:, max(-before, 0) : 9 - max(-behind, 0)]
    constant = {"constant_values": 0} if mode == "constant" else {}
    widths = ((0, 0), (max(before, 0), max(behind, 0)))
    expected = np.pad(left, widths, mode=mode, **constant)  # type: ignore[call-overload]
    at = pads(2, {1: before}, {1: behind}, mode=MODES.index(mode))
    got = Bench().run("tpad", expected.shape, "f32", x, attributes=at)
    np.testing.assert_array_equal(got, expected)


def test_a_constant_from_a_tensor_is_exact() -> None:
    bench = Bench()
    x = np.array([1, 2], np.int64)
    bench.tr[8] = bench.place(np.array(2**62 + 1))
    target = bench.empty((3,), "i64")
    at = Attributes(pad_begin=(1, 0, 0, 0), bias=9)
    bench.execute("tpad", target, bench.place(x), attributes=at)
    assert bench.array(target).tolist() == [2**62 + 1, 1, 2]


@pytest.mark.parametrize("mode", MODES)
def test_images_with_channels_last(mode: str) -> None:
    x: Array = sample("f32", (2, 7, 9, 3), 1)
    widths = ((0, 0), (1, 2), (3, 1), (0, 0))
    at = pads(4, {1: 1, 2: 3}, {1: 2, 2: 1}, mode=MODES.index(mode))
    got = Bench().run("tpad", (2, 10, 13, 3), "f32", x, attributes=at)
    np.testing.assert_array_equal(got, np.pad(x, widths, mode=mode))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("rank", "at", "shape", "reason"),
    [(1, Attributes(pad_begin=(-4, 0, 0, 0)), (1,), (4, 3)),
     (1, Attributes(pad_begin=(-3, 0, 0, 0), pad_end=(2, 0, 0, 0), mode=2), (2,), (4, 3)),
     (1, Attributes(mode=4), (3,), (4, 3)),
     (5, Attributes(), (3, 3, 3, 3, 3), (4, 3)),
     (1, Attributes(pad_begin=(1, 0, 0, 0)), (3,), (3, 0))],
)  # fmt: skip
def test_what_does_not_fit_traps_with_its_reason(
    rank: int, at: Attributes, shape: tuple[int, ...], reason: tuple[int, int]
) -> None:
    bench = Bench()
    with pytest.raises(Trap):
        bench.run("tpad", shape, "f32", sample("f32", (3,) * rank, 1), attributes=at)
    assert (bench.tcause, bench.toperand) == reason
