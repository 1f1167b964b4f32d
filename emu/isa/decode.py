"""The decoder: a decision tree computed from the encodings of the table, and its Python reading.

`TREE` is data: a `Switch` looks at a run of bits that every instruction still in question fixes, a
`Leaf` holds the few that are left. Any reading of it (here Python; the native engine emits it as
LLVM switches) ends at a leaf by testing each candidate with `mask`, `match` and `exclusions`; at
most one passes. Where there is no case or no candidate passes, the word is illegal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from emu.isa import TABLE
from emu.isa.declare import SLOT_OF_FIELD, Instruction


@dataclass(frozen=True)
class Leaf:
    """The instructions that may still match."""

    candidates: tuple[Instruction, ...]


@dataclass(frozen=True)
class Switch:
    """Look at `width` bits from bit `low` of the word and go on with the case of their value."""

    low: int
    width: int
    cases: Mapping[int, Tree]


Tree = Leaf | Switch


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded instruction: its declaration and its slots (`graph.SLOTS`), zero where absent.

    `imm` is a signed Python integer; `raw` the instruction's bits, 16 or 32 of them.
    """

    insn: Instruction
    rd: int = 0
    rs1: int = 0
    rs2: int = 0
    rs3: int = 0
    imm: int = 0
    rm: int = 0
    length: int = 4
    raw: int = 0


def _longest_run(mask: int) -> tuple[int, int]:
    """The longest run of ones in `mask`, as (lowest bit, width)."""
    best, low = (0, 0), 0
    while mask >> low:
        if mask >> low & 1:
            width = ((mask >> low) ^ ((mask >> low) + 1)).bit_length() - 1
            best = max(best, (low, width), key=lambda run: run[1])
            low += width
        else:
            low += 1
    return best


def build(instructions: Iterable[Instruction], seen: int = 0) -> Tree:
    """The decision tree over `instructions`, whose bits in `seen` have been looked at already."""
    instructions = tuple(instructions)
    common = reduce(lambda mask, i: mask & i.encoding.mask, instructions, (1 << 32) - 1) & ~seen
    if not common:
        return Leaf(instructions)
    # The length of an instruction is in its two lowest bits: look at them before any above 15.
    low, width = _longest_run(common) if seen else (0, 2)
    field = (1 << width) - 1
    groups: dict[int, list[Instruction]] = {}
    for i in instructions:
        groups.setdefault(i.encoding.match >> low & field, []).append(i)
    return Switch(low, width, {v: build(g, seen | field << low) for v, g in groups.items()})


TREE = build(TABLE.values())


def find(word: int) -> Instruction | None:
    """The instruction that the low bits of `word` encode, or None for an illegal one."""
    tree: Tree | None = TREE
    while isinstance(tree, Switch):
        tree = tree.cases.get(word >> tree.low & ((1 << tree.width) - 1))
    if tree is None:
        return None
    return next((i for i in tree.candidates if i.matches(word)), None)


def decode(word: int) -> Decoded | None:
    """Decode the instruction in the low 16 or 32 bits of `word`; None when it is illegal."""
    insn = find(word)
    if insn is None:
        return None
    slots = {
        SLOT_OF_FIELD[f.name]: f.extract(word)
        for f in insn.encoding.fields
        if f.name in SLOT_OF_FIELD
    }
    raw = word & ((1 << insn.encoding.bits) - 1)
    return Decoded(insn, length=insn.length, raw=raw, **slots)
