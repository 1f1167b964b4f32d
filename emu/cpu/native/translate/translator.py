"""What is hot, and where translations are entered: the part that runs beside the machine.

The engine calls `look` every so many instructions with where the hart then is: code that is found
there again and again is sent to be translated. What comes back is installed: each of its ways in
gets a handler of its own, whose number stands in the record of the instruction there.

A translation holds for the virtual addresses it was made for, and while all of its code is what it
was. That is made sure of when a page of code enters the fetch buffer, which every page must after
anything that could change either; `State.cells` then says in which context the ways in are open.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace

from emu.cpu.background import Background
from emu.cpu.early import SERVICE
from emu.cpu.jit import load
from emu.cpu.native.layout import (
    CHANGED,
    COPY,
    RECORD_SIZE,
    RECORDS,
    VERSION,
    Cell,
    Handler,
    WindowWord,
)
from emu.cpu.native.records import fill_record
from emu.cpu.native.translate.image import Image, Page
from emu.cpu.native.translate.installed import Installed
from emu.cpu.native.translate.shelf import Shelf
from emu.cpu.native.translate.translation import Request, Translation
from emu.cpu.state import CELL_WORDS, HANDLERS, PAGE_SIZE, RING, TLB_ENTRIES, WINDOWS, State

HOT = 2
"""How often code must be seen on a page before it is translated; twice as often the next time."""

MOST_PATIENCE, MOST_WARM = 1024, 4096
"""But no more often than that: there may be other code by then. And of so many pages, before all is
forgotten, whatever a guest does."""

MISSED = 64
"""Indirect jumps that must be seen to leave a region before it is made anew."""

NEAR = 1 << 20
MOST_PAGES = 24
"""Only so many pages of code that are so near, in bytes, are looked at for a region."""

MOST_TARGETS, MOST_SITES = 64, 4096
"""What is kept of where indirect jumps went, whatever a guest does: so many places for each, and so
many jumps before all is forgotten."""

MOST_BYTES = 128 << 20
"""Machine code that a hart's translations may have; as when handlers run out, all are forgotten
when there is more."""

_ALL = (1 << 64) - 1


class Translator:
    """The translations of one hart. `handler_of` gives the number of the handler that executes an
    instruction by itself, `first` is the first one that is free for translations. With `eager`
    every request is answered at once."""

    def __init__(
        self, state: State, handler_of: Callable[[int], int], first: int, *, eager: bool = False
    ) -> None:
        self._state, self._handler_of, self._eager = state, handler_of, eager
        self._first = self._next = first
        self._bytes = 0
        self._heat: Counter[int] = Counter()
        self._patience: dict[int, int] = {}
        self._taken: dict[int, set[int]] = {}
        self._pages: dict[int, list[Installed]] = {}
        self._background: Background[int] = Background(SERVICE)
        self._shelf: Shelf | None = None
        self._breakpoints: Collection[int] = ()

    # What is hot

    def look(self, pc: int) -> bool:
        """See to answers that have come, and to what is hot; `pc` is where the hart is. Gives
        whether that is in a translation which is open now."""
        for _, got in self._background.poll():
            if isinstance(got, bytes):
                self._arrived(got)
        self._learn()
        if self.covering(pc) is not None:
            return True
        page = pc & -PAGE_SIZE
        if len(self._heat) >= MOST_WARM:
            self._heat.clear()
            self._patience.clear()
        self._heat[page] += 1
        if self._heat[page] >= self._patience.get(page, HOT) and not self._background.pending:
            self._heat[page] = 0
            self._patience[page] = min(2 * self._patience.get(page, HOT), MOST_PATIENCE)
            self.request(pc)
        return False

    def covering(self, pc: int) -> Installed | None:
        """An open translation of which the instruction at `pc` is part, and which expects the
        window where it is, if there is one."""
        start = self._window_start()
        for installed in self._pages.get(pc & -PAGE_SIZE, ()):
            fits = start in (0, installed.translation.window_start)
            if fits and installed.covers(pc) and self._is_open(installed):
                return installed
        return None

    def _window_start(self) -> int:
        """Where the window of the data context begins; 0 if there is none."""
        words, context = self._state.windows, self._state.data_context
        at = len(WindowWord) * (context % WINDOWS)
        return words[at + WindowWord.START] if words[at + WindowWord.CONTEXT] == context else 0

    def request(self, pc: int) -> None:
        """Have the code around `pc` translated."""
        import pickle  # here, and the compiler below: most runs ask for nothing

        taken = {pc: tuple(sorted(targets)) for pc, targets in self._taken.items()}
        seeds = pc, self._state.x[1] & -2  # a small function is translated with its caller
        request = pickle.dumps(Request(self._image(pc), seeds, taken, self._window_start()))
        if self._eager:
            from emu.cpu.native.translate.compiler import answer

            self._arrived(answer(request))
        else:
            self._background.submit(pc, request)

    def _learn(self) -> None:
        """Take down where indirect jumps went that left a region. A region that is left so time and
        again is translated anew, with those places in it."""
        at, ring = self._state.ring_at, self._state.ring
        if not at:
            return
        missing: set[Installed] = set()
        words = ring[: 2 * min(at, RING)].tolist()
        for (site, target), count in Counter(zip(words[::2], words[1::2], strict=True)).items():
            if len(self._taken) >= MOST_SITES:
                self._taken.clear()
            seen = self._taken.setdefault(site, set())
            if len(seen) < MOST_TARGETS:
                seen.add(target)
            for installed in self._pages.get(site & -PAGE_SIZE, ()):
                if installed.is_asked_for_anew:
                    continue
                known = installed.translation.targets.get(site)
                if known is not None and target not in known and self._is_open(installed):
                    installed.missed += count
                    missing.add(installed)
        self._state.ring_at = 0
        for installed in missing:
            if installed.missed >= MISSED and not self._background.pending:
                installed.is_asked_for_anew = True
                self.request(installed.translation.entries[0].pc)

    def _image(self, pc: int) -> Image:
        """The pages of code around `pc` that are in the fetch buffer now."""
        state = self._state
        tlb, context = state.fetch_tlb, state.fetch_context
        pages = {}
        near = [
            (abs(tag - pc), tag - context, i)
            for i, tag in enumerate(tlb[0::4].tolist())
            if tag % PAGE_SIZE == context and abs(tag - pc) < NEAR
        ]
        for _, page, i in sorted(near)[:MOST_PAGES]:
            at = tlb[4 * i + 1] + page * RECORD_SIZE // 2 & _ALL
            code = ctypes.string_at(at + COPY, PAGE_SIZE)
            records = ctypes.string_at(at, RECORDS * RECORD_SIZE)
            low, high = (int.from_bytes(records[k::RECORD_SIZE], "little") for k in (0, 1))
            pages[page] = Page(code, (low | high).to_bytes(RECORDS, "little"))
        return Image(pages)

    # Where translations are entered

    def _arrived(self, packed: bytes) -> None:
        """An answer has come: nothing, or a packed translation."""
        if packed:
            self._install(Translation.unpack(packed))

    def _install(self, translation: Translation) -> None:
        size = len(translation.code)
        if self._next + len(translation.entries) > HANDLERS or self._bytes + size > MOST_BYTES:
            self.forget()
        self._bytes += size
        code = load(translation.code)
        numbers = {}
        for entry in translation.entries:
            numbers[entry.pc] = self._next
            self._state.handlers[self._next] = code.address("region")
            self._next += 1
        installed = Installed(replace(translation, code=b""), code, numbers, size)
        for page in installed.pages:
            for other in [*self._pages.get(page, ())]:
                if translation.includes(other.translation):
                    self._retire(other)
            self._pages.setdefault(page, []).append(installed)
        self._open(installed)

    def _retire(self, installed: Installed) -> None:
        """Enter a translation no more: another one does its work. Records that still have the
        numbers of its ways in are executed by the instructions' own handlers."""
        handlers = self._state.handlers
        for entry in installed.translation.entries:
            handlers[installed.numbers[entry.pc]] = handlers[self._handler_of(entry.word)]
        for page in installed.pages:
            self._pages[page].remove(installed)
        installed.code.close()
        self._bytes -= installed.size

    def entered(self, page: int, breakpoints: Collection[int]) -> None:
        """The page of code at the virtual address `page` has just been put into the fetch buffer:
        open the translations that it was missing for."""
        self._breakpoints = breakpoints
        for installed in self._pages.get(page, ()):
            self._open(installed)
        if self._shelf is None:
            self._shelf = Shelf()
        code = self._record(page) + COPY
        kept = self._shelf.take(page, lambda at, size: ctypes.string_at(code + at, size))
        for translation in sorted(kept, key=lambda t: t.size, reverse=True):
            there = (installed.translation for installed in self._pages.get(page, ()))
            if not any(other.includes(translation) for other in there):
                self._install(translation)

    def reentered(self, page: int, breakpoints: Collection[int]) -> None:
        """Such a page has come back into the fetch buffer, and may be there still."""
        closed = (i for i in self._pages.get(page, ()) if not self._is_open(i))
        if any(closed) and self._is_entered(page):
            self.entered(page, breakpoints)

    def _open(self, installed: Installed) -> None:
        """Open the ways into a translation if all of its code is there and unchanged."""
        state = self._state
        if any(installed.covers(address) for address in self._breakpoints):
            return
        if not all(self._is_there(installed, page) for page in installed.pages):
            return
        if installed.opened == installed.compared and self._has_way(installed):
            for number in installed.numbers.values():
                state.cells[CELL_WORDS * number + Cell.CONTEXT] = state.fetch_context
            return
        installed.opened = dict(installed.compared)
        places = installed.note_places()
        for entry in installed.translation.entries:
            record = self._record(entry.pc)
            if entry.pc % PAGE_SIZE == PAGE_SIZE - 2 and entry.word & 3 == 3:
                continue  # its record is filled anew each time
            if ctypes.c_uint16.from_address(record).value == Handler.BREAK:
                continue  # for another virtual address of the page
            number = installed.numbers[entry.pc]
            handler = self._handler_of(entry.word)
            at = CELL_WORDS * number
            cells = state.cells
            cells[at + Cell.PC], cells[at + Cell.ORIGINAL] = entry.pc, handler
            cells[at + Cell.HANDLER], cells[at + Cell.NEEDED] = Handler.REOPEN, entry.needed
            cells[at + Cell.PAGES] = places
            cells[at + Cell.CONTEXT] = state.fetch_context
            fill_record(record, entry.word, number)

    def _is_there(self, installed: Installed, page: int) -> bool:
        """Whether a page is in the fetch buffer with the code that was translated."""
        if not self._is_entered(page):
            return False
        records = self._record(page)
        if ctypes.c_uint64.from_address(records + CHANGED).value:
            return False
        version = ctypes.c_uint64.from_address(records + VERSION).value
        if installed.compared.get(page) != version:
            for offset, data in installed.pieces(page):
                if ctypes.string_at(records + COPY + offset, len(data)) != data:
                    return False
            installed.compared[page] = version
        return True

    def _is_entered(self, page: int) -> bool:
        """Whether a page is in the fetch buffer."""
        return self._state.fetch_tlb[_entry(page)] == page | self._state.fetch_context

    def _has_way(self, installed: Installed) -> bool:
        """Whether the record of the first way in leads there, or to another translation of that
        address which is open: then they would only take it from each other again and again."""
        pc, number = next(iter(installed.numbers.items()))
        found = int(ctypes.c_uint16.from_address(self._record(pc)).value)
        cell = self._state.cells[CELL_WORDS * found : CELL_WORDS * (found + 1)]
        is_open = cell[Cell.CONTEXT] == self._state.fetch_context and cell[Cell.PC] == pc
        return found == number or (found >= self._first and is_open)

    def _is_open(self, installed: Installed) -> bool:
        number = next(iter(installed.numbers.values()))
        context = self._state.cells[CELL_WORDS * number]  # Cell.CONTEXT: this is asked for often
        return context == self._state.fetch_context

    def _record(self, pc: int) -> int:
        """The host address of the record of `pc`, whose page is in the fetch buffer."""
        addend = self._state.fetch_tlb[_entry(pc) + 1]
        return addend + pc * RECORD_SIZE // 2 & _ALL

    def forget(self) -> None:
        """Throw all translations away: there are too many."""
        for installed in {i for page in self._pages.values() for i in page}:
            installed.code.close()
        self._pages.clear()
        self._next, self._bytes = self._first, 0
        self._state.flush_code()


def _entry(address: int) -> int:
    """Where in `State.fetch_tlb` the entry of an address's page is."""
    return 4 * (address // PAGE_SIZE % TLB_ENTRIES)
