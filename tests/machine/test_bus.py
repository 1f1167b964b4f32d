"""RAM and the bus."""

from __future__ import annotations

import io
import json

import pytest

from emu.bus import Bus, BusFault
from emu.devices.dma import DmaPort
from emu.errors import AiosError
from emu.memory import Memory
from emu.trace import Trace

RAM = 0x8000_0000


class Echo:
    """A device that remembers the last access."""

    name = "echo"

    def __init__(self) -> None:
        self.last = (0, 0, 0)

    def read(self, offset: int, size: int) -> int:
        return offset

    def write(self, offset: int, size: int, value: int) -> None:
        self.last = (offset, size, value)

    def describe(self, write: bool, offset: int, size: int, value: int) -> str:
        return "echo"


def make() -> tuple[Bus, Echo]:
    bus, echo = Bus(Memory(RAM, 1 << 20)), Echo()
    bus.map(0x1000_0000, 0x100, echo)
    return bus, echo


def test_ram_is_little_endian_and_ends_where_it_ends() -> None:
    bus, _ = make()
    bus.write(RAM, 8, 0x0102030405060708)
    assert bus.read(RAM, 1) == 8
    assert bus.read(RAM + 4, 4) == 0x01020304
    with pytest.raises(BusFault, match="nothing answers at physical address 0x800ffffc"):
        bus.read(RAM + (1 << 20) - 4, 8)


def test_a_huge_ram_costs_nothing_until_touched() -> None:
    memory = Memory(RAM, 160 << 30)
    memory.write(RAM + (159 << 30), 8, 5)
    assert memory.read(RAM + (159 << 30), 8) == 5
    memory.clear()
    assert memory.read(RAM + (159 << 30), 8) == 0


def test_devices_see_offsets_and_truncated_values() -> None:
    bus, echo = make()
    assert bus.read(0x1000_0004, 4) == 4
    bus.write(0x1000_0008, 2, 0x12345)
    assert echo.last == (8, 2, 0x2345)
    assert bus.accesses == 2


@pytest.mark.parametrize("paddr", [0, 0x1000_0100, 0x1000_00FE, 0x2000_0000, 1 << 55])
def test_addresses_of_nobody_fault(paddr: int) -> None:
    bus, _ = make()
    with pytest.raises(BusFault):
        bus.read(paddr, 4)
    with pytest.raises(BusFault):
        bus.write(paddr, 4, 0)


def test_regions_that_share_a_page_are_refused() -> None:
    bus, echo = make()
    with pytest.raises(ValueError, match="echo and echo share the page of 0x10000200"):
        bus.map(0x1000_0200, 0x100, echo)


def test_dma_reports_bad_addresses() -> None:
    bus, _ = make()
    dma = DmaPort(bus)
    assert dma.write(RAM + 4, b"abc")
    view = dma.view(RAM + 4, 3)
    assert view is not None
    assert bytes(view) == b"abc"
    assert dma.view(0x1000_0000, 4) is None
    assert dma.view(RAM + (1 << 20) - 1, 2) is None
    assert dma.view(RAM, -1) is None
    assert not dma.write((1 << 64) - 4, b"abcdefgh")


def test_impossible_ram_is_a_sentence() -> None:
    with pytest.raises(AiosError, match=r"RAM of 0x5 bytes at 0x80000000 is impossible"):
        Memory(RAM, 5)
    with pytest.raises(AiosError, match="The host cannot reserve address space"):
        Memory(RAM, 1 << 60)


def test_the_trace_holds_device_accesses_in_order() -> None:
    out = io.StringIO()
    bus, _ = make()
    bus.trace = Trace(out)
    bus.read(RAM, 4)
    bus.write(0x1000_0008, 4, 3)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"t": 0, "kind": "write", "dev": "echo", "off": 8, "size": 4, "val": 3, "what": "echo"}
    ]
