"""The GPU: so far a PCIe function that says what it is; its engines are no part of it yet."""

from __future__ import annotations

from emu.devices.device import register
from emu.devices.pcie import PciFunction
from emu.devices.registers import RO, Register, bits
from emu.devices.system import System


class Magic(Register, offset=0x00, size=4):
    """How a driver recognises the register layout."""

    magic = bits[31:0](RO, reset=int.from_bytes(b"AGPU", "little"), doc='"AGPU", little-endian')


class Version(Register, offset=0x04, size=4):
    """Version of the register layout."""

    minor = bits[15:0](RO, doc="compatible additions")
    major = bits[31:16](RO, reset=1, doc="incompatible changes")


class VramSize(Register, offset=0x08, size=8):
    """Size of the device memory."""

    bytes_ = bits[63:0](RO, doc="bytes")


class ComputeUnits(Register, offset=0x10, size=4):
    """How many multiprocessors there are."""

    count_ = bits[31:0](RO, doc="number of compute units")


class ClockMhz(Register, offset=0x14, size=4):
    """Clock of the compute units."""

    mhz = bits[31:0](RO, doc="megahertz")


class Gpu(PciFunction, prefix="GPU"):
    """The GPU's identity. The figures come from the board."""

    IDENTITY = (0x1DE5, 0x0001, 0x030200, 0)

    magic = register(Magic)
    version = register(Version)
    vram_size = register(VramSize)
    compute_units = register(ComputeUnits)
    clock_mhz = register(ClockMhz)

    def __init__(
        self, name: str, system: System, *, vram_bytes: int, compute_units: int, clock_mhz: int
    ) -> None:
        super().__init__(name, system)
        self._figures = vram_bytes, compute_units, clock_mhz
        self._identify()

    def _identify(self) -> None:
        self.vram_size.value, self.compute_units.value, self.clock_mhz.value = self._figures

    def reset(self) -> None:
        """Nothing but the configuration changes."""
        super().reset()
        self._identify()
