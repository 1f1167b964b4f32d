"""The register framework: declarations are checked, and everything else follows from them."""

from __future__ import annotations

import pytest

from emu.devices.device import Device, on_read, on_write, register, register_array
from emu.devices.registers import RO, RW, W1C, W1S, WO, Register, bits


class Mode(Register, offset=0x00, size=4):
    """A register with one field of every access mode."""

    status = bits[0](RO, reset=1, doc="read only")
    speed = bits[7:4](RW, reset=3, doc="read and write")
    error = bits[8](W1C, doc="write 1 to clear")
    start = bits[9](W1S, doc="write 1 to set")
    key = bits[31:24](WO, doc="write only")
    reserved = bits[3:1], bits[23:10]


class Wide(Register, offset=0x08, size=8):
    """A 64-bit register."""

    address = bits[63:12](RW, doc="page address")
    reserved = bits[11:0]


class Bell(Register, offset=0x20, size=4, count=4):
    """An array of doorbells."""

    tail = bits[15:0](RW, doc="tail")
    reserved = bits[31:16]


class Low(Register, offset=0x30, size=2):
    """The first of two neighbours."""

    value_ = bits[15:0](RW, reset=0x1122, doc="all")


class High(Register, offset=0x32, size=2):
    """The second of two neighbours."""

    value_ = bits[15:0](RW, reset=0x3344, doc="all")


class Sample(Device, prefix="SAMPLE"):
    """A device with all kinds of registers."""

    mode = register(Mode)
    wide = register(Wide)
    bell = register_array(Bell)
    low = register(Low)
    high = register(High)

    def __init__(self) -> None:
        super().__init__("sample")
        self.rung: list[tuple[int, int, int]] = []
        self.wrote: list[tuple[int, int]] = []

    @on_write(bell)
    def _ring(self, index: int, value: int, old: int) -> None:
        self.rung.append((index, value, old))

    @on_write(wide)
    def _wide(self, value: int, old: int) -> None:
        self.wrote.append((value, old))

    @on_read(low)
    def _low(self) -> int:
        return self.low.value + 1


def test_fields_obey_their_access_modes() -> None:
    device = Sample()
    assert device.read(0, 4) == 0x31
    device.mode.error = 1
    device.write(0, 4, 0xAA00_0250)
    assert device.read(0, 4) == 0x351  # key reads as 0, error stays, status stays
    device.write(0, 4, 0x0000_0150)
    assert device.read(0, 4) == 0x251  # error cleared, start stays set
    assert device.mode.speed == 5
    device.reset()
    assert device.read(0, 4) == 0x31


def test_halves_of_a_64_bit_register_are_reachable() -> None:
    device = Sample()
    device.write(0x08, 4, 0x8765_4321)
    device.write(0x0C, 4, 0x1234)
    assert device.read(0x08, 8) == 0x1234_8765_4000
    assert device.read(0x0C, 4) == 0x1234
    assert device.wrote == [(0x8765_4321, 0), (0x1234_8765_4000, 0x8765_4000)]


def test_accesses_may_span_registers_and_take_bytes() -> None:
    device = Sample()
    assert device.read(0x30, 4) == 0x3344_1123
    device.write(0x30, 4, 0xAABB_CCDD)
    assert (device.low.value, device.high.value) == (0xCCDD, 0xAABB)
    device.write(0x33, 1, 0xEE)
    assert device.high.value == 0xEEBB
    assert device.read(0x33, 1) == 0xEE


def test_array_callbacks_get_the_index() -> None:
    device = Sample()
    device.write(0x28, 4, 7)
    assert device.rung == [(2, 7, 0)]
    assert device.bell[2].tail == 7


def test_unmapped_offsets_read_zero_and_ignore_writes() -> None:
    device = Sample()
    before = device.snapshot()
    device.write(0x1000, 8, 5)
    assert device.read(0x1000, 8) == 0
    assert device.snapshot() == before


def test_snapshot_restores_every_register() -> None:
    device = Sample()
    device.write(0x08, 8, 0x5000)
    device.write(0x20, 4, 9)
    saved = device.snapshot()
    device.reset()
    device.restore(saved)
    assert device.wide.address == 5
    assert device.bell[0].tail == 9


def test_dump_and_trace_name_the_fields() -> None:
    device = Sample()
    assert "status=1 speed=3 error=0 start=0 key=0" in device.dump()
    assert device.describe(False, 0, 4, 0x31).startswith("MODE status=1")
    assert device.describe(False, 0x24, 4, 2) == "BELL[1] tail=2"
    assert device.describe(False, 0x0C, 4, 2) == "WIDE"
    assert device.describe(False, 0x100, 4, 2) == "nothing"


def test_a_field_outside_its_register_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"Bad\.far covers bits 33:32, but the register has 32 bits"
    ):

        class Bad(Register, offset=0, size=4):
            far = bits[33:32](RO, doc="too far")
            reserved = bits[31:0]


def test_overlapping_fields_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Bad\.a and Bad\.b both cover bit 1"):

        class Bad(Register, offset=0, size=4):
            a = bits[1:0](RO, doc="one")
            b = bits[2:1](RO, doc="two")


def test_undeclared_bits_are_refused() -> None:
    with pytest.raises(TypeError, match="Bad leaves bit 1 undeclared: give it a field or name it"):

        class Bad(Register, offset=0, size=1):
            a = bits[0](RO, doc="one")


def test_a_reset_value_that_does_not_fit_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Bad\.a cannot hold its reset value 0x100"):

        class Bad(Register, offset=0, size=1):
            a = bits[7:0](RO, reset=0x100, doc="one")


def test_a_misplaced_register_is_refused() -> None:
    with pytest.raises(TypeError, match="Bad of 4 bytes cannot lie at offset 0x2"):

        class Bad(Register, offset=2, size=4):
            a = bits[31:0](RO, doc="one")


def test_overlapping_registers_are_refused() -> None:
    class Low(Register, offset=0, size=2):
        a = bits[15:0](RO, doc="one")

    with pytest.raises(TypeError, match="Bad: Mode and Low overlap at 0x0"):

        class Bad(Device):
            mode = register(Mode)
            low = register(Low)
