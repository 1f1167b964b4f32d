"""The table, and the decorator that adds an instruction to it.

    @insn("0000000 rs2 rs1 000 rd 0110011", "add {rd}, {rs1}, {rs2}")
    def add(m, rd, rs1, rs2):
        \"\"\"Add; wraps at XLEN.\"\"\"
        m.x[rd] = m.x[rs1] + m.x[rs2]

The body's parameters name the decoded slots it wants (`graph.SLOTS`; `SLOT_OF_FIELD` says which
field of the picture fills which slot); it is traced once, here. The first line of its docstring is
the instruction's description everywhere. A body is an ordinary function: another instruction's body
may call it, as the C extension's do.

The syntax gives the assembler and the disassembler their operands. `{field}` is an integer register
or a number, as the field is; a suffix says otherwise:

* `:f` a floating-point register, `:t` a tensor register;
* `:b` a pc-relative target, `:u` the upper 20 bits (written shifted right by 12);
* `{csr}` a CSR, `{pred}` and `{succ}` fence sets, `{field}` a descriptor's field;
* `{rm}` an optional rounding mode, dynamic unless written; `{rm:e}` one for an exact conversion,
  round-to-nearest-even unless written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import cast

from emu.isa import graph
from emu.isa.encoding import Encoding, parse

SLOT_OF_FIELD = {
    "rd": "rd", "rs1": "rs1", "rs2": "rs2", "rs3": "rs3", "rm": "rm",
    "td": "rd", "ts1": "rs1", "ts2": "rs2", "zimm": "rs1", "field": "imm", "csr": "imm",
    "imm": "imm", "uimm": "imm", "nzimm": "imm", "nzuimm": "imm", "shamt": "imm",
}  # fmt: skip
"""Fields not named here (aq, rl, and a fence's) have no slot: they change nothing on one hart."""


@dataclass(frozen=True)
class Pattern:
    """The words `w` with `w & mask == match`."""

    mask: int
    match: int

    def implies(self, other: Pattern) -> bool:
        """Whether every word of this pattern is one of `other`'s."""
        return other.mask & ~self.mask == 0 and self.match & other.mask == other.match


@dataclass(frozen=True)
class Instruction:
    """One instruction: its encoding, its syntax, its description and the trace of its body.

    `exclusions` are words inside the encoding that are not this instruction (reserved, or another
    one); there are at most two.
    """

    mnemonic: str
    extension: str
    encoding: Encoding
    syntax: str
    doc: str
    steps: tuple[graph.Node, ...]
    exclusions: tuple[Pattern, ...] = ()

    @property
    def length(self) -> int:
        """Size in bytes."""
        return self.encoding.bits // 8

    @property
    def pattern(self) -> Pattern:
        """The words that may be this instruction, before exclusions."""
        return Pattern(self.encoding.mask, self.encoding.match)

    def matches(self, word: int) -> bool:
        """Whether the low bits of `word` encode this instruction, exclusions considered."""
        if word & self.encoding.mask != self.encoding.match:
            return False
        return all(word & p.mask != p.match for p in self.exclusions)


TABLE: dict[str, Instruction] = {}

_OPCODE = {16: 0xE003, 32: 0x7F}
"""The bits, by length, that every instruction fixes: only those that agree there can overlap."""
_by_opcode: dict[tuple[int, int], list[Instruction]] = {}


def _overlaps(a: Instruction, b: Instruction) -> bool:
    """Whether some word is both; what the fixed bits of both leave must not be excluded by one."""
    one, other = a.encoding, b.encoding
    if (one.match ^ other.match) & one.mask & other.mask:
        return False
    both = Pattern(one.mask | other.mask, one.match | other.match)
    return not any(both.implies(excluded) for excluded in a.exclusions + b.exclusions)


def _add(instruction: Instruction) -> None:
    encoding = instruction.encoding
    opcode = _OPCODE[encoding.bits]
    if instruction.mnemonic in TABLE:
        raise ValueError(f"the instruction '{instruction.mnemonic}' is declared twice")
    if opcode & ~encoding.mask:
        raise ValueError(f"the encoding '{encoding.picture}' leaves bits of the opcode open")
    neighbours = _by_opcode.setdefault((encoding.bits, encoding.match & opcode), [])
    for other in neighbours:
        if _overlaps(instruction, other):
            raise ValueError(f"'{instruction.mnemonic}' and '{other.mnemonic}' overlap")
    neighbours.append(instruction)
    TABLE[instruction.mnemonic] = instruction


def _exclusions(encoding: Encoding, never: Mapping[str, tuple[int, ...]]) -> tuple[Pattern, ...]:
    """The words whose `nz` immediate is zero or whose named field has a value of `never`."""
    patterns = [
        Pattern(f.mask | encoding.mask, encoding.match) for f in encoding.fields if f.nonzero
    ]
    for name, values in never.items():
        field = encoding.field(name)
        if field is None:
            raise ValueError(f"the encoding '{encoding.picture}' has no field '{name}'")
        mask = field.mask | encoding.mask
        patterns += [Pattern(mask, field.insert(value) | encoding.match) for value in values]
    return tuple(patterns)


def insn(
    picture: str,
    syntax: str,
    *,
    never: Mapping[str, tuple[int, ...]] | None = None,
    doc: str = "",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare an instruction.

    `never` gives, by field, the values that make a word of this picture something else: reserved,
    or another instruction. `doc` stands in for the body's docstring where one body serves several
    declarations. Raises ValueError, at import, for an encoding that overlaps another.
    """

    def declare(body: Callable[..., None]) -> Callable[..., None]:
        encoding = parse(picture)
        code = cast(FunctionType, body).__code__  # inspect.signature takes ten times as long
        slots = code.co_varnames[1 : code.co_argcount]
        unfilled = set(slots) - {SLOT_OF_FIELD.get(f.name) for f in encoding.fields}
        if unfilled - {"raw", "length"}:
            raise ValueError(f"'{syntax}' has no field for {sorted(unfilled)}")
        _add(
            Instruction(
                mnemonic=syntax.split()[0],
                extension=body.__module__.split(".")[2],
                encoding=encoding,
                syntax=syntax,
                doc=doc or (inspect.getdoc(body) or "").split("\n")[0],
                steps=graph.trace(body, slots),
                exclusions=_exclusions(encoding, never or {}),
            )
        )
        return body

    return declare
