"""Where a region looks at the remaining count of instructions: as seldom as is exact.

Every block charges itself, but only some, the *checkpoints*, look whether enough is left, for all
that can be executed up to the next one: one block of every cycle, so that no path avoids them, and
more on long paths, so that they do not ask for much more than is executed. Whoever enters a region
looks as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

FARTHEST = 64
"""Instructions between two checkpoints, a single block excepted that is longer."""

Successors = Mapping[int, Collection[int]]


def cycles(successors: Successors, starts: Iterable[int]) -> dict[int, frozenset[int]]:
    """Blocks so chosen that every cycle has one, with those that go back to them: where control
    comes to a block that it has come through since a start."""
    return {h: frozenset(sources) for h, sources in _walk(successors, starts, ())[1].items()}


def checkpoints(
    sizes: Mapping[int, int], successors: Successors, heads: Collection[int]
) -> tuple[set[int], dict[int, int]]:
    """The checkpoints, which include the `heads` of cycles; and for every block how many
    instructions must be left there. `sizes` has the instructions of each block."""
    stops, needed = set(heads), dict[int, int]()
    for block in _walk(successors, successors, heads)[0]:  # successors come first
        ways = [s for s in successors[block] if s not in stops]
        stops.update(way for way in ways if sizes[block] + needed[way] > FARTHEST)
        farthest = max((needed[s] for s in ways if s not in stops), default=0)
        needed[block] = sizes[block] + farthest
    return stops, needed


def _walk(
    successors: Successors, starts: Iterable[int], cut: Collection[int]
) -> tuple[list[int], dict[int, set[int]]]:
    """The blocks in postorder, edges to those in `cut` left out; and the edges, by their targets,
    that go back to a block whose own successors are still being followed."""
    order: list[int] = []
    back: dict[int, set[int]] = {}
    done: dict[int, bool] = {}  # False while a block's successors are being followed
    for start in starts:
        path = [(start, iter(successors[start]))] if start not in done else []
        done.setdefault(start, False)
        while path:
            block, rest = path[-1]
            following = next((s for s in rest if s not in cut), None)
            if following is None:
                path.pop()
                done[block] = True
                order.append(block)
            elif following not in done:
                done[following] = False
                path.append((following, iter(successors[following])))
            elif not done[following]:
                back.setdefault(following, set()).add(block)
    return order, back
