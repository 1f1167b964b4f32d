"""The report of `aios bench devices`, on little work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import devices
from bench.devices import nvme
from toolchain.cli import main


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark of NVMe that takes no time."""
    for name, value in {"RUNS": 2, "RANDOM_READS": 64, "SEQUENTIAL_MIB": 4}.items():
        monkeypatch.setattr(nvme, name, value)
    monkeypatch.setattr(nvme, "DRIVE_BYTES", 8 << 20)
    monkeypatch.setattr(nvme, "BOARDS", ("workstation",))


def test_every_part_has_a_measure_and_says_what_it_is() -> None:
    assert "nvme" in devices.parts()
    for name in devices.parts():
        part = __import__(f"bench.devices.{name}", fromlist=["measure"])
        assert callable(part.measure)
        assert part.__doc__


def test_reads_by_the_kernel_are_timed_and_written_as_json(
    little: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "nvme", "--json", str(tmp_path / "figures.json")]) == 0
    assert "random reads of 4 KiB" in capsys.readouterr().out
    summary = json.loads((tmp_path / "figures.json").read_text())["summary"]
    assert set(summary) == {"nvme_read_iops", "nvme_read_gb_s"}
    assert all(value > 0 for value in summary.values())
