"""The platform-level interrupt controller (RISC-V PLIC specification 1.0, SiFive layout).

Each source has a gateway: a level-high line becomes one pending request; claiming takes it, and
only completing lets the gateway send the next. Context 2h is hart h's M mode, context 2h + 1 its
S mode.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu import memory_map as at
from emu.devices.device import Device, on_read, on_write, register_array
from emu.devices.line import Line
from emu.devices.registers import RO, RW, Register, bits

SOURCES = 96
"""Interrupt sources 1 to 96, as QEMU's virt machine has them; 0 means none."""
CONTEXTS = 2 * at.HARTS
_WORDS = 32  # 32-bit words of an enable array: 1024 sources


class Priority(Register, offset=0x000000, size=4, count=SOURCES + 1):
    """Priority of each source; a source with priority 0 never interrupts. Element 0 is unused."""

    priority = bits[2:0](RW, doc="0 never interrupts, 7 is the highest")
    reserved = bits[31:3]


class Pending(Register, offset=0x001000, size=4, count=4):
    """Pending requests, a bit a source."""

    sources = bits[31:0](RO, doc="bit i of word w is source 32 * w + i")


class Enable(Register, offset=0x002000, size=4, count=CONTEXTS * _WORDS):
    """Enabled sources: 32 words a context."""

    sources = bits[31:0](RW, doc="bit i of word w is source 32 * w + i")


class Threshold(Register, offset=0x200000, size=4, count=CONTEXTS, stride=0x1000):
    """Only priorities above the context's threshold interrupt."""

    threshold = bits[2:0](RW, doc="0 lets every priority but 0 through")
    reserved = bits[31:3]


class Claim(Register, offset=0x200004, size=4, count=CONTEXTS, stride=0x1000):
    """Reading claims the best pending source (0: none); writing its number completes it."""

    source = bits[31:0](RW, doc="number of the source")


class Plic(Device, prefix="PLIC"):
    """96 sources, two contexts a hart. `contexts` are the lines to the harts: M mode's and S mode's
    in turn."""

    SIZE = 0x600000
    state = ("_pending", "_in_service")

    priority = register_array(Priority)
    pending = register_array(Pending)
    enable = register_array(Enable)
    threshold = register_array(Threshold)
    claim = register_array(Claim)

    def __init__(self, contexts: Sequence[Line]) -> None:
        n = len(contexts)
        super().__init__("plic", None, {"enable": n * _WORDS, "threshold": n, "claim": n})
        self._contexts = contexts
        self._pending = 0  # bit i: source i
        self._in_service = 0
        self.sources = [
            Line(lambda level, i=i: self._source_changed(i, level))  # type: ignore[misc]
            for i in range(SOURCES + 1)
        ]

    def _source_changed(self, source: int, level: bool) -> None:
        if level and not self._in_service >> source & 1:
            self._pending |= 1 << source
            self._update()

    def _best(self, context: int, above: int) -> int:
        """The pending, enabled source of the highest priority above `above`, the lowest number
        first; 0 if there is none. Few are ever pending, so it is those that are looked at."""
        pending, best, level = self._pending, 0, above
        first = context * _WORDS
        while pending:
            source = (pending & -pending).bit_length() - 1
            pending &= pending - 1
            enabled = self.enable[first + source // 32].value >> source % 32 & 1
            if enabled and self.priority[source].value > level:
                best, level = source, self.priority[source].value
        return best

    def _update(self) -> None:
        for context, line in enumerate(self._contexts):
            line.set(self._best(context, self.threshold[context].value) != 0)

    @on_read(pending)
    def _read_pending(self, index: int) -> int:
        return self._pending >> 32 * index & 0xFFFF_FFFF

    @on_write(priority)
    def _set_priority(self, index: int, value: int, old: int) -> None:
        if index == 0:
            self.priority[0].value = 0
        self._update()

    @on_write(enable)
    def _set_enable(self, index: int, value: int, old: int) -> None:
        first = index % _WORDS * 32
        known = ((2 << SOURCES) - 2) >> first & 0xFFFF_FFFF  # source 0 does not exist
        self.enable[index].value &= known
        self._update()

    @on_write(threshold)
    def _set_threshold(self, index: int, value: int, old: int) -> None:
        self._update()

    @on_read(claim)
    def _claim(self, index: int) -> int:
        # The threshold decides about interrupting only: claiming ignores it (PLIC 1.0, chapter 8).
        source = self._best(index, 0)
        if source:
            self._pending &= ~(1 << source)
            self._in_service |= 1 << source
            self._update()
        return source

    @on_write(claim)
    def _complete(self, index: int, value: int, old: int) -> None:
        self.claim[index].value = 0
        enabled = value <= SOURCES and self.enable[index * _WORDS + value // 32].value >> value % 32
        if not enabled & 1 or not self._in_service >> value & 1:
            return
        self._in_service &= ~(1 << value)
        if self.sources[value].level:
            self._pending |= 1 << value
        self._update()

    def reset(self) -> None:
        """Nothing enabled, nothing in service; lines that are still high are pending again."""
        super().reset()
        self._in_service = 0
        self._pending = sum(1 << i for i, line in enumerate(self.sources) if line.level)
        self._update()
