"""What `aios bench tensor` reports: a row a case and number of threads, and the summary.

A ratio *against* an engine is its time divided by ours, so above 1 the machine is the faster one. A
fraction is of the roof that binds the row, measured in the same rounds, on one core: with two
threads a fraction of arithmetic can reach 2.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

OURS = "AIos"


@dataclass(frozen=True)
class Row:
    """One case, with one number of threads."""

    name: str
    family: str
    threads: int
    status: str = "ok"
    """'ok', 'skipped: why', or 'failed: why'."""
    seconds: dict[str, float] = field(default_factory=dict)
    """A call's time, by engine."""
    against: dict[str, float] = field(default_factory=dict)
    """Ratio against each peer."""
    best: str = ""
    """The fastest peer."""
    roof: str = ""
    """The roof that binds: of those it is held against, the one it is nearest to."""
    fraction: float = 0.0
    """Of that roof."""
    fractions: dict[str, float] = field(default_factory=dict)
    """Of each roof that it is held against."""
    counts: frozenset[str] = frozenset()
    """Keys of the summary it counts for."""

    @property
    def against_best(self) -> float | None:
        """Ratio against the fastest peer, if there is one."""
        return self.against.get(self.best)


@dataclass
class TensorReport:
    """All rows of a run."""

    peers: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a row's result was wrong or its instruction trapped."""
        return any(row.status.startswith("failed") for row in self.rows)

    @property
    def summary(self) -> dict[str, float | None]:
        """The figures of one thread that have targets; None where no row counts for one. An
        operation on large arrays is bound by memory where the triad binds; `arrays_vs_triad` has
        all of them. For two threads there is the mean against the best peer."""
        one = [row for row in self.rows if row.threads == 1 and row.status == "ok"]
        two = [row for row in self.rows if row.threads == 2 and row.status == "ok"]
        return {
            "gemm_roof_512": _least(one, "gemm_roof_512", lambda row: row.fraction),
            "worst_gemm_vs_best": _least(one, "worst_gemm_vs_best", lambda row: row.against_best),
            "geomean_vs_best": _geometric_mean(row.against_best for row in one),
            "geomean_vs_ort": _geometric_mean(row.against.get("onnxruntime") for row in one),
            "membound_vs_triad": _least(one, "membound_vs_triad", _bound_by_memory),
            "int8_roof_512": _least(one, "int8_roof_512", lambda row: row.fraction),
            "arrays_vs_triad": _least(one, "membound_vs_triad", lambda r: r.fractions["triad"]),
            "geomean_vs_best_two_threads": _geometric_mean(row.against_best for row in two),
        }

    def heading(self) -> str:
        """The first line of the table."""
        columns = "".join(f"{name:>12}" for name in [OURS, *self.peers])
        return f"{'':36} T{columns}{'vs best':>9}{'fraction':>10} of"

    def line(self, row: Row) -> str:
        """A row of the table; times in microseconds."""
        start = f"{row.name:36} {row.threads}"
        if row.status != "ok":
            return f"{start} {row.status}"
        times = [row.seconds.get(name) for name in [OURS, *self.peers]]
        cells = "".join(f"{t * 1e6:12.2f}" if t is not None else f"{'-':>12}" for t in times)
        ratio = row.against_best
        shown = f"{ratio:9.2f}" if ratio is not None else f"{'-':>9}"
        return f"{start}{cells}{shown}{row.fraction:10.2f} {row.roof}"

    def footer(self) -> str:
        """The summary, for people."""
        lines = ["Times in microseconds; ratios above 1 say that AIos is faster."]
        lines += [f"{name} is not installed, so it was left out." for name in self.missing]
        lines += [
            f"{key:28} {'-' if value is None else f'{value:.3f}'}"
            for key, value in self.summary.items()
        ]
        return "\n".join(lines)

    def table(self) -> str:
        """Everything, for people."""
        return "\n".join([self.heading(), *map(self.line, self.rows), "", self.footer()])

    def write(self, path: Path) -> None:
        """As JSON: {"rows": [...], "summary": {...}}; a row has the fields of `Row`."""
        rows = [asdict(row) | {"counts": sorted(row.counts)} for row in self.rows]
        path.write_text(json.dumps({"rows": rows, "summary": self.summary}, indent=2) + "\n")


def _least(rows: list[Row], key: str, figure: Callable[[Row], float | None]) -> float | None:
    figures = [figure(row) for row in rows if key in row.counts]
    return min((value for value in figures if value is not None), default=None)


def _bound_by_memory(row: Row) -> float | None:
    return row.fraction if row.roof == "triad" else None


def _geometric_mean(ratios: Iterable[float | None]) -> float | None:
    logarithms = [math.log(ratio) for ratio in ratios if ratio]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None
