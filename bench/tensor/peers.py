"""The engines AIos is compared with: NumPy (OpenBLAS), onnxruntime and OpenVINO, on the same data.

Each is given what a program that cares for speed would give it: a session made beforehand for the
wanted number of threads, inputs and the output in memory that it works on in place, aligned to a
cache line, f32 as the precision of f32 models (OpenVINO would take bf16), and for OpenVINO the
latency hint. What a call costs from Python is included, as the issue of an instruction is for us;
copies are not. An engine that is not installed is left out.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from bench.tensor.problem import Array, Problem

_OPSET, _IR_VERSION = 23, 10


class Session(Protocol):
    """A problem made ready to be computed again and again."""

    def run(self, times: int) -> None:
        """Compute it so often."""

    def result(self) -> Array:
        """The result of the last time."""


class _Calls:
    """A session of an engine that is a function call from Python. `kept` are arrays that the
    engine works on without keeping them alive."""

    def __init__(
        self, call: Callable[[], object], result: Callable[[], Array], kept: Sequence[Array] = ()
    ) -> None:
        self._call, self.result, self._kept = call, result, kept

    def run(self, times: int) -> None:
        """Call it so often."""
        call = self._call
        for _ in range(times):
            call()


class Engine(Protocol):
    """A way to compute problems."""

    name: str
    spins: float
    """Seconds for which its idle threads look for work before they sleep."""

    def prepare(self, problem: Problem, threads: int) -> Session | None:
        """A session; None when the engine has no way to compute that."""


class NumPy:
    """NumPy, for what is one call of it."""

    name = "NumPy"
    spins = 0.2

    def prepare(self, problem: Problem, threads: int) -> Session | None:
        """OpenBLAS is limited to `threads` until the next problem."""
        call = problem.numpy
        if call is None:
            return None
        importlib.import_module("threadpoolctl").threadpool_limits(threads)
        out = aligned(np.zeros(problem.shape, problem.dtype))
        return _Calls(lambda: call(out), lambda: out)


class OnnxRuntime:
    """onnxruntime's CPU provider, through I/O binding."""

    name = "onnxruntime"
    spins = 0.05

    def __init__(self) -> None:
        self._ort = importlib.import_module("onnxruntime")
        self._ort.set_default_logger_severity(4)

    def prepare(self, problem: Problem, threads: int) -> Session | None:
        """A session over the ONNX model."""
        if not problem.nodes:
            return None
        options = self._ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = self._ort.InferenceSession(
            model(problem), options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        value = self._ort.OrtValue.ortvalue_from_numpy
        arrays = [aligned(array) for array in problem.inputs.values()]
        out = aligned(np.zeros(problem.shape, problem.dtype))
        for name, array in zip(problem.inputs, arrays, strict=True):
            binding.bind_ortvalue_input(name, value(array))
        binding.bind_ortvalue_output("y", value(out))
        return _Calls(lambda: session.run_with_iobinding(binding), lambda: out, arrays)


class OpenVino:
    """OpenVINO's CPU plug-in."""

    name = "OpenVINO"
    spins = 0.003

    def __init__(self) -> None:
        self._ov = importlib.import_module("openvino")
        self._core = self._ov.Core()

    def prepare(self, problem: Problem, threads: int) -> Session | None:
        """An inference request over the ONNX model, or over one of OpenVINO's own."""
        if problem.openvino is None and not problem.nodes:
            return None
        graph = problem.openvino() if problem.openvino else self._core.read_model(model(problem))
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        request = self._core.compile_model(graph, "CPU", settings).create_infer_request()
        arrays = [aligned(array) for array in problem.inputs.values()]
        for i, array in enumerate(arrays):
            request.set_input_tensor(i, self._ov.Tensor(array, shared_memory=True))
        out = aligned(np.zeros(problem.shape, request.get_output_tensor(0).data.dtype))
        request.set_output_tensor(0, self._ov.Tensor(out, shared_memory=True))
        return _Calls(request.infer, lambda: out, arrays)


def engines() -> tuple[list[Engine], list[str]]:
    """The peers that are installed, and the names of those that are not."""
    kinds: dict[str, tuple[Callable[[], Engine], tuple[str, ...]]] = {
        "NumPy": (NumPy, ("threadpoolctl",)),
        "onnxruntime": (OnnxRuntime, ("onnxruntime", "onnx")),
        "OpenVINO": (OpenVino, ("openvino", "onnx")),
    }
    found: list[Engine] = []
    missing = []
    for name, (make, packages) in kinds.items():
        if all(importlib.util.find_spec(package) for package in packages):
            found.append(make())
        else:
            missing.append(name)
    return found, missing


def model(problem: Problem) -> bytes:
    """The problem as an ONNX model."""
    onnx = importlib.import_module("onnx")
    helper, from_array = onnx.helper, onnx.numpy_helper.from_array

    def info(name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        [
            helper.make_node(n.operator, n.inputs.split(" "), n.output.split(" "), **n.attributes)
            for n in problem.nodes
        ],
        "problem",
        [info(name, array.shape, array.dtype) for name, array in problem.inputs.items()],
        [info("y", problem.shape, problem.dtype)],
        [from_array(np.ascontiguousarray(a), name) for name, a in problem.weights.items()],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    return bytes(made.SerializeToString())


def aligned(array: Array) -> Array:
    """The array in row-major order, at the start of a cache line; itself if it is so already."""
    if array.flags.c_contiguous and array.ctypes.data % 64 == 0:
        return array
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
