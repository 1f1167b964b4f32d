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

COMMANDS = 'exec="readtest 0 random 300; gputest 0; tputest 0; poweroff"'
AFTER = 60_000  # instructions compared behind a cut
_STEP = 4_000  # instructions between looks for a busy device


class Traced:
    """A machine whose kernel uses drive, GPU and TPU, and its trace in memory."""

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
        self.busy = {name: self._when_busy(name) for name in ("nvme0", "gpu0", "tpu0")}

    def _when_busy(self, name: str) -> list[Snapshot]:
        """Two moments at which the device has something to finish; the machine runs on to them."""
        found: list[Snapshot] = []
        device = self.machine.devices[name]
        while len(found) < 2:
            assert not self.machine.run(_STEP).by_guest, f"{name} was never busy"
            if device.scheduled():
                found.append(self.machine.snapshot())
                self.machine.run(10 * _STEP)
        return found

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
    found = [part for part in vars(one) if part not in ("harts", "devices")]
    found = [part for part in found if getattr(one, part) != getattr(other, part)]
    harts = zip(one.harts, other.harts, strict=True)
    for parts, others in (*harts, (one.devices, other.devices)):
        found += [name for name in parts if plain(parts[name]) != plain(others[name])]
    return found


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """The machine, having run once."""
    drive = tmp_path_factory.mktemp("drive") / "disk.img"
    disk.create(drive, [])
    return Traced(image.default_image().read_bytes(), drive, "native")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=9)
@given(
    device=st.sampled_from(["nvme0", "gpu0", "tpu0"]),
    moment=st.integers(0, 1),
    further=st.integers(0, 2 * _STEP),
)
def test_the_trace_goes_on_identically_from_anywhere(
    traced: Traced, device: str, moment: int, further: int
) -> None:
    """Cut where the device has work in flight, and anywhere behind."""
    machine = traced.machine
    machine.restore(traced.busy[device][moment])
    assert machine.devices[device].scheduled()
    if further:
        machine.run(further)
    cut = machine.snapshot()
    trace = traced.run(AFTER)
    after = machine.snapshot()
    machine.restore(cut)
    assert differences(machine.snapshot(), cut) == []
    assert traced.run(AFTER) == trace
    assert differences(machine.snapshot(), after) == []


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
