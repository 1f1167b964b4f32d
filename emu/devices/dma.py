"""DMA: how a device reaches memory, checked and without a copy.

Nothing here raises, whatever the guest has written into a descriptor: a transfer is refused (None,
False) unless the device may be bus master and the range lies wholly in RAM or wholly in one memory
of a device (peer to peer). Registers are never reached: a descriptor that points to them is a bad
address.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.bus import Bus
from emu.sparse import SparseBytes


class DmaPort:
    """A device's way to memory; open while `allowed()` says so."""

    def __init__(self, bus: Bus, allowed: Callable[[], bool] = lambda: True) -> None:
        self._bus, self._allowed = bus, allowed

    def view(self, address: int, n: int) -> memoryview | None:
        """The `n` bytes at `address` themselves: what is written to the view is in memory."""
        if not self._allowed():
            return None
        found = self._bus.storage(address, n)
        return None if found is None else found[0].bytes[found[1] : found[1] + n]

    def read(self, address: int, n: int) -> bytes | None:
        """A copy of the `n` bytes at `address`."""
        view = self.view(address, n)
        return None if view is None else bytes(view)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> bool:
        """Copy `data` to `address`; False, and nothing is written, when not all of it may be."""
        view = self.view(address, len(data))
        if view is None:
            return False
        view[:] = data
        return True

    def clear(self, address: int, n: int) -> bool:
        """Make the `n` bytes at `address` zero, giving the host its pages back; False, and nothing
        is written, when not all of it may be."""
        found = self._bus.storage(address, n) if self._allowed() else None
        if found is not None:
            found[0].clear_range(found[1], n)
        return found is not None

    def read_int(self, address: int, size: int) -> int | None:
        """The unsigned little-endian integer of `size` bytes at `address`."""
        view = self.view(address, size)
        return None if view is None else int.from_bytes(view, "little")

    def write_int(self, address: int, size: int, value: int) -> bool:
        """Store the low `size` bytes of `value` at `address`."""
        return self.write(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def host_address(self, address: int, n: int) -> int | None:
        """Where the `n` bytes at `address` lie in the host's memory, for emitted code; valid until
        the guest next runs."""
        found = self._bus.storage(address, n) if self._allowed() else None
        return None if found is None else found[0].host_address + found[1]

    def regions(self) -> list[tuple[int, int, int]]:
        """All that can be reached now, by address: (bus address, bytes, host address)."""
        if not self._allowed():
            return []
        ram = self._bus.memory
        found = [(ram.base, ram.size, ram.host_address)]
        for region in self._bus.device_memories:
            assert isinstance(region.target, SparseBytes)
            found.append((region.base, region.size, region.target.host_address))
        return sorted(found)
