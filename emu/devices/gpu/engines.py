"""Which engine executes kernels."""

from __future__ import annotations

from collections.abc import Sequence

from emu.devices.gpu.dispatch import Dispatch, Engine, Outcome, Region


class _WhenNeeded:
    """The reference engine, imported when the first kernel runs: most machines run none."""

    def __init__(self, units: int) -> None:
        self._units = units
        self._engine: Engine | None = None

    def run(self, dispatch: Dispatch, memory: Sequence[Region], limit: int) -> Outcome:
        """See `Engine.run`."""
        if self._engine is None:
            from emu.devices.gpu.simt import ReferenceEngine

            self._engine = ReferenceEngine(self._units)
        return self._engine.run(dispatch, memory, limit)


def default_engine(units: int) -> Engine:
    """The engine of a machine's GPUs, which have so many compute units."""
    return _WhenNeeded(units)
