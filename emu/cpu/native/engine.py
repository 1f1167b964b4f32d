"""What Python does around emitted code: enter it, and deal with the instructions it leaves.

Emitted code returns before an instruction that it does not do. A page of code that is new enters
the fetch buffer and execution goes on; everything else is one step of the reference engine, so that
each slow thing (device access, trap, odd memory) exists once. After a load or store that missed,
its page enters the buffer if the guest may use it directly.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache, partial

from emu.cpu.background import Background
from emu.cpu.early import GOOD, SERVICE
from emu.cpu.hart import Hart
from emu.cpu.mmu import is_translated
from emu.cpu.native import handlers
from emu.cpu.native.codepages import CodePages
from emu.cpu.native.layout import Handler, WindowWord
from emu.cpu.native.records import first_region, number_handlers
from emu.cpu.native.translate.translator import Translator
from emu.cpu.reference import ReferenceEngine
from emu.cpu.state import ENTERED, PAGE_SIZE, TLB_ENTRIES, WINDOWS, Dirty, Exit, State
from emu.cpu.traps import Trap
from emu.isa.declare import Instruction
from emu.isa.decode import decode

FIRST_SLICE, LAST_SLICE = 400_000, 2_000_000
"""Instructions between two looks at where the hart is: the first number while it is not in
translations, then twice as many each time, up to the last. `attention`, which another thread may
set, and Python's signals wait as long. A look takes some 10 µs, 3 % of the first slice."""

EAGER_SLICE = 200
"""The same where everything is translated at once, for tests: so often that little code is enough
to make, enter and leave translations."""

WINDOW_BYTES = 1 << 16
"""Least memory that is worth a window."""

_LARGEST_ACCESS = 8
"""Bytes."""

_MASK = (1 << 64) - 1
_BUDGET, _EXIT_CODE, _EXIT_INFO, _PC, _INSTRET, _XS, _STALL_PS, _STALL_END = (
    State.indices[name]
    for name in (
        *("budget", "exit_code", "exit_info", "pc", "instret", "xs", "stall_ps", "stall_end"),
    )
)
_ON_BUDGET, _ON_LOAD, _ON_STORE = int(Exit.BUDGET), int(Exit.LOAD_MISS), int(Exit.STORE_MISS)


class NativeEngine:
    """Executes a hart's instructions natively; the interface is `ReferenceEngine`'s.

    What is hot is translated in the "background"; tests `translate` "eager", or have it "off".
    """

    def __init__(self, hart: Hart, *, translate: str = "background") -> None:
        self.hart, self._state = hart, hart.state
        self._reference = ReferenceEngine(hart)
        self._pages = CodePages(hart.state)
        self._marked: frozenset[int] = frozenset()
        in_haste = translate == "background"
        self._run = handlers.install(hart.state, in_haste=in_haste)
        self._better: Background[None] | None = None
        """Who is asked for well compiled handlers, while those in use were made in haste."""
        if in_haste and not handlers.is_good():
            self._better = Background(SERVICE)
            self._better.submit(None, GOOD, later=True)
        self._address = ctypes.c_void_p(hart.state.address)
        self._translator: Translator | None = None
        if translate != "off":
            handler_of = lru_cache(maxsize=1 << 16)(partial(_handler, number_handlers()))
            eager = translate == "eager"
            self._translator = Translator(hart.state, handler_of, first_region(), eager=eager)
        self._least_slice, self._most_slice = {
            "eager": (EAGER_SLICE, EAGER_SLICE),
            "background": (FIRST_SLICE, LAST_SLICE),
            "off": (LAST_SLICE, LAST_SLICE),
        }[translate]
        self._slice = self._due = self._least_slice

    def step(self) -> None:
        """Execute exactly one instruction, or take one trap."""
        self._reference.step()

    def run(self, budget: int) -> str:
        """Execute at most `budget` instructions; a trap taken counts as one.

        Gives "budget", "attention" when the machine must look at the hart, or "breakpoint" in front
        of an instruction in `hart.breakpoints`, the first one of the run excepted.
        """
        hart, state = self.hart, self._state
        if not hart.resume() or hart.attention:
            return "attention"
        self._mark_breakpoints()
        if budget > 0 and state.pc in hart.breakpoints:
            self._reference.execute_one()
            budget -= 1
        while budget > 0:
            if hart.due and not hart.attention:
                hart.take_interrupt()
            if hart.attention:
                return "attention"
            if self._marked and state.pc in self._marked:
                return "breakpoint"
            done = self._native(min(budget, self._due))
            budget -= done
            self._due -= done
            if self._due <= 0:
                self._look()
        return "attention" if hart.attention else "budget"

    def _look(self) -> None:
        """See where the hart is, and how soon to look again: seldom while it is in translations."""
        self._reopen()
        self._see_to_window()
        if self._translator is not None and self._translator.look(self._state.pc):
            self._slice = min(2 * self._slice, self._most_slice)
        else:
            self._slice = self._least_slice
        self._due = self._slice
        if self._better is not None:
            self._improve(self._better)

    def _see_to_window(self) -> None:
        """Open a window where there is none: around the last store to memory that is large, or
        around the stack where addresses are physical and an access more changes nothing."""
        state = self._state
        wanted, state.window_wanted = state.window_wanted, 0
        context = state.data_context
        if state.windows[_window(context) + WindowWord.CONTEXT] == context:
            return
        if wanted % PAGE_SIZE == context:
            self._open_window(wanted & -PAGE_SIZE)
        elif not is_translated(self.hart, "store"):
            self._open_window(state.x[2] & -PAGE_SIZE)

    def _improve(self, better: Background[None]) -> None:
        """Go on with well compiled handlers as soon as they are there."""
        for _, answer in better.poll():
            if isinstance(answer, bytes):
                self._run = handlers.improve(self._state, answer)
            self._better = None

    def _reopen(self) -> None:
        """Open the translations on pages that emitted code has entered by itself."""
        state = self._state
        count, state.entered_at = min(state.entered_at, ENTERED), 0
        if self._translator is not None:
            for page in {*state.entered[:count]}:
                self._translator.reentered(page, self._marked)

    def _native(self, budget: int) -> int:
        """Run emitted code and deal with what it left; gives the number of instructions done."""
        words = self._state.words  # by index: this is what every access to a device goes through
        words[_BUDGET] = budget
        self._run(self._address)
        self.hart.follow()
        done, why = budget - words[_BUDGET], words[_EXIT_CODE]
        if why in (_ON_LOAD, _ON_STORE):
            self._missed(words[_EXIT_INFO], why == _ON_STORE)
            return done + 1
        if why == _ON_BUDGET:
            if words[_STALL_PS] >= words[_STALL_END]:
                self.hart.attention = True
            else:
                self.hart.interrupts_changed()  # by its last instruction; there may be more to come
            return done
        if why == Exit.BREAK and words[_PC] in self._marked:
            return done
        if why == Exit.FETCH_MISS and self._enter_page(words[_EXIT_INFO]):
            return done
        self._reference.execute_one()
        self._see_to_tensors()
        return done + 1

    def _missed(self, vaddr: int, is_store: bool) -> None:
        """Execute the instruction whose access of `vaddr` missed, and enter the page unless it is
        known to be a device's."""
        hart, words = self.hart, self._state.words
        retired = words[_INSTRET]
        self._reference.execute_one()
        if words[_INSTRET] != retired and not hart.is_device_page(vaddr, is_store):
            self._map(vaddr, is_store)
        if hart.tensor_unit is not None or words[_XS] == Dirty.DIRTY:
            self._see_to_tensors()

    def _see_to_tensors(self) -> None:
        """Have the tensor unit from the first tensor instruction on, and no key left behind."""
        unit = self.hart.tensor_unit
        if unit is not None:
            unit.forget_miss()
        elif self._state.xs == Dirty.DIRTY:
            from emu.cpu.tensor.unit.unit import TensorUnit  # most programs need none

            handlers.install_tensors(self._state)
            self.hart.tensor_unit = TensorUnit(self.hart)

    def _enter_page(self, vaddr: int) -> bool:
        """Enter the page of `vaddr` in the fetch buffer; False when the reference engine must fetch
        from there, if only to trap."""
        host = self._host_page(vaddr, "fetch")
        if host is None:
            return False
        self._pages.enter(vaddr, host, self._marked)
        if self._translator is not None:
            self._translator.entered(vaddr & -PAGE_SIZE, self._marked)
        return True

    def _map(self, vaddr: int, is_store: bool) -> None:
        """Enter the page of `vaddr`, which has just been accessed, in the load or store buffer."""
        state, access = self._state, "store" if is_store else "load"
        host = self._host_page(vaddr, access)
        if host is not None:
            self.hart.runs.enter(vaddr, vaddr, access)
            page = vaddr & -PAGE_SIZE
            entry = 2 * (page // PAGE_SIZE % TLB_ENTRIES)
            tlb = state.store_tlb if is_store else state.load_tlb
            tlb[entry], tlb[entry + 1] = page | state.data_context, (host - page) & _MASK
            if is_store:
                self._open_window(vaddr)

    def _open_window(self, vaddr: int) -> None:
        """Make the largest piece of memory around `vaddr` that may be loaded from and stored to
        the window of the data context; an empty one if that is small and there is none."""
        state, runs = self._state, self.hart.runs
        try:
            runs.enter(vaddr, vaddr, "load")
            runs.enter(vaddr, vaddr, "store")
        except Trap:
            return  # an entry has changed, and no fence has said so
        load, store = runs.around(vaddr, "load"), runs.around(vaddr, "store")
        if load is None or store is None:
            return
        start, end = max(load.start, store.start), min(load.end, store.end)
        context, limit, host = state.data_context, 0, 0
        if end - start < WINDOW_BYTES:
            start = 0
        else:
            limit = end - start - (_LARGEST_ACCESS - 1)
            host = store.distance + start & _MASK
        at = _window(context)
        is_other = state.windows[at + WindowWord.CONTEXT] != context
        if is_other or state.windows[at + WindowWord.LIMIT] < limit:
            for word, value in zip(WindowWord, (context, start, limit, host), strict=True):
                state.windows[at + word] = value

    def _host_page(self, vaddr: int, access: str) -> int | None:
        """Host address of a page that emitted code may access as it likes, else None."""
        try:
            return self.hart.host_page(vaddr, access)
        except Trap:
            return None

    def _mark_breakpoints(self) -> None:
        """Decode pages afresh when the breakpoints have changed: they are records."""
        if self.hart.breakpoints != self._marked:
            self._marked = frozenset(self.hart.breakpoints)
            self._state.breakpoints = len(self._marked)
            self._state.flush_code()


def _window(context: int) -> int:
    """Where in `State.windows` the entry of a data context is."""
    return len(WindowWord) * (context % WINDOWS)


def _handler(numbers: dict[Instruction, int], word: int) -> int:
    """The number of the handler that executes an instruction."""
    found = decode(word)
    return Handler.SLOW if found is None else numbers[found.insn]
