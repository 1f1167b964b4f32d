"""A PCIe accelerator: the dot product of two vectors of 32-bit integers in memory."""

from dataclasses import dataclass
from operator import mul

from emu.clock import PS_PER_SECOND
from emu.devices.device import on_write, register
from emu.devices.pcie import PciFunction
from emu.devices.registers import RO, RW, WO, Register, bits
from emu.devices.system import System
from emu.tables import Rate


class Left(Register, offset=0x00, size=8):
    """Where the first vector lies."""

    address = bits[63:0](RW, doc="bus address")


class Right(Register, offset=0x08, size=8):
    """Where the second vector lies."""

    address = bits[63:0](RW, doc="bus address")


class Length(Register, offset=0x10):
    """How long both are; writing it starts the engine, unless it is busy."""

    elements = bits[19:0](WO, doc="elements of 32 bits")
    reserved = bits[31:20]


class Status(Register, offset=0x14):
    """What the engine is at."""

    busy = bits[0](RO, doc="a product is under way")
    error = bits[1](RO, doc="the last one met an address where no memory is")
    reserved = bits[31:2]


class Result(Register, offset=0x18, size=8):
    """The last product."""

    value_ = bits[63:0](RO, doc="sum of the elements' products, modulo 2^64")


@dataclass(frozen=True)
class Parameters:
    """What a board says about it."""

    mb_s: Rate  # megabytes of operands a second


class Dot(PciFunction, prefix="DOT"):
    """The engine. A product takes as long as its operands need to arrive."""

    IDENTITY = (0x1DE5, 0x0D07, 0xFF0000, 0)
    MSIX_VECTORS = 1
    Parameters = Parameters

    left = register(Left)
    right = register(Right)
    length = register(Length)
    status = register(Status)
    result = register(Result)

    def __init__(self, name: str, system: System, parameters: Parameters) -> None:
        super().__init__(name, system)
        self._ps_per_byte = PS_PER_SECOND // (parameters.mb_s * 10**6)

    @on_write(length)
    def _start(self, value: int, old: int) -> None:
        n = self.length.elements
        if not self.status.busy:
            self.status.busy = 1
            self.after(8 * n * self._ps_per_byte, self._finish, n)

    def _finish(self, n: int) -> None:
        left, right = (self.dma.view(r.value, 4 * n) for r in (self.left, self.right))
        self.status.busy, self.status.error = 0, int(left is None or right is None)
        if left is not None and right is not None:
            total = sum(map(mul, left.cast("i"), right.cast("i")))
            self.result.value = total & (1 << 64) - 1
        self.signal(0)
