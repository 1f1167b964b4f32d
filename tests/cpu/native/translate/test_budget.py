"""Checkpoints: no path escapes the count, and none asks for much more than it executes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from emu.cpu.native.translate.budget import FARTHEST, checkpoints, cycles

Graph = tuple[dict[int, int], dict[int, tuple[int, ...]], tuple[int, ...]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Sizes of blocks, their successors, and ways in."""
    count = draw(st.integers(1, 14))
    blocks = st.integers(0, count - 1)
    sizes = {n: draw(st.sampled_from((1, 2, 3, 10, 30, 63, 64, 65, 200))) for n in range(count)}
    ways = {n: tuple(draw(st.lists(blocks, max_size=3, unique=True))) for n in range(count)}
    entries = tuple(draw(st.lists(blocks, min_size=1, max_size=3, unique=True)))
    seen = _reachable(ways, entries)
    return {n: sizes[n] for n in seen}, {n: ways[n] for n in seen}, entries


def _reachable(ways: Mapping[int, tuple[int, ...]], entries: tuple[int, ...]) -> set[int]:
    seen: set[int] = set()
    left = list(entries)
    while left:
        block = left.pop()
        if block not in seen:
            seen.add(block)
            left += ways[block]
    return seen


def _has_cycle(ways: Mapping[int, tuple[int, ...]], among: set[int]) -> bool:
    """Whether blocks lead back to themselves; takes those away that lead nowhere."""
    left = set(among)
    while True:
        ends = {b for b in left if not any(w in left for w in ways[b])}
        if not ends:
            return bool(left)
        left -= ends


@given(graphs())
def test_every_cycle_has_a_head_and_heads_are_checkpoints(graph: Graph) -> None:
    sizes, ways, entries = graph
    heads = cycles(ways, entries).keys()
    assert not _has_cycle(ways, ways.keys() - heads)
    assert heads <= checkpoints(sizes, ways, heads)[0]


@given(graphs())
def test_no_head_is_without_a_cycle(graph: Graph) -> None:
    _, ways, entries = graph
    for head in cycles(ways, entries):
        assert head in _reachable(ways, ways[head])


@given(graphs())
def test_no_path_to_the_next_checkpoint_executes_more_than_was_asked_for(graph: Graph) -> None:
    sizes, ways, entries = graph
    stops, needed = checkpoints(sizes, ways, cycles(ways, entries))

    @cache
    def longest(block: int) -> int:
        return sizes[block] + max((longest(w) for w in ways[block] if w not in stops), default=0)

    assert all(longest(block) <= needed[block] for block in ways)


@given(graphs())
def test_no_block_asks_for_more_than_the_farthest_or_its_own_size(graph: Graph) -> None:
    sizes, ways, entries = graph
    for block, needed in checkpoints(sizes, ways, cycles(ways, entries))[1].items():
        assert sizes[block] <= needed <= max(FARTHEST, sizes[block])


def test_a_loop_asks_once_a_turn_for_its_longer_arm() -> None:
    sizes = {0: 5, 1: 3, 2: 7, 3: 2, 4: 1}
    ways = {0: (1,), 1: (2, 3), 2: (3,), 3: (1, 4), 4: ()}
    stops, needed = checkpoints(sizes, ways, cycles(ways, (0,)))
    assert stops == {1}
    assert needed[1] == 13


def test_a_long_chain_is_not_asked_for_in_one_piece() -> None:
    sizes = dict.fromkeys(range(1000), 10)
    ways = {n: (n + 1,) if n < 999 else () for n in range(1000)}
    stops, needed = checkpoints(sizes, ways, ())
    assert sum(needed[block] for block in {0, *stops}) == 10_000
    assert max(needed.values()) == 60
