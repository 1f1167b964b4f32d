"""`aios test`: what it says of files that it cannot test."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.cli import main

PASSING = 'test "two" { assert(1 + 1 == 2) }\n'


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["start.s"], "'aios test' takes at least one .kern file"),
        (["good.kern", "binary.s"], "binary.s: byte 0 is not UTF-8 text."),
        (["binary.kern"], "binary.kern: byte 0 is not UTF-8 text."),
        (["good.kern", "-k", "three"], "No test in these files has 'three' in its name."),
        (["absent.kern"], "absent.kern: there is no such file."),
        (["notes.txt"], "notes.txt: 'aios test' takes .kern and .s files."),
    ],
)
def test_what_cannot_be_tested_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("start.s").write_text("_start: ret\n", encoding="utf-8")
    Path("good.kern").write_text(PASSING, encoding="utf-8")
    for name in ("binary.s", "binary.kern"):
        Path(name).write_bytes(b"\xff\xfe")
    assert main(["test", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"aios: error: {sentence}")
    assert error.count("\n") == 1
