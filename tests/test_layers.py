"""Folders follow the data: the machine does not import what makes its images or looks at it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LATER = {"toolchain", "bench", "tests"}


def _imported(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_emu_imports_neither_toolchain_nor_what_is_outside() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / "emu").rglob("*.py"))
        for name in _imported(path)
        if name.partition(".")[0] in LATER
    ]
    assert wrong == []
