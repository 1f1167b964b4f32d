"""What a GPU has under way, as plain data, so that a snapshot holds it."""

from __future__ import annotations

from dataclasses import dataclass, field

from emu.devices.gpu.compute import ComputeUnits
from emu.devices.gpu.dispatch import Fault
from emu.devices.gpu.packets import AgentDispatch, Transfer
from emu.devices.gpu.queues import Queue


@dataclass
class Job:
    """A packet that has started and is not complete."""

    number: int
    queue: int
    completion: int
    """Address of its signal; 0: it has none."""
    start_ps: int
    fault: Fault | None = None
    """What went wrong in it; reported when it completes."""
    transfer: Transfer | None = None
    moved: int = 0
    """Bytes of the transfer that are done."""
    call: AgentDispatch | None = None


@dataclass
class Work:
    """All that a GPU does."""

    compute: ComputeUnits
    queues: dict[int, Queue] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    """By their number, in the order of their start."""
    calls: list[int] = field(default_factory=list)
    """Agent dispatches by their job, the one in the mailbox first."""
    made: int = 0
    """Jobs and queues so far: the source of numbers that are never used twice."""

    def number(self) -> int:
        """A new one."""
        self.made += 1
        return self.made
