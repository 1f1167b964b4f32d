"""Each test translates for itself: what others left on disk would be there before its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.cpu.native.handlers import interpreter_code


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, but for the interpreter, which is compiled already."""
    interpreter_code()
    monkeypatch.setenv("AIOS_CACHE", str(tmp_path))
    return tmp_path
