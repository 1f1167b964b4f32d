"""Train `digits.onnx`, the model that AIos ships, and write it beside this file.

    python models/train_digits.py

Data: the "Optical Recognition of Handwritten Digits" test set of the UCI Machine Learning
Repository (E. Alpaydin, C. Kaynak, 1998; CC BY 4.0), 1,797 images of 8 by 8 pixels with values 0 to
16, as scikit-learn ships it in `sklearn.datasets.load_digits`. A stratified fifth is held back.

The network is a small LeNet: two 3x3 convolutions, each followed by ReLU, a 2x2 max pooling behind
the second, then two fully connected layers and a softmax. It is trained with Adam on
cross-entropy, in NumPy alone, so that every step can be read; the seed makes it repeatable. Read
`train` first, then `step`, which holds the network and its gradient; images are NCHW arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Array = NDArray[np.float32]
Parameters = dict[str, Array]

SEED = 7
EPOCHS = 40
BATCH = 32
LEARNING_RATE = 2e-3


def load_split() -> tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]:
    """Images (n, 1, 8, 8) scaled to 0..1, then labels: each training, held back."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    split = train_test_split(
        images, digits.target, test_size=0.2, random_state=SEED, stratify=digits.target
    )
    return tuple(split)  # type: ignore[return-value]


def initial(rng: np.random.Generator) -> Parameters:
    """He-normal weights and zero biases."""
    shapes = {"conv1": (8, 1, 3, 3), "conv2": (16, 8, 3, 3), "fc1": (256, 64), "fc2": (64, 10)}
    parameters: Parameters = {}
    for name, shape in shapes.items():
        fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
        weight = rng.normal(0, np.sqrt(2 / fan_in), shape)
        parameters[f"{name}.weight"] = weight.astype(np.float32)
        outputs = shape[1] if len(shape) == 2 else shape[0]
        parameters[f"{name}.bias"] = np.zeros(outputs, np.float32)
    return parameters


def conv(x: Array, weight: Array, bias: Array) -> Array:
    """3x3 convolution with a border of one zero: (n, c, h, w) to (n, o, h, w)."""
    windows = sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True) + bias[:, None, None]


def conv_backward(x: Array, weight: Array, grad: Array) -> tuple[Array, Array, Array]:
    """Gradients of `conv` for its input, weight and bias."""
    windows = sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
    grad_weight = np.einsum("nchwij,nohw->ocij", windows, grad, optimize=True)
    flipped = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    return conv(grad, flipped, np.zeros(x.shape[1], np.float32)), grad_weight, grad.sum((0, 2, 3))


def step(p: Parameters, x: Array, labels: NDArray[np.int64]) -> Parameters:
    """One forward and backward pass over a batch: the gradient of the mean cross-entropy."""
    n = len(x)
    a1 = np.maximum(conv(x, p["conv1.weight"], p["conv1.bias"]), 0)
    a2 = np.maximum(conv(a1, p["conv2.weight"], p["conv2.bias"]), 0)
    blocks = a2.reshape(n, 16, 4, 2, 4, 2)
    pooled = blocks.max((3, 5))
    flat = pooled.reshape(n, 256)
    a3 = np.maximum(flat @ p["fc1.weight"] + p["fc1.bias"], 0)
    logits = a3 @ p["fc2.weight"] + p["fc2.bias"]
    exp = np.exp(logits - logits.max(1, keepdims=True))
    d = exp / exp.sum(1, keepdims=True)
    d[np.arange(n), labels] -= 1
    d /= n
    g: Parameters = {"fc2.weight": a3.T @ d, "fc2.bias": d.sum(0)}
    d = (d @ p["fc2.weight"].T) * (a3 > 0)
    g |= {"fc1.weight": flat.T @ d, "fc1.bias": d.sum(0)}
    d = (d @ p["fc1.weight"].T).reshape(pooled.shape)
    winners = blocks == pooled[:, :, :, None, :, None]
    d = (winners * d[:, :, :, None, :, None]).reshape(a2.shape) * (a2 > 0)
    d, g["conv2.weight"], g["conv2.bias"] = conv_backward(a1, p["conv2.weight"], d)
    _, g["conv1.weight"], g["conv1.bias"] = conv_backward(x, p["conv1.weight"], d * (a1 > 0))
    return g


def batches(rng: np.random.Generator, n: int) -> Iterator[NDArray[np.int64]]:
    """Indices of one epoch's batches, shuffled."""
    order = rng.permutation(n)
    for start in range(0, n, BATCH):
        yield order[start : start + BATCH]


def train(images: Array, labels: NDArray[np.int64]) -> Parameters:
    """Adam (Kingma and Ba, 2015) with a learning rate that falls linearly to zero."""
    rng = np.random.default_rng(SEED)
    p = initial(rng)
    mean = {name: np.zeros_like(value) for name, value in p.items()}
    square = {name: np.zeros_like(value) for name, value in p.items()}
    t = 0
    for epoch in range(EPOCHS):
        for batch in batches(rng, len(images)):
            t += 1
            rate = LEARNING_RATE * (1 - epoch / EPOCHS)
            for name, grad in step(p, images[batch], labels[batch]).items():
                mean[name] += 0.1 * (grad - mean[name])
                square[name] += 0.001 * (grad * grad - square[name])
                m, v = mean[name] / (1 - 0.9**t), square[name] / (1 - 0.999**t)
                p[name] -= (rate * m / (np.sqrt(v) + 1e-8)).astype(np.float32)
    return p


def export(p: Parameters) -> onnx.ModelProto:
    """The network as an ONNX graph; the batch is a free dimension."""
    conv_attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node(
            "Conv", ["image", "conv1.weight", "conv1.bias"], ["c1"], **conv_attributes
        ),
        helper.make_node("Relu", ["c1"], ["a1"]),
        helper.make_node("Conv", ["a1", "conv2.weight", "conv2.bias"], ["c2"], **conv_attributes),
        helper.make_node("Relu", ["c2"], ["a2"]),
        helper.make_node("MaxPool", ["a2"], ["p2"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc1.weight", "fc1.bias"], ["f1"]),
        helper.make_node("Relu", ["f1"], ["a3"]),
        helper.make_node("Gemm", ["a3", "fc2.weight", "fc2.bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(value, name) for name, value in p.items()],
    )
    model = helper.make_model(
        graph, producer_name="aios", opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    model.doc_string = "UCI digits; input: (n, 1, 8, 8) f32, pixel values divided by 16"
    onnx.checker.check_model(model)
    return model


def accuracy(model: onnx.ModelProto, images: Array, labels: NDArray[np.int64]) -> float:
    """Share of right answers, as onnxruntime computes them."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    (probabilities,) = session.run(None, {"image": images})
    return float((probabilities.argmax(1) == labels).mean())


def main() -> None:
    """Train, report, and write the model and one held-back image per digit as example inputs."""
    here = Path(__file__).parent
    train_x, test_x, train_y, test_y = load_split()
    model = export(train(train_x, train_y))
    print(f"training {accuracy(model, train_x, train_y):.4f}")
    print(f"held back {accuracy(model, test_x, test_y):.4f} of {len(test_x)} images")
    onnx.save(model, here / "digits.onnx")
    for digit in range(10):
        first = int(np.flatnonzero(test_y == digit)[0])
        np.save(here / f"digit{digit}.npy", test_x[first : first + 1])


if __name__ == "__main__":
    main()
