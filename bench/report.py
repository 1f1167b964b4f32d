"""What every benchmark gives: rows of figures and a summary, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class Target:
    """What a figure of a summary should be: at least, or else at most, `bound`."""

    key: str
    bound: float
    at_least: bool = True

    def verdict(self, value: float | None) -> str:
        """The target in words, and whether it is met."""
        wanted = f"{'at least' if self.at_least else 'at most'} {self.bound:g}"
        if value is None:
            return f"{wanted}: not measured"
        met = value >= self.bound if self.at_least else value <= self.bound
        return f"{wanted}: {'met' if met else 'MISSED'}"


def summary_lines(
    summary: Mapping[str, float | None], targets: Iterable[Target], digits: int = 2
) -> list[str]:
    """A summary for people, with what became of its targets."""
    wanted = {target.key: target for target in targets}
    width = max(map(len, summary), default=0)
    lines = []
    for key, value in summary.items():
        figure = "-" if value is None else f"{value:.{digits}f}"
        verdict = wanted[key].verdict(value) if key in wanted else ""
        lines.append(f"{key:{width}} {figure:>10}  {verdict}".rstrip())
    return lines


@dataclass
class Report:
    """All figures of a run. The summary's keys are stable: other programs read them. The `targets`
    that it has, if any, are shown beneath the table."""

    rows: list[Row] = field(default_factory=list)
    summary: dict[str, float] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()

    def add(self, name: str, value: float, unit: str) -> None:
        """Append a row."""
        self.rows.append(Row(name, value, unit))

    def table(self) -> str:
        """For people."""
        width = max(len(row.name) for row in self.rows)
        lines = [f"{r.name:{width}} {r.value:10.2f} {r.unit}" for r in self.rows]
        if self.targets:
            lines += ["", *summary_lines(self.summary, self.targets, digits=3)]
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """As JSON: {"rows": [{"name", "value", "unit"}, ...], "summary": {...}}."""
        content = {"rows": [asdict(row) for row in self.rows], "summary": self.summary}
        path.write_text(json.dumps(content, indent=2) + "\n")
