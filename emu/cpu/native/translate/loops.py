"""Inner loops that need no look at their addresses, nor at the budget, in most of their turns.

A register that every turn changes by the same constant, or not at all, says where the accesses
relative to it will be for many turns to come. So such a loop is written twice. In front of it
stands a guard: if all memory that `TURNS` turns can reach lies in the window, and the budget
suffices for them, the copy without looks is entered; it comes back to the guard after so many
instructions as that many turns have at least. Else the other copy does one turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emu.cpu.native.translate.region import Region
from emu.cpu.native.translate.spans import Access, Places, follow

TURNS = 64
"""Turns for which a guard looks ahead, the one that is begun not counted."""

LONGEST = 96
"""Instructions of a loop that is written twice."""

FARTHEST = 1 << 19
"""Bytes that the accesses relative to one register may cover in all those turns."""


@dataclass(frozen=True)
class Loop:
    """A loop with a guard in front of the block `head`. `sure` are the accesses, named as in
    `Span.members`, that lie in what the guard looks at: for each register of `reach`, the bytes
    from its value there."""

    head: int
    body: frozenset[int]
    shortest: int
    """Instructions of the shortest turn."""
    reach: Mapping[int, tuple[int, int]]
    sure: frozenset[tuple[int, int]]

    @property
    def chunk(self) -> int:
        """Instructions after which the guard must be asked again: at most `TURNS` turns have ended,
        and one more may be begun."""
        return TURNS * self.shortest


def inner_loops(region: Region) -> list[Loop]:
    """The loops of a region that are worth a guard: those without a loop in them that access memory
    relative to registers which change in steps."""
    successors = region.successors
    sources: dict[int, list[int]] = {pc: [] for pc in region.blocks}
    for block, ways in successors.items():
        for way in ways:
            sources[way].append(block)
    found = (_loop(region, successors, sources, head) for head in sorted(region.heads))
    return [loop for loop in found if loop is not None]


def _loop(
    region: Region,
    successors: Mapping[int, tuple[int, ...]],
    sources: Mapping[int, list[int]],
    head: int,
) -> Loop | None:
    order = _order(region, successors, sources, head)
    if order is None:
        return None
    body = frozenset(order)
    shortest: dict[int, int] = {}
    leaving: dict[int, Places] = {}
    accesses: list[Access] = []
    for start in order:
        before = [s for s in sources[start] if s in body] if start != head else []
        block = region.blocks[start]
        places = _merge(start, [leaving[s] for s in before]) if before else {}
        accesses += follow(block.instructions, places)
        leaving[start] = places
        shortest[start] = len(block.instructions) + min((shortest[s] for s in before), default=0)
    turns = region.heads[head]
    reach: dict[int, tuple[int, int]] = {}
    sure = set()
    for (kind, register), of_register in _by_root(accesses).items():
        step = _step(register, [leaving[s] for s in turns]) if kind == "x" else None
        if step is None:
            continue
        low = min(a.place[1] for a in of_register) + min(0, step * TURNS)
        high = max(a.place[1] + a.size for a in of_register) + max(0, step * TURNS)
        if high - low <= FARTHEST:
            reach[register] = low, high
            sure |= {a.key for a in of_register}
    if not sure:
        return None
    return Loop(head, body, min(shortest[s] for s in turns), reach, frozenset(sure))


def _order(
    region: Region,
    successors: Mapping[int, tuple[int, ...]],
    sources: Mapping[int, list[int]],
    head: int,
) -> list[int] | None:
    """The blocks of the turns from `head` back to it, each behind those that lead to it; None when
    there is another loop among them, or too much."""
    body = region.loop(head)
    size = sum(len(region.blocks[start].instructions) for start in body)
    if size > LONGEST or len(body & region.heads.keys()) > 1:
        return None
    order: list[int] = []
    ready = [head]
    while ready:
        start = ready.pop()
        order.append(start)
        for way in successors[start]:
            is_next = way in body and way != head and way not in ready
            if is_next and all(s in order for s in sources[way] if s in body):
                ready.append(way)
    return order if len(order) == len(body) else None


def _merge(start: int, before: list[Places]) -> Places:
    """What is known about registers where ways meet."""
    merged: Places = {}
    for register in {r for places in before for r in places}:
        known = {places.get(register, (("x", register), 0)) for places in before}
        merged[register] = known.pop() if len(known) == 1 else (("join", start << 5 | register), 0)
    return merged


def _by_root(accesses: list[Access]) -> dict[tuple[str, int], list[Access]]:
    found: dict[tuple[str, int], list[Access]] = {}
    for access in accesses:
        found.setdefault(access.place[0], []).append(access)
    return found


def _step(register: int, turns: list[Places]) -> int | None:
    """By how much every turn changes a register, if it is always the same."""
    after = {places.get(register, (("x", register), 0)) for places in turns}
    (root, step), *others = after
    return step if not others and root == ("x", register) else None
