"""Quantisation against onnxruntime's QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests.tensor.bench import Array, Bench

KINDS = {"u8": (np.uint8, TensorProto.UINT8), "i8": (np.int8, TensorProto.INT8)}


def onnx_result(op: str, x: Array, scale: Array, zero: Array, axis: int) -> Array:
    """What onnxruntime gives for one node."""
    arrays = {"x": x, "s": scale, "z": zero}
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in arrays.items()
    ]
    kind = zero.dtype if op == "QuantizeLinear" else scale.dtype
    output = helper.make_tensor_value_info("d", helper.np_dtype_to_tensor_dtype(kind), None)
    node = helper.make_node(op, ["x", "s", "z"], ["d"], axis=axis)
    graph = helper.make_graph([node], "g", inputs, [output])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )  # fmt: skip
    result: Array = onnxruntime.InferenceSession(model.SerializeToString()).run(None, arrays)[0]
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantising_and_back_is_that_of_onnxruntime(kind: str, per_channel: bool) -> None:
    random = np.random.default_rng(7)
    dtype = KINDS[kind][0]
    x = (random.standard_normal((2, 5, 33)) * 20).astype(np.float32)
    x[0, 0, :4] = [np.inf, -np.inf, 1e30, -1e30]
    channels = (5,) if per_channel else ()
    scale = np.asarray(random.uniform(0.05, 0.3, channels), np.float32)
    zero = np.asarray(random.integers(-20, 90, channels)).clip(np.iinfo(dtype).min)
    zero = np.asarray(zero, dtype)
    spread = (5, 1) if per_channel else ()
    views = [a.reshape(spread) for a in (scale, zero)]
    quantised = Bench().run("tquantize", x.shape, kind, x, views[0], extras=[views[1]])
    assert (quantised == onnx_result("QuantizeLinear", x, scale, zero, 1)).all()
    back = Bench().run("tdequantize", x.shape, "f32", quantised, views[0], extras=[views[1]])
    assert (back == onnx_result("DequantizeLinear", quantised, scale, zero, 1)).all()


def test_nan_becomes_zero_and_halves_go_to_even() -> None:
    x = np.array([np.nan, 0.5, 1.5, 2.5, -0.5, -1.5], np.float32)
    result = Bench().run("tquantize", x.shape, "i8", x, np.array(1, np.float32))
    assert result.tolist() == [0, 0, 2, 2, 0, -2]
