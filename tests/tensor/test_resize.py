"""Resizing against onnx's cases and its reference: modes, transformations, layouts, types."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emu.cpu.tensor import threads
from emu.cpu.tensor.attributes import Attributes
from emu.cpu.traps import Trap
from emu.isa.xaitensor.resize_rules import ROUNDINGS, TRANSFORMATIONS
from tests.tensor.bench import NAMES, Array, Bench
from tests.tensor.onnx_cases import Case, cases
from tests.tensor.test_elementwise import sample

MODES = ("nearest", "linear", "cubic")


def bits(values: list[float], *, signed: bool = False) -> tuple[int, ...]:
    """The bits of f32 numbers, filled up to four."""
    form = "<i" if signed else "<I"
    words = [struct.unpack(form, struct.pack("<f", v))[0] for v in values]
    return (*words, *[0] * (4 - len(words)))


def block(
    axes: list[int], mode: str, transformation: str = "half_pixel",
    rounding: str = "round_prefer_floor", *, scales: list[float] | None = None,
    region: tuple[list[float], list[float]] = ([], []), exclude: bool = False,
    antialias: bool = False, a: float = -0.75, outside: float = 0.0,
) -> Attributes:  # fmt: skip
    """The attribute block; `axes` ascending."""
    return Attributes(
        axes=sum(1 << d for d in axes), mode=MODES.index(mode), alpha=a, beta=outside,
        count=TRANSFORMATIONS.index(transformation) + 16 * ROUNDINGS.index(rounding),
        flags=exclude + 2 * antialias + 4 * bool(scales), kernel=bits(scales or []),
        pad_begin=bits(region[0], signed=True), pad_end=bits(region[1], signed=True),
    )  # fmt: skip


def scales_of(case: Case, axes: list[int]) -> list[float]:
    """The scales a case gives, or that follow from its sizes where the shape is to be kept."""
    x = case.inputs["X"]
    policy = case.mode("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        pairs = zip(case.inputs["sizes"], axes, strict=True)
        choose = min if policy == "not_larger" else max
        return [float(choose(n / x.shape[d] for n, d in pairs))] * len(axes)
    given = case.inputs.get("scales")
    return [] if given is None else [float(s) for s in given]


def ordered(axes: list[int], values: list[float]) -> list[float]:
    """Values by axis, in the order of the axes."""
    return [v for _, v in sorted(zip(axes, values, strict=True))] if values else []


@pytest.mark.parametrize("case", cases("Resize"), ids=lambda c: c.name)
def test_agrees_with_onnx(case: Case) -> None:
    x, at = case.inputs["X"], case.attributes
    axes = [int(d) % x.ndim for d in at.get("axes", range(x.ndim))]
    roi = [float(v) for v in case.inputs.get("roi", ())]
    begin, end = roi[: len(axes)], roi[len(axes) :]
    attributes = block(
        sorted(axes), case.mode("mode", "nearest"),
        case.mode("coordinate_transformation_mode", "half_pixel"),
        case.mode("nearest_mode", "round_prefer_floor"),
        scales=ordered(axes, scales_of(case, axes)),
        region=(ordered(axes, begin), ordered(axes, end)),
        exclude=bool(at.get("exclude_outside", 0)), antialias=bool(at.get("antialias", 0)),
        a=at.get("cubic_coeff_a", -0.75), outside=at.get("extrapolation_value", 0.0),
    )  # fmt: skip
    (expected,) = case.outputs
    got = Bench().run("tresize", expected.shape, NAMES[x.dtype], x, attributes=attributes)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def reference(
    x: Array, shape: tuple[int, ...], axes: list[int], mode: str, transformation: str, **how: Any
) -> Array:
    """The `onnx` package's own Resize, in f64."""
    op = pytest.importorskip("onnx.reference.ops.op_resize")
    settings_ = {"coordinate_transformation_mode": transformation, **how}
    wide = np.asarray(x, np.float64)
    coefficients = {
        "nearest": lambda r, s: op._nearest_coeffs(r, "round_prefer_floor"),
        "linear": op._linear_coeffs, "cubic": op._cubic_coeffs,
    }  # fmt: skip
    sizes = [shape[d] for d in axes]
    moved = np.moveaxis(wide, axes, range(-len(axes), 0))
    outer = moved.shape[: -len(axes)]
    result = np.empty((*outer, *sizes))
    for place in np.ndindex(*outer):
        result[place] = op._interpolate_nd(
            moved[place], coefficients[mode], output_size=sizes,
            scale_factors=[m / n for m, n in zip(sizes, moved.shape[-len(axes) :], strict=True)],
            **settings_,
        )  # fmt: skip
    return np.moveaxis(result, range(-len(axes), 0), axes)


def almost_whole(transformation: str, n: int, m: int) -> bool:
    """Whether a coordinate is an integer, or lies between two, but for rounding: the reference then
    may take another element for the nearest."""
    op = pytest.importorskip("onnx.reference.ops.op_resize")
    scale = m / n
    x, _ = op._compute_x_ori(transformation, np.arange(m), scale, n, scale * n, m, None)
    distance = np.abs(2 * x - np.rint(2 * x))
    return scale * n != m or bool(((distance > 0) & (distance < 1e-9)).any())


@settings(max_examples=60)
@given(st.data())
def test_agrees_with_the_reference(data: st.DataObject) -> None:
    extents = st.integers(1, 9)
    shape = tuple(data.draw(st.lists(extents, min_size=1, max_size=4)))
    axes = sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1, max_size=3)))
    wanted = tuple(data.draw(st.integers(1, 20)) if d in axes else n for d, n in enumerate(shape))
    mode = data.draw(st.sampled_from(MODES))
    transformation = data.draw(st.sampled_from(TRANSFORMATIONS[:5]))
    dtype = data.draw(st.sampled_from(["f32", "f64", "f16"]))
    x = sample(dtype, shape[::-1], 1).T
    exclude = mode == "cubic" and data.draw(st.booleans())
    assume(not any(almost_whole(transformation, shape[d], wanted[d]) for d in axes))
    expected = reference(x, wanted, axes, mode, transformation, exclude_outside=exclude)
    got = Bench().run(
        "tresize", wanted, dtype, x, attributes=block(axes, mode, transformation, exclude=exclude)
    )
    tolerance = {"f32": 1e-5, "f64": 1e-12, "f16": 4e-3}[dtype]
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=4 * tolerance)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("mode", "antialias"), [("linear", 0), ("linear", 1), ("cubic", 1)])
@pytest.mark.parametrize("size", [(37, 50), (11, 13), (64, 5), (8, 90)])
def test_images_in_both_layouts(
    layout: str, mode: str, antialias: int, size: tuple[int, int]
) -> None:
    x = sample("f32", (2, 3, 23, 31), 1)
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    expected = reference(x, (2, 3, *size), [2, 3], mode, "half_pixel") if not antialias else None
    if antialias:
        op = pytest.importorskip("onnx.reference.ops.op_resize")
        function = getattr(op, f"_{mode}_coeffs_antialias")
        expected = np.array(
            [[op._interpolate_nd(p, function, output_size=list(size),
                                 scale_factors=[m / n for m, n in zip(size, p.shape, strict=True)])
              for p in image] for image in x.astype(np.float64)]
        )  # fmt: skip
    assert expected is not None
    if layout == "NHWC":
        x, expected = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, expected))
    at = block(axes, mode, antialias=bool(antialias))
    got = Bench().run("tresize", expected.shape, "f32", x, attributes=at)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["u8", "i16", "i32"])
def test_integers_are_rounded_to_nearest(dtype: str) -> None:
    x = np.abs(sample(dtype, (1, 1, 9, 11), 1))
    expected = np.rint(reference(x, (1, 1, 20, 15), [2, 3], "linear", "half_pixel"))
    got = Bench().run("tresize", (1, 1, 20, 15), dtype, x, attributes=block([2, 3], "linear"))
    assert np.abs(got.astype(np.float64) - expected).max() <= 1
    assert (got == expected).mean() > 0.97


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factor", [0.5, 2, 4, 2.5])
def test_results_do_not_depend_on_the_number_of_threads(mode: str, factor: float) -> None:
    x = sample("f32", (1, 8, 90, 70), 1)
    shape = (1, 8, int(90 * factor), int(70 * factor))
    before = threads.count()
    try:
        results = []
        for count in (1, 2, 3):
            threads.set_count(count)
            at = block([2, 3], mode)
            results.append(Bench().run("tresize", shape, "f32", x, attributes=at).tobytes())
    finally:
        threads.set_count(before)
    assert results[0] == results[1] == results[2]


def test_no_block_resizes_an_image_to_the_nearest() -> None:
    x = sample("f32", (1, 2, 3, 4), 1)
    got = Bench().run("tresize", (1, 2, 6, 8), "f32", x)
    np.testing.assert_array_equal(got, x.repeat(2, 2).repeat(2, 3))


@pytest.mark.parametrize(
    ("shape", "at", "reason"),
    [((1, 3, 6, 6), Attributes(), (3, 0)), ((1, 2, 6), Attributes(), (2, 0)),
     ((1, 2, 6, 6), Attributes(count=6), (4, 3)), ((1, 2, 6, 6), Attributes(count=64), (4, 3)),
     ((1, 2, 6, 6), Attributes(mode=3), (4, 3)), ((1, 2, 6, 6), Attributes(flags=8), (4, 3)),
     ((1, 2, 6, 6), Attributes(axes=16), (4, 3)),
     ((1, 2, 6, 6), Attributes(flags=4), (4, 3)),
     ((1, 2, 6, 6), Attributes(flags=4, kernel=bits([2.0, 1.6])), (4, 3)),
     ((1, 2, 6, 6), Attributes(flags=4, kernel=bits([2.0, float("nan")])), (4, 3)),
     ((1, 2, 6, 6), Attributes(count=5, pad_end=bits([1.0, float("inf")])), (4, 3))],
)  # fmt: skip
def test_what_does_not_fit_traps_with_its_reason(
    shape: tuple[int, ...], at: Attributes, reason: tuple[int, int]
) -> None:
    bench = Bench()
    with pytest.raises(Trap):
        bench.run("tresize", shape, "f32", sample("f32", (1, 2, 3, 3), 1), attributes=at)
    assert (bench.tcause, bench.toperand) == reason
