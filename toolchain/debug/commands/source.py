"""Source text and machine code."""

from __future__ import annotations

from toolchain.debug import places
from toolchain.debug.commands import command
from toolchain.debug.commands.data import instruction_line
from toolchain.debug.errors import DebugError
from toolchain.debug.expressions import whole
from toolchain.debug.session import Session

_LINES = 10
_INSTRUCTIONS = 10


@command("list", "l", group="Source", usage="[PLACE]", repeats=True)
def list_(session: Session, argument: str) -> None:
    """Show ten lines of source around PLACE, or around the selected frame; again, the next ten."""
    if argument:
        place = places.source_line(session, argument)
        file, first = place.file, place.line - _LINES // 2
    elif session.listed is not None:
        file, first = session.listed
    else:
        here = session.program.lines.place_at(session.frame.lookup_pc)
        if here is None:
            raise DebugError("Nothing is known of the source of this code; try 'disassemble'.")
        file, first = here.file, here.line - _LINES // 2
    first = max(first, 1)
    lines = session.sources.lines(file)
    if not lines:
        raise DebugError(f"The source file {file} cannot be found.")
    if first > len(lines):
        raise DebugError(f"{file} has {len(lines)} lines only.")
    for number, text in enumerate(lines[first - 1 : first - 1 + _LINES], first):
        session.say(f"{number}\t{text}")
    session.listed = file, first + _LINES


@command("disassemble", "disas", group="Source", usage="[FUNCTION | ADDRESS]")
def disassemble(session: Session, argument: str) -> None:
    """Show the instructions of a function, by default of the selected frame's."""
    at = session.frame.pc
    if argument:
        named = session.functions_named(argument)
        at = named[0].low if len(named) == 1 else whole(session, argument)
    function = session.unwinder.function_at(at)
    low, high = (function.low, function.high) if function else (at, at + 4 * _INSTRUCTIONS)
    while low < high:
        word = session.memory.instruction(low)
        session.say(instruction_line(session, low, word))
        low += 4 if word & 3 == 3 else 2
