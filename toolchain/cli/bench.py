"""`aios bench`: measure, and print a table or write JSON. A benchmark is a module of `bench/`."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from emu.errors import AiosError

NAME = "bench"
HELP = (
    "measure the machine: cpu (programs against QEMU and native), start (time to the prompt), "
    "tensor (tensor instructions against other engines), devices (what they reach) or one of them"
)

BENCHMARKS = ("cpu", "start", "tensor", "devices")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is measured, and where the figures go."""
    from bench import devices

    parser.add_argument("benchmark", choices=(*BENCHMARKS, *devices.parts()))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    parser.add_argument("--quick", action="store_true", help="cpu, tensor: less time for each row")
    parser.add_argument(
        "--programs", default="", metavar="A,B", help="cpu: these programs only, instead of all"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="PATTERN",
        help="tensor: rows that contain or match this (* ? [])",
    )
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="tensor: processor time on one thread, for a host that is in use",
    )


def run(args: argparse.Namespace) -> int:
    """Measure and show. 1 when the machine computed something wrong."""
    if args.programs and args.benchmark != "cpu":
        raise AiosError("--programs is for `aios bench cpu`.")
    if args.benchmark == "tensor":
        return _tensor(args)
    if args.only or args.cpu_time:
        raise AiosError("--only and --cpu-time are for `aios bench tensor`.")
    if args.benchmark == "cpu":
        return _cpu(args)
    if args.quick:
        raise AiosError("--quick is for `aios bench cpu` and `aios bench tensor`.")
    if args.benchmark in BENCHMARKS:
        report = importlib.import_module(f"bench.{args.benchmark}").measure()
    else:
        from bench import devices

        report = devices.measure(args.benchmark)
    print(report.table())
    if args.json:
        report.write(args.json)
    return 0


def _cpu(args: argparse.Namespace) -> int:
    """It prints while it measures, for it takes minutes."""
    from bench import cpu

    options = cpu.Options(args.programs, args.quick)
    report = cpu.measure(options, lambda line: print(line, flush=True))
    if args.json:
        report.write(args.json)
    return int(report.failed)


def _tensor(args: argparse.Namespace) -> int:
    """It prints while it measures, for it takes minutes."""
    from bench import tensor

    options = tensor.Options(args.only, args.quick, args.cpu_time)
    report = tensor.measure(options, lambda line: print(line, flush=True))
    if args.json:
        report.write(args.json)
    return int(report.failed)
