"""Whether an engine agrees with the reference engine: after every stop of every schedule.

A `Case` is a program and schedules; each schedule runs the program from its start. `compare` gives
the first `Difference`. An engine is a factory that takes a hart, so a new one is one line in
`ENGINES`; it keeps what it has learnt from one schedule to the next, as it does in a machine.
"""

from __future__ import annotations

import inspect
import os
import pickle
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine
from emu.cpu.reference import ReferenceEngine
from emu.cpu.traps import Interrupt
from tests.cpu.agreement.program import Program
from tests.cpu.agreement.world import Engine, Stop, World

Factory = Callable[[Hart], Engine]
Schedule = tuple[Stop, ...]

ENGINES: dict[str, Factory] = {"native": NativeEngine}
if "translate" in inspect.signature(NativeEngine).parameters:
    ENGINES["native"] = partial(NativeEngine, translate="off")
    ENGINES["translated"] = partial(NativeEngine, translate="eager")

_SPARSE = 24  # memory is compared at every stop of a schedule of fewer stops than this
_SECONDS, _WAITING_SECONDS = 30, 300
"""What a comparison may take, of the processor's time and of the wall's."""


@dataclass(frozen=True)
class Case:
    """What is run."""

    program: Program
    schedules: tuple[Schedule, ...]


@dataclass(frozen=True)
class Difference:
    """Where engines part: in which schedule, at which stop, and in what, in words."""

    schedule: int
    stop: int
    what: tuple[str, ...]


def _differences(expected: World, seen: World, memory: bool) -> list[str]:
    left, right = expected.registers(), seen.registers()
    found = [
        f"{name} is {right[name]:#x}, not {value:#x}"
        for name, value in left.items()
        if right[name] != value
    ]
    if memory and not found:
        before, after = expected.memory(), seen.memory()
        if before != after:
            at = next(i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)
            where = expected.hart.memory.base + at
            found.append(f"the byte at {where:#x} is {after[at]:#x}, not {before[at]:#x}")
    return found


def compare(case: Case, factory: Factory) -> Difference | None:
    """The first difference from the reference engine; AiosError for a program that is none."""
    expected, seen = World(ReferenceEngine), World(factory)
    for number, schedule in enumerate(case.schedules):
        expected.start(case.program)
        seen.start(case.program)
        for n, stop in enumerate(schedule):
            reason, other = expected.go(stop), seen.go(stop)
            memory = len(schedule) < _SPARSE or n == len(schedule) - 1
            what = _differences(expected, seen, memory)
            if reason != other:
                what.insert(0, f"run said {other!r}, not {reason!r}")
            if what:
                return Difference(number, n, tuple(what))
    return None


def isolated(case: Case, factory: Factory) -> Difference | None:
    """`compare` in a child process: an engine that crashes, raises or hangs differs, too."""
    source, sink = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(_WAITING_SECONDS)
        signal.setitimer(signal.ITIMER_PROF, _SECONDS)
        try:
            answer: Any = compare(case, factory)
        except BaseException as error:
            answer = Difference(0, 0, (f"{type(error).__name__}: {error}",))
        with os.fdopen(sink, "wb") as file:
            pickle.dump(answer, file)
        os._exit(0)
    os.close(sink)
    with os.fdopen(source, "rb") as file:
        data = file.read()
    status = os.waitpid(child, 0)[1]
    if not data:
        what = signal.strsignal(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else f"exit {status}"
        return Difference(0, 0, (f"the engine ended its process: {what}",))
    answer = pickle.loads(data)
    assert answer is None or isinstance(answer, Difference)
    return answer


_RAISED = tuple(1 << i for i in Interrupt)


def schedules(rng: random.Random, length: int, boundaries: int) -> tuple[Schedule, ...]:
    """Ways to run a program. Longer than `length` instructions, so that what is hot shows; `length`
    at one go, then one by one, then in pieces with interrupts between them; and an interrupt at
    each of as many `boundaries`."""
    whole = (Stop(0, length),)
    single = (Stop(0, 1),) * min(length, 120)
    pieces = [
        Stop(rng.choice((0, 0, rng.choice(_RAISED))), rng.choice((1, 2, 3, 7, 20, 50, 100)))
        for _ in range(length // 30)
    ]
    places = range(length) if boundaries >= length else rng.sample(range(length), boundaries)
    return (
        (Stop(0, 3 * length),), whole, single, tuple(pieces),
        *((Stop(0, k), Stop(rng.choice(_RAISED), 40)) for k in places),
        whole,
    )  # fmt: skip
