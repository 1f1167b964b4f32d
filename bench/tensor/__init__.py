"""How fast tensor instructions are, against other engines and the host: `aios bench tensor`.

problem              what a row computes: for the machine, for other engines, and the truth
products, layers     the rows
guest                the emulated machine that executes the instruction
peers                NumPy, onnxruntime, OpenVINO
rounds               taking turns and taking times (`bench.roof` takes turns too)
report               table, JSON, summary

Every row is measured in one go, all engines interleaved, once on one thread and once on two; what
each engine computes is compared with what is right in the same run.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bench import roof
from bench.tensor import layers, products, rounds
from bench.tensor.guest import Guest
from bench.tensor.peers import Engine, Session, engines
from bench.tensor.problem import Array, Case, Problem
from bench.tensor.report import OURS, Row, TensorReport
from emu.cpu.tensor import threads
from emu.errors import AiosError
from emu.isa import TABLE

_SECONDS, _QUICK_SECONDS = 0.4, 0.03
_PEER_TOLERANCE = 1e-3
"""What others may be off by; more means that the model they are given is not the problem."""


@dataclass(frozen=True)
class Options:
    """What is measured, and how."""

    only: str = ""
    """Rows whose name contains this, or matches it as a pattern with * ? []."""
    quick: bool = False
    """Take less time for each row."""
    cpu_time: bool = False
    """Take the processor time instead of the wall time, one thread only: on a host whose
    processors are in use, what others take is left out."""

    @property
    def seconds(self) -> float:
        """How long a row is to take, if three rounds do not take longer."""
        return _QUICK_SECONDS if self.quick else _SECONDS

    @property
    def threads(self) -> tuple[int, ...]:
        """The numbers of threads that rows are measured with."""
        return (1,) if self.cpu_time else (1, 2)

    @property
    def clock(self) -> rounds.Clock:
        """What tells the time."""
        return time.process_time if self.cpu_time else time.perf_counter

    def wants(self, case: Case) -> bool:
        """Whether a case is to be measured."""
        return self.only in case.name or fnmatch.fnmatchcase(case.name, self.only)


def measure(
    options: Options = Options(), show: Callable[[str], None] = lambda line: None
) -> TensorReport:
    """The rows that are wanted. `show` is given each line of the table when it is known.
    AiosError when no row is wanted."""
    wanted = [case for case in cases() if options.wants(case)]
    if not wanted:
        raise AiosError(f"No row of the benchmark contains or matches '{options.only}'.")
    peers, missing = engines()
    report = TensorReport([peer.name for peer in peers], missing)
    show(report.heading())
    guest = Guest()
    try:
        for case in wanted:
            for row in _measure_case(guest, peers, case, options):
                report.rows.append(row)
                show(report.line(row))
    finally:
        guest.close()
    show("\n" + report.footer())
    return report


def cases() -> Iterator[Case]:
    """All rows there are."""
    yield from products.cases()
    yield from layers.cases()


def _measure_case(guest: Guest, peers: list[Engine], case: Case, options: Options) -> Iterator[Row]:
    """The rows of a case: one for each number of threads."""
    problem = case.make()
    missing = {i.mnemonic for i in problem.instructions} - TABLE.keys()
    if missing:
        why = f"skipped: no such instruction yet: {', '.join(missing)}"
        yield Row(case.name, case.family, 1, why)
        return
    expected = problem.expected()
    for number in options.threads:
        threads.set_count(number)
        try:
            sessions = _sessions(guest, peers, problem, number, expected)
            pauses = {peer.name: peer.spins for peer in peers}
            pauses[OURS] = guest.spins
            yield _row(case, number, sessions, pauses if number > 1 else {}, options)
        except AiosError as error:
            yield Row(case.name, case.family, number, f"failed: {error}")
        finally:
            threads.set_count(1)


def _sessions(
    guest: Guest, peers: list[Engine], problem: Problem, number: int, expected: Array
) -> dict[str, Session]:
    """Everybody who can compute the problem; AiosError when somebody computes it wrong."""
    sessions: dict[str, Session] = {OURS: guest.prepare(problem)}
    _check(OURS, sessions[OURS], expected, problem.tolerance)
    for peer in peers:
        session = peer.prepare(problem, number)
        if session is not None:
            _check(peer.name, session, expected, max(problem.tolerance, _PEER_TOLERANCE))
            sessions[peer.name] = session
    return sessions


def _check(name: str, session: Session, expected: Array, tolerance: float) -> None:
    session.run(1)
    error = relative_error(session.result(), expected)
    if not error <= tolerance:
        raise AiosError(f"{name} is wrong by {error:.1e}")


def _row(
    case: Case,
    number: int,
    sessions: dict[str, Session],
    pauses: dict[str, float],
    options: Options,
) -> Row:
    """Measure, and see that the result is still the same."""
    limits = _limits(case)
    before = sessions[OURS].result()
    times = rounds.measure(
        {**sessions, **limits}, options.seconds, pauses=pauses, clock=options.clock
    )
    if not np.array_equal(sessions[OURS].result(), before, equal_nan=True):
        raise AiosError("another result when repeated")
    fractions = {
        name: times.ratio(name, OURS) * case.amount(name) / limit.work
        for name, limit in limits.items()
    }
    binding = max(fractions, key=fractions.__getitem__)
    others = [name for name in sessions if name != OURS]
    return Row(
        case.name,
        case.family,
        number,
        seconds={name: times.seconds(name) for name in sessions},
        against={name: times.ratio(name, OURS) for name in others},
        best=min(others, key=times.seconds, default=""),
        roof=binding,
        fraction=fractions[binding],
        fractions=fractions,
        counts=case.counts,
    )


def relative_error(result: Array, expected: Array) -> float:
    """The greatest error as a part of the greatest magnitude; NaN where a NaN should not be."""
    scale = float(np.abs(expected).max()) or 1.0
    return float(np.abs(result - expected).max()) / scale


def _limits(case: Case) -> dict[str, roof.Roof]:
    """The roofs a row is held against. The one that takes longest for what it has to do binds."""
    if case.roof == "fma":
        return {"fma": roof.fma()}
    if case.roof == "int8":
        return {"int8": roof.dots()}
    if case.roof == "read":
        return {"read": roof.reads(case.array_bytes)}
    return {"triad": roof.triad(case.array_bytes), "fma": roof.fma()}
