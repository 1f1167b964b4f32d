"""The kernel at its prompt: every command, and every mistake that a user makes first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kernel.conftest import Boot

COMMANDS = ["help", "devices", "drives", "models", "spawn", "infer", "agents", "mem", "tasks"]
COMMANDS += ["readtest", "gpus", "gputest", "tpus", "tputest", "log"]


def test_boots_to_its_prompt_and_powers_off(machine: Boot, drive: Path) -> None:
    session = machine("poweroff\n", drive)
    assert session.said.startswith("AIos  ")
    assert session.said.endswith("AIos> poweroff\n")
    assert session.code == 0


def test_help_lists_every_command(machine: Boot) -> None:
    answer = machine("help\npoweroff\n").answer("help")
    assert [line.split()[0] for line in answer.splitlines()] == [*COMMANDS, "poweroff"]


def test_models_lists_what_lies_on_the_drive(machine: Boot, drive: Path) -> None:
    answer = machine("models\npoweroff\n", drive).answer("models")
    assert [line.split()[:2] for line in answer.splitlines()] == [
        ["digits.onnx", "model"],
        ["digit3.npy", "tensor"],
        ["digit7.npy", "tensor"],
        ["out.npy", "tensor"],
    ]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("dance", "there is no command 'dance'; help lists them"),
        ("spawn", "usage: spawn NAME [PRIORITY]"),
        ("spawn ghost", "there is no model 'ghost' on the drive; models lists them"),
        ("spawn digits high", "'high' is not a number"),
        ("help me", "help takes no words after it"),
        ("infer 3", "there is no agent 3; agents lists them"),
        ("infer x", "'x' is not a number"),
        ("a b c d e f g h i", "more than 8 words in a command"),
    ],
)
def test_mistake_gets_one_sentence_and_the_kernel_lives(
    qemu: Boot, drive: Path, command: str, error: str
) -> None:
    session = qemu(f"{command}\n\nmodels\npoweroff\n", drive)
    assert session.answer(command) == f"error: {error}\n"
    assert "digits.onnx" in session.answer("models")
    assert session.code == 0


def test_line_can_be_edited(machine: Boot) -> None:
    session = machine("taskx\x7fs\x08s\nnonsense\x03poweroff\n")
    assert "0 waiting" in session.said
    assert "nonsense^C\nAIos> poweroff\n" in session.said


def test_arrow_keys_type_nothing(machine: Boot) -> None:
    assert "0 waiting" in machine("\x1b[Ata\x1b[1;5Dsks\npoweroff\n").said


def test_end_of_input_powers_off(aios: Boot) -> None:
    assert aios("tasks\n").code == 0


def test_control_d_powers_off(machine: Boot) -> None:
    assert machine("\x04").code == 0


def test_log_has_the_story_of_the_boot(machine: Boot, drive: Path) -> None:
    answer = machine("log\npoweroff\n", drive).answer("log")
    assert re.search(r"\d ms  NVMe0 at 00:\d\d\.0$", answer, re.M)
    assert "AIosKernel booted - AI-ready" in answer


def test_boot_takes_less_than_100_ms_of_virtual_time(aios: Boot, drive: Path) -> None:
    found = re.search(r"up in ([\d.]+) ms", aios("poweroff\n", drive).said)
    assert found is not None
    assert float(found[1]) < 100


def test_commands_of_the_boot_argument_run_first(machine: Boot, drive: Path) -> None:
    session = machine("", drive, append='exec="spawn digits; agents; poweroff"')
    assert "agent 0 runs digits.onnx\n" in session.said
    assert "AIos> " not in session.said
    assert session.code == 0


def test_error_in_the_boot_argument_ends_with_code_1(machine: Boot, drive: Path) -> None:
    session = machine("", drive, append='exec="spawn ghost; poweroff"')
    assert "error: there is no model 'ghost' on the drive" in session.said
    assert session.code == 1
