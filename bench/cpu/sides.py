"""The machines that `aios bench cpu` compares: each runs a program as a process of its own.

A program says `begin` and, with its result, `end` on its console. What is timed is the time between
the two (`Timing.program`), and the whole process from its start to its end (`Timing.process`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from emu.errors import AiosError

QEMU = "qemu-system-riscv64"
_MAIN = "import sys; from toolchain.cli import main; sys.exit(main())"
_LIMIT_SECONDS = 600
"""A process that takes longer is killed, which is an error."""


@dataclass(frozen=True)
class Timing:
    """One run of a program; times in seconds of the wall."""

    result: str
    program: float
    process: float
    instructions: int | None = None
    """Guest instructions between the markers, by the guest's own counter."""


def native(program: Path, rounds: int) -> Timing:
    """Run it as a process of the host."""
    return _run([str(program), str(rounds)], dict(os.environ))


def qemu(image: Path) -> Timing:
    """Run it on QEMU's system emulation, as it is by default (one thread of TCG)."""
    options = ("-M", "virt", "-m", "128M", "-bios", "none", "-display", "none", "-monitor", "none")
    command = [QEMU, *options, "-serial", "stdio", "-kernel", str(image)]
    return _run(command, dict(os.environ))


def aios(image: Path, cache: Path) -> Timing:
    """Run it with `aios run`, on the default board and with that cache (`bench.processes`)."""
    command = [sys.executable, "-c", _MAIN, "run", "--kernel", str(image)]
    return _run(command, processes.environment(cache))


def have_qemu() -> bool:
    """Whether QEMU is installed."""
    return shutil.which(QEMU) is not None


def _run(command: list[str], environment: dict[str, str]) -> Timing:
    """Start a process, note when its lines come, and wait for its end."""
    marks: list[tuple[float, list[str]]] = []
    start = time.perf_counter()
    with (
        processes.Family() as family,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=processes.ROOT,
            pass_fds=[family.descriptor],
        ) as process,
    ):
        assert process.stdout is not None
        limit = threading.Timer(_LIMIT_SECONDS, process.kill)
        limit.start()
        marks.extend((time.perf_counter(), line.split()) for line in process.stdout)
        process.wait()
        limit.cancel()
        seconds = time.perf_counter() - start
    words = [word for _, words in marks for word in words]
    if process.returncode or words[:2] != ["begin", "end"]:
        said = " ".join(words)
        raise AiosError(
            f"'{' '.join(command)}' ended with code {process.returncode} and said '{said}'."
        )
    counted = int(words[3], 16) if len(words) > 3 else None
    return Timing(words[2], marks[1][0] - marks[0][0], seconds, counted)
