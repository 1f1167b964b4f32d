"""A queue as the packet processor keeps it: a ring in memory, and how far it is.

The structure in memory is ROCR's `amd_queue_t`: type 0, features 4 (bit 0 kernel dispatch, bit 1
agent dispatch; a queue with neither is for copies), ring 8, size in packets 24, write index 56,
read index 128. It is read once, when the queue is enabled, from the read index on; after that the
device trusts only its own copy, keeps the read index in memory up to date, and stops the queue if
somebody else changes it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from emu.clock import PS_PER_US
from emu.devices.dma import DmaPort
from emu.devices.gpu.packets import PACKET_BYTES

QUEUE_BYTES = 256
QUEUE_FAULT = -12
"""What the fault registers say when a queue stopped; its status says why."""

_READ_INDEX_AT = 128
_FORM = struct.Struct("<IIQQII")
_SIZE_MAX = 1 << 20
_TYPES = 3  # multiple producers, a single one, cooperative: the processor sees no difference

_FIRST_LOOK_PS = PS_PER_US
_PATIENCE_PS = 3_600_000_000 * PS_PER_US


class QueueError(IntEnum):
    """Why a queue stopped; it stays so until it is enabled anew."""

    NONE = 0
    DESCRIPTOR = 1
    """The `amd_queue_t` is misaligned, not in memory, or says what is impossible."""
    RING = 2
    """The ring, or the read index, is not in memory."""
    DOORBELL = 3
    """The doorbell named a packet for which the ring has no room."""
    READ_INDEX = 4
    """Somebody changed the read index in memory."""


class Feature(IntFlag):
    """What packets a queue takes besides barriers and transfers."""

    KERNEL_DISPATCH = 1
    AGENT_DISPATCH = 2


class BrokenQueue(Exception):
    """The queue in memory cannot be used; `error` says what is wrong."""

    def __init__(self, error: QueueError) -> None:
        super().__init__(error.name)
        self.error = error


@dataclass
class Queue:
    """An enabled queue."""

    number: int
    born: int
    """Tells this queue's events from those of earlier queues of the same number."""
    address: int
    ring: int
    size: int
    features: Feature
    priority: int
    read: int
    """Number of the packet that is processed next."""
    rung: int
    """All packets below this number were announced by the doorbell."""
    running: int = 0
    """Packets that have started and are not complete."""
    error: QueueError = QueueError.NONE
    look_ps: int = -1
    """When the processor looks at the ring next; -1: not before something happens."""
    waiting_since: int = -1
    """When it began to hold at the packet `read`; -1 while it does not."""

    @property
    def slot(self) -> int:
        """The address of the packet `read`."""
        return self.ring + self.read % self.size * PACKET_BYTES

    def advance(self, port: DmaPort) -> None:
        """The packet is taken: free its slot and move the read index. Raises BrokenQueue."""
        self.waiting_since = -1
        freed = port.write_int(self.slot, 2, 1)
        self.read += 1
        if not freed or not port.write_int(self.address + _READ_INDEX_AT, 8, self.read):
            raise BrokenQueue(QueueError.RING)

    def fetch(self, port: DmaPort) -> bytes:
        """A copy of the packet `read`. Raises BrokenQueue."""
        index = port.read_int(self.address + _READ_INDEX_AT, 8)
        raw = port.view(self.slot, PACKET_BYTES)
        if index is None or raw is None:
            raise BrokenQueue(QueueError.RING)
        if index != self.read:
            raise BrokenQueue(QueueError.READ_INDEX)
        return bytes(raw)

    def ring_doorbell(self, packet: int) -> None:
        """The guest says that `packet` is ready. Raises BrokenQueue."""
        if packet >= self.read + self.size:
            raise BrokenQueue(QueueError.DOORBELL)
        self.rung = max(self.rung, packet + 1)

    def next_look(self, now_ps: int) -> int | None:
        """In how many picoseconds to look again at a packet or signal that is not ready.

        Nothing tells a device that memory has changed, and asking all the time would keep the host
        busy for nothing. So the time between two looks is an eighth of what the queue has waited:
        it notices at most that much late, and looks some 200 times in an hour. After that it
        waits for its doorbell alone.
        """
        if self.waiting_since < 0:
            self.waiting_since = now_ps
        waited = now_ps - self.waiting_since
        return max(_FIRST_LOOK_PS, waited // 8) if waited < _PATIENCE_PS else None

    def should_look(self, at_ps: int) -> bool:
        """Note that the processor wants to look at the time; False when it does so before."""
        if 0 <= self.look_ps <= at_ps:
            return False
        self.look_ps = at_ps
        return True


def open_queue(port: DmaPort, number: int, born: int, address: int, priority: int) -> Queue:
    """The queue whose `amd_queue_t` is at `address`. Raises BrokenQueue."""
    raw = port.view(address, QUEUE_BYTES) if address % 64 == 0 else None
    if raw is None:
        raise BrokenQueue(QueueError.DESCRIPTOR)
    kind, features, ring, _doorbell, size, zero = _FORM.unpack(raw[: _FORM.size])
    power_of_two = 0 < size <= _SIZE_MAX and size & size - 1 == 0
    if kind >= _TYPES or zero or not power_of_two or ring % PACKET_BYTES:
        raise BrokenQueue(QueueError.DESCRIPTOR)
    if features > Feature.KERNEL_DISPATCH | Feature.AGENT_DISPATCH:
        raise BrokenQueue(QueueError.DESCRIPTOR)
    if port.view(ring, size * PACKET_BYTES) is None:
        raise BrokenQueue(QueueError.RING)
    read = int.from_bytes(raw[_READ_INDEX_AT : _READ_INDEX_AT + 8], "little")
    if read >> 63:
        raise BrokenQueue(QueueError.DESCRIPTOR)
    return Queue(*(number, born, address, ring, size, Feature(features), priority, read), rung=read)
