"""A bus with RAM and an event queue, for devices without a hart."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from emu.bus import Bus
from emu.clock import Clock, EventQueue
from emu.devices.system import System
from emu.memory import Memory

RAM = 0x8000_0000


@dataclass
class Bench:
    """What a device needs around it."""

    bus: Bus = field(default_factory=lambda: Bus(Memory(RAM, 64 << 20)))
    events: EventQueue = field(default_factory=lambda: EventQueue(Clock()))

    @property
    def system(self) -> System:
        """As a PCIe function wants it."""
        return System(self.bus, self.events)

    def pass_time(self, ps: int) -> None:
        """Let `ps` picoseconds pass, with all that happens in them."""
        end = self.events.clock.now_ps + ps
        while (at := self.events.next_ps()) is not None and at <= end:
            self.events.clock.skip_to(at)
            self.events.run_due()
        self.events.clock.skip_to(end)


@pytest.fixture
def bench() -> Bench:
    return Bench()
