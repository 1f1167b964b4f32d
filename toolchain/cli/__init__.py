"""The `aios` command. Each module of this package is one subcommand: `NAME`, `HELP`,
`add_arguments(parser)` and `run(args) -> exit code`.

Only the subcommand that is asked for is imported, and each imports what it needs when it runs, so
that the command starts quickly. Bad input is one sentence after `aios: error:` and exit code 2.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from emu.errors import AiosError

EXIT_BAD_INPUT = 2
_COLLECT_AFTER = 100_000
"""Objects made between two looks for garbage. Most of what a start makes are tables that live for
ever; to look through them again and again would take a twelfth of its time."""
_EXIT_INTERRUPTED = 130  # as shells report SIGINT
_EXIT_BROKEN_PIPE = 141  # and SIGPIPE


class _Command(Protocol):
    """What a subcommand's module holds."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


def names() -> list[str]:
    """All subcommands."""
    files = [file for folder in __path__ for file in os.listdir(folder)]
    return sorted(file[:-3] for file in files if file.endswith(".py") and file[0] != "_")


def _command(name: str) -> _Command:
    module: _Command = importlib.import_module(f"{__name__}.{name}")
    return module


def _parser(wanted: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for the subcommands `wanted`."""
    parser = argparse.ArgumentParser(prog="aios", description="A bare-metal computer for AI.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in wanted:
        command = _command(name)
        child = commands.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        command.add_arguments(child)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    _occupy_standard_descriptors()
    gc.set_threshold(_COLLECT_AFTER)
    arguments = list(sys.argv[1:] if argv is None else argv)
    known = names()
    wanted = arguments[:1] if arguments[:1] and arguments[0] in known else known
    try:
        args = _parser(wanted).parse_args(arguments)
        code = _command(args.command).run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except AiosError as error:
        print(f"aios: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone: do not complain again when the interpreter flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _EXIT_BROKEN_PIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"aios: error: The host refused: {where}{error.strerror}.", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_BAD_INPUT


def _occupy_standard_descriptors() -> None:
    """Where a standard stream is closed, the next file opened would take its number, and the
    guest's console would write into a drive: put something there that only fails."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # the lowest number that is free: this one
