"""The tensor registers of a warp, and what tensor instructions ask of a hart, answered for a warp.

The instructions are the hart's (`emu.cpu.tensor`): same checks, same kernels, same results. What is
different is where operands lie: addresses are those that lanes see, of memory or of the group's,
and every byte of an operand must be there. (A lane's private memory is not reached: registers are
the warp's.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from emu.cpu.traps import Trap
from emu.devices.gpu.dispatch import Counts, FaultCode, Region
from emu.devices.gpu.simt.memory import LaneFault
from emu.isa.causes import Cause

if TYPE_CHECKING:
    from emu.cpu.tensor.execution import Work
    from emu.cpu.tensor.faults import Operand
    from emu.cpu.tensor.operands import Resolved
    from emu.cpu.tensor.plan import Plan

_FAULTS = {
    Cause.LOAD_ACCESS: FaultCode.LOAD_ADDRESS,
    Cause.STORE_ACCESS: FaultCode.STORE_ADDRESS,
    Cause.TENSOR: FaultCode.TENSOR,
}


class TensorUnit:
    """The unit of one warp. `regions` is all that it reaches, the group's memory included."""

    def __init__(self, regions: Sequence[Region], counts: Counts) -> None:
        from emu.cpu.tensor.descriptor import registers  # compiles code

        self._regions, self._counts = regions, counts
        self.tr = registers()
        self.tcause = self.toperand = self.stall_ps = 0
        self.tensor_unit = self
        """What is told of every instruction that has computed something: see `learn`."""

    def execute(self, mnemonic: str, *operands: int) -> int:
        """Execute an instruction of `emu.isa.xaitensor`; the value that `tget` reads, else 0.
        Raises LaneFault with nothing changed."""
        from emu.cpu.tensor import execute

        try:
            return execute(self, mnemonic, *operands)
        except Trap as trap:
            raise LaneFault(_FAULTS[Cause(trap.cause)], trap.tval or 0) from None

    def learn(self, work: Work, plan: Plan, reached: Mapping[Operand, Resolved], time: int) -> None:
        """Count the work of an instruction."""
        self._counts.tensor_flops += work.flops
        self._counts.tensor_bytes += work.bytes

    def mapping(self, address: int, access: str) -> tuple[int, int]:
        """Addresses mean themselves; a mapping is a region."""
        found = self.extent(address)
        if found is None:
            raise Trap(Cause.STORE_ACCESS if access == "store" else Cause.LOAD_ACCESS, address)
        return address, found[1] - address

    def extent(self, address: int, n: int = 1) -> tuple[int, int, int] | None:
        """The region with all `n` bytes at an address: its start, its end, its host address."""
        for base, size, host in self._regions:
            if base <= address and address + n <= base + size:
                return base, base + size, host
        return None
