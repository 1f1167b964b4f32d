"""Reads from NVMe by the guest kernel's own driver: `aios bench nvme`.

The kernel's command `readtest` reads 4 KiB at random places with 32 commands in flight, or 1 MiB
after 1 MiB from the start, and says how long that took on the virtual clock. Here the host's time
is taken as well, from the moment at which the command begins to that at which its answer is
printed. The drive's file lies in the host's page cache. Best of several runs, for the host may be
busy with other things; both figures are reads, so that nothing but the machine is measured.
"""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from bench.report import Report
from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine
from emu.platform import Drive
from toolchain.image import default_image

BOARDS = ("server", "workstation")
RUNS = 12
RANDOM_READS = 10_000
SEQUENTIAL_MIB = 512
DRIVE_BYTES = 256 << 20
_PIECE = 1 << 20
_ANSWER = re.compile(r"(\d+) reads of (\d+) bytes in ([\d.]+) ms")


class Stopwatch(MemoryConsole):
    """A console that notes when each line was complete."""

    def __init__(self, typed: bytes) -> None:
        super().__init__(typed)
        self.lines: list[tuple[float, str]] = []
        self._line = bytearray()

    def write(self, byte: int) -> None:
        """Keep `byte`; a newline stops the time."""
        super().write(byte)
        self._line.append(byte)
        if byte == ord("\n"):
            self.lines.append((time.perf_counter(), self._line.decode()))
            self._line.clear()


def make_drive(path: Path) -> None:
    """A drive in the page cache whose blocks all differ."""
    with path.open("wb") as file:
        for i in range(DRIVE_BYTES // _PIECE):
            file.write(i.to_bytes(8, "little") * (_PIECE // 8))


def read_rate(drive: Path, name: str, pattern: str, count: int) -> tuple[float, float]:
    """Bytes a second of host time and of virtual time, the best of `RUNS`, on the board `name`."""
    console = Stopwatch(f"readtest 0 {pattern} {count}\n".encode() * RUNS + b"poweroff\n")
    with Machine(
        board.load(name),
        kernel=default_image().read_bytes(),
        drives=[Drive(str(drive))],
        console=console,
    ) as machine:
        machine.run()
    host, virtual, began = 0.0, 0.0, 0.0
    for at, line in console.lines:
        if found := _ANSWER.search(line):
            total = int(found[1]) * int(found[2])
            host = max(host, total / (at - began))
            virtual = max(virtual, total / (float(found[3]) / 1e3))
        began = at
    return host, virtual


def measure(report: Report) -> None:
    """Random and sequential reads on two boards; the summary has the slower board's figures."""
    iops, rates = [], []
    with tempfile.TemporaryDirectory() as folder:
        drive = Path(folder) / "drive.img"
        make_drive(drive)
        for name in BOARDS:
            host, virtual = read_rate(drive, name, "random", RANDOM_READS)
            report.add(f"nvme, {name}: random reads of 4 KiB", host / 4096, "a second of host time")
            report.add(f"nvme, {name}: the same, virtual", virtual / 4096, "a second")
            iops.append(host / 4096)
            host, virtual = read_rate(drive, name, "sequential", SEQUENTIAL_MIB)
            report.add(f"nvme, {name}: sequential reads", host / 1e9, "GB/s of host time")
            report.add(f"nvme, {name}: the same, virtual", virtual / 1e9, "GB/s")
            rates.append(host / 1e9)
    report.summary["nvme_read_iops"] = min(iops)
    report.summary["nvme_read_gb_s"] = min(rates)
