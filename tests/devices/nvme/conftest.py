"""A driver for the NVMe tests: it knows the specification and nothing of the controller's code."""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from emu.board import load
from emu.bus import Bus
from emu.clock import PS_PER_SECOND, Clock, EventQueue
from emu.devices.line import Line
from emu.devices.nvme import Nvme
from emu.devices.nvme.drives import Drive, controllers, open_namespaces
from emu.devices.pcie import HostBridge, Window
from emu.devices.system import System
from emu.memory import Memory

RAM = 0x8000_0000
BAR, MSIX, CMB = 0x4000_0000, 0x4010_0000, 0x4400_0000
ADMIN_SQ, ADMIN_CQ, IO_SQ, IO_CQ, DATA = (RAM + i * 0x10000 for i in range(1, 6))
CAP, VS, INTMS, INTMC, CC, CSTS, AQA, ASQ, ACQ = 0, 8, 12, 16, 0x14, 0x1C, 0x24, 0x28, 0x30
ENABLE = 0x460001
LIST = RAM + 0x3F0_0000


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
    """Registers by 32-bit accesses, queues by polling: as a simple guest does it. `drives` become
    the namespaces of the one controller; `board` changes figures of the board's [nvme] section."""

    def __init__(self, drives: Path | list[Drive], readonly: bool = False, **board: int) -> None:
        self.bus = Bus(Memory(RAM, 64 << 20))
        self.events = EventQueue(Clock())
        self.lines = [Line() for _ in range(4)]
        windows = [Window("mem32", BAR, 0x4000_0000)]
        self.bridge = HostBridge(self.bus, windows, self.lines)
        if isinstance(drives, Path):
            drives = [Drive(str(drives), readonly=readonly, controller=0)]
        figures = dataclasses.replace(load("workstation").nvme, **board)
        self.namespaces = open_namespaces(controllers(drives)[0], figures.write_cache)
        self.backing = self.namespaces[0].backing
        system = System(self.bus, self.events)
        self.nvme = Nvme("nvme0", system, self.namespaces, figures)
        self.bridge.plug(self.nvme)
        self.turn_on()
        self.cid = 0

    def turn_on(self) -> None:
        """Place the BARs and let the function answer: also after a power cut."""
        for number, address in ((0, BAR), (2, CMB), (4, MSIX)):
            self.nvme.config.write(0x10 + 4 * number, 4, address)
        self.nvme.config.write(0x04, 2, 6)
        self.heads: dict[int, int] = {}
        self.tails: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        self.rings: dict[int, tuple[int, int]] = {}

    def close(self) -> None:
        for namespace in self.namespaces:
            namespace.backing.close()

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
        self.fill(ADMIN_CQ, 16 * entries)  # what an earlier life left has the phase of news
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

    def fill(self, address: int, n: int, byte: int = 0) -> None:
        self.put(address, bytes([byte]) * n)

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

    def create_queues(
        self,
        qid: int = 1,
        entries: int = 16,
        sq: int = IO_SQ,
        cq: int = IO_CQ,
        vector: int = 0,
    ) -> None:
        """An I/O queue pair; neighbours lie 16 pages apart."""
        sq, cq = sq + (qid - 1) * 0x10_0000, cq + (qid - 1) * 0x10_0000
        size = (entries - 1) << 16 | qid
        assert self.command(0, 5, prp1=cq, cdw10=size, cdw11=vector << 16 | 3).status == (0, 0)
        assert self.command(0, 1, prp1=sq, cdw10=size, cdw11=qid << 16 | 1).status == (0, 0)
        self.heads[qid] = self.tails[qid] = 0
        self.sizes[qid] = entries
        self.rings[qid] = (sq, cq)
        for ring, size in ((sq, 64), (cq, 16)):
            self.fill(ring, size * entries)

    def io(self, opcode: int, lba: int, blocks: int, qid: int = 1, **fields: int) -> Answer:
        """A command on blocks; `cdw12` may bring flags."""
        fields.setdefault("nsid", 1)
        fields["cdw12"] = fields.get("cdw12", 0) | blocks - 1
        return self.command(qid, opcode, cdw10=lba & 0xFFFF_FFFF, cdw11=lba >> 32, **fields)

    def pages(self, length: int, offset: int = 0, at: int = DATA) -> dict[str, int]:
        """PRP1 and PRP2 of `length` bytes in one piece, with a list on the page of `LIST`."""
        count = -(-(offset + length) // 4096)
        entries = [at + 4096 * i for i in range(1, count)]
        self.put(LIST, struct.pack(f"<{len(entries)}Q", *entries))
        second = 0 if count == 1 else entries[0] if count == 2 else LIST
        return {"prp1": at + offset, "prp2": second}

    def write_blocks(self, lba: int, data: bytes, **fields: int) -> Answer:
        """Write whole blocks of 512 bytes."""
        self.put(DATA, data)
        return self.io(1, lba, len(data) // 512, **self.pages(len(data)), **fields)

    def read_blocks(self, lba: int, blocks: int = 1, **fields: int) -> bytes:
        """What the drive says its blocks hold."""
        answer = self.io(2, lba, blocks, **self.pages(512 * blocks), **fields)
        assert answer.status == (0, 0)
        return self.get(DATA, 512 * blocks)

    def log(self, number: int, length: int, **fields: int) -> bytes:
        """The first `length` bytes of a log page."""
        dwords = length // 4 - 1
        fields.setdefault("nsid", 0xFFFF_FFFF)
        assert self.command(0, 2, cdw10=dwords << 16 | number, **fields).status == (0, 0)
        return self.get(DATA, length)

    def health(self, **fields: int) -> dict[str, int]:
        """The counters of the health log, by their names in the specification."""
        page = self.log(2, 512, **fields)
        names = (
            *("units_read", "units_written", "reads", "writes", "busy_minutes"),
            *("power_cycles", "hours", "unsafe_shutdowns", "media_errors", "errors"),
        )
        at = {name: 32 + 16 * i for i, name in enumerate(names)}
        return {name: int.from_bytes(page[i : i + 16], "little") for name, i in at.items()}


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
    driver.close()


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
    """Make a driver for an image or for drives; closed at the end."""
    made: list[Driver] = []

    def make(drives: Path | list[Drive], readonly: bool = False, **board: int) -> Driver:
        made.append(Driver(drives, readonly, **board))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def make_ready(make_driver):
    """As `make_driver`, enabled and with the I/O queue pair 1."""

    def make(drives: Path | list[Drive], **board: int) -> Driver:
        driver = make_driver(drives, **board)
        driver.enable()
        driver.create_queues()
        return driver

    return make
