"""The table, and the decorator that adds an instruction to it.

    @insn("0000000 rs2 rs1 000 rd 0110011", "add {rd}, {rs1}, {rs2}")
    def add(m, rd, rs1, rs2):
        \"\"\"Add; wraps at XLEN.\"\"\"
        m.x[rd] = m.x[rs1] + m.x[rs2]

The body's parameters name the decoded slots it wants (`graph.SLOTS`); it is traced once, here. The
first line of its docstring is the instruction's description everywhere. The syntax gives the
assembler and the disassembler their operands: `{rd}` is an integer register, `{rd:f}` a
floating-point one, `{rd:t}` a tensor register, `{imm}` a number, `{imm:b}` a pc-relative target,
`{csr}` a CSR and `{rm}` an optional rounding mode.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from emu.isa import graph
from emu.isa.encoding import Encoding, parse

SLOT_OF_FIELD = {
    "rd": "rd", "rs1": "rs1", "rs2": "rs2", "rs3": "rs3", "rm": "rm",
    "imm": "imm", "uimm": "imm", "nzimm": "imm", "nzuimm": "imm", "shamt": "imm", "csr": "imm",
}  # fmt: skip


@dataclass(frozen=True)
class Instruction:
    """One instruction: its encoding, its syntax, its description and the trace of its body."""

    mnemonic: str
    extension: str
    encoding: Encoding
    syntax: str
    doc: str
    steps: tuple[graph.Node, ...]
    constraint: Callable[[dict[str, int]], bool] | None = None

    @property
    def length(self) -> int:
        """Size in bytes."""
        return self.encoding.bits // 8

    def matches(self, word: int) -> bool:
        """Whether the low bits of `word` encode this instruction, constraints included."""
        e = self.encoding
        if word & e.mask != e.match:
            return False
        values = {f.name: f.extract(word) for f in e.fields}
        if any(f.nonzero and values[f.name] == 0 for f in e.fields):
            return False
        return self.constraint is None or self.constraint(values)


TABLE: dict[str, Instruction] = {}


def _overlaps(a: Instruction, b: Instruction) -> bool:
    """Two encodings overlap when no fixed bit tells them apart and neither is a special case."""
    if a.length != b.length or a.constraint or b.constraint:
        return False
    common = a.encoding.mask & b.encoding.mask
    return (a.encoding.match ^ b.encoding.match) & common == 0


def _add(instruction: Instruction, others: Iterable[Instruction]) -> None:
    if instruction.mnemonic in TABLE:
        raise ValueError(f"the instruction '{instruction.mnemonic}' is declared twice")
    for other in others:
        if _overlaps(instruction, other):
            raise ValueError(f"'{instruction.mnemonic}' and '{other.mnemonic}' overlap")
    TABLE[instruction.mnemonic] = instruction


def insn(
    picture: str,
    syntax: str,
    *,
    where: Callable[[dict[str, int]], bool] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare an instruction; `where` restricts field values (C's reserved encodings)."""

    def declare(body: Callable[..., None]) -> Callable[..., None]:
        slots = tuple(inspect.signature(body).parameters)[1:]
        _add(
            Instruction(
                mnemonic=syntax.split()[0],
                extension=body.__module__.rpartition(".")[2],
                encoding=parse(picture),
                syntax=syntax,
                doc=(inspect.getdoc(body) or "").split("\n")[0],
                steps=graph.trace(body, slots),
                constraint=where,
            ),
            TABLE.values(),
        )
        return body

    return declare
