"""Guest RAM: sparse host memory at a physical address (`emu.sparse`)."""

from __future__ import annotations

import mmap

from emu.errors import AiosError
from emu.sparse import SparseBytes


class Memory(SparseBytes):
    """RAM of `size` bytes at physical address `base`; zero at first."""

    def __init__(self, base: int, size: int) -> None:
        if size <= 0 or size % mmap.PAGESIZE or base % mmap.PAGESIZE:
            raise AiosError(
                f"RAM of {size:#x} bytes at {base:#x} is impossible: both must be multiples of "
                f"{mmap.PAGESIZE:#x} and the size not zero."
            )
        super().__init__(size, "guest RAM")
        self.base, self.end = base, base + size

    def contains(self, paddr: int, n: int = 1) -> bool:
        """Whether all `n` bytes at `paddr` are RAM."""
        return self.base <= paddr and n >= 0 and paddr + n <= self.end

    def view(self, paddr: int, n: int) -> memoryview:
        """The `n` bytes at `paddr` themselves, writable; they must lie in RAM (IndexError)."""
        if not self.contains(paddr, n):
            raise IndexError(f"{n:#x} bytes at {paddr:#x} do not lie in RAM")
        start = paddr - self.base
        return self.bytes[start : start + n]

    def read(self, paddr: int, size: int) -> int:
        """The little-endian integer of `size` bytes at `paddr`, which must lie in RAM."""
        start = paddr - self.base
        return int.from_bytes(self.bytes[start : start + size], "little")

    def write(self, paddr: int, size: int, value: int) -> None:
        """Store the low `size` bytes of `value` at `paddr`, which must lie in RAM."""
        start = paddr - self.base
        self.bytes[start : start + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")

    def zero(self, paddr: int, n: int) -> None:
        """Make the `n` bytes at `paddr` zero, at no cost for whole pages."""
        self.clear_range(paddr - self.base, n)
