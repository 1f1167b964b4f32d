"""Physical memory protection (privileged specification, section 3.7): 16 entries, grain 4 bytes.

The registers are kept as written; `Pmp.rules` holds what they mean, recomputed on each write, in
order of priority. An access is decided by the first rule that contains any of its bytes, and fails
if that rule does not contain them all.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from emu.cpu.state import PAGE_SIZE, State
from emu.isa.causes import M_MODE
from emu.isa.csrs import PMP_ENTRIES

_READ, _WRITE, _EXECUTE, _LOCK = 1, 2, 4, 0x80
_KEPT = 0x9F  # the bits that a configuration has
_OFF, _TOR, _NA4, _NAPOT = range(4)
_ADDRESS_MASK = (1 << 54) - 1
_EVERYWHERE = 1 << 64
RIGHT = {"load": _READ, "store": _WRITE, "fetch": _EXECUTE}


class Rule(NamedTuple):
    """Addresses from `low` up to `high` have the rights and the lock bit of `config`."""

    low: int
    high: int
    config: int


class Pmp:
    """The PMP unit of one hart, whose registers are in the state block."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.rules: tuple[Rule, ...] = ()
        self.recompute()

    @property
    def _config(self) -> bytearray:
        """The configuration of every entry."""
        return bytearray(self._state.pmpcfg)

    def write(self, name: str, value: int) -> None:
        """Write the register of that name: pmpcfg0, pmpcfg2 or pmpaddr0 to pmpaddr15."""
        number = int(name.lstrip("pmcfgadr"))
        if name.startswith("pmpcfg"):
            self._write_config(number // 2, value)
        else:
            self._write_address(number, value)
        self.recompute()

    def _write_config(self, word: int, value: int) -> None:
        """Set eight entries; a locked one is left as it is. To write without to read is reserved:
        it becomes neither."""
        config = self._config
        for i, new in enumerate(value.to_bytes(8, "little"), 8 * word):
            if not config[i] & _LOCK:
                config[i] = new & (_KEPT if new & _READ else _KEPT & ~_WRITE)
        self._state.pmpcfg[word] = int.from_bytes(config[8 * word : 8 * word + 8], "little")

    def _write_address(self, i: int, value: int) -> None:
        """Set pmpaddr`i`, unless it is locked or is the base of a locked range."""
        config = self._config
        following = config[i + 1] if i + 1 < PMP_ENTRIES else 0
        locked_base = following & _LOCK and _mode(following) == _TOR
        if not config[i] & _LOCK and not locked_base:
            self._state.pmpaddr[i] = value & _ADDRESS_MASK

    def recompute(self) -> None:
        """Derive the rules from the registers."""
        rules, addresses = [], self._state.pmpaddr
        for i, (config, address) in enumerate(zip(self._config, addresses, strict=True)):
            mode = _mode(config)
            low = high = address << 2
            if mode == _TOR:
                low = addresses[i - 1] << 2 if i else 0
            elif mode == _NA4:
                high = low + 4
            elif mode == _NAPOT:  # the trailing ones give the size
                size = ((address ^ (address + 1)) + 1) << 2
                low &= ~(size - 1)
                high = low + size
            if mode != _OFF and low < high:
                rules.append(Rule(low, high, config))
        self.rules = tuple(rules)

    def allows(self, paddr: int, size: int, access: str, privilege: int) -> bool:
        """Whether `privilege` may do `access` (load, store, fetch) to all these bytes."""
        for rule in self.rules:
            if paddr < rule.high and rule.low < paddr + size:
                if not rule.low <= paddr <= paddr + size <= rule.high:
                    return False
                if privilege == M_MODE and not rule.config & _LOCK:
                    return True
                return bool(rule.config & RIGHT[access])
        return privilege == M_MODE

    def open_pages(self, privilege: int, start: int, end: int) -> tuple[int, int]:
        """The largest part of the memory from `start` up to `end` of whole pages with which
        `privilege` may do anything; no page of it is decided by two rules."""
        edges = {e for rule in self.rules for e in (rule.low, rule.high) if start < e < end}
        best, size, begin, behind = start, 0, start, start
        for low, high in pairwise(sorted({start, end} | edges)):
            first, last = -(-low // PAGE_SIZE) * PAGE_SIZE, high & -PAGE_SIZE
            if first >= last or not all(self.allows(first, 1, a, privilege) for a in RIGHT):
                continue
            begin = begin if behind == first else first
            behind = last
            if behind - begin > size:
                best, size = begin, behind - begin
        return best, best + size

    def uniform(self, paddr: int) -> tuple[int, int]:
        """The widest range around `paddr` in which one decision holds: (start, end)."""
        edges = {edge for rule in self.rules for edge in (rule.low, rule.high)}
        start = max((e for e in edges if e <= paddr), default=0)
        return start, min((e for e in edges if e > paddr), default=_EVERYWHERE)


def _mode(config: int) -> int:
    """How an entry's address register is read: `_OFF`, `_TOR`, `_NA4` or `_NAPOT`."""
    return config >> 3 & 3
