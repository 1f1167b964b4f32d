"""The controller memory buffer (base specification 1.4, 4.7): memory of the drive behind BAR 2, for
queues, PRP lists and data.

The guest, other devices and the drive itself reach it by its bus address. A guest may also give it
addresses of its own choice for use in commands (CMBMSC.CBA), as the specification wants it done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.devices.memory import DeviceMemory
from emu.devices.nvme.registers import Cmbloc, Cmbsz

if TYPE_CHECKING:
    from emu.devices.nvme.controller import Nvme

_BAR = 2
_UNIT = 4096
_PLACES = Cmbloc.cqmms, Cmbloc.cqpds, Cmbloc.cdpmls, Cmbloc.cdpcils, Cmbloc.cdmmms, Cmbloc.cqda
_USES = Cmbsz.sqs, Cmbsz.cqs, Cmbsz.lists, Cmbsz.rds, Cmbsz.wds


class ControllerMemory:
    """The buffer of one controller, of `size` bytes; none if that is 0."""

    def __init__(self, nvme: Nvme, size: int) -> None:
        self._nvme = nvme
        self.start: int | None = None
        """Its first address in commands, if the guest has chosen one."""
        self.memory = DeviceMemory(f"{nvme.name}.cmb", size) if size else None
        if self.memory is not None:
            nvme.add_bar(_BAR, 1 << (size - 1).bit_length(), self.memory)
        self.reset()

    def reset(self) -> None:
        """As after power-on, but for the bytes."""
        self._nvme.cap.cmbs = int(self.memory is not None)
        self.place()

    def clear(self) -> None:
        """The power was gone: so are the bytes."""
        if self.memory is not None:
            self.memory.clear()

    def place(self) -> None:
        """CMBMSC may have changed."""
        control, status = self._nvme.cmbmsc, self._nvme.cmbsts
        start = control.cba << 12
        fits = self.memory is not None and start + self.memory.size <= 1 << 64
        self.start = start if control.cmse and fits else None
        status.cbai = int(control.cmse and not fits)
        self._nvme.open_window()

    def holds(self, address: int, n: int) -> bool:
        """Whether these bytes lie in the buffer by the addresses that the guest has chosen."""
        memory, start = self.memory, self.start
        return (
            memory is not None
            and start is not None
            and start <= address
            and address + n <= start + memory.size
        )

    def view(self, address: int, n: int) -> memoryview:
        """Those bytes."""
        assert self.memory is not None
        assert self.start is not None
        return self.memory.view(address - self.start, n)

    @property
    def location(self) -> int:
        """What CMBLOC reads as: the whole BAR, for any use, mixed with other memory at will."""
        if self.memory is None or not self._nvme.cmbmsc.cre:
            return 0
        return _BAR | sum(field.mask for field in _PLACES)

    @property
    def size_register(self) -> int:
        """What CMBSZ reads as."""
        if self.memory is None or not self._nvme.cmbmsc.cre:
            return 0
        return self.memory.size // _UNIT << Cmbsz.sz.shift | sum(field.mask for field in _USES)
