"""Whether machine code lies in the order that lanes need.

LLVM is told to keep the order of blocks, and mostly does. Here its code is read back: inside a loop
there must be no place where ways from the loop and from elsewhere meet, for lanes that have left
the loop by one of them would overtake those in a part of the loop that lies behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from emu.isa.encoding import parse
from toolchain.kern.lanes.order import strongly_connected

_BRANCH_TARGET = parse("imm[12|10:5] 0000000000000 imm[4:1|11] 0000000").field("imm")
_JUMP_TARGET = parse("imm[20|10:1|11|19:12] 000000000000").field("imm")
_UNIMP = 0xC000_1073  # csrrw x0, cycle, x0: how LLVM writes a trap


def is_in_order(words: Sequence[int]) -> bool:
    """Whether nothing that follows a loop lies inside it, for all loops of these instructions."""
    flow = {i: _successors(i, word) for i, word in enumerate(words)}
    ways = Counter(target for targets in flow.values() for target in targets)
    home = {i: n for n, part in enumerate(strongly_connected(flow)) for i in part}
    return all(
        home[between] == home[target] or ways[between] < 2
        for i, targets in flow.items()
        for target in targets
        if target <= i
        for between in range(target, i + 1)
    )


def _successors(number: int, word: int) -> list[int]:
    """The numbers of the instructions that may come after one."""
    assert _BRANCH_TARGET is not None
    assert _JUMP_TARGET is not None
    match word & 0x7F:
        case 0b1100011:  # branches
            return [number + _BRANCH_TARGET.extract(word) // 4, number + 1]
        case 0b1101111:  # jal
            return [number + _JUMP_TARGET.extract(word) // 4]
        case 0b1100111:  # jalr: the return
            return []
    return [] if word == _UNIMP else [number + 1]
