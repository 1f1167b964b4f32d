"""PCI configuration space of a function (PCI Local Bus specification 3.0, chapter 6; type 0
header).

The first 64 bytes are registers like any other; what follows is the capability list, each entry of
which is a block of registers of its own (`emu.devices.pci_capabilities`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.devices.device import Device, on_write, register, register_array
from emu.devices.pci_capabilities import Capability
from emu.devices.registers import RO, RW, W1C, Register, bits

CAPABILITIES_AT = 0x40
CAPABILITIES_END = 0x100  # PCI Express has extended capabilities from here on: none
SMALLEST_BAR = 0x1000  # the bus dispatches by page
_MEMORY_64, _PREFETCHABLE = 0b0100, 0b1000  # BAR type in its low bits


class VendorId(Register, offset=0x00, size=2):
    """Who made the function."""

    vendor = bits[15:0](RO, doc="vendor")


class DeviceId(Register, offset=0x02, size=2):
    """Which of the vendor's products it is."""

    device = bits[15:0](RO, doc="device")


class Command(Register, offset=0x04, size=2):
    """What the function may do."""

    io = bits[0](RW, doc="decode I/O space; no function here has any")
    memory = bits[1](RW, doc="decode memory space: the BARs answer")
    master = bits[2](RW, doc="may read and write memory by itself")
    parity = bits[6](RW, doc="parity error response; no effect")
    serr = bits[8](RW, doc="report system errors; no effect")
    intx_disable = bits[10](RW, doc="may not raise its INTx interrupt")
    reserved = bits[5:3], bits[7], bits[9], bits[15:11]


class Status(Register, offset=0x06, size=2):
    """What the function can do and has met."""

    interrupt = bits[3](RO, doc="its INTx interrupt is raised (also while disabled)")
    capabilities = bits[4](RO, doc="there is a capability list")
    errors = bits[15:11](W1C, doc="aborts and parity errors; never")
    reserved = bits[2:0], bits[10:5]


class RevisionId(Register, offset=0x08, size=1):
    """Revision."""

    revision = bits[7:0](RO, doc="revision")


class ClassCode(Register, offset=0x09, size=1):
    """Programming interface: the lowest part of the class code."""

    interface = bits[7:0](RO, doc="programming interface")


class Subclass(Register, offset=0x0A, size=1):
    """Subclass."""

    subclass = bits[7:0](RO, doc="subclass")


class BaseClass(Register, offset=0x0B, size=1):
    """Base class."""

    base = bits[7:0](RO, doc="base class")


class CacheLine(Register, offset=0x0C, size=1):
    """Cache line size; holds what is written."""

    size_ = bits[7:0](RW, doc="in 32-bit words")


class HeaderType(Register, offset=0x0E, size=1):
    """Layout of the header."""

    layout = bits[6:0](RO, doc="0: an endpoint")
    multifunction = bits[7](RO, doc="the device has several functions; never")


class Bar(Register, offset=0x10, size=4, count=6):
    """Base addresses. A 64-bit BAR takes two. Writing ones and reading back tells the size."""

    base = bits[31:0](RW, doc="address and, in the low bits, type")


class SubsystemVendorId(Register, offset=0x2C, size=2):
    """As the vendor."""

    vendor = bits[15:0](RO, doc="vendor")


class SubsystemId(Register, offset=0x2E, size=2):
    """As the device."""

    device = bits[15:0](RO, doc="device")


class CapabilityPointer(Register, offset=0x34, size=1):
    """Where the capability list starts."""

    first = bits[7:0](RO, doc="offset, or 0")


class InterruptLine(Register, offset=0x3C, size=1):
    """For software to note the interrupt it was given."""

    line = bits[7:0](RW, doc="no effect")


class InterruptPin(Register, offset=0x3D, size=1):
    """Which INTx pin the function uses."""

    pin = bits[7:0](RO, doc="1 is INTA, 0 none")


class ConfigSpace(Device, prefix="PCI"):
    """The configuration space of a function.

    `identity` is (vendor, device, class code of 24 bits, revision); BARs and capabilities are added
    before the machine runs; `changed` is called when decoding or interrupt masking may have
    changed.
    """

    vendor_id = register(VendorId)
    device_id = register(DeviceId)
    command = register(Command)
    status = register(Status)
    revision_id = register(RevisionId)
    class_code = register(ClassCode)
    subclass = register(Subclass)
    base_class = register(BaseClass)
    cache_line = register(CacheLine)
    header_type = register(HeaderType)
    bar = register_array(Bar)
    subsystem_vendor_id = register(SubsystemVendorId)
    subsystem_id = register(SubsystemId)
    capability_pointer = register(CapabilityPointer)
    interrupt_line = register(InterruptLine)
    interrupt_pin = register(InterruptPin)

    def __init__(
        self,
        name: str,
        identity: tuple[int, int, int, int],
        changed: Callable[[], None],
        *,
        interrupt_pin: int = 1,
    ) -> None:
        super().__init__(name)
        self._identity, self._changed, self._pin = identity, changed, interrupt_pin
        self._bars: dict[int, tuple[int, int]] = {}  # number: size, type
        self.capabilities: dict[int, Capability] = {}
        """By offset, in the order of the list."""
        self._identify()

    def add_bar(self, number: int, size: int, *, prefetchable: bool = False) -> None:
        """Have a 64-bit memory BAR of `size` bytes, a power of two of at least 4 KiB, at BAR
        `number` and the next; ValueError when that cannot be."""
        if number not in range(5) or {number - 1, number, number + 1} & self._bars.keys():
            raise ValueError(
                f"{self.name} cannot have a BAR {number}: 64-bit BARs are 0 to 4 and take two each."
            )
        if size < SMALLEST_BAR or size & (size - 1):
            raise ValueError(
                f"BAR {number} of {self.name} cannot have {size:#x} bytes: give a power of two of "
                f"at least {SMALLEST_BAR:#x}."
            )
        self._bars[number] = size, _MEMORY_64 | (_PREFETCHABLE if prefetchable else 0)
        self._set_bar(number, 0, 0)

    def add_capability(self, capability: Capability) -> None:
        """Put `capability` at the end of the list; ValueError when there is no room."""
        at = CAPABILITIES_AT
        for at, last in self.capabilities.items():
            at += -(-last.SIZE // 4) * 4
        if at + capability.SIZE > CAPABILITIES_END:
            raise ValueError(f"{self.name} has no room for the capability {capability.name}.")
        if self.capabilities:
            next(reversed(self.capabilities.values())).following = at
        self.capabilities[at] = capability
        self._identify()

    def _identify(self) -> None:
        """Give the read-only registers what they say about this function."""
        vendor, device, class_code, revision = self._identity
        self.vendor_id.vendor = self.subsystem_vendor_id.vendor = vendor
        self.device_id.device = self.subsystem_id.device = device
        self.revision_id.revision = revision
        self.class_code.interface = class_code & 0xFF
        self.subclass.subclass = class_code >> 8 & 0xFF
        self.base_class.base = class_code >> 16
        self.interrupt_pin.pin = self._pin
        for capability in self.capabilities.values():
            self.status.capabilities, self.capability_pointer.first = 1, CAPABILITIES_AT
            capability.reset()
        for number in range(6):
            self._place_bar(number, 0)

    @on_write(bar)
    def _set_bar(self, index: int, value: int, old: int) -> None:
        self._place_bar(index, value)
        self._changed()

    def _place_bar(self, index: int, value: int) -> None:
        if index in self._bars:
            size, kind = self._bars[index]
            self.bar[index].value = value & -size & 0xFFFF_FFFF | kind
        elif index - 1 in self._bars:
            size, _ = self._bars[index - 1]
            self.bar[index].value = value & -size >> 32 & 0xFFFF_FFFF
        else:
            self.bar[index].value = 0

    @on_write(command)
    def _set_command(self, value: int, old: int) -> None:
        self._changed()

    def base(self, number: int) -> int | None:
        """The address at which the BAR `number` answers now; None while it does not."""
        if not self.command.memory:
            return None
        return self.bar[number + 1].value << 32 | self.bar[number].value & ~0xF

    def _capability(self, offset: int) -> tuple[Capability, int] | None:
        """The capability with the byte at `offset`, and its place in that."""
        for at, capability in self.capabilities.items():
            if at <= offset < at + capability.SIZE:
                return capability, offset - at
        return None

    def read(self, offset: int, size: int) -> int:
        """Registers below 0x40, the capabilities above, zeros behind them."""
        if offset < CAPABILITIES_AT:
            return super().read(offset, size)
        value = 0
        for done in range(0, size, 4):  # entries of the list lie at multiples of 4 bytes
            found = self._capability(offset + done)
            if found is not None:
                value |= found[0].read(found[1], min(size, 4)) << 8 * done
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """Write registers or capabilities."""
        if offset < CAPABILITIES_AT:
            super().write(offset, size, value)
            return
        for done in range(0, size, 4):
            found = self._capability(offset + done)
            if found is not None:
                part = value >> 8 * done & (1 << 8 * min(size, 4)) - 1
                found[0].write(found[1], min(size, 4), part)

    def describe(self, write: bool, offset: int, size: int, value: int) -> str:
        """The access in words, in those of the capability that it reaches."""
        found = self._capability(offset)
        if offset < CAPABILITIES_AT or found is None:
            return super().describe(write, offset, size, value)
        return f"{found[0].name} {found[0].describe(write, found[1], size, value)}"

    def reset(self) -> None:
        """As after power-on: nothing decoded, no BAR placed."""
        super().reset()
        self._identify()

    def snapshot(self) -> dict[str, Any]:
        """The header and the capabilities."""
        entries = [capability.snapshot() for capability in self.capabilities.values()]
        return {**super().snapshot(), "capabilities": entries}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave."""
        super().restore(saved)
        for capability, entry in zip(
            self.capabilities.values(), saved["capabilities"], strict=True
        ):
            capability.restore(entry)

    def dump(self) -> str:
        """The header and the capabilities."""
        return "\n".join([super().dump(), *(c.dump() for c in self.capabilities.values())])
