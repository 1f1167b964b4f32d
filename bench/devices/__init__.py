"""What the devices reach: `aios bench devices`, and `aios bench PART` for one part.

Each module of this package whose name does not begin with an underscore is a part, `nvme` for one.
It has one public function,

    def measure(report: Report) -> None: ...

which appends its rows (`report.add(name, value, unit)`) and puts the figures that other programs
read into `report.summary`. Parts are measured in the order of their names; nothing lists them.
"""

from __future__ import annotations

import importlib
import pkgutil

from bench.report import Report


def parts() -> list[str]:
    """The names of all parts."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def measure(only: str = "") -> Report:
    """Measure every part, or the one called `only`."""
    report = Report()
    for name in [only] if only else parts():
        importlib.import_module(f"{__name__}.{name}").measure(report)
    return report
