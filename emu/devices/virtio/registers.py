"""The registers of a virtio device over MMIO (specification 1.2, 4.2.2 and 4.2.4).

Both layouts share most of them; the rest is in bank `LEGACY` or `MODERN`, one of which a device
shows. A 64-bit address is written as two 32-bit halves.
"""

from __future__ import annotations

from emu.devices.registers import RO, RW, WO, Register, bits

LEGACY, MODERN = 1, 2
"""Banks; also the values of the version register."""
QUEUE_MAX = 1024


class MagicValue(Register, offset=0x000):
    """How a driver recognises the layout."""

    magic = bits[31:0](RO, reset=int.from_bytes(b"virt", "little"), doc='"virt", little-endian')


class Version(Register, offset=0x004):
    """Which layout this is."""

    version = bits[31:0](RO, doc="1: legacy, 2: modern")


class DeviceId(Register, offset=0x008):
    """What kind of device it is."""

    device = bits[31:0](RO, doc="0: none, 2: a disk")


class VendorId(Register, offset=0x00C):
    """Who made the device: as QEMU says it."""

    vendor = bits[31:0](RO, reset=int.from_bytes(b"QEMU", "little"), doc='"QEMU", little-endian')


class DeviceFeatures(Register, offset=0x010):
    """Features that the device offers: the word that DEVICE_FEATURES_SEL selects."""

    features = bits[31:0](RO, doc="bit i of word w is feature 32 * w + i")


class DeviceFeaturesSel(Register, offset=0x014):
    """Which word DEVICE_FEATURES shows."""

    word = bits[31:0](WO, doc="0 or 1; others read as 0")


class DriverFeatures(Register, offset=0x020):
    """Features that the driver accepts: the word that DRIVER_FEATURES_SEL selects."""

    features = bits[31:0](WO, doc="bit i of word w is feature 32 * w + i")


class DriverFeaturesSel(Register, offset=0x024):
    """Which word DRIVER_FEATURES sets."""

    word = bits[31:0](WO, doc="0 or 1; others are ignored")


class GuestPageSize(Register, offset=0x028, bank=LEGACY):
    """Unit of QUEUE_PFN."""

    bytes_ = bits[31:0](WO, doc="bytes, a power of two")


class QueueSel(Register, offset=0x030):
    """Which queue the registers up to 0xA4 are about."""

    queue = bits[31:0](WO, doc="number; a queue that there is not has QUEUE_NUM_MAX 0")


class QueueNumMax(Register, offset=0x034):
    """Largest size of the queue."""

    entries = bits[31:0](RO, doc="entries; 0: there is no such queue")


class QueueNum(Register, offset=0x038):
    """Size of the queue."""

    entries = bits[31:0](WO, doc="entries, a power of two; what is not is ignored")


class QueueAlign(Register, offset=0x03C, bank=LEGACY):
    """Alignment of the used ring."""

    bytes_ = bits[31:0](WO, doc="bytes, a power of two")


class QueuePfn(Register, offset=0x040, bank=LEGACY):
    """Where the queue lies, in guest pages. Setting it makes the queue ready; 0 resets the
    device."""

    page = bits[31:0](RW, doc="page number")


class QueueReady(Register, offset=0x044, bank=MODERN):
    """Whether the device may use the queue."""

    ready = bits[0](RW, doc="ready; stays 0 for a queue that has no size")
    reserved = bits[31:1]


class QueueNotify(Register, offset=0x050):
    """There are new buffers."""

    queue = bits[31:0](WO, doc="number of the queue")


class InterruptStatus(Register, offset=0x060):
    """Why the interrupt is raised."""

    used = bits[0](RO, doc="buffers have been used")
    config = bits[1](RO, doc="the configuration has changed, or the device needs a reset")
    reserved = bits[31:2]


class InterruptAck(Register, offset=0x064):
    """The driver has seen to it."""

    used = bits[0](WO, doc="1 clears the bit of INTERRUPT_STATUS")
    config = bits[1](WO, doc="1 clears the bit of INTERRUPT_STATUS")
    reserved = bits[31:2]


class Status(Register, offset=0x070):
    """How far driver and device have come; writing 0 resets the device."""

    acknowledge = bits[0](RW, doc="the driver has noticed the device")
    driver = bits[1](RW, doc="it knows how to drive it")
    driver_ok = bits[2](RW, doc="it is ready")
    features_ok = bits[3](RW, doc="negotiation is over; reads 0 if the device does not agree")
    needs_reset = bits[6](RO, doc="the device has met an error from which it cannot go on")
    failed = bits[7](RW, doc="the driver has given up")
    reserved = bits[5:4], bits[31:8]


class QueueDesc(Register, offset=0x080, size=8, bank=MODERN):
    """Address of the descriptor table of the queue."""

    address = bits[63:0](WO, doc="address")


class QueueDriver(Register, offset=0x090, size=8, bank=MODERN):
    """Address of the available ring of the queue."""

    address = bits[63:0](WO, doc="address")


class QueueDevice(Register, offset=0x0A0, size=8, bank=MODERN):
    """Address of the used ring of the queue."""

    address = bits[63:0](WO, doc="address")


class ShmLength(Register, offset=0x0B0, size=8, bank=MODERN):
    """Length of the selected shared memory region."""

    bytes_ = bits[63:0](RO, reset=(1 << 64) - 1, doc="all ones: there is none")


class ConfigGeneration(Register, offset=0x0FC, bank=MODERN):
    """Changes when the configuration does: never."""

    generation = bits[31:0](RO, doc="0")
