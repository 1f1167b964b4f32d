"""Where a region looks at the remaining count of instructions: as seldom as is exact.

Every block charges itself, but only some, the *checkpoints*, look whether enough is left, for all
that can be executed up to the next one. Ways in are checkpoints, and one block of every cycle, so
that no path avoids them; more stand on long paths, so that they do not ask for much more than is
executed.
"""

from __future__ import annotations

from collections.abc import Mapping

FARTHEST = 64
"""Instructions between two checkpoints, a single block excepted that is longer."""

Successors = Mapping[int, tuple[int, ...]]


def checkpoints(
    sizes: Mapping[int, int], successors: Successors, entries: tuple[int, ...]
) -> dict[int, int]:
    """For every checkpoint, how many instructions must be left there. `sizes` has the instructions
    of each block."""
    order, heads = _postorder(successors, entries)
    stops = heads | set(entries)
    needed: dict[int, int] = {}
    for block in order:  # successors come first, but for those that begin a cycle
        open_ways = [s for s in successors[block] if s not in stops]
        for way in open_ways:
            if sizes[block] + needed[way] > FARTHEST:
                stops.add(way)
        farthest = max((needed[s] for s in open_ways if s not in stops), default=0)
        needed[block] = sizes[block] + farthest
    return {block: needed[block] for block in stops}


def _postorder(successors: Successors, entries: tuple[int, ...]) -> tuple[list[int], set[int]]:
    """The blocks in postorder, and the targets of the edges that go back to a block whose own
    successors are still being followed: one of every cycle."""
    order: list[int] = []
    heads: set[int] = set()
    done: dict[int, bool] = {}  # False while a block's successors are being followed
    for entry in entries:
        path = [(entry, iter(successors[entry]))] if entry not in done else []
        done.setdefault(entry, False)
        while path:
            block, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                done[block] = True
                order.append(block)
            elif following not in done:
                done[following] = False
                path.append((following, iter(successors[following])))
            elif not done[following]:
                heads.add(following)
    return order, heads
