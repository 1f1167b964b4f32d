"""Our engines do what Spike does: every register and store after every instruction, in all modes.

The reference engine is compared one instruction at a time; the native one stops every few, and its
memory in the end is compared with the reference engine's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.cpu.native import NativeEngine
from emu.cpu.reference import ReferenceEngine
from tests.cpu.spike import simulator
from tests.cpu.spike.follow import Follower
from tests.cpu.spike.layout import PROLOGUE, START, Program, image
from tests.cpu.spike.pieces import PIECES
from tests.cpu.spike.programs import programs, slot

_PASSES = 4  # budgets are not used up by instructions only: a trap takes one
_ENGINES = {
    "native": partial(NativeEngine, translate="off"),
    "translated": partial(NativeEngine, translate="eager"),
}


def agree(spike: str, program: Program, folder: Path, stops: tuple[int, ...]) -> None:
    """Run everywhere and compare."""
    ram = image(program)
    commits = simulator.run(spike, ram, START, PROLOGUE, folder)
    expected = Follower(ReferenceEngine, ram)
    difference = expected.follow(commits, [1] * (_PASSES * len(commits)))
    assert difference is None, f"reference: {difference}"
    for name, factory in _ENGINES.items():
        seen = Follower(factory, ram)
        budgets = islice(cycle(stops), _PASSES * len(commits))
        difference = seen.follow(commits, budgets)
        assert difference is None, f"{name}: {difference}"
        assert seen.hart.memory.bytes == expected.hart.memory.bytes, f"{name}: memory differs"


def test_engines_agree_with_spike(spike: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("spike")

    @given(programs(), st.lists(st.integers(1, 60), min_size=1, max_size=4))
    def check(program: Program, stops: list[int]) -> None:
        agree(spike, program, folder, tuple(stops))

    check()


@pytest.mark.parametrize("mode", [3, 1, 0])
def test_every_kind_of_piece_agrees_with_spike(spike: str, mode: int, tmp_path: Path) -> None:
    """What random choice may miss: several of each piece, in each mode, paged, two passes."""
    slots = tuple(slot(seed, mode, [piece]) for seed in range(3) for piece in dict.fromkeys(PIECES))
    agree(spike, Program(slots, mode, 8, passes=2), tmp_path, (7, 50))


def test_a_difference_is_found(spike: str, tmp_path: Path) -> None:
    """The comparison sees one wrong bit in one register, and says where."""
    program = Program((("addi x5, x5, 1", "addi x6, x6, 1"),))
    commits = simulator.run(spike, image(program), START, PROLOGUE, tmp_path)
    at = next(i for i, c in enumerate(commits) if c.x == ((6, 1),) and c.mode == 3)
    commits[at] = replace(commits[at], x=((6, 3),))
    follower = Follower(ReferenceEngine, image(program))
    difference = follower.follow(commits, [1] * len(commits))
    assert difference is not None
    assert "x6 is 0x1, not 0x3" in difference
