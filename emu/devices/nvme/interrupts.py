"""Interrupts: by pin or by MSI-X message, coalesced as features 08h and 09h ask (base specification
1.4, 7.5 and 5.21.1.8).

A completion queue asks for its vector's interrupt when entries are posted to it. Without coalescing
that goes out at once. With it, the vector waits until enough entries have come, or until the oldest
of them is old enough; the admin queue never waits. By message an interrupt is an event; by pin it
is a level, high while a queue whose interrupt went out has unread entries and INTMS lets it pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.clock import PS_PER_US
from emu.devices.nvme.features import INTERRUPT_COALESCING
from emu.devices.nvme.queues import CompletionQueue

if TYPE_CHECKING:
    from emu.devices.nvme.controller import Nvme

_TIME_UNIT = 100 * PS_PER_US


@dataclass
class Interrupts:
    """The vectors of one controller."""

    held: dict[int, int] = field(default_factory=dict)
    """Entries that wait, by vector."""
    raised: set[int] = field(default_factory=set)
    """Completion queues for which the pin is high."""

    def posted(self, nvme: Nvme, queue: CompletionQueue, n: int) -> None:
        """`n` entries were posted to `queue`."""
        if not queue.interrupts:
            return
        setting, vector = nvme.features.values[INTERRUPT_COALESCING], queue.vector
        threshold, time = setting & 0xFF, setting >> 8
        waits = threshold and time and queue.qid and vector not in nvme.features.uncoalesced
        if not waits:
            self._send(nvme, vector)
            return
        held = self.held.get(vector, 0)
        self.held[vector] = held + n
        if held + n > threshold:
            self._send(nvme, vector)
        elif not held:
            nvme.after(time * _TIME_UNIT, nvme.coalescing_expired, vector)

    def expired(self, nvme: Nvme, vector: int) -> None:
        """The time of a vector's oldest waiting entry is over."""
        if self.held.get(vector):
            self._send(nvme, vector)

    def _send(self, nvme: Nvme, vector: int) -> None:
        if self.held.pop(vector, 0):
            for event in nvme.scheduled(nvme.coalescing_expired):
                if event.args == (vector,):
                    event.cancel()
        if nvme.msix_enabled:
            nvme.signal(vector)
            return
        for queue in nvme.completion_queues.values():
            if queue.interrupts and queue.vector == vector and queue.head != queue.tail:
                self.raised.add(queue.qid)
        self.drive(nvme)

    def consumed(self, nvme: Nvme, queue: CompletionQueue) -> None:
        """The guest has read entries of `queue`."""
        if self.raised and queue.head == queue.tail:
            self.gone(nvme, queue.qid)

    def gone(self, nvme: Nvme, qid: int) -> None:
        """The completion queue `qid` has nothing to report any more."""
        self.raised.discard(qid)
        self.drive(nvme)

    def drive(self, nvme: Nvme) -> None:
        """Set the pin to what it should be; after the mask has changed, too."""
        nvme.set_interrupt(bool(self.raised) and not nvme.intms.value & 1)

    def reset(self, nvme: Nvme) -> None:
        """Nothing to report."""
        self.held.clear()
        self.raised.clear()
        self.drive(nvme)
