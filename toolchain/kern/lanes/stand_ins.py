"""Instructions that stand for lanes' instructions while LLVM generates code.

LLVM cannot write an instruction that it does not know, but it can allocate registers for one that
it does, and gpu functions leave two families unused: Zimop's `mop.r.N` (its intrinsic is pure, as
reading an index is) and atomics that order other accesses, `amo*.d` with aq or rl, which stay where
they are written. Each kernel gives the latter their meanings anew: `rd` is the result, `rs1` and
`rs2` the operands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from emu.errors import AiosError
from emu.isa import TABLE
from emu.isa.assemble import assemble_line
from toolchain.kern.codegen.lane_intrinsics import CSRS
from toolchain.kern.codegen.lanes import LANE_PREFIX

_OPERATIONS = {
    "xchg": 0b00001, "add": 0b00000, "xor": 0b00100, "and": 0b01100, "or": 0b01000,
    "min": 0b10000, "max": 0b10100, "umin": 0b11000, "umax": 0b11100,
}  # fmt: skip
"""LLVM's operations and their funct5."""
_ORDERINGS = {"seq_cst": 0b11, "acquire": 0b10, "release": 0b01}
"""LLVM's orderings and the aq and rl bits that they come out as."""
_FAMILY = [(op, ordering) for ordering in _ORDERINGS for op in _OPERATIONS]
_BITS = [_OPERATIONS[op] << 2 | _ORDERINGS[ordering] for op, ordering in _FAMILY]
"""Each stand-in as LLVM writes it, and bits 31:25 of its encoding."""

_AMO, _DOUBLE, _SYSTEM, _MOP = 0b0101111, 0b011, 0b1110011, 0b100
_CALL = re.compile(
    r'^(?P<lead>\s*)(?:(?P<result>%[\w.$-]+) = )?(?:tail )?call i64 @"' + LANE_PREFIX
    + r'(?P<text>[^"]+)"\((?P<arguments>[^)]*(?:\([^)]*\)[^)]*)*)\)(?: #\d+)?'
    r"(?P<location>, !dbg !\d+)?.*$", re.M
)  # fmt: skip
_OPERAND = re.compile(
    r"(i64|ptr)(?: (?:nonnull|noundef|readonly|align \d+|range\([^)]*\)))*"
    r" (%[\w.$-]+|-?\d+|null|poison|undef|@[\w.$-]+|inttoptr \([^)]*\))"
)


def _cast(operation: str, operand: tuple[str, str], type_: str) -> str:
    return f"{operation} {operand[0]} {operand[1]} to {type_}"


def _same(operand: tuple[str, str]) -> str:
    return f"freeze {operand[0]} {operand[1]}"


@dataclass
class StandIns:
    """What the stand-ins of one kernel mean: the assembly text for each."""

    meanings: list[str] = field(default_factory=list)

    def write(self, function: str) -> str:
        """The text of a function with its calls replaced by stand-ins."""
        return _CALL.sub(self._replace, function)

    def _replace(self, match: re.Match[str]) -> str:
        text = match["text"]
        if text not in self.meanings:
            self.meanings.append(text)
        number = self.meanings.index(text)
        if number >= len(_FAMILY):
            raise AiosError(
                f"A gpu function uses more than {len(_FAMILY)} different instructions that only "
                f"lanes have, '{text}' among them; split it."
            )
        operation, ordering = _FAMILY[number]
        operands = _OPERAND.findall(match["arguments"])
        if len(operands) > 2:
            raise AiosError(f"'{text}' takes {len(operands)} registers; lanes can give it two.")
        first, second = [*operands, ("i64", "0"), ("i64", "0")][:2]
        lead, end = match["lead"], (match["location"] or "") + "\n"
        name = f"%stand.{match.start()}"
        result = match["result"] or f"{name}.r"
        address = _cast("inttoptr", first, "ptr") if first[0] == "i64" else _same(first)
        value = _cast("ptrtoint", second, "i64") if second[0] == "ptr" else _same(second)
        exchange = f"atomicrmw volatile {operation} ptr {name}.a, i64 {name}.v {ordering}, align 8"
        lines = (f"{name}.a = {address}", f"{name}.v = {value}", f"{result} = {exchange}")
        return "".join(f"{lead}{line}{end}" for line in lines).rstrip("\n")

    def resolve(self, word: int) -> int:
        """An instruction of the kernel as it shall be: a stand-in's meaning, others as they are."""
        rd, rs1, rs2 = word >> 7 & 31, word >> 15 & 31, word >> 20 & 31
        opcode, funct3 = word & 0x7F, word >> 12 & 7
        if opcode == _SYSTEM and funct3 == _MOP:
            return _encode(f"csrrs x{rd}, {CSRS[_mop_number(word)]:#x}, x0")
        if opcode != _AMO or funct3 != _DOUBLE or word >> 25 not in _BITS:
            return word
        return _encode(_operate(self.meanings[_BITS.index(word >> 25)], rd, rs1, rs2))


def _mop_number(word: int) -> int:
    """N of `mop.r.N`: bits 30, 27, 26, 21 and 20."""
    return word >> 30 << 4 & 16 | word >> 26 << 2 & 12 | word >> 20 & 3


def _operate(text: str, rd: int, rs1: int, rs2: int) -> str:
    """Assembly text, in which operands are a0 and a1 and the result a0, with real registers."""
    mnemonic, _, rest = text.partition(" ")
    named = re.findall(r"\{(\w+)[^}]*\}", TABLE[mnemonic].syntax)
    parts = rest.split(", ")
    registers = {"a0": f"x{rs1}", "a1": f"x{rs2}"}
    for i, part in enumerate(parts):
        if named[i] == "rd" and part == "a0":
            parts[i] = f"x{rd}"
        else:
            parts[i] = re.sub(r"\ba[01]\b", lambda m: registers[m[0]], part)
    return f"{mnemonic} {', '.join(parts)}"


def _encode(text: str) -> int:
    code = assemble_line(text)
    assert len(code) == 4, text
    return int.from_bytes(code, "little")
