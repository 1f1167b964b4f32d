"""`aios run`: switch a machine on; by default with the AIos kernel."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from emu.errors import AiosError

if TYPE_CHECKING:
    from emu.console import Console
    from emu.machine import ExitStatus, Machine
    from emu.platform import Drive, VirtioDrive
    from emu.trace import Trace

NAME = "run"
HELP = "run a kernel on the machine (Ctrl-A x ends it)"

_EXIT_CODE_LIMIT = 256
_LONGEST_TIMEOUT_S = 10**9  # the host's timers take no more than a few billion seconds
_CHOICES = {
    "if": ("nvme", "virtio"),
    "format": ("raw",),
    "readonly": ("on", "off"),
    "legacy": ("on", "off"),
}
_NUMBERS = ("block", "controller", "nsid")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options as a QEMU user expects them."""
    add_machine_arguments(parser)
    parser.add_argument(
        "--max-instructions", type=_count, metavar="N", help="stop after N instructions (exit 124)"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="stop after that much of the host's time, whatever the guest does (exit 124)",
    )
    parser.add_argument(
        "--power-cut-at",
        type=_time,
        metavar="TIME",
        help="let the power fail at that virtual time, as 3ms (exit 123)",
    )
    parser.add_argument(
        "--signature",
        metavar="FILE",
        help="at the end, write the memory from begin_signature to end_signature to FILE, in "
        "hexadecimal as Spike does",
    )
    parser.add_argument(
        "--signature-granularity",
        type=int,
        choices=(4, 8, 16),
        default=16,
        help="bytes of a line of --signature (default 16)",
    )


def add_machine_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say what machine it is and what runs on it."""
    parser.add_argument("--kernel", metavar="FILE", help="an RV64 ELF file; default: AIos itself")
    parser.add_argument(
        "--bios",
        type=lambda path: None if path == "none" else path,
        metavar="FILE|none",
        help="firmware, ELF or raw, that starts first",
    )
    parser.add_argument("--initrd", metavar="FILE", help="the kernel's first file system")
    parser.add_argument("--board", metavar="NAME|FILE", help="a board's name or .toml file")
    parser.add_argument(
        *("--memory", "-m"),
        type=_size,
        metavar="SIZE",
        help="so much RAM, not the board's, as 2GiB",
    )
    parser.add_argument(
        *("--harts", "--smp"), type=_harts, metavar="N", help="so many harts, not the board's"
    )
    parser.add_argument(
        "--drive",
        action="append",
        default=[],
        metavar="FILE|file=FILE[,KEY=VALUE...]",
        help="a drive in the raw FILE (may be repeated); the keys: if=nvme, readonly=on, "
        "block=512|4096, faults=PLAN.toml; controller=N[,nsid=N]: a namespace of drive N; "
        "if=virtio, legacy=on",
    )
    parser.add_argument("--append", default="", metavar="TEXT", help="the kernel's command line")
    parser.add_argument("--trace", metavar="FILE", help="record device accesses and traps as JSON")
    parser.add_argument("--engine", default="native", choices=("native", "reference"))


def _count(text: str) -> int:
    try:
        value = int(text.replace("_", ""), 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of instructions") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} instructions are not possible")
    return value


def _harts(text: str) -> int:
    from emu.memory_map import HARTS

    if not text.isdecimal() or not 1 <= int(text) <= HARTS:
        raise argparse.ArgumentTypeError(f"'{text}' harts are not possible; 1 to {HARTS} are")
    return int(text)


def _size(text: str) -> int:
    """Bytes, as board files write them or as QEMU has it: `512MiB`, `2G`, a bare number of MiB."""
    from emu.tables import parse_size

    short = re.fullmatch(r"(\d+)([KMGT]?)", text.upper())
    try:
        return parse_size(f"{short[1]}{short[2] or 'M'}iB" if short else text)
    except ValueError:
        reason = f"'{text}' is no size; write a number and KiB, MiB or GiB, as 512MiB"
        raise argparse.ArgumentTypeError(reason) from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds") from None
    if not 0 < value <= _LONGEST_TIMEOUT_S:
        raise argparse.ArgumentTypeError(
            f"{text} is not between 0 and {_LONGEST_TIMEOUT_S} seconds"
        )
    return value


def _time(text: str) -> int:
    from emu.clock import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_drive(text: str) -> Drive | VirtioDrive:
    """A --drive option: a path, or `key=value` pairs as QEMU has them (a comma in a path is doubled
    there). Besides QEMU's keys, `block` is the size of a block, `controller` the drive of which the
    file becomes a namespace, `nsid` its number there, `faults` the path of a fault plan; with
    `if=virtio`, `legacy` chooses the older layout of the registers."""
    from emu.platform import Drive, VirtioDrive

    if not text.startswith(tuple(f"{key}=" for key in ("file", *_CHOICES, *_NUMBERS, "faults"))):
        return Drive(text)
    options = {}
    for part in text.replace(",,", "\0").split(","):
        key, equals, value = part.replace("\0", ",").partition("=")
        if not equals:
            raise AiosError(f"In --drive {text}, '{part}' is no key=value.")
        options[key] = value
    path, plan = options.pop("file", ""), options.pop("faults", None)
    if not path:
        raise AiosError(f"--drive {text} names no file; write file=PATH.")
    numbers = {
        key: _drive_number(text, key, options.pop(key)) for key in _NUMBERS if key in options
    }
    for key, value in options.items():
        if value not in _CHOICES.get(key, ()):
            choices = [f"{k}={v}" for k, values in _CHOICES.items() for v in values]
            choices += [f"{key}=NUMBER" for key in _NUMBERS] + ["faults=PATH"]
            raise AiosError(
                f"--drive {text} says {key}={value}; besides file it takes {', '.join(choices)}."
            )
    readonly, legacy = options.get("readonly") == "on", options.get("legacy")
    if options.get("if") == "virtio":
        if plan is not None or numbers:
            raise AiosError(f"--drive {text} asks for what only NVMe has; leave if=virtio away.")
        return VirtioDrive(path, readonly, legacy == "on")
    if legacy is not None:
        raise AiosError(f"--drive {text} says legacy={legacy}, which is for if=virtio only.")
    return Drive(path, readonly=readonly, faults=plan, **numbers)


def _drive_number(text: str, key: str, value: str) -> int:
    if not value.isdecimal():
        raise AiosError(f"--drive {text} says {key}={value}, but it must be a number.")
    return int(value)


def _read(path: str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise AiosError(f"The {what} {path} cannot be read: {error.strerror}.") from error


def _open_trace(path: str | None) -> Trace | None:
    from emu.trace import Trace

    if path is None:
        return None
    try:
        return Trace(open(path, "w", encoding="utf-8"))
    except OSError as error:
        raise AiosError(f"The trace {path} cannot be written: {error.strerror}.") from error


def make_machine(args: argparse.Namespace, *, console: Console | None = None) -> Machine:
    """The machine that the options of `add_machine_arguments` describe, switched on; its console is
    the terminal or the pipe that the command runs in, unless another is given."""
    if args.engine == "native":
        from emu.cpu import early

        early.begin()
    from emu import board
    from emu.console import open_console
    from emu.machine import Machine

    loaded = board.load(args.board or board.DEFAULT)
    if args.harts is not None:
        loaded = replace(loaded, cpu=replace(loaded.cpu, harts=args.harts))
    if args.memory is not None:
        loaded = replace(loaded, memory=replace(loaded.memory, size=args.memory))
    drives = [parse_drive(text) for text in args.drive]
    kernel_path = args.kernel
    if kernel_path is None and args.bios is None:
        from toolchain.image import default_image

        kernel_path = str(default_image())
    kernel = None if kernel_path is None else _read(kernel_path, "kernel")
    bios = None if args.bios is None else _read(args.bios, "firmware")
    initrd = None if args.initrd is None else _read(args.initrd, "initrd")
    return Machine(
        loaded,
        kernel=kernel,
        bios=bios,
        initrd=initrd,
        drives=drives,
        append=args.append,
        console=console or open_console(),
        engine=args.engine,
        trace=_open_trace(args.trace),
        kernel_name=f"The kernel {kernel_path}",
        bios_name=f"The firmware {args.bios}",
        initrd_name=f"The initrd {args.initrd}",
    )


def run(args: argparse.Namespace) -> int:
    """Run until the guest ends it; the exit code is the guest's."""
    if args.timeout is None:
        with make_machine(args) as machine:
            return report(_run(machine, args))
    from toolchain.time_limit import TimeIsOver, TimeLimit

    with TimeLimit(args.timeout) as limit:
        try:
            with make_machine(args) as machine:
                limit.start(machine)
                status = _run(machine, args)
        except TimeIsOver:
            status = limit.status
    return report(status)


def _run(machine: Machine, args: argparse.Namespace) -> ExitStatus:
    if args.power_cut_at is not None:
        machine.cut_power_at(args.power_cut_at)
    machine.console.start()
    status = machine.run(args.max_instructions)
    if args.signature is not None:
        _write_signature(machine, args.signature, args.signature_granularity)
    return status


def _write_signature(machine: Machine, path: str, granularity: int) -> None:
    """What a conformance test has left in memory for a comparison, a number of `granularity` bytes
    a line."""
    places = [machine.symbols.get(name) for name in ("begin_signature", "end_signature")]
    start, end = (at or 0 for at in places)
    if not machine.memory.contains(start, max(end - start, 1)):
        raise AiosError("--signature needs a program that defines begin_signature, end_signature.")
    data = bytes(machine.memory.view(start, end - start))
    lines = (
        data[at : at + granularity].ljust(granularity, b"\0")[::-1].hex()
        for at in range(0, len(data), granularity)
    )
    try:
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    except OSError as error:
        raise AiosError(f"The signature {path} cannot be written: {error.strerror}.") from error


def report(status: ExitStatus) -> int:
    """Say why a run ended if the exit code does not; returns that, which the host limits to a byte:
    a failure stays one."""
    if status.telling or not status.by_guest:
        print(f"aios: {status.reason}", file=sys.stderr)
    return status.code if status.code < _EXIT_CODE_LIMIT else status.code % _EXIT_CODE_LIMIT or 1
