"""Instructions and pseudo-instructions of a file: operands with symbols become relocations.

The table does the encoding. Here every operand that is an expression is replaced by its number
(or by 0 and a relocation) and the line is given to `emu.isa.assemble`. The pseudo-instructions that
need relocations are declared in `_ADDRESSING`; all others come from `emu.isa.pseudo`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from emu.isa import TABLE
from emu.isa.assemble import assemble_instruction, lookup
from emu.isa.csrs import BY_NAME
from emu.isa.declare import Instruction
from emu.isa.pseudo import PSEUDO, expand
from emu.isa.syntax import Operand, Place, operands
from toolchain.asm.expressions import Modified, parse_modified
from toolchain.asm.source import Statement, StatementError
from toolchain.elf import SHN_ABS, Symbol
from toolchain.kern.diagnostics import did_you_mean
from toolchain.link.relocations import R

if TYPE_CHECKING:
    from toolchain.asm.assembler import Unit

_BRANCH_RELOCATIONS = {13: R.BRANCH, 21: R.JAL, 9: R.RVC_BRANCH, 12: R.RVC_JUMP}
"""By the width of the instruction's target field."""
_LOW_RELOCATIONS = {
    # Stores have their immediate in two pieces.
    ("lo", False): R.LO12_I,
    ("lo", True): R.LO12_S,
    ("pcrel_lo", False): R.PCREL_LO12_I,
    ("pcrel_lo", True): R.PCREL_LO12_S,
}
_HIGH_RELOCATIONS = {"hi": R.HI20, "pcrel_hi": R.PCREL_HI20}
_NUMBER_KINDS = ("n", "b", "u", "csr")


def execute(unit: Unit, statement: Statement) -> None:
    """Assemble one instruction or pseudo-instruction at the current place."""
    name, texts = statement.name, [operand.text for operand in statement.operands]
    addressing = _ADDRESSING.get((name, len(texts)))
    if addressing is not None:
        addressing(unit, texts)
        return
    lines = expand(name, texts, unit.constant)
    if lines is None:
        _instruction(unit, name, texts)
        return
    for line in lines:
        mnemonic, _, rest = line.partition(" ")
        _instruction(unit, mnemonic, [part.strip() for part in rest.split(",")] if rest else [])


def _instruction(unit: Unit, name: str, texts: Sequence[str]) -> None:
    found = lookup(name)
    if found is None:
        raise StatementError(_unknown(name, len(texts)))
    insn = found[0]
    wanted = operands(insn)
    if len(texts) >= 2 and _is_symbolic_access(wanted, texts):
        _symbolic_access(unit, insn, texts)
        return
    numbers = [
        _number(unit, insn, operand, text) if operand.place is not None else text
        for operand, text in zip(wanted, texts, strict=False)
    ]
    line = f"{name} {', '.join([*numbers, *texts[len(numbers) :]])}"
    insn, word = assemble_instruction(line)
    unit.emit(word.to_bytes(insn.length, "little"))


def _unknown(name: str, count: int) -> str:
    pseudo = [("li", 2), *PSEUDO, *_ADDRESSING]
    counts = [str(n) for known, n in pseudo if known == name]
    if counts:
        return f"'{name}' takes {' or '.join(counts)} operands, not {count}."
    names = {*TABLE, *(known for known, _ in pseudo)}
    hint = did_you_mean(name, names)
    return f"'{name}' is not an instruction{'; ' + hint if hint else '.'}"


def _number(unit: Unit, insn: Instruction, operand: Operand, text: str) -> str:
    """The operand with its expression, if it has one, replaced by a number."""
    place = operand.place
    assert place is not None
    if place.kind not in _NUMBER_KINDS or (place.kind == "csr" and text in BY_NAME):
        return text
    tail = ""
    if operand.base is not None:
        match = re.fullmatch(r"(.*)(\([^()]*\))", text)
        if match is None or not match[1].strip():
            return text
        text, tail = match[1].strip(), match[2]
    return f"{_resolve(unit, insn, place, text)}{tail}"


def _resolve(unit: Unit, insn: Instruction, place: Place, text: str) -> int:
    """The number that stands in the instruction: the value, or 0 where a relocation gives it."""
    modified = parse_modified(text, unit.symbol)
    value = modified.value
    if modified.modifier:
        return _part(unit, place, modified, text)
    if place.kind == "b":
        kind = _BRANCH_RELOCATIONS[place.field.top]
        target = value.plus or Symbol(".L", SHN_ABS)
        if value.minus is not None:
            raise StatementError(f"'{text}' is a distance, not a place to branch to.")
        unit.branch(insn.mnemonic, place.field, kind, target, value.constant)
        return 0
    if not value.known:
        raise StatementError(
            f"'{text}' is not a number that is known here; an address needs %hi and %lo, or la."
        )
    return value.constant


def _part(unit: Unit, place: Place, modified: Modified, text: str) -> int:
    """The part of a value that a modifier names."""
    value, modifier = modified.value, modified.modifier
    high = modifier in _HIGH_RELOCATIONS
    if high != (place.kind == "u"):
        raise StatementError(f"'{text}' does not belong into this instruction.")
    if value.known:
        if modifier.startswith("pcrel"):
            raise StatementError(f"'{text}' needs a symbol.")
        low = ((value.constant & 0xFFF) ^ 0x800) - 0x800
        return (value.constant - low) >> 12 & 0xFFFFF if high else low
    if value.plus is None or value.minus is not None:
        raise StatementError(f"'{text}' needs the address of one symbol.")
    split = len(place.field.pieces) > 1
    kind = _HIGH_RELOCATIONS[modifier] if high else _LOW_RELOCATIONS[modifier, split]
    unit.relocate(kind, value.plus, value.constant)
    return 0


# --- pseudo-instructions with addresses ---------------------------------------------------------


def _is_symbolic_access(wanted: Sequence[Operand], texts: Sequence[str]) -> bool:
    """Whether it is a load or store whose address is a symbol: `ld a0, counter`."""
    return (
        len(wanted) == 2
        and wanted[1].base is not None
        and wanted[1].place is not None
        and wanted[1].place.field.name == "imm"
        and "(" not in texts[1]
    )


def _symbolic_access(unit: Unit, insn: Instruction, texts: Sequence[str]) -> None:
    value, symbol = texts[0], texts[1]
    is_integer_load = insn.encoding.field("rd") is not None and "{rd}" in insn.syntax
    if len(texts) != (2 if is_integer_load else 3):
        raise StatementError(
            f"'{insn.mnemonic}' of a symbol takes "
            + ("two operands." if is_integer_load else "a third operand, a scratch register.")
        )
    _pc_relative(unit, texts[-1] if len(texts) == 3 else value, symbol, insn.mnemonic, value)


def _pc_relative(unit: Unit, base: str, symbol: str, mnemonic: str, value: str) -> None:
    """auipc, and an instruction that uses the low part of the distance to `symbol`."""
    low = f"%pcrel_lo({unit.local_label()})"
    _instruction(unit, "auipc", [base, f"%pcrel_hi({symbol})"])
    if mnemonic == "addi":
        _instruction(unit, mnemonic, [value, base, low])
    else:
        _instruction(unit, mnemonic, [value, f"{low}({base})"])


def _load_address(unit: Unit, texts: Sequence[str]) -> None:
    if unit.value(texts[1]).known:
        raise StatementError(f"'{texts[1]}' is a number, not a symbol; use li.")
    _pc_relative(unit, texts[0], texts[1], "addi", texts[0])


def _call(unit: Unit, link: str, scratch: str, symbol: str) -> None:
    value = unit.value(symbol)
    if value.plus is None or value.minus is not None:
        raise StatementError(f"'{symbol}' is not a function's name.")
    unit.relocate(R.CALL_PLT, value.plus, value.constant)
    _instruction(unit, "auipc", [scratch, "0"])
    _instruction(unit, "jalr", [link, f"0({scratch})"])


def _jump_register(unit: Unit, link: str, target: str) -> None:
    """`jr a0` or `jr 8(a0)`."""
    _instruction(unit, "jalr", [link, target if "(" in target else f"0({target})"])


_ADDRESSING: dict[tuple[str, int], Callable[[Unit, Sequence[str]], None]] = {
    ("la", 2): _load_address,
    ("lla", 2): _load_address,
    ("call", 1): lambda unit, t: _call(unit, "ra", "ra", t[0]),
    ("call", 2): lambda unit, t: _call(unit, t[0], t[0], t[1]),
    ("tail", 1): lambda unit, t: _call(unit, "x0", "t1", t[0]),
    ("jr", 1): lambda unit, t: _jump_register(unit, "x0", t[0]),
    ("jalr", 1): lambda unit, t: _jump_register(unit, "ra", t[0]),
    ("jump", 2): lambda unit, t: _call(unit, "x0", t[1], t[0]),
}
