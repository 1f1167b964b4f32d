"""Shadow doorbells (base specification 1.4, 5.7 and B.5): a guest rings by writing to memory, and
touches the real doorbell only when the controller asks for it.

Two pages in guest memory, laid out as the doorbells are: the guest's values, and the event indices.
The guest rings the real doorbell when its value passes the event index, so an index that follows
the value says "ring for the next one". The controller looks at the values when a doorbell is rung
and whenever it has posted completions.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.devices.nvme.prp import View
from emu.devices.nvme.queues import CompletionQueue, SubmissionQueue


@dataclass
class ShadowDoorbells:
    """Where the two pages lie; nowhere until the guest says so."""

    values: int | None = None
    events: int | None = None

    def configure(self, values: int, events: int) -> None:
        """Use the pages at these addresses."""
        self.values, self.events = values, events

    def clear(self) -> None:
        """Back to real doorbells (controller reset)."""
        self.values = self.events = None

    def tail(self, view: View, queue: SubmissionQueue) -> bool:
        """Take over the queue's tail, and ask to be rung for the next; False if the value is
        impossible. A page that is no longer memory is a value that does not change."""
        value = self._value(view, 8 * queue.qid)
        if value is None:
            return True
        self._ask(view, 8 * queue.qid, value)
        return queue.accept(value)

    def head(self, view: View, queue: CompletionQueue, ring: bool) -> bool:
        """The same for the head of a completion queue; without `ring`, ask not to be rung: an index
        just passed is the last that the guest will pass again."""
        value = self._value(view, 8 * queue.qid + 4)
        if value is None:
            return True
        self._ask(view, 8 * queue.qid + 4, value if ring else (value - 1) % queue.size)
        return queue.accept(value)

    def _value(self, view: View, at: int) -> int | None:
        found = None if self.values is None else view(self.values + at, 4)
        return None if found is None else int.from_bytes(found, "little")

    def _ask(self, view: View, at: int, index: int) -> None:
        found = None if self.events is None else view(self.events + at, 4)
        if found is not None:
            found[:] = index.to_bytes(4, "little")
