"""Places in the program as commands name them: `function`, `file:line`, `line`, `*address`, or
nothing, which is where the machine stands."""

from __future__ import annotations

import re

from toolchain.debug.errors import DebugError
from toolchain.debug.expressions import whole
from toolchain.debug.lines import Place
from toolchain.debug.session import Session

_FILE_LINE = re.compile(r"(?:(?P<file>[^*]+):)?(?P<line>\d+)$")


def addresses(session: Session, text: str) -> list[int]:
    """The addresses at which to stop for a place: a function behind its prologue, a line once in
    each function that has code of it."""
    text = text.strip()
    if not text:
        return [session.frame.pc]
    if text.startswith("*"):
        return [whole(session, text[1:]) & ~1]
    if _FILE_LINE.match(text):
        return _line_addresses(session, source_line(session, text))
    return [session.body(session.function(text))]


def source_line(session: Session, text: str) -> Place:
    """The line that a place is in; DebugError when it is in none."""
    text = text.strip()
    match = _FILE_LINE.match(text)
    if match is None:
        at = addresses(session, text)[0] if text.startswith("*") else session.function(text).low
        return _place_of(session, at, text)
    name = match["file"]
    if name is None:
        return Place(current_file(session), int(match["line"]))
    found = session.program.lines.find_files(name)
    if not found:
        raise DebugError(f"There is no source file '{name}' in the program.")
    if len(found) > 1:
        raise DebugError(f"There are several files '{name}': {', '.join(found)}.")
    return Place(found[0], int(match["line"]))


def current_file(session: Session) -> str:
    """The file of the selected frame."""
    return _place_of(session, session.frame.lookup_pc, "the selected frame").file


def _place_of(session: Session, address: int, text: str) -> Place:
    place = session.program.lines.place_at(address)
    if place is None:
        raise DebugError(f"Nothing is known of the source line of {text}.")
    return place


def _line_addresses(session: Session, place: Place) -> list[int]:
    line, found = session.program.lines.addresses(place.file, place.line)
    if not line:
        raise DebugError(f"There is no code at or behind line {place.line} of {place.file}.")
    first: dict[int, int] = {}
    for address in sorted(found):
        function = session.unwinder.function_at(address)
        start = function.low if function else address
        if function and address == start:
            address = session.body(function)
        first.setdefault(start, address)
    return sorted(first.values())
