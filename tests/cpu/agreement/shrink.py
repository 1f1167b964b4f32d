"""From a case on which engines differ to the smallest that still does, by leaving away.

`smaller` tries, until nothing helps any more: fewer schedules and stops, fewer lines (in halves,
quarters, ... single ones), a no-operation in a line's place, the plainest mode, zeros in registers.
A candidate that no longer assembles does not differ. `report` says what is left, in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

from emu.errors import AiosError
from tests.cpu.agreement.check import Case, Difference, Schedule
from tests.cpu.agreement.program import MODES, Program
from tests.cpu.agreement.world import Stop

Find = Callable[[Case], Difference | None]


def _valid(case: Case) -> bool:
    try:
        case.program.code()
    except AiosError:
        return False
    return True


def _schedules(case: Case, found: Difference) -> Iterator[Case]:
    """Only the schedule that differs, up to where it does; fewer before it; merged or shorter."""
    cut = case.schedules[found.schedule][: found.stop + 1]
    yield replace(case, schedules=(cut,))
    before = case.schedules[: found.schedule]
    yield replace(case, schedules=(*before, cut))
    for i in range(len(before)):
        yield replace(case, schedules=(*before[:i], *before[i + 1 :], cut))
    for shorter in _shorter(cut):
        yield replace(case, schedules=(*before, shorter))


def _shorter(schedule: Schedule) -> Iterator[Schedule]:
    if len(schedule) > 1:
        yield (Stop(0, sum(stop.budget for stop in schedule)),)
        for i, (one, two) in enumerate(pairwise(schedule)):
            yield (*schedule[:i], Stop(one.lines, one.budget + two.budget), *schedule[i + 2 :])
            yield (*schedule[:i], *schedule[i + 1 :])
    for i, stop in enumerate(schedule):
        if stop.lines:
            yield (*schedule[:i], Stop(0, stop.budget), *schedule[i + 1 :])
        for budget in (stop.budget // 2, stop.budget * 7 // 8, stop.budget - 1):
            if 0 < budget < stop.budget:
                yield (*schedule[:i], Stop(stop.lines, budget), *schedule[i + 1 :])


def _lines(case: Case, found: Difference) -> Iterator[Case]:
    lines = case.program.lines
    size = len(lines) // 2
    while size:
        for start in range(0, len(lines), size):
            kept = lines[:start] + lines[start + size :]
            yield replace(case, program=replace(case.program, lines=kept))
        size //= 2
    for i, line in enumerate(lines):
        if not line.endswith(":") and line not in ("nop", "c.nop"):
            nop = "c.nop" if line.startswith("c.") else "nop"
            kept = (*lines[:i], nop, *lines[i + 1 :])
            yield replace(case, program=replace(case.program, lines=kept))


def _surroundings(case: Case, found: Difference) -> Iterator[Case]:
    """Plainer modes and registers."""
    program = case.program
    simpler: list[Program] = [
        replace(program, mode=mode) for mode in MODES[: MODES.index(program.mode)]
    ]
    simpler += [
        replace(program, delegated=(0, 0)), replace(program, vectored=False),
        replace(program, guarded=False), replace(program, offset=0),
        replace(program, f=(0,) * 32), replace(program, x=(0,) * 32),
        replace(program, seed=bytes(8)),
    ]  # fmt: skip
    for bank in ("x", "f"):
        values = getattr(program, bank)
        for i, value in enumerate(values):
            for new in (0, 1):
                if value > 1 or (value and not new):
                    changed = {bank: (*values[:i], new, *values[i + 1 :])}
                    simpler.append(replace(program, **changed))
    for candidate in simpler:
        if candidate != program:
            yield replace(case, program=candidate)


def smaller(case: Case, found: Difference, find: Find) -> tuple[Case, Difference]:
    """The smallest case near `case` on which `find` still finds something, and what it finds."""
    progress = True
    while progress:
        progress = False
        for candidates in (_schedules, _lines, _surroundings):
            again = True
            while again:
                again = False
                for candidate in candidates(case, found):
                    if candidate == case or not _valid(candidate):
                        continue
                    difference = find(candidate)
                    if difference is not None:
                        case, found, again, progress = candidate, difference, True, True
                        break
    return case, found


def report(case: Case, found: Difference) -> str:
    """The program, what it starts from, how it is run and what differs."""
    program = case.program
    text = [f"In {program.mode} mode, from {program.start:#x}:"]
    text += [line if line.endswith(":") else f"    {line}" for line in program.lines]
    for bank in ("x", "f"):
        held = {i: value for i, value in enumerate(getattr(program, bank)) if value}
        text += [f"  {bank}{i} = {value:#x}" for i, value in held.items()][:32]
    for name in ("delegated", "vectored", "guarded"):
        text.append(f"  {name}: {getattr(program, name)}")
    for schedule in case.schedules[: found.schedule + 1]:
        stops = [f"lines {s.lines:#x}, run {s.budget}" for s in schedule]
        text.append("  from the start: " + "; ".join(stops[:8] + ["..."] * (len(stops) > 8)))
    text.append(f"  After stop {found.stop + 1} of the last:")
    text += [f"    {what}" for what in found.what[:12]]
    return "\n".join(text)
