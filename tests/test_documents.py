"""The documents are true: links lead somewhere, files that are named exist, and every `aios`
command that a page shows is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from toolchain import cli

_ROOT = Path(__file__).parents[1]
_PAGES = [*_ROOT.glob("*.md"), *(_ROOT / "docs").rglob("*.md")]


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([\w./-]+)(?:#[\w-]*)?\)", re.sub(r"`[^`]*`", "", _text(page)))
    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_paths_that_are_named_exist(page: Path) -> None:
    paths = re.findall(
        r"`((?:emu|toolchain|kernel_src|asm|examples|tests|docs|models)/[\w./]*)`", _text(page)
    )
    assert [p for p in paths if not (_ROOT / p).exists()] == []


def _commands() -> list[str]:
    shown: set[str] = set()
    for page in _PAGES:
        whole_lines = re.sub(r"\\\n +", "", _text(page))
        shown.update(re.findall(r"^    (aios [^#\n]+)", whole_lines, re.MULTILINE))
    return sorted(command.strip() for command in shown)


@pytest.mark.parametrize("command", _commands())
def test_commands_that_are_shown_are_taken(
    command: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # without the files, so nothing runs for long
    code = cli.main(shlex.split(command)[1:])
    assert code == cli.EXIT_BAD_INPUT
    assert "usage:" not in capsys.readouterr().err
