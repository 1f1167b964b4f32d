"""PCI configuration space of a function (PCI Local Bus specification 3.0, chapter 6; type 0
header).

The first 64 bytes are registers like any other; what follows is the capability list, read only.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.devices.device import Device, on_write, register, register_array
from emu.devices.registers import RO, RW, W1C, Register, bits

CAPABILITIES_AT = 0x40
_MEMORY_64 = 0b100  # BAR type: 64-bit memory, not prefetchable
_CAPABILITY_EXPRESS = 0x10
_EXPRESS_BYTES = 0x3C


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
    """The configuration space of one function.

    `identity` is (vendor, device, class code of 24 bits, revision); `bar_sizes` gives the size of
    the 64-bit memory BAR that starts at each BAR number, a power of two of at least 4 KiB;
    `capabilities` are (id, bytes behind the header) each; `changed` is called when decoding or
    interrupt masking may have changed.
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
        bar_sizes: dict[int, int],
        changed: Callable[[], None],
        *,
        interrupt_pin: int = 1,
        capabilities: tuple[tuple[int, bytes], ...] = (),
    ) -> None:
        super().__init__(name)
        self._identity, self._bar_sizes, self._changed = identity, bar_sizes, changed
        self._pin = interrupt_pin
        self._capabilities = _chain(capabilities)
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
        if self._capabilities:
            self.status.capabilities, self.capability_pointer.first = 1, CAPABILITIES_AT
        for number in range(6):
            self._set_bar(number, 0, 0)

    @on_write(bar)
    def _set_bar(self, index: int, value: int, old: int) -> None:
        size = self._bar_sizes.get(index)
        upper_half_of = self._bar_sizes.get(index - 1)
        if size is not None:
            self.bar[index].value = value & -size & 0xFFFF_FFFF | _MEMORY_64
        elif upper_half_of is not None:
            self.bar[index].value = value & -upper_half_of >> 32 & 0xFFFF_FFFF
        else:
            self.bar[index].value = 0
        self._changed()

    @on_write(command)
    def _set_command(self, value: int, old: int) -> None:
        self._changed()

    def base(self, number: int) -> int | None:
        """The address at which the BAR `number` answers now; None while it does not."""
        if not self.command.memory:
            return None
        return self.bar[number + 1].value << 32 | self.bar[number].value & ~0xF

    def read(self, offset: int, size: int) -> int:
        """Registers below 0x40, the capability list above, zeros after it."""
        if offset < CAPABILITIES_AT:
            return super().read(offset, size)
        start = offset - CAPABILITIES_AT
        return int.from_bytes(self._capabilities[start : start + size], "little")

    def reset(self) -> None:
        """As after power-on: nothing decoded, no BAR placed."""
        super().reset()
        self._identify()


def express_endpoint() -> tuple[int, bytes]:
    """The PCI Express capability of an endpoint, version 2, with nothing optional (PCI Express
    base specification 4.0, 7.5.3)."""
    return _CAPABILITY_EXPRESS, (2).to_bytes(2, "little") + bytes(_EXPRESS_BYTES - 4)


def _chain(capabilities: tuple[tuple[int, bytes], ...]) -> bytes:
    """The capability list as it lies in configuration space from offset 0x40."""
    out = bytearray()
    for i, (number, body) in enumerate(capabilities):
        length = (2 + len(body) + 3) // 4 * 4
        following = CAPABILITIES_AT + len(out) + length if i + 1 < len(capabilities) else 0
        out += (bytes([number, following]) + body).ljust(length, b"\0")
    return bytes(out)
