"""tmatmul against NumPy, tconv against onnxruntime: shapes, strides, types, bias, and refusals."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.faults import TENSOR_EXCEPTION, Cause, Operand
from emu.cpu.traps import Trap
from tests.tensor.bench import NUMPY, Array, Bench
from tests.tensor.test_elementwise import views

EXTENTS = st.sampled_from([1, 2, 3, 5, 14, 17, 33, 70])
BIAS = 10
"""The attribute block's name for tr9."""


def strided(shape: tuple[int, ...], dtype: str) -> st.SearchStrategy[Array]:
    """An array of exactly `shape`, with any strides."""
    return views(shape, dtype).map(lambda v: np.broadcast_to(v, shape))


def product_of(a: Array, b: Array, bias: Array | None) -> Array:
    """NumPy's answer, floats in f64 so that only ours is rounded."""
    wide = np.float64 if a.dtype.kind == "f" else a.dtype
    with np.errstate(over="ignore", invalid="ignore"):
        result = a.astype(wide) @ b.astype(wide)
        return result if bias is None else result + bias.astype(wide)


@settings(max_examples=60)
@given(st.data())
def test_matmul_agrees_with_numpy(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["f32", "f64", "i32", "i64", "f16"]))
    m, k, n = data.draw(EXTENTS), data.draw(st.sampled_from([1, 3, 40, 300])), data.draw(EXTENTS)
    batch = data.draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    a = data.draw(strided((*batch, m, k), dtype))
    b = data.draw(strided((*data.draw(st.sampled_from([(), batch])), k, n), dtype))
    bias = data.draw(st.none() | strided((n,), dtype))
    assume(all(np.isfinite(v).all() for v in (a, b) if v.dtype.kind == "f"))
    expected = product_of(a, b, bias)
    attributes = None if bias is None else Attributes(bias=BIAS)
    got = Bench().run("tmatmul", expected.shape, dtype, a, b, attributes=attributes, bias=bias)
    if dtype in ("i32", "i64"):
        np.testing.assert_array_equal(got, expected.astype(NUMPY[dtype]))
        return
    scale = np.abs(product_of(np.abs(a), np.abs(b), None if bias is None else np.abs(bias)))
    rounding = {"f16": 2.0**-10, "f32": 2.0**-22, "f64": 2.0**-50}[dtype]
    finite = scale < np.finfo(NUMPY[dtype]).max
    difference = np.abs(got.astype(np.float64) - expected)
    assert (difference[finite] <= scale[finite] * rounding * k + 1e-7 * (dtype == "f16")).all()


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("dtype", ["f32", "i64"])
def test_few_rows_times_a_transposed_matrix(rows: int, dtype: str) -> None:
    rng = np.random.default_rng(rows)
    a = rng.integers(-9, 9, (rows, 75)).astype(NUMPY[dtype])
    b = rng.integers(-9, 9, (22, 75)).astype(NUMPY[dtype]).T
    bias = rng.integers(-9, 9, 22).astype(NUMPY[dtype])
    got = Bench().run(
        "tmatmul", (rows, 22), dtype, a, b, attributes=Attributes(bias=BIAS), bias=bias
    )
    np.testing.assert_array_equal(got, a @ b + bias)  # small whole numbers: exact


def test_a_large_product_is_blocked_in_every_dimension() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 3, s).astype(np.float32) for s in ((530, 1100), (1100, 70)))
    np.testing.assert_array_equal(Bench().run("tmatmul", (530, 70), "f32", a, b), a @ b)
    a, b = (rng.integers(-3, 3, s).astype(np.float32) for s in ((10, 40), (40, 4200)))
    np.testing.assert_array_equal(Bench().run("tmatmul", (10, 4200), "f32", a, b), a @ b)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("cropped", [False, True])
def test_convolution_with_one_tap_agrees_with_onnxruntime(groups: int, cropped: bool) -> None:
    rng = np.random.default_rng(groups)
    x = rng.standard_normal((2, 6, 5, 8 if cropped else 7)).astype(np.float32)[..., :7]
    w = rng.standard_normal((20, 6 // groups, 1, 1)).astype(np.float32)
    bias, at = rng.standard_normal(20).astype(np.float32), Attributes(groups=groups, bias=BIAS)
    expected = by_onnxruntime(x, w, bias, at)
    got = Bench().run("tconv", expected.shape, "f32", x, w, attributes=at, bias=bias)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Array, Array, Array | None, Attributes]:
    spatial, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))
    per_group, outputs = draw(st.sampled_from([1, 2, 5])), draw(st.sampled_from([1, 3, 9]))
    extents = [draw(st.integers(1, 20)) for _ in range(spatial)]
    taps, stride, dilation, begin, end = (
        [draw(st.integers(low, high)) for _ in range(spatial)]
        for low, high in ((1, 4), (1, 3), (1, 3), (0, 3), (0, 3))
    )
    for i in range(spatial):
        reach = (taps[i] - 1) * dilation[i] + 1
        assume(extents[i] + begin[i] + end[i] >= reach)
    x = draw(strided((draw(st.integers(1, 2)), groups * per_group, *extents), "f32"))
    w = draw(strided((groups * outputs, per_group, *taps), "f32"))
    assume(np.isfinite(x).all() and np.isfinite(w).all())
    bias = draw(st.none() | strided((groups * outputs,), "f32"))
    four = {"stride": stride, "dilation": dilation, "pad_begin": begin, "pad_end": end}
    fill = {"stride": 1, "dilation": 1, "pad_begin": 0, "pad_end": 0}
    windows = {name: tuple(v) + (fill[name],) * (4 - spatial) for name, v in four.items()}
    return x, w, bias, Attributes(groups=groups, bias=0 if bias is None else BIAS, **windows)


def by_onnxruntime(x: Array, w: Array, bias: Array | None, at: Attributes) -> Array:
    """The same convolution in f64 by onnxruntime."""
    spatial = x.ndim - 2
    feeds = {"x": x, "w": w} | ({} if bias is None else {"b": bias})
    node = helper.make_node(
        "Conv", list(feeds), ["y"], group=at.groups, strides=at.stride[:spatial],
        dilations=at.dilation[:spatial], pads=at.pad_begin[:spatial] + at.pad_end[:spatial],
    )  # fmt: skip
    kind = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(k, kind, v.shape) for k, v in feeds.items()]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", kind, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {k: np.ascontiguousarray(v) for k, v in feeds.items()})[0]


@settings(max_examples=60)
@given(convolutions())
def test_convolution_agrees_with_onnxruntime(
    case: tuple[Array, Array, Array | None, Attributes],
) -> None:
    x, w, bias, attributes = case
    expected = by_onnxruntime(x, w, bias, attributes)
    got = Bench().run("tconv", expected.shape, "f32", x, w, attributes=attributes, bias=bias)
    magnitude = by_onnxruntime(np.abs(x), np.abs(w), None if bias is None else np.abs(bias),
                               attributes)  # fmt: skip
    finite = np.isfinite(magnitude)
    assert (np.abs(got - expected)[finite] <= 1e-5 * magnitude[finite] + 1e-30).all()


def test_activation_is_applied_to_the_product() -> None:
    a = np.array([[1.0, -2.0]], np.float32)
    b = np.array([[1.0, 3.0, -1.0], [2.0, 1.0, 0.0]], np.float32)
    relu = Bench().run("tmatmul", (1, 3), "f32", a, b, attributes=Attributes(activation=1))
    np.testing.assert_array_equal(relu, np.maximum(a @ b, 0))
    leaky = Attributes(activation=4, alpha=0.25)
    got = Bench().run("tmatmul", (1, 3), "f32", a, b, attributes=leaky)
    np.testing.assert_array_equal(got, np.where(a @ b < 0, 0.25 * (a @ b), a @ b))


def test_result_over_its_own_operand_is_as_if_copied() -> None:
    a = np.arange(16, dtype=np.float32).reshape(4, 4)
    bench = Bench()
    operand = bench.place(a)
    bench.execute("tmatmul", operand, operand, operand)
    np.testing.assert_array_equal(bench.array(operand), a @ a)


F = np.float32
A, B, IMAGE, TAPS = (
    np.zeros((3, 4), F),
    np.zeros((4, 5), F),
    np.zeros((1, 4, 6, 6), F),
    np.zeros((2, 4, 3, 3), F),
)


@pytest.mark.parametrize(
    ("mnemonic", "shape", "sources", "attributes", "cause", "operand"),
    [
        ("tmatmul", (3, 5), (A, B.astype(np.float64)), None, Cause.DTYPE, Operand.SECOND),
        ("tmatmul", (3, 5), (A[0], B), None, Cause.RANK, Operand.FIRST),
        ("tmatmul", (3, 6), (A, B), None, Cause.SHAPE, Operand.DESTINATION),
        ("tmatmul", (3, 5), (A, B[1:]), None, Cause.SHAPE, Operand.SECOND),
        ("tmatmul", (2, 3, 5), (A, B), None, Cause.SHAPE, Operand.DESTINATION),
        ("tconv", (1, 2, 4, 4), (IMAGE[0], TAPS), None, Cause.RANK, Operand.SECOND),
        ("tconv", (1, 2, 5, 4), (IMAGE, TAPS), None, Cause.SHAPE, Operand.DESTINATION),
        ("tconv", (1, 2, 4, 4), (IMAGE[:, :3], TAPS), None, Cause.SHAPE, Operand.FIRST),
        ("tconv", (1, 2, 4, 4), (IMAGE, TAPS), Attributes(groups=3), Cause.ATTRIBUTE,
         Operand.ATTRIBUTE),
        ("tconv", (1, 2, 4, 4), (IMAGE, TAPS), Attributes(dilation=(4, 1, 1, 1)), Cause.ATTRIBUTE,
         Operand.ATTRIBUTE),
    ],
)  # fmt: skip
def test_operands_that_do_not_fit_trap_with_cause_and_operand_and_write_nothing(
    mnemonic: str,
    shape: tuple[int, ...],
    sources: tuple[Array, ...],
    attributes: Attributes | None,
    cause: Cause,
    operand: Operand,
) -> None:
    bench = Bench()
    target = bench.empty(shape, "f32")
    before = bench.array(target)
    placed = [bench.place(s) for s in sources]
    with pytest.raises(Trap) as trap:
        bench.execute(mnemonic, target, *placed, attributes=attributes)
    assert (trap.value.cause, bench.tcause, bench.toperand) == (TENSOR_EXCEPTION, cause, operand)
    np.testing.assert_array_equal(bench.array(target), before)
