"""Unwinding: from the hart's registers to those that each caller will have when it goes on.

Compiled code comes with .debug_frame, which says for every instruction where the caller's stack
pointer (the CFA) and saved registers are. Assembly has none: its prologue is read instead, up to
pc (`addi sp, sp, -N` and `sd ra, K(sp)`). The way ends at code that has no caller: the entry, and
trap handlers, which swap sp with a scratch register.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emu.isa.csrs import BY_NAME
from emu.isa.decode import decode
from toolchain.debug.dwarf import Function, Program
from toolchain.debug.errors import DebugError
from toolchain.debug.memory import GuestMemory

RA, SP = 1, 2
_MOST_FRAMES = 1000
_SCRATCH = (BY_NAME["mscratch"].number, BY_NAME["sscratch"].number)


@dataclass(frozen=True)
class Frame:
    """One call in progress. `x` are the integer registers as that function sees them; `cfa` is the
    stack pointer its caller had, which tells one call from another."""

    number: int
    pc: int
    x: tuple[int, ...]
    function: Function | None
    cfa: int

    @property
    def lookup_pc(self) -> int:
        """An address inside the instruction being executed: a caller's pc is behind its call,
        where another line may begin already."""
        return self.pc - 1 if self.number else self.pc


@dataclass(frozen=True)
class _Rules:
    """How to undo a frame: CFA = register + offset; where the saved registers are, from CFA."""

    register: int
    offset: int
    saved: dict[int, int]


class Unwinder:
    """Finds functions by address, and the callers of a frame."""

    def __init__(self, program: Program, memory: GuestMemory) -> None:
        self._memory = memory
        self._functions = program.functions
        self._starts = [f.low for f in program.functions]
        self._descriptions = _descriptions(program.dwarf)

    def function_at(self, pc: int) -> Function | None:
        """The function that has the code at `pc`."""
        i = bisect_right(self._starts, pc) - 1
        found = self._functions[i] if i >= 0 else None
        return found if found is not None and pc < found.high else None

    def innermost(self, pc: int, x: Sequence[int]) -> Frame:
        """The frame of the function at `pc` with the hart's registers."""
        return self._frame(0, pc, tuple(x))

    def frames(self, pc: int, x: Sequence[int]) -> list[Frame]:
        """All calls in progress, the innermost first."""
        found = [self.innermost(pc, x)]
        while len(found) < _MOST_FRAMES:
            caller = self._caller(found[-1])
            if caller is None:
                break
            found.append(caller)
        return found

    def _frame(self, number: int, pc: int, x: tuple[int, ...]) -> Frame:
        here = pc - 1 if number else pc
        function = self.function_at(here)
        rules = self._rules(function, pc, here) if function else None
        cfa = x[rules.register] + rules.offset if rules else x[SP]
        return Frame(number, pc, x, function, cfa & (1 << 64) - 1)

    def _caller(self, frame: Frame) -> Frame | None:
        if frame.function is None:
            return None
        rules = self._rules(frame.function, frame.pc, frame.lookup_pc)
        if rules is None or (frame.number and RA not in rules.saved):
            return None  # ra of an outer function has been overwritten by its own call
        x = list(frame.x)
        try:
            for register, offset in rules.saved.items():
                x[register] = self._memory.read_int(frame.cfa + offset)
        except DebugError:
            return None
        x[SP] = frame.cfa
        outside = self.function_at(x[RA] - 1)
        if outside is None or (outside is frame.function and frame.function.block is None):
            return None
        return self._frame(frame.number + 1, x[RA], tuple(x))

    def _rules(self, function: Function, pc: int, here: int) -> _Rules | None:
        """The rules that hold before the instruction at `pc`; None where there is no caller."""
        description = self._descriptions.get(function.low)
        if description is not None:
            return _from_description(description, here)
        return self._from_prologue(function, pc)

    def _from_prologue(self, function: Function, pc: int) -> _Rules | None:
        at, offset = function.low, 0
        saved: dict[int, int] = {}  # register to offset from the sp at entry
        while at < pc:
            try:
                word = decode(self._memory.instruction(at))
            except DebugError:
                return None
            if word is None:
                break
            match word.insn.mnemonic:
                case "csrrw" if word.rd == SP and word.imm & 0xFFF in _SCRATCH:
                    return None
                case "addi" if word.rd == SP and word.rs1 == SP:
                    offset -= word.imm
                case "c.addi16sp":
                    offset -= word.imm
                case "sd" if word.rs1 == SP and word.rs2 == RA:
                    saved[RA] = word.imm - offset
                case "c.sdsp" if word.rs2 == RA:
                    saved[RA] = word.imm - offset
                case "jal" | "jalr" | "c.jalr" | "c.jr" | "c.j":
                    break
            at += word.length
        return _Rules(SP, offset, saved)


def _descriptions(dwarf: Any) -> dict[int, Any]:
    """pyelftools' frame description entries by the address where their functions start."""
    if dwarf is None or not dwarf.has_CFI():
        return {}
    entries = (entry for entry in dwarf.CFI_entries() if "initial_location" in entry.header)
    return {entry["initial_location"]: entry for entry in entries}


def _from_description(description: Any, pc: int) -> _Rules | None:
    rows = [row for row in description.get_decoded().table if row["pc"] <= pc]
    if not rows or rows[-1]["cfa"].reg is None:
        return None
    row = rows[-1]
    saved = {
        register: rule.arg
        for register, rule in row.items()
        if isinstance(register, int) and register < 32 and rule.type == "OFFSET"
    }
    return _Rules(row["cfa"].reg, row["cfa"].offset, saved)
