"""Commands under way: fetched, not yet answered.

A fetched command is given the time at which it will be done, and waits here in that order. `work`
is called then; it executes what is due, in order, and answers. Answers that were decided at once (a
command that cannot even start, an asynchronous event) wait here too, so that completions are posted
in one place only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from emu.devices.nvme.command import Command
from emu.devices.nvme.queues import SubmissionQueue
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
    wake_ps: int | None = None
    """When the next look at the heap is scheduled for."""
    wakes: int = 0
    """How many looks are scheduled; more than one when an earlier one became necessary."""
    aborts: int = 0
    """How many Abort commands are under way."""
    stalled: list[int] = field(default_factory=list)
    """Submission queues with entries for which there was no room."""
    busy_since: int | None = None
    """Since when there has always been something under way."""

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

    def withdraw(self, key: int) -> list[Command]:
        """Take back the command of that key, with its second half if it is one of a fused pair."""
        sequence = self.live.pop(key, None)
        return [c for item in self.heap if item[1] == sequence for c in _commands(item)]

    def withdraw_all(self, qid: int) -> list[Command]:
        """Take back the commands of a queue, in the order in which they would have been done."""
        if qid in self.stalled:
            self.stalled.remove(qid)
        mine = [i for i in self.heap if i[2] >> 16 & 0xFFFF == qid and self.live.get(i[2]) == i[1]]
        for item in mine:
            del self.live[item[2]]
        return [c for item in sorted(mine, key=lambda item: item[:2]) for c in _commands(item)]

    def stall(self, qid: int) -> None:
        """A submission queue has to wait until its completion queue has room again."""
        if qid not in self.stalled:
            self.stalled.append(qid)

    def resume(self, queues: Mapping[int, SubmissionQueue], cqid: int) -> list[SubmissionQueue]:
        """The queues that wait for the completion queue `cqid`; they do so no more."""
        found = [queues[qid] for qid in self.stalled if queues[qid].cqid == cqid]
        for queue in found:
            self.stalled.remove(queue.qid)
        return found

    def begin(self, now: int) -> None:
        """There is something under way."""
        if self.busy_since is None:
            self.busy_since = now

    def rest(self, now: int) -> int:
        """For how long there was something under way, if that is over now; otherwise 0."""
        if self.live or self.busy_since is None:
            return 0
        since, self.busy_since = self.busy_since, None
        return now - since

    def clear(self) -> None:
        """Forget all commands."""
        self.heap.clear()
        self.live.clear()
        self.stalled.clear()
        self.aborts, self.busy_since = 0, None


def _commands(item: Item) -> list[Command]:
    command, extra = item[3:]
    return [command, extra] if isinstance(extra, Command) else [command]
