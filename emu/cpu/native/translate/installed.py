"""A translation that is loaded, and where its code is."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from functools import cached_property

from emu.cpu.jit import Code
from emu.cpu.native.layout import NO_PAGE
from emu.cpu.native.translate.translation import Translation
from emu.cpu.state import PAGE_SIZE


@dataclass(eq=False)
class Installed:
    """A translation without its code, and that code as it is loaded."""

    translation: Translation
    code: Code
    numbers: dict[int, int]
    """The handlers of its ways in, by their addresses."""
    size: int
    """Bytes of machine code."""
    compared: dict[int, int] = field(default_factory=dict)
    """For each page the version of its records for which the guest's code was compared."""
    opened: dict[int, int] = field(default_factory=dict)
    """Those versions for which the records have its ways in."""
    missed: int = 0
    """Indirect jumps that were seen to leave it."""
    is_asked_for_anew: bool = False
    """Whether a request for a better one has been made for its sake."""
    _places: ctypes.Array[ctypes.c_uint64] | None = None

    def note_places(self) -> int:
        """Fill the table of `Cell.PAGES`; gives its address. All pages have been compared."""
        rows = [word for row in self.compared.items() for word in row]
        if self._places is None:
            self._places = (ctypes.c_uint64 * (len(rows) + 1))()
        self._places[:] = [*rows, NO_PAGE]
        return ctypes.addressof(self._places)

    @cached_property
    def pages(self) -> set[int]:
        """The addresses of the pages that its code is on."""
        return {
            page
            for start, data in self.translation.spans
            for page in range(start & -PAGE_SIZE, start + len(data), PAGE_SIZE)
        }

    def covers(self, pc: int) -> bool:
        """Whether the instruction at `pc` is part of it."""
        return any(start <= pc < start + len(data) for start, data in self.translation.spans)

    def pieces(self, page: int) -> list[tuple[int, bytes]]:
        """The translated code on one page: offsets, and the bytes that must be there."""
        found = []
        for start, data in self.translation.spans:
            low, high = max(start, page), min(start + len(data), page + PAGE_SIZE)
            if low < high:
                found.append((low - page, data[low - start : high - start]))
        return found
