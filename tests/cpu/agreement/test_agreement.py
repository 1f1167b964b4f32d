"""Engines agree with the reference engine on random programs, and a disagreement is made small."""

from __future__ import annotations

import pytest

from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine
from tests.cpu.agreement.__main__ import case_of
from tests.cpu.agreement.check import ENGINES, Case, Difference, compare
from tests.cpu.agreement.program import MODES
from tests.cpu.agreement.shrink import report, smaller


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
