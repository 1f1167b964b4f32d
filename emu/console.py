"""Where the guest's console goes: the user's terminal, or a pipe.

A terminal is live: bytes come when they are typed. A pipe must give the same run every time,
however slowly it is filled, so a byte is taken from it only at moments that the guest's own
behaviour decides: when it sleeps with nothing under way, or when it keeps asking the UART and
does nothing else (`Uart` and `Machine` recognise these moments and call `wait`). At the end of
the input the guest gets one Ctrl-D.
"""

from __future__ import annotations

import os
import select
import termios
import tty
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

from emu.errors import AiosError

END_OF_INPUT = 0x04
_ESCAPE = 0x01  # Ctrl-A, as QEMU has it: Ctrl-A x ends the run
_CHUNK = 65536
_NEWLINE = 0x0A
_STDIN, _STDOUT = 0, 1


class ConsoleQuit(Exception):
    """The user asked, at the terminal, to end the run."""


class Console(Protocol):
    """One end of the UART's cable. `live` consoles have a person in front of them."""

    live: bool

    def start(self) -> None:
        """The run begins: take the terminal over, if it is one."""

    def write(self, byte: int) -> None:
        """The guest sends `byte`; it may be buffered."""

    def flush(self) -> None:
        """Show everything that was sent."""

    def poll(self) -> int | None:
        """A byte that may be delivered at any moment, or None. Always None for a pipe."""

    def wait(self, seconds: float | None) -> int | None:
        """The guest is idle: wait for a byte, for at most `seconds` (a terminal) or until there is
        one (a pipe). None when there is none, or never will be."""

    def ended(self) -> bool:
        """Whether no byte will come any more."""

    def close(self) -> None:
        """Flush, and leave the terminal as it was."""


def _write(sink: int, data: bytearray) -> None:
    """Write all of it; BrokenPipeError when nobody reads, AiosError when the host cannot."""
    while data:
        try:
            del data[: os.write(sink, data)]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise AiosError(f"The guest's output cannot be written: {error.strerror}.") from error


class _LineOutput:
    """What the guest sends, written to the file descriptor `sink` a line at a time."""

    def __init__(self, sink: int) -> None:
        self._sink = sink
        self._output = bytearray()

    def write(self, byte: int) -> None:
        """Buffer `byte` until the line ends, the guest asks for input or the machine looks."""
        self._output.append(byte)
        if byte == _NEWLINE:
            self.flush()

    def flush(self) -> None:
        """Write out what is buffered; BrokenPipeError when nobody reads."""
        data, self._output = self._output, bytearray()
        _write(self._sink, data)


class PipeConsole(_LineOutput):
    """Input from the file descriptor `source`, output to `sink`; the rule of this file's top."""

    live = False

    def __init__(self, source: int | None = _STDIN, sink: int = _STDOUT) -> None:
        super().__init__(sink)
        self._source = source
        self._input: deque[int] = deque()
        self._ended = False

    def start(self) -> None:
        """A pipe needs no preparation."""

    def poll(self) -> int | None:
        """Nothing: a pipe's bytes come only when the guest is idle."""
        return None

    def wait(self, seconds: float | None) -> int | None:
        """The next byte, however long it takes; Ctrl-D once at the end, then None."""
        if not self._input and not self._ended:
            self.flush()
            chunk = self._read()
            self._ended = not chunk
            self._input.extend(chunk or bytes([END_OF_INPUT]))
        return self._input.popleft() if self._input else None

    def _read(self) -> bytes:
        """What is in the pipe, at least a byte; nothing at its end, or when there is no pipe."""
        try:
            return b"" if self._source is None else os.read(self._source, _CHUNK)
        except OSError:  # standard input is closed, or a directory
            return b""

    def ended(self) -> bool:
        """Whether the Ctrl-D has been given."""
        return self._ended and not self._input

    def close(self) -> None:
        """Flush."""
        self.flush()


class MemoryConsole(PipeConsole):
    """A console without a host: `data` is its input, `text` what the guest has written."""

    def __init__(self, data: Iterable[int] = b"") -> None:
        super().__init__(source=None)
        self._input.extend(data)
        self.written = bytearray()

    @property
    def text(self) -> str:
        """All output so far."""
        return self.written.decode("utf-8", "replace")

    def write(self, byte: int) -> None:
        """Keep `byte`."""
        self.written.append(byte)


class TerminalConsole(_LineOutput):
    """The user's terminal in raw mode. Ctrl-A x ends the run, Ctrl-A Ctrl-A sends a Ctrl-A."""

    live = True

    def __init__(self) -> None:
        super().__init__(_STDOUT)
        self._descriptor = _STDIN
        self._before: list[Any] | None = None  # the terminal's settings, while it is raw
        self._escaped = False
        self._ended = False

    def start(self) -> None:
        """Enter raw mode, so that every key reaches the guest."""
        self._before = termios.tcgetattr(self._descriptor)
        tty.setraw(self._descriptor, termios.TCSADRAIN)  # keeps what was typed ahead

    def poll(self) -> int | None:
        """The next key, if one was pressed."""
        return self._next(0.0)

    def wait(self, seconds: float | None) -> int | None:
        """The next key pressed within `seconds`; raises ConsoleQuit on Ctrl-A x."""
        self.flush()
        return self._next(seconds)

    def _next(self, seconds: float | None) -> int | None:
        if self._ended or not select.select([self._descriptor], [], [], seconds)[0]:
            return None
        data = os.read(self._descriptor, 1)
        if not data:
            self._ended = True
            return END_OF_INPUT
        return self._key(data[0])

    def _key(self, byte: int) -> int | None:
        if self._escaped:
            self._escaped = False
            if byte in b"xX":
                raise ConsoleQuit
            return byte
        self._escaped = byte == _ESCAPE
        return None if self._escaped else byte

    def ended(self) -> bool:
        """Whether the terminal has gone."""
        return self._ended

    def close(self) -> None:
        """Flush, and leave raw mode."""
        self.flush()
        if self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
            self._before = None


def open_console() -> Console:
    """The terminal when standard input and output are one, else a pipe."""
    if os.isatty(_STDIN) and os.isatty(_STDOUT):
        return TerminalConsole()
    return PipeConsole()
