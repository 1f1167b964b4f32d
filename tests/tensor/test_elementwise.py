"""Elementwise instructions against NumPy: shapes, strides, broadcasting, types, accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.cpu.tensor import elementwise
from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.checks import defaults
from emu.cpu.tensor.descriptor import DTYPES, View
from emu.cpu.tensor.elementwise import run_unary
from emu.cpu.tensor.expr import evaluate
from emu.cpu.tensor.plan import Place, planning
from emu.cpu.tensor.semantics import UNARY
from emu.isa.xaitensor import TENSORS
from emu.isa.xaitensor.signature import admits
from tests.tensor.bench import CODES, NUMPY, Array, Bench, bf16_to_f32, run_in_parts

FLOATS, INTS = ("f32", "f64"), ("u8", "i8", "i16", "i32", "i64")
OPERATIONS: dict[str, Callable[[Array, Array], Array]] = {
    "tadd": np.add, "tsub": np.subtract, "tmul": np.multiply, "tmin": np.minimum,
    "tmax": np.maximum, "teq": np.equal, "tne": np.not_equal, "tlt": np.less,
    "tle": np.less_equal, "tgt": np.greater, "tge": np.greater_equal,
}  # fmt: skip
COMPARISONS = {"teq", "tne", "tlt", "tle", "tgt", "tge"}


def sample(dtype: str, shape: tuple[int, ...], seed: int) -> Array:
    """Reproducible elements over much of the type's range."""
    rng = np.random.default_rng(seed)
    if dtype in INTS:
        return np.asarray(rng.integers(-100, 100, shape).astype(NUMPY[dtype]))
    if dtype == "bool":
        return np.asarray(rng.integers(0, 2, shape).astype(np.bool_))
    return np.asarray((rng.standard_normal(shape) * 3).astype(NUMPY[dtype]))


@st.composite
def views(draw: st.DrawFn, shape: tuple[int, ...], dtype: str) -> Array:
    """An array that broadcasts to `shape`: extents of 1, strides 0, negative, stepped, permuted."""
    extents, slices, stretched = [], [], []
    for extent in shape:
        kind = draw(st.sampled_from(["plain", "plain", "one", "zero", "step", "back"]))
        size = {"one": 1, "zero": 1, "step": 2 * extent}.get(kind, extent)
        extents.append(size)
        slices.append(
            {"step": slice(None, None, 2), "back": slice(None, None, -1)}.get(kind, slice(None))
        )
        stretched.append(extent if kind == "zero" else max(1, extent if kind != "one" else 1))
    order = draw(st.permutations(range(len(shape))))
    base = sample(dtype, tuple(extents[d] for d in order), draw(st.integers(0, 9)))
    view = base.transpose(np.argsort(order))[tuple(slices)]
    return np.asarray(np.broadcast_to(view, tuple(stretched)))


@st.composite
def binary_cases(draw: st.DrawFn) -> tuple[str, str, Array, Array]:
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 7, 19, 40]), max_size=4)))
    dtype = draw(st.sampled_from(FLOATS + INTS))
    name = draw(st.sampled_from(sorted(OPERATIONS)))
    return name, dtype, draw(views(shape, dtype)), draw(views(shape, dtype))


@given(binary_cases())
def test_binary_instructions_agree_with_numpy(case: tuple[str, str, Array, Array]) -> None:
    name, dtype, x, y = case
    expected = OPERATIONS[name](x, y)
    out = "bool" if name in COMPARISONS else dtype
    np.testing.assert_array_equal(Bench().run(name, expected.shape, out, x, y), expected)


@given(st.data())
def test_destination_may_have_any_strides(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    x = sample("f32", shape, 1)
    order = data.draw(st.permutations(range(len(shape))))
    bench = Bench()
    holder = np.zeros([2 * shape[d] for d in order], np.float32).transpose(np.argsort(order))
    target = bench.place(holder[tuple(slice(0, n) for n in shape)])
    bench.execute("tadd", target, bench.place(x), bench.place(x))
    np.testing.assert_array_equal(bench.array(target), x + x)


def test_integers_divide_as_risc_v_does() -> None:
    x = np.array([7, -7, 7, -7, 5, -(2**31)], np.int32)
    y = np.array([2, 2, -2, -2, 0, -1], np.int32)
    assert Bench().run("tdiv", (6,), "i32", x, y).tolist() == [3, -3, -3, 3, -1, -(2**31)]
    assert Bench().run("tmod", (6,), "i32", x, y).tolist() == [1, 1, -1, -1, 5, 0]


@pytest.mark.parametrize("dtype", INTS)
def test_integers_of_all_sizes_divide_exactly(dtype: str) -> None:
    limits, type_ = np.iinfo(NUMPY[dtype]), NUMPY[dtype]
    ends = np.array([limits.min, limits.max, limits.max - 1, limits.max // 2, 1, 2, 3], type_)
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.integers(limits.min, limits.max, 3000, type_), np.tile(ends, 7)])
    y = np.concatenate([rng.integers(limits.min, limits.max, 3000, type_), np.repeat(ends, 7)])
    x, y = x[y != 0], y[y != 0]
    quotients = [
        abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
    ]
    expected = np.array(quotients, object).astype(type_)
    np.testing.assert_array_equal(Bench().run("tdiv", x.shape, dtype, x, y), expected)
    np.testing.assert_array_equal(Bench().run("tmod", x.shape, dtype, x, y), np.mod(x, y))
    np.testing.assert_array_equal(Bench().run("tfmod", x.shape, dtype, x, y), np.fmod(x, y))


def test_float_division_modulo_and_power_follow_ieee() -> None:
    x = np.array([1, -1, 0, 5.5, -5.5, 2, -2, -2, 9, 0, np.inf, 1e300], np.float64)
    y = np.array([0, 0, 0, 2, 2, 0.5, 3, 0.5, -0.5, -1, -1, 2], np.float64)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(Bench().run("tdiv", (12,), "f64", x, y), x / y)
        np.testing.assert_array_equal(Bench().run("tmod", (12,), "f64", x, y), np.fmod(x, y))
        np.testing.assert_allclose(Bench().run("tpow", (12,), "f64", x, y), x**y, rtol=1e-15)


def test_integer_power_wraps() -> None:
    x = np.array([3, -2, 2, 7, -1, 1, 5], np.int64)
    y = np.array([4, 5, 63, 0, -3, -9, -1], np.int64)
    assert Bench().run("tpow", (7,), "i64", x, y).tolist() == [81, -32, -(2**63), 1, -1, 1, 0]


def test_minimum_and_maximum_of_nan_are_nan() -> None:
    x, y = np.array([np.nan, 1], np.float32), np.array([1, np.nan], np.float32)
    for name in ("tmin", "tmax"):
        assert np.isnan(Bench().run(name, (2,), "f32", x, y)).all()


@pytest.mark.parametrize("dtype", ["bool", "u8", "i64"])
def test_logic_is_bitwise_on_integers_and_logical_on_booleans(dtype: str) -> None:
    x, y = sample(dtype, (50,), 1), sample(dtype, (50,), 2)
    for name, oracle in (
        ("tand", np.bitwise_and),
        ("tor", np.bitwise_or),
        ("txor", np.bitwise_xor),
    ):
        np.testing.assert_array_equal(Bench().run(name, (50,), dtype, x, y), oracle(x, y))
    np.testing.assert_array_equal(Bench().run("tnot", (50,), dtype, x), np.invert(x))


SPECIALS = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-40, -1e-40, 1.0, -1.0, 88.8, -104.5]


@pytest.mark.parametrize("mnemonic", sorted(UNARY))
@pytest.mark.parametrize("dtype", FLOATS)
def test_unary_instructions_agree_with_their_meaning_in_python(mnemonic: str, dtype: str) -> None:
    declaration = TENSORS[mnemonic]
    if not admits(declaration.types["T"], dtype, "float") or declaration.results[0].type != "T":
        return
    at = defaults(declaration)
    x = np.concatenate([sample(dtype, (40,), 3), np.array(SPECIALS, NUMPY[dtype])])
    got = Bench().run(mnemonic, x.shape, dtype, x)
    expr = UNARY[mnemonic].expr
    expected = [evaluate(expr, (float(v),), (at.alpha, at.beta)) for v in x]
    with np.errstate(over="ignore"):
        tolerance = 4e-7 if dtype == "f32" else 2e-15
        np.testing.assert_allclose(
            got, np.array(expected).astype(NUMPY[dtype]), rtol=tolerance, atol=tolerance / 4
        )


@pytest.mark.parametrize(
    ("mnemonic", "oracle", "scale"),
    [("texp", np.exp, 20), ("tlog", np.log, 50), ("tsin", np.sin, 50), ("tcos", np.cos, 50),
     ("ttanh", np.tanh, 3)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", FLOATS)
def test_functions_are_within_three_units_in_the_last_place(
    mnemonic: str, oracle: Callable[[Array], Array], scale: float, dtype: str
) -> None:
    x = (np.random.default_rng(5).standard_normal(5000) * scale).astype(NUMPY[dtype])
    x = np.abs(x) if mnemonic == "tlog" else x
    exact = oracle(x.astype(np.longdouble))
    got = Bench().run(mnemonic, x.shape, dtype, x)
    ulps = np.abs(got - exact) / np.spacing(np.abs(exact).astype(NUMPY[dtype]))
    assert ulps.max() < 3


def test_clip_takes_its_limits_from_the_attribute_block() -> None:
    x = np.array([-5, -1, 0, 3, 9], np.int32)
    got = Bench().run("tclip", (5,), "i32", x, attributes=Attributes(alpha=-1, beta=3))
    assert got.tolist() == [-1, -1, 0, 3, 3]


@pytest.mark.parametrize("source", sorted(NUMPY))
@pytest.mark.parametrize("target", sorted(NUMPY))
def test_copy_converts_between_all_types(source: str, target: str) -> None:
    values = np.array([0, 1, 2, 3.5, 100, 0.25, 7, 9] * 5)
    bits = values.astype(np.float32).view(np.uint32) >> 16
    x = bits.astype(np.uint16) if source == "bf16" else values.astype(NUMPY[source])
    bench = Bench()
    placed = bench.place(x, source)
    got = bench.run("tcopy", x.shape, target, placed)
    exact = bf16_to_f32(x) if source == "bf16" else x
    if target == "bf16":
        np.testing.assert_array_equal(bf16_to_f32(got), exact.astype(np.float32))
    else:
        np.testing.assert_array_equal(got, exact.astype(NUMPY[target]))


@given(st.lists(st.floats(width=64), min_size=1, max_size=40))
def test_narrowing_copies_round_once_to_nearest_even(values: list[float]) -> None:
    x = np.array(values)
    with np.errstate(over="ignore"):
        for name in ("f32", "f16"):
            expected = x.astype(NUMPY[name])
            np.testing.assert_array_equal(Bench().run("tcopy", x.shape, name, x), expected)


def test_float_to_integer_copies_saturate() -> None:
    x = np.array([1e30, -1e30, math.nan, 2.9, -2.9], np.float32)
    assert Bench().run("tcopy", (5,), "i32", x).tolist() == [2**31 - 1, -(2**31), 0, 2, -2]
    assert Bench().run("tcopy", (5,), "u8", x).tolist() == [255, 0, 0, 2, 0]


@pytest.mark.parametrize("dtype", ["u8", "f16", "f32", "f64", "i64"])
@pytest.mark.parametrize("shape", [(67, 129), (3, 250), (250, 3), (5, 40, 33)])
def test_transposed_sources_are_met_by_tiles(dtype: str, shape: tuple[int, ...]) -> None:
    x = np.swapaxes(sample(dtype, shape[:-2] + shape[:-3:-1], 4), -1, -2)
    y = sample(dtype, shape, 5)
    np.testing.assert_array_equal(Bench().run("tcopy", shape, dtype, x), x)
    np.testing.assert_array_equal(Bench().run("tmax", shape, dtype, y, x), np.maximum(x, y))
    np.testing.assert_array_equal(Bench().run("tmax", shape, dtype, x, x), x)


@pytest.mark.parametrize("offset", [0, 4, 12, 3])
@pytest.mark.parametrize("mnemonic", ["tadd", "tcopy"])
def test_large_results_are_written_past_the_caches_at_any_alignment(
    mnemonic: str, offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elementwise, "_STREAMED", 0)
    x = sample("f32", (3, 5003), 1)
    bench = Bench()
    target = bench.empty((3, 5003), "f32", offset=offset)
    sources = [x, x] if mnemonic == "tadd" else [x]
    bench.execute(mnemonic, target, *map(bench.place, sources))
    np.testing.assert_array_equal(bench.array(target), sum(sources))
    x = sample("f32", (75, 100), 1)
    for near in (0, 1 << 40):  # of tiles: asked for ahead of time, then streamed
        monkeypatch.setattr(elementwise, "_NEAR", 0)
        monkeypatch.setattr(elementwise, "_STREAMED", near)
        turned = bench.empty((100, 75), "f32", offset=offset)
        bench.execute("tcopy", turned, bench.place(x.T))
        np.testing.assert_array_equal(bench.array(turned), x.T)


@given(st.data())
def test_selection_agrees_with_numpy(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 7, 40]), max_size=3)))
    dtype = data.draw(st.sampled_from(sorted(NUMPY)))
    c, x, y = (data.draw(views(shape, d)) for d in ("bool", dtype, dtype))
    expected = np.where(c, x, y)
    bench = Bench()
    target = bench.empty(expected.shape, dtype)
    bench.execute("twhere", target, bench.place(c), bench.place(x, dtype),
                  attributes=Attributes(bias=10), bias=bench.place(y, dtype))  # fmt: skip
    np.testing.assert_array_equal(bench.array(target), expected)


def test_shifts_beyond_the_width_leave_nothing_or_the_sign() -> None:
    x, n = np.array([1, -1, 64, -128, 5, -5], np.int8), np.array([3, 1, 8, 100, -1, -1], np.int8)
    assert Bench().run("tshl", (6,), "i8", x, n).tolist() == [8, -2, 0, 0, 0, 0]
    assert Bench().run("tshr", (6,), "i8", x, n).tolist() == [0, -1, 0, -1, 0, -1]
    u, m = np.array([200, 200, 1], np.uint8), np.array([3, 8, 7], np.uint8)
    assert Bench().run("tshl", (3,), "u8", u, m).tolist() == [64, 0, 128]
    assert Bench().run("tshr", (3,), "u8", u, m).tolist() == [25, 0, 0]


def test_remainder_with_the_dividends_sign() -> None:
    x, y = np.array([7, -7, 7, -7, 5], np.int32), np.array([2, 2, -2, -2, 0], np.int32)
    assert Bench().run("tfmod", (5,), "i32", x, y).tolist() == [1, -1, 1, -1, 5]


def test_what_is_not_a_number_or_infinite_is_told() -> None:
    x = np.array([0, math.nan, math.inf, -math.inf, 1e-40], np.float32)
    np.testing.assert_array_equal(Bench().run("tisnan", (5,), "bool", x), np.isnan(x))
    np.testing.assert_array_equal(Bench().run("tisinf", (5,), "bool", x), np.isinf(x))


def test_fused_pairs_equal_their_parts() -> None:
    x, y = sample("f32", (4, 70), 1), sample("f32", (4, 70), 2)
    got = Bench().run("taddrelu", x.shape, "f32", x, y)
    np.testing.assert_array_equal(got, np.maximum(x + y, 0))
    got = Bench().run("tprelu", x.shape, "f32", x, y[0])
    np.testing.assert_array_equal(got, np.where(x < 0, x * y[0], x))


@pytest.mark.parametrize("dtype", ["f32", "f16", "f64"])
def test_costly_functions_of_elements_far_apart(dtype: str) -> None:
    x = sample(dtype, (7, 1200), 1)
    exact = Bench().run("ttanh", x.shape, dtype, x)
    for cut in (np.s_[:, ::2], np.s_[::2, ::-1], np.s_[::3, 5:900:7], np.s_[:, :1]):
        want = np.ascontiguousarray(exact[cut])
        np.testing.assert_array_equal(Bench().run("ttanh", want.shape, dtype, x[cut]), want)
        bench = Bench()
        holder = bench.place(np.zeros((want.shape[0], 2 * want.shape[1]), x.dtype)[:, ::2])
        bench.execute("ttanh", holder, bench.place(x[cut]))
        np.testing.assert_array_equal(bench.array(holder), want)


@given(st.data())
def test_short_rows(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(8, 300)), data.draw(st.integers(2, 20))
    outer = data.draw(st.sampled_from([(), (3,)]))
    dtype = data.draw(st.sampled_from(["f32", "u8", "i64"]))
    shape = (*outer, rows, columns)
    x = sample(dtype, shape, 1)
    y = sample(dtype, data.draw(st.sampled_from(
        [(columns,), (rows, 1), shape, (*outer, 1, columns), (rows, columns)]
    )), 2)  # fmt: skip
    z = sample(dtype, (*outer, columns, rows), 3).swapaxes(-1, -2)
    np.testing.assert_array_equal(Bench().run("tadd", shape, dtype, x, y), x + y)
    np.testing.assert_array_equal(Bench().run("tadd", shape, dtype, z, y), z + y)


@pytest.mark.parametrize("shape", [(100_000,), (300, 70), (2, 5, 41, 7), (2000, 3)])
def test_parts_together_are_the_whole(shape: tuple[int, ...]) -> None:
    x = sample("f32", shape, 1)
    expected = Bench().run("ttanh", shape, "f32", x)
    stepped = np.repeat(x, 2, axis=-1)[..., ::2]
    for source in (x, np.ascontiguousarray(x.T).T, stepped):
        out = np.zeros(shape, np.float32)
        with planning() as plan:
            run_unary("ttanh", *(
                View(Place(k), DTYPES[CODES["f32"]], a.shape, a.strides)
                for k, a in enumerate((out, source))
            ), (0.0, 0.0))  # fmt: skip
        (step,) = plan.steps
        assert step.parallel
        run_in_parts(plan, dict(enumerate((out, source))), 3)
        np.testing.assert_array_equal(out, expected)


def test_bounds_of_clipped_bytes_are_unsigned() -> None:
    x = np.array([0, 3, 127, 128, 250, 255], np.uint8)
    clipped = Bench().run("tclip", x.shape, "u8", x, attributes=Attributes(alpha=2, beta=math.inf))
    np.testing.assert_array_equal(clipped, np.maximum(x, 2))
    np.testing.assert_array_equal(Bench().run("tclip", x.shape, "u8", x), x)
