"""The kernel's GPU driver on every board: what is found, what works, and what is survived."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.conftest import MAIN, ROOT, Boot


def rates(answer: str) -> dict[str, float]:
    """What `gputest` measured, by the way that was taken."""
    return {
        what.strip(): float(n) for what, n in re.findall(r"^  (.+?) ([\d.]+) GB/s$", answer, re.M)
    }


def test_workstation_gpu_computes_copies_and_survives_faults(aios: Boot) -> None:
    session = aios("gputest 0\ngpus\npoweroff\n")
    answer = session.answer("gputest 0")
    assert "GPU0 runs kernels and survives their faults" in answer
    found = rates(answer)
    assert found["from RAM"] == pytest.approx(32 * 0.87, rel=0.05)  # PCIe 4.0 x16
    assert found["to RAM"] == pytest.approx(32 * 0.87, rel=0.05)
    assert found["within its memory"] == pytest.approx(1935 * 0.9 / 2, rel=0.2)
    assert re.search(r"GPU0  0 MiB of 81920 MiB in use, 4 dispatches, .* 6 faults", session.said)


def test_every_gpu_of_the_server_reaches_every_other(aios: Boot) -> None:
    session = aios("gputest 0\ngputest 7\npoweroff\n", board="server")
    for device in (0, 7):
        found = rates(session.answer(f"gputest {device}"))
        peers = [f"to GPU{i}" for i in range(8) if i != device]
        assert all(found[peer] == pytest.approx(450 * 0.87, rel=0.1) for peer in peers)
        assert found["from RAM"] == pytest.approx(64 * 0.87, rel=0.12)


def test_a_drive_writes_into_vram(aios: Boot, drive: Path) -> None:
    found = rates(aios("gputest 0\npoweroff\n", drive).answer("gputest 0"))
    assert 0 < found["from a drive"] <= 2.8


def test_board_without_gpus_says_so(aios: Boot) -> None:
    session = aios("gpus\ngputest 0\npoweroff\n", board="edge")
    assert session.answer("gpus") == "no GPUs\n"
    assert session.answer("gputest 0") == "error: there is no GPU0\n"


def test_qemu_has_no_gpu_and_the_kernel_lives(qemu: Boot) -> None:
    assert qemu("gpus\npoweroff\n").answer("gpus") == "no GPUs\n"


@pytest.mark.parametrize("module", ["vram", "aql"])
def test_modules_pass_their_own_tests(module: str) -> None:
    path = Path("kernel_src") / f"{module}.kern"
    run = subprocess.run(
        [sys.executable, "-c", MAIN, "test", str(path)], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stdout + run.stderr
