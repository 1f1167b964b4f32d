"""Sharing the compute units: whatever runs together, nobody gains and nothing is lost."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.devices.gpu.compute import ComputeUnits

UNITS = 108
JOB = st.tuples(
    st.integers(0, 10**9),  # when it comes
    st.integers(1, 10**9),  # its work
    st.integers(1, 4 * UNITS),  # the units it asks for
    st.sampled_from([1, 2, 4]),  # its weight
)
Job = tuple[int, int, int, int]


def run(jobs: list[Job]) -> dict[int, int]:
    """When each job ends."""
    units, now, ends = ComputeUnits(UNITS), 0, {}
    waiting = sorted(range(len(jobs)), key=lambda i: jobs[i][0])
    while waiting or units.running:
        end = units.next_end()
        if waiting and (end is None or jobs[waiting[0]][0] <= end):
            i = waiting.pop(0)
            now = max(now, jobs[i][0])
            units.start(now, i, *jobs[i][1:])
            continue
        assert end is not None
        assert end >= now
        now = end
        for job in units.take_finished(now):
            ends[job] = now
    return ends


@given(st.lists(JOB, min_size=1, max_size=12))
def test_nobody_is_faster_than_alone_and_all_end(jobs: list[Job]) -> None:
    ends = run(jobs)
    assert set(ends) == set(range(len(jobs)))
    for i, (start, work, _, _) in enumerate(jobs):
        assert ends[i] >= start + work


@given(st.lists(JOB, min_size=1, max_size=12))
def test_the_units_are_neither_idle_nor_used_twice(jobs: list[Job]) -> None:
    """Jobs of equal weight that start together: the last one ends no sooner than all units need
    for all the work, and no later than if they ran one behind the other."""
    same = [(0, work, units, 1) for _, work, units, _ in jobs]
    last = max(run(same).values())
    least = sum(Fraction(work * min(units, UNITS), UNITS) for _, work, units, _ in same)
    assert least - 1 <= last <= sum(work for _, work, _, _ in same) + 2 * len(same) ** 2


@given(st.lists(JOB, min_size=1, max_size=8))
def test_runs_repeat(jobs: list[Job]) -> None:
    assert run(jobs) == run(jobs)


def test_weights_decide_who_waits() -> None:
    ends = run([(0, 10**6, UNITS, 1), (0, 10**6, UNITS, 4)])
    assert ends == {1: pytest.approx(1_250_000, abs=2), 0: pytest.approx(2_000_000, abs=2)}
