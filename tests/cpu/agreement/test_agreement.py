"""Engines agree with the reference engine on random programs, and a disagreement is made small."""

from __future__ import annotations

import random

import pytest

from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine
from emu.cpu.reference import ReferenceEngine
from tests.cpu.agreement.__main__ import case_of
from tests.cpu.agreement.check import ENGINES, Case, Difference, compare
from tests.cpu.agreement.generate import program
from tests.cpu.agreement.program import MODES
from tests.cpu.agreement.shrink import report, smaller
from tests.cpu.agreement.world import Stop, World


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(2))
def test_engines_agree_at_every_stop(engine: str, mode: str, seed: int) -> None:
    case = case_of(seed, mode, length=300, boundaries=20)
    found = compare(case, ENGINES[engine])
    if found is not None:
        case, found = smaller(case, found, lambda c: compare(c, ENGINES[engine]))
        pytest.fail(report(case, found))


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_with_an_interrupt_at_every_boundary(engine: str) -> None:
    case = case_of(1, "user", length=160, boundaries=160)
    assert compare(case, ENGINES[engine]) is None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", range(3))
def test_breakpoints_that_come_and_go_stop_engines_at_the_same_instructions(
    engine: str, seed: int
) -> None:
    rng = random.Random(seed)
    text = program(rng)
    expected, seen = World(ReferenceEngine), World(ENGINES[engine])
    expected.start(text)
    seen.start(text)
    reasons = set()
    for _ in range(40):
        near = rng.choice((expected.hart.state.pc, text.start))
        chosen = {(near + 2 * rng.randrange(-40, 120)) % (1 << 64) for _ in range(rng.randrange(4))}
        for world in (expected, seen):
            world.hart.breakpoints = set(chosen)
        stop = Stop(rng.choice((0, 0, 1 << 7)), rng.choice((1, 2, 7, 50, 300, 700)))
        reason = expected.go(stop)
        assert seen.go(stop) == reason
        assert seen.registers() == expected.registers()
        reasons.add(reason)
    assert "breakpoint" in reasons


class _Wrong(NativeEngine):
    """Forgets to set a bit of x9 whenever a run begins in user mode with an odd x8."""

    def run(self, budget: int) -> str:
        x, user = self.hart.state.x, self.hart.state.priv == 0
        answer = super().run(budget)
        if user and x[8] & 1 and x[9] & 2:
            x[9] ^= 2
        return answer


def test_a_disagreement_is_shrunk_to_a_few_instructions() -> None:
    def find(case: Case) -> Difference | None:
        return compare(case, _Wrong)

    for seed in range(20):
        case = case_of(seed, "user", length=100, boundaries=0)
        found = find(case)
        if found is not None:
            small, last = smaller(case, found, find)
            assert len(small.program.lines) <= 2
            assert len(small.schedules) == 1
            assert last.what[0].startswith("x9 is ")
            assert "run 1" in report(small, last)
            return
    pytest.fail("No program met the mistake.")


def test_an_engine_is_any_factory() -> None:
    class Checked(NativeEngine):
        def __init__(self, hart: Hart) -> None:
            super().__init__(hart)
            hart.trap_ps = 2_000

    found = compare(case_of(5, "user", 300, 5), Checked)
    assert found is not None
    assert any(what.startswith("stall_ps is ") for what in found.what)
