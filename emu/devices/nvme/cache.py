"""The volatile write cache: which blocks would change back if the power failed now.

Writes go to the host file at once, so reads never ask here and killing the emulator loses nothing.
What the modelled cache holds is the other side: for every block written since the last flush, what
the medium had before. A power cut puts those back; a flush forgets them. The oldest blocks are
forgotten (have reached the medium) when the cache is full; a command larger than the whole cache,
a write with FUA, and any write while the cache is disabled go past it.

Torn writes: a write that is lost may leave its beginning on the medium. `power_cut` is told how
many blocks of each lost write stay, the newest first; where later writes cover a block, they decide
what becomes of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from emu.devices.nvme.backing import Backing

Tear = Callable[[int, int], int]
"""First block and number of blocks of a lost write to how many of its blocks reach the medium."""


class WriteCache:
    """The cache in front of `backing`; holds at most `capacity` bytes."""

    def __init__(self, backing: Backing, capacity: int) -> None:
        self._backing = backing
        self._block = backing.block
        self._room = capacity // backing.block
        self.enabled = True
        self._before: OrderedDict[int, bytes] = OrderedDict()
        self._writes: list[tuple[int, int]] = []

    @property
    def dirty(self) -> int:
        """Bytes that a power cut would lose."""
        return len(self._before) * self._block

    def write(self, offset: int, views: Sequence[memoryview], durable: bool) -> None:
        """Write whole blocks; OSError when the host cannot."""
        n = sum(map(len, views))
        keep = self._prepare(offset, n, durable)
        self._backing.write(offset, views)
        self._note(offset, n, keep)

    def zero(self, offset: int, n: int, durable: bool) -> None:
        """Make whole blocks zero and deallocate them; OSError when the host cannot."""
        keep = self._prepare(offset, n, durable)
        self._backing.zero(offset, n)
        self._note(offset, n, keep)

    def flush(self) -> None:
        """Everything reaches the medium, and the host's; OSError when that fails."""
        self._backing.flush()
        self.forget()

    def forget(self) -> None:
        """Everything has reached the medium."""
        self._before.clear()
        self._writes.clear()

    def _prepare(self, offset: int, n: int, durable: bool) -> bytearray | None:
        """What lies there now if it must be remembered; None for a change past the cache."""
        if durable or not self.enabled or n > self._room * self._block:
            return None
        old = bytearray(n)
        self._backing.read(offset, [old])
        return old

    def _note(self, offset: int, n: int, old: bytearray | None) -> None:
        """The blocks have been written: remember `old`, or that they are on the medium."""
        block, before = self._block, self._before
        first, end = offset // block, (offset + n) // block
        if old is None:
            if before:
                self._make_durable(first, end)
            return
        self._writes.append((first, end - first))
        for i in range(first, end):
            if i not in before:
                start = (i - first) * block
                before[i] = bytes(old[start : start + block])
        while len(before) > self._room:
            before.popitem(last=False)
        if len(self._writes) > 2 * self._room:  # so long ago: past tearing
            del self._writes[: self._room]

    def _make_durable(self, first: int, end: int) -> None:
        before = self._before
        if end - first < len(before):
            for i in range(first, end):
                before.pop(i, None)
        else:
            for i in [i for i in before if first <= i < end]:
                del before[i]

    def power_cut(self, tear: Tear | None = None) -> None:
        """Lose what has not reached the medium, but for what `tear` leaves of each write; OSError
        when the host file cannot be written."""
        before = self._before
        if tear is not None:
            decided: set[int] = set()
            for first, n in reversed(self._writes):
                blocks = range(first, first + n)
                if decided.isdisjoint(blocks) and any(i in before for i in blocks):
                    for i in blocks[: tear(first, n)]:
                        before.pop(i, None)
                decided.update(blocks)
        try:
            for i, old in sorted(before.items()):
                self._backing.write(i * self._block, [old])
            self._backing.flush()
        finally:
            self.forget()
