"""A dispatch: the kernel object, the grid, how a run can fail and what it counted.

What the packet processor hands to an engine and what it gets back. `Engine` is the seam: the
reference engine (`emu.devices.gpu.simt`) and the lifted one (`emu.devices.gpu.lift`) are both
behind it, and nothing else knows which of them ran.

    kernel = KernelObject.parse(form, address)          # the 64 bytes at `address`; may be refused
    dispatch = Dispatch(kernel, kernarg, (1000, 1, 1), (64, 1, 1))
    outcome = engine.run(dispatch, port.regions(), limit=1 << 32)

**The kernel object** is 64 bytes, little-endian, at a multiple of 64: u32 magic "AKRN", u32 version
1, i64 distance from the object to the first instruction, u64 bytes of code from there on, u32 bytes
of kernel arguments, u32 bytes of group memory, u32 bytes of private memory a lane (a multiple of
16), u32 flags 0, zeros.

**The work-items** of a group are numbered with x fastest; warp w has the numbers from w * 32 on. A
grid need not be a multiple of the workgroup: the work-items that lie beyond it never start.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from math import prod
from typing import Protocol

LANES = 32
"""Lanes of a warp."""
GROUP_BASE = 1 << 48
"""Where lanes see the memory of their workgroup."""
PRIVATE_BASE = 1 << 49
"""Where every lane sees its own private memory."""
WORKGROUP_MAX = 1024
"""Work-items of a workgroup."""
GRID_MAX = 1 << 40
"""Work-items of a grid."""
GROUP_BYTES_MAX, PRIVATE_BYTES_MAX = 1 << 18, 1 << 16
CODE_BYTES_MAX = 1 << 24
WATCHED_WORK = 1 << 20
STACK_ALIGNMENT = 16
"""Private memory is a multiple of this, and so is the stack pointer at the start."""

Extent = tuple[int, int, int]
"""x, y, z."""
Region = tuple[int, int, int]
"""(bus address, size, host address) of memory that lanes reach: RAM, or device memory."""


class FaultCode(IntEnum):
    """Why a dispatch failed, as its completion signal says it."""

    BAD_PACKET = -1
    BAD_KERNEL = -2
    ILLEGAL_INSTRUCTION = -3
    INSTRUCTION_ADDRESS = -4
    LOAD_ADDRESS = -5
    STORE_ADDRESS = -6
    MISALIGNED_ATOMIC = -7
    DIVERGED = -8
    """An instruction for the warp as a whole, such as `bar`, was reached by a part of it."""
    WATCHDOG = -9
    TENSOR = -10
    DMA_ADDRESS = -11


@dataclass(frozen=True)
class Fault:
    """What went wrong and where. `lane` is the number of the work-item in its workgroup."""

    code: FaultCode
    address: int = 0
    """The address that was asked for; for an illegal instruction its bits."""
    pc: int = 0
    workgroup: Extent = (0, 0, 0)
    lane: int = 0


class BadDispatch(Exception):
    """A kernel object or packet that no engine would run; `code` says which."""

    def __init__(self, code: FaultCode, text: str) -> None:
        super().__init__(text)
        self.code = code


_FORM = struct.Struct("<4sIqQIIII24s")


@dataclass(frozen=True)
class KernelObject:
    """A kernel: where its code is and what it needs. Sizes in bytes."""

    SIZE = _FORM.size
    MAGIC, VERSION = b"AKRN", 1

    entry: int
    """Bus address of the first instruction."""
    code_size: int
    """Bytes from there on that may be fetched."""
    kernarg_size: int = 0
    group_size: int = 0
    private_size: int = 0

    @classmethod
    def parse(cls, form: bytes, address: int) -> KernelObject:
        """Read the object that lies at a bus address. Raises BadDispatch (BAD_KERNEL)."""
        magic, version, distance, code, kernarg, group, private, flags, rest = _FORM.unpack(form)
        kernel = cls(address + distance, code, kernarg, group, private)
        for wrong, text in (
            (address % cls.SIZE, f"The kernel object at {address:#x} is not aligned to 64 bytes."),
            (magic != cls.MAGIC, f"The kernel object at {address:#x} begins with {magic!r}."),
            (version != cls.VERSION, f"The kernel object's version is {version}, not 1."),
            (flags or any(rest), "A reserved byte of the kernel object is not zero."),
            (kernel.entry % 2, f"The kernel's entry {kernel.entry:#x} is odd."),
            (not 0 < kernel.entry < 1 << 64, f"The kernel's entry {kernel.entry:#x} wraps."),
            (not 0 < code <= CODE_BYTES_MAX, f"A kernel of {code} bytes of code is not possible."),
            (
                private % STACK_ALIGNMENT,
                f"{private} bytes of private memory are no multiple of 16.",
            ),
        ):
            if wrong:
                raise BadDispatch(FaultCode.BAD_KERNEL, text)
        return kernel

    def encode(self, address: int) -> bytes:
        """The object's bytes, to be put at a bus address."""
        return _FORM.pack(
            self.MAGIC, self.VERSION, self.entry - address, self.code_size, self.kernarg_size,
            self.group_size, self.private_size, 0, bytes(24),
        )  # fmt: skip


@dataclass(frozen=True)
class Dispatch:
    """A kernel over a grid of work-items. `grid` and `workgroup` count work-items."""

    kernel: KernelObject
    kernarg: int
    """Bus address of the kernel's arguments."""
    grid: Extent
    workgroup: Extent
    group_bytes: int = 0
    """Memory of a workgroup that the packet asks for; more than the kernel's counts."""
    private_bytes: int = 0
    """Private memory a lane that the packet asks for; more than the kernel's counts."""

    def check(self) -> None:
        """Raise BadDispatch (BAD_PACKET) for sizes that no machine has."""
        items = prod(self.workgroup)
        for wrong, text in (
            (not 0 < items <= WORKGROUP_MAX, f"A workgroup of {items} work-items is not possible."),
            (not all(self.grid), f"The grid {self.grid} has no work-items."),
            (prod(self.grid) > GRID_MAX, f"A grid of {self.grid} work-items is too large."),
            (
                self.group_memory > GROUP_BYTES_MAX,
                f"{self.group_memory} bytes of group memory are more than {GROUP_BYTES_MAX}.",
            ),
            (
                self.private_memory > PRIVATE_BYTES_MAX,
                f"{self.private_memory} bytes of private memory are more than {PRIVATE_BYTES_MAX}.",
            ),
        ):
            if wrong:
                raise BadDispatch(FaultCode.BAD_PACKET, text)

    @property
    def group_memory(self) -> int:
        """Bytes of memory that every workgroup gets, zero when it starts."""
        return max(self.kernel.group_size, self.group_bytes)

    @property
    def private_memory(self) -> int:
        """Bytes of memory that every lane gets, zero when it starts; a multiple of 16."""
        return max(
            self.kernel.private_size, -(-self.private_bytes // STACK_ALIGNMENT) * STACK_ALIGNMENT
        )

    @property
    def groups(self) -> Extent:
        """How many workgroups there are in each dimension, partial ones included."""
        x, y, z = (-(-n // size) for n, size in zip(self.grid, self.workgroup, strict=True))
        return x, y, z

    @property
    def warps(self) -> int:
        """Warps of a workgroup."""
        return -(-prod(self.workgroup) // LANES)

    def workgroups(self) -> Iterator[Extent]:
        """The workgroups in the order of their number, x fastest."""
        width, height, depth = self.groups
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    yield x, y, z

    def number(self, group: Extent) -> int:
        """The number of a workgroup."""
        width, height, _ = self.groups
        x, y, z = group
        return (z * height + y) * width + x

    def local_id(self, item: int) -> Extent:
        """Where in its workgroup the work-item with this number is."""
        width, height, _ = self.workgroup
        return item % width, item // width % height, item // (width * height)

    def starts(self, group: Extent, item: int) -> bool:
        """Whether a workgroup has a work-item of this number that lies in the grid."""
        if item >= prod(self.workgroup):
            return False
        place = zip(group, self.workgroup, self.local_id(item), self.grid, strict=True)
        return all(g * size + local < n for g, size, local, n in place)

    def started(self, group: Extent, warp: int) -> int:
        """The mask of a warp's lanes that lie in the grid."""
        first = warp * LANES
        ends = zip(group, self.workgroup, self.grid, strict=True)
        if all((g + 1) * size <= n for g, size, n in ends):  # nothing lies beyond
            return (1 << min(LANES, prod(self.workgroup) - first)) - 1
        return sum(self.starts(group, first + lane) << lane for lane in range(LANES))


@dataclass
class Counts:
    """What a dispatch did, for the timing model. Private memory is counted nowhere."""

    warp_instructions: int = 0
    lane_instructions: int = 0
    """Instructions, once for every lane that executed them."""
    bytes_loaded: int = 0
    bytes_stored: int = 0
    """To and from memory; an atomic operation does both."""
    group_bytes: int = 0
    """Loaded from and stored to group memory."""
    tensor_flops: int = 0
    tensor_bytes: int = 0
    barriers: int = 0
    """Barrier instructions, once for every warp."""

    @property
    def watched(self) -> int:
        """What the watchdog looks at: warp instructions, and one for every `WATCHED_WORK` tensor
        operations or bytes, which take a host about as long."""
        work = (self.tensor_flops + self.tensor_bytes) // WATCHED_WORK
        return self.warp_instructions + work


@dataclass(frozen=True)
class Outcome:
    """How a dispatch ended; `fault` is None when every lane came to its end."""

    fault: Fault | None = None
    counts: Counts = field(default_factory=Counts)


class Engine(Protocol):
    """What executes dispatches."""

    def run(self, dispatch: Dispatch, memory: Sequence[Region], limit: int) -> Outcome:
        """Execute all workgroups. Never raises for what a kernel does.

        `memory` is all that lanes reach, sorted by address; an access lies wholly in one region.
        When `Counts.watched` reaches `limit` the watchdog ends the dispatch.
        """
