"""Submission and completion queues (base specification 1.4, 4.1): rings in guest memory."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field

from emu.devices.nvme.command import ENTRY, FUSED_FIRST, Command

ENTRY_BYTES = ENTRY.size
COMPLETION_BYTES = 16
_COMPLETION = struct.Struct("<IIHHHH")

Answer = tuple[int, int, int, int, int]
"""A completion without its phase: result, submission queue head and identifier, command
identifier, status field."""


@dataclass(slots=True)
class SubmissionQueue:
    """The controller consumes at `head`; the guest produces up to `tail`. Sizes in entries."""

    qid: int
    base: int
    size: int
    cqid: int
    head: int = 0
    tail: int = 0
    outstanding: int = 0
    """Commands fetched and not yet answered."""
    half: Command | None = None
    """The first half of a fused pair whose second has not come yet."""

    def accept(self, tail: int) -> bool:
        """Move the tail where the doorbell says; False if the ring has no such place, or if the
        step there would run over entries that were not fetched yet."""
        if tail >= self.size:
            return False
        unfetched = (self.tail - self.head) % self.size
        if unfetched + (tail - self.tail) % self.size >= self.size:
            return False
        self.tail = tail
        return True

    def take(self, limit: int) -> tuple[int, int]:
        """Address and number of the next entries that lie in one piece, at most `limit`; they count
        as consumed."""
        end = self.tail if self.tail >= self.head else self.size
        n = min(end - self.head, limit)
        address = self.base + ENTRY_BYTES * self.head
        self.head = (self.head + n) % self.size
        return address, n

    def pair(self, command: Command) -> Command | None:
        """Take note of the first half of a fused pair; returns a half that was left alone."""
        alone, self.half = self.half, command if command.flags == FUSED_FIRST else None
        return alone


@dataclass(slots=True)
class CompletionQueue:
    """The controller produces at `tail`; the guest consumes up to `head`. `waiting` holds
    completions for which the ring had no room: one entry always stays free."""

    qid: int
    base: int
    size: int
    interrupts: bool
    vector: int = 0
    head: int = 0
    tail: int = 0
    phase: int = 1
    waiting: deque[Answer] = field(default_factory=deque)

    def unread(self) -> int:
        """How many entries the guest has to consume."""
        return (self.tail - self.head) % self.size

    def accept(self, head: int) -> bool:
        """Move the head where the doorbell says; False if the ring has no such place, or if that
        would consume entries that were never produced."""
        if head >= self.size or (head - self.head) % self.size > self.unread():
            return False
        self.head = head
        return True

    def produce(self, ring: memoryview) -> int:
        """Write what waits into `ring`, the queue's memory, as far as there is room; returns how
        many entries that were."""
        waiting, size, tail, phase = self.waiting, self.size, self.tail, self.phase
        n = min(len(waiting), (self.head - tail - 1) % size)
        pack = _COMPLETION.pack_into
        for _ in range(n):
            result, head, sqid, cid, status = waiting.popleft()
            pack(ring, COMPLETION_BYTES * tail, result, 0, head, sqid, cid, status << 1 | phase)
            tail += 1
            if tail == size:
                tail, phase = 0, phase ^ 1
        self.tail, self.phase = tail, phase
        return n
