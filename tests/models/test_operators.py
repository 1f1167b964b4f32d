"""Every ONNX operator of the kernel, and whole networks, agree with onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from tests.models.guest import Case, answers, expected, model_of

RNG = np.random.default_rng(11)


def floats(*shape: int) -> NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def node(op: str, *inputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), ["y"], **attributes)


def unary(op: str, **attributes: object) -> Case:
    opset = 20 if op == "Gelu" else 17
    return model_of([node(op, "x", **attributes)], ["n", 7], opset=opset), floats(3, 7)


def with_weights(op: str, x: NDArray, opset: int = 17, **given: object) -> Case:
    """One node whose further inputs are initializers and whose other keywords are attributes."""
    weights = {k: v for k, v in given.items() if isinstance(v, np.ndarray)}
    attributes = {k: v for k, v in given.items() if not isinstance(v, np.ndarray)}
    return model_of([node(op, "x", *weights, **attributes)], x.shape, weights, opset), x


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def bytes_of(*shape: int) -> NDArray[np.int8]:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def quantised(nodes: list[onnx.NodeProto], x: NDArray, **weights: NDArray) -> Case:
    """Nodes behind a dynamic quantisation of the input: q, its scale s and its zero point z."""
    first = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    arrays = {name: np.asarray(value) for name, value in weights.items()}
    return model_of([first, *nodes], x.shape, arrays), x


def resized(mode: str, how: str) -> Case:
    """Twice as high, and three quarters as wide."""
    scales = np.array([1, 1, 2, 0.75], np.float32)
    attributes = {"mode": mode, "coordinate_transformation_mode": how}
    x = floats(1, 2, 5, 8)
    return model_of([node("Resize", "x", "", "s", **attributes)], x.shape, {"s": scales}), x


def layered(kind: str, **attributes: object) -> Case:
    """A recurrent layer, its state after the last step left out."""
    gates, hidden, directions = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 5, 1 + len(attributes)
    weights = {
        "w": floats(directions, gates * hidden, 4), "r": floats(directions, gates * hidden, hidden),
        "b": floats(directions, 2 * gates * hidden),
    }  # fmt: skip
    x = floats(6, 2, 4)
    made = node(kind, "x", *weights, hidden_size=hidden, **attributes)
    return model_of([made], x.shape, weights), x


POSITIVE = np.abs(floats(3, 7)) + 0.1
IMAGE = floats(2, 6, 9, 11)

CASES: dict[str, Case] = {
    **{
        op: unary(op)
        for op in (
            *(
                "Relu",
                "Sigmoid",
                "Tanh",
                "LeakyRelu",
                "Elu",
                "HardSigmoid",
                "HardSwish",
                "Softplus",
            ),
            *("Exp", "Neg", "Abs", "Erf", "Sin", "Cos", "Floor", "Ceil", "Round", "Sign", "Gelu"),
            *("Softmax", "LogSoftmax", "Identity", "Flatten", "Transpose", "Reciprocal"),
        )
    },
    "Log": (model_of([node("Log", "x")], ["n", 7]), POSITIVE),
    "Sqrt": (model_of([node("Sqrt", "x")], ["n", 7]), POSITIVE),
    "LeakyRelu with alpha": unary("LeakyRelu", alpha=0.3),
    "Gelu by tanh": unary("Gelu", approximate="tanh"),
    "Softmax along the first axis": unary("Softmax", axis=0),
    "Softmax of opset 11": with_weights("Softmax", floats(2, 3, 4), opset=11),
    "Add, broadcast": with_weights("Add", floats(2, 1, 4), b=floats(3, 1)),
    "Sub": with_weights("Sub", floats(2, 4), b=floats(4)),
    "Mul": with_weights("Mul", floats(2, 4), b=floats(1)),
    "Div": with_weights("Div", floats(2, 4), b=floats(2, 4)),
    "Pow": with_weights("Pow", POSITIVE, b=floats(7)),
    "Max": with_weights("Max", floats(2, 4), b=floats(4), c=floats(2, 1)),
    "Min": with_weights("Min", floats(2, 4), b=floats(4)),
    "Clip": with_weights("Clip", floats(3, 7), low=np.array(-0.5, np.float32)),
    "Clip of opset 7": with_weights("Clip", floats(3, 7), opset=7, min=-0.5, max=0.25),
    "PRelu": with_weights("PRelu", floats(3, 7), slope=floats(7)),
    "MatMul": with_weights("MatMul", floats(5, 7), b=floats(7, 9)),
    "MatMul, batched": with_weights("MatMul", floats(2, 3, 5, 7), b=floats(3, 7, 4)),
    "MatMul with a vector": with_weights("MatMul", floats(5, 7), b=floats(7)),
    "Gemm": with_weights("Gemm", floats(5, 7), b=floats(7, 9), c=floats(9)),
    "Gemm, transposed and scaled": with_weights(
        "Gemm", floats(7, 5), b=floats(9, 7), c=floats(9), transA=1, transB=1, alpha=0.5, beta=2.0
    ),
    "Conv": with_weights("Conv", IMAGE, w=floats(8, 6, 3, 3), b=floats(8), pads=[1, 1, 1, 1]),
    "Conv, strided and dilated": with_weights(
        "Conv", IMAGE, w=floats(4, 6, 3, 2), strides=[2, 1], dilations=[1, 2], pads=[1, 0, 2, 1]
    ),
    "Conv, grouped": with_weights("Conv", IMAGE, w=floats(4, 3, 3, 3), group=2),
    "Conv, depthwise": with_weights("Conv", IMAGE, w=floats(6, 1, 3, 3), b=floats(6), group=6),
    "Conv, one-dimensional": with_weights("Conv", floats(2, 3, 20), w=floats(4, 3, 5)),
    "Conv, three-dimensional": with_weights("Conv", floats(1, 2, 5, 6, 7), w=floats(3, 2, 2, 3, 2)),
    "Conv with SAME_UPPER": with_weights(
        "Conv", IMAGE, w=floats(4, 6, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]
    ),
    "Conv with SAME_LOWER": with_weights(
        "Conv", IMAGE, w=floats(4, 6, 2, 2), auto_pad="SAME_LOWER", strides=[2, 2]
    ),
    "MaxPool": with_weights("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2]),
    "MaxPool with ceil_mode": with_weights(
        "MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0], ceil_mode=1
    ),
    "AveragePool": with_weights("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "AveragePool that counts padding": with_weights(
        "AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "GlobalAveragePool": with_weights("GlobalAveragePool", IMAGE),
    "GlobalMaxPool": with_weights("GlobalMaxPool", IMAGE),
    "BatchNormalization": with_weights(
        "BatchNormalization", IMAGE, s=floats(6), b=floats(6), m=floats(6), v=np.abs(floats(6))
    ),
    "LayerNormalization": with_weights(
        "LayerNormalization", floats(4, 9), s=floats(9), b=floats(9)
    ),
    "ReduceMean": with_weights("ReduceMean", IMAGE, axes=[1, 3], keepdims=0),
    "ReduceSum": with_weights("ReduceSum", IMAGE, axes=ints(-1)),
    "ReduceMax": with_weights("ReduceMax", IMAGE, axes=[2]),
    "ReduceMin": with_weights("ReduceMin", IMAGE),
    "ReduceProd": with_weights("ReduceProd", floats(3, 4), axes=[1]),
    "ArgMax": with_weights("ArgMax", floats(3, 7), axis=1, keepdims=0),
    "ArgMin": with_weights("ArgMin", floats(3, 7), axis=0),
    "Reshape": with_weights("Reshape", floats(2, 6, 4), shape=ints(0, -1, 2)),
    "Squeeze": with_weights("Squeeze", floats(2, 1, 4, 1), axes=ints(1)),
    "Unsqueeze": with_weights("Unsqueeze", floats(2, 4), axes=ints(0, -1)),
    "Transpose with perm": with_weights("Transpose", floats(2, 3, 4), perm=[2, 0, 1]),
    "Concat": with_weights("Concat", floats(2, 3), b=floats(2, 5), axis=1),
    "Expand": with_weights("Expand", floats(3, 1), shape=ints(2, 1, 4)),
    "Gather": with_weights("Gather", floats(5, 4), i=ints(4, 0, 2), axis=0),
    "GatherElements": with_weights(
        "GatherElements", floats(3, 4), i=ints(2, 0, -1, 1)[None], axis=0
    ),
    "GatherND": with_weights("GatherND", floats(3, 4, 5), i=np.array([[0, 1], [2, -1]])),
    "ScatterElements": with_weights(
        "ScatterElements",
        floats(3, 4),
        opset=18,
        i=ints(1, 1, 3)[None],
        u=floats(1, 3),
        axis=1,
        reduction="add",
    ),
    "ScatterND": with_weights("ScatterND", floats(4, 3), i=np.array([[1], [3]]), u=floats(2, 3)),
    "Slice": with_weights(
        "Slice", floats(5, 6, 7), s=ints(1, -1), e=ints(4, -9), a=ints(0, 2), t=ints(2, -2)
    ),
    "Tile": with_weights("Tile", floats(2, 3), r=ints(3, 2)),
    "Trilu": with_weights("Trilu", floats(4, 5), k=np.array(1)),
    "TopK": (
        model_of([helper.make_node("TopK", ["x", "k"], ["y", "i"])], [3, 9], {"k": ints(4)}),
        floats(3, 9),
    ),
    "Split": (
        model_of(
            [helper.make_node("Split", ["x", "s"], ["z", "y"], axis=1)], [3, 9], {"s": ints(4, 5)}
        ),
        floats(3, 9),
    ),
    "DepthToSpace": with_weights("DepthToSpace", floats(1, 12, 2, 3), blocksize=2),
    "DepthToSpace, CRD": with_weights("DepthToSpace", floats(1, 12, 2, 3), blocksize=2, mode="CRD"),
    "SpaceToDepth": with_weights("SpaceToDepth", floats(1, 3, 4, 6), blocksize=2),
    "CumSum": with_weights("CumSum", floats(3, 5), axis=np.array(1), reverse=1),
    "InstanceNormalization": with_weights("InstanceNormalization", IMAGE, s=floats(6), b=floats(6)),
    "GroupNormalization": with_weights(
        "GroupNormalization", IMAGE, opset=21, s=floats(6), b=floats(6), num_groups=3
    ),
    "LpNormalization": with_weights("LpNormalization", floats(3, 7), axis=1, p=1),
    "Hardmax": unary("Hardmax"),
    **{op: with_weights(op, POSITIVE, axes=[1]) for op in ("ReduceL1", "ReduceL2", "ReduceLogSum")},
    **{
        op: with_weights(op, floats(3, 7), axes=[1], keepdims=0)
        for op in ("ReduceLogSumExp", "ReduceSumSquare")
    },
    **{op: unary(op) for op in ("Tan", "Atan", "Sinh", "Cosh", "Asinh", "Softsign")},
    "Asin": (model_of([node("Asin", "x")], ["n", 7]), np.tanh(floats(3, 7))),
    "Acos": (model_of([node("Acos", "x")], ["n", 7]), np.tanh(floats(3, 7))),
    "Atanh": (model_of([node("Atanh", "x")], ["n", 7]), np.tanh(floats(3, 7))),
    "Acosh": (model_of([node("Acosh", "x")], ["n", 7]), POSITIVE + 1),
    "Mish": with_weights("Mish", floats(3, 7), opset=18),
    "ConvTranspose": with_weights(
        "ConvTranspose",
        IMAGE,
        w=floats(6, 4, 3, 3),
        b=floats(4),
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        output_padding=[1, 0],
    ),
    "ConvTranspose, grouped": with_weights("ConvTranspose", IMAGE, w=floats(6, 2, 2, 2), group=3),
    "ConvTranspose with SAME_UPPER": with_weights(
        "ConvTranspose", IMAGE, w=floats(6, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"
    ),
    "LpPool": with_weights("LpPool", IMAGE, kernel_shape=[2, 2], p=2),
    **{
        f"Resize, {mode} by {how}": resized(mode, how)
        for mode in ("nearest", "linear", "cubic")
        for how in ("half_pixel", "align_corners", "asymmetric")
    },
    "Resize to sizes": (
        model_of([node("Resize", "x", "", "", "s")], IMAGE.shape, {"s": ints(2, 6, 13, 5)}),
        IMAGE,
    ),
    **{kind: layered(kind) for kind in ("LSTM", "GRU", "RNN")},
    "LSTM, both directions": layered("LSTM", direction="bidirectional"),
    "Quantized and back": (
        model_of(
            [
                helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                node("DequantizeLinear", "q", "s", "z"),
            ],
            [3, 7],
            {"s": floats(7) ** 2 + 0.1, "z": np.arange(7, dtype=np.uint8)},
        ),
        floats(3, 7),
    ),
    "MatMulInteger": quantised(
        [node("MatMulInteger", "q", "b", "z", "bz")],
        floats(5, 9),
        b=bytes_of(9, 6),
        bz=np.arange(6, dtype=np.int8),
    ),
    "QLinearMatMul": quantised(
        [node("QLinearMatMul", "q", "s", "z", "b", "bs", "bz", "ys", "yz")],
        floats(5, 9),
        b=bytes_of(9, 6),
        bs=np.float32(0.02),
        bz=np.int8(3),
        ys=np.float32(0.05),
        yz=np.uint8(90),
    ),
    "ConvInteger": quantised(
        [node("ConvInteger", "q", "w", "z", pads=[1, 1, 1, 1], strides=[2, 1])],
        IMAGE,
        w=bytes_of(4, 6, 3, 3),
    ),
    "QLinearConv": quantised(
        [node("QLinearConv", "q", "s", "z", "w", "ws", "wz", "ys", "yz", "c", group=2)],
        IMAGE,
        w=bytes_of(4, 3, 3, 3),
        ws=np.abs(floats(4)) / 50,
        wz=np.zeros(4, np.int8),
        ys=np.float32(0.1),
        yz=np.uint8(120),
        c=np.arange(4, dtype=np.int32) * 100,
    ),
    "LRN": with_weights("LRN", IMAGE, size=3, alpha=0.01, beta=0.7, bias=1.5),
    "Selu": unary("Selu"),
    "Celu": unary("Celu", alpha=0.7),
    "ThresholdedRelu": unary("ThresholdedRelu", alpha=0.5),
    "Shrink": unary("Shrink", bias=0.1, lambd=0.4),
    "Mod": with_weights("Mod", floats(3, 7), b=floats(7), fmod=1),
    "Mean": with_weights("Mean", floats(3, 7), b=floats(7), c=floats(3, 1)),
    "Pad by reflection": with_weights(
        "Pad", floats(4, 5), opset=18, pads=ints(1, 2, 0, 3), mode="reflect"
    ),
    "Pad that cuts": with_weights("Pad", floats(4, 5), pads=ints(-1, 2, 1, -2), mode="edge"),
    "Pad": with_weights(
        "Pad", floats(2, 3), pads=ints(1, 0, 0, 2), value=np.array(0.5, np.float32)
    ),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray]:
    """All cases, computed by one guest."""
    folder = tmp_path_factory.mktemp("operators")
    return dict(zip(CASES, answers(folder, list(CASES.values())), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_operator_agrees_with_onnxruntime(case: str, results: dict[str, NDArray]) -> None:
    wanted = expected(*CASES[case])
    np.testing.assert_allclose(results[case], wanted, rtol=1e-4, atol=2e-6)
    assert results[case].dtype == wanted.dtype


def test_a_network_with_branches_agrees_with_onnxruntime(tmp_path: Path) -> None:
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        make("BatchNormalization", ["c1", "s", "o", "m", "v"], ["n1"]),
        make("Relu", ["n1"], ["r1"]),
        make("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1], group=16),
        make("HardSwish", ["c2"], ["h2"]),
        make("Add", ["r1", "h2"], ["a2"]),
        make("Concat", ["a2", "r1"], ["k"], axis=1),
        make("AveragePool", ["k"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        make("GlobalAveragePool", ["p"], ["g"]),
        make("Flatten", ["g"], ["f"]),
        make("Gemm", ["f", "w3", "b3"], ["l"], transB=1),
        make("Softmax", ["l"], ["y"], axis=-1),
    ]
    weights = {
        "w1": floats(16, 3, 3, 3), "b1": floats(16), "w2": floats(16, 1, 3, 3),
        "s": floats(16), "o": floats(16), "m": floats(16), "v": np.abs(floats(16)),
        "w3": floats(10, 32), "b3": floats(10),
    }  # fmt: skip
    case = (model_of(nodes, ["n", 3, 32, 32], weights), floats(4, 3, 32, 32))
    (result,) = answers(tmp_path, [case])
    np.testing.assert_allclose(result, expected(*case), rtol=1e-4, atol=1e-6)


def test_the_shipped_model_predicts_as_onnxruntime_over_the_whole_test_split(
    tmp_path: Path,
) -> None:
    from models.train_digits import load_split

    _, images, _, labels = load_split()
    model = onnx.load(Path(__file__).parents[2] / "models" / "digits.onnx")
    (result,) = answers(tmp_path, [(model, images)])
    wanted = expected(model, images)
    np.testing.assert_array_equal(result.argmax(1), wanted.argmax(1))
    np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-6)
    assert (result.argmax(1) == labels).mean() >= 0.97
