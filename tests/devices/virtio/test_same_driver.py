"""One driver, in C, sees the same on our virtio disk and on QEMU's, in both layouts, and leaves the
same bytes on both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from emu.platform import VirtioDrive
from tests.devices.same_driver import on_both

SOURCE = Path(__file__).with_name("guest_driver.c")


@pytest.mark.parametrize("legacy", [False, True], ids=["modern", "legacy"])
def test_a_driver_in_c_sees_what_it_sees_on_qemu(
    tool: Callable[[str], str], tmp_path: Path, legacy: bool
) -> None:
    def qemu(image: Path) -> list[str]:
        layout = f"virtio-mmio.force-legacy={'on' if legacy else 'off'}"
        drive = f"file={image},if=none,format=raw,id=d"
        device = "virtio-blk-device,drive=d,serial=AIOS-VIRTIO0"
        return ["-global", layout, "-drive", drive, "-device", device]

    ours, theirs = on_both(
        tool, SOURCE, tmp_path, qemu, lambda image: VirtioDrive(str(image), legacy=legacy)
    )
    assert ours == theirs
    assert any("too many requests" in line for line in ours.lines)
