"""A guest without a hart: it puts packets into rings as a user of HSA does, and lets time pass.

It knows the layouts (as numbers, from the specification) and nothing of the device's code. What
executes kernels is a stand-in that notes what it was given and says what it was told to say.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from emu.board import load
from emu.bus import Bus
from emu.clock import PS_PER_SECOND, Clock, EventQueue
from emu.devices.gpu import Fabric, Gpu
from emu.devices.gpu.dispatch import Counts, Dispatch, Fault, Outcome, Region
from emu.devices.line import Line
from emu.devices.pcie import HostBridge, Window
from emu.devices.system import System
from emu.memory import Memory
from emu.trace import Trace

RAM, RAM_BYTES = 0x8000_0000, 64 << 20
REGISTERS, VRAM, VRAM_STRIDE = 0x4000_0000, 0x100_0000_0000, 1 << 37
QUEUE, RING, SIGNALS, KERNEL, KERNARG, DATA = (RAM + i * 0x10_0000 for i in range(1, 7))
US = 10**6
COMPUTE, BARRIER_AND, AGENT, BARRIER_OR, VENDOR, INVALID = 2, 3, 4, 5, 0, 1
COPY, FILL = 0x10, 0x11


@dataclass
class StandIn:
    """An engine that executes nothing. `warps` says how many warp instructions a dispatch took."""

    seen: list[Dispatch] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    fault: Fault | None = None
    warp_instructions: int = 1000
    meanwhile: Callable[[Dispatch], None] = lambda dispatch: None

    def run(self, dispatch: Dispatch, memory: Sequence[Region], limit: int) -> Outcome:
        self.seen.append(dispatch)
        self.limits.append(limit)
        self.meanwhile(dispatch)
        counts = Counts(warp_instructions=self.warp_instructions)
        return Outcome(self.fault, counts)


class Guest:
    """Some GPUs behind a bridge, their BARs placed: registers 16 MiB apart, VRAM 128 GiB."""

    def __init__(self, gpus: int = 1, trace: Trace | None = None, **changes: object) -> None:
        board = dataclasses.replace(load("workstation").gpu, **{"vram": 64 << 20, **changes})
        self.bus = Bus(Memory(RAM, RAM_BYTES))
        self.events = EventQueue(Clock())
        self.lines = [Line() for _ in range(4)]
        windows = [Window("m32", REGISTERS, 1 << 30), Window("m64", VRAM, 1 << 41)]
        self.bridge = HostBridge(self.bus, windows, self.lines)
        self.engine = StandIn()
        fabric = Fabric(has_peer_links=board.link_mb_s > 0)
        system = System(self.bus, self.events, trace)
        self.gpus = [Gpu(f"gpu{i}", system, board, fabric, self.engine) for i in range(gpus)]
        for i, gpu in enumerate(self.gpus):
            self.bridge.plug(gpu)
            gpu.config.write(0x10, 4, REGISTERS + (i << 24))
            gpu.config.write(0x18, 4, VRAM + i * VRAM_STRIDE & 0xFFFF_FFFF)
            gpu.config.write(0x1C, 4, VRAM + i * VRAM_STRIDE >> 32)
            gpu.config.write(0x04, 2, 6)
        self.written: dict[tuple[int, int], int] = {}
        self.signals = 0

    # --- memory, registers, time ----------------------------------------------------------------

    def put(self, address: int, data: bytes) -> None:
        for i, byte in enumerate(data):
            self.bus.write(address + i, 1, byte)

    def get(self, address: int, n: int) -> bytes:
        return bytes(self.bus.read(address + i, 1) for i in range(n))

    def load(self, address: int, form: str = "<q") -> int:
        value: int = struct.unpack(form, self.get(address, struct.calcsize(form)))[0]
        return value

    def read(self, offset: int, size: int = 4, gpu: int = 0) -> int:
        return self.bus.read(REGISTERS + (gpu << 24) + offset, size)

    def write(self, offset: int, value: int, size: int = 4, gpu: int = 0) -> None:
        self.bus.write(REGISTERS + (gpu << 24) + offset, size, value)

    @property
    def now_ps(self) -> int:
        return self.events.clock.now_ps

    def pass_time(self, ps: int = PS_PER_SECOND // 10) -> None:
        end = self.now_ps + ps
        while (at := self.events.next_ps()) is not None and at <= end:
            self.events.clock.skip_to(at)
            self.events.run_due()
        self.events.clock.skip_to(end)

    # --- queues, signals, packets ---------------------------------------------------------------

    def open(self, number: int = 0, *, size: int = 16, gpu: int = 0, **fields: int) -> int:
        """Make a queue; returns its `amd_queue_t`'s address."""
        place = gpu * 16 + number
        address = fields.get("address", QUEUE + place * 256)
        ring = fields.get("ring", RING + place * 0x4000)
        self.put(ring, struct.pack("<H", INVALID).ljust(64, b"\0") * size)
        form = struct.pack("<IIQQIIQ", fields.get("type", 0), fields.get("features", 3), ring, 0,
                           size, fields.get("reserved", 0), number)  # fmt: skip
        index = fields.get("read", 0)
        form = form.ljust(56, b"\0") + struct.pack("<Q", index)
        self.put(address, form.ljust(128, b"\0") + struct.pack("<Q", index).ljust(128, b"\0"))
        self.written[gpu, number] = index
        self.write(0x1000 + 0x40 * number, address, 8, gpu)
        self.write(0x1008 + 0x40 * number, 1 | fields.get("priority", 1) << 4, 4, gpu)
        return address

    def signal(self, value: int = 1, mailbox: int = 0, event: int = 0, at: int = 0) -> int:
        """Make a signal; returns its address."""
        address = at or SIGNALS + 64 * self.signals
        self.signals += 1
        self.put(address, struct.pack("<qqQI", 1, value, mailbox, event).ljust(64, b"\0"))
        return address

    def value(self, signal: int) -> int:
        return self.load(signal + 8)

    def times(self, signal: int) -> tuple[int, int]:
        return self.load(signal + 32), self.load(signal + 40)

    def place(self, packet: bytes, number: int = 0, gpu: int = 0, *, size: int = 16) -> int:
        """Put a packet into the ring, the header last; returns its number."""
        index = self.written[gpu, number]
        slot = RING + (gpu * 16 + number) * 0x4000 + index % size * 64
        self.put(slot + 2, packet[2:])
        self.put(slot, packet[:2])
        self.written[gpu, number] = index + 1
        self.put(QUEUE + (gpu * 16 + number) * 256 + 56, struct.pack("<Q", index + 1))
        return index

    def ring(self, index: int, number: int = 0, gpu: int = 0) -> None:
        self.write(0x1_0000 + 0x1000 * number, index, 8, gpu)

    def submit(self, *packets: bytes, number: int = 0, gpu: int = 0) -> None:
        """Put packets into the ring and ring the doorbell once."""
        for packet in packets:
            last = self.place(packet, number, gpu)
        self.ring(last, number, gpu)

    def kernel(self, **fields: int) -> int:
        """Put a kernel object into memory."""
        address = fields.get("at", KERNEL)
        self.put(address, kernel_object(**{k: v for k, v in fields.items() if k != "at"}))
        return address


def kernel_object(*, entry: int = 64, code: int = 4, kernarg: int = 0, magic: int = 0x4E52_4B41,
                  version: int = 1, group: int = 0, private: int = 0) -> bytes:  # fmt: skip
    form = struct.pack("<IIqQIIII", magic, version, entry, code, kernarg, group, private, 0)
    return form.ljust(64, b"\0")


def dispatch(
    done: int = 0,
    *,
    grid: tuple[int, int, int] = (64, 1, 1),
    workgroup: tuple[int, int, int] = (32, 1, 1),
    **fields: int,
) -> bytes:
    header = fields.get("header", COMPUTE | fields.get("barrier", 0) << 8)
    kernel, kernarg = fields.get("kernel", KERNEL), fields.get("kernarg", KERNARG)
    sizes = fields.get("private", 0), fields.get("group", 0)
    words = fields.get("setup", 3), *workgroup, fields.get("reserved", 0)
    return struct.pack("<HHHHHHIIIIIQQQQ", header, *words, *grid, *sizes, kernel, kernarg, 0, done)


def barrier(done: int, *signals: int, header: int = BARRIER_AND) -> bytes:
    padded = [*signals, 0, 0, 0, 0, 0][:5]
    return struct.pack("<HHI5QQQ", header, 0, 0, *padded, 0, done)


def agent(done: int, function: int, back: int, *arguments: int) -> bytes:
    return struct.pack("<HHIQ4QQQ", AGENT, function, 0, back, *arguments, 0, done)


def copy(done: int, source: int, destination: int, n: int, **fields: int) -> bytes:
    return struct.pack(
        "<HBBIQQQQQQQ",
        *(fields.get("header", VENDOR), fields.get("format", COPY), fields.get("zero", 0)),
        *(fields.get("rows", 1), source, destination, n, fields.get("source_pitch", 0)),
        *(fields.get("pitch", 0), 0, done),
    )


@pytest.fixture
def guest() -> Guest:
    """One GPU with a queue and a kernel."""
    made = Guest()
    made.open()
    made.kernel()
    return made


@pytest.fixture
def server() -> Guest:
    """Four GPUs, linked, each with a queue."""
    made = Guest(4, link_mb_s=450_000)
    for gpu in range(4):
        made.open(gpu=gpu)
    made.kernel()
    return made
