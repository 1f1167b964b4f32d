"""`aios objdump`: disassemble an object file or an executable; by default AIos itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from emu.errors import AiosError

NAME = "objdump"
HELP = "disassemble an RV64 ELF file, with symbols and source lines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and what is shown of it."""
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: AIos itself")
    parser.add_argument("-d", action="store_true", help="disassemble; what it always does")
    parser.add_argument("-l", "--lines", action="store_true", help="show source files and lines")
    parser.add_argument("-S", "--source", action="store_true", help="show the source text")
    parser.add_argument("-r", "--relocations", action="store_true", help="show relocations")
    parser.add_argument("--disassemble", metavar="SYMBOL", help="show only this function")


def run(args: argparse.Namespace) -> int:
    """Print the listing."""
    from toolchain import elf, lines, objdump

    path = args.file
    if path is None:
        from toolchain.image import default_image

        path = default_image()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AiosError(f"The file {path} cannot be read: {error.strerror}.") from error
    file = elf.read(data, str(path))
    wanted = args.disassemble
    if wanted is not None and all(symbol.name != wanted for symbol in file.symbols):
        raise AiosError(f"The file {path} has no symbol '{wanted}'.")
    table = lines.read(data, str(path)) if args.lines or args.source else None
    options = objdump.Options(args.lines, args.source, args.relocations, wanted)
    for line in objdump.listing(file, table, options):
        print(line)
    return 0
