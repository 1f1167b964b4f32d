"""Norms against their definitions in f64: shapes, axes, strides, types, extra operands and results;
batch norm and hardmax against onnxruntime; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.traps import Trap
from tests.tensor.bench import Array, Bench
from tests.tensor.test_elementwise import sample, views

TOLERANCE = {"f32": 3e-6, "f64": 1e-12, "f16": 4e-3}
EPSILON = 2.0**-10  # as exact in f32 as in f64
Wide = NDArray[np.float64]


def execute(
    mnemonic: str,
    x: Array,
    dtype: str,
    *second: Array,
    extras: tuple[Array | None, ...] = (),
    results: tuple[tuple[int, ...] | None, ...] = (),
    **fields: object,
) -> list[Array]:
    """The destination, of x's shape, and the extra results of the shapes wanted."""
    bench = Bench()
    tensors = [bench.empty(x.shape, dtype), *(bench.place(v) for v in (x, *second))]
    placed = [None if v is None else bench.place(v) for v in extras]
    placed += [None if s is None else bench.empty(s, dtype) for s in results]
    numbers = []
    for register, descriptor in enumerate(placed, 5):
        if descriptor is not None:
            bench.tr[register] = descriptor
        numbers.append(0 if descriptor is None else register + 1)
    numbers += [0] * (7 - len(numbers))
    block = Attributes(bias=numbers[0], extras=tuple(numbers[1:]), **fields)  # type: ignore[arg-type]
    bench.execute(mnemonic, *tensors, attributes=block)
    written = [tensors[0], *(d for d in placed[len(extras) :] if d is not None)]
    return [bench.array(d) for d in written]


def normal(x: Array, axes: tuple[int, ...]) -> tuple[Wide, Wide, Wide]:
    """(x - mean) / deviation over axes, mean and 1/deviation."""
    y = x.astype(np.float64)
    mean, variance = y.mean(axes, keepdims=True), y.var(axes, keepdims=True)
    factor = 1 / np.sqrt(variance + EPSILON)
    return (y - mean) * factor, mean, factor


@st.composite
def tensors(draw: st.DrawFn, low: int = 1, high: int = 4) -> tuple[Array, str]:
    extents = st.sampled_from([1, 2, 3, 7, 19, 40])
    shape = tuple(draw(st.lists(extents, min_size=low, max_size=high)))
    dtype = draw(st.sampled_from(sorted(TOLERANCE)))
    return draw(views(shape, dtype)), dtype


def close(got: Array, expected: Wide, dtype: str) -> None:
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * size)


@settings(max_examples=60)
@given(st.data())
def test_layer_norm_agrees_with_its_definition(data: st.DataObject) -> None:
    x, dtype = data.draw(tensors())
    axis = data.draw(st.integers(0, x.ndim - 1))
    line = x.shape[axis:]
    scale, bias = (sample(dtype, line, seed) for seed in (1, 2))
    wanted = data.draw(st.booleans())
    expected, mean, factor = normal(x, tuple(range(axis, x.ndim)))
    shapes = (x.shape[:axis],) * 2 if wanted else (None, None)
    given_bias = data.draw(st.booleans())
    got = execute(
        "tlayernorm", x, dtype, scale, extras=(bias if given_bias else None,), results=shapes,
        axis=axis - x.ndim, alpha=EPSILON,
    )  # fmt: skip
    expected = expected * scale + (bias if given_bias else 0)
    close(got[0], expected, dtype)
    if wanted:
        close(got[1], mean.reshape(x.shape[:axis]), dtype)
        np.testing.assert_allclose(
            got[2], factor.reshape(x.shape[:axis]), rtol=1e-3 if dtype == "f16" else 1e-5
        )


@given(st.data())
def test_rms_norm_agrees_with_its_definition(data: st.DataObject) -> None:
    x, dtype = data.draw(tensors())
    axis = data.draw(st.integers(0, x.ndim - 1))
    scale = sample(dtype, x.shape[axis:], 1)
    y = x.astype(np.float64)
    square = (y * y).mean(tuple(range(axis, x.ndim)), keepdims=True)
    (got,) = execute("trmsnorm", x, dtype, scale, axis=axis, alpha=EPSILON)
    close(got, y / np.sqrt(square + EPSILON) * scale, dtype)


@given(st.data())
def test_instance_and_group_norm_agree_with_their_definition(data: st.DataObject) -> None:
    x, dtype = data.draw(tensors(2, 4))
    shape = x.shape
    groups = data.draw(st.sampled_from([g for g in (1, 2, 3, 19) if shape[1] % g == 0]))
    scale, bias = (sample(dtype, shape[1:2], seed) for seed in (1, 2))
    grouped = normal(x.reshape(shape[0], groups, -1), (2,))[0].reshape(shape)
    each = (1, -1) + (1,) * (x.ndim - 2)
    expected = grouped * scale.reshape(each) + bias.reshape(each)
    extras = (scale, bias)
    (got,) = execute("tgroupnorm", x, dtype, extras=extras, groups=groups, alpha=EPSILON)
    close(got, expected, dtype)
    if groups == shape[1]:
        (got,) = execute("tinstancenorm", x, dtype, extras=extras, alpha=EPSILON)
        close(got, expected, dtype)


@given(st.data())
def test_batch_norm_agrees_with_its_definition(data: st.DataObject) -> None:
    x, dtype = data.draw(tensors(2, 4))
    scale, bias, mean, variance = (np.abs(sample(dtype, x.shape[1:2], s)) for s in range(4))
    if data.draw(st.booleans()):  # channels last
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    each = (1, -1) + (1,) * (x.ndim - 2)
    s, b, m, v = (p.astype(np.float64).reshape(each) for p in (scale, bias, mean, variance))
    expected = (x.astype(np.float64) - m) / np.sqrt(v + EPSILON) * s + b
    activation = data.draw(st.sampled_from([0, 1]))
    (got,) = execute(
        "tbatchnorm", x, dtype, scale, extras=(bias, mean, variance), gamma=EPSILON,
        activation=activation,
    )  # fmt: skip
    close(got, np.maximum(expected, 0) if activation else expected, dtype)


@given(st.data())
def test_lp_norm_divides_by_the_length(data: st.DataObject) -> None:
    x, dtype = data.draw(tensors())
    axis, power = data.draw(st.integers(0, x.ndim - 1)), data.draw(st.sampled_from([1, 2]))
    y = x.astype(np.float64)
    length = np.linalg.norm(y, power, axis=axis, keepdims=True)
    (got,) = execute("tl2norm", x, dtype, axis=axis, count=power)
    close(got, np.divide(y, length, out=np.zeros_like(y), where=length != 0), dtype)


@given(st.data())
def test_local_response_norm_agrees_with_its_definition(data: st.DataObject) -> None:
    x, dtype = data.draw(tensors(2, 4))
    window, beta = data.draw(st.integers(1, 6)), data.draw(st.sampled_from([0.75, 0.5]))
    square = np.zeros(x.shape)
    for c in range(x.shape[1]):
        low = max(0, c - (window - 1) // 2)
        near = x[:, low : c - (window - 1) // 2 + window].astype(np.float64)
        square[:, c] = (near * near).sum(1)
    (got,) = execute("tlrn", x, dtype, alpha=0.25, beta=beta, gamma=1.5, count=window)
    close(got, x / (1.5 + 0.25 / window * square) ** beta, dtype)


@pytest.mark.parametrize("shape", [(1, 300_000), (2, 200_000), (1, 2, 90_000)])
def test_lines_longer_than_the_caches_are_cut_with_the_same_result(shape: tuple[int, ...]) -> None:
    x = sample("f32", shape, 3) + np.float32(100)
    scale, bias = (sample("f32", shape[-1:], seed) for seed in (1, 2))
    (got,) = execute("tlayernorm", x, "f32", scale, extras=(bias,), alpha=EPSILON)
    close(got, normal(x, (x.ndim - 1,))[0] * scale + bias, "f32")
    if x.ndim == 3:
        scale, bias = (sample("f32", shape[1:2], seed) for seed in (1, 2))
        (got,) = execute("tgroupnorm", x, "f32", extras=(scale, bias), groups=1, alpha=EPSILON)
        expected = normal(x.reshape(1, -1), (1,))[0].reshape(shape)
        close(got, expected * scale[:, None] + bias[:, None], "f32")


def test_a_large_common_offset_costs_no_accuracy() -> None:
    x = (np.arange(4096).reshape(4, 1024) % 17 + 2.0**18).astype(np.float32)
    (got,) = execute("tlayernorm", x, "f32", np.ones(1024, np.float32), alpha=EPSILON)
    np.testing.assert_allclose(got, normal(x, (1,))[0], rtol=1e-6, atol=1e-6)


def test_lines_without_elements_have_no_mean_and_are_not_touched() -> None:
    x, scale = np.zeros((3, 0), np.float32), np.ones(0, np.float32)
    results = ((3,), (3,))
    got = execute("tlayernorm", x, "f32", scale, extras=(None,), results=results, alpha=EPSILON)
    assert np.isnan(got[1]).all()
    assert np.isnan(got[2]).all()


@pytest.mark.parametrize("mnemonic", ["tlayernorm", "trmsnorm"])
def test_the_statistics_of_nothing_are_nan(mnemonic: str) -> None:
    x, none = np.zeros((2, 5, 0), np.float32), np.zeros(0, np.float32)
    bias = (None,) if mnemonic == "tlayernorm" else ()
    _, *found = execute(mnemonic, x, "f32", none, extras=bias, results=((2, 5),), axis=2)
    assert np.isnan(found[0]).all()


def test_a_nan_makes_its_line_nan_and_no_other() -> None:
    x = sample("f32", (3, 100), 1)
    x[1, 70] = np.nan
    (got,) = execute("tlayernorm", x, "f32", np.ones(100, np.float32), alpha=EPSILON)
    assert np.isnan(got[1]).all()
    assert not np.isnan(got[[0, 2]]).any()


@pytest.mark.parametrize(
    ("mnemonic", "second", "fields", "reason"),
    [("tlayernorm", (3,), {"axis": -1}, (3, 2)), ("tlayernorm", (4,), {"axis": 2}, (4, 3)),
     ("tl2norm", None, {"count": 3}, (4, 3)), ("tgroupnorm", None, {"groups": 3}, (4, 3))],
)  # fmt: skip
def test_what_does_not_fit_traps_with_its_reason(
    mnemonic: str, second: tuple[int, ...] | None, fields: dict[str, int], reason: tuple[int, int]
) -> None:
    bench, x = Bench(), sample("f32", (3, 4), 1)
    sources = [x] if second is None else [x, sample("f32", second, 2)]
    with pytest.raises(Trap):
        bench.run(mnemonic, x.shape, "f32", *sources, attributes=Attributes(**fields))
    assert (bench.tcause, bench.toperand) == reason
