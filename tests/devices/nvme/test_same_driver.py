"""One driver, in C, says the same of our drive and of QEMU's, and leaves the same bytes on both."""

from __future__ import annotations

import subprocess
from pathlib import Path

from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine
from emu.platform import Drive

SOURCE = Path(__file__).with_name("guest_driver.c")
FLAGS = (
    "-march=rv64gc -mabi=lp64d -mcmodel=medany -nostdlib -O2 -Wl,-n,--no-relax "
    "-Wl,-Ttext=0x80000000"
)


def make_image(path: Path) -> Path:
    path.write_bytes(bytes((i * i >> 8) & 0xFF for i in range(1 << 17)))
    return path


def test_a_driver_in_c_sees_what_it_sees_on_qemu(tool, tmp_path) -> None:
    kernel = tmp_path / "driver.elf"
    compile_ = [tool("riscv64-unknown-elf-gcc"), *FLAGS.split(), str(SOURCE), "-o", str(kernel)]
    subprocess.run(compile_, check=True, capture_output=True)
    ours, theirs = make_image(tmp_path / "ours.img"), make_image(tmp_path / "theirs.img")
    qemu = [tool("qemu-system-riscv64"), "-M", "virt", "-m", "1G", "-bios", "none", "-nographic"]
    qemu += [
        "-kernel",
        str(kernel),
        "-drive",
        f"file={theirs},if=none,format=raw,discard=unmap,id=d",
    ]
    qemu += ["-device", "nvme,id=nvme0,serial=x", "-device", "nvme-ns,drive=d,bus=nvme0,nsid=1"]
    done = subprocess.run(
        qemu, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True
    )
    console = MemoryConsole()
    with Machine(
        board.load("edge"),
        kernel=kernel.read_bytes(),
        console=console,
        drives=[Drive(str(ours))],
    ) as machine:
        assert machine.run(100_000_000).code == 0
    assert console.text.splitlines() == done.stdout.decode().splitlines()
    assert "shut down" in console.text
    assert ours.read_bytes() == theirs.read_bytes()
