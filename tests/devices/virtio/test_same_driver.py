"""One driver, in C, sees the same on our virtio disk and on QEMU's, in both layouts, and leaves the
same bytes on both."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine
from emu.platform import VirtioDrive

SOURCE = Path(__file__).with_name("guest_driver.c")
FLAGS = (
    "-march=rv64gc -mabi=lp64d -mcmodel=medany -nostdlib -O2 -ffreestanding -Wl,-n,--no-relax "
    "-Wl,-Ttext=0x80000000"
)


def make_image(path: Path) -> Path:
    path.write_bytes(bytes((i * i >> 8) & 0xFF for i in range(1 << 17)))
    return path


@pytest.mark.parametrize("legacy", [False, True], ids=["modern", "legacy"])
def test_a_driver_in_c_sees_what_it_sees_on_qemu(tool, tmp_path: Path, legacy: bool) -> None:
    kernel = tmp_path / "driver.elf"
    compile_ = [tool("riscv64-unknown-elf-gcc"), *FLAGS.split(), str(SOURCE), "-o", str(kernel)]
    subprocess.run(compile_, check=True, capture_output=True)
    ours, theirs = make_image(tmp_path / "ours.img"), make_image(tmp_path / "theirs.img")
    qemu = [tool("qemu-system-riscv64"), "-M", "virt", "-m", "1G", "-bios", "none", "-nographic"]
    qemu += ["-kernel", str(kernel), "-drive", f"file={theirs},if=none,format=raw,id=d"]
    qemu += ["-global", f"virtio-mmio.force-legacy={'on' if legacy else 'off'}"]
    qemu += ["-device", "virtio-blk-device,drive=d,serial=AIOS-VIRTIO0"]
    done = subprocess.run(
        qemu, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True
    )
    console = MemoryConsole()
    with Machine(
        board.load("edge"),
        kernel=kernel.read_bytes(),
        console=console,
        drives=[VirtioDrive(str(ours), legacy=legacy)],
    ) as machine:
        assert machine.run(100_000_000).code == 0
    assert console.text.splitlines() == done.stdout.decode().splitlines()
    assert "too many requests" in console.text
    assert ours.read_bytes() == theirs.read_bytes()
