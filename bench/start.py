"""How long it takes to be at the prompt: `aios bench start`.

Wall time of the warm path, medians of interleaved runs: the whole process of `aios run`, from its
start to its end at `poweroff`; inside one process, from the first guest instruction to the prompt;
and, where QEMU is installed, its whole process for the same image and disk. The guest's own time
from reset to the prompt is virtual and the same in every run.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.report import Report
from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine
from emu.platform import Drive
from toolchain import disk
from toolchain.image import default_image

RUNS = 7
PROMPT = b"AIos> "
MODELS = Path(__file__).parents[1] / "models"
QEMU = "qemu-system-riscv64"


class Stopwatch(MemoryConsole):
    """A console that notes when the prompt appears, and then types `poweroff`."""

    prompt_at = 0.0

    def write(self, byte: int) -> None:
        """Keep `byte`; look for the prompt's end."""
        super().write(byte)
        if not self.prompt_at and self.written.endswith(PROMPT):
            self.prompt_at = time.perf_counter()


def boot_seconds(image: Path) -> tuple[float, float]:
    """One boot in this process: wall and virtual seconds from reset to the prompt."""
    console = Stopwatch(b"poweroff\n")
    with Machine(
        board.load(board.DEFAULT),
        kernel=default_image().read_bytes(),
        drives=[Drive(str(image))],
        console=console,
    ) as machine:
        start = time.perf_counter()
        machine.run()
    up = console.text.split("up in ")[1].split(" ms")[0]
    return console.prompt_at - start, float(up) / 1e3


def process_seconds(command: list[str]) -> float:
    """Wall time of a whole process that is told to power off."""
    start = time.perf_counter()
    subprocess.run(command, input=b"\npoweroff\n", stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def commands(image: Path) -> dict[str, list[str]]:
    """The processes that are compared."""
    main = "import sys; from toolchain.cli import main; sys.exit(main())"
    found = {"aios run": [sys.executable, "-c", main, "run", "--drive", str(image)]}
    if shutil.which(QEMU):
        found["QEMU, the same image"] = [
            QEMU, "-M", "virt", "-m", "1G", "-bios", "none", "-kernel", str(default_image()),
            "-drive", f"file={image},if=none,format=raw,id=d", "-device", "nvme,drive=d,serial=a",
            "-serial", "stdio", "-monitor", "none", "-display", "none",
        ]  # fmt: skip
    return found


def measure() -> Report:
    """All figures."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "disk.img"
        disk.create(image, [("digits.onnx", MODELS / "digits.onnx")])
        boot_seconds(image)  # fills the caches
        times: dict[str, list[float]] = {name: [] for name in commands(image)}
        boots, virtual = [], 0.0
        for _ in range(RUNS):
            for name, command in commands(image).items():
                times[name].append(process_seconds(command))
            wall, virtual = boot_seconds(image)
            boots.append(wall)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        report.add(f"{name}: whole process", value * 1e3, "ms")
    report.add("first instruction to prompt", statistics.median(boots) * 1e3, "ms")
    report.add("reset to prompt, virtual", virtual * 1e3, "ms")
    report.summary = {
        "prompt_wall_s": medians["aios run"],
        "first_instruction_to_prompt_s": statistics.median(boots),
        "reset_to_prompt_virtual_s": virtual,
    }
    return report
