"""Recurrent cells against onnxruntime's LSTM, GRU and RNN."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from emu.cpu.tensor.attributes import Attributes
from tests.tensor.bench import Array, Bench

STEPS, BATCH, INPUTS = 5, 3, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
LENGTHS = np.array([5, 2, 4], np.int32)
F32 = NDArray[np.float32]


def model(op: str, names: list[str], outputs: int, **attributes: Any) -> Any:
    """A session for one node whose inputs are called `names` ("" for one left out)."""
    results = [f"r{i}" for i in range(outputs)]
    node = onnx.helper.make_node(op, names, results, **attributes)
    kinds = {n: onnx.TensorProto.INT32 if n == "lengths" else onnx.TensorProto.FLOAT for n in names}
    inputs = [onnx.helper.make_tensor_value_info(n, k, None) for n, k in kinds.items() if n]
    values = [onnx.helper.make_tensor_value_info(r, onnx.TensorProto.FLOAT, None) for r in results]
    graph = onnx.helper.make_graph([node], "g", inputs, values)
    opset = [onnx.helper.make_opsetid("", 14)]
    made = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    return onnxruntime.InferenceSession(made.SerializeToString())


class Layer:
    """Random weights of a layer of `hidden` cells, and the inputs' part of its gates."""

    def __init__(self, op: str, hidden: int) -> None:
        random = np.random.default_rng(hidden)
        rows = GATES[op] * hidden

        def draw(*shape: int) -> F32:
            return random.uniform(-1, 1, shape).astype(np.float32)

        self.x, self.h0, self.c0 = (
            draw(STEPS, BATCH, INPUTS), draw(BATCH, hidden), draw(BATCH, hidden),
        )  # fmt: skip
        self.w, self.r, self.wb, self.rb = (
            draw(rows, INPUTS), draw(rows, hidden) / 4, draw(rows), draw(rows)
        )  # fmt: skip
        self.peephole = draw(3 * hidden)

    @property
    def gates(self) -> F32:
        return np.asarray(self.x @ self.w.T + self.wb)

    def feed(self, *names: str) -> dict[str, Array]:
        """What the node is given."""
        inputs: dict[str, Array] = {
            "x": self.x, "w": self.w[None], "r": self.r[None],
            "b": np.concatenate([self.wb, self.rb])[None], "lengths": LENGTHS,
            "h0": self.h0[None], "c0": self.c0[None], "p": self.peephole[None],
        }  # fmt: skip
        return {name: inputs[name] for name in names if name}


@pytest.mark.parametrize("hidden", [1, 16, 21])
@pytest.mark.parametrize("given", [(), ("h0", "c0"), ("lengths", "h0", "c0", "p")])
def test_lstm_is_that_of_onnxruntime(hidden: int, given: tuple[str, ...]) -> None:
    layer = Layer("LSTM", hidden)
    names = ["x", "w", "r", "b"] + [n if n in given else "" for n in ("lengths", "h0", "c0", "p")]
    wanted, _, cell = model("LSTM", names, 3, hidden_size=hidden).run(None, layer.feed(*names))
    x = layer.gates + layer.rb
    bench = Bench()
    last = bench.empty((BATCH, hidden), "f32")
    extras = [
        value if name in given else None
        for name, value in zip(
            ("h0", "c0", "p", "lengths"),
            (layer.h0, layer.c0, layer.peephole, LENGTHS),
            strict=True,
        )
    ]
    shape = (STEPS, BATCH, hidden)
    result = bench.run("tlstm", shape, "f32", x, layer.r, extras=[*extras, last])
    np.testing.assert_allclose(result, wanted[:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bench.array(last), cell[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("hidden", [16, 21])
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("given", [(), ("lengths", "h0")])
def test_gru_is_that_of_onnxruntime(hidden: int, after: int, given: tuple[str, ...]) -> None:
    layer = Layer("GRU", hidden)
    names = ["x", "w", "r", "b"] + [n if n in given else "" for n in ("lengths", "h0")]
    session = model("GRU", names, 1, hidden_size=hidden, linear_before_reset=after)
    (wanted,) = session.run(None, layer.feed(*names))
    x = layer.gates.copy()
    x[..., : 2 * hidden] += layer.rb[: 2 * hidden]
    state, lengths = (layer.h0, LENGTHS) if given else (None, None)
    result = Bench().run(
        "tgru", (STEPS, BATCH, hidden), "f32", x, layer.r,
        attributes=Attributes(flags=after), extras=[state, layer.rb[2 * hidden :], lengths],
    )  # fmt: skip
    np.testing.assert_allclose(result, wanted[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("mode", "name"), list(enumerate(("Tanh", "Relu", "Sigmoid"))))
def test_rnn_is_that_of_onnxruntime(mode: int, name: str) -> None:
    hidden = 21
    layer = Layer("RNN", hidden)
    names = ["x", "w", "r", "b", "lengths", "h0"]
    session = model("RNN", names, 1, hidden_size=hidden, activations=[name])
    (wanted,) = session.run(None, layer.feed(*names))
    result = Bench().run(
        "trnn", (STEPS, BATCH, hidden), "f32", layer.gates + layer.rb, layer.r,
        attributes=Attributes(mode=mode), extras=[layer.h0, LENGTHS],
    )  # fmt: skip
    np.testing.assert_allclose(result, wanted[:, 0], rtol=1e-5, atol=1e-6)


def test_a_sequence_may_be_walked_backwards_and_written_across() -> None:
    layer = Layer("RNN", 5)
    x = layer.gates + layer.rb
    forwards = Bench().run("trnn", (STEPS, BATCH, 5), "f32", np.ascontiguousarray(x[::-1]), layer.r)
    backwards = Bench().run("trnn", (STEPS, BATCH, 5), "f32", x[::-1], layer.r)
    assert (forwards == backwards).all()
    bench = Bench()
    across = bench.place(np.zeros((5, BATCH, STEPS), np.float32).T)
    bench.execute("trnn", across, bench.place(np.ascontiguousarray(x[::-1])), bench.place(layer.r))
    assert (bench.array(across) == forwards).all()
