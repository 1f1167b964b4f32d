"""What is shown at a stop: the frame in words, and its source line or instruction."""

from __future__ import annotations

from emu.isa.disassemble import disassemble
from toolchain.debug.control import Stop
from toolchain.debug.dwarf import Variable
from toolchain.debug.errors import DebugError
from toolchain.debug.expressions import evaluate
from toolchain.debug.frames import Frame
from toolchain.debug.location import locate
from toolchain.debug.session import Session

_MOST_ARGUMENT = 80


def report(session: Session, stop: Stop) -> None:
    """Say why and where the machine stopped, and what the user wants displayed."""
    session.selected = 0
    if stop.reason:
        session.say(stop.reason)
    if session.ended is None:
        here(session)
        displays(session)


def here(session: Session) -> None:
    """The selected frame and its line."""
    session.say(frame_text(session, session.frame))
    session.say(line_text(session, session.frame))


def frame_text(session: Session, frame: Frame) -> str:
    """`function (argument=value) at file:line`, or the address where there is no line."""
    place = session.program.lines.place_at(frame.lookup_pc)
    if frame.function is None:
        return f"{frame.pc:#x} in no function"
    if frame.function.block is None:
        offset = frame.pc - frame.function.low
        name = f"{frame.function.name}+{offset}" if offset else frame.function.name
        return f"{name} at {place or hex(frame.pc)}"
    arguments = ", ".join(_argument(session, frame, v) for v in frame.function.parameters)
    return f"{frame.function.name} ({arguments}) at {place or hex(frame.pc)}"


def _argument(session: Session, frame: Frame, variable: Variable) -> str:
    try:
        text = session.formatter().text(locate(variable, frame, session.memory))
    except DebugError:
        text = "?"
    if len(text) > _MOST_ARGUMENT:
        text = text[: _MOST_ARGUMENT - 1] + "…"
    return f"{variable.name}={text}"


def line_text(session: Session, frame: Frame) -> str:
    """The source line of a frame; without one its instruction."""
    place = session.program.lines.place_at(frame.lookup_pc)
    line = session.sources.line(place.file, place.line) if place else None
    if place is None or line is None:
        return instruction_text(session, frame.pc)
    return f"{place.line}\t{line}"


def instruction_text(session: Session, pc: int) -> str:
    """The instruction at `pc` with its address; branch targets with their function."""
    try:
        word = session.memory.instruction(pc)
    except DebugError:
        return f"{session.describe(pc)}:\t(no memory)"
    return f"{session.describe(pc)}:\t{disassemble(word, pc)}"


def displays(session: Session) -> None:
    """The expressions that `display` asked for."""
    for number, text in session.displays.items():
        try:
            value = session.formatter().text(evaluate(session, text))
        except DebugError as error:
            value = f"<{str(error).rstrip('.')}>"
        session.say(f"{number}: {text} = {value}")
