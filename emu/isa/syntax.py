"""The syntax of assembly, read once: the operands that assembler and disassembler share.

`operands(insn)` is a tuple of templates, one for each comma-separated operand. A template is a
field (`rd`), a field before a register in parentheses (`imm(rs1)`), a bare register in parentheses,
or fixed text (`sp`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from emu.isa.declare import Instruction
from emu.isa.encoding import Field

ROUNDING_MODES = {"rne": 0, "rtz": 1, "rdn": 2, "rup": 3, "rmm": 4, "dyn": 7}
_REGISTER_FIELDS = frozenset(("rd", "rs1", "rs2", "rs3"))
_FIELD = re.compile(r"\{(\w+)(?::(\w))?\}")


@dataclass(frozen=True)
class Place:
    """A field of the syntax and how it is written.

    `kind`: `x`, `f`, `t` a register of that bank; `n` a number; `b` a pc-relative target; `u` the
    upper 20 bits; `csr`; `set` (of a fence); `rm`, and `rme` for an exact conversion's.
    """

    field: Field
    kind: str


@dataclass(frozen=True)
class Operand:
    """One operand: `place`, then `base` in parentheses; or `text`, which is always the same."""

    place: Place | None = None
    base: Place | str | None = None
    text: str = ""

    @property
    def optional(self) -> bool:
        """Whether it may be left out: a rounding mode."""
        return self.place is not None and self.place.kind.startswith("rm")


def _kind(name: str, suffix: str | None) -> str:
    if name in _REGISTER_FIELDS:
        return suffix or "x"
    if name == "rm":
        return "rm" + (suffix or "")
    special = {"csr": "csr", "pred": "set", "succ": "set"}
    return suffix or special.get(name, "n")


def _place(insn: Instruction, text: str) -> Place | None:
    match = _FIELD.fullmatch(text)
    if match is None:
        return None
    field = insn.encoding.field(match[1])
    if field is None:
        raise ValueError(f"the syntax '{insn.syntax}' names '{match[1]}', not in its encoding")
    return Place(field, _kind(match[1], match[2]))


def _operand(insn: Instruction, text: str) -> Operand:
    match = re.fullmatch(r"(.*)\((.*)\)", text)
    if match:
        return Operand(_place(insn, match[1]), base=_place(insn, match[2]) or match[2])
    place = _place(insn, text)
    return Operand(place, text="" if place else text)


@cache
def operands(insn: Instruction) -> tuple[Operand, ...]:
    """The operands of `insn`, in the order in which they are written."""
    _, _, rest = insn.syntax.partition(" ")
    return tuple(_operand(insn, part.strip()) for part in rest.split(",")) if rest else ()
