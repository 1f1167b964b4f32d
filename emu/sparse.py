"""Host memory that is reserved but not committed: what RAM and the memories of devices are made of.

Hundreds of GiB may be declared; only pages that somebody touches cost host memory. Everybody works
on the same bytes: the hart and emitted code through host addresses, devices through views.
"""

from __future__ import annotations

import ctypes
import mmap

from emu.errors import AiosError

_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # the constant is younger than Python 3.11


class SparseBytes:
    """`size` bytes, zero at first. `what` names them when the host has no room (AiosError)."""

    def __init__(self, size: int, what: str) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        try:
            self._mapping = mmap.mmap(-1, size, flags=flags)
        except (OSError, OverflowError) as error:
            raise AiosError(
                f"The host cannot reserve address space for {size >> 20} MiB of {what} "
                f"({error}); choose a board with less."
            ) from error
        if hasattr(mmap, "MADV_HUGEPAGE"):  # a walk through a large tensor should not miss the TLB
            self._mapping.madvise(mmap.MADV_HUGEPAGE)
        self.size = size
        self.bytes = memoryview(self._mapping)
        self.host_address: int = ctypes.addressof(ctypes.c_char.from_buffer(self._mapping))

    def clear_range(self, offset: int, n: int) -> None:
        """Make the `n` bytes at `offset` zero; whole pages go back to the host, so a gigabyte of
        zeros costs nothing."""
        page, end = mmap.PAGESIZE, offset + n
        first, last = -(-offset // page) * page, end // page * page
        if first >= last:
            self.bytes[offset:end] = bytes(n)
            return
        self.bytes[offset:first] = bytes(first - offset)
        self.bytes[last:end] = bytes(end - last)
        self._mapping.madvise(mmap.MADV_DONTNEED, first, last - first)

    def clear(self) -> None:
        """Return to zero, giving the host its pages back."""
        self._mapping.madvise(mmap.MADV_DONTNEED)
