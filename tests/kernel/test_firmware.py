"""The assembly under the kernel, as GNU as and QEMU see it: a C program on top tries each part."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
ASM = HERE.parents[1] / "asm"


def test_firmware_traps_guards_timer_and_shutdown_work_on_qemu(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    image = tmp_path / "firmware.elf"
    gcc = [tool("riscv64-unknown-elf-gcc"), "-O1", "-ffreestanding", "-nostdlib"]
    target = ["-march=rv64imafdc_zicsr_zifencei", "-mabi=lp64d", "-mcmodel=medany"]
    sources = [ASM / "start.s", ASM / "trap.s", HERE / "firmware.c"]
    command = [*gcc, *target, "-T", HERE / "image.ld", "-o", image, *sources]
    subprocess.run(command, check=True, capture_output=True)
    qemu = [tool("qemu-system-riscv64"), "-M", "virt", "-m", "256M", "-bios", "none"]
    run = subprocess.run(
        [*qemu, "-kernel", image, "-nographic"],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    said = [
        (name, int(value, 16))
        for name, value in (line.rsplit(" ", 1) for line in run.stdout.splitlines())
    ]
    assert said == [
        ("hart", 0),
        ("tree", 0xEDFE0DD0),
        ("cause", 3),
        ("s11", 0x1234),
        ("kept", 1),
        ("argument", 42),
        ("cause", 2),
        ("guarded", 77),
        ("nested", 6),
        ("armed inside", 1),
        ("armed outside", 0),
        ("timer", 0),
        ("slept", 1),
        ("unknown service", 2**64 - 2),
    ]
    assert run.returncode == 7
