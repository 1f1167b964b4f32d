"""One program on AIos, in this process: `python -m bench.cpu.one sieve [--scale 0.1] [--runs 3]`.

For work on the engines. Each run is a new machine; it prints the seconds between the program's
markers, the instructions in between, and millions of them a second (MIPS), and, with `--native`,
how many times longer that took than natively.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.cpu import programs
from emu import board
from emu.console import MemoryConsole
from emu.machine import ENGINES, Machine


@dataclass(frozen=True)
class Run:
    """What a run in this process gave."""

    result: str
    seconds: float
    instructions: int
    start_seconds: float
    """From making the machine to the first marker."""

    @property
    def right(self) -> bool:
        """Whether the program's own checks held."""
        return int(self.result, 16) != 0

    @property
    def mips(self) -> float:
        """Millions of instructions a second."""
        return self.instructions / self.seconds / 1e6


class Marks(MemoryConsole):
    """A console that notes when each line ends, and at which instruction."""

    machine: Machine

    def __init__(self) -> None:
        super().__init__()
        self.at: list[tuple[float, int]] = []

    def write(self, byte: int) -> None:
        """Keep `byte`; a line's last one is a mark."""
        super().write(byte)
        if byte == ord("\n"):
            self.at.append((time.perf_counter(), self.machine.hart.instret))


def run(image: bytes, engine: str = "native") -> Run:
    """Run an image of a program to its end."""
    start = time.perf_counter()
    console = Marks()
    with Machine(
        board.load(board.DEFAULT), kernel=image, console=console, engine=engine
    ) as machine:
        console.machine = machine
        machine.run()
    (begin, before), (end, after) = console.at
    result = console.text.splitlines()[1].split()[1]
    return Run(result, end - begin, after - before, begin - start)


def native_seconds(program: programs.Program, rounds: int, folder: Path) -> float | None:
    """How long the program takes as a process, its start included."""
    path = programs.build_native(program, folder)
    if path is None:
        return None
    start = time.perf_counter()
    subprocess.run([path, str(rounds)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench.cpu.one", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("names", help="programs, with commas; '' is all of them")
    parser.add_argument("--scale", type=float, default=1.0, help="work, in full runs")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--engine", choices=ENGINES, default="native")
    parser.add_argument("--native", action="store_true", help="run it natively before and after")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        right = [_measure(program, args, Path(name)) for program in programs.choose(args.names)]
    sys.exit(not all(right))


def _measure(program: programs.Program, args: argparse.Namespace, folder: Path) -> bool:
    """Run it and print; whether its own checks held every time."""
    rounds = program.scaled(args.scale)
    image = programs.with_rounds(programs.image(program, folder), rounds)
    natively = [native_seconds(program, rounds, folder)] if args.native else []
    right = True
    for _ in range(args.runs):
        done = run(image, args.engine)
        if args.native:
            natively.append(native_seconds(program, rounds, folder))
        times = [seconds for seconds in natively if seconds is not None]
        against = f"  {done.seconds / min(times):6.2f} x native" if times else ""
        right = right and done.right
        wrong = "" if done.right else "  WRONG: a check within the program failed"
        print(
            f"{program.name:12} {done.seconds:8.3f} s  {done.instructions / 1e6:9.1f} M  "
            f"{done.mips:8.1f} MIPS  start {done.start_seconds:.3f} s  "
            f"{done.result}{against}{wrong}",
            flush=True,
        )
    return right


if __name__ == "__main__":
    main()
