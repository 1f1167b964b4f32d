"""A driver for the NVMe tests: it knows the specification and nothing of the controller's code."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from emu.board import load
from emu.bus import Bus
from emu.clock import PS_PER_SECOND, Clock, EventQueue
from emu.devices.line import Line
from emu.devices.nvme import Nvme
from emu.devices.nvme.backing import Backing
from emu.devices.nvme.namespace import Namespace
from emu.devices.pcie import HostBridge, Window
from emu.devices.system import System
from emu.memory import Memory

RAM = 0x8000_0000
BAR = 0x4000_0000
ADMIN_SQ, ADMIN_CQ, IO_SQ, IO_CQ, DATA = (RAM + i * 0x10000 for i in range(1, 6))
CAP, VS, INTMS, INTMC, CC, CSTS, AQA, ASQ, ACQ = 0, 8, 12, 16, 0x14, 0x1C, 0x24, 0x28, 0x30
ENABLE = 0x460001


@dataclass
class Answer:
    """A completion queue entry."""

    result: int
    sq_head: int
    sqid: int
    cid: int
    phase: int
    status: tuple[int, int]  # type, code


class Driver:
    """Registers by 32-bit accesses, two queues by polling: as a simple guest does it."""

    def __init__(self, path: Path, readonly: bool = False) -> None:
        self.bus = Bus(Memory(RAM, 64 << 20))
        self.events = EventQueue(Clock())
        self.lines = [Line() for _ in range(4)]
        windows = [Window("mem32", BAR, 0x4000_0000)]
        bridge = HostBridge(self.bus, windows, self.lines)
        self.backing = Backing(str(path), readonly=readonly)
        namespaces = [Namespace(1, self.backing)]
        system = System(self.bus, self.events)
        self.nvme = Nvme("nvme0", system, namespaces, load("workstation").nvme)
        bridge.plug(self.nvme)
        self.nvme.config.write(0x10, 4, BAR)
        self.nvme.config.write(0x04, 2, 6)
        self.heads: dict[int, int] = {}
        self.tails: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        self.rings: dict[int, tuple[int, int]] = {}
        self.cid = 0

    def read(self, offset: int) -> int:
        return self.bus.read(BAR + offset, 4)

    def write(self, offset: int, value: int) -> None:
        self.bus.write(BAR + offset, 4, value)

    def let_time_pass(self, seconds: float = 1.0) -> None:
        end = self.events.clock.now_ps + int(seconds * PS_PER_SECOND)
        while (at := self.events.next_ps()) is not None and at <= end:
            self.events.clock.skip_to(at)
            self.events.run_due()

    def enable(self, entries: int = 32, cc: int = ENABLE) -> None:
        self.write(CC, 0)
        self.write(AQA, (entries - 1) << 16 | entries - 1)
        for register, address in ((ASQ, ADMIN_SQ), (ACQ, ADMIN_CQ)):
            self.write(register, address & 0xFFFF_FFFF)
            self.write(register + 4, address >> 32)
        self.write(CC, cc)
        self.let_time_pass()
        self.heads[0] = self.tails[0] = 0
        self.sizes[0] = entries
        self.rings[0] = (ADMIN_SQ, ADMIN_CQ)

    def put(self, address: int, data: bytes) -> None:
        self.bus.memory.view(address, len(data))[:] = data

    def get(self, address: int, n: int) -> bytes:
        return bytes(self.bus.memory.view(address, n))

    def push(self, qid: int, opcode: int, *, cid: int | None = None, **fields: int) -> int:
        """Put a command into the ring and ring the doorbell; returns its identifier."""
        self.cid = self.cid + 1 & 0xFFFF if cid is None else cid
        dwords = [fields.get(f"cdw{i}", 0) for i in range(10, 16)]
        entry = struct.pack(
            "<BBHI8xQQQ6I",
            *(opcode, fields.get("flags", 0), self.cid, fields.get("nsid", 0), 0),
            *(fields.get("prp1", DATA), fields.get("prp2", 0), *dwords),
        )
        self.put(self.rings[qid][0] + 64 * self.tails[qid], entry)
        self.tails[qid] = (self.tails[qid] + 1) % self.sizes[qid]
        self.write(0x1000 + 8 * qid, self.tails[qid])
        return self.cid

    def answer(self, qid: int = 0, *, consume: bool = True) -> Answer:
        """The next completion."""
        head = self.heads[qid] % self.sizes[qid]
        raw = self.get(self.rings[qid][1] + 16 * head, 16)
        result, _, sq_head, sqid, cid, status = struct.unpack("<IIHHHH", raw)
        parsed = Answer(
            result, sq_head, sqid, cid, status & 1, (status >> 9 & 7, status >> 1 & 0xFF)
        )
        expected = 1 ^ self.heads[qid] // self.sizes[qid] & 1
        assert parsed.phase == expected, "no completion"
        self.heads[qid] += 1
        if consume:
            self.write(0x1004 + 8 * qid, self.heads[qid] % self.sizes[qid])
        return parsed

    def command(self, qid: int, opcode: int, **fields: int) -> Answer:
        """Submit, wait, and take the completion."""
        self.push(qid, opcode, **fields)
        self.let_time_pass()
        return self.answer(qid)

    def create_queues(self, qid: int = 1, entries: int = 16) -> None:
        size = (entries - 1) << 16 | qid
        assert self.command(0, 5, prp1=IO_CQ, cdw10=size, cdw11=3).status == (0, 0)
        assert self.command(0, 1, prp1=IO_SQ, cdw10=size, cdw11=qid << 16 | 1).status == (0, 0)
        self.heads[qid] = self.tails[qid] = 0
        self.sizes[qid] = entries
        self.rings[qid] = (IO_SQ, IO_CQ)

    def io(self, opcode: int, lba: int, blocks: int, **fields: int) -> Answer:
        fields.setdefault("nsid", 1)
        return self.command(
            1, opcode, cdw10=lba & 0xFFFF_FFFF, cdw11=lba >> 32, cdw12=blocks - 1, **fields
        )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A drive of 1 MiB whose every block begins with its number."""
    path = tmp_path / "drive.img"
    path.write_bytes(b"".join(struct.pack("<Q", i).ljust(512, b"\xaa") for i in range(2048)))
    return path


@pytest.fixture
def bare(image: Path):
    """A driver whose controller is not enabled yet."""
    driver = Driver(image)
    yield driver
    driver.backing.close()


@pytest.fixture
def driver(bare: Driver) -> Driver:
    """An enabled controller."""
    bare.enable()
    return bare


@pytest.fixture
def ready(driver: Driver) -> Driver:
    """An enabled controller with the I/O queue pair 1."""
    driver.create_queues()
    return driver


@pytest.fixture
def make_driver():
    """Make a driver for an image; closed at the end."""
    made: list[Driver] = []

    def make(path: Path, readonly: bool = False) -> Driver:
        made.append(Driver(path, readonly))
        return made[-1]

    yield make
    for driver in made:
        driver.backing.close()
