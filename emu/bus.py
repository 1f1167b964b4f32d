"""The bus: which physical address belongs to RAM and which to a device.

The hart calls `read` and `write`; an address that belongs to nobody raises `BusFault`, which
becomes an access fault. Devices reach memory through `emu.devices.dma`, which asks `storage`.

Most regions are mapped for good. PCIe's base address registers move while the machine runs: what
they map lies *over* the windows that the host bridge has mapped (`overlay`). Memory of a device
(a target that is `SparseBytes`: a GPU's VRAM behind a BAR) is used as RAM is: accesses to it are
neither traced nor counted, and whoever has kept host addresses of it is told when it moves.

Bytes of RAM can be watched (`watch`): a mailbox that a program and the host share in memory. Their
pages are never entered in a hart's buffers for stores, so that the hart sees each one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from emu.memory import Memory
from emu.sparse import SparseBytes
from emu.trace import Trace

_PAGE_BITS = 12
_PAGE = 1 << _PAGE_BITS
_KEPT_PAGES = (
    1 << 16
)  # pages remembered: a guest that touches a whole window must not fill the host


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
    end: int = field(init=False)
    """The first address behind the region."""
    is_memory: bool = field(init=False)
    """Whether the target is memory of a device."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "end", self.base + self.size)  # asked for at every access
        object.__setattr__(self, "is_memory", isinstance(self.target, SparseBytes))


class Extent(NamedTuple):
    """Memory in one piece: the bus addresses from `base` up to `end`, whose first byte lies at the
    host address `host`."""

    base: int
    end: int
    host: int


class Watch(NamedTuple):
    """Bytes of RAM from `start` up to `end`; `callback` hears of each store of a hart to them."""

    start: int
    end: int
    callback: Callable[[], None]


class Bus:
    """Dispatch by physical page: a page belongs to at most one region, so one dictionary look-up
    finds it; the dictionary is filled as pages are first used."""

    def __init__(self, memory: Memory, trace: Trace | None = None) -> None:
        self.memory = memory
        self.trace = trace
        self.regions: list[Region] = []
        """What is mapped for good."""
        self.accesses = 0
        """Device accesses by the hart so far, those for the time left out; the console's rule for
        pipes looks at it."""
        self.on_memory_moved: list[Callable[[], None]] = []
        """Called when device memory has come, moved or gone: host addresses kept are stale."""
        self.device_memories: list[Region] = []
        """Where device memory answers now, by address."""
        self._watches: list[Watch] = []
        self._overlay: tuple[Region, ...] = ()
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

    def overlay(self, regions: Sequence[Region]) -> None:
        """Lay these regions of whole pages, and no others, over those mapped for good. Where they
        overlap the first one answers."""
        before, self._overlay = self.device_memories, tuple(regions)
        self.device_memories = _memories(self._overlay)
        self._pages.clear()
        if self.device_memories != before:
            for listener in self.on_memory_moved:
                listener()

    def watch(self, paddr: int, n: int, callback: Callable[[], None]) -> None:
        """Have `callback` called after each store of a hart that touches these bytes of RAM. Before
        the machine runs: nobody may have kept host addresses of their pages for stores. (Tensor
        instructions and devices write unheard.)"""
        self._watches.append(Watch(paddr, paddr + n, callback))

    def unwatched(self, paddr: int, start: int, end: int) -> tuple[int, int]:
        """The part of the memory from `start` up to `end`, around `paddr`, whose pages are not
        watched and may be stored to behind the bus's back: (start, end), empty if there is none."""
        for watch in self._watches:
            first, behind = watch.start & -_PAGE, (watch.end - 1 | _PAGE - 1) + 1
            if paddr < first:
                end = min(end, first)
            elif paddr >= behind:
                start = max(start, behind)
            else:
                return paddr, paddr
        return start, end

    def stored(self, paddr: int, n: int) -> None:
        """A hart has stored to `n` bytes of memory in a way that may concern watchers."""
        for watch in self._watches:
            if paddr < watch.end and watch.start < paddr + n:
                watch.callback()

    def storage(self, paddr: int, n: int = 1) -> tuple[SparseBytes, int] | None:
        """The one memory, RAM or a device's, that holds all `n` bytes at `paddr`, and their offset
        in it; None when there is none."""
        memory = self.memory
        if n < 0:
            return None
        if memory.base <= paddr and paddr + n <= memory.end:
            return memory, paddr - memory.base
        for region in self.device_memories:
            if region.base <= paddr and paddr + n <= region.end:
                assert isinstance(region.target, SparseBytes)
                return region.target, paddr - region.base
        return None

    def extent(self, paddr: int, n: int = 1) -> Extent | None:
        """All of the memory, RAM or a device's, in which the `n` bytes at `paddr` lie."""
        found = self.storage(paddr, n)
        if found is None:
            return None
        storage, offset = found
        base = paddr - offset
        return Extent(base, base + storage.size, storage.host_address)

    def find(self, paddr: int, size: int = 1) -> Region:
        """The region that holds all `size` bytes at `paddr`; raises BusFault."""
        region = self._pages.get(paddr >> _PAGE_BITS)
        if region is None:
            region = self._search(paddr)
        if paddr < region.base or paddr + size > region.end:
            raise BusFault(paddr)
        return region

    def _search(self, paddr: int) -> Region:
        for region in (*self._overlay, *self.regions):
            if region.base <= paddr < region.end:
                if len(self._pages) >= _KEPT_PAGES:
                    self._pages.clear()
                self._pages[paddr >> _PAGE_BITS] = region
                return region
        raise BusFault(paddr)

    def read(self, paddr: int, size: int) -> int:
        """The unsigned value of `size` (1, 2, 4, 8) bytes at `paddr`; raises BusFault."""
        memory = self.memory
        if memory.base <= paddr and paddr + size <= memory.end:
            return memory.read(paddr, size)
        region = self._pages.get(paddr >> _PAGE_BITS)
        if region is None or paddr < region.base or paddr + size > region.end:
            region = self.find(paddr, size)
        offset = paddr - region.base
        value = region.target.read(offset, size)
        if not region.is_memory:
            self.accesses += 1
            if self.trace is not None:
                self.trace.access(False, region.target, offset, size, value)
        return value

    def write(self, paddr: int, size: int, value: int) -> None:
        """Store the low `size` (1, 2, 4, 8) bytes of `value` at `paddr`; raises BusFault."""
        memory = self.memory
        if memory.base <= paddr and paddr + size <= memory.end:
            memory.write(paddr, size, value)
            return
        region = self._pages.get(paddr >> _PAGE_BITS)
        if region is None or paddr < region.base or paddr + size > region.end:
            region = self.find(paddr, size)
        offset = paddr - region.base
        value &= (1 << 8 * size) - 1
        if not region.is_memory:
            self.accesses += 1
            if self.trace is not None:
                self.trace.access(True, region.target, offset, size, value)
        region.target.write(offset, size, value)

    def post(self, paddr: int, value: int) -> bool:
        """A device's message (MSI-X) of 32 bits to RAM or to a register; False, and it is lost, if
        nothing answers there. The only way in which devices reach registers."""
        if self.storage(paddr, 4) is not None:
            self.write(paddr, 4, value)
            return True
        try:
            region = self.find(paddr, 4)
        except BusFault:
            return False
        region.target.write(paddr - region.base, 4, value)
        return True


def _memories(overlay: Sequence[Region]) -> list[Region]:
    """The regions of device memory, by address. One that another covers in part is left out: the
    hart reaches it access by access, and devices do not."""
    found = [
        region
        for i, region in enumerate(overlay)
        if region.is_memory
        and not any(o.base < region.end and region.base < o.end for o in overlay[:i])
    ]
    return sorted(found, key=lambda region: region.base)
