"""What every benchmark gives: rows of figures and a summary, as a table or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure."""

    name: str
    value: float
    unit: str


@dataclass
class Report:
    """All figures of a run. The summary's keys are stable: other programs read them."""

    rows: list[Row] = field(default_factory=list)
    summary: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str) -> None:
        """Append a row."""
        self.rows.append(Row(name, value, unit))

    def table(self) -> str:
        """For people."""
        width = max(len(row.name) for row in self.rows)
        return "\n".join(f"{r.name:{width}} {r.value:10.2f} {r.unit}" for r in self.rows)

    def write(self, path: Path) -> None:
        """As JSON: {"rows": [{"name", "value", "unit"}, ...], "summary": {...}}."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")
