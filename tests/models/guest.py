"""Runs ONNX models inside AIos, many in one boot, and in onnxruntime for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from emu import board
from emu.console import MemoryConsole
from emu.machine import ExitStatus, Machine
from emu.platform import Drive
from toolchain import disk
from toolchain.image import default_image

Case = tuple[onnx.ModelProto, NDArray]


def boot(image: Path, *commands: str, board_name: str = "workstation") -> tuple[ExitStatus, str]:
    """Boot AIos with a disk and let it execute `commands`; how it ended, and its console."""
    console = MemoryConsole()
    with Machine(
        board.load(board_name),
        kernel=default_image().read_bytes(),
        drives=[Drive(str(image))],
        append=f'exec="{"; ".join(commands)}"',
        console=console,
    ) as machine:
        return machine.run(max_instructions=2_000_000_000), console.text


def answers(folder: Path, cases: Sequence[Case]) -> list[NDArray]:
    """Each model's first output inside AIos, all in one boot."""
    files, outputs, commands = [], [], []
    for i, (model, array) in enumerate(cases):
        (folder / f"m{i}.onnx").write_bytes(model.SerializeToString())
        np.save(folder / f"x{i}.npy", array)
        files += [(name, folder / name) for name in (f"m{i}.onnx", f"x{i}.npy")]
        outputs.append((f"y{i}.npy", 1 << 24))
        commands += [f"spawn m{i}.onnx", f"infer {i} x{i}.npy y{i}.npy"]
    disk.create(folder / "disk.img", files, outputs)
    status, console = boot(folder / "disk.img", *commands, "poweroff")
    assert status.code == 0, console
    for name, _ in outputs:
        (folder / name).write_bytes(disk.extract(folder / "disk.img", name))
    return [np.load(folder / name) for name, _ in outputs]


def expected(model: onnx.ModelProto, array: NDArray) -> NDArray:
    """The first output as onnxruntime computes it, without graph optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: array})[0]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    weights: dict[str, NDArray] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model from input `x` (f32) to output `y` that consists of `nodes`."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    inferred = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    )
    graph = onnx.shape_inference.infer_shapes(inferred).graph
    known = {value.name: value for value in [*graph.value_info, *graph.output]}
    inferred.graph.output[0].CopyFrom(known["y"])
    return inferred
