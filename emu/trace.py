"""The trace of a run: one JSON object a line, in the order in which things happened.

`{"t": picoseconds, "kind": "read" | "write", "dev": …, "off": …, "size": …, "val": …, "what": …}`
for an access of the hart to a device, `"irq"` for an interrupt line that changed, `"trap"` for a
trap taken, `"event"` for what a device did by itself. On a
machine with several harts an access, a line and a trap say whose they are: `"hart": 1`. Nothing
comes from the host, so that two runs of the same image on the same input give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from emu.errors import AiosError

if TYPE_CHECKING:
    from emu.bus import Target


class Trace:
    """Writes lines to `out`; `now` gives the virtual time of each, `hart` the number of the hart
    that executes, or None where there is only one."""

    def __init__(self, out: TextIO, now: Callable[[], int] = lambda: 0) -> None:
        import json  # few runs are traced

        self._out, self._dumps = out, json.dumps
        self.now = now
        self.hart: Callable[[], int | None] = lambda: None

    def _line(self, kind: str, **fields: object) -> None:
        try:
            self._out.write(self._dumps({"t": self.now(), "kind": kind, **fields}) + "\n")
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> AiosError:
        name = getattr(self._out, "name", "")
        return AiosError(f"The trace {name} cannot be written: {error.strerror}.")

    def _whose(self, number: int | None = None) -> dict[str, int]:
        current = self.hart()
        return {} if current is None else {"hart": current if number is None else number}

    def access(self, write: bool, target: Target, offset: int, size: int, value: int) -> None:
        """The hart read or wrote a device."""
        kind, what = "write" if write else "read", target.describe(write, offset, size, value)
        self._line(
            kind, **self._whose(), dev=target.name, off=offset, size=size, val=value, what=what
        )

    def irq(self, line: str, level: bool, hart: int = 0) -> None:
        """An interrupt line of a hart changed."""
        self._line("irq", **self._whose(hart), line=line, level=int(level))

    def trap(self, cause: int, tval: int, pc: int, handler: int) -> None:
        """The hart took a trap at `pc` and goes on at `handler`; bit 63 of `cause` is set for an
        interrupt."""
        self._line("trap", **self._whose(), cause=cause, tval=tval, pc=pc, handler=handler)

    def event(self, device: str, what: str, **fields: object) -> None:
        """A device did something that is no register access (a command, a packet, a reset)."""
        self._line("event", dev=device, what=what, **fields)

    def close(self) -> None:
        """Write out what is buffered."""
        try:
            self._out.close()
        except OSError as error:
            raise self._refused(error) from error
