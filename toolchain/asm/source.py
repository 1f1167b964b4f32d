"""Lines and statements of assembly text, and the errors that point into them.

A line holds labels (`name:` or a number and `:`), then a statement: a directive or an instruction
with comma-separated operands; `;` separates statements. Comments run from `#` or `//` to the end of
the line, or between `/*` and `*/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from emu.errors import AiosError
from toolchain.kern.diagnostics import Diagnostic, Place, Source, render

_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"?|\'(?:[^\'\\]|\\.)\'?|/\*.*?\*/|#.*|//.*|/\*.*', re.S)
_LABEL = re.compile(r"\s*([A-Za-z_.$][\w.$]*|\d+)\s*:")
_HEAD = re.compile(r"\s*(\S+)")


class AsmErrors(AiosError):
    """Assembly text that is wrong; its message shows every mistake with its line."""

    def __init__(self, diagnostics: Iterable[Diagnostic], source: Source) -> None:
        self.diagnostics = sorted(set(diagnostics))
        super().__init__(render(self.diagnostics, {source.file: source}))


class StatementError(Exception):
    """One mistake of the statement at hand; what the sentence quotes is where the caret goes."""


@dataclass(frozen=True)
class Operand:
    """The text of one operand and its column."""

    text: str
    column: int


@dataclass(frozen=True)
class Statement:
    """Labels, or a mnemonic or directive with its operands, at a place of the source."""

    line: int
    column: int
    name: str = ""
    operands: tuple[Operand, ...] = ()
    label: str = ""


def without_comments(text: str) -> str:
    """The text with every comment turned into spaces, so that columns keep their meaning."""

    def blank(match: re.Match[str]) -> str:
        found = match[0]
        if found[0] in "\"'":
            return found
        return re.sub(r"[^\n]", " ", found)

    # A line comment's pattern must not run over the line, a block comment's must.
    return re.sub(
        _COMMENT.pattern.replace("#.*|//.*", r"#[^\n]*|//[^\n]*"), blank, text, flags=re.S
    )


def statements(text: str) -> Iterator[Statement]:
    """All statements of a file, in order; a label is a statement of its own."""
    for number, line in enumerate(without_comments(text).split("\n"), 1):
        for start, part in _split(line, ";"):
            position = 0
            while label := _LABEL.match(part, position):
                yield Statement(number, start + label.start(1) + 1, label=label[1])
                position = label.end()
            head = _HEAD.match(part, position)
            if head is None:
                continue
            yield Statement(
                number,
                start + head.start(1) + 1,
                head[1].lower(),
                tuple(_operands(part, head.end(), start)),
            )


def _operands(part: str, position: int, start: int) -> Iterator[Operand]:
    rest = part[position:]
    if not rest.strip():
        return
    for offset, text in _split(rest, ","):
        lead = len(text) - len(text.lstrip())
        yield Operand(text.strip(), start + position + offset + lead + 1)


def _split(text: str, separator: str) -> Iterator[tuple[int, str]]:
    """The parts of `text` between separators that stand outside quotes, with their offsets."""
    start = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"?|\'(?:[^\'\\]|\\.)\'?|[,;]', text):
        if match[0] == separator:
            yield start, text[start : match.start()]
            start = match.end()
    yield start, text[start:]


def diagnostic(file: str, statement: Statement, message: str) -> Diagnostic:
    """The mistake placed in its file: at the operand that the sentence quotes, else at the name."""
    for quoted in re.findall(r"'(.+?)'(?!\w)|(-?\d+)", message):
        wanted = quoted[0] or quoted[1]
        for operand in statement.operands:
            at = operand.text.find(wanted)
            if at >= 0:
                place = Place(file, statement.line, operand.column + at, len(wanted))
                return Diagnostic(place, message)
    width = max(1, len(statement.name or statement.label))
    return Diagnostic(Place(file, statement.line, statement.column, width), message)
