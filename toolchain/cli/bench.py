"""`aios bench`: measure, and print a table or write JSON. A benchmark is a module of `bench/`."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

NAME = "bench"
HELP = "measure the machine: cpu (instructions a second), start (time to the prompt)"

BENCHMARKS = ("cpu", "start")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is measured, and where the figures go."""
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")


def run(args: argparse.Namespace) -> int:
    """Measure and show."""
    report = importlib.import_module(f"bench.{args.benchmark}").measure()
    print(report.table())
    if args.json:
        report.write(args.json)
    return 0
