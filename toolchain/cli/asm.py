"""`aios asm`: assemble a file, to an object or straight to an executable."""

from __future__ import annotations

import argparse
from pathlib import Path

from emu.errors import AiosError

NAME = "asm"
HELP = "assemble a .s file to an object file, or with --link to an executable"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, and what becomes of it."""
    parser.add_argument("file", type=Path, metavar="FILE", help="assembly text, as GNU as takes it")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: the name with .o or .elf"
    )
    parser.add_argument("--link", action="store_true", help="link it: an executable at _start")


def run(args: argparse.Namespace) -> int:
    """Assemble."""
    from toolchain.asm import assemble
    from toolchain.link import link

    try:
        text = args.file.read_text(encoding="utf-8")
    except OSError as error:
        raise AiosError(f"The source {args.file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise AiosError(f"The source {args.file} is not text in UTF-8.") from error
    output = assemble(text, str(args.file))
    if args.link:
        output = link([output], names=[str(args.file)])
    path = args.output or args.file.with_suffix(".elf" if args.link else ".o")
    try:
        path.write_bytes(output)
    except OSError as error:
        raise AiosError(f"The output {path} cannot be written: {error.strerror}.") from error
    return 0
