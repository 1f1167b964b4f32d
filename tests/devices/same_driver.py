"""One driver, in C, on QEMU's virt machine and on ours: what it says there and what it leaves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine
from emu.platform import Drive, VirtioDrive

_FLAGS = (
    "-march=rv64gc -mabi=lp64d -mcmodel=medany -nostdlib -O2 -ffreestanding -Wl,-n,--no-relax "
    "-Wl,-Ttext=0x80000000"
)
_QEMU = "-M virt -m 1G -bios none -nographic"


@dataclass(frozen=True)
class Said:
    """The lines that a driver printed, and its drive's bytes afterwards."""

    lines: list[str]
    drive: bytes


def on_both(
    tool: Callable[[str], str],
    source: Path,
    folder: Path,
    qemu: Callable[[Path], Sequence[str]],
    ours: Callable[[Path], Drive | VirtioDrive],
) -> tuple[Said, Said]:
    """Run the driver `source` on ours and on QEMU, each with a copy of the same drive file in
    `folder`: `ours` makes a drive of it, `qemu` the arguments that do."""
    kernel = folder / "driver.elf"
    compile_ = [tool("riscv64-unknown-elf-gcc"), *_FLAGS.split(), str(source), "-o", str(kernel)]
    subprocess.run(compile_, check=True, capture_output=True)
    one, other = folder / "ours.img", folder / "theirs.img"
    for path in (one, other):
        path.write_bytes(bytes((i * i >> 8) & 0xFF for i in range(1 << 17)))
    console = MemoryConsole()
    drives = [ours(one)]
    with Machine(
        board.load("edge"), kernel=kernel.read_bytes(), console=console, drives=drives
    ) as machine:
        assert machine.run(100_000_000).code == 0
    command = [tool("qemu-system-riscv64"), *_QEMU.split(), "-kernel", str(kernel), *qemu(other)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True
    )
    return (
        Said(console.text.splitlines(), one.read_bytes()),
        Said(done.stdout.decode().splitlines(), other.read_bytes()),
    )
