"""A driver for the tests of virtio: it knows the specification and nothing of the device's code."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from emu.bus import Bus
from emu.clock import PS_PER_SECOND, Clock, EventQueue
from emu.devices.line import Line
from emu.devices.nvme.backing import Backing
from emu.devices.system import System
from emu.devices.virtio import VirtioBlock
from emu.memory import Memory

RAM, SLOT = 0x8000_0000, 0x1000_1000
TABLE, AVAILABLE, USED, HEADER, STATUS, DATA = (RAM + i * 0x1000 for i in range(1, 7))
NEXT, WRITE = 1, 2
SIZE = 8


class Driver:
    """A modern driver of one disk with one queue of eight entries."""

    def __init__(self, path: Path, *, readonly: bool = False, legacy: bool = False) -> None:
        self.memory = Memory(RAM, 1 << 20)
        self.bus = Bus(self.memory)
        self.events = EventQueue(Clock())
        self.line = Line()
        self.backing = Backing(str(path), readonly=readonly)
        system = System(self.bus, self.events)
        self.disk = VirtioBlock("virtio0", system, self.line, self.backing, legacy=legacy)
        self.bus.map(SLOT, 0x1000, self.disk)
        self.posted = 0

    def read(self, offset: int) -> int:
        return self.bus.read(SLOT + offset, 4)

    def write(self, offset: int, value: int) -> None:
        self.bus.write(SLOT + offset, 4, value)

    def offered(self) -> int:
        words = []
        for word in (0, 1, 2):
            self.write(0x14, word)
            words.append(self.read(0x10))
        assert words[2] == 0
        return words[1] << 32 | words[0]

    def negotiate(self, features: int) -> bool:
        """Whether the device has agreed."""
        for status in (0, 1, 3):
            self.write(0x70, status)
        for word in (0, 1):
            self.write(0x24, word)
            self.write(0x20, features >> 32 * word & 0xFFFF_FFFF)
        self.write(0x70, 11)
        return bool(self.read(0x70) & 8)

    def start(self, features: int = 1 << 32) -> None:
        """Up to DRIVER_OK, with an empty queue."""
        assert self.negotiate(features)
        self.memory.view(TABLE, 3 * 0x1000)[:] = bytes(3 * 0x1000)
        self.write(0x30, 0)
        self.write(0x38, SIZE)
        for register, address in ((0x80, TABLE), (0x90, AVAILABLE), (0xA0, USED)):
            self.write(register, address)
            self.write(register + 4, 0)
        self.write(0x44, 1)
        self.write(0x70, 15)
        self.posted = 0

    def describe(self, number: int, address: int, length: int, flags: int, following: int) -> None:
        entry = struct.pack("<QIHH", address, length, flags, following)
        self.memory.view(TABLE + 16 * number, 16)[:] = entry

    def post(self, head: int = 0) -> None:
        self.memory.write(AVAILABLE + 4 + 2 * (self.posted % SIZE), 2, head)
        self.posted += 1
        self.memory.write(AVAILABLE + 2, 2, self.posted)
        self.write(0x50, 0)

    def let_time_pass(self) -> None:
        end = self.events.clock.now_ps + PS_PER_SECOND
        while (at := self.events.next_ps()) is not None and at <= end:
            self.events.clock.skip_to(at)
            self.events.run_due()

    def used(self) -> int:
        return self.memory.read(USED + 2, 2)

    def prepare(self, kind: int, sector: int, length: int, *, write: bool = False) -> None:
        """Lay out a request in the first three descriptors."""
        self.memory.view(HEADER, 16)[:] = struct.pack("<IIQ", kind, 0, sector)
        self.memory.write(STATUS, 1, 0xEE)
        self.describe(0, HEADER, 16, NEXT, 1 if length else 2)
        self.describe(1, DATA, length, NEXT | (WRITE if write else 0), 2)
        self.describe(2, STATUS, 1, WRITE, 0)

    def request(self, kind: int, sector: int, length: int, *, write: bool = False) -> int:
        """The status of a request, done."""
        self.prepare(kind, sector, length, write=write)
        before = self.used()
        self.post()
        self.let_time_pass()
        assert self.used() == before + 1 & 0xFFFF
        return self.memory.read(STATUS, 1)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A disk of 64 KiB whose sectors hold their numbers."""
    path = tmp_path / "disk.img"
    path.write_bytes(b"".join(bytes([i]) * 512 for i in range(128)))
    return path


@pytest.fixture
def driver(image: Path) -> Driver:
    return Driver(image)


@pytest.fixture
def make_driver():
    """The class, which importlib mode keeps out of reach."""
    return Driver
