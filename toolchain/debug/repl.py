"""The read-evaluate-print loop: a line is a command; an empty one repeats the last that moves.

At a terminal prompt_toolkit edits lines, remembers them and completes names. Otherwise lines are
read as they come and no prompt is written, so a script's output is only what its commands say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from toolchain.debug import control, show
from toolchain.debug.commands import all_commands, find
from toolchain.debug.errors import DebugError
from toolchain.debug.session import Session

PROMPT = "(aios) "
_NAME = re.compile(r"\s*(?P<name>[A-Za-z]+)\s*(?P<rest>.*)", re.DOTALL)


class Repl:
    """Carries command lines out."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last = ""

    def run(self, lines: Iterator[str]) -> None:
        """Start at the program's first instruction and obey until `quit` or the last line."""
        self.start()
        while not self._session.leaving:
            try:
                self.execute(next(lines))
            except StopIteration:
                return

    def start(self) -> None:
        """Let the boot ROM run, and show the program's first instruction."""
        session = self._session
        entry = session.program.entry
        with control.moving(session):
            stop = control.resume(session, {entry: 0})
        show.report(session, stop or control.Stop())

    def execute(self, line: str) -> None:
        """One command line; what is wrong with it is said."""
        session = self._session
        try:
            text = line.strip() or self._last
            self._last = ""
            if not text or text.startswith("#"):
                return
            match = _NAME.fullmatch(text)
            if match is None:
                raise DebugError(f"A command starts with its name, not with '{text[0]}'.")
            found = find(match["name"])
            if found.repeats:
                # what an argument named once, the repetition goes on behind
                self._last = found.names[0] if found.names[0] in ("x", "list") else text
            found.action(session, match["rest"].strip())
        except DebugError as error:
            session.say(str(error))


def script_lines(stream: TextIO) -> Iterator[str]:
    """Lines from a pipe or a file."""
    yield from stream


def terminal_lines(session: Session, history: Path) -> Iterator[str]:
    """Lines typed at a terminal, with history and completion; ends at Ctrl-D."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.shortcuts import CompleteStyle

    words = [name for command in all_commands() for name in command.names]
    words += [f.name for f in session.program.functions]
    words += [v.name for v in session.program.variables]
    completer = WordCompleter(sorted(set(words)), pattern=re.compile(r"[\w.]+"))
    history.parent.mkdir(parents=True, exist_ok=True)
    prompt: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)),
        completer=completer,
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
        reserve_space_for_menu=0,
    )
    while True:
        try:
            yield prompt.prompt(PROMPT)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
