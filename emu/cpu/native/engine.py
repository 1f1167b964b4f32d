"""What Python does around emitted code: enter it, and deal with the instructions it leaves.

Emitted code returns before an instruction that it does not do. A page missing from the fetch buffer
is entered and execution goes on; everything else is one step of the reference engine, so that each
slow thing (device access, CSR, trap, tensor instruction) exists once. After a load or store that
missed, its page enters the buffer if the guest may use it directly.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from emu.cpu.hart import Hart
from emu.cpu.jit import Code, compile_cached, source_key
from emu.cpu.native.codepages import CodePages
from emu.cpu.reference import ReferenceEngine
from emu.cpu.state import PAGE_SIZE, TLB_ENTRIES, Dirty, Exit
from emu.cpu.traps import Trap

SLICE = 20_000_000
"""Instructions between two looks at `attention`, which another thread may set; some 20 ms, after
which Python also sees to signals."""

_MASK = (1 << 64) - 1


@cache
def interpreter_code() -> Code:
    """The interpreter's code, the same for every hart."""
    sources = source_key("emu.isa", "emu.cpu.native", "emu.cpu.state", "emu.cpu.jit")
    return compile_cached(f"interpreter {sources}", _build)


def _build() -> Any:
    """The LLVM module. Imported only here: a warm start needs no more than the object file."""
    from emu.cpu.native.interpreter import build

    return build()


class NativeEngine:
    """Executes a hart's instructions natively; the interface is `ReferenceEngine`'s."""

    def __init__(self, hart: Hart) -> None:
        self.hart, self._state = hart, hart.state
        self._reference = ReferenceEngine(hart)
        self._pages = CodePages(hart.state)
        self._marked: frozenset[int] = frozenset()
        self._code = interpreter_code()
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self._run: Callable[[int], None] = prototype(self._code.address("run"))

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
            if hart.attention:
                return "attention"
            if self._marked and state.pc in self._marked:
                return "breakpoint"
            budget -= self._native(min(budget, SLICE))
        return "attention" if hart.attention else "budget"

    def _native(self, budget: int) -> int:
        """Run emitted code and deal with what it left; gives the number of instructions done."""
        state = self._state
        state.budget = budget
        self._run(state.address)
        done, why = budget - state.budget, state.exit_code
        if why == Exit.BUDGET and state.stall_ps >= state.stall_end:
            self.hart.attention = True
        if why == Exit.BUDGET or (why == Exit.BREAK and state.pc in self._marked):
            return done
        if why == Exit.FETCH_MISS and self._enter_page(state.exit_info):
            return done
        retired = state.instret
        self._reference.execute_one()
        if why in (Exit.LOAD_MISS, Exit.STORE_MISS) and state.instret != retired:
            self._map(state.exit_info, is_store=why == Exit.STORE_MISS)
        self._see_to_tensors()
        return done + 1

    def _see_to_tensors(self) -> None:
        """Have the tensor unit from the first tensor instruction on, and no key left behind."""
        unit = self.hart.tensor_unit
        if unit is not None:
            unit.forget_miss()
        elif self._state.xs == Dirty.DIRTY:
            from emu.cpu.tensor.unit.unit import TensorUnit  # most programs need none

            self.hart.tensor_unit = TensorUnit(self.hart)

    def _enter_page(self, vaddr: int) -> bool:
        """Enter the page of `vaddr` in the fetch buffer; False when the reference engine must fetch
        from there, if only to trap."""
        host = self._host_page(vaddr, "fetch")
        if host is None:
            return False
        self._pages.enter(vaddr, host, self._marked)
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

    def _host_page(self, vaddr: int, access: str) -> int | None:
        """Host address of a page that emitted code may access as it likes, else None."""
        try:
            paddr = self.hart.translate_page(vaddr, access)
        except Trap:
            return None
        return None if paddr is None else paddr - self._state.ram_base + self._state.ram_host

    def _mark_breakpoints(self) -> None:
        """Decode pages afresh when the breakpoints have changed: they are records."""
        if self.hart.breakpoints != self._marked:
            self._marked = frozenset(self.hart.breakpoints)
            self._state.flush_code()
