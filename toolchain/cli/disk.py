"""`aios disk`: make disk images, list what is on them, take files off them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

NAME = "disk"
HELP = "create, list and extract from disk images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The three actions and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="write an image that holds the given files")
    create.add_argument("image", type=Path, metavar="IMAGE")
    create.add_argument("files", nargs="+", type=Path, metavar="FILE")
    create.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="NAME:BYTES",
        help="reserve an entry that the guest may write (may be repeated)",
    )
    show = actions.add_parser("list", help="print the entries of an image")
    show.add_argument("image", type=Path, metavar="IMAGE")
    extract = actions.add_parser("extract", help="copy one entry to a file")
    extract.add_argument("image", type=Path, metavar="IMAGE")
    extract.add_argument("entry", metavar="NAME")
    extract.add_argument("file", type=Path, metavar="FILE")


def _output(text: str) -> tuple[str, int]:
    from emu.errors import AiosError

    name, colon, capacity = text.rpartition(":")
    if not colon or not capacity.isdigit():
        raise AiosError(f"--output takes NAME:BYTES, such as result.npy:4096, not '{text}'")
    return name, int(capacity)


def run(args: argparse.Namespace) -> int:
    """Do what the action says."""
    from toolchain import disk

    if args.action == "create":
        outputs = [_output(text) for text in args.output]
        disk.create(args.image, [(path.name, path) for path in args.files], outputs)
    elif args.action == "list":
        for entry in disk.read(args.image):
            kind = disk.KIND_NAMES.get(entry.kind, f"kind {entry.kind}")
            use = (
                f"{entry.size} of {entry.capacity} bytes"
                if entry.is_output
                else f"{entry.size} bytes"
            )
            print(f"{entry.name:<32} {kind:<8} {use}")
    else:
        data = disk.extract(args.image, args.entry)
        if str(args.file) == "-":
            sys.stdout.buffer.write(data)
        else:
            _write(args.file, data)
    return 0


def _write(path: Path, data: bytes) -> None:
    from emu.errors import AiosError

    try:
        path.write_bytes(data)
    except OSError as error:
        raise AiosError(f"the file '{path}' cannot be written: {error.strerror}") from None
