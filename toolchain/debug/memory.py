"""The guest's memory as a debugger reads it: in a hart's current address space, without effects.

The walk of the page tables sets no accessed bit and asks for no rights, and only memory is touched:
reading a device's register could change the device.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.bus import BusFault
from emu.cpu.hart import Hart
from emu.cpu.mmu import LEVELS
from emu.cpu.state import PAGE_BITS
from emu.isa.causes import M_MODE
from emu.machine import Machine
from toolchain.debug.errors import DebugError

_ALL = (1 << 64) - 1
_PPN_MASK = (1 << 44) - 1
_VALID, _LEAF = 1, 0b1010  # R and X: without either an entry points to a table


class GuestMemory:
    """Reads and writes at virtual addresses of the hart that `hart` gives; DebugError where there
    is no RAM."""

    def __init__(self, machine: Machine, hart: Callable[[], Hart]) -> None:
        self._machine, self._hart = machine, hart

    def read(self, vaddr: int, size: int) -> bytes:
        """`size` bytes at `vaddr`."""
        return b"".join(bytes(view) for view in self._views(vaddr, size))

    def read_int(self, vaddr: int, size: int = 8) -> int:
        """The unsigned integer of `size` bytes at `vaddr`."""
        return int.from_bytes(self.read(vaddr, size), "little")

    def write(self, vaddr: int, data: bytes) -> None:
        """Store `data` at `vaddr`; code may be among it."""
        for view in list(self._views(vaddr, len(data))):
            view[:] = data[: len(view)]
            data = data[len(view) :]
        for hart in self._machine.harts:
            hart.fence_i()

    def instruction(self, pc: int) -> int:
        """The word of the instruction at `pc`: 16 bits when it is a compressed one."""
        low = self.read_int(pc, 2)
        return low | self.read_int(pc + 2, 2) << 16 if low & 3 == 3 else low

    def _views(self, vaddr: int, size: int) -> list[memoryview]:
        views = []
        while size > 0:
            vaddr &= _ALL
            paddr, end = self._translate(vaddr)
            here = min(size, end - vaddr)
            found = self._machine.bus.storage(paddr, here)
            if found is None:
                raise DebugError(self._refusal(vaddr, paddr))
            views.append(found[0].bytes[found[1] : found[1] + here])
            vaddr, size = vaddr + here, size - here
        return views

    def _refusal(self, vaddr: int, paddr: int) -> str:
        try:
            name = self._machine.bus.find(paddr).target.name
        except BusFault:
            return f"There is no memory at {vaddr:#x}."
        return f"At {vaddr:#x} lies the device {name}, whose registers 'info devices {name}' shows."

    def _translate(self, vaddr: int) -> tuple[int, int]:
        """The physical address of `vaddr`, and where its page ends (virtually)."""
        hart = self._hart()
        satp = hart.state.satp
        levels = LEVELS.get(satp >> 60)
        if hart.state.priv == M_MODE or levels is None:
            return vaddr, 1 << 64
        table = (satp & _PPN_MASK) << PAGE_BITS
        for level in reversed(range(levels)):
            shift = PAGE_BITS + 9 * level
            where = table + 8 * (vaddr >> shift & 511)
            memory = self._machine.memory
            entry = memory.read(where, 8) if memory.contains(where, 8) else 0
            if not entry & _VALID:
                break
            table = (entry >> 10 & _PPN_MASK) << PAGE_BITS
            if entry & _LEAF:
                size = 1 << shift
                return table & -size | vaddr & size - 1, (vaddr & -size) + size
        raise DebugError(f"The address {vaddr:#x} is not mapped.")
