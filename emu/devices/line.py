"""An interrupt line: what a device drives and an interrupt controller (or the hart) listens to."""

from __future__ import annotations

from collections.abc import Callable


class Line:
    """A level, low at first; `listener` hears of every change and of nothing else."""

    def __init__(self, listener: Callable[[bool], None] = lambda level: None) -> None:
        self.level = False
        self._listener = listener

    def set(self, level: bool) -> None:
        """Drive the line."""
        if level != self.level:
            self.level = level
            self._listener(level)
