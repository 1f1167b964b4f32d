"""One driver, in C, says the same of our drive and of QEMU's, and leaves the same bytes on both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emu.platform import Drive
from tests.devices.same_driver import on_both

SOURCE = Path(__file__).with_name("guest_driver.c")


def test_a_driver_in_c_sees_what_it_sees_on_qemu(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    def qemu(image: Path) -> list[str]:
        drive = f"file={image},if=none,format=raw,discard=unmap,id=d"
        namespace = "nvme-ns,drive=d,bus=nvme0,nsid=1"
        return ["-drive", drive, "-device", "nvme,id=nvme0,serial=x", "-device", namespace]

    ours, theirs = on_both(tool, SOURCE, tmp_path, qemu, lambda image: Drive(str(image)))
    assert ours == theirs
    assert any("shut down" in line for line in ours.lines)
