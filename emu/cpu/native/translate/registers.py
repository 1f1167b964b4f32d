"""Which guest registers a region uses, and which of them are values in it.

LLVM keeps the values of a large function in places on the stack, and copies them from place to
place where ways meet, until that is most of what is executed. So only the registers that are used
most are values; the others stay in the state block, as they would on the stack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from emu.cpu.native.translate.region import Region
from emu.cpu.native.translate.spans import register_of
from emu.isa.decode import Decoded

VALUES = 10
"""Integer registers that are values: about as many as a host with 16 registers has left."""

_TURNS, _DEEPEST = 8, 4
"""How often a loop is thought to be executed, for each time that control comes to it; loops in more
than so many others count no more."""

_BANKS = {"read_x": "x", "write_x": "x", "read_f": "f", "write_f": "f"}

Register = tuple[str, int]
"""A bank, "x" or "f", and a number."""


@dataclass(frozen=True)
class Registers:
    """What a region writes, and what is a value in it."""

    written: frozenset[Register]
    values: frozenset[Register]


def survey(region: Region) -> Registers:
    """The registers of a region; x0 is none."""
    depths = _depths(region)
    uses: Counter[Register] = Counter()
    written: set[Register] = set()
    for start, block in region.blocks.items():
        for _, found in block.instructions:
            for register, writes in _registers(found):
                uses[register] += _TURNS ** min(depths[start], _DEEPEST)
                if writes:
                    written.add(register)
    most_used = sorted((r for r in uses if r[0] == "x"), key=lambda r: (-uses[r], r))
    values = {*most_used[:VALUES], *(r for r in uses if r[0] == "f")}
    return Registers(frozenset(written), frozenset(values))


def _registers(found: Decoded) -> list[tuple[Register, bool]]:
    """The registers that an instruction uses, and whether it writes them."""
    result = []
    for step in found.insn.steps:
        if step.op in _BANKS:
            number = register_of(step.args[0], found)
            if (_BANKS[step.op], number) != ("x", 0):
                result.append(((_BANKS[step.op], number), step.op.startswith("write")))
    return result


def _depths(region: Region) -> Mapping[int, int]:
    """In how many loops each block is."""
    depths: Counter[int] = Counter()
    for head in region.heads:
        depths.update(region.loop(head))
    return depths
