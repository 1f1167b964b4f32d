"""Snapshots of a machine, in memory: take one anywhere, and go back to it as often as you like.

    before = machine.snapshot()
    machine.run(1_000_000)
    machine.restore(before)         # and the next run does the same again, to the bit

What is saved is what the guest could tell: the harts, the pages of RAM and of device memory that
are not zero, every device's registers and state, the events to come in their order, the clock.
Translations and decoded code are found again. The world outside is not part of it: input that the
console has given is gone, output stays, and the blocks of a drive stay what its file holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.machine import Machine

_MACHINE = ("_reset_wanted", "_power_cut_ps", "_quiet_since")


@dataclass(frozen=True)
class Snapshot:
    """A machine between two instructions; the parts as their owners made them."""

    harts: list[dict[str, Any]]
    turns: dict[str, Any]
    memory: list[tuple[int, bytes]]
    devices: dict[str, dict[str, Any]]
    bridge: dict[str, Any]
    lines: list[bool]
    queue: tuple[int, int]
    accesses: int
    own: dict[str, Any]
    alarms: list[tuple[int, int, str]]
    """The machine's own events: time, sequence, method."""


def take(machine: Machine) -> Snapshot:
    """The state of `machine`."""
    platform = machine.platform
    return Snapshot(
        harts=[hart.snapshot() for hart in machine.harts],
        turns=machine.turns.snapshot(),
        memory=machine.memory.snapshot(),
        devices={name: device.snapshot() for name, device in machine.devices.items()},
        bridge=platform.bridge.snapshot(),
        lines=[line.level for line in (*platform.lines, *platform.plic.sources)],
        queue=machine.events.snapshot(),
        accesses=machine.bus.accesses,
        own={name: getattr(machine, name) for name in _MACHINE},
        alarms=[
            (event.at_ps, event.sequence, event.callback.__name__)
            for event in machine.events.pending(machine)
            if event.callback is not None
        ],
    )


def restore(machine: Machine, saved: Snapshot) -> None:
    """Put `machine`, of which `saved` was taken, back into that state."""
    platform, events = machine.platform, machine.events
    events.clear()
    machine.memory.restore(saved.memory)
    for hart, state in zip(machine.harts, saved.harts, strict=True):
        hart.restore(state)
    machine.turns.restore(saved.turns)
    # Lines before devices: one that drives its line anew then changes nothing and tells nobody.
    for line, level in zip((*platform.lines, *platform.plic.sources), saved.lines, strict=True):
        line.level = level
    platform.bridge.restore(saved.bridge)
    for name, device in machine.devices.items():
        device.restore(saved.devices[name])
    for at_ps, sequence, method in saved.alarms:
        events.restore(at_ps, sequence, getattr(machine, method), (), timer=True)
    events.resume(saved.queue)
    machine.bus.accesses = saved.accesses
    for name, value in saved.own.items():
        setattr(machine, name, value)
    for hart, state in zip(machine.harts, saved.harts, strict=True):
        hart.attention = state["attention"]  # events that were entered have called for it
