"""Host memory that is reserved but not committed: what RAM and the memories of devices are made of.

Hundreds of GiB may be declared; only pages that somebody touches cost host memory. Everybody works
on the same bytes: the hart and emitted code through host addresses, devices through views.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator

from emu.errors import AiosError

_PAGEMAP = "/proc/self/pagemap"
_ENTRY = 8
_IS_THERE = bytes(byte >> 6 != 0 for byte in range(256))  # bits 63, 62: present, swapped out
_BATCH = 1 << 17  # pages looked up at a time
_CHUNK = 1 << 16  # bytes compared with zeros at a time
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

    def snapshot(self) -> list[tuple[int, bytes]]:
        """The bytes that are not zero, in pieces: (offset, bytes). `restore` takes them back."""
        zeros, pieces = bytes(_CHUNK), []
        for start, end in self._touched():
            for offset in range(start, end, _CHUNK):
                piece = bytes(self.bytes[offset : min(offset + _CHUNK, end)])
                if piece != zeros[: len(piece)]:
                    pieces.append((offset, piece))
        return pieces

    def restore(self, pieces: list[tuple[int, bytes]]) -> None:
        """Hold what `snapshot` gave, and zeros elsewhere."""
        self.clear()
        for offset, piece in pieces:
            self.bytes[offset : offset + len(piece)] = piece

    def _touched(self) -> Iterator[tuple[int, int]]:
        """The ranges (start, end) whose pages the host has given out, swapped out or not; all there
        is where the host does not say which (it says so on Linux)."""
        page = mmap.PAGESIZE
        if not os.access(_PAGEMAP, os.R_OK):
            yield 0, self.size
            return
        pages = -(-self.size // page)
        with open(_PAGEMAP, "rb", buffering=0) as pagemap:
            for first in range(0, pages, _BATCH):
                pagemap.seek((self.host_address // page + first) * _ENTRY)
                entries = pagemap.read(min(_BATCH, pages - first) * _ENTRY)
                # Little-endian: the flags are in the last of an entry's bytes.
                for start, end in _runs(entries[_ENTRY - 1 :: _ENTRY].translate(_IS_THERE)):
                    yield (first + start) * page, (first + end) * page


def _runs(flags: bytes) -> Iterator[tuple[int, int]]:
    """Where there are ones: (start, end)."""
    start = flags.find(1)
    while start >= 0:
        end = flags.find(0, start)
        yield start, len(flags) if end < 0 else end
        start = flags.find(1, end) if end >= 0 else -1
