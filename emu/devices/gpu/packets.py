"""AQL packets: 64 bytes in a queue's ring, taken apart and checked.

The layouts are those of the HSA runtime specification 1.2, section 2.9, and of ROCR's `hsa.h`:

    kernel dispatch   header 0, setup 2, workgroup 4 6 8, grid 12 16 20, private 24, group 28,
                      kernel object 32, kernarg 40, completion signal 56
    barrier-AND, -OR  header 0, five dependency signals 8-47, completion signal 56
    agent dispatch    header 0, function 2, return address 8, four arguments 16-47, completion 56

The vendor-specific packet is the specification's room for what is ours: a transfer by a copy
engine. As ROCR has it, the byte at 2 says which vendor packet it is:

    transfer          header 0, format 2 (0x10 copy, 0x11 fill), rows 4, source (or the eight bytes
                      to fill with) 8, destination 16, bytes of a row 24, distance from row to row
                      in the source 32 and the destination 40, completion 56

`parse` gives one of the four dataclasses or raises `BadPacket`: whatever the guest wrote, nothing
else comes out. A packet is parsed from a copy, so it cannot change while it is looked at.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

PACKET_BYTES = 64
COMPLETION_AT = 56
"""Where every packet has the address of its completion signal."""
DEPENDENCIES = 5

_SCOPES = 3  # none, agent, system: accepted and without effect, since memory is always coherent
_TRANSFER_MAX = 1 << 40
_COPY, _FILL = 0x10, 0x11

_DISPATCH = struct.Struct("<2xHHHHHIIIIIQQQQ")
_BARRIER = struct.Struct("<2xHI5QQQ")
_AGENT = struct.Struct("<2xHIQ4QQQ")
_TRANSFER = struct.Struct("<2xBBIQQQQQQQ")


class PacketType(IntEnum):
    """Bits 7:0 of the header."""

    VENDOR = 0
    INVALID = 1
    """The slot holds no packet yet: the processor stops here until there is one."""
    KERNEL_DISPATCH = 2
    BARRIER_AND = 3
    AGENT_DISPATCH = 4
    BARRIER_OR = 5


PACKET_TYPES: frozenset[int] = frozenset(PacketType)


class BadPacket(Exception):
    """A packet that no processor could execute, in a sentence."""


@dataclass(frozen=True)
class Header:
    """The first 16 bits."""

    type: PacketType
    barrier: bool
    """Whether the packet starts only when all before it in the queue are complete."""

    @classmethod
    def parse(cls, value: int) -> Header:
        """Raises BadPacket for a type, scope or reserved bit that there is not."""
        kind, acquire, release = value & 0xFF, value >> 9 & 3, value >> 11 & 3
        if kind not in PACKET_TYPES:
            raise BadPacket(f"A packet's type is {kind}; the highest is {max(PacketType)}.")
        if acquire >= _SCOPES or release >= _SCOPES or value >> 13:
            raise BadPacket(f"The header {value:#06x} has a scope or bit that is reserved.")
        return cls(PacketType(kind), bool(value >> 8 & 1))


@dataclass(frozen=True)
class KernelDispatch:
    """Run a kernel over a grid of work-items; sizes in work-items and bytes."""

    workgroup: tuple[int, int, int]
    grid: tuple[int, int, int]
    private_bytes: int
    group_bytes: int
    kernel_object: int
    kernarg: int
    completion: int

    @classmethod
    def parse(cls, raw: bytes) -> KernelDispatch:
        """Raises BadPacket."""
        setup, wx, wy, wz, zero, gx, gy, gz, private, group, kernel, kernarg, zeros, done = (
            _DISPATCH.unpack(raw)
        )
        if not 1 <= setup <= 3 or zero or zeros:
            raise BadPacket(f"A dispatch has {setup} dimensions, or a reserved field is not zero.")
        workgroup, grid = (wx, wy, wz), (gx, gy, gz)
        if 0 in workgroup or 0 in grid:
            raise BadPacket(f"The workgroup {workgroup} or the grid {grid} is empty.")
        if any(n != 1 for n in workgroup[setup:] + grid[setup:]):
            raise BadPacket(f"The grid {grid} has more dimensions than the setup's {setup}.")
        if kernarg % 16:
            raise BadPacket(f"The kernel arguments at {kernarg:#x} are not aligned to 16 bytes.")
        return cls(workgroup, grid, private, group, kernel, kernarg, done)


@dataclass(frozen=True)
class Barrier:
    """Hold the queue until all, or any, of the signals are zero; null signals do not count."""

    signals: tuple[int, ...]
    any_of: bool
    completion: int

    @classmethod
    def parse(cls, raw: bytes, any_of: bool) -> Barrier:
        """Raises BadPacket."""
        zero, zeros, *signals, reserved, done = _BARRIER.unpack(raw)
        if zero or zeros or reserved:
            raise BadPacket("A reserved field of a barrier packet is not zero.")
        return cls(tuple(signal for signal in signals if signal), any_of, done)


@dataclass(frozen=True)
class AgentDispatch:
    """A call of the host: its kernel finds it in the device's mailbox."""

    function: int
    return_address: int
    arguments: tuple[int, int, int, int]
    completion: int

    @classmethod
    def parse(cls, raw: bytes) -> AgentDispatch:
        """Raises BadPacket."""
        function, zero, back, a, b, c, d, zeros, done = _AGENT.unpack(raw)
        if zero or zeros:
            raise BadPacket("A reserved field of an agent dispatch packet is not zero.")
        return cls(function, back, (a, b, c, d), done)


@dataclass(frozen=True)
class Transfer:
    """Copy `rows` rows of bytes, or fill them with `pattern` (None: a copy) over and over."""

    rows: int
    row_bytes: int
    source: int
    destination: int
    source_pitch: int
    destination_pitch: int
    pattern: bytes | None
    completion: int

    @property
    def size(self) -> int:
        """Bytes that are moved."""
        return self.rows * self.row_bytes

    @classmethod
    def parse(cls, raw: bytes) -> Transfer:
        """Raises BadPacket."""
        format_, zero, rows, source, target, row, pitch, target_pitch, zeros, done = (
            _TRANSFER.unpack(raw)
        )
        if format_ not in (_COPY, _FILL) or zero or zeros:
            raise BadPacket(f"No vendor packet has the format {format_:#x}, or it is malformed.")
        pattern = source.to_bytes(8, "little") if format_ == _FILL else None
        rows = max(rows, 1)
        if rows * row > _TRANSFER_MAX:
            raise BadPacket(f"A transfer of {rows} rows of {row} bytes is too large.")
        if rows == 1:
            pitch = target_pitch = row
        elif target_pitch < row or (pattern is None and pitch < row):
            raise BadPacket(f"Rows of {row} bytes overlap when they are {target_pitch} apart.")
        elif max(pitch, target_pitch) * rows > _TRANSFER_MAX:
            raise BadPacket(f"A transfer over {rows} times {target_pitch} bytes is too large.")
        return cls(rows, row, source, target, pitch, target_pitch, pattern, done)


Packet = KernelDispatch | Barrier | AgentDispatch | Transfer


def parse(raw: bytes, kind: PacketType) -> Packet:
    """The packet of a type other than INVALID in 64 bytes. Raises BadPacket."""
    if kind == PacketType.KERNEL_DISPATCH:
        return KernelDispatch.parse(raw)
    if kind == PacketType.AGENT_DISPATCH:
        return AgentDispatch.parse(raw)
    if kind == PacketType.VENDOR:
        return Transfer.parse(raw)
    return Barrier.parse(raw, any_of=kind == PacketType.BARRIER_OR)
