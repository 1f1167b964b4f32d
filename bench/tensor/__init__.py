"""How fast tensor instructions are, against other engines and the host: `aios bench tensor`.

problem              what a row computes: for the machine, for other engines, and the truth
products, layers     the rows
guest                the emulated machine that executes the instruction
peers                NumPy, onnxruntime, OpenVINO
rounds               taking turns and taking times (`bench.roof` takes turns too)
report               table, JSON, summary

Every row is measured in one go, all engines interleaved, once on one thread and once on two where
the tensor unit can use them; the machine's result is compared with what is right in the same run.
"""

from __future__ import annotations

import fnmatch
import importlib
import importlib.util
from collections.abc import Callable, Iterator

import numpy as np

from bench import roof
from bench.tensor import layers, products, rounds
from bench.tensor.guest import Guest, exists
from bench.tensor.peers import Engine, Session, engines
from bench.tensor.problem import Array, Case, Problem
from bench.tensor.report import OURS, ROOF, Row, TensorReport
from emu.errors import AiosError

_SECONDS, _QUICK_SECONDS = 0.2, 0.03
_PAUSE = 0.03
"""OpenBLAS's threads look for work that long before they sleep."""
_PEER_TOLERANCE = 1e-3
"""What others may be off by; more means that the model they are given is not the problem."""
_THREADS = "emu.cpu.tensor.threads"


def measure(
    *, quick: bool = False, only: str = "", show: Callable[[str], None] = lambda line: None
) -> TensorReport:
    """All rows whose name contains `only`, or matches it as a pattern with * ? []; `show` is given
    each line of the table when it is known."""
    found, missing = engines()
    report = TensorReport([engine.name for engine in found], missing)
    show(report.heading())
    chosen = [c for c in cases() if only in c.name or fnmatch.fnmatchcase(c.name, only)]
    guest = Guest()
    try:
        for case in chosen:
            for row in _measure_case(guest, found, case, _QUICK_SECONDS if quick else _SECONDS):
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


def _measure_case(guest: Guest, peers: list[Engine], case: Case, seconds: float) -> Iterator[Row]:
    """The rows of a case."""
    problem = case.make()
    if not exists(problem.instruction):
        why = f"skipped: no such instruction yet: {problem.instruction.mnemonic}"
        yield Row(case.name, case.family, 1, why)
        return
    expected = problem.expected()
    for threads in (1, 2) if _has_threads() else (1,):
        _set_threads(threads)
        try:
            yield _measure_row(guest, peers, case, problem, expected, threads, seconds)
        except AiosError as error:
            yield Row(case.name, case.family, threads, f"failed: {error}")
        finally:
            _set_threads(1)


def _measure_row(
    guest: Guest,
    peers: list[Engine],
    case: Case,
    problem: Problem,
    expected: Array,
    threads: int,
    seconds: float,
) -> Row:
    ours = guest.prepare(problem)
    ours.run(1)
    error = relative_error(ours.result(), expected)
    if not error <= problem.tolerance:
        return Row(case.name, case.family, threads, f"failed: wrong by {error:.1e}", error=error)
    sessions: dict[str, Session] = {OURS: ours}
    for peer in peers:
        session = peer.prepare(problem, threads)
        if session is not None:
            session.run(1)
            off = relative_error(session.result(), expected)
            if not off <= max(problem.tolerance, _PEER_TOLERANCE):
                raise AiosError(f"{peer.name} computes something else, off by {off:.1e}")
            sessions[peer.name] = session
    limit = _roof(case)
    times = rounds.measure({**sessions, ROOF: limit}, seconds, _PAUSE if threads > 1 else 0.0)
    if relative_error(ours.result(), expected) != error:
        return Row(case.name, case.family, threads, "failed: another result when repeated")
    others = [name for name in sessions if name != OURS]
    amount = case.work if case.roof in ("fma", "int8") else case.traffic
    return Row(
        case.name,
        case.family,
        threads,
        seconds={name: times.seconds(name) for name in sessions},
        against={name: times.ratio(name, OURS) for name in others},
        best=min(others, key=times.seconds, default=""),
        roof=case.roof,
        fraction=times.ratio(ROOF, OURS) * amount / limit.work,
        error=error,
        counts=case.counts,
    )


def relative_error(result: Array, expected: Array) -> float:
    """The greatest error as a part of the greatest magnitude; NaN where a NaN should not be."""
    scale = float(np.abs(expected).max()) or 1.0
    return float(np.abs(result - expected).max()) / scale


def _roof(case: Case) -> roof.Roof:
    if case.roof == "fma":
        return roof.fma()
    if case.roof == "int8":
        return roof.dots()
    return (roof.triad if case.roof == "triad" else roof.reads)(case.array_bytes)


def _has_threads() -> bool:
    return importlib.util.find_spec(_THREADS) is not None


def _set_threads(count: int) -> None:
    if _has_threads():
        importlib.import_module(_THREADS).set_count(count)
