"""Pooling against onnxruntime: windows, padding, dilation, strides; and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.traps import Trap
from tests.tensor.bench import Array, Bench
from tests.tensor.test_elementwise import sample, views

ONNX = {"tmaxpool": "MaxPool", "tavgpool": "AveragePool", "tlppool": "LpPool"}
CEIL = 2
Ints = tuple[int, ...]


def answers(name: str, x: Array, attributes: Attributes, results: int = 1) -> list[Array]:
    """onnxruntime's answers."""
    a, n, names = attributes, x.ndim - 2, ["y", "places"][:results]
    extra = {"count_include_pad": a.flags & 1} if name == "tavgpool" else {}
    extra |= {"ceil_mode": int(bool(a.flags & CEIL))} | (
        {"p": a.count} if name == "tlppool" else {}
    )
    node = helper.make_node(
        ONNX[name], ["x"], names, kernel_shape=a.kernel[:n], strides=a.stride[:n],
        dilations=a.dilation[:n], pads=[*a.pad_begin[:n], *a.pad_end[:n]], **extra,
    )  # fmt: skip
    kind = TensorProto.FLOAT if x.dtype == np.float32 else TensorProto.DOUBLE
    kinds = [kind, TensorProto.INT64][:results]
    graph = helper.make_graph(
        [node], "pool", [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info(n, k, None) for n, k in zip(names, kinds, strict=True)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return [np.asarray(y) for y in session.run(None, {"x": np.ascontiguousarray(x)})]


def oracle(name: str, x: Array, attributes: Attributes) -> Array:
    """onnxruntime's answer."""
    return answers(name, x, attributes)[0]


def four(values: list[int], filler: int) -> Ints:
    return (*values, *[filler] * (4 - len(values)))


@st.composite
def pools(draw: st.DrawFn) -> tuple[str, Array, Attributes]:
    rank = draw(st.integers(1, 3))
    extents = st.sampled_from([3, 5, 8, 21] if rank < 3 else [3, 5, 9])
    shape = (
        draw(st.integers(1, 2)),
        draw(st.integers(1, 3)),
        *[draw(extents) for _ in range(rank)],
    )
    name = draw(st.sampled_from(["tavgpool", "tmaxpool"]))
    x = draw(views(shape, "f64" if name == "tmaxpool" and draw(st.booleans()) else "f32"))

    def numbers(low: int, high: int) -> list[int]:
        return [draw(st.integers(low, high)) for _ in range(rank)]

    kernel, dilation = numbers(1, 3), numbers(1, 2)
    pads = [[draw(st.integers(0, k - 1)) for k in kernel] for _ in range(2)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    assume(all(r <= n for r, n in zip(reach, x.shape[2:], strict=True)))
    return name, x, Attributes(
        kernel=four(kernel, 0), stride=four(numbers(1, 3), 1), dilation=four(dilation, 1),
        pad_begin=four(pads[0], 0), pad_end=four(pads[1], 0),
        flags=CEIL * draw(st.integers(0, 1)) + (name == "tavgpool" and draw(st.integers(0, 1))),
        spatial_rank=draw(st.sampled_from([0, rank])),
    )  # fmt: skip


def run(name: str, x: Array, expected: Array, attributes: Attributes) -> Array:
    dtype = "f64" if x.dtype == np.float64 else "f32"
    return Bench().run(name, expected.shape, dtype, x, attributes=attributes)


@settings(max_examples=80)
@given(pools())
def test_pools_agree_with_onnxruntime(case: tuple[str, Array, Attributes]) -> None:
    name, x, attributes = case
    expected = oracle(name, x, attributes)
    got = run(name, x, expected, attributes)
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6)


@settings(max_examples=30)
@given(pools(), st.integers(1, 3))
def test_lp_pools_agree_with_onnxruntime(case: tuple[str, Array, Attributes], power: int) -> None:
    _, x, attributes = case
    x, block = x.astype(np.float32), replace(attributes, count=power, flags=0)
    expected = oracle("tlppool", x, block)
    got = run("tlppool", x, expected, block)
    np.testing.assert_allclose(got, expected, rtol=4e-6, atol=1e-6)


@settings(max_examples=40)
@given(pools(), st.booleans())
def test_places_of_maxima_agree_with_onnxruntime(
    case: tuple[str, Array, Attributes], tied: bool
) -> None:
    _, x, attributes = case
    x = np.round(x).astype(np.float32) if tied else x
    block = replace(attributes, flags=attributes.flags & CEIL, extras=(0,) * 6, bias=6)
    expected, places = answers("tmaxpool", x, block, 2)
    bench = Bench()
    bench.tr[5] = bench.empty(expected.shape, "i64")
    target = bench.empty(expected.shape, "f64" if x.dtype == np.float64 else "f32")
    bench.execute("tmaxpool", target, bench.place(x), attributes=block)
    np.testing.assert_array_equal(bench.array(target), expected)
    np.testing.assert_array_equal(bench.array(bench.tr[5]), places)


def test_a_nan_is_the_greatest_element_of_its_windows() -> None:
    x = sample("f32", (1, 2, 9, 40), 1)
    x[0, 1, 4, 17] = np.nan
    block = Attributes(kernel=(3, 3, 0, 0), pad_begin=(1, 1, 0, 0), pad_end=(1, 1, 0, 0))
    got = Bench().run("tmaxpool", x.shape, "f32", x, attributes=block)
    assert np.isnan(got[0, 1, 3:6, 16:19]).all()
    assert np.isnan(got).sum() == 9


@pytest.mark.parametrize("name", sorted(ONNX))
def test_a_window_as_large_as_the_source_is_a_global_pool(name: str) -> None:
    x = sample("f32", (2, 3, 7, 9), 1)
    attributes = Attributes(kernel=(7, 9, 0, 0), count=2)
    expected = oracle(name, x, attributes)
    np.testing.assert_allclose(run(name, x, expected, attributes), expected, rtol=1e-5)


def test_rounding_up_is_padding_at_the_end() -> None:
    x = sample("f32", (1, 1, 6), 1)
    attributes = Attributes(kernel=four([3], 0), stride=four([2], 1), pad_end=four([1], 0))
    got = Bench().run("tmaxpool", (1, 1, 3), "f32", x, attributes=attributes)
    windows = [x[0, 0, :3].max(), x[0, 0, 2:5].max(), x[0, 0, 4:].max()]
    np.testing.assert_array_equal(got[0, 0], windows)


def test_a_window_wholly_in_the_padding() -> None:
    x = sample("f32", (1, 1, 2), 1)
    shape, padding = (1, 1, 6), {"pad_begin": four([2], 0), "pad_end": four([2], 0)}
    block = Attributes(kernel=four([1], 0), **padding)
    got = Bench().run("tmaxpool", shape, "f32", x, attributes=block)
    np.testing.assert_array_equal(got[0, 0, [0, 1, 4, 5]], np.full(4, -np.inf, np.float32))
    got = Bench().run("tavgpool", shape, "f32", x, attributes=block)
    assert np.isnan(got[0, 0, [0, 1, 4, 5]]).all()
    np.testing.assert_array_equal(got[0, 0, 2:4], x[0, 0])
    block = Attributes(kernel=four([1], 0), flags=1, **padding)
    got = Bench().run("tavgpool", shape, "f32", x, attributes=block)
    np.testing.assert_array_equal(got[0, 0, [0, 1, 4, 5]], np.zeros(4, np.float32))


@pytest.mark.parametrize("name", sorted(ONNX))
def test_the_destination_may_have_any_strides(name: str) -> None:
    x = sample("f32", (2, 3, 9, 11), 5)
    attributes = Attributes(
        kernel=(3, 2, 0, 0), stride=(2, 1, 1, 1), pad_begin=(1, 0, 0, 0), count=2
    )
    expected = oracle(name, x, attributes)
    bench = Bench()
    target = bench.place(np.zeros(expected.shape[::-1], np.float32).T)
    bench.execute(name, target, bench.place(x), attributes=attributes)
    np.testing.assert_allclose(bench.array(target), expected, rtol=1e-5, atol=1e-6)


WINDOW = (2, 2, 0, 0)


@pytest.mark.parametrize(
    ("name", "source", "shape", "attributes", "reason"),
    [("tavgpool", "i32", (1, 1, 3, 3), Attributes(kernel=WINDOW), (1, 1)),
     ("tmaxpool", "f32", (1, 1, 4, 3), Attributes(kernel=WINDOW), (3, 0)),
     ("tmaxpool", "f32", (1, 1, 3, 3), None, (4, 3)),
     ("tmaxpool", "f32", (1, 1, 3, 3), Attributes(kernel=WINDOW, spatial_rank=3), (4, 3)),
     ("tmaxpool", "f32", (1, 1, 3, 3), Attributes(kernel=WINDOW, pad_end=(-1, 0, 0, 0)), (4, 3))],
)  # fmt: skip
def test_what_does_not_fit_traps_with_its_reason(
    name: str,
    source: str,
    shape: Ints,
    attributes: Attributes | None,
    reason: Ints,
) -> None:
    bench = Bench()
    with pytest.raises(Trap):
        bench.run(name, shape, source, sample(source, (1, 1, 4, 4), 1), attributes=attributes)
    assert (bench.tcause, bench.toperand) == reason


def test_a_pool_needs_one_to_three_spatial_dimensions() -> None:
    bench = Bench()
    with pytest.raises(Trap):
        bench.run("tmaxpool", (2, 2), "f32", sample("f32", (2, 2), 1))
    assert (bench.tcause, bench.toperand) == (2, 1)


def test_windows_that_are_far_apart_read_nothing_behind_the_source() -> None:
    far = (1 << 32) - 1
    at = Attributes(kernel=(2, 1, 1, 1), stride=(far, 1, 1, 1), pad_begin=(1, 0, 0, 0))
    x = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    got = Bench().run("tmaxpool", (1, 3, 1), "f32", x, attributes=at)
    np.testing.assert_array_equal(got, x[:, :, :1])
