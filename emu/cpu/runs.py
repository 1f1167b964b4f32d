"""Runs of pages that lie in one piece in memory: what translations have taught, for emitted code.

A page table walk answers for a whole leaf page (4 KiB to 512 GiB) or all of memory. `Runs` keeps
such answers in the state block (`load_runs`, `store_runs`), where emitted code finds the pages that
its translation buffers lack and the operands of tensor instructions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from emu.cpu import mmu, regime
from emu.cpu.state import RUNS

if TYPE_CHECKING:
    from emu.cpu.hart import Hart

_ALL = (1 << 64) - 1
_WORDS = 4


class Run(NamedTuple):
    """Virtual addresses from `start` up to `end` lie in host memory `distance` further on."""

    start: int
    end: int
    distance: int


class Runs:
    """The runs of a hart. An entry is context, start, bytes, host address - virtual address."""

    def __init__(self, hart: Hart) -> None:
        self._hart = hart

    def enter(self, first: int, last: int, access: str) -> None:
        """Enter the run with the bytes from `first` to `last`, which have just been accessed
        ("load", "store") and lie in one piece of memory. Raises Trap if they cannot be."""
        low, high = (mmu.resolve(self._hart, at, access) for at in (first, last))
        bus, paddr = self._hart.bus, first + low.offset
        memory = bus.extent(paddr)
        if memory is None:
            return
        base, behind = memory.base, memory.end
        if access == "store":
            base, behind = bus.unwatched(paddr, base, behind)
        start = max(low.start, base - low.offset)
        end = min(high.end, behind - low.offset)
        if start >= end:
            return
        distance = (memory.host - memory.base + low.offset) & _ALL
        if mmu.is_translated(self._hart, access):
            regime.KEEP_LARGE.python(self._hart.state.words, start, end - 1)
        self._put(start, end, distance, access)

    def around(self, vaddr: int, access: str) -> Run | None:
        """The run in force that has the byte at `vaddr`, if one is known."""
        state = self._hart.state
        words = state.store_runs if access == "store" else state.load_runs
        for at in range(0, _WORDS * RUNS, _WORDS):
            context, start, size, distance = words[at : at + _WORDS]
            if context == state.data_context and start <= vaddr < start + size:
                return Run(start, start + size, distance)
        return None

    def _put(self, start: int, end: int, distance: int, access: str) -> None:
        """Extend an entry that the run continues, or replace the least useful one: one that is not
        valid any more, else the shortest."""
        state = self._hart.state
        words = state.store_runs if access == "store" else state.load_runs
        context, oldest = state.data_context, state.oldest_context
        worth: dict[int, int] = {}
        for at in range(0, _WORDS * RUNS, _WORDS):
            if words[at] == context and words[at + 3] == distance:
                there, behind = words[at + 1], words[at + 1] + words[at + 2]
                if there <= end and start <= behind:
                    words[at + 1] = min(there, start)
                    words[at + 2] = max(behind, end) - words[at + 1]
                    return
            worth[at] = words[at + 2] if words[at] >= oldest else 0
        at = min(worth, key=worth.__getitem__)
        for i, value in enumerate((context, start, end - start, distance)):
            words[at + i] = value
