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


class KeptLine(Line):
    """A line whose level is kept by what listens to it, which others can change as well."""

    def __init__(self, listener: Callable[[bool], None], kept: Callable[[], bool]) -> None:
        self._kept = kept
        super().__init__(listener)

    @property
    def level(self) -> bool:
        """What its keeper has."""
        return self._kept()

    @level.setter
    def level(self, level: bool) -> None:
        """Only `set` tells the keeper: who restores a snapshot restores that, too."""
