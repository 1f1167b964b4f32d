"""Random instructions: any encoding of the table whose effects a program can live with.

Registers have roles. x2, x10 and x11 point into data and are never written but by those who know;
x18 to x23 count loops, x24 the fuel of recursion, x25 asks for a service, x26, x27, x30 and x31 are
the handlers'; x1 and x5 hold return addresses, x28 and x29 addresses on the way to a jump. What is
left is `FREE`.
"""

from __future__ import annotations

import random

from emu.isa import TABLE, Instruction
from emu.isa.declare import SLOT_OF_FIELD
from emu.isa.encoding import Field
from emu.isa.graph import Node
from tests.cpu.agreement.program import text_of

FREE = (3, 4, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17)
"""Registers that any instruction may write."""
POINTERS = (2, 10, 11)

_EDGES = (0, 1, 2, 7, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 63) - 1, (1 << 64) - 1)
_SINGLES = (0, 1 << 31, 1, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0x7F80_0001, 0x3F80_0000,
            0x7F7F_FFFF, 0x0080_0000, 0x4F00_0000)  # fmt: skip
_DOUBLES = (0, 1 << 63, 1, 0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48, (0x7FF << 52) + 1, 0x3FF << 52,
            0x7FEF_FFFF_FFFF_FFFF, 1 << 52, 0x43E << 52, 0x41E << 52)  # fmt: skip
_BOX = 0xFFFF_FFFF << 32
_UNUSUAL_MODES = (5, 6)  # reserved: the instruction is illegal


def _does(insn: Instruction, *ops: str) -> bool:
    return any(step.op in ops for step in insn.steps)


def _fixed_destination(insn: Instruction) -> bool:
    """Whether it writes an integer register that no field names (as `c.addi16sp` does)."""
    targets = [step.args[0] for step in insn.steps if step.op == "write_x"]
    return any(isinstance(t, Node) and t.op == "const" for t in targets)


_PLAIN = [
    i for i in TABLE.values()
    if not _does(i, "system", "branch", "jump") and not _fixed_destination(i)
]  # fmt: skip
MEMORY = [i for i in _PLAIN if _does(i, "load", "store", "reserve")]
ATOMIC = [i for i in MEMORY if i.extension == "rv64a"]
FLOAT = [i for i in _PLAIN if i not in MEMORY and _does(i, "fp", "read_f", "write_f")]
INTEGER = [i for i in _PLAIN if i not in MEMORY and i not in FLOAT]


def _register(rng: random.Random, field: Field, free: bool) -> int:
    """A register's number: one that may be written, or any."""
    if free:
        return rng.choice([n for n in FREE if field.fits(n)])
    numbers = [n for n in range(32) if field.fits(n)]
    return rng.choice(numbers)


def _immediate(rng: random.Random, field: Field, small: bool) -> int:
    step, top = field.align, 1 << field.top - field.signed
    low = -top if field.signed else 0
    if small and rng.random() < 0.9:
        low, top = max(low, -256), min(top, 256)
    while True:
        value = rng.randrange(low // step, top // step) * step
        if field.fits(value):
            return value


def instruction(rng: random.Random, insn: Instruction) -> str:
    """`insn` with random operands, as a line. Memory is accessed through `POINTERS`."""
    memory = insn in MEMORY
    writes_x = _does(insn, "write_x")
    while True:
        word = insn.encoding.match
        for field in insn.encoding.fields:
            slot = SLOT_OF_FIELD.get(field.name, "")
            if slot == "rs1" and memory:
                value = rng.choice([n for n in POINTERS if field.fits(n)])
            elif slot == "rd" or (slot == "rs1" and field.primed):
                value = _register(rng, field, writes_x)
            elif slot in ("rs1", "rs2", "rs3"):
                value = _register(rng, field, False)
            elif slot == "rm":
                value = rng.choice((0, 0, 0, 0, 1, 2, 3, 4, 7, 7, 7, 7))
                value = rng.choice(_UNUSUAL_MODES) if rng.random() < 0.02 else value
            else:
                value = _immediate(rng, field, memory)
            word |= field.insert(value)
        if insn.matches(word):
            return text_of(word)


def integer(rng: random.Random) -> int:
    """A register's value: edges, small numbers, any."""
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(_EDGES)
    return rng.randrange(64) if kind < 0.5 else rng.getrandbits(64)


def floating(rng: random.Random) -> int:
    """A floating-point register's value: doubles and boxed singles, special and ordinary ones, and
    what is neither."""
    kind = rng.random()
    if kind < 0.2:
        return rng.choice(_DOUBLES)
    if kind < 0.4:
        return _BOX | rng.choice(_SINGLES)
    if kind < 0.65:
        exponent = 1023 + rng.randint(-40, 66)
        return rng.getrandbits(1) << 63 | exponent << 52 | rng.getrandbits(52)
    if kind < 0.9:
        exponent = 127 + rng.randint(-20, 40)
        return _BOX | rng.getrandbits(1) << 31 | exponent << 23 | rng.getrandbits(23)
    return rng.getrandbits(64)
