"""The generated files are those that the declarations give."""

from __future__ import annotations

import pytest

from emu.devices import docs
from emu.devices.device import Device


@pytest.mark.parametrize(
    ("path", "make"), [(docs.REFERENCE, docs.reference), (docs.CONSTANTS, docs.constants)]
)
def test_generated_files_are_current(path, make) -> None:
    assert path.read_text(encoding="utf-8") == make(), "run: python -m emu.devices.docs"


def test_constants_name_offsets_fields_and_strides() -> None:
    lines = docs.constants().splitlines()
    for line in ("NVME_CSTS = 0x1c", "NVME_CSTS_RDY_SHIFT = 0", "NVME_CSTS_SHST_MASK = 0x3"):
        assert line in lines
    assert "NVME_SQTDBL_STRIDE = 0x8" in lines
    assert "RTC_TIME_HIGH = 0x4" in lines


def test_every_device_is_documented() -> None:
    """Those that others are made from, an empty slot, and a mailbox in RAM are none."""
    none = {"PciFunction", "Capability", "VirtioMmio", "EmptySlot", "Htif"}
    kinds, found = [Device], set()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.__module__.startswith("emu.") and kind is not Device:
            found.add(kind.__name__)
    assert found - none == {kind.__name__ for kind in docs.DEVICES}
