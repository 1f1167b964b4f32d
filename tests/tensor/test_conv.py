"""tconv on every path, against NumPy tap by tap: the path must not show in the results."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.conv import run_conv
from emu.cpu.tensor.descriptor import F32, View
from emu.cpu.tensor.faults import Cause
from emu.cpu.tensor.plan import Place, planning
from emu.cpu.traps import Trap
from tests.tensor.bench import NUMPY, Array, Bench, run_in_parts
from tests.tensor.test_products import strided

BIAS = 10
"""The attribute block's name for tr9."""


def products(x: Array, taps: Array, groups: int) -> Array:
    """What one tap (outputs, channels of a group) makes of an image, group by group."""
    parts = zip(np.split(x, groups, axis=1), np.split(taps, groups), strict=True)
    return np.concatenate([np.einsum("nc...,oc->no...", *part) for part in parts], axis=1)


def windows(spatial: int, **values: list[int]) -> dict[str, tuple[int, ...]]:
    """The attribute block's fields of four elements, from lists of `spatial`."""
    return {
        name: tuple(v) + (0 if name.startswith("pad") else 1,) * (4 - spatial)
        for name, v in values.items()
    }


def expected(x: Array, w: Array, bias: Array | None, at: Attributes) -> Array:
    """The convolution in f64 or 64-bit integers."""
    spatial, wide = x.ndim - 2, np.float64 if x.dtype.kind == "f" else np.int64
    x, w = (np.ascontiguousarray(v).astype(wide) for v in (x, w))
    pads = list(zip(at.pad_begin[:spatial], at.pad_end[:spatial], strict=True))
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    result: Array = np.zeros((), wide)
    for tap in np.ndindex(*w.shape[2:]):
        seen = [
            slice(k * gap, k * gap + n - (taps - 1) * gap, step)
            for k, gap, step, n, taps in zip(
                tap, at.dilation, at.stride, x.shape[2:], w.shape[2:], strict=False
            )
        ]
        result = result + products(x[(..., *seen)], w[(..., *tap)], at.groups)
    if bias is None:
        return result
    return result + bias.astype(wide).reshape(-1, *[1] * spatial)


def error(x: Array, w: Array, bias: Array | None, at: Attributes, got: Array) -> float:
    """The greatest error, relative to the sum of the magnitudes that make an element."""
    wanted = expected(x, w, bias, at)
    scale = expected(np.abs(x), np.abs(w), None if bias is None else np.abs(bias), at)
    return float((np.abs(got - wanted) / np.maximum(scale, 1e-30)).max())


@st.composite
def depthwise(draw: st.DrawFn) -> tuple[Array, Array, Array | None, Attributes]:
    """Each output channel with one input channel."""
    spatial, channels = draw(st.integers(1, 2)), draw(st.integers(2, 5))
    taps, stride, dilation, begin, end = (
        [draw(st.integers(low, high)) for _ in range(spatial)]
        for low, high in ((1, 5), (1, 3), (1, 2), (0, 3), (0, 3))
    )
    extents = [draw(st.integers(1, 70)) for _ in range(spatial)]
    for n, t, g, b, e in zip(extents, taps, dilation, begin, end, strict=True):
        assume(n + b + e > (t - 1) * g)
    dtype = draw(st.sampled_from(["f32", "f32", "f64", "i32", "i16"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def numbers(*shape: int) -> Array:
        return rng.integers(-9, 9, shape).astype(NUMPY[dtype])

    x = numbers(draw(st.integers(1, 2)), channels, *extents)
    w = numbers(channels * draw(st.integers(1, 2)), 1, *taps)
    bias = numbers(len(w)) if draw(st.booleans()) else None
    four = windows(spatial, stride=stride, dilation=dilation, pad_begin=begin, pad_end=end)
    return x, w, bias, Attributes(groups=channels, bias=0 if bias is None else BIAS, **four)


@settings(max_examples=25)
@given(depthwise())
def test_depthwise_convolution_is_exact_for_small_integers(
    case: tuple[Array, Array, Array | None, Attributes],
) -> None:
    x, w, bias, at = case
    wanted = expected(x, w, bias, at).astype(x.dtype)
    dtype = next(name for name, type_ in NUMPY.items() if type_ == x.dtype)
    got = Bench().run("tconv", wanted.shape, dtype, x, w, attributes=at, bias=bias)
    np.testing.assert_array_equal(got, wanted)


@settings(max_examples=12)
@given(st.data())
def test_winograd_convolution_has_small_errors_for_every_extent(data: st.DataObject) -> None:
    high, wide = data.draw(st.integers(9, 40)), data.draw(st.integers(9, 90))
    channels, outputs = (data.draw(st.sampled_from([16, 19, 33])) for _ in range(2))
    pads = windows(2, pad_begin=[data.draw(st.integers(0, 2)) for _ in range(2)],
                   pad_end=[data.draw(st.integers(0, 2)) for _ in range(2)])  # fmt: skip
    rng = np.random.default_rng(high)
    x = rng.standard_normal((1, channels, high, wide)).astype(np.float32)
    w = rng.standard_normal((outputs, channels, 3, 3)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    at = Attributes(bias=BIAS, **pads)
    wanted = expected(x, w, bias, at)
    got = Bench().run("tconv", wanted.shape, "f32", x, w, attributes=at, bias=bias)
    assert np.abs(got - wanted).max() <= 5e-6 * np.abs(wanted).max()


@pytest.mark.parametrize("spoiler", [np.inf, np.nan, 3e38])
@pytest.mark.parametrize("where", ["image", "weights"])
def test_what_is_not_finite_stays_where_it_belongs(spoiler: float, where: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 16, 30, 30)).astype(np.float32)
    w = rng.standard_normal((32, 16, 3, 3)).astype(np.float32)
    (x if where == "image" else w)[0, 3, 1, 2] = spoiler
    at = Attributes(**windows(2, pad_begin=[1, 1], pad_end=[1, 1]))
    with np.errstate(over="ignore"):
        wanted = expected(x, w, None, at).astype(np.float32)
    got = Bench().run("tconv", wanted.shape, "f32", x, w, attributes=at)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@settings(max_examples=25)
@given(st.data())
def test_operands_may_have_any_strides_and_types(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["f32", "f64", "f16", "i32", "u8", "i64"]))
    groups, outputs = data.draw(st.sampled_from([1, 2, 3])), data.draw(st.sampled_from([1, 4, 9]))
    taps, step = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    x = data.draw(strided((1, groups * 3, 9, 10), dtype))
    w = data.draw(strided((groups * outputs, 3, taps, taps), dtype))
    if x.dtype.kind == "f":
        assume(np.isfinite(x).all() and np.isfinite(w).all())
    at = Attributes(groups=groups, **windows(2, stride=[step, step]))
    if x.dtype.kind == "f":
        wanted = expected(x, w, None, at)
        assume(np.abs(wanted).max() < np.finfo(x.dtype).max)
    else:
        with np.errstate(over="ignore"):
            wanted = expected(x, w, None, at).astype(x.dtype)
    got = Bench().run("tconv", wanted.shape, dtype, x, w, attributes=at)
    if x.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted)
    else:
        rounding = {"f32": 2.0**-20, "f64": 2.0**-49, "f16": 2.0**-10}[dtype]
        scale = expected(np.abs(x), np.abs(w), None, at)
        assert (np.abs(got - wanted) <= rounding * scale + 1e-7 * (dtype == "f16")).all()


@pytest.mark.parametrize(("channels", "outputs", "taps", "step", "extent"), [
    (3, 16, 3, 2, 64),  # rows, not packed
    (3, 40, 7, 2, 70),
    (40, 70, 3, 2, 13),  # 7 by 7 positions: one beside the vectors
    (70, 33, 1, 1, 14),  # 14 by 14: four
    (260, 9, 3, 1, 6),  # channels in several blocks
    (40, 24, 1, 1, 1),  # nothing but a tail
])  # fmt: skip
def test_matrix_products_of_every_form(
    channels: int, outputs: int, taps: int, step: int, extent: int
) -> None:
    rng = np.random.default_rng(extent)
    x = rng.integers(-3, 4, (2, channels, extent, extent)).astype(np.float32)
    w = rng.integers(-3, 4, (outputs, channels, taps, taps)).astype(np.float32)
    bias = rng.integers(-3, 4, outputs).astype(np.float32)
    pad = [taps // 2] * 2
    at = Attributes(bias=BIAS, activation=1,
                    **windows(2, stride=[step] * 2, pad_begin=pad, pad_end=pad))  # fmt: skip
    wanted = np.maximum(expected(x, w, bias, at), 0)
    got = Bench().run("tconv", wanted.shape, "f32", x, w, attributes=at, bias=bias)
    np.testing.assert_array_equal(got, wanted)  # small whole numbers: exact


@pytest.mark.parametrize("code", [1, 2, 4, 5, 8])
@pytest.mark.parametrize("groups", [1, 24])
def test_activations_are_applied_on_every_path(code: int, groups: int) -> None:
    rng = np.random.default_rng(code)
    x = rng.standard_normal((1, 24, 20, 33)).astype(np.float32)
    w = rng.standard_normal((24, 24 // groups, 3, 3)).astype(np.float32)
    at = Attributes(groups=groups, activation=code, alpha=0.25, beta=1.5)
    y = expected(x, w, None, at)
    wanted = {
        1: np.maximum(y, 0),
        2: 1 / (1 + np.exp(-y)),
        4: np.where(y < 0, 0.25 * y, y),
        5: np.clip(y, 0.25, 1.5),
        8: y * np.clip(y / 6 + 0.5, 0, 1),
    }[code]
    got = Bench().run("tconv", wanted.shape, "f32", x, w, attributes=at)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("channels", "outputs", "groups", "taps", "step", "extent"), [
    (3, 16, 1, 3, 2, 64), (40, 70, 1, 3, 2, 13), (16, 24, 2, 1, 1, 20), (24, 24, 24, 5, 1, 40),
    (32, 48, 1, 3, 1, 30),
])  # fmt: skip
def test_results_are_the_same_bits_for_any_number_of_threads(
    channels: int, outputs: int, groups: int, taps: int, step: int, extent: int
) -> None:
    rng = np.random.default_rng(extent)
    x = rng.standard_normal((1, channels, extent, extent)).astype(np.float32)
    w = rng.standard_normal((outputs, channels // groups, taps, taps)).astype(np.float32)
    at = Attributes(groups=groups, **windows(2, stride=[step] * 2))
    results = []
    for parts in (1, 2, 3, 8):
        out = np.full(expected(x, w, None, at).shape, np.nan, np.float32)
        with planning() as plan:
            views = [View(Place(k), F32, v.shape, v.strides) for k, v in enumerate((out, x, w))]
            run_conv(views[0], views[1], views[2], None, at)
        run_in_parts(plan, dict(enumerate((out, x, w))), parts)
        assert not np.isnan(out).any()
        results.append(out.tobytes())
    assert len(set(results)) == 1


def expected_transposed(
    x: Array, w: Array, bias: Array | None, at: Attributes, more: list[int]
) -> Array:
    """Each element of the image adds the taps, times itself; in f64, `more` elements behind."""
    spatial = x.ndim - 2
    x, w = x.astype(np.float64), w.astype(np.float64)
    axes = list(zip(x.shape[2:], w.shape[2:], at.stride, at.dilation, strict=False))
    room = [(n - 1) * step + (taps - 1) * gap + 1 for n, taps, step, gap in axes]
    grown = [n + extra for n, extra in zip(room, more, strict=True)]
    result = np.zeros((x.shape[0], w.shape[1] * at.groups, *grown))
    for tap in np.ndindex(*w.shape[2:]):
        reached = [
            slice(k * gap, k * gap + (n - 1) * step + 1, step)
            for k, (n, _, step, gap) in zip(tap, axes, strict=True)
        ]
        turned = np.concatenate(
            [part.T for part in np.split(w[(..., *tap)], at.groups)]
        )  # (outputs, channels of a group)
        result[(..., *reached)] += products(x, turned, at.groups)
    for d in range(spatial):
        keep = slice(at.pad_begin[d], grown[d] - at.pad_end[d])
        result = result[(*[slice(None)] * (2 + d), keep)]
    return result if bias is None else result + bias.reshape(-1, *[1] * spatial)


@st.composite
def transposed(draw: st.DrawFn) -> tuple[Array, Array, Array | None, Attributes, list[int]]:
    """Image, weights, bias, block and output padding; numbers that are summed exactly."""
    spatial, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))
    taps, stride, dilation, begin = (
        [draw(st.integers(low, high)) for _ in range(spatial)]
        for low, high in ((1, 4), (1, 4), (1, 3), (0, 2))
    )
    extents = [draw(st.integers(1, 18 if spatial < 3 else 6)) for _ in range(spatial)]
    more = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    if draw(st.booleans()):  # windows side by side
        stride, dilation, begin, more = taps, [1] * spatial, [0] * spatial, [0] * spatial
    for n, t, s, d, b, m in zip(extents, taps, stride, dilation, begin, more, strict=True):
        assume((n - 1) * s + (t - 1) * d + 1 - 2 * b + m > 0)
    dtype = draw(st.sampled_from(["f32", "f32", "f64", "i32", "f16"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def numbers(*shape: int) -> Array:
        return rng.integers(-3, 4, shape).astype(NUMPY[dtype])

    channels, outputs = groups * draw(st.sampled_from([1, 2, 5])), draw(st.sampled_from([1, 3, 9]))
    x, w = numbers(2, channels, *extents), numbers(channels, outputs, *taps)
    bias = numbers(groups * outputs) if draw(st.booleans()) else None
    four = windows(spatial, stride=stride, dilation=dilation, pad_begin=begin, pad_end=begin)
    return x, w, bias, Attributes(groups=groups, bias=0 if bias is None else BIAS, **four), more


@settings(max_examples=30)
@given(transposed())
def test_transposed_convolution_adds_the_taps_of_every_element(
    case: tuple[Array, Array, Array | None, Attributes, list[int]],
) -> None:
    x, w, bias, at, more = case
    wanted = expected_transposed(x, w, bias, at, more)
    dtype = next(name for name, type_ in NUMPY.items() if type_ == x.dtype)
    got = Bench().run("tconvtranspose", wanted.shape, dtype, x, w, attributes=at, bias=bias)
    np.testing.assert_array_equal(got, wanted.astype(x.dtype))


def test_a_transposed_convolution_of_too_many_phases_is_refused() -> None:
    bench, at = Bench(), Attributes(stride=(5000, 1, 1, 1), pad_begin=(1, 0, 0, 0))
    x, w = np.zeros((1, 1, 2), np.float32), np.zeros((1, 1, 5000), np.float32)
    target = bench.empty((1, 1, 9999), "f32")
    with pytest.raises(Trap):
        bench.execute("tconvtranspose", target, bench.place(x), bench.place(w), attributes=at)
    assert bench.tcause == Cause.LIMIT


@pytest.mark.parametrize(("kind", "groups"), [("u8", 1), ("i8", 1), ("u8", 8)])
def test_convolution_of_bytes_agrees_with_onnxruntime(kind: str, groups: int) -> None:
    rng = np.random.default_rng(groups)
    x = rng.integers(0, 120, (1, 8, 11, 20)).astype(NUMPY[kind])
    w = rng.integers(-120, 120, (16, 8 // groups, 3, 3)).astype(np.int8)
    zeros = np.array([77], x.dtype)[0], np.array([0], np.int8)[0]
    bias = rng.integers(-9999, 9999, 16).astype(np.int32)
    scales = rng.uniform(1e-4, 1e-3, 16).astype(np.float32)
    one, dz = np.float32(1), np.array(20, x.dtype)[()]
    feeds = {"x": x, "xs": one, "xz": zeros[0], "w": w, "ws": scales, "wz": np.zeros(16, np.int8),
             "ys": one, "yz": dz, "b": bias}  # fmt: skip
    node = helper.make_node("QLinearConv", list(feeds), ["y"], pads=[1, 1, 1, 1], group=groups)
    wanted = by_onnx(node, feeds)

    bench = Bench()
    at = Attributes(groups=groups, bias=5, extras=(6, 0, 7, 8, 0, 0),
                    **windows(2, pad_begin=[1, 1], pad_end=[1, 1]))  # fmt: skip
    extras = bias, np.array(zeros[0]), scales.reshape(16, 1, 1), np.array(dz)
    for register, operand in enumerate(extras, 4):
        bench.tr[register] = bench.place(operand)
    got = bench.run("tqconv", wanted.shape, kind, x, w, attributes=at)
    difference = np.abs(got.astype(int) - wanted.astype(int))
    assert difference.max() <= 1  # onnxruntime rounds products of f32
    assert (difference > 0).mean() < 0.01

    feeds = {"x": x, "w": w, "xz": zeros[0]}
    node = helper.make_node("ConvInteger", list(feeds), ["y"], pads=[1, 1, 1, 1], group=groups)
    exact = Attributes(groups=groups, extras=(6, 0, 0, 0, 0, 0),
                       **windows(2, pad_begin=[1, 1], pad_end=[1, 1]))  # fmt: skip
    sums = bench.run("tqconv", wanted.shape, "i32", x, w, attributes=exact)
    if kind == "u8":
        np.testing.assert_array_equal(sums, by_onnx(node, feeds))


def by_onnx(node: NodeProto, feeds: dict[str, Array]) -> Array:
    """What onnxruntime gives for one operator."""
    inputs = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in feeds.items()
    ]
    kind = (
        TensorProto.INT32 if node.op_type == "ConvInteger" else inputs[0].type.tensor_type.elem_type
    )
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", kind, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {k: np.asarray(v) for k, v in feeds.items()})[0]  # type: ignore[no-any-return]
