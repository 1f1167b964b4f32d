"""What the compiler says about a wrong program: places, diagnostics and their rendering.

```
kernel_src/agents.kern:41:18: error: 'agents' has no field 'modle'
   41 |     agents[id].modle = m
      |                ^^^^^ did you mean 'model'?
```
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from emu.errors import AiosError


@dataclass(frozen=True, order=True)
class Place:
    """A stretch of source: file name, line and column from 1, and how many columns."""

    file: str
    line: int
    column: int
    width: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Source:
    """One file of Kern: its name as shown in messages, the module it defines, its text."""

    file: str
    module: str
    text: str


@dataclass(frozen=True, order=True)
class Diagnostic:
    """One mistake: where, the sentence, and what to do about it (empty when there is no hint)."""

    place: Place
    message: str
    hint: str = ""


class KernErrors(AiosError):
    """A program that is wrong; `diagnostics` are in order of their places, without repetitions."""

    def __init__(self, diagnostics: Iterable[Diagnostic], sources: Iterable[Source] = ()) -> None:
        self.diagnostics = sorted(set(diagnostics))
        self.sources = {source.file: source for source in sources}
        super().__init__(render(self.diagnostics, self.sources))


def render(diagnostics: Iterable[Diagnostic], sources: dict[str, Source]) -> str:
    """The text for people: every diagnostic with its line and caret, then how many there are."""
    texts = [_render_one(diagnostic, sources) for diagnostic in diagnostics]
    count = len(texts)
    return "\n".join([*texts, "1 error" if count == 1 else f"{count} errors"])


def _render_one(diagnostic: Diagnostic, sources: dict[str, Source]) -> str:
    place = diagnostic.place
    text = f"{place}: error: {diagnostic.message}"
    lines = sources[place.file].text.split("\n") if place.file in sources else []
    if place.line > len(lines):
        return f"{text}\n  {diagnostic.hint}" if diagnostic.hint else text
    line = lines[place.line - 1].rstrip()
    before = "".join("\t" if c == "\t" else " " for c in line[: place.column - 1])
    carets = "^" * max(1, min(place.width, len(line) - place.column + 1))
    number = f"{place.line:5}"
    return f"{text}\n{number} | {line}\n      | {before}{carets} {diagnostic.hint}".rstrip()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The hint for a misspelt name, or an empty one when nothing known is near it."""
    near = get_close_matches(name, sorted(set(known)), n=1, cutoff=0.7)
    return f"did you mean '{near[0]}'?" if near else ""
