"""Submission and completion queues (base specification 1.4, 4.1): rings in guest memory."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field

COMPLETION_BYTES = 16
_COMPLETION = struct.Struct("<IIHHHH")


@dataclass
class SubmissionQueue:
    """The controller consumes at `head`; the guest produces up to `tail`. Sizes in entries."""

    qid: int
    base: int
    size: int
    cqid: int
    head: int = 0
    tail: int = 0
    fetching: bool = False

    def advance(self) -> None:
        """An entry was consumed."""
        self.head = (self.head + 1) % self.size


@dataclass
class CompletionQueue:
    """The controller produces at `tail`; the guest consumes up to `head`. `waiting` holds
    completions for which the ring had no room: one entry always stays free."""

    qid: int
    base: int
    size: int
    interrupts: bool
    head: int = 0
    tail: int = 0
    phase: int = 1
    waiting: deque[Completion] = field(default_factory=deque)

    def full(self) -> bool:
        """Whether another entry would make the ring look empty."""
        return (self.tail + 1) % self.size == self.head

    def unread(self) -> bool:
        """Whether the guest has entries to consume."""
        return self.head != self.tail

    def produce(self, completion: Completion) -> tuple[int, bytes]:
        """Where the entry goes and its bytes, with the phase tag; the tail moves on."""
        address = self.base + self.tail * COMPLETION_BYTES
        entry = completion.encode(self.phase)
        self.tail += 1
        if self.tail == self.size:
            self.tail, self.phase = 0, self.phase ^ 1
        return address, entry


@dataclass(frozen=True)
class Completion:
    """A completion queue entry without its phase tag; `status` is what `Status.field` gives."""

    result: int
    sq_head: int
    sqid: int
    cid: int
    status: int

    def encode(self, phase: int) -> bytes:
        """The 16 bytes."""
        status = self.status << 1 | phase
        return _COMPLETION.pack(self.result, 0, self.sq_head, self.sqid, self.cid, status)
