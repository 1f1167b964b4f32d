"""The TPU: so far a PCIe function that says what it is; its engines are no part of it yet."""

from __future__ import annotations

from emu.devices.device import register
from emu.devices.pcie import PciFunction
from emu.devices.registers import RO, Register, bits
from emu.devices.system import System


class Magic(Register, offset=0x00, size=4):
    """How a driver recognises the register layout."""

    magic = bits[31:0](RO, reset=int.from_bytes(b"ATPU", "little"), doc='"ATPU", little-endian')


class Version(Register, offset=0x04, size=4):
    """Version of the register layout."""

    minor = bits[15:0](RO, doc="compatible additions")
    major = bits[31:16](RO, reset=1, doc="incompatible changes")


class ArraySize(Register, offset=0x08, size=4):
    """Shape of the systolic array."""

    columns = bits[15:0](RO, doc="columns of multiply-accumulate cells")
    rows = bits[31:16](RO, doc="rows of multiply-accumulate cells")


class ClockMhz(Register, offset=0x0C, size=4):
    """Clock of the array."""

    mhz = bits[31:0](RO, doc="megahertz")


class BufferSize(Register, offset=0x10, size=8):
    """Size of the unified buffer."""

    bytes_ = bits[63:0](RO, doc="bytes")


class WeightSize(Register, offset=0x18, size=8):
    """Size of the weight memory."""

    bytes_ = bits[63:0](RO, doc="bytes")


class Tpu(PciFunction, prefix="TPU"):
    """The TPU's identity. The figures come from the board."""

    IDENTITY = (0x1DE5, 0x0002, 0x120000, 0)

    magic = register(Magic)
    version = register(Version)
    array_size = register(ArraySize)
    clock_mhz = register(ClockMhz)
    buffer_size = register(BufferSize)
    weight_size = register(WeightSize)

    def __init__(
        self,
        name: str,
        system: System,
        *,
        rows: int,
        columns: int,
        clock_mhz: int,
        buffer_bytes: int,
        weight_bytes: int,
    ) -> None:
        super().__init__(name, system)
        self._figures = rows << 16 | columns, clock_mhz, buffer_bytes, weight_bytes
        self._identify()

    def _identify(self) -> None:
        registers = self.array_size, self.clock_mhz, self.buffer_size, self.weight_size
        for reg, value in zip(registers, self._figures, strict=True):
            reg.value = value

    def reset(self) -> None:
        """Nothing but the configuration changes."""
        super().reset()
        self._identify()
