"""Agents: from the drive to an answer, and what happens when there is no answer."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.kernel.conftest import ROOT, Boot
from toolchain import disk


@pytest.mark.parametrize(
    ("board", "gpus", "tpus"), [("edge", 0, 1), ("workstation", 1, 1), ("server", 8, 2)]
)
def test_every_device_of_the_board_is_found(
    aios: Boot, drive: Path, board: str, gpus: int, tpus: int
) -> None:
    answer = aios("devices\npoweroff\n", drive, board=board).answer("devices")
    names = [f"GPU{n}" for n in range(gpus)] + ["NVMe0"] + [f"TPU{n}" for n in range(tpus)]
    assert sorted(line.split()[0] for line in answer.splitlines()) == names


def test_digit_is_recognised(aios: Boot, drive: Path) -> None:
    session = aios("spawn digits\ninfer 0 digit7.npy\ninfer 0\npoweroff\n", drive)
    assert "class 7" in session.answer("infer 0 digit7.npy")
    assert "class 3" in session.answer("infer 0")


def test_output_file_agrees_with_onnxruntime(aios: Boot, drive: Path) -> None:
    session = aios("spawn digits\ninfer 0 digit7.npy out.npy\npoweroff\n", drive)
    assert session.code == 0
    got = np.load(io.BytesIO(disk.extract(drive, "out.npy")))
    model = onnxruntime.InferenceSession(ROOT / "models" / "digits.onnx")
    image = np.load(ROOT / "models" / "digit7.npy")
    (want,) = model.run(None, {model.get_inputs()[0].name: image})
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_agents_and_memory_are_shown(aios: Boot, drive: Path) -> None:
    session = aios("spawn digits 0.5\ninfer 0\nagents\nmem\ntasks\npoweroff\n", drive)
    [_, agent] = session.answer("agents").splitlines()
    [number, model, state, priority, latency, inferences] = agent.split()
    assert (number, model, state) == ("0", "digits.onnx", "idle")
    assert (float(priority), inferences) == (0.5, "1")
    assert 0 < float(latency) < 100
    assert "agent 0" in session.answer("mem")
    assert "0 waiting" in session.answer("tasks")


def normalised_model() -> onnx.ModelProto:
    """A convolution, a normalisation, and a rectifier."""
    random = np.random.default_rng(2)
    arrays = {
        "w": random.standard_normal((8, 3, 3, 3)), "s": random.uniform(0.5, 2, 8),
        "b": random.standard_normal(8), "m": random.standard_normal(8),
        "v": random.uniform(0.5, 2, 8),
    }  # fmt: skip
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("BatchNormalization", ["c", *"sbmv"], ["n"]),
        onnx.helper.make_node("Relu", ["n"], ["y"]),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, c, 40, 40])
        for name, c in (("x", 3), ("y", 8))
    ]
    weights = [
        onnx.numpy_helper.from_array(value.astype(np.float32), name)
        for name, value in arrays.items()
    ]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )


def test_optimizing_folds_normalisations_and_says_what_it_was_worth(
    aios: Boot, tmp_path: Path
) -> None:
    model = normalised_model()
    x = np.random.default_rng(3).standard_normal((1, 3, 40, 40)).astype(np.float32)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    np.save(tmp_path / "x.npy", x)
    image = tmp_path / "disk.img"
    files = [(name, tmp_path / name) for name in ("m.onnx", "x.npy")]
    disk.create(image, files, [("a.npy", 1 << 16), ("b.npy", 1 << 16)])
    typed = "spawn m.onnx\ninfer 0 x.npy a.npy\ninfer 0 x.npy b.npy\nlog\npoweroff\n"
    log = aios(typed, image).answer("log")
    assert "agent 0: 1 normalisations folded into weights" in log
    [before, after] = re.findall(r"([0-9.]+) ms (?:before|after)", log)
    assert 0 < float(after) < float(before)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (want,) = session.run(None, {"x": x})
    for name in ("a.npy", "b.npy"):
        got = np.load(io.BytesIO(disk.extract(image, name)))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_hart_without_xaitensor_refuses_to_infer(qemu: Boot, drive: Path) -> None:
    session = qemu("spawn digits\ninfer 0\nagents\npoweroff\n", drive)
    assert session.answer("infer 0") == (
        "error: this hart has no Xaitensor, so agent 0 cannot infer\n"
    )
    assert "digits.onnx" in session.answer("agents")


def test_full_agent_table_is_an_error(qemu: Boot, drive: Path) -> None:
    session = qemu("spawn digits\n" * 257 + "poweroff\n", drive)
    assert "agent 255 runs digits.onnx\n" in session.said
    assert "error: the agent table is full: 256 agents are the most\n" in session.said
    assert session.code == 0


@pytest.mark.parametrize("content", [b"", b"\x07garbage", b"\x3a\xff\xff\xff\xff\x0f"])
def test_broken_model_is_an_error_and_frees_its_agent(
    qemu: Boot, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    image = tmp_path / "disk.img"
    disk.create(image, [("bad.onnx", tmp_path / "bad.onnx")])
    session = qemu("spawn bad\nagents\npoweroff\n", image)
    assert session.answer("spawn bad").startswith("error: ")
    assert session.answer("agents").startswith("no agents")


def test_wrong_input_is_an_error(aios: Boot, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((1, 1, 9, 9), np.float32))
    image = tmp_path / "disk.img"
    files = [("digits.onnx", ROOT / "models" / "digits.onnx"), ("wide.npy", tmp_path / "wide.npy")]
    disk.create(image, files)
    session = aios("spawn digits\ninfer 0\ninfer 0 digits.onnx\npoweroff\n", image)
    assert session.answer("infer 0").startswith("error: ")
    assert session.answer("infer 0 digits.onnx").startswith("error: ")
    assert session.code == 0


def test_without_a_drive_there_is_a_sentence(machine: Boot) -> None:
    answer = machine("models\npoweroff\n").answer("models")
    assert answer == "error: there is no NVMe drive\n"


def _patched(drive: Path, offset: int, data: bytes) -> Path:
    with drive.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    return drive


@pytest.mark.parametrize(
    ("offset", "data", "error"),
    [
        (0, b"FATDISK!", "the drive holds no AIFS image"),
        (8, struct.pack("<I", 9), "the drive's AIFS version is 9, this kernel reads 1"),
        (12, b"\xff\xff\xff\xff", "the drive's table has 4294967295 entries"),
        (16, struct.pack("<Q", 1 << 63), "the drive's table at 9223372036854775808 is outside"),
        (4096, b"D", "the drive's table is damaged: its crc32 is wrong"),
    ],
)
def test_damaged_drive_is_a_sentence(
    qemu: Boot, drive: Path, offset: int, data: bytes, error: str
) -> None:
    answer = qemu("models\npoweroff\n", _patched(drive, offset, data)).answer("models")
    assert answer.startswith(f"error: {error}")


def test_damaged_content_is_a_sentence(qemu: Boot, drive: Path) -> None:
    [model] = [entry for entry in disk.read(drive) if entry.name == "digits.onnx"]
    _patched(drive, model.offset + 40, b"\0\1\2")
    answer = qemu("spawn digits\npoweroff\n", drive).answer("spawn digits")
    assert answer == "error: the content of 'digits.onnx' is damaged: its crc32 is wrong\n"
