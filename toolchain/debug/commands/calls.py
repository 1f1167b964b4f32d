"""The calls in progress: which there are, on which hart, and which one names refer to."""

from __future__ import annotations

from toolchain.debug.commands import command
from toolchain.debug.errors import DebugError
from toolchain.debug.expressions import whole
from toolchain.debug.session import Session
from toolchain.debug.show import frame_text, line_text

_MOST_SHOWN = 60


@command("backtrace", "bt", group="Calls", usage="[COUNT]")
def backtrace(session: Session, argument: str) -> None:
    """Show the calls in progress, the innermost first."""
    most = whole(session, argument) if argument else _MOST_SHOWN
    frames = session.frames
    for frame in frames[: max(most, 0)]:
        session.say(f"#{frame.number}  {frame_text(session, frame)}")
    if len(frames) > most:
        session.say(f"({len(frames) - most} more frames)")


@command("frame", "f", group="Calls", usage="[NUMBER]")
def frame(session: Session, argument: str) -> None:
    """Select frame NUMBER of the backtrace and show it; without one, show the selected one."""
    _select(session, whole(session, argument) if argument else session.selected)


@command("thread", "t", group="Calls", usage="[NUMBER]")
def thread(session: Session, argument: str) -> None:
    """Select hart NUMBER and show where it is; without one, show the selected one.

    'info threads' lists the harts. Commands that move step the selected one; the others run too.
    """
    harts = session.machine.harts
    number = whole(session, argument) if argument else session.hart.hartid
    if not 0 <= number < len(harts):
        raise DebugError(f"There is no hart {number}; the last one is {len(harts) - 1}.")
    session.select_hart(harts[number])
    session.say(f"hart {number}  {frame_text(session, session.frame)}")
    session.say(line_text(session, session.frame))


@command("up", group="Calls", usage="[COUNT]")
def up(session: Session, argument: str) -> None:
    """Select the caller of the selected frame."""
    _select(session, session.selected + (whole(session, argument) if argument else 1))


@command("down", group="Calls", usage="[COUNT]")
def down(session: Session, argument: str) -> None:
    """Select the frame that the selected one has called."""
    _select(session, session.selected - (whole(session, argument) if argument else 1))


def _select(session: Session, number: int) -> None:
    if not 0 <= number < len(session.frames):
        raise DebugError(f"There is no frame {number}; there are {len(session.frames)}.")
    session.selected = number
    session.listed = None
    session.say(f"#{number}  {frame_text(session, session.frame)}")
    session.say(line_text(session, session.frame))
