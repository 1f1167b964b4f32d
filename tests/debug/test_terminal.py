"""`aios debug` at a terminal: debugger and guest share it, and Ctrl-C goes back to the debugger."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 120.0


class Terminal:
    """The user's end of a terminal in which a command runs."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        code = "import sys; from toolchain.cli import main; sys.exit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT,
            env={**os.environ, "TERM": "dumb", "PROMPT_TOOLKIT_NO_CPR": "1"},
        )  # fmt: skip
        os.close(theirs)

    def expect(self, text: str) -> str:
        """Everything up to `text`."""
        seen, end = "", time.monotonic() + _PATIENCE
        while text not in seen and time.monotonic() < end:
            if select.select([self._ours], [], [], 0.1)[0]:
                seen += os.read(self._ours, 65536).decode("utf-8", "replace")
        assert text in seen
        return seen

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def close(self) -> int:
        """Wait for the command; its exit code."""
        try:
            return self.process.wait(_PATIENCE)
        finally:
            self.process.kill()
            os.close(self._ours)


def test_keys_go_to_the_guest_while_it_runs_and_ctrl_c_stops_it(aios: Path) -> None:
    terminal = Terminal("debug", "--kernel", str(aios))
    terminal.expect("(aios) ")
    terminal.type("continue\r")
    terminal.expect("AIos> ")
    terminal.type("mem\r")
    terminal.expect("free, in pages of 2 MiB")
    terminal.process.send_signal(signal.SIGINT)
    terminal.expect("Interrupted.")
    terminal.expect("(aios) ")
    terminal.type("backtrace\r")
    terminal.expect("main.kernel_loop ()")
    terminal.type("quit\r")
    assert terminal.close() == 0
