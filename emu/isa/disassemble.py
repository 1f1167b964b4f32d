"""The disassembler: bits to text, in the spelling of objdump, straight from the table's syntax.

Every word that `decode` accepts comes out as text that `assemble` turns into the same word again
(a hint or fence with reserved bits set loses those). Others come out as `.4byte` or `.2byte`.
"""

from __future__ import annotations

from emu.isa.csrs import ANY_NUMBER
from emu.isa.declare import Instruction
from emu.isa.decode import find
from emu.isa.registers import NAMES
from emu.isa.syntax import ROUNDING_MODES, Operand, Place, operands

_MODE_NAMES = {number: name for name, number in ROUNDING_MODES.items()}


def _write(place: Place, word: int, pc: int | None) -> str:
    """One field's value as text."""
    value = place.field.extract(word)
    if place.kind in NAMES:
        return NAMES[place.kind][value]
    match place.kind:
        case "b":
            return f".{value:+d}" if pc is None else f"{(pc + value) & ((1 << 64) - 1):#x}"
        case "u":
            return f"{value >> 12 & 0xFFFFF:#x}"
        case "csr":
            return ANY_NUMBER[value].name if value in ANY_NUMBER else f"{value:#x}"
        case "set":
            names = "".join(c for i, c in enumerate("wroi") if value >> i & 1)[::-1]
            return names or "0"
        case "rm" | "rme":
            return _MODE_NAMES.get(value, str(value))
    return str(value)


def _operand(operand: Operand, word: int, pc: int | None) -> str | None:
    if operand.place is not None and operand.optional:
        usual = ROUNDING_MODES["rne" if operand.place.kind == "rme" else "dyn"]
        if operand.place.field.extract(word) == usual:
            return None
    text = operand.text if operand.place is None else _write(operand.place, word, pc)
    if operand.base is None:
        return text
    base = operand.base if isinstance(operand.base, str) else _write(operand.base, word, pc)
    return f"{text}({base})"


def _ordering(insn: Instruction, word: int) -> str:
    """The suffix for an atomic instruction's acquire and release bits."""
    bits = [n for n in ("aq", "rl") if (f := insn.encoding.field(n)) and f.extract(word)]
    return "." + "".join(bits) if bits else ""


def disassemble(word: int, pc: int | None = None) -> str:
    """The instruction in the low 16 or 32 bits of `word`, as text.

    With `pc` a branch's target is an address, without it a distance (`.+8`).
    """
    insn = find(word)
    if insn is None:
        wide = word & 3 == 3
        return f".4byte {word & 0xFFFFFFFF:#x}" if wide else f".2byte {word & 0xFFFF:#x}"
    parts = [_operand(o, word, pc) for o in operands(insn)]
    text = ", ".join(part for part in parts if part is not None)
    return f"{insn.mnemonic}{_ordering(insn, word)} {text}".rstrip()
