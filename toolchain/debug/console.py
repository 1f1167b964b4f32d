"""The guest's console while it is debugged.

At a terminal, debugger and guest share it: while the guest runs, keys go to the guest, except that
Ctrl-C stops it. In a script, standard input holds the debugger's commands, so the guest's input is
a file of its own or empty.
"""

from __future__ import annotations

import codecs
import os
import termios
from typing import TextIO

from emu.console import Console, ConsoleQuit, PipeConsole, TerminalConsole
from emu.errors import AiosError

_LOCAL_MODES = 3  # the place of the lflag in what tcgetattr gives
_NEWLINE = 0x0A
_LOOK = 0.1  # seconds between looks whether Ctrl-C was pressed


class DebugTerminal(TerminalConsole):
    """A raw terminal whose Ctrl-C is a signal; a guest that waits for a key is woken by it."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupted = False
        self._last = _NEWLINE

    def start(self) -> None:
        """Raw mode, but with signals."""
        super().start()
        self._last = _NEWLINE
        self.interrupted = False
        modes = termios.tcgetattr(self._descriptor)
        modes[_LOCAL_MODES] |= termios.ISIG
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, modes)

    def write(self, byte: int) -> None:
        """Buffer `byte`."""
        self._last = byte
        super().write(byte)

    def close(self) -> None:
        """Leave raw mode; what the debugger says next begins a line."""
        if self._before is not None and self._last != _NEWLINE:
            for byte in b"\r\n":
                super().write(byte)
        super().close()

    def wait(self, seconds: float | None) -> int | None:
        """The next key within `seconds`; raises ConsoleQuit on Ctrl-C."""
        left = seconds
        while left is None or left > 0:
            if self.interrupted:
                raise ConsoleQuit
            here = _LOOK if left is None else min(left, _LOOK)
            byte = super().wait(here)
            if byte is not None or self.ended():
                return byte
            left = None if left is None else left - here
        return None


class ScriptConsole(PipeConsole):
    """The guest writes to the debugger's own output and reads from `source`, if there is one."""

    def __init__(self, output: TextIO, source: int | None = None) -> None:
        super().__init__(source)
        self._stream = output
        self._inside_line = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def flush(self) -> None:
        """Hand over what the guest has written."""
        if self._output:
            self._inside_line = self._output[-1] != _NEWLINE
            self._stream.write(self._decoder.decode(bytes(self._output)))
            self._output.clear()

    def close(self) -> None:
        """Flush; what the debugger says next begins a line."""
        super().close()
        if self._inside_line:
            self._stream.write("\n")
            self._inside_line = False


def open_console(output: TextIO, *, terminal: bool, input_path: str | None) -> Console:
    """The guest's console: the terminal, or the debugger's output with input from a file."""
    if input_path is None:
        return DebugTerminal() if terminal else ScriptConsole(output)
    try:
        return ScriptConsole(output, os.open(input_path, os.O_RDONLY))
    except OSError as error:
        raise AiosError(
            f"The console input {input_path} cannot be read: {error.strerror}."
        ) from error
