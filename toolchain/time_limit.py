"""`aios run --timeout`: an end to every run, whatever guest and host are doing.

Three steps, each for what the one before does not reach:

1. When the time is over, the machine is asked to stop. It does so between two instructions, within
   some 20 ms, and everything ends in order.
2. A machine that waits for the host (for input, or for somebody to read its output), or for a
   device that computes in Python, gets `TimeIsOver` a moment later, and again while it persists.
3. Compiled code that does not come back (a very large tensor instruction) hears of neither: after
   some seconds of grace the process ends as it is.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from emu.machine import CODE_LIMIT, ExitStatus, Machine

_PATIENCE_S = 0.25
_GRACE_S = 5.0


class TimeIsOver(BaseException):
    """Raised wherever the host's Python happens to be; nobody who handles errors may take it."""


class TimeLimit:
    """Stops a machine after `seconds` of the host's time from `start` on; as a context, it holds
    until its end. It takes SIGALRM, so it belongs in the main thread."""

    def __init__(self, seconds: float) -> None:
        reason = f"The run was stopped after {seconds:g} s, as --timeout asked."
        self.status = ExitStatus(CODE_LIMIT, reason)
        """How a run ends whose time is over."""
        self._seconds = seconds
        self._machine: Machine | None = None
        self._last = threading.Timer(seconds + _GRACE_S, self._end)
        self._last.daemon = True

    def start(self, machine: Machine) -> None:
        """The time begins."""
        self._machine = machine
        self._last.start()
        signal.setitimer(signal.ITIMER_REAL, self._seconds, _PATIENCE_S)

    def __enter__(self) -> TimeLimit:
        self._asked = False
        self._before = signal.signal(signal.SIGALRM, self._over)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)
        self._last.cancel()

    def _over(self, number: int, frame: FrameType | None) -> None:
        """The first two steps."""
        if self._asked or self._machine is None:
            raise TimeIsOver
        self._asked = True
        self._machine.stop(self.status)

    def _end(self) -> None:
        """The third step, in a thread of its own."""
        if self._machine is not None and self._machine.console.live:
            self._machine.console.close()  # the terminal is the user's again
        print(f"aios: {self.status.reason}", file=sys.stderr, flush=True)
        os._exit(self.status.code)
