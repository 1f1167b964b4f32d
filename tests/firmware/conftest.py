"""Firmware that others built, as Debian packages it, and how it is booted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine
from emu.platform import VirtioDrive

LIMIT = 1_500_000_000  # instructions; U-Boot is at its prompt after 200 million, most of them waits

Package = Callable[[Path], Path]
Boot = Callable[..., str]


@pytest.fixture
def packaged() -> Package:
    """The path of a file from a Debian package. A test is skipped where it is absent, but not in
    CI, which installs all of them."""

    def find(path: Path) -> Path:
        if not path.exists():
            if os.environ.get("CI"):
                pytest.fail(f"{path} is not installed, and CI should have installed it")
            pytest.skip(f"{path} is not installed")
        return path

    return find


@pytest.fixture
def boot(packaged: Package) -> Boot:
    """Boot firmware, and what it starts, on the edge board with `script` as the console's input;
    gives all output. The guest must end the run itself, with success."""

    def run(
        bios: Path,
        kernel: Path | None,
        script: str,
        *,
        drives: Sequence[VirtioDrive] = (),
        harts: int = 1,
    ) -> str:
        edge = board.load("edge")
        console = MemoryConsole(script.encode())
        with Machine(
            replace(edge, cpu=replace(edge.cpu, harts=harts)),
            bios=packaged(bios).read_bytes(),
            kernel=None if kernel is None else packaged(kernel).read_bytes(),
            drives=drives,
            console=console,
        ) as machine:
            status = machine.run(LIMIT)
        assert (status.by_guest, status.code) == (True, 0), f"{status.reason}\n{console.text}"
        return console.text.replace("\r", "")

    return run
