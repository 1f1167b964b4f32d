"""The debugger's commands: each is one decorated function, and its docstring is its help.

    @command("finish", "fin", group="Running")
    def finish(session: Session, argument: str) -> None:
        \"\"\"Run until the selected function returns.\"\"\"

The docstring's first line goes into the table of `help`; `usage` shows the argument. A command that
is marked `repeats` is carried out again by an empty line.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from toolchain.debug.errors import DebugError
from toolchain.debug.session import Session

Action = Callable[[Session, str], None]


@dataclass(frozen=True)
class Command:
    """One command: its names (the first is the full one), what it does, and its help."""

    names: tuple[str, ...]
    group: str
    usage: str
    action: Action
    repeats: bool

    @property
    def help(self) -> str:
        """Its docstring."""
        return inspect.getdoc(self.action) or ""

    @property
    def summary(self) -> str:
        """The first paragraph of its help, on one line."""
        return " ".join(self.help.split("\n\n")[0].split())

    @property
    def title(self) -> str:
        """Its names and usage, as `break, b PLACE`."""
        return f"{', '.join(self.names)} {self.usage}".rstrip()


COMMANDS: dict[str, Command] = {}
"""Every command by each of its names."""


def command(
    *names: str, group: str, usage: str = "", repeats: bool = False
) -> Callable[[Action], Action]:
    """Make the decorated function a command."""

    def declare(action: Action) -> Action:
        made = Command(names, group, usage, action, repeats)
        for name in names:
            if name in COMMANDS:
                raise ValueError(f"two commands are called '{name}'")
            COMMANDS[name] = made
        if not made.help:
            raise ValueError(f"the command '{names[0]}' has no help")
        return action

    return declare


def all_commands() -> list[Command]:
    """Every command once, by group."""
    unique = {c.names[0]: c for c in COMMANDS.values()}.values()
    return sorted(unique, key=lambda c: (_GROUPS.index(c.group), c.names[0]))


def find(name: str) -> Command:
    """The command called `name`, or the only one whose full name starts so."""
    if name in COMMANDS:
        return COMMANDS[name]
    found = [c for c in all_commands() if c.names[0].startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(c.names[0] for c in found)
        raise DebugError(f"'{name}' can be any of {names}.")
    raise DebugError(f"There is no command '{name}'; 'help' lists them.")


def table() -> str:
    """All commands as a Markdown table, for docs/debugger.md."""
    rows = ["| command | does |", "| --- | --- |"]
    rows += [f"| `{c.title}` | {c.summary.replace('|', chr(92) + '|')} |" for c in all_commands()]
    return "\n".join(rows)


_GROUPS = ("Breakpoints", "Running", "Calls", "Data", "Source", "Session")

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
