"""MSI-X: interrupts as messages, written to memory by the function (PCI Express base specification
4.0, 6.1.4 and 7.7.2).

Three pieces, each of them registers: the capability in configuration space (`Msix`), the table with
a message for each vector, and the pending bits, both in BAR 4 (`MsixTable`). A message that may not
be sent yet, since its vector or the function is masked, is pending and sent when unmasked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.devices.device import Device, on_write, register, register_array
from emu.devices.pci_capabilities import Capability
from emu.devices.registers import RO, RW, Register, bits

MAX_VECTORS = 256
TABLE_BAR = 4
_PENDING_AT = 0x1000  # a page of its own behind the table
BAR_SIZE = 0x2000


class MessageControl(Register, offset=0x02, size=2):
    """Switches of the whole function."""

    size_ = bits[10:0](RO, doc="vectors, less one")
    masked = bits[14](RW, doc="function mask: all vectors are masked")
    enable = bits[15](RW, doc="use MSI-X, and INTx no more")
    reserved = bits[13:11]


class TableOffset(Register, offset=0x04, size=4):
    """Where the table lies."""

    bar = bits[2:0](RO, reset=TABLE_BAR, doc="BAR")
    offset_ = bits[31:3](RO, doc="offset in it, in units of 8 bytes")


class PendingOffset(Register, offset=0x08, size=4):
    """Where the pending bits lie."""

    bar = bits[2:0](RO, reset=TABLE_BAR, doc="BAR")
    offset_ = bits[31:3](RO, reset=_PENDING_AT >> 3, doc="offset in it, in units of 8 bytes")


class MessageAddress(Register, offset=0x00, size=8, count=MAX_VECTORS, stride=16):
    """Where the message of a vector goes."""

    address = bits[63:2](RW, doc="the address, bits 63:2")
    reserved = bits[1:0]


class MessageData(Register, offset=0x08, size=4, count=MAX_VECTORS, stride=16):
    """The message of a vector."""

    data = bits[31:0](RW, doc="what is written to the address")


class VectorControl(Register, offset=0x0C, size=4, count=MAX_VECTORS, stride=16):
    """The mask of a vector."""

    masked = bits[0](RW, reset=1, doc="messages of this vector wait")
    reserved = bits[31:1]


class PendingBits(Register, offset=_PENDING_AT, size=8, count=MAX_VECTORS // 64):
    """Vectors whose messages wait."""

    vectors = bits[63:0](RO, doc="bit i of word w is vector 64 * w + i")


class MsixTable(Device, prefix="MSIX"):
    """Table and pending bits of a function with `vectors` vectors. Which functions have them, and
    how many, is said by their capability."""

    address = register_array(MessageAddress)
    data = register_array(MessageData)
    control = register_array(VectorControl)
    pending_bits = register_array(PendingBits)

    def __init__(self, name: str, vectors: int, send: Callable[[int, int], None]) -> None:
        words = -(-vectors // 64)
        per_vector = dict.fromkeys(("address", "data", "control"), vectors)
        super().__init__(name, counts={**per_vector, "pending_bits": words})
        self.vectors, self._send = vectors, send
        self.open = False
        """Whether messages may be sent as far as the whole function is concerned."""

    def signal(self, vector: int) -> None:
        """Send the message of `vector`, or note it as pending."""
        if self.open and not self.control[vector].masked:
            self._send(self.address[vector].value, self.data[vector].value)
        else:
            self.pending_bits[vector // 64].value |= 1 << vector % 64

    def send_pending(self) -> None:
        """Send what waits and may be sent now, in the order of the vectors."""
        if self.open:
            for word in self.pending_bits:
                waiting = word.value
                while waiting:
                    vector = 64 * word.index + (waiting & -waiting).bit_length() - 1
                    waiting &= waiting - 1
                    self._send_pending_of(vector)

    def _send_pending_of(self, vector: int) -> None:
        word = self.pending_bits[vector // 64]
        if self.open and word.value >> vector % 64 & 1 and not self.control[vector].masked:
            word.value &= ~(1 << vector % 64)
            self._send(self.address[vector].value, self.data[vector].value)

    @on_write(control)
    def _set_mask(self, index: int, value: int, old: int) -> None:
        self._send_pending_of(index)

    def reset(self) -> None:
        """Every vector masked, nothing pending."""
        super().reset()
        self.open = False


class Msix(Capability, prefix="MSIX_CAP"):
    """The MSI-X capability. `changed` is called when a switch may have changed."""

    NUMBER, SIZE = 0x11, 12

    control = register(MessageControl)
    table_offset = register(TableOffset)
    pending_offset = register(PendingOffset)

    def __init__(self, name: str, vectors: int, send: Callable[[int, int], None]) -> None:
        if not 1 <= vectors <= MAX_VECTORS:
            raise ValueError(f"{name} cannot have {vectors} MSI-X vectors: 1 to {MAX_VECTORS}.")
        super().__init__("msix")
        self.table = MsixTable(f"{name}.msix", vectors, send)
        self.changed: Callable[[], None] = lambda: None
        self.reset()

    @property
    def enabled(self) -> bool:
        """Whether the guest has chosen MSI-X."""
        return bool(self.control.enable)

    def _open(self) -> None:
        self.table.open = bool(self.control.enable and not self.control.masked)

    @on_write(control)
    def _switch(self, value: int, old: int) -> None:
        self._open()
        self.table.send_pending()
        self.changed()

    def reset(self) -> None:
        """Switched off."""
        super().reset()
        self.control.size_ = self.table.vectors - 1
        self.table.reset()

    def snapshot(self) -> dict[str, Any]:
        """The capability and the table."""
        return {**super().snapshot(), "table": self.table.snapshot()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave."""
        super().restore(saved)
        self.table.restore(saved["table"])
        self._open()
