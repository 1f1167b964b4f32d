"""Programs that check themselves, in the convention of riscv-tests, on every engine.

`programs/` holds them; they end through `tohost`, with the number of the case that failed. Spike
says whether the programs themselves are right.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from emu import board, machine
from emu.console import MemoryConsole
from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine
from emu.cpu.reference import ReferenceEngine
from tests.cpu.agreement.world import Engine
from tests.cpu.spike import simulator

PROGRAMS = Path(__file__).parent / "programs"
LIMIT = 200_000  # instructions; none of the programs needs a tenth of that
_TARGET = ("-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany", "-nostdlib", "-static")
_LAYOUT = ("-Wl,-n", "-Wl,-Ttext=0x80000000", "-Wl,-Tdata=0x80080000")

_ENGINES: dict[str, Callable[[Hart], Engine]] = {
    "reference": ReferenceEngine,
    "native": partial(NativeEngine, translate="off"),
    "translated": partial(NativeEngine, translate="eager"),
}
_CASES = {
    "privilege": ("privilege", ()),
    "counters": ("counters", ()),
    "paging, Sv39": ("paging", ()),
    "paging, Sv48": ("paging", ("-DSV48",)),
}
"""Names of programs with what they are compiled with."""


@pytest.fixture(params=_CASES)
def program(request: pytest.FixtureRequest, tool: Callable[[str], str], tmp_path: Path) -> Path:
    """One program as an ELF file."""
    name, options = _CASES[request.param]
    image = tmp_path / "program.elf"
    gcc = tool("riscv64-unknown-elf-gcc")
    command = [gcc, *_TARGET, *_LAYOUT, *options, PROGRAMS / f"{name}.S", "-o", image]
    subprocess.run(command, check=True, capture_output=True)
    return image


@pytest.mark.parametrize("engine", _ENGINES)
def test_every_case_passes(program: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_make_engine", lambda _, hart: _ENGINES[engine](hart))
    small = board.load("edge")
    console = MemoryConsole(b"")
    with machine.Machine(small, kernel=program.read_bytes(), console=console) as computer:
        status = computer.run(LIMIT)
    assert (status.code, status.by_guest) == (0, True), status.reason


def test_every_case_passes_in_spike(program: Path) -> None:
    spike = simulator.executable()
    if spike is None:
        if os.environ.get("CI"):
            pytest.fail("Spike is not installed, and CI should have installed it")
        pytest.skip("Spike is not installed")
    done = subprocess.run(
        [spike, f"--isa={simulator.ISA}", program], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
