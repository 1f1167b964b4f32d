"""Commands under way: fetched, not yet answered.

A fetched command is given the time at which it will be done, and waits here in that order. `work`
is called then; it executes what is due, in order, and answers. Answers that were decided at once (a
command that cannot even start, an asynchronous event) wait here too, so that completions are posted
in one place only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from emu.devices.nvme.command import Command
from emu.devices.nvme.status import Status

Decided = tuple[Status, int]
"""A status and a result."""
Item = tuple[int, int, int, Command, "Decided | Command | None"]
"""When, in which order, the key, the command, and its decided answer or its fused second half."""
_DECIDED_KEYS = 1 << 32


def key_of(qid: int, cid: int) -> int:
    """How a command of a submission queue is found."""
    return qid << 16 | cid


@dataclass
class Pipeline:
    """A heap by time; `live` says of each key which entry counts, so that a command is taken back
    without looking for it in the heap."""

    heap: list[Item] = field(default_factory=list)
    live: dict[int, int] = field(default_factory=dict)
    sequence: int = 0

    def add(self, due: int, key: int, command: Command, second: Command | None = None) -> None:
        """`command` will be executed at `due`, and its fused `second` with it."""
        self.sequence = sequence = self.sequence + 1
        self.live[key] = sequence
        heappush(self.heap, (due, sequence, key, command, second))

    def add_decided(self, due: int, key: int, command: Command, answer: Decided) -> None:
        """`command` will be answered at `due`. It needs a key of its own: its identifier may be
        that of another command, which is then what is wrong with it."""
        self.sequence += 1
        key |= self.sequence * _DECIDED_KEYS
        self.live[key] = self.sequence
        heappush(self.heap, (due, self.sequence, key, command, answer))

    def take(self, until: int) -> Iterator[Item]:
        """The items that are due by `until`, in order; those taken back meanwhile are left out."""
        heap, live = self.heap, self.live
        while heap and heap[0][0] <= until:
            item = heappop(heap)
            key = item[2]
            if live.get(key) == item[1]:
                del live[key]
                yield item

    def next_due(self) -> int | None:
        """When the next item is due."""
        heap = self.heap
        while heap and self.live.get(heap[0][2]) != heap[0][1]:
            heappop(heap)
        return heap[0][0] if heap else None

    def withdraw(self, qid: int) -> list[Command]:
        """Take back the commands of a queue, second halves of pairs included, in the order in which
        they would have been done."""
        taken: list[Command] = []
        for _, sequence, key, command, extra in sorted(self.heap, key=lambda item: item[:2]):
            if key >> 16 & 0xFFFF == qid and self.live.get(key) == sequence:
                del self.live[key]
                taken.append(command)
                if isinstance(extra, Command):
                    taken.append(extra)
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self.heap.clear()
        self.live.clear()
