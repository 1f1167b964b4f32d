"""Attention against NumPy in f64, and and onnxruntime's own."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emu.cpu.tensor.attributes import Attributes
from tests.tensor.bench import Array, Bench

Wide = NDArray[np.float64]


def attention(
    q: Array, k: Array, v: Array, mask: Array | None = None, lengths: Array | None = None,
    *, scale: float = 0.0, causal: bool = False, past: int = 0,
) -> Wide:  # fmt: skip
    """What the instruction is to compute, in f64."""
    (b, h, s, e), (g, t) = q.shape, k.shape[1:3]
    out = np.zeros((b, h, s, v.shape[3]))
    for i in range(b):
        known = t if lengths is None else min(max(int(lengths[i]), 0), t)
        offset = past if lengths is None else int(lengths[i]) - s
        for o in range(h):
            keys = k[i, o * g // h].astype(np.float64)
            scores = q[i, o].astype(np.float64) @ keys.T * (scale or 1 / np.sqrt(e))
            if mask is not None:
                scores = scores + mask[i, o]
            for j in range(s):
                seen = min(known, j + offset + 1) if causal else known
                if seen > 0:
                    powers = np.exp(scores[j, :seen] - scores[j, :seen].max())
                    out[i, o, j] = powers @ v[i, o * g // h, :seen] / powers.sum()
    return out


def operands(seed: int, b: int, h: int, g: int, s: int, t: int, e: int, f: int) -> list[Array]:
    random = np.random.default_rng(seed)
    shapes = [(b, h, s, e), (b, g, t, e), (b, g, t, f)]
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def run(q: Array, k: Array, v: Array, *extras: Array | None, at: Attributes) -> Array:
    bench = Bench()
    shape = (*q.shape[:3], v.shape[3])
    return bench.run("tattention", shape, "f32", q, k, attributes=at, extras=[v, *extras])


@settings(max_examples=12)
@given(data=st.data())
def test_attention_is_softmax_of_scores_times_values(data: st.DataObject) -> None:
    b, g, shared = (data.draw(st.integers(1, 2)) for _ in range(3))
    s, t = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 70))
    e, f = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    q, k, v = operands(data.draw(st.integers(0, 99)), b, g * shared, g, s, t, e, f)
    causal, past = data.draw(st.booleans()), data.draw(st.integers(0, 5))
    masked, limited = data.draw(st.booleans()), data.draw(st.booleans())
    random = np.random.default_rng(1)
    mask = random.standard_normal((b, g * shared, s, t)).astype(np.float32) if masked else None
    lengths = random.integers(0, t + 3, b).astype(np.int32) if limited else None
    at = Attributes(flags=int(causal), count=past)
    result = run(q, k, v, mask, lengths, at=at)
    wanted = attention(q, k, v, mask, lengths, causal=causal, past=past)
    np.testing.assert_allclose(result, wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (0, 1, 3, 2)])
def test_operands_may_have_any_strides(order: tuple[int, ...]) -> None:
    q, k, v = (
        np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
        for x in operands(3, 2, 3, 3, 20, 33, 24, 18)
    )
    result = run(q, k, v, at=Attributes(alpha=0.25))
    np.testing.assert_allclose(result, attention(q, k, v, scale=0.25), rtol=2e-5, atol=2e-6)


def test_a_mask_stretched_over_heads_and_queries_is_one_row() -> None:
    q, k, v = operands(4, 1, 4, 2, 9, 21, 8, 8)
    row = np.where(np.arange(21) < 13, 0, -np.inf).astype(np.float32)
    mask = np.broadcast_to(row, (1, 4, 9, 21))
    result = run(q, k, v, mask, at=Attributes())
    np.testing.assert_allclose(
        result, attention(q, k[:, :, :13], v[:, :, :13]), rtol=2e-5, atol=1e-6
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [("f64", 1e-12), ("f16", 2e-3)])
def test_other_types_compute_in_their_type_of_arithmetic(dtype: str, tolerance: float) -> None:
    kind = {"f64": np.float64, "f16": np.float16}[dtype]
    q, k, v = (x.astype(kind) for x in operands(5, 1, 2, 2, 17, 19, 16, 24))
    result = Bench().run("tattention", (1, 2, 17, 24), dtype, q, k, extras=[v])
    np.testing.assert_allclose(
        result.astype(np.float64), attention(q, k, v), rtol=tolerance, atol=tolerance
    )


def test_agrees_with_onnxruntime() -> None:
    q, k, v = operands(6, 2, 4, 2, 31, 31, 32, 32)
    names = ["q", "k", "v"]
    node = onnx.helper.make_node("Attention", names, ["d"], is_causal=1)
    kind = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info(n, kind, None) for n in names]
    output = onnx.helper.make_tensor_value_info("d", kind, None)
    graph = onnx.helper.make_graph([node], "g", inputs, [output])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 23)], ir_version=10
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (wanted,) = session.run(None, dict(zip(names, (q, k, v), strict=True)))
    result = run(q, k, v, at=Attributes(flags=1))
    np.testing.assert_allclose(result, wanted, rtol=2e-5, atol=2e-6)


def test_pages_that_a_table_names_are_read_as_one_sequence() -> None:
    q, k, v = operands(7, 2, 4, 2, 3, 24, 16, 20)
    table = np.array([[4, 0, 2], [1, 5, -3]], np.int32)  # -3 is page 3
    pages = [np.zeros((6, 2, 8, x.shape[3]), np.float32) for x in (k, v)]
    for i, row in enumerate(table):
        for j, page in enumerate(row):
            for whole, into in zip((k, v), pages, strict=True):
                into[page] = whole[i, :, 8 * j : 8 * j + 8]
    lengths = np.array([20, 24], np.int32)
    result = Bench().run(
        "tpaged", (2, 4, 3, 20), "f32", q, pages[0],
        attributes=Attributes(flags=1), extras=[pages[1], table, lengths],
    )  # fmt: skip
    wanted = attention(q, k, v, None, lengths, causal=True)
    np.testing.assert_allclose(result, wanted, rtol=2e-5, atol=2e-6)
