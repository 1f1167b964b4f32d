"""The assembler of single instructions: one line of text to bytes, from the table's syntax.

`assemble_line` takes an instruction, or one of the pseudo-instructions of `pseudo`; operands are
registers, CSRs and numbers, where a number may be a symbol of the caller's, `.` for pc, or a sum of
such. Labels, directives and relocations are the business of `toolchain.asm`, which resolves them
and calls `encode`. Every error is an `AiosError` that names the operand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from emu.errors import AiosError
from emu.isa import TABLE
from emu.isa.csrs import ANY_NAME
from emu.isa.declare import Instruction
from emu.isa.pseudo import expand
from emu.isa.registers import NUMBERS
from emu.isa.syntax import ROUNDING_MODES, Operand, Place, operands

_BANKS = {"x": "an integer register", "f": "a floating-point register", "t": "a tensor register"}
_TERM = re.compile(r"\s*([+-]?)\s*(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+|[.$\w]+)\s*")
_ORDERINGS = {"aq": ("aq",), "rl": ("rl",), "aqrl": ("aq", "rl")}


def evaluate(text: str, pc: int = 0, symbols: Mapping[str, int] | None = None) -> int:
    """A sum of numbers, symbols and `.`; raises AiosError for anything else."""
    total, position = 0, 0
    while position < len(text) or not position:
        match = _TERM.match(text, position)
        if match is None or (position and not match[1]):
            raise AiosError(f"'{text}' is not a number or a known symbol.")
        sign, name = match.groups()
        if name[0].isdigit():
            try:
                value = int(name, 8 if re.fullmatch(r"0[0-7]+", name) else 0)
            except ValueError:
                raise AiosError(f"'{name}' is not a number.") from None
        elif name == ".":
            value = pc
        elif symbols is not None and name in symbols:
            value = symbols[name]
        else:
            raise AiosError(f"'{name}' is not a number or a known symbol.")
        total += -value if sign == "-" else value
        position = match.end()
    return total


def lookup(mnemonic: str) -> tuple[Instruction, dict[str, int]] | None:
    """The instruction of that name and the ordering bits that a suffix (`.aqrl`) asks for."""
    if mnemonic in TABLE:
        return TABLE[mnemonic], {}
    base, _, suffix = mnemonic.rpartition(".")
    insn = TABLE.get(base)
    if insn is None or suffix not in _ORDERINGS or insn.encoding.field("aq") is None:
        return None
    return insn, dict.fromkeys(_ORDERINGS[suffix], 1)


def encode(insn: Instruction, fields: Mapping[str, int]) -> int:
    """The instruction's bits with these field values, absent ones zero; AiosError if one is
    out of its range or the combination is reserved."""
    word = insn.encoding.match
    for field in insn.encoding.fields:
        value = fields.get(field.name, 8 if field.primed else 0)
        if not field.fits(value):
            raise AiosError(_misfit(insn, field.name, value))
        word |= field.insert(value)
    if not insn.matches(word):
        raise AiosError(f"'{insn.mnemonic}' cannot have these operands: the encoding is reserved.")
    return word


def _misfit(insn: Instruction, name: str, value: int) -> str:
    field = insn.encoding.field(name)
    assert field is not None
    if field.primed:
        return f"'{insn.mnemonic}' takes only the registers x8 to x15 for {name}, not x{value}."
    low, high = (
        (-(1 << (field.top - 1)), 1 << (field.top - 1)) if field.signed else (0, 1 << field.top)
    )
    step = f" in steps of {field.align}" if field.align > 1 else ""
    zero = " without 0" if field.nonzero else ""
    return (
        f"{value} does not fit '{insn.mnemonic}', whose {name} is "
        f"{low} to {high - field.align}{step}{zero}."
    )


def _read(place: Place, text: str, pc: int, symbols: Mapping[str, int] | None) -> int:
    """The field value that the operand `text` stands for."""
    if place.kind in _BANKS:
        number = NUMBERS[place.kind].get(text)
        if number is None:
            raise AiosError(f"'{text}' is not {_BANKS[place.kind]}.")
        return number
    if place.kind.startswith("rm") and not text.isdigit():
        if text not in ROUNDING_MODES:
            raise AiosError(f"'{text}' is not a rounding mode: {', '.join(ROUNDING_MODES)}.")
        return ROUNDING_MODES[text]
    if place.kind == "csr" and text in ANY_NAME:
        return ANY_NAME[text].number
    if place.kind == "set" and re.fullmatch("i?o?r?w?", text):
        return sum(1 << "wroi".index(c) for c in text)
    value = evaluate(text, pc, symbols)
    if place.kind == "b":
        return (value - pc + (1 << 63)) % (1 << 64) - (1 << 63)  # addresses wrap
    if place.kind == "u":
        if not -(1 << 19) <= value < 1 << 20:
            raise AiosError(f"{value:#x} does not fit the 20 bits of an upper immediate.")
        return ((value + (1 << 19)) % (1 << 20) - (1 << 19)) << 12
    return value


def _match(operand: Operand, text: str) -> list[tuple[Place, str]]:
    """Pair the places of an operand with the parts of its text."""
    if operand.base is not None:
        match = re.fullmatch(r"(.*)\(([^()]*)\)", text)
        if match is None:
            raise AiosError(f"'{text}' is not an address such as 8(sp).")
        offset, base = match[1].strip(), match[2].strip()
        pairs = [(operand.place, offset or "0")] if operand.place else []
        if operand.place is None and offset not in ("", "0"):
            raise AiosError(f"'{text}' has an offset, which this instruction cannot.")
        if isinstance(operand.base, str):
            if NUMBERS["x"].get(base) != NUMBERS["x"][operand.base]:
                raise AiosError(f"'{text}' must be relative to {operand.base}.")
            return pairs
        return [*pairs, (operand.base, base)]
    if operand.place is None:
        if NUMBERS["x"].get(text) != NUMBERS["x"][operand.text]:
            raise AiosError(f"'{text}' must be {operand.text}.")
        return []
    return [(operand.place, text)]


def split(text: str) -> tuple[str, list[str]]:
    """A line's mnemonic and its comma-separated operands."""
    mnemonic, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    return mnemonic, [part.strip() for part in rest.split(",")] if rest else []


def assemble_instruction(
    text: str, pc: int = 0, symbols: Mapping[str, int] | None = None
) -> tuple[Instruction, int]:
    """One real instruction's declaration and bits; raises AiosError naming what is wrong."""
    mnemonic, texts = split(text.replace("\t", " "))
    found = lookup(mnemonic)
    if found is None:
        raise AiosError(f"'{mnemonic}' is not an instruction.")
    insn, fields = found
    wanted = operands(insn)
    required = [o for o in wanted if not o.optional]
    if not len(required) <= len(texts) <= len(wanted):
        usage = insn.syntax.replace("{", "").replace("}", "")
        raise AiosError(f"'{mnemonic}' takes {len(required)} operands ({usage}), not {len(texts)}.")
    for operand in wanted[len(texts) :]:
        assert operand.place is not None
        fields["rm"] = ROUNDING_MODES["rne" if operand.place.kind == "rme" else "dyn"]
    for operand, part in zip(wanted, texts, strict=False):
        for place, value in _match(operand, part):
            fields[place.field.name] = _read(place, value, pc, symbols)
    return insn, encode(insn, fields)


def assemble_line(text: str, pc: int = 0, symbols: Mapping[str, int] | None = None) -> bytes:
    """The bytes of one line: an instruction or a pseudo-instruction, which may become several.

    `pc` is the line's address; `symbols` gives the values of names. Raises AiosError.
    """
    code = b""
    mnemonic, texts = split(text.replace("\t", " "))
    for line in expand(mnemonic, texts, lambda t: evaluate(t, pc, symbols)) or [text]:
        insn, word = assemble_instruction(line, pc + len(code), symbols)
        code += word.to_bytes(insn.length, "little")
    return code
