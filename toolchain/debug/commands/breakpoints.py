"""Breakpoints: where the machine stops."""

from __future__ import annotations

from toolchain.debug import places
from toolchain.debug.commands import command
from toolchain.debug.errors import DebugError
from toolchain.debug.session import Breakpoint, Session


@command("break", "b", group="Breakpoints", usage="[PLACE]")
def break_(session: Session, argument: str) -> None:
    """Stop at PLACE: `function`, `file:line`, `line`, `*address`; without one, here.

    Functions of Kern are called module.function; the module can be left out where one function only
    has the name. A function stops when its arguments can be printed.
    """
    _add(session, argument, temporary=False)


@command("tbreak", "tb", group="Breakpoints", usage="[PLACE]")
def tbreak(session: Session, argument: str) -> None:
    """Stop at PLACE once."""
    _add(session, argument, temporary=True)


def _add(session: Session, argument: str, *, temporary: bool) -> None:
    for address in places.addresses(session, argument):
        made = session.add_breakpoint(address, temporary=temporary)
        session.say(f"Breakpoint {made.number} at {where(session, made)}")


def where(session: Session, breakpoint_: Breakpoint) -> str:
    """A breakpoint's address, function and line."""
    place = session.program.lines.place_at(breakpoint_.address)
    text = session.describe(breakpoint_.address)
    return f"{text}, {place}" if place else text


@command("delete", "d", group="Breakpoints", usage="[NUMBER ...]")
def delete(session: Session, argument: str) -> None:
    """Delete the breakpoints with these numbers; without one, all."""
    if not argument:
        session.breakpoints.clear()
    for word in argument.split():
        if not word.isdecimal() or int(word) not in session.breakpoints:
            raise DebugError(f"There is no breakpoint {word}.")
        del session.breakpoints[int(word)]
