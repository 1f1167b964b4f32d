"""Which engine executes kernels."""

from __future__ import annotations

from collections.abc import Sequence

from emu.devices.gpu.dispatch import Dispatch, Engine, Fault, FaultCode, Outcome, Region


class _NoEngine:
    """Executes nothing: every dispatch ends at its first instruction."""

    def run(self, dispatch: Dispatch, memory: Sequence[Region], limit: int) -> Outcome:
        """A fault at the kernel's entry."""
        return Outcome(Fault(FaultCode.ILLEGAL_INSTRUCTION, pc=dispatch.kernel.entry))


def default_engine() -> Engine:
    """The engine of a machine's GPUs."""
    return _NoEngine()
