"""What `aios bench cpu` reports: a row a program, and the summary.

Times are medians, in seconds of the wall: `native`, `qemu`, `warm` and `cold` between the program's
markers, `qemu_process` and so on of whole processes. A ratio *against QEMU* is QEMU's time divided
by ours, so above 1 AIos is the faster one; one *against native* is our time divided by the native
one: how many times slower AIos is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.report import Report, Target, summary_lines

TARGETS = (
    Target("geomean_vs_qemu", 3),
    Target("worst_vs_qemu", 1),
    Target("geomean_vs_native", 2, at_least=False),
    Target("cold_vs_qemu", 1),
)

LONG_SECONDS = 2.0
"""Programs that QEMU needs at least this long for count for the cold ratios."""


@dataclass(frozen=True)
class Row:
    """One program."""

    name: str
    what: str
    seconds: dict[str, float]
    instructions: int | None = None
    status: str = "ok"
    """'ok', or 'failed: why'."""

    def ratio(self, above: str, below: str) -> float | None:
        """One time divided by another; None where either is missing."""
        a, b = self.seconds.get(above), self.seconds.get(below)
        return a / b if a and b else None

    @property
    def vs_qemu(self) -> float | None:
        """How many times faster than QEMU a warm run is."""
        return self.ratio("qemu", "warm")

    @property
    def vs_native(self) -> float | None:
        """How many times slower than a native run a warm run is."""
        return self.ratio("warm", "native")

    @property
    def cold_vs_qemu(self) -> float | None:
        """How many times faster than QEMU a cold run is, whole processes."""
        return self.ratio("qemu_process", "cold_process")

    @property
    def mips(self) -> float | None:
        """Millions of guest instructions a second, warm."""
        if self.instructions is None or "warm" not in self.seconds:
            return None
        return self.instructions / self.seconds["warm"] / 1e6


@dataclass
class CpuReport:
    """All rows of a run. `loops` is the small table of assembled loops; `notes` are sentences about
    what could not be done as usual."""

    rows: list[Row] = field(default_factory=list)
    loops: Report = field(default_factory=Report)
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a program gave a wrong result."""
        return any(row.status != "ok" for row in self.rows)

    @property
    def summary(self) -> dict[str, float | None]:
        """The figures with targets, and a few beside them; None where nothing was measured. The
        cold figure is the worst of the long programs, as the warm one's `worst` is."""
        vs_qemu = self._figures(lambda row: row.vs_qemu)
        cold = self._figures(lambda row: row.cold_vs_qemu if _is_long(row) else None)
        return {
            "geomean_vs_qemu": geometric_mean(vs_qemu),
            "worst_vs_qemu": min(vs_qemu, default=None),
            "geomean_vs_native": geometric_mean(self._figures(lambda row: row.vs_native)),
            "cold_vs_qemu": min(cold, default=None),
            "cold_geomean_vs_qemu": geometric_mean(cold),
            "process_geomean_vs_qemu": geometric_mean(
                self._figures(lambda row: row.ratio("qemu_process", "warm_process"))
            ),
            "qemu_geomean_vs_native": geometric_mean(
                self._figures(lambda row: row.ratio("qemu", "native"))
            ),
        } | self.loops.summary

    def _figures(self, figure: Callable[[Row], float | None]) -> list[float]:
        return [value for row in self.rows if (value := figure(row)) is not None]

    def heading(self) -> str:
        """The first line of the table."""
        times = "".join(f"{name:>9}" for name in ("native", "QEMU", "AIos", "cold", "MIPS"))
        return f"{'':12}{times}{'vs QEMU':>10}{'vs native':>11}{'cold vs QEMU':>14}"

    def line(self, row: Row) -> str:
        """A row of the table."""
        if row.status != "ok":
            return f"{row.name:12} {row.status}"
        times = [row.seconds.get(name) for name in ("native", "qemu", "warm", "cold_process")]
        cells = "".join(_cell(value, 9, 3) for value in times) + _cell(row.mips, 9, 0)
        ratios = _cell(row.vs_qemu, 10, 2) + _cell(row.vs_native, 11, 2)
        return f"{row.name:12}{cells}{ratios}{_cell(row.cold_vs_qemu, 14, 2)}"

    def footer(self) -> str:
        """The loops and the summary, for people."""
        lines = [
            "Seconds between a program's markers; cold: the whole process, the first run ever."
        ]
        lines += ["vs QEMU: above 1, AIos is faster. vs native: how many times slower AIos is."]
        lines += self.notes
        lines += ["", self.loops.table()] if self.loops.rows else []
        lines += ["", *summary_lines(self.summary, TARGETS)]
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """As JSON: {"rows": [...], "summary": {...}}; a row has `name`, `what`, `status`, `seconds`
        by machine, `instructions`, `mips` and the three ratios."""
        rows = [
            {
                "name": row.name,
                "what": row.what,
                "status": row.status,
                "seconds": row.seconds,
                "instructions": row.instructions,
                "mips": row.mips,
                "vs_qemu": row.vs_qemu,
                "vs_native": row.vs_native,
                "cold_vs_qemu": row.cold_vs_qemu,
            }
            for row in self.rows
        ]
        content = {"rows": rows, "summary": self.summary}
        path.write_text(json.dumps(content, indent=2) + "\n")


def _is_long(row: Row) -> bool:
    return row.seconds.get("qemu_process", 0.0) >= LONG_SECONDS


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def geometric_mean(values: list[float]) -> float | None:
    """The geometric mean; None of nothing."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None
