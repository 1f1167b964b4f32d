"""`python -m tests.cpu.agreement [SECONDS]`: random programs on all engines, for as long as asked.

Seeds run in child processes, so that a crash is a finding like any other. Each finding is printed
with its seed and what is left of the program when it has been shrunk; `--seed N --count 1` repeats
it. The exit code is 1 when there were findings.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time

from tests.cpu.agreement.check import ENGINES, Case, isolated, schedules
from tests.cpu.agreement.generate import program
from tests.cpu.agreement.shrink import report, smaller


def case_of(seed: int, mode: str | None, length: int, boundaries: int, size: int = 14) -> Case:
    """The case of a seed."""
    rng = random.Random(seed)
    return Case(program(rng, size, mode), schedules(rng, length, boundaries))


def main() -> int:
    """Compare until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.cpu.agreement", description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=60)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, help="so many seeds, whatever time they take")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="default: all")
    parser.add_argument("--mode", help="machine, bare, supervisor or user; default: any")
    parser.add_argument("--length", type=int, default=400, help="instructions a schedule")
    parser.add_argument("--boundaries", type=int, default=40, help="interrupts tried a program")
    parser.add_argument("--no-shrink", action="store_true", help="print programs as they are")
    parser.add_argument("--show", action="store_true", help="print the first program and end")
    args = parser.parse_args()
    end, findings, done = time.monotonic() + args.seconds, 0, 0
    for seed in itertools.count(args.seed):
        if done >= args.count if args.count is not None else time.monotonic() > end:
            break
        case = case_of(seed, args.mode, args.length, args.boundaries)
        if args.show:
            print("\n".join(case.program.lines))
            return 0
        for name in args.engine or ENGINES:
            found = isolated(case, ENGINES[name])
            if found is None:
                continue
            findings += 1
            if not args.no_shrink:
                case, found = smaller(case, found, lambda c, n=name: isolated(c, ENGINES[n]))
            print(f"--- seed {seed}, engine {name}", report(case, found), sep="\n", flush=True)
        done += 1
    print(f"{done} programs, {findings} findings.")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
