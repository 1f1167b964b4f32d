"""How fast guest programs run: `aios bench cpu`.

Each program of `bench/programs/` runs natively (gcc -O2), on QEMU's system emulation, and on AIos,
cold (nothing is kept from an earlier run: all is compiled in that one) and warm (with the cache
that earlier runs have filled), a process each, by turns, several times over: what else happens on
the host meets all of them. Medians go into the report (`bench.cpu.report`). Every machine must
print the same result.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.cpu import loops, programs, sides
from bench.cpu.programs import Program
from bench.cpu.report import CpuReport, Row
from bench.cpu.sides import Timing

__all__ = ["Options", "measure"]

MOST_FILLING_RUNS = 5
"""How often a program runs, at most, before it is taken to be warm."""


@dataclass(frozen=True)
class Options:
    """What is measured: `programs` as a list with commas, all when empty."""

    programs: str = ""
    quick: bool = False
    """A tenth of the work, once: too little for the cold figures."""

    @property
    def runs(self) -> int:
        """How many times every machine runs a program."""
        return 1 if self.quick else 5

    @property
    def scale(self) -> float:
        """Work in full runs."""
        return 0.1 if self.quick else 1.0


def measure(options: Options, show: Callable[[str], None]) -> CpuReport:
    """Measure; `show` is given each line of the table as soon as it is there."""
    chosen = programs.choose(options.programs)
    report = CpuReport(notes=_notes())
    for note in report.notes:
        show(note)
    show(report.heading())
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as name:
        for program in chosen:
            row = _Measurement(program, options, Path(name)).row()
            report.rows.append(row)
            show(report.line(row))
    if not options.programs:
        report.loops = loops.measure()
    show("\n" + report.footer())
    return report


def _notes() -> list[str]:
    """What this host lacks, and what comes of it."""
    qemu, native = sides.have_qemu(), shutil.which(programs.NATIVE_GCC) is not None
    notes = []
    if not qemu and not native:
        notes.append(
            f"Neither {sides.QEMU} nor {programs.NATIVE_GCC} is installed, so there is nothing to "
            "compare with: the times are AIos's alone."
        )
    elif not qemu:
        notes.append(f"{sides.QEMU} is not installed, so nothing is compared with QEMU.")
    elif not native:
        notes.append(f"{programs.NATIVE_GCC} is not installed, so nothing runs natively.")
    if shutil.which(programs.GUEST_GCC) is None:
        notes.append(f"{programs.GUEST_GCC} is not installed: the images are those that are kept.")
    return notes


class _Measurement:
    """One program: its builds, and its runs on all machines."""

    def __init__(self, program: Program, options: Options, folder: Path) -> None:
        self._program, self._options, self._folder = program, options, folder
        self._rounds = program.scaled(options.scale)
        self._native = programs.build_native(program, folder)
        self._image = folder / f"{program.name}-{self._rounds}.elf"
        image = programs.image(program, folder)
        self._image.write_bytes(programs.with_rounds(image, self._rounds))
        self._warm = folder / "warm"

    def _fill_cache(self) -> None:
        """Run until a run leaves nothing more behind; what a short one has begun to compile, the
        next ones finish."""
        before = None
        for _ in range(MOST_FILLING_RUNS):
            sides.aios(self._image, self._warm)
            kept = processes.kept_files(self._warm)
            if kept == before:
                return
            before = kept

    def _runs(self) -> dict[str, Timing]:
        """One turn: each machine once."""
        done = {}
        if self._native is not None:
            done["native"] = sides.native(self._native, self._rounds)
        if sides.have_qemu():
            done["qemu"] = sides.qemu(self._image)
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            cold = processes.new_cache(Path(name), self._warm)
            done["cold"] = sides.aios(self._image, cold)
        done["warm"] = sides.aios(self._image, self._warm)
        return done

    def row(self) -> Row:
        """All turns, and their medians."""
        self._fill_cache()
        turns = [self._runs() for _ in range(self._options.runs)]
        seconds = {}
        for side in turns[0]:
            between, whole = [], []
            for turn in turns:
                between.append(turn[side].program)
                whole.append(turn[side].process)
            seconds[side] = statistics.median(between)
            seconds[f"{side}_process"] = statistics.median(whole)
        results = {(side, timing.result) for turn in turns for side, timing in turn.items()}
        return Row(
            self._program.name,
            self._program.what,
            seconds,
            turns[0]["warm"].instructions,
            _status(results),
        )


def _status(results: set[tuple[str, str]]) -> str:
    """'ok' when all machines gave one result and no check of the program failed."""
    if len({result for _, result in results}) == 1 and all(int(r, 16) for _, r in results):
        return "ok"
    told = ", ".join(f"{side} {result}" for side, result in sorted(results))
    return f"failed: the results are {told}"
