"""Guest RAM: one anonymous host mapping, reserved but not committed.

Hundreds of GiB may be declared; only pages that the guest touches cost host memory. Everybody works
on the same bytes: the hart through host addresses, devices through views, nothing is copied.
"""

from __future__ import annotations

import ctypes
import mmap

from emu.errors import AiosError

_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # the constant is younger than Python 3.11


class Memory:
    """RAM of `size` bytes at physical address `base`; zero at first."""

    def __init__(self, base: int, size: int) -> None:
        if size <= 0 or size % mmap.PAGESIZE or base % mmap.PAGESIZE:
            raise AiosError(
                f"RAM of {size:#x} bytes at {base:#x} is impossible: both must be multiples of "
                f"{mmap.PAGESIZE:#x} and the size not zero."
            )
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        try:
            self._mapping = mmap.mmap(-1, size, flags=flags)
        except (OSError, OverflowError) as error:
            raise AiosError(
                f"The host cannot reserve address space for {size >> 20} MiB of guest RAM "
                f"({error}); choose a board with less."
            ) from error
        if hasattr(mmap, "MADV_HUGEPAGE"):  # a walk through a large tensor should not miss the TLB
            self._mapping.madvise(mmap.MADV_HUGEPAGE)
        self.base, self.size, self.end = base, size, base + size
        self.bytes = memoryview(self._mapping)
        self.host_address: int = ctypes.addressof(ctypes.c_char.from_buffer(self._mapping))

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
        """Make the `n` bytes at `paddr` zero; whole pages go back to the host, so a gigabyte of
        zeros costs nothing."""
        page = mmap.PAGESIZE
        first, last = -(-paddr // page) * page, (paddr + n) // page * page
        if first >= last:
            self.view(paddr, n)[:] = bytes(n)
            return
        self.view(paddr, first - paddr)[:] = bytes(first - paddr)
        self.view(last, paddr + n - last)[:] = bytes(paddr + n - last)
        self._mapping.madvise(mmap.MADV_DONTNEED, first - self.base, last - first)

    def clear(self) -> None:
        """Return to zero, giving the host its pages back."""
        self._mapping.madvise(mmap.MADV_DONTNEED)
