"""Memory of a device behind a BAR: a GPU's VRAM, an NVMe drive's controller memory buffer.

The hart's loads and stores reach it directly, as RAM, and so does DMA of other devices: what lies
in it is no register and has no side effects. Sparse, so 80 GiB cost nothing until they are used.
"""

from __future__ import annotations

import mmap

from emu.sparse import SparseBytes


class DeviceMemory(SparseBytes):
    """`size` bytes, a multiple of 4 KiB (ValueError). `PciFunction.add_bar` puts it on the bus."""

    def __init__(self, name: str, size: int) -> None:
        if size <= 0 or size % mmap.PAGESIZE:
            raise ValueError(f"{name} cannot have {size:#x} bytes: give whole pages of 4 KiB.")
        super().__init__(size, f"device memory ({name})")
        self.name = name
        self.base: int | None = None
        """Its bus address now; None while its BAR does not answer. Kept by the host bridge."""

    def view(self, offset: int, n: int) -> memoryview:
        """The `n` bytes at `offset` themselves; they must lie inside (IndexError)."""
        if not 0 <= offset <= offset + n <= self.size:
            raise IndexError(f"{n:#x} bytes at {offset:#x} do not lie in {self.name}")
        return self.bytes[offset : offset + n]

    def read(self, offset: int, size: int) -> int:
        """The little-endian integer of `size` bytes at `offset`."""
        return int.from_bytes(self.bytes[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Store `size` bytes at `offset`."""
        self.bytes[offset : offset + size] = value.to_bytes(size, "little")

    def describe(self, write: bool, offset: int, size: int, value: int) -> str:
        """Memory has no names for its bytes."""
        return "memory"
