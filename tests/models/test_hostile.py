"""Damaged models and inputs: a sentence at the prompt each, and the kernel lives on."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine
from emu.platform import Drive
from toolchain import disk
from toolchain.cli import main
from toolchain.image import default_image

MODELS = Path(__file__).parents[2] / "models"
COUNT = 60


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Cut off, or with a few bytes changed; most changes hit the structure, not the weights."""
    if rng.random() < 0.3:
        return data[: rng.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        edge = rng.randrange(600)
        at = rng.choice([edge, len(data) - 1 - edge // 2, rng.randrange(len(data))])
        changed[at % len(data)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    return bytes(changed)


def talk(image: Path, *lines: str) -> str:
    """Boot, type the lines and `poweroff`; what the console said, less the echo."""
    console = MemoryConsole("\n".join([*lines, "poweroff\n"]).encode())
    machine = Machine(
        board.load("workstation"),
        kernel=default_image().read_bytes(),
        drives=[Drive(str(image))],
        console=console,
    )
    status = machine.run(max_instructions=4_000_000_000)
    assert status.code == 0, console.text
    return re.sub(r"AIos> .*\r?\n", "", console.text)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_models_and_inputs_are_refused_in_a_sentence_and_a_good_model_still_runs(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    model = (MODELS / "digits.onnx").read_bytes()
    array = (MODELS / "digit7.npy").read_bytes()
    files = [("digits.onnx", MODELS / "digits.onnx"), ("digit7.npy", MODELS / "digit7.npy")]
    for i in range(COUNT):
        for name, data in ((f"m{i}.onnx", model), (f"x{i}.npy", array)):
            (tmp_path / name).write_bytes(damaged(data, rng))
            files.append((name, tmp_path / name))
    disk.create(tmp_path / "image", files)
    spawns = [f"spawn m{i}" for i in range(COUNT)]
    infers = [f"infer 0 x{i}.npy" for i in range(COUNT)]
    infers += [f"infer {i} digit7.npy" for i in range(COUNT)]
    said = talk(tmp_path / "image", "spawn digits", *spawns, *infers, "infer 0 digit7.npy")
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) > COUNT
    assert not any("panic" in line for line in said.splitlines())
    assert re.search(r"class 7 \(\S+\) of.*\n.*digit7.npy in", said[said.rindex("class") :])


def test_a_full_agent_table_is_said_and_the_kernel_lives_on(tmp_path: Path) -> None:
    disk.create(tmp_path / "image", [("digits.onnx", MODELS / "digits.onnx")])
    said = talk(tmp_path / "image", *["spawn digits"] * 257)
    assert said.count("runs digits.onnx") == 256
    assert "error: the agent table is full: 256 agents are the most" in said


@pytest.mark.parametrize(
    ("model", "array", "sentence"),
    [
        ("absent.onnx", "digit7.npy", "there is no model 'absent.onnx'"),
        ("text.onnx", "digit7.npy", "no ONNX model"),
        (
            "digits.onnx",
            "wide.npy",
            "dimension 3 of the model's input 'image' is 8, the file has 9",
        ),
        ("digits.onnx", "integers.npy", "the model's input 'image' are f32, the file's are i32"),
        ("digits.onnx", "words.npy", "data type '<U4' is not supported"),
        ("digits.onnx", "text.onnx", "is no npy file"),
        ("digits.onnx", "absent.npy", "cannot be read: No such file"),
    ],
)
def test_aios_infer_refuses_bad_files_in_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    array: str,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits.onnx", "digit7.npy"):
        (tmp_path / name).write_bytes((MODELS / name).read_bytes())
    (tmp_path / "text.onnx").write_text("\x12\x03abc")
    np.save(tmp_path / "wide.npy", np.zeros((1, 1, 8, 9), np.float32))
    np.save(tmp_path / "integers.npy", np.zeros((1, 1, 8, 8), np.int32))
    np.save(tmp_path / "words.npy", np.array(["text"]))
    assert main(["infer", model, "--input", array, "--output", "y.npy"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("aios: error: ")
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "y.npy").exists()


@pytest.mark.parametrize(
    ("node", "weights", "shape", "sentence"),
    [
        (
            helper.make_node("Transpose", ["x"], ["y"], perm=[0, 0]),
            {},
            (2, 3),
            "perm names dimension 0 twice (node '', operator Transpose)",
        ),
        (
            helper.make_node("Conv", ["x", "w"], ["y"], group=3),
            {"w": np.ones((3, 1, 2, 2), np.float32)},
            (1, 2, 4, 4),
            "3 groups of 1 channels are wanted, the input has 2 channels (node '', operator Conv)",
        ),
    ],
)
def test_a_node_that_means_nothing_is_refused_with_its_name(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    node: onnx.NodeProto,
    weights: dict[str, NDArray[np.float32]],
    shape: tuple[int, ...],
    sentence: str,
) -> None:
    model, array = tmp_path / "model.onnx", tmp_path / "x.npy"
    given = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ("x", "y")]
    graph = helper.make_graph([node], "test", ends[:1], ends[1:], given)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), model)
    np.save(array, np.ones(shape, np.float32))
    assert main(["infer", str(model), "--input", str(array)]) == 2
    assert capsys.readouterr().err == f"aios: error: {sentence}\n"
