"""A driver for the TPU tests: a TPU behind a host bridge, RAM, virtual time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.board import TpuBoard, load
from emu.bus import Bus
from emu.clock import PS_PER_SECOND, Clock, EventQueue
from emu.devices.line import Line
from emu.devices.pcie import HostBridge, Window
from emu.devices.system import System
from emu.devices.tpu import Tpu
from emu.devices.tpu.declare import SIZE
from emu.devices.tpu.errors import Code
from emu.devices.tpu.registers import State
from emu.devices.tpu.text import assemble
from emu.devices.tpu.timing import Count
from emu.memory import Memory
from emu.trace import Trace

RAM, BAR, WEIGHTS = 0x8000_0000, 0x4000_0000, 1 << 40
RING, DATA = RAM + 0x1000, RAM + 0x10_0000
ENTRIES = 4096
Array = NDArray[Any]

SMALL = replace(
    load("edge").tpu, rows=32, columns=16, buffer=1 << 20, accumulators=256, weights=1 << 20
)  # fmt: skip
"""An array that is not square."""


@dataclass(frozen=True)
class Failure:
    """What the error registers say; `entry` is the instruction's place in the ring."""

    code: Code
    entry: int
    value: int


class Driver:
    """Registers by their addresses, programs as text."""

    def __init__(self, board: TpuBoard, ram: int = 64 << 20, trace: Trace | None = None) -> None:
        self.bus = Bus(Memory(RAM, ram))
        self.events = EventQueue(Clock())
        self.lines = [Line() for _ in range(4)]
        windows = [Window("low", BAR, 1 << 28), Window("high", WEIGHTS, 1 << 36)]
        bridge = HostBridge(self.bus, windows, self.lines)
        self.tpu = Tpu("tpu0", System(self.bus, self.events, trace), board)
        bridge.plug(self.tpu)
        for offset, value in ((0x10, BAR), (0x14, 0), (0x18, 0), (0x1C, WEIGHTS >> 32)):
            self.tpu.config.write(offset, 4, value)
        self.tpu.config.write(0x04, 2, 6)
        self.tail = 0
        self.set_ring()

    def set_ring(self, entries: int = ENTRIES) -> None:
        self.write(self.tpu.ring_base.at, 8, RING)
        self.write(self.tpu.ring_entries.at, 4, entries)
        self.tail = 0

    def write(self, offset: int, size: int, value: int) -> None:
        self.bus.write(BAR + offset, size, value)

    def read(self, offset: int, size: int = 4) -> int:
        return self.bus.read(BAR + offset, size)

    def put(self, address: int, array: Array) -> None:
        data = np.ascontiguousarray(array).tobytes()
        self.bus.memory.view(address, len(data))[:] = data

    def get(self, address: int, form: Any, *shape: int) -> Array:
        n = int(np.prod(shape)) * np.dtype(form).itemsize
        return np.frombuffer(bytes(self.bus.memory.view(address, n)), form).reshape(shape)

    def put_weights(self, at: int, tile: Array) -> None:
        data = np.ascontiguousarray(tile).tobytes()
        self.tpu.weights.view(at, len(data))[:] = data

    def let_time_pass(self, seconds: float = 2.0) -> None:
        end = self.events.clock.now_ps + int(seconds * PS_PER_SECOND)
        while (at := self.events.next_ps()) is not None and at <= end:
            self.events.clock.skip_to(at)
            self.events.run_due()
        self.events.clock.skip_to(end)

    def submit(self, program: str | bytes) -> None:
        """Put instructions into the ring and ring the doorbell."""
        code = assemble(program) if isinstance(program, str) else program
        entries = self.read(self.tpu.ring_entries.at)
        for at in range(0, len(code), SIZE):
            self.put(RING + SIZE * self.tail, np.frombuffer(code[at : at + SIZE], np.uint8))
            self.tail = (self.tail + 1) % entries
        self.write(self.tpu.tail.at, 4, self.tail)

    def run(self, program: str | bytes) -> None:
        """Submit, wait, and see that it ended well."""
        self.submit(program)
        self.let_time_pass()
        assert self.failure() is None
        assert self.state() is State.IDLE

    def state(self) -> State:
        return State(self.read(self.tpu.status.at) & 7)

    def failure(self) -> Failure | None:
        code = Code(self.read(self.tpu.error.at))
        if code is Code.NONE:
            return None
        entry = (self.read(self.tpu.error_address.at, 8) - RING) // SIZE
        return Failure(code, entry, self.read(self.tpu.error_value.at, 8))

    def reset(self) -> None:
        self.write(self.tpu.control.at, 4, 2)
        self.set_ring()

    def count(self, what: Count) -> int:
        return self.read(self.tpu.counter[what].at, 8)


@pytest.fixture
def driver() -> Driver:
    """The small TPU."""
    return Driver(SMALL)


@pytest.fixture
def large() -> Driver:
    """The paper's."""
    return Driver(load("server").tpu)
