"""How long it takes to be at the prompt: `aios bench start`.

Wall time of `aios run` with a warm cache, from the start of its process to the first guest
instruction, to the prompt, and, after `poweroff`, to the process's end; where QEMU is installed,
the same of QEMU with the same image and disk; and how much memory each has resident at the prompt.
Medians of several processes by turns. Beside them the start of Python, below which nothing here can
come, and the first run ever, which compiles the kernel and the engine. The guest's own
time from reset to the prompt is virtual and the same in every run.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path

from bench.processes import ROOT, Family, environment
from bench.report import Report, Target
from emu.errors import AiosError
from toolchain import disk
from toolchain.image import default_image

TARGETS = (
    Target("prompt_wall_s", 0.4, at_least=False),
    Target("first_instruction_to_prompt_s", 0.1, at_least=False),
    Target("rss_mb", 300, at_least=False),
)

RUNS = 7
PROMPT = b"AIos> "
QEMU = "qemu-system-riscv64"
_MODEL = "digits.onnx"

# `aios run`, which also says when the machine begins to execute: perf_counter is one clock for all
# processes of a Linux host.
_AIOS = """
import sys, time
from emu.machine import Machine
run = Machine.run
def noted(self, *arguments):
    print("running", time.perf_counter(), file=sys.stderr, flush=True)
    return run(self, *arguments)
Machine.run = noted
from toolchain.cli import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Boot:
    """One boot; seconds of the wall since its process was started, and megabytes."""

    running: float | None
    """The first guest instruction; QEMU does not say when that is."""
    prompt: float
    ended: float
    resident_mb: float
    virtual: float
    """Seconds from reset to the prompt, by the guest's clock; on QEMU that is a real one."""


def boot(command: list[str], cache: Path) -> Boot:
    """Start a process, wait for its prompt, tell it to power off, wait for its end."""
    pipe = subprocess.PIPE
    start = time.perf_counter()
    with (
        Family() as family,
        subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=environment(cache),
            cwd=ROOT,
            pass_fds=[family.descriptor],
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        said = b""
        while PROMPT not in said:
            chunk = os.read(process.stdout.fileno(), 4096)
            if not chunk:
                raise AiosError(f"'{command[0]}' ended without a prompt: {said!r}.")
            said += chunk
        prompt = time.perf_counter() - start
        resident = _resident_mb(process.pid)
        process.stdin.write(b"poweroff\n")
        process.stdin.close()
        process.stdout.read()
        noted = re.search(rb"running (\S+)", process.stderr.read())
        process.wait()
        ended = time.perf_counter() - start
    up = re.search(rb"up in ([\d.]+) ms", said)
    return Boot(
        float(noted[1]) - start if noted else None,
        prompt,
        ended,
        resident,
        float(up[1]) / 1e3 if up else 0.0,
    )


def _resident_mb(pid: int) -> float:
    """What a process has in memory now, in MB (10^6 bytes)."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    (kib,) = re.findall(r"VmRSS:\s*(\d+) kB", status)
    return int(kib) * 1024 / 1e6


def median(boots: list[Boot]) -> Boot:
    """The median of each figure."""

    def middle(name: str) -> float | None:
        values = [getattr(one, name) for one in boots]
        return None if None in values else statistics.median(values)

    return Boot(**{field.name: middle(field.name) for field in fields(Boot)})  # type: ignore[arg-type]


def commands(image: Path, drive: Path) -> dict[str, list[str]]:
    """The processes that are compared, by name."""
    found = {"AIos": [sys.executable, "-c", _AIOS, "run", "--drive", str(drive)]}
    if shutil.which(QEMU):
        found["QEMU"] = [
            QEMU, "-M", "virt", "-m", "1G", "-bios", "none", "-kernel", str(image),
            "-drive", f"file={drive},if=none,format=raw,id=d", "-device", "nvme,drive=d,serial=a",
            "-serial", "stdio", "-monitor", "none", "-display", "none",
        ]  # fmt: skip
    return found


def _python_seconds() -> float:
    """A Python process that does nothing."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - start


def measure() -> Report:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        drive = Path(folder) / "disk.img"
        disk.create(drive, [(_MODEL, ROOT / "models" / _MODEL)])
        todo = commands(default_image(), drive)
        cache = Path(folder) / "cache"
        cold = boot(todo["AIos"], cache)  # and fills it
        boots: dict[str, list[Boot]] = {name: [] for name in todo}
        python = []
        for _ in range(RUNS):
            python.append(_python_seconds())
            for name, command in todo.items():
                boots[name].append(boot(command, cache))
    return _report({name: median(runs) for name, runs in boots.items()}, cold, python)


def _report(boots: dict[str, Boot], cold: Boot, python: list[float]) -> Report:
    report = Report(targets=TARGETS)
    report.add("Python: whole process", statistics.median(python) * 1e3, "ms")
    for name, one in boots.items():
        if one.running is not None:
            report.add(f"{name}: to the first guest instruction", one.running * 1e3, "ms")
            report.add(f"{name}: from there to the prompt", (one.prompt - one.running) * 1e3, "ms")
        report.add(f"{name}: to the prompt", one.prompt * 1e3, "ms")
        report.add(f"{name}: whole process", one.ended * 1e3, "ms")
        report.add(f"{name}: resident at the prompt", one.resident_mb, "MB")
    ours = boots["AIos"]
    report.add("AIos: to the prompt, first run ever", cold.prompt * 1e3, "ms")
    report.add("reset to prompt, virtual", ours.virtual * 1e3, "ms")
    running = ours.running or 0.0
    report.summary = {
        "prompt_wall_s": ours.prompt,
        "process_wall_s": ours.ended,
        "first_instruction_s": running,
        "first_instruction_to_prompt_s": ours.prompt - running,
        "reset_to_prompt_virtual_s": ours.virtual,
        "rss_mb": ours.resident_mb,
        "cold_prompt_wall_s": cold.prompt,
    }
    if "QEMU" in boots:
        report.summary["qemu_prompt_wall_s"] = boots["QEMU"].prompt
        report.summary["qemu_rss_mb"] = boots["QEMU"].resident_mb
    return report
