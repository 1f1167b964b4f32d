"""`aios infer`: one model, one input, one output, by way of the whole machine.

The files go onto a disk image in a temporary folder; AIos boots with that disk and with the
commands of `_commands` as a boot argument; the guest reads the model through NVMe, runs it and
writes its answer to the disk, from which it is copied out. What the guest says on its console is
shown with `--verbose`, or when it refuses.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.machine import ExitStatus

NAME = "infer"
HELP = "run an ONNX model inside AIos on an array, and get the answer as an array"

_MODEL, _INPUT, _OUTPUT = "model.onnx", "input.npy", "output.npy"
_CAPACITY = 1 << 28
"""Bytes reserved for the answer; the image is sparse, so they cost nothing until they are used."""
_ERROR = "error: "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, its input, and where the answer goes."""
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--input", type=Path, required=True, metavar="X.npy")
    parser.add_argument("--output", type=Path, metavar="Y.npy", help="default: print the answer")
    parser.add_argument("--board", default=None, help="a board's name or file")
    parser.add_argument("--verbose", action="store_true", help="show the guest's console")


def run(args: argparse.Namespace) -> int:
    """Do the trip; the exit code is 0 when there is an answer."""
    from emu.errors import AiosError
    from toolchain import disk

    if not args.model.is_file():
        raise AiosError(f"there is no model '{args.model}'")
    with tempfile.TemporaryDirectory(prefix="aios-") as folder:
        image = Path(folder) / "disk.img"
        _progress("putting the model and its input on a disk")
        array = Path(folder) / _INPUT
        _write_input(args.input, array)
        disk.create(image, [(_MODEL, args.model), (_INPUT, array)], [(_OUTPUT, _CAPACITY)])
        status, console = _boot(image, args.board)
        _progress("")
        if args.verbose:
            sys.stderr.write(console)
        if status.code != 0:
            raise AiosError(_reason(console, status))
        answer = disk.extract(image, _OUTPUT)
    _deliver(answer, args.output)
    return 0


def _write_input(source: Path, target: Path) -> None:
    """`source` as the guest reads arrays: C order, little-endian."""
    import numpy as np

    from emu.errors import AiosError

    try:
        array = np.load(source, allow_pickle=False)
    except OSError as error:
        reason = error.strerror or "it is no npy file"
        raise AiosError(f"the input '{source}' cannot be read: {reason}") from None
    except (ValueError, EOFError, SyntaxError):
        raise AiosError(f"the input '{source}' is no npy file, or a damaged one") from None
    if not isinstance(array, np.ndarray):
        raise AiosError(f"the input '{source}' is an archive of arrays; one array is wanted")
    np.save(target, np.asarray(array, array.dtype.newbyteorder("<"), order="C"))


def _commands() -> str:
    return f"spawn {_MODEL}; infer 0 {_INPUT} {_OUTPUT}; poweroff"


def _boot(image: Path, board_name: str | None) -> tuple[ExitStatus, str]:
    """Boot AIos with the disk; how it ended and what it said."""
    from emu import board
    from emu.console import MemoryConsole
    from emu.machine import Machine
    from emu.platform import Drive
    from toolchain.image import default_image

    _progress("building the kernel")
    kernel = default_image().read_bytes()
    _progress("running the model inside AIos")
    console = MemoryConsole()
    machine = Machine(
        board.load(board_name or board.DEFAULT),
        kernel=kernel,
        drives=[Drive(str(image))],
        append=f'exec="{_commands()}"',
        console=console,
    )
    return machine.run(), console.text


def _reason(console: str, status: ExitStatus) -> str:
    """The guest's own sentence, or how the run ended."""
    for line in console.splitlines():
        if line.startswith(_ERROR):
            return line.removeprefix(_ERROR)
    return f"the guest gave no answer: {status.reason}"


def _deliver(answer: bytes, target: Path | None) -> None:
    import io

    import numpy as np

    from emu.errors import AiosError

    if target is None:
        print(np.load(io.BytesIO(answer)))
        return
    try:
        target.write_bytes(answer)
    except OSError as error:
        raise AiosError(f"the answer cannot be written to '{target}': {error.strerror}") from None


def _progress(stage: str) -> None:
    """Say what is being done, on one line of a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{stage}" + ("…" if stage else ""))
        sys.stderr.flush()
