"""What lanes load from and store to: memory in regions, the group's memory, their private one.

Every access is checked and lies wholly in one of them; nothing else of the host is ever touched.
Addresses from `GROUP_BASE` on are the workgroup's memory and from `PRIVATE_BASE` on the lane's own,
which exist only while the workgroup does; below, addresses are the bus's.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from emu.devices.gpu.dispatch import (
    GROUP_BASE,
    PRIVATE_BASE,
    Counts,
    Dispatch,
    FaultCode,
    Region,
)


class LaneFault(Exception):
    """What an instruction of a lane cannot do. The engine adds where it was: `address` is None for
    the instruction's own bits, `lane` for the lowest that executes it."""

    def __init__(self, code: FaultCode, address: int | None, lane: int | None = None) -> None:
        super().__init__(code.name)
        self.code, self.address, self.lane = code, address, lane


def view_of(region: Region) -> memoryview:
    """The bytes of a region."""
    _, size, host = region
    return memoryview((ctypes.c_ubyte * size).from_address(host)).cast("B")


class Memory:
    """The memory of one dispatch, as the workgroup that runs now sees it."""

    def __init__(self, dispatch: Dispatch, regions: Sequence[Region], counts: Counts) -> None:
        self._counts = counts
        self._outside = list(regions)
        self._starts = [base for base, _, _ in regions]
        self._regions = [(r[0], r[0] + r[1], view_of(r)) for r in regions]
        self._last = (0, 0, memoryview(b""))
        """The region of the last access: start, end, bytes."""
        self._sizes = dispatch.group_memory, dispatch.private_memory
        self._group = memoryview(bytearray())
        self._private: dict[int, memoryview] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        """`load32(lane, address)`, `load_amo32(lane, address)`, `store32(lane, address, value)` and
        so on; they raise LaneFault."""
        for bits in (8, 16, 32, 64):
            named = self._accesses(bits // 8)
            self.functions |= {f"{name}{bits}": function for name, function in named.items()}

    def start_group(self) -> None:
        """Another workgroup: its memory and that of its lanes is zero."""
        self._group = memoryview(bytearray(self._sizes[0]))
        self._private = {}

    @property
    def regions(self) -> list[Region]:
        """All that a warp's tensor instructions reach: the regions and the group's memory."""
        size = len(self._group)
        if not size:
            return self._outside
        host = ctypes.addressof(ctypes.c_char.from_buffer(self._group))
        return [*self._outside, (GROUP_BASE, size, host)]

    def code(self, address: int, size: int) -> bytes | None:
        """A copy of the instructions at a bus address; None unless all are in one region."""
        found = self._in_regions(address, size)
        return None if found is None else bytes(found)

    def _accesses(self, size: int) -> dict[str, Callable[..., Any]]:
        counts = self._counts

        def load(lane: int, address: int, code: FaultCode = FaultCode.LOAD_ADDRESS) -> int:
            place = self._find(lane, address, size)
            if place is None:
                raise LaneFault(code, address, lane)
            if address < GROUP_BASE:
                counts.bytes_loaded += size
            elif address < PRIVATE_BASE:
                counts.group_bytes += size
            return int.from_bytes(place, "little")

        def load_amo(lane: int, address: int) -> int:
            return load(lane, address, FaultCode.STORE_ADDRESS)

        def store(lane: int, address: int, value: int) -> None:
            place = self._find(lane, address, size)
            if place is None:
                raise LaneFault(FaultCode.STORE_ADDRESS, address, lane)
            if address < GROUP_BASE:
                counts.bytes_stored += size
            elif address < PRIVATE_BASE:
                counts.group_bytes += size
            place[:] = value.to_bytes(size, "little")

        return {"load": load, "load_amo": load_amo, "store": store}

    def _find(self, lane: int, address: int, size: int) -> memoryview | None:
        """The bytes of an access; None when they are not all there."""
        base, end, view = self._last
        if base <= address and address + size <= end:
            return view[address - base : address - base + size]
        if address >= PRIVATE_BASE:
            return _part(self._private_of(lane), address - PRIVATE_BASE, size)
        if address >= GROUP_BASE:
            return _part(self._group, address - GROUP_BASE, size)
        return self._in_regions(address, size)

    def _private_of(self, lane: int) -> memoryview:
        """The private memory of a lane, made when it is first asked for."""
        memory = self._private.get(lane)
        if memory is None:
            memory = self._private[lane] = memoryview(bytearray(self._sizes[1]))
        return memory

    def _in_regions(self, address: int, size: int) -> memoryview | None:
        i = bisect_right(self._starts, address) - 1
        if i < 0:
            return None
        base, _, view = self._last = self._regions[i]
        return _part(view, address - base, size)


def _part(view: memoryview, offset: int, size: int) -> memoryview | None:
    return view[offset : offset + size] if offset + size <= len(view) else None
