"""Split virtqueues in guest memory (specification 1.2, 2.7): descriptors, available and used ring.

Everything in them is written by the guest and may be wrong, and change while we look: each value is
read once, and whatever does not fit raises `RingError`, on which the device stops and asks for a
reset. Nothing here raises anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emu.devices.dma import DmaPort

_DESCRIPTOR_BYTES = 16
_NEXT, _WRITE, _INDIRECT = 1, 2, 4
CHAIN_MAX = 1024
"""Longest chain, descriptors of an indirect table included."""
BYTES_MAX = (1 << 32) - 1
"""Most bytes of a request: a used ring can count no more."""
NO_INTERRUPT = 1
_WRAP = 0xFFFF


class RingError(Exception):
    """The guest has put something into a queue that cannot be."""


@dataclass
class Queue:
    """A queue: where it lies, and how far the device has come. Sizes in entries."""

    size: int = 0
    ready: bool = False
    descriptors: int = 0
    available: int = 0
    used: int = 0
    taken: int = 0
    """Index of the next entry of the available ring, counting on, 16 bits."""
    given: int = 0
    """Index of the next entry of the used ring, likewise."""

    @property
    def wanted_event(self) -> int:
        """Address of `used_event`, behind the available ring."""
        return self.available + 4 + 2 * self.size

    @property
    def offered_event(self) -> int:
        """Address of `avail_event`, behind the used ring."""
        return self.used + 4 + 8 * self.size


@dataclass(frozen=True)
class Chain:
    """A request: the buffers to read, then those to write, as guest memory itself."""

    head: int
    readable: list[memoryview]
    writable: list[memoryview]


class Ring:
    """Access to a queue by `dma`; `indirect` and `events` say what was negotiated."""

    def __init__(self, dma: DmaPort, queue: Queue, *, indirect: bool, events: bool) -> None:
        self._dma, self.queue = dma, queue
        self._indirect, self._events = indirect, events

    def _read(self, address: int, size: int) -> int:
        value = self._dma.read_int(address, size)
        if value is None:
            raise RingError(f"nothing to read at {address:#x}")
        return value

    def _write(self, address: int, size: int, value: int) -> None:
        if not self._dma.write_int(address, size, value):
            raise RingError(f"nothing to write at {address:#x}")

    def take(self) -> int | None:
        """The first descriptor of the next request; None when there is none. With event indices
        the driver is then asked to notify when there is."""
        queue = self.queue
        waiting = self._waiting()
        if not waiting and self._events:
            self._write(queue.offered_event, 2, queue.taken)
            waiting = self._waiting()
        if not waiting:
            return None
        head = self._read(queue.available + 4 + 2 * (queue.taken % queue.size), 2)
        queue.taken = queue.taken + 1 & _WRAP
        return head

    def _waiting(self) -> int:
        waiting = self._read(self.queue.available + 2, 2) - self.queue.taken & _WRAP
        if waiting > self.queue.size:
            raise RingError(f"{waiting} requests in a queue of {self.queue.size}")
        return waiting

    def chain(self, head: int) -> Chain:
        """The request that starts at the descriptor `head`."""
        chain, total = Chain(head, [], []), 0
        for address, length, flags in self._descriptors(head):
            total += length
            if total > BYTES_MAX:
                raise RingError(f"a request of more than {BYTES_MAX} bytes")
            view = self._dma.view(address, length)
            if view is None or not length:
                raise RingError(f"no buffer of {length:#x} bytes at {address:#x}")
            if flags & _WRITE:
                chain.writable.append(view)
            elif chain.writable:
                raise RingError("a buffer to read behind one to write")
            else:
                chain.readable.append(view)
        return chain

    def _descriptors(self, head: int) -> Iterator[tuple[int, int, int]]:
        """(address, length, flags) of each buffer of a request."""
        table, entries, number, inside = self.queue.descriptors, self.queue.size, head, False
        for _ in range(CHAIN_MAX):
            if number >= entries:
                raise RingError(f"descriptor {number} of {entries}")
            address, length, flags, following = self._descriptor(table, number)
            if flags & _INDIRECT:
                if inside or not self._indirect or flags & _NEXT:
                    raise RingError("an indirect table where none may be")
                if not length or length % _DESCRIPTOR_BYTES:
                    raise RingError(f"an indirect table of {length:#x} bytes")
                table, entries, number = address, length // _DESCRIPTOR_BYTES, 0
                inside = True
                continue
            yield address, length, flags
            if not flags & _NEXT:
                return
            number = following
        raise RingError(f"a request of more than {CHAIN_MAX} descriptors")

    def _descriptor(self, table: int, number: int) -> tuple[int, int, int, int]:
        entry = self._dma.read(table + _DESCRIPTOR_BYTES * number, _DESCRIPTOR_BYTES)
        if entry is None:
            raise RingError(f"no descriptor table at {table:#x}")
        fields = entry[:8], entry[8:12], entry[12:14], entry[14:]
        address, length, flags, following = (int.from_bytes(f, "little") for f in fields)
        return address, length, flags, following

    def give(self, head: int, written: int) -> bool:
        """Return the request, into which `written` bytes were written; whether to interrupt."""
        queue, before = self.queue, self.queue.given
        entry = queue.used + 4 + 8 * (before % queue.size)
        self._write(entry, 8, head | written << 32)
        queue.given = before + 1 & _WRAP
        self._write(queue.used + 2, 2, queue.given)
        if self._events:
            return self._read(queue.wanted_event, 2) == before
        return not self._read(queue.available, 2) & NO_INTERRUPT
