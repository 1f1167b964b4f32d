"""Stock OpenSBI and U-Boot, the binaries that Debian ships, up to U-Boot's prompt and back down.

A blank as the first input stops U-Boot's countdown; a pipe's bytes come when U-Boot asks for them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from emu.platform import VirtioDrive

ROOT = Path(__file__).parents[2]
OPENSBI = Path("/usr/lib/riscv64-linux-gnu/opensbi/generic")
SUPERVISOR = Path("/usr/lib/u-boot/qemu-riscv64_smode")
MACHINE = Path("/usr/lib/u-boot/qemu-riscv64")


def after(text: str, command: str) -> list[str]:
    """The lines that U-Boot printed after the last time it was given `command`."""
    return text.rpartition(f"=> {command}\n")[2].partition("\n=> ")[0].splitlines()


def test_opensbi_starts_u_boot_which_powers_off(packaged) -> None:
    """By the command that a user types."""
    command = [sys.executable, "-c", "import sys; from toolchain.cli import main; sys.exit(main())"]
    files = ["--bios", packaged(OPENSBI / "fw_jump.elf")]
    files += ["--kernel", packaged(SUPERVISOR / "uboot.elf")]
    done = subprocess.run(
        [*command, "run", *files, "--max-instructions", "1_500_000_000"],
        input=b" version\npoweroff\n",
        capture_output=True,
        cwd=ROOT,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    text = done.stdout.decode().replace("\r", "")
    assert (done.returncode, done.stderr) == (0, b""), text
    assert "\nOpenSBI v" in text
    assert "Boot HART PMP Count       : 16" in text
    assert "Platform Shutdown Device  : sifive_test" in text
    assert "DRAM:  16 GiB" in text
    assert any(line.startswith("U-Boot 20") for line in after(text, "version"))
    assert text.rstrip().endswith("poweroff ...")


def test_dynamic_firmware_starts_a_raw_u_boot_that_reads_a_virtio_disk(boot, tmp_path) -> None:
    """The dynamic firmware learns from the boot ROM where the next stage is. PCIe functions are
    enumerated besides, and a restart begins anew."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"a block from the disk".ljust(512, b".") * 2048)
    text = boot(
        OPENSBI / "fw_dynamic.elf",
        SUPERVISOR / "u-boot.bin",
        " pci\nvirtio scan\nvirtio info\nvirtio read 84000000 7 1\nmd.b 84000000 20\n"
        "reset\n poweroff\n",
        drives=[VirtioDrive(str(disk))],
    )
    assert any("0x1de5     0x0002" in line for line in after(text, "pci"))
    assert "            Capacity: 1.0 MB = 0.0 GB (2048 x 512)" in after(text, "virtio info")
    assert after(text, "md.b 84000000 20") == [
        "84000000: 61 20 62 6c 6f 63 6b 20 66 72 6f 6d 20 74 68 65  a block from the",
        "84000010: 20 64 69 73 6b 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e   disk...........",
    ]
    assert text.count("OpenSBI v") == text.count("DRAM:  1 GiB") == 2


def test_u_boot_for_machine_mode_needs_no_firmware(boot) -> None:
    text = boot(MACHINE / "u-boot.bin", None, " bdinfo\npoweroff\n")
    assert "OpenSBI" not in text
    assert "-> start    = 0x0000000080000000" in after(text, "bdinfo")


def test_opensbi_parks_the_harts_that_u_boot_does_not_use(boot) -> None:
    text = boot(OPENSBI / "fw_jump.bin", SUPERVISOR / "uboot.elf", " sbi\npoweroff\n", harts=4)
    assert "Platform HART Count       : 4" in text
    assert "Platform HSM Device       : ---" in text
    assert "  Hart State Management Extension" in after(text, "sbi")
