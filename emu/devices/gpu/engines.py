"""Which engine executes kernels.

The lifted engine turns a kernel into vector code of the host. The reference engine executes it an
instruction at a time and is the judge: the same results, faults and counts, some thousand times
slower.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.devices.gpu.dispatch import Dispatch, Engine, Outcome, Region


class _WhenNeeded:
    """An engine that is imported when the first kernel runs: most machines run none, and should
    not wait for a compiler to load."""

    def __init__(self, units: int, reference: bool) -> None:
        self._units, self._reference = units, reference
        self._engine: Engine | None = None

    def run(self, dispatch: Dispatch, memory: Sequence[Region], limit: int) -> Outcome:
        """See `Engine.run`."""
        if self._engine is None:
            self._engine = self._load()
        return self._engine.run(dispatch, memory, limit)

    def _load(self) -> Engine:
        if self._reference:
            from emu.devices.gpu.simt import ReferenceEngine

            return ReferenceEngine(self._units)
        from emu.devices.gpu.lift import LiftedEngine

        return LiftedEngine(self._units)


def default_engine(units: int, *, reference: bool = False) -> Engine:
    """The engine of a machine's GPUs, which have so many compute units."""
    return _WhenNeeded(units, reference)
