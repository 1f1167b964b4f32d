"""`aios test`: run the `test` blocks of Kern files on the machine and report as pytest does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from emu.errors import AiosError

if TYPE_CHECKING:
    from toolchain.kern.testing import TestResult

NAME = "test"
HELP = "run the test blocks of Kern files on the machine"

_MOST_INSTRUCTIONS = 2_000_000_000
"""A test that loops for ever ends the run here; 40 seconds or so."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The files, and how to run them."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE",
        help="modules (.kern), compiled as one program, and assembly (.s) that they call",
    )  # fmt: skip
    parser.add_argument("-O", dest="opt", type=int, choices=(0, 1, 2), default=2, metavar="LEVEL",
                        help="optimisation level, 0 to 2 (default 2)")  # fmt: skip
    parser.add_argument("-k", dest="word", default="", metavar="WORD",
                        help="report only the tests with WORD in their names")  # fmt: skip
    parser.add_argument("--board", metavar="NAME|FILE", help="the board to run them on")
    parser.add_argument("-v", dest="verbose", action="store_true", help="a line a test")


def run(args: argparse.Namespace) -> int:
    """Builds and runs the tests; 1 when one fails."""
    from toolchain.asm import assemble
    from toolchain.kern import testing
    from toolchain.kern.compile import read_source

    kern = [path for path in args.files if path.suffix == ".kern"]
    assembly = [path for path in args.files if path.suffix == ".s"]
    for path in args.files:
        if path not in kern and path not in assembly:
            raise AiosError(f"{path}: 'aios test' takes .kern and .s files.")
        if not path.is_file():
            raise AiosError(f"{path}: there is no such file.")
    if not kern:
        raise AiosError("'aios test' takes at least one .kern file; tests are written in Kern.")
    objects = [assemble(read_source(path).text, str(path)) for path in assembly]
    image = testing.build([read_source(path) for path in kern], objects, opt=args.opt)
    on_board = partial(run_on_machine, board_name=args.board)
    results = [r for r in testing.run(image, on_board) if args.word in r.name]
    if not results:
        raise AiosError(f"No test in these files has '{args.word}' in its name.")
    return _report(results, verbose=args.verbose)


def _report(results: Sequence[TestResult], *, verbose: bool) -> int:
    """Prints dots or lines, the failures, and the count; the exit code."""
    failed = [result for result in results if not result.passed]
    if verbose:
        for result in results:
            outcome = "PASSED" if result.passed else "FAILED"
            print(f"{result.file}:{result.line} {result.name} {outcome}")
    else:
        print("".join("." if result.passed else "F" for result in results))
    for result in failed:
        print(f"\n{result.file}:{result.line}: FAILED {result.name}\n    {result.message}")
        sys.stdout.write(result.output)
    passed = len(results) - len(failed)
    print(f"\n{len(failed)} failed, {passed} passed" if failed else f"\n{passed} passed")
    return 1 if failed else 0


def run_on_machine(executable: bytes, board_name: str | None = None) -> str:
    """Runs an executable on a board, the default one if none is named, and gives what it wrote to
    the UART."""
    from emu import board
    from emu.console import MemoryConsole
    from emu.machine import Machine

    console = MemoryConsole()
    machine = Machine(board.load(board_name or board.DEFAULT), kernel=executable, console=console)
    try:
        machine.run(max_instructions=_MOST_INSTRUCTIONS)
    finally:
        machine.close()
    return console.text
