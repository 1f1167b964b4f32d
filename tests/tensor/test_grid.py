"""Sampling at the coordinates of a grid, against onnx's cases and onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from emu.cpu.tensor import threads
from emu.cpu.tensor.attributes import Attributes
from emu.cpu.traps import Trap
from tests.tensor.bench import NAMES, Array, Bench
from tests.tensor.onnx_cases import Case, cases
from tests.tensor.test_elementwise import sample

MODES = ("linear", "nearest", "cubic")
PADDINGS = ("zeros", "border", "reflection")
NAMED = {"bilinear": "linear", "bicubic": "cubic"}


def block(mode: str, padding: str, corners: int) -> Attributes:
    return Attributes(mode=MODES.index(mode), count=PADDINGS.index(padding), flags=corners)


@pytest.mark.parametrize("case", cases("GridSample"), ids=lambda c: c.name)
def test_agrees_with_onnx(case: Case) -> None:
    x, grid = case.inputs.values()
    mode = case.mode("mode", "linear")
    at = block(
        NAMED.get(mode, mode), case.mode("padding_mode", "zeros"),
        case.attributes.get("align_corners", 0),
    )  # fmt: skip
    (expected,) = case.outputs
    got = Bench().run("tgridsample", expected.shape, NAMES[x.dtype], x, grid, attributes=at)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_agrees_with_onnxruntime(mode: str, padding: str, corners: int) -> None:
    ort, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    x: Array = sample("f32", (2, 3, 9, 14), 1)
    grid = np.random.default_rng(2).uniform(-1.7, 1.7, (2, 11, 7, 2)).astype(np.float32)
    helper = onnx.helper
    node = helper.make_node(
        "GridSample", ["x", "g"], ["y"], mode=mode, padding_mode=padding, align_corners=corners
    )
    values = [helper.make_tensor_value_info(n, 1, a.shape) for n, a in (("x", x), ("g", grid))]
    out = helper.make_tensor_value_info("y", 1, (2, 3, 11, 7))
    model = helper.make_model(
        helper.make_graph([node], "sample", values, [out]), ir_version=9,
        opset_imports=[helper.make_opsetid("", 20)],
    )  # fmt: skip
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x, "g": grid})
    at = block(mode, padding, corners)
    got = Bench().run("tgridsample", (2, 3, 11, 7), "f32", x, grid, attributes=at)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_strides_and_threads_do_not_matter() -> None:
    x = sample("f32", (2, 3, 20, 30), 1).transpose(0, 1, 3, 2)
    grid = np.random.default_rng(2).uniform(-1.2, 1.2, (90, 2, 80, 2)).astype(np.float32)
    grid = grid.transpose(1, 2, 0, 3)
    before = threads.count()
    results = []
    try:
        for count in (1, 2, 3):
            threads.set_count(count)
            got = Bench().run("tgridsample", (2, 3, 80, 90), "f32", x, grid)
            results.append(got.tobytes())
        dense = [np.ascontiguousarray(a) for a in (x, grid)]
        results.append(Bench().run("tgridsample", (2, 3, 80, 90), "f32", *dense).tobytes())
    finally:
        threads.set_count(before)
    assert len(set(results)) == 1


def test_coordinates_that_are_no_numbers_or_far_away_do_no_harm() -> None:
    x = sample("f32", (1, 1, 4, 4), 1)
    points = np.array([np.inf, -np.inf, np.nan, 3e38, -3e38], np.float32)
    grid = np.stack(np.meshgrid(points, points), -1)[None]
    for mode in MODES:
        for padding in PADDINGS:
            at = block(mode, padding, 0)
            Bench().run("tgridsample", (1, 1, 5, 5), "f32", x, grid, attributes=at)


def test_an_image_without_elements_is_refused() -> None:
    bench = Bench()
    x, grid = np.zeros((1, 2, 0, 3), np.float32), np.zeros((1, 5, 5, 2), np.float32)
    with pytest.raises(Trap):
        bench.run("tgridsample", (1, 2, 5, 5), "f32", x, grid)
    assert (bench.tcause, bench.toperand) == (3, 1)


@pytest.mark.parametrize(
    ("grid", "at", "reason"),
    [((1, 5, 5, 3), Attributes(), (3, 2)), ((2, 5, 5, 2), Attributes(), (3, 2)),
     ((1, 5, 5, 2), Attributes(count=3), (4, 3)), ((1, 5, 5, 2), Attributes(mode=3), (4, 3))],
)  # fmt: skip
def test_what_does_not_fit_traps_with_its_reason(
    grid: tuple[int, ...], at: Attributes, reason: tuple[int, int]
) -> None:
    bench = Bench()
    with pytest.raises(Trap):
        bench.run(
            "tgridsample", (1, 2, 5, 5), "f32", sample("f32", (1, 2, 3, 3), 1),
            np.zeros(grid, np.float32), attributes=at,
        )  # fmt: skip
    assert (bench.tcause, bench.toperand) == reason
