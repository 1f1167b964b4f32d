"""The reference engine: one Python function an instruction, generated from the table.

Slow and obvious, and the oracle for the others; it also executes every instruction that the native
engine leaves to it. What is fast here are the common cases only: decoded words are kept, and
aligned accesses to pages of RAM that have been resolved before go straight to the bytes (which
are read in the host's order: little-endian hosts only).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from types import CodeType
from typing import Any

from emu.cpu.hart import Hart
from emu.cpu.pysource import ARITHMETIC, source
from emu.cpu.softfloat import OPERATIONS
from emu.cpu.state import Dirty, State
from emu.cpu.system import SYSTEM
from emu.cpu.traps import Trap, illegal
from emu.errors import AiosError
from emu.isa import TABLE
from emu.isa.causes import Cause
from emu.isa.decode import decode

_ALL = (1 << 64) - 1
_PC, _INSTRET = State.indices["pc"], State.indices["instret"]
_FRM, _FFLAGS, _FS = (State.indices[name] for name in ("frm", "fflags", "fs"))
_DYNAMIC = 7
_LAST_MODE = 4
_KEPT_WORDS = 1 << 16

Function = Callable[..., int]


@cache
def _compiled(mnemonic: str) -> tuple[CodeType, tuple[str, ...]]:
    """The code of an instruction's function, shared by all harts, and the slots it takes."""
    text, slots = source(TABLE[mnemonic])
    return compile(text, f"<{mnemonic}>", "exec"), slots


def _memory_functions(hart: Hart) -> dict[str, Callable[..., Any]]:
    """`load32(address)`, `load_amo32(address)`, `store32(address, value)` and so on."""
    functions: dict[str, Callable[..., Any]] = {}

    def declare(bits: int, ram: memoryview[int]) -> None:
        size, shift = bits // 8, (bits // 8).bit_length() - 1

        def load(address: int) -> int:
            distance = hart.load_pages.get(address >> 12)
            if distance is None or address & (size - 1):
                return hart.load(address, size)
            return ram[(address + distance) >> shift]

        def load_amo(address: int) -> int:
            return hart.load(address, size, "store")

        def store(address: int, value: int) -> None:
            distance = hart.store_pages.get(address >> 12)
            if distance is None or address & (size - 1):
                hart.store(address, size, value)
            else:
                ram[(address + distance) >> shift] = value

        functions.update({f"load{bits}": load, f"load_amo{bits}": load_amo, f"store{bits}": store})

    ram = hart.memory.bytes
    for bits, words in ((8, ram), (16, ram.cast("H")), (32, ram.cast("I")), (64, ram.cast("Q"))):
        declare(bits, words)
    return functions


class ReferenceEngine:
    """Executes on `hart`, one instruction after the other."""

    def __init__(self, hart: Hart) -> None:
        if sys.byteorder != "little":
            raise AiosError("The machine runs on little-endian hosts only; this one is big-endian.")
        self.hart = hart
        self._decoded: dict[int, tuple[Function, tuple[int, ...]]] = {}
        self._functions: dict[str, Function] = {}
        self._halves = hart.memory.bytes.cast("H")
        self._words = hart.state.words
        self._names = self._namespace()

    def _namespace(self) -> dict[str, Any]:
        """What the generated functions see."""
        hart = self.hart
        return {
            **_memory_functions(hart),
            "hart": hart, "x": hart.state.x, "f": hart.state.f, "w": hart.state.words,
            "FS": _FS, "RESERVATION": State.indices["reservation"],
            "RESERVED": State.indices["reserved"],
            "Trap": Trap, "illegal": illegal, "system": SYSTEM, "fp": self._fp,
            **ARITHMETIC,
        }  # fmt: skip

    def _fp(self, name: str, mode: int, *operands: int) -> int:
        """A floating-point operation: chooses the rounding mode, accrues the flags."""
        words = self.hart.state.words
        if mode == _DYNAMIC:
            mode = words[_FRM]
        if mode > _LAST_MODE:
            raise illegal()
        result, flags = OPERATIONS[name](mode, *operands)
        if flags:  # raising one that is raised makes the state dirty as well, as in Spike
            words[_FFLAGS] |= flags
            words[_FS] = Dirty.DIRTY
        return result

    def _function(self, mnemonic: str) -> tuple[Function, tuple[str, ...]]:
        code, slots = _compiled(mnemonic)
        function = self._functions.get(mnemonic)
        if function is None:
            exec(code, self._names)
            function = self._functions[mnemonic] = self._names["instruction"]
        return function, slots

    def _decode(self, word: int) -> tuple[Function, tuple[int, ...]]:
        """The function of an instruction and its operands, kept by word; raises Trap."""
        decoded = decode(word)
        if decoded is None:
            raise Trap(Cause.ILLEGAL, word if word & 3 == 3 else word & 0xFFFF)
        function, slots = self._function(decoded.insn.mnemonic)
        entry = function, tuple(getattr(decoded, name) & _ALL for name in slots)
        if len(self._decoded) >= _KEPT_WORDS:  # a guest that generates code must not fill the host
            self._decoded.clear()
        self._decoded[word] = entry
        return entry

    def _fetch(self, pc: int) -> int:
        """The instruction's bits: 32 of them, or the low 16 of a compressed one."""
        distance = self.hart.fetch_pages.get(pc >> 12)
        if distance is None or pc & 4095 == 4094:
            return self.hart.fetch(pc)
        index = (pc + distance) >> 1
        low = self._halves[index]
        return low if low & 3 != 3 else low | self._halves[index + 1] << 16

    def execute_one(self) -> None:
        """The instruction at pc, or the trap that it takes; interrupts are not considered. It is
        what the native engine leaves over."""
        words = self._words
        pc = words[_PC]
        word = 0
        try:
            word = self._fetch(pc)
            entry = self._decoded.get(word)
            function, operands = entry if entry is not None else self._decode(word)
            words[_PC] = function(pc, *operands)
        except Trap as trap:
            self.hart.trap(trap.cause, word if trap.tval is None else trap.tval)
        else:
            words[_INSTRET] += 1

    def step(self) -> None:
        """Exactly one instruction, or one trap or interrupt taken; nothing while the hart waits."""
        if self.hart.interrupt_pending():
            self.hart.resume()
        elif self.hart.resume():
            self.execute_one()

    def run(self, budget: int) -> str:
        """At most `budget` instructions and traps.

        Returns "budget" when they are used up, "attention" when the machine must look at the hart
        (it may be waiting), or "breakpoint" before the instruction at one of `hart.breakpoints`,
        which as the first instruction of a run does not stop it.
        """
        hart, execute = self.hart, self.execute_one
        if not hart.resume() or hart.attention:
            return "attention"
        words, breakpoints = hart.state.words, hart.breakpoints
        for i in range(budget):
            if breakpoints and i and words[_PC] in breakpoints:
                return "breakpoint"
            execute()
            if hart.due and i + 1 < budget and not hart.attention:
                hart.take_interrupt()
            if hart.attention:
                return "attention"
        return "budget"
