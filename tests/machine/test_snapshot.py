"""A machine that was put back goes on as it did, wherever it was cut."""

from __future__ import annotations

import io
from collections import deque
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine
from emu.platform import Drive
from emu.snapshot import Snapshot
from emu.sparse import SparseBytes
from emu.trace import Trace
from toolchain import disk, image

COMMANDS = 'exec="readtest 0 random 300; readtest 0 sequential 64; poweroff"'
AFTER = 60_000  # instructions compared behind a cut


class Traced:
    """A machine that boots the kernel and reads from its drive, and its trace in memory."""

    def __init__(self, kernel: bytes, drive: Path, engine: str) -> None:
        self.out = io.StringIO()
        self.machine = Machine(
            board.load("workstation"),
            kernel=kernel,
            drives=[Drive(str(drive), readonly=True)],
            append=COMMANDS,
            console=MemoryConsole(),
            engine=engine,
            trace=Trace(self.out),
        )
        self.at_start = self.machine.snapshot()
        assert self.machine.run(20_000_000).by_guest
        self.length = self.machine.hart.instret  # of the whole run

    def run(self, instructions: int) -> str:
        """The trace of that many instructions."""
        self.out.seek(0)
        self.out.truncate()
        self.machine.run(instructions)
        return self.out.getvalue()


def plain(thing: Any) -> Any:
    """A copy in which objects and arrays are what they hold."""
    if isinstance(thing, dict):
        return {key: plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple, deque)):
        return [plain(value) for value in thing]
    if isinstance(thing, np.ndarray):
        return thing.tobytes()
    if thing is None or isinstance(thing, (int, float, str, bytes, bytearray, set, Enum)):
        return thing
    return [type(thing).__name__, plain(thing.__reduce_ex__(2)[2])]


def differences(one: Snapshot, other: Snapshot) -> list[str]:
    """The parts of the machine in which two snapshots are not equal."""
    found = [part for part in vars(one) if part not in ("hart", "devices")]
    found = [part for part in found if getattr(one, part) != getattr(other, part)]
    for parts, others in ((one.hart, other.hart), (one.devices, other.devices)):
        found += [name for name in parts if plain(parts[name]) != plain(others[name])]
    return found


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """The machine, having run once."""
    drive = tmp_path_factory.mktemp("drive") / "disk.img"
    disk.create(drive, [])
    return Traced(image.default_image().read_bytes(), drive, "native")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(part=st.floats(0, 1))
def test_the_trace_goes_on_identically_from_anywhere(traced: Traced, part: float) -> None:
    machine = traced.machine
    machine.restore(traced.at_start)
    machine.run(int(part * traced.length))
    cut = machine.snapshot()
    trace = traced.run(AFTER)
    after = machine.snapshot()
    machine.restore(cut)
    assert differences(machine.snapshot(), cut) == []
    assert traced.run(AFTER) == trace
    assert differences(machine.snapshot(), after) == []


def test_cuts_fall_where_commands_are_in_flight(traced: Traced) -> None:
    """Else the test above would show little."""
    traced.machine.restore(traced.at_start)
    busy = 0
    for _ in range(40):
        traced.machine.run(traced.length // 40)
        busy += bool(traced.machine.devices["nvme0"].scheduled())
    assert busy > 3


def test_only_what_is_not_zero_is_saved() -> None:
    memory = SparseBytes(80 << 30, "test memory")
    memory.bytes[5 << 30] = 7
    memory.bytes[(70 << 30) + 4095] = 9
    saved = memory.snapshot()
    assert sum(len(piece) for _, piece in saved) <= 1 << 17
    memory.bytes[1] = 1
    memory.bytes[5 << 30] = 0
    memory.restore(saved)
    assert (memory.bytes[1], memory.bytes[5 << 30], memory.bytes[(70 << 30) + 4095]) == (0, 7, 9)
    assert memory.snapshot() == saved
