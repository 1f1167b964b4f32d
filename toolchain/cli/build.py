"""`aios build`: compile, assemble and link; by default AIos itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from emu.errors import AiosError

NAME = "build"
HELP = "build a kernel image from Kern and assembly sources (default: AIos)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is built, and where it goes."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help=".kern, .s, .o")
    parser.add_argument("--output", "-o", type=Path, metavar="FILE", help="default: print its path")
    parser.add_argument("--root", metavar="MODULE", help="whose statements run; default: the first")
    parser.add_argument("-O", "--opt", dest="opt", type=int, choices=(0, 1, 2), default=2,
                        metavar="LEVEL", help="optimisation level, 0 to 2 (default 2)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Build."""
    from toolchain import image

    if args.files:
        modules = [path.stem for path in args.files if path.suffix == ".kern"]
        root = args.root or (modules[0] if modules else "")
        built = image.build(args.files, root=root, opt=args.opt)
        target = args.output or Path(args.files[0].stem + ".elf")
    else:
        path = image.default_image(args.opt)
        if args.output is None:
            print(path)
            return 0
        built, target = path.read_bytes(), args.output
    try:
        target.write_bytes(built)
    except OSError as error:
        raise AiosError(f"the image cannot be written to '{target}': {error.strerror}") from None
    return 0
