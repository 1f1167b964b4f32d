"""The bus: which physical address belongs to RAM and which to a device.

The hart calls `read` and `write`; an address that belongs to nobody raises `BusFault`, which
becomes an access fault. Devices reach memory with `dma_read` and `dma_write`, which report a bad
address instead of raising, since a driver's mistake must never be an exception on the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from emu.memory import Memory
from emu.trace import Trace

_PAGE_BITS = 12


class BusFault(Exception):
    """No device and no RAM answers at `paddr`."""

    def __init__(self, paddr: int) -> None:
        super().__init__(f"nothing answers at physical address {paddr:#x}")
        self.paddr = paddr


class Target(Protocol):
    """What a device shows to the bus. Offsets count from the start of the mapped region; sizes are
    1, 2, 4 or 8 and accesses never cross the region's end. Neither method may raise."""

    name: str

    def read(self, offset: int, size: int) -> int:
        """The value read; side effects happen."""

    def write(self, offset: int, size: int, value: int) -> None:
        """Store `value`, which fits in `size` bytes."""

    def describe(self, write: bool, offset: int, size: int, value: int) -> str:
        """The access in words, for the trace; no side effects."""


@dataclass(frozen=True)
class Region:
    """`size` bytes at `base` that belong to `target`."""

    base: int
    size: int
    target: Target

    @property
    def end(self) -> int:
        """The first address behind the region."""
        return self.base + self.size


class Bus:
    """Dispatch by physical page: a page belongs to at most one region, so one dictionary look-up
    finds it; the dictionary is filled as pages are first used."""

    def __init__(self, memory: Memory, trace: Trace | None = None) -> None:
        self.memory = memory
        self.trace = trace
        self.regions: list[Region] = []
        self.accesses = 0
        """Device accesses by the hart so far; the console's rule for pipes looks at it."""
        self._pages: dict[int, Region] = {}

    def map(self, base: int, size: int, target: Target) -> Region:
        """Give `target` the addresses from `base`; ValueError if they share a page with others."""
        region = Region(base, size, target)
        first, last = base >> _PAGE_BITS, (region.end - 1) >> _PAGE_BITS
        for other in self.regions:
            if first <= (other.end - 1) >> _PAGE_BITS and other.base >> _PAGE_BITS <= last:
                raise ValueError(
                    f"{target.name} and {other.target.name} share the page of {base:#x}"
                )
        if base < self.memory.end and region.end > self.memory.base:
            raise ValueError(f"{target.name} at {base:#x} lies in RAM")
        self.regions.append(region)
        return region

    def find(self, paddr: int, size: int = 1) -> Region:
        """The region that holds all `size` bytes at `paddr`; raises BusFault."""
        region = self._pages.get(paddr >> _PAGE_BITS)
        if region is None:
            for region in self.regions:
                if region.base <= paddr < region.end:
                    self._pages[paddr >> _PAGE_BITS] = region
                    break
            else:
                raise BusFault(paddr)
        if paddr < region.base or paddr + size > region.end:
            raise BusFault(paddr)
        return region

    def read(self, paddr: int, size: int) -> int:
        """The unsigned value of `size` (1, 2, 4, 8) bytes at `paddr`; raises BusFault."""
        memory = self.memory
        if memory.base <= paddr and paddr + size <= memory.end:
            return memory.read(paddr, size)
        region = self.find(paddr, size)
        self.accesses += 1
        offset = paddr - region.base
        value = region.target.read(offset, size)
        if self.trace is not None:
            self.trace.access(False, region.target, offset, size, value)
        return value

    def write(self, paddr: int, size: int, value: int) -> None:
        """Store the low `size` (1, 2, 4, 8) bytes of `value` at `paddr`; raises BusFault."""
        memory = self.memory
        if memory.base <= paddr and paddr + size <= memory.end:
            memory.write(paddr, size, value)
            return
        region = self.find(paddr, size)
        self.accesses += 1
        offset = paddr - region.base
        value &= (1 << 8 * size) - 1
        if self.trace is not None:
            self.trace.access(True, region.target, offset, size, value)
        region.target.write(offset, size, value)

    def dma_read(self, paddr: int, n: int) -> memoryview | None:
        """The `n` bytes at `paddr` themselves, or None when they are not all RAM. Writing to the
        view writes guest memory; it is how a device transfers without a copy."""
        return self.memory.view(paddr, n) if self.memory.contains(paddr, n) else None

    def dma_write(self, paddr: int, data: bytes | bytearray | memoryview) -> bool:
        """Copy `data` to `paddr`; False, and nothing is written, when it would leave RAM."""
        if not self.memory.contains(paddr, len(data)):
            return False
        self.memory.view(paddr, len(data))[:] = data
        return True
