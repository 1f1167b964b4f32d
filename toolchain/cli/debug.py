"""`aios debug`: run a kernel under the debugger, from its first instruction."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from toolchain.cli import run as run_command

NAME = "debug"
HELP = "step through a kernel; commands as in gdb, 'help' lists them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `aios run`, and where the guest's console input comes from."""
    run_command.add_machine_arguments(parser)
    parser.add_argument(
        "--console", metavar="FILE", help="the guest's console input (default: the terminal)"
    )


def run(args: argparse.Namespace) -> int:
    """Obey commands until `quit` or the end of standard input."""
    from emu.cache import cache_directory
    from toolchain.debug import console, repl
    from toolchain.debug.dwarf import read_program
    from toolchain.debug.session import Session

    if args.kernel is None and args.bios is None:
        from toolchain.image import default_image

        args.kernel = str(default_image(opt=0))  # every variable stays in memory
    program_path = args.kernel or args.bios
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    guest = console.open_console(sys.stdout, terminal=terminal, input_path=args.console)
    with run_command.make_machine(args, console=guest) as machine:
        program = read_program(Path(program_path).read_bytes(), program_path)
        session = Session(machine, program, _say, (Path.cwd(), Path(program_path).parent))
        lines = (
            repl.terminal_lines(session, cache_directory() / "debug-history")
            if terminal
            else repl.script_lines(sys.stdin)
        )
        repl.Repl(session).run(lines)
    return 0


def _say(text: str) -> None:
    print(text, flush=True)
