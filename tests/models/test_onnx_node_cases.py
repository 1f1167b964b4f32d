"""The onnx package's own cases for its operators, executed by the kernel.

Each case is a small model with inputs and outputs. All inputs but the first become constants, for
a model in AIos has one input; many cases share a boot. What the kernel does not support it refuses
with a sentence: `REFUSED` says which cases, and no other may be.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine
from emu.platform import Drive
from toolchain import disk
from toolchain.image import default_image

BOOTS = 6
TYPES = {"float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "bool"}
OPERATORS = set(
    re.findall(
        r'Operator\{name: "(\w+)"',
        (Path(__file__).parents[2] / "kernel_src" / "ops.kern").read_text("utf-8"),
    )
)
REFUSED = re.compile(
    r"attention_3d|attention_.*(past|cache|nonpad|padded_kv|softcap|window)|batchwise|training_mode"
    r"|argmax_2d|_blocked|crop_and_resize|resize_.*(axes|not_larger|not_smaller)|averagepool.*ceil"
    r"|count_include_pad_is_1_ceil_mode_is_True"
)
"""Names of cases that use what the kernel says it does not support."""


@dataclass(frozen=True)
class NodeCase:
    """A case as a model with one input."""

    name: str
    model: bytes
    given: NDArray[np.generic]
    wanted: NDArray[np.generic]
    rtol: float
    atol: float


def _case(source: object) -> NodeCase | None:
    """A case of the onnx package, if the kernel has its operators and types."""
    model = onnx.ModelProto()
    model.CopyFrom(source.model)  # type: ignore[attr-defined]
    if not {n.op_type for n in model.graph.node} <= OPERATORS:
        return None
    for inputs, outputs in (source.data_sets or [])[:1]:  # type: ignore[attr-defined]
        arrays = [*inputs, *outputs[:1]]
        if not inputs or len(inputs) != len(model.graph.input) or not outputs:
            return None
        if any(not isinstance(a, np.ndarray) or str(a.dtype) not in TYPES for a in arrays):
            return None
        for value, array in list(zip(model.graph.input, inputs, strict=True))[1:]:
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
            model.graph.input.remove(value)
        tolerances = max(source.rtol, 1e-4), max(source.atol, 1e-6)  # type: ignore[attr-defined]
        name: str = source.name  # type: ignore[attr-defined]
        return NodeCase(name, model.SerializeToString(), inputs[0], outputs[0], *tolerances)
    return None


def _cases() -> list[NodeCase]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some cases overflow on purpose
        found = [_case(source) for source in collect_testcases(None)]
    return sorted((case for case in found if case is not None), key=lambda case: case.name)


CASES = _cases()


def _answers(folder: Path, cases: list[NodeCase]) -> list[NDArray[np.generic] | str]:
    """For each case, in one boot, the first output or what the kernel says instead."""
    files, outputs, commands = [], [], []
    for i, case in enumerate(cases):
        (folder / f"m{i}.onnx").write_bytes(case.model)
        np.save(folder / f"x{i}.npy", case.given)
        files += [(name, folder / name) for name in (f"m{i}.onnx", f"x{i}.npy")]
        outputs.append((f"y{i}.npy", max(2 * case.wanted.nbytes, 4096)))
        commands += [f"spawn m{i}.onnx", f"infer {i} x{i}.npy y{i}.npy"]
    image = folder / "disk.img"
    disk.create(image, files, outputs)
    console = MemoryConsole("\n".join([*commands, "poweroff", ""]).encode())
    kernel = default_image().read_bytes()
    with Machine(
        board.load("workstation"), kernel=kernel, drives=[Drive(str(image))], console=console
    ) as machine:
        machine.run(max_instructions=8_000_000_000)
    said = console.text.replace("\r", "")
    answers: list[NDArray[np.generic] | str] = []
    for i in range(len(cases)):
        answer = said.split(f"AIos> infer {i} x{i}.npy y{i}.npy\n", 1)[1].split("AIos> ", 1)[0]
        if "error: " in answer:
            answers.append(answer.split("error: ", 1)[1].strip())
            continue
        (folder / "y.npy").write_bytes(disk.extract(image, f"y{i}.npy"))
        answers.append(np.load(folder / "y.npy"))
    return answers


def _verdict(case: NodeCase, answer: NDArray[np.generic] | str) -> str:
    """What is wrong with an answer; nothing if it is right."""
    refused = REFUSED.search(case.name) is not None
    if isinstance(answer, str):
        honest = "not supported" in answer or "wanted" in answer
        return "" if refused and honest else f"{case.name}: {answer}"
    if answer.shape != case.wanted.shape or answer.dtype != case.wanted.dtype:
        return f"{case.name}: {answer.dtype} {answer.shape} for {case.wanted.dtype}"
    if np.allclose(answer, case.wanted, case.rtol, case.atol, equal_nan=True):
        return ""
    return f"{case.name}: another result"


@pytest.mark.parametrize("boot", range(BOOTS))
def test_the_kernel_computes_what_the_onnx_cases_expect(boot: int, tmp_path: Path) -> None:
    cases = CASES[boot::BOOTS]
    verdicts = map(_verdict, cases, _answers(tmp_path, cases))
    assert [verdict for verdict in verdicts if verdict] == []


def test_the_cases_are_many() -> None:
    supported = [case for case in CASES if not REFUSED.search(case.name)]
    assert len(supported) > 850
