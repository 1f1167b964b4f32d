"""What `aios bench start` sees of a process, and of a real boot."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import start
from emu.errors import AiosError
from toolchain import disk
from toolchain.image import default_image

PRETENDER = """
import sys, time
print("running", time.perf_counter(), file=sys.stderr)
time.sleep(0.05)
print("AIos  up in 1.5 ms\\nAIos> ", end="", flush=True)
assert input() == "poweroff"
time.sleep(0.05)
"""


def test_a_boot_is_timed_in_its_order_and_told_to_power_off(tmp_path: Path) -> None:
    seen = start.boot([sys.executable, "-c", PRETENDER], tmp_path)
    assert seen.running is not None
    assert 0 < seen.running < seen.running + 0.05 <= seen.prompt < seen.prompt + 0.05 <= seen.ended
    assert seen.virtual == pytest.approx(0.0015)
    assert 1 < seen.resident_mb < 100


def test_a_process_that_ends_without_a_prompt_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AiosError, match="ended without a prompt: b'no luck"):
        start.boot([sys.executable, "-c", "print('no luck')"], tmp_path)


def test_the_median_of_boots_is_that_of_each_figure() -> None:
    boots = [start.Boot(None, *(n * factor for factor in range(1, 5))) for n in (3.0, 1.0, 2.0)]
    assert start.median(boots) == start.Boot(None, 2.0, 4.0, 6.0, 8.0)


def test_aios_itself_is_timed_and_stays_small_with_sixteen_gibibytes_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        start, "environment", lambda cache: dict(os.environ)
    )  # the tests' own cache
    disk.create(tmp_path / "disk.img", [])
    command = start.commands(default_image(), tmp_path / "disk.img")["AIos"]
    seen = start.boot(command, tmp_path)
    assert seen.running is not None
    assert seen.running < seen.prompt
    assert seen.resident_mb < 300
