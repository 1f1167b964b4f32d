"""The decoded instructions: which physical page of code has which page of records.

Python hands out pages of records and enters them in the fetch buffer; emitted code fills them as it
executes, and enters known ones again by itself when they are missing. A page of records belongs to
one physical page, and has a copy of the code that it was begun for. All pages have to be entered
again after FENCE.I, and after whatever may have changed translations; each is then compared with
its copy, and where they differ the records are cleared. They are cleared too when they belong to an
earlier generation (`State.flush_code`), as after a change of breakpoints.

SFENCE.VMA alone thus makes changed code seen. The specification does not ask for that, but there
are kernels that load programs and never execute FENCE.I.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Collection

from emu.cpu.native.layout import (
    CHANGED,
    COPY,
    PAGE_STRIDE,
    RECORD_SIZE,
    RECORDS,
    VERSION,
    Handler,
)
from emu.cpu.state import CODE_PAGES, PAGE_SIZE, TLB_ENTRIES, State

CAPACITY = 2048
"""Pages of records: 8 MiB of guest code, at 72 MiB of host addresses; only those in use cost."""

_MASK = (1 << 64) - 1


class CodePages:
    """Pages of records for one hart."""

    def __init__(self, state: State, capacity: int = CAPACITY) -> None:
        self._state, self._capacity = state, capacity
        self._pool = mmap.mmap(-1, capacity * PAGE_STRIDE)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._pool))
        self._slots: dict[int, int] = {}
        self._generations: dict[int, int] = {}

    def enter(self, vaddr: int, host: int, breakpoints: Collection[int]) -> None:
        """Put the page of `vaddr`, whose code lies at the host address `host` of its first byte,
        into the fetch buffer, with a BREAK at each of the `breakpoints` on it."""
        slot = self._slots.get(host)
        if slot is None:
            slot = self._new_slot(host)
        is_old = self._generations.get(slot) != self._state.code_generation
        if is_old or self._is_changed(slot, host):
            self._clear(slot, host)
        page = vaddr & -PAGE_SIZE
        for address in breakpoints:
            if address & -PAGE_SIZE == page:
                self._mark(slot, (address - page) // 2, Handler.BREAK)
        records = self._address + slot * PAGE_STRIDE
        entry = 4 * (page // PAGE_SIZE % TLB_ENTRIES)
        tlb = self._state.fetch_tlb
        tlb[entry] = page | self._state.fetch_context
        tlb[entry + 1] = (records - page * RECORD_SIZE // 2) & _MASK
        tlb[entry + 2] = (host - page) & _MASK
        if not breakpoints:  # those are for virtual addresses: each entering marks its own
            self._publish(host, records)

    def _publish(self, host: int, records: int) -> None:
        """Let emitted code enter the page by itself from now on, wherever it is mapped."""
        at = 4 * (host // PAGE_SIZE % CODE_PAGES)
        known = host, self._state.code_generation, records
        for i, word in enumerate(known):
            self._state.code_pages[at + i] = word

    def _new_slot(self, host: int) -> int:
        if len(self._slots) == self._capacity:  # rare: begin again with an empty pool
            self._slots.clear()
            self._state.flush_code()
        slot = self._slots[host] = len(self._slots)
        return slot

    def _is_changed(self, slot: int, host: int) -> bool:
        """Whether the page's code may be other than what its records were decoded from."""
        at = self._address + slot * PAGE_STRIDE
        copy = ctypes.string_at(at + COPY, PAGE_SIZE)
        differed = ctypes.c_uint64.from_address(at + CHANGED).value
        return differed != 0 or ctypes.string_at(host, PAGE_SIZE) != copy

    def _clear(self, slot: int, host: int) -> None:
        """Begin a page of records anew; emitted code does the same (`emu.cpu.native.fetch`)."""
        at = self._address + slot * PAGE_STRIDE
        ctypes.memset(at, 0, RECORDS * RECORD_SIZE)
        ctypes.memmove(at + COPY, host, PAGE_SIZE)
        self._state.code_version += 1
        ctypes.c_uint64.from_address(at + CHANGED).value = 0
        ctypes.c_uint64.from_address(at + VERSION).value = self._state.code_version
        for guard in (RECORDS, RECORDS + 1):
            self._mark(slot, guard, Handler.PAGE_END)
        self._generations[slot] = self._state.code_generation

    def _mark(self, slot: int, record: int, handler: Handler) -> None:
        at = slot * PAGE_STRIDE + record * RECORD_SIZE
        self._pool[at : at + 2] = int(handler).to_bytes(2, "little")
