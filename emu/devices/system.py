"""What a device may use of the machine around it."""

from __future__ import annotations

from dataclasses import dataclass

from emu.bus import Bus
from emu.clock import EventQueue
from emu.trace import Trace


@dataclass(frozen=True)
class System:
    """The bus (for DMA), virtual time, and the trace if one is written."""

    bus: Bus
    events: EventQueue
    trace: Trace | None = None
