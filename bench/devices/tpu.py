"""The TPU's performance counters on MLP0 and CNN0, against table 3 of the ISCA 2017 paper.

The programs run on the device of the board `server`, results and all. A row for each counter, in
percent of all cycles; the summary has the largest difference from the paper, in points.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.devices._tpu_workloads import cnn0, mlp0
from bench.report import Report
from emu.board import load
from emu.bus import Bus
from emu.clock import Clock, EventQueue
from emu.devices.system import System
from emu.devices.tpu import Tpu
from emu.devices.tpu.declare import SIZE
from emu.devices.tpu.timing import Count
from emu.memory import Memory

RAM = 0x8000_0000
_RAM_BYTES = 32 << 20
_RING, _SOURCE, _TARGET = RAM, RAM + (1 << 20), RAM + (16 << 20)


@dataclass(frozen=True)
class Row:
    """An application, and what table 3 says of it: shares of all cycles in percent."""

    name: str
    program: bytes
    published: dict[Count, float]


ROWS = (
    Row(
        "MLP0",
        mlp0(_SOURCE, _TARGET),
        {
            Count.ACTIVE: 12.7,
            Count.WEIGHT_STALL: 53.9,
            Count.WEIGHT_SHIFT: 15.9,
            Count.NON_MATRIX: 17.5,
        },
    ),
    Row(
        "CNN0",
        cnn0(_SOURCE, _TARGET),
        {
            Count.ACTIVE: 78.2,
            Count.WEIGHT_STALL: 0.0,
            Count.WEIGHT_SHIFT: 0.0,
            Count.NON_MATRIX: 21.8,
        },
    ),
)


def counters(program: bytes) -> dict[Count, int]:
    """Run a program on a TPU of its own; its counters. Raises RuntimeError if it fails."""
    events = EventQueue(Clock())
    bus = Bus(Memory(RAM, _RAM_BYTES))
    tpu = Tpu("tpu0", System(bus, events), load("server").tpu)
    tpu.config.command.master = 1
    bus.memory.view(_RING, len(program))[:] = program
    entries = len(program) // SIZE + 1
    tpu.write(tpu.ring_base.at, 8, _RING)
    tpu.write(tpu.ring_entries.at, 4, entries)
    tpu.write(tpu.tail.at, 4, entries - 1)
    while (at := events.next_ps()) is not None:
        events.clock.skip_to(at)
        events.run_due()
    if tpu.read(tpu.completed.at, 4) != 1:
        raise RuntimeError(f"the program failed with error {tpu.read(tpu.error.at, 4)}")
    return {what: tpu.read(tpu.counter[what].at, 8) for what in Count}


def shares(found: dict[Count, int]) -> dict[Count, float]:
    """The counters of cycles in percent of all."""
    return {
        what: 100 * found[what] / found[Count.BUSY] for what in Count if what < Count.FULL_SPEED
    }


def measure(report: Report) -> None:
    """A row for each counter of each application."""
    worst = 0.0
    for row in ROWS:
        found = counters(row.program)
        for what, share in shares(found).items():
            published = row.published.get(what)
            if published is not None:
                name = what.name.lower().replace("_", " ")
                report.add(f"tpu, {row.name}: {name} (paper: {published:g})", share, "% of cycles")
                worst = max(worst, abs(share - published))
        clock = load("server").tpu.clock_mhz
        micros = found[Count.BUSY] / clock
        report.add(f"tpu, {row.name}: a batch", micros, "us")
        report.add(f"tpu, {row.name}: rate", 2 * found[Count.MACS] / micros / 1e6, "TOPS")
    report.add("tpu: largest difference from table 3", worst, "points")
    report.summary["tpu_table3_points"] = worst
