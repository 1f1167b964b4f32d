"""Moving the machine. Each of these ends at a stop, which is shown."""

from __future__ import annotations

from collections.abc import Callable

from emu.clock import parse_time
from toolchain.debug import control, places
from toolchain.debug.commands import command
from toolchain.debug.control import Stop
from toolchain.debug.errors import DebugError
from toolchain.debug.expressions import whole
from toolchain.debug.session import Session
from toolchain.debug.show import frame_text, report
from toolchain.debug.types import Struct
from toolchain.debug.values import Value, is_scalar


def _move(session: Session, argument: str, move: Callable[[], Stop | None]) -> None:
    """Move `argument` times (once when it is empty) and show where that led."""
    count = whole(session, argument) if argument else 1
    with control.moving(session):
        stop = control.repeat(count, move)
    report(session, stop)


@command("step", "s", group="Running", usage="[COUNT]", repeats=True)
def step(session: Session, argument: str) -> None:
    """Go to the next source line, into functions that are called."""
    _move(session, argument, lambda: control.step_line(session, over=False))


@command("next", "n", group="Running", usage="[COUNT]", repeats=True)
def next_(session: Session, argument: str) -> None:
    """Go to the next source line of this function; calls run until they return."""
    _move(session, argument, lambda: control.step_line(session, over=True))


@command("stepi", "si", group="Running", usage="[COUNT]", repeats=True)
def stepi(session: Session, argument: str) -> None:
    """Execute one instruction."""
    _move(session, argument, lambda: control.step_instruction(session))


@command("nexti", "ni", group="Running", usage="[COUNT]", repeats=True)
def nexti(session: Session, argument: str) -> None:
    """Execute one instruction; a call runs until it returns."""
    _move(session, argument, lambda: control.step_instruction(session, over=True))


@command("continue", "c", group="Running", repeats=True)
def continue_(session: Session, argument: str) -> None:
    """Run until a breakpoint, Ctrl-C or the end."""
    if argument:
        raise DebugError("'continue' takes no argument; 'until PLACE' runs to a place.")
    with control.moving(session):
        stop = control.resume(session)
    report(session, stop or Stop())


@command("powercut", group="Running", usage="[TIME]")
def powercut(session: Session, argument: str) -> None:
    """Let the power fail now, or at TIME of virtual time, as 3ms: drives lose what is not flushed.

    The machine is off then. What had been flushed is in the drives' files.
    """
    session.alive()
    if not argument:
        report(session, control.ended(session, session.machine.cut_power()))
        return
    try:
        session.machine.cut_power_at(parse_time(argument))
    except ValueError as error:
        raise DebugError(f"{error}.") from None


@command("finish", "fin", group="Running", repeats=True)
def finish(session: Session, argument: str) -> None:
    """Run until the selected function returns, and show what it returned."""
    if argument:
        raise DebugError("'finish' takes no argument.")
    session.alive()
    frame = session.frame
    session.say(f"Run till exit from {frame_text(session, frame)}")
    with control.moving(session):
        stop = control.finish(session)
    report(session, stop)
    result = frame.function.result if frame.function else None
    if not stop.reason and result is not None and is_scalar(result):
        name = "fa0" if result.name in ("f32", "f64", "float") else "a0"
        data = session.register(name).data[: result.size]
        session.say(f"Value returned is {session.formatter().text(Value(result, None, data))}")
    elif not stop.reason and isinstance(result, Struct) and 8 < result.size <= 16:
        raw = b"".join(session.register(name).data for name in ("a0", "a1"))
        session.say(f"Value returned is {session.formatter().text(Value(result, None, raw))}")


@command("until", "u", group="Running", usage="[PLACE]", repeats=True)
def until(session: Session, argument: str) -> None:
    """Run to PLACE, or to this function's return; without one, like next, but out of loops."""
    if not argument:
        _move(session, "", lambda: control.step_line(session, over=True, forward=True))
        return
    address = places.addresses(session, argument)[0]
    with control.moving(session):
        stop = control.run_to(session, address)
    report(session, stop)
