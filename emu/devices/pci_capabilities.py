"""Entries of a function's capability list in configuration space, as registers like any other.

A subclass of `Capability` declares its registers at their offsets within the entry, whose first two
bytes are the same in all: what it is, and where the next one starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from emu.devices.device import Device, on_write, register
from emu.devices.registers import RO, RW, W1C, WO, Register, bits


class CapabilityHeader(Register, offset=0x00, size=2):
    """What every capability begins with."""

    id_ = bits[7:0](RO, doc="which capability it is")
    next_ = bits[15:8](RO, doc="offset of the next one, or 0")


class Capability(Device):
    """One entry of the list. `NUMBER` is its identifier, `SIZE` its length in bytes."""

    NUMBER: ClassVar[int]
    SIZE: ClassVar[int]

    header = register(CapabilityHeader)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.following = 0
        """Offset of the next entry, kept by the configuration space."""

    def reset(self) -> None:
        """As after power-on."""
        super().reset()
        self.header.id_, self.header.next_ = self.NUMBER, self.following


class ExpressCapabilities(Register, offset=0x02, size=2):
    """What the function is."""

    version = bits[3:0](RO, reset=2, doc="version of the capability")
    kind = bits[7:4](RO, doc="0: an endpoint")
    slot = bits[8](RO, doc="has a slot: no")
    message = bits[13:9](RO, doc="message number: 0")
    reserved = bits[15:14]


class DeviceCapabilities(Register, offset=0x04, size=4):
    """What the device can do."""

    payload = bits[2:0](RO, reset=1, doc="largest payload: 128 bytes << payload")
    error_reporting = bits[15](RO, reset=1, doc="role-based error reporting")
    function_reset = bits[28](RO, reset=1, doc="function level reset")
    reserved = bits[14:3], bits[27:16], bits[31:29]


class DeviceControl(Register, offset=0x08, size=2):
    """What the device is told; only the reset has an effect."""

    errors = bits[3:0](RW, doc="which errors to report")
    relaxed = bits[4](RW, reset=1, doc="relaxed ordering")
    payload = bits[7:5](RW, doc="payload: 128 bytes << payload")
    features = bits[11:8](RW, reset=8, doc="extended tags, phantom functions, aux power, no snoop")
    request = bits[14:12](RW, reset=2, doc="largest read request: 128 bytes << request")
    function_reset = bits[15](WO, doc="writing 1 resets the function, configuration included")


class DeviceStatus(Register, offset=0x0A, size=2):
    """What the device has met: nothing, ever."""

    errors = bits[3:0](W1C, doc="errors detected")
    pending = bits[5](RO, doc="transactions pending")
    reserved = bits[4], bits[15:6]


class LinkCapabilities(Register, offset=0x0C, size=4):
    """The link that it claims to have; timing models follow the boards' figures, not this."""

    speed = bits[3:0](RO, reset=4, doc="4: 16 GT/s")
    width = bits[9:4](RO, reset=16, doc="lanes")
    reserved = bits[31:10]


class LinkControl(Register, offset=0x10, size=2):
    """No effect."""

    control = bits[15:0](RW, doc="holds what is written")


class LinkStatus(Register, offset=0x12, size=2):
    """The link as it was negotiated."""

    speed = bits[3:0](RO, reset=4, doc="4: 16 GT/s")
    width = bits[9:4](RO, reset=16, doc="lanes")
    reserved = bits[15:10]


class Express(Capability, prefix="PCIE"):
    """PCI Express capability of an endpoint, version 2 (PCI Express base specification 4.0, 7.5.3).
    `function_reset` is called for a function level reset."""

    NUMBER, SIZE = 0x10, 0x3C

    capabilities = register(ExpressCapabilities)
    device_capabilities = register(DeviceCapabilities)
    device_control = register(DeviceControl)
    device_status = register(DeviceStatus)
    link_capabilities = register(LinkCapabilities)
    link_control = register(LinkControl)
    link_status = register(LinkStatus)

    def __init__(self, function_reset: Callable[[], None]) -> None:
        super().__init__("express")
        self._function_reset = function_reset

    @on_write(device_control)
    def _control(self, value: int, old: int) -> None:
        if self.device_control.function_reset:
            self._function_reset()
