"""Moving the machine: continue, step, next, finish, until.

Between two stops the machine runs freely: what ends a move is a breakpoint of the user's or a
hidden one, so moves are fast. Only inside one source line are instructions executed one by one.
Moves are those of the session's hart; the others run meanwhile, and one that comes to a breakpoint
of the user's ends the move and becomes the session's.
Each move ends with a `Stop`, whose reason is empty when the move came to its own end.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from emu.console import ConsoleQuit
from emu.isa.decode import decode
from emu.machine import BREAKPOINT, CODE_LIMIT, ExitStatus
from toolchain.debug.errors import DebugError
from toolchain.debug.frames import RA, SP
from toolchain.debug.session import Session
from toolchain.debug.sources import is_runtime

_SLICE = 2_000_000
"""Instructions between looks at the user's Ctrl-C."""

_CALLS = ("jal", "jalr", "c.jalr")


@dataclass(frozen=True)
class Stop:
    """Why the machine stands: a sentence, or nothing."""

    reason: str = ""


@contextmanager
def moving(session: Session) -> Iterator[None]:
    """Around every move: the console is the guest's, Ctrl-C stops it, and afterwards frames are
    found anew."""
    session.alive()
    session.interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        session.interrupt()

    try:
        before = signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not in the main thread: there is no Ctrl-C
        before = None
    session.machine.console.start()
    try:
        yield
    finally:
        session.machine.console.close()
        if before is not None:
            signal.signal(signal.SIGINT, before)
        session.stopped()


def resume(session: Session, hidden: dict[int, int] | None = None) -> Stop | None:
    """Run to a breakpoint, or to a hidden one: an address, reached by the session's hart with sp at
    least the number given for it (in a recursion, inner calls pass the same address with a lower
    sp). None when a hidden one was reached."""
    machine, mine = session.machine, session.hart
    hidden = hidden or {}
    visible = _visible(session)
    for hart in machine.harts:
        hart.breakpoints = visible
    mine.breakpoints = visible | set(hidden)
    try:
        while True:
            status = machine.run(_SLICE)
            if session.interrupted or _quit(status):
                return Stop("Interrupted.")
            if status is BREAKPOINT:
                hart, pc = machine.current, machine.current.state.pc
                if hart is mine and pc in hidden and hart.state.x[SP] >= hidden[pc]:
                    return None
                if pc in visible:
                    return at_breakpoint(session)
            elif status.code != CODE_LIMIT or status.by_guest:
                return ended(session, status)
    finally:
        mine.breakpoints = visible


def _visible(session: Session) -> set[int]:
    return {b.address for b in session.breakpoints.values()}


def _quit(status: ExitStatus) -> bool:
    """Whether the console ended the run: Ctrl-C or Ctrl-A x while the guest waited for a key."""
    return status is not BREAKPOINT and status.code == 0 and not status.by_guest


def at_breakpoint(session: Session) -> Stop:
    """The stop at the breakpoints at the pc of the hart that has just run."""
    hart, other = session.machine.current, ""
    if hart is not session.hart:
        session.select_hart(hart)
        other = f", hart {hart.hartid}"
    hits = session.hits()
    kind = "Temporary breakpoint" if hits and hits[0].temporary else "Breakpoint"
    return Stop(f"{kind} {hits[0].number}{other}." if hits else "")


def ended(session: Session, status: ExitStatus) -> Stop:
    """The stop for ever."""
    session.ended = status
    return Stop(status.reason)


def step_instruction(session: Session, *, over: bool = False) -> Stop | None:
    """One instruction; with `over` a call runs until it returns. None when that is done."""
    hart = session.hart
    before, sp = session.pc, hart.state.x[SP]
    call = _call_at(session, before)
    for other in session.machine.harts:
        other.breakpoints = _visible(session)
    try:
        status = session.machine.step(hart)
    except ConsoleQuit:
        return Stop("Interrupted.")
    if session.interrupted:
        return Stop("Interrupted.")
    if status is BREAKPOINT:
        return at_breakpoint(session)
    if status is not None:
        return ended(session, status)
    behind = before + call
    if over and call and session.pc != behind and hart.state.x[RA] == behind:
        return resume(session, {behind: sp})
    return None


def _call_at(session: Session, pc: int) -> int:
    """The length of the instruction at `pc` when it may be a call, else 0."""
    try:
        decoded = decode(session.memory.instruction(pc))
    except DebugError:
        return 0
    return decoded.length if decoded and decoded.insn.mnemonic in _CALLS else 0


def step_line(session: Session, *, over: bool, forward: bool = False) -> Stop:
    """To the start of another line: `over` calls, or into those that have lines. With `forward` a
    jump back within the function does not count."""
    lines, unwinder = session.program.lines, session.unwinder
    start = session.pc
    place, function = lines.place_at(start), unwinder.function_at(start)
    if place is None:
        return step_instruction(session, over=over) or Stop()
    while True:
        before, sp = session.pc, session.hart.state.x[SP]
        call = _call_at(session, before)
        stop = step_instruction(session, over=over)
        if stop is None and call and not over and session.pc != before + call:
            stop = _into(session, before + call, sp)
        if stop is not None:
            return stop
        if _user_breakpoint(session) and session.pc != before:
            return at_breakpoint(session)
        now, here = lines.place_at(session.pc), unwinder.function_at(session.pc)
        if here is not function and now is not None:
            if lines.starts_statement(session.pc):
                return Stop()
            # Returned into the middle of the caller's line: go on to the end of that line.
            start, place, function = session.pc, now, here
        elif now != place and lines.starts_statement(session.pc):
            back = forward and session.pc < start
            if not back:
                return Stop()


def _into(session: Session, behind: int, sp: int) -> Stop | None:
    """A call has just been made: stop behind the prologue of a function that has lines and is not
    of Kern's runtime, else let it return (None)."""
    function = session.unwinder.function_at(session.pc)
    if function is None or session.pc != function.low:
        return None
    place = session.program.lines.place_at(session.pc)
    if place is None or is_runtime(place.file):
        return resume(session, {behind: sp})
    body = session.body(function)
    stop = None if body == session.pc else resume(session, {body: 0})
    return stop or Stop()


def _user_breakpoint(session: Session) -> bool:
    return any(b.address == session.pc for b in session.breakpoints.values())


def finish(session: Session) -> Stop:
    """Until the selected frame returns."""
    frames, number = session.frames, session.selected
    if number + 1 >= len(frames):
        raise DebugError("This is the outermost frame: it does not return.")
    return resume(session, {frames[number + 1].pc: frames[number].cfa}) or Stop()


def run_to(session: Session, address: int) -> Stop:
    """Until `address`, or until the current frame returns."""
    frames = session.frames
    hidden = {address: 0}
    if len(frames) > 1:
        hidden[frames[1].pc] = frames[0].cfa
    return resume(session, hidden) or Stop()


def repeat(count: int, move: Callable[[], Stop | None]) -> Stop:
    """`move` as often as asked, or until it is stopped for a reason."""
    for _ in range(count):
        stop = move()
        if stop is not None and stop.reason:
            return stop
    return Stop()
