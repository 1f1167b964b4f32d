"""Emitted code without a hart: RAM mapped one to one, and nothing done about what it leaves."""

from __future__ import annotations

import ctypes

from emu.cpu.native import handlers
from emu.cpu.native.codepages import CodePages
from emu.cpu.state import PAGE_SIZE, TLB_ENTRIES, Dirty, Exit, State
from emu.memory import Memory

RAM_BASE, RAM_SIZE = 0x8000_0000, 0x10_0000


class Bare:
    """A state block, RAM, and the emitted `run`; the floating-point unit is on and dirty."""

    def __init__(self, code_pages: int = 16) -> None:
        self.memory = Memory(RAM_BASE, RAM_SIZE)
        self.state = State()
        self.state.pc, self.state.fs = RAM_BASE, Dirty.DIRTY
        self.pages = CodePages(self.state, code_pages)
        self._run = handlers.install(self.state)
        self.map_data()

    def map_data(self) -> None:
        """Enter all of RAM in the load and store buffers."""
        addend = (self.memory.host_address - RAM_BASE) % 2**64
        for page in range(RAM_BASE, RAM_BASE + RAM_SIZE, PAGE_SIZE):
            entry = 2 * (page // PAGE_SIZE % TLB_ENTRIES)
            for tlb in (self.state.load_tlb, self.state.store_tlb):
                tlb[entry], tlb[entry + 1] = page | self.state.data_context, addend

    def run(self, budget: int, breakpoints: frozenset[int] = frozenset()) -> Exit:
        """Execute until the budget is used up, or an instruction that emitted code leaves."""
        self.state.budget = budget
        while True:
            self._run(ctypes.c_void_p(self.state.address))
            missing = self.state.exit_info
            if self.state.exit_code != Exit.FETCH_MISS or not self.memory.contains(missing):
                return Exit(self.state.exit_code)
            page = missing & -PAGE_SIZE
            host = self.memory.host_address + page - RAM_BASE
            self.pages.enter(missing, host, breakpoints)

    def load(self, address: int, code: bytes) -> None:
        """Put bytes into RAM."""
        self.memory.view(address, len(code))[:] = code
