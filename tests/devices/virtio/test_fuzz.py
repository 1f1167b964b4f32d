"""Whatever a guest does to a virtio disk and its rings, the host goes on, and the file keeps its
size."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from emu.bus import Bus
from emu.clock import PS_PER_SECOND, Clock, EventQueue
from emu.devices.line import Line
from emu.devices.nvme.backing import Backing
from emu.devices.system import System
from emu.devices.virtio import VirtioBlock
from emu.memory import Memory

RAM, RAM_BYTES, FILE_BYTES = 0x8000_0000, 0x1_0000, 64 * 512
OFFSETS = st.one_of(st.sampled_from(range(0, 0xB8, 4)), st.integers(0, 0x13F))
PLACES = st.integers(0, 0x7F).map(lambda i: RAM + 16 * i)
ADDRESSES = st.one_of(PLACES, st.integers(RAM - 64, RAM + RAM_BYTES), st.integers(0, (1 << 64) - 1))
VALUES = st.one_of(
    st.integers(0, 16),
    st.sampled_from([1 << 28, 1 << 29, 512, 4096]),
    st.integers(0, (1 << 32) - 1),
)
LENGTHS = st.one_of(st.sampled_from([0, 1, 16, 32, 512, 1024]), st.integers(0, (1 << 32) - 1))


class VirtioDisk(RuleBasedStateMachine):
    """Registers, descriptors and rings written at random, with set-ups that are nearly right."""

    @initialize(legacy=st.booleans())
    def power_on(self, legacy: bool) -> None:
        self.legacy = legacy
        handle, self.path = tempfile.mkstemp()
        os.truncate(handle, FILE_BYTES)
        os.close(handle)
        self.memory = Memory(RAM, RAM_BYTES)
        self.events = EventQueue(Clock())
        self.backing = Backing(self.path)
        system = System(Bus(self.memory), self.events)
        self.disk = VirtioBlock("virtio0", system, Line(), self.backing, legacy=legacy)

    @rule(offset=OFFSETS, size=st.sampled_from([1, 2, 4, 8]), value=VALUES)
    def write(self, offset: int, size: int, value: int) -> None:
        self.disk.write(offset, size, value & (1 << 8 * size) - 1)

    @rule(offset=OFFSETS, size=st.sampled_from([1, 2, 4, 8]))
    def read(self, offset: int, size: int) -> None:
        assert 0 <= self.disk.read(offset, size) < 1 << 8 * size
        assert self.disk.describe(False, offset, size, 0)

    @rule(
        features=VALUES,
        size=st.sampled_from([2, 4, 8, 1024]),
        places=st.lists(ADDRESSES, min_size=3, max_size=3),
    )
    def set_up(self, features: int, size: int, places: list[int]) -> None:
        for offset, value in (
            (0x70, 0), (0x70, 3), (0x24, 0), (0x20, features & self.disk.offered()), (0x24, 1),
            (0x20, 1), (0x70, 11), (0x30, 0), (0x38, size), (0x28, 16), (0x3C, 16),
            (0x40, places[0] >> 4), *((0x80 + 0x10 * i, place) for i, place in enumerate(places)),
            (0x44, 1), (0x70, 15),
        ):  # fmt: skip
            self.disk.write(offset, 8 if offset >= 0x80 else 4, value & (1 << 64) - 1)

    @rule(
        place=PLACES,
        address=ADDRESSES,
        length=LENGTHS,
        flags=st.integers(0, 7),
        following=st.integers(0, 9),
    )
    def descriptor(self, place: int, address: int, length: int, flags: int, following: int) -> None:
        entry = address | length << 64 | flags << 96 | following << 112
        self.memory.view(place, 16)[:] = entry.to_bytes(16, "little")

    @rule(place=PLACES, index=st.integers(0, 9), heads=st.lists(st.integers(0, 9), max_size=4))
    def available(self, place: int, index: int, heads: list[int]) -> None:
        for i, value in enumerate((0, index, *heads)):
            self.memory.write(place + 2 * i, 2, value)

    @rule(kind=st.sampled_from([0, 1, 4, 8, 11, 13, 99]), sector=st.integers(0, 70))
    def request(self, kind: int, sector: int) -> None:
        """A proper request behind a proper ring; what else is written may spoil it."""
        self.set_up(1 << 28, 8, [RAM, RAM + 0x200, RAM + 0x400])
        ring = RAM + 0x82 if self.legacy else RAM + 0x202
        self.memory.view(RAM + 0x600, 16)[:] = kind.to_bytes(8, "little") + sector.to_bytes(
            8, "little"
        )
        writes = 2 if kind in (0, 8) else 0
        self.descriptor(RAM, RAM + 0x600, 16, 1, 1)
        self.descriptor(RAM + 16, RAM + 0x1000, 512, 1 | writes, 2)
        self.descriptor(RAM + 32, RAM + 0x700, 1, 2, 0)
        self.memory.write(ring, 2, 1)
        self.memory.write(ring + 2, 2, 0)
        self.disk.write(0x50, 4, 0)

    @rule(queue=st.integers(0, 2))
    def notify(self, queue: int) -> None:
        self.disk.write(0x50, 4, queue)

    @rule(ps=st.sampled_from([10**6, 10**9, PS_PER_SECOND]))
    def pass_time(self, ps: int) -> None:
        end = self.events.clock.now_ps + ps
        while (at := self.events.next_ps()) is not None and at <= end:
            self.events.clock.skip_to(at)
            self.events.run_due()
        self.events.clock.skip_to(end)

    @rule()
    def round_trip(self) -> None:
        before: dict[str, Any] = self.disk.snapshot()
        self.disk.restore(before)
        assert self.disk.snapshot() == before

    @invariant()
    def file_keeps_its_size(self) -> None:
        if hasattr(self, "path"):
            assert Path(self.path).stat().st_size == FILE_BYTES

    def teardown(self) -> None:
        if hasattr(self, "path"):
            self.backing.close()
            Path(self.path).unlink()


TestVirtioDisk = VirtioDisk.TestCase
