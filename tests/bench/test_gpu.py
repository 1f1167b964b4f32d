"""The GPU's part of `aios bench devices`, on little work."""

from __future__ import annotations

import pytest

from bench.devices import gpu
from bench.report import Report


def test_kernels_run_and_agree_with_those_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """`measure` itself raises where the prices of options are not the same to the bit."""
    for name, value in {"ROUNDS": 1, "SAXPY_ELEMENTS": 1 << 14, "OPTIONS": 1 << 12}.items():
        monkeypatch.setattr(gpu, name, value)
    report = Report()
    gpu.measure(report)
    assert set(report.summary) == {"gpu_saxpy_vs_triad", "gpu_blackscholes_vs_hand"}
    assert all(value > 0 for value in report.summary.values())
