"""A hart's timer: its mtimecmp, which emitted code writes without leaving.

The CLINT owns the register and what is scheduled for it; both are kept in the hart's state. A store
by the hart to its own mtimecmp then needs Python only when the interrupt is to come before what is
scheduled. What such a store does is said by the routine `SET`, for everybody.
"""

from __future__ import annotations

from emu.cpu.routine import Routine
from emu.cpu.state import State
from emu.isa.causes import Interrupt
from emu.isa.csrfields import ALL, flag
from emu.isa.csrs import STCE, time
from emu.isa.graph import Node, Trace

_MTIP = 1 << Interrupt.MTI


def _set(m: Trace, value: Node, retired: Node) -> None:
    """Write mtimecmp: the interrupt is pending while time >= mtimecmp."""
    s = m.state
    s["mtimecmp"] = value
    s["lines"] = s["lines"] & (_MTIP ^ ALL) | flag(~time(m).ltu(value)) << Interrupt.MTI


def _suffices(m: Trace, value: Node, retired: Node) -> Node:
    """1 bit: nothing has to be scheduled for this value."""
    return ~time(m).ltu(value) | ~value.ltu(m.state["alarm"])


SET = Routine(_set, "value", "retired")
SUFFICES = Routine(_suffices, "value", "retired")


class HartAlarm:
    """The timer of the hart with that state, for the CLINT (`emu.devices.clint.Alarm`)."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def compare(self) -> int:
        """mtimecmp."""
        return self._state.mtimecmp

    @compare.setter
    def compare(self, ticks: int) -> None:
        self._state.mtimecmp = ticks

    @property
    def scheduled(self) -> int:
        """The value of mtime at which the CLINT will look again; all ones if it will not."""
        return self._state.alarm

    @scheduled.setter
    def scheduled(self, ticks: int) -> None:
        self._state.alarm = ticks

    @property
    def supervisor(self) -> int:
        """stimecmp, if supervisor mode has it; else all ones."""
        return self._state.stimecmp if self._state.menvcfg & STCE else ALL

    @property
    def pending(self) -> bool:
        """Whether the interrupt is pending."""
        return bool(self._state.lines & _MTIP)

    def offer(self, address: int) -> None:
        """Let emitted code do stores to that physical address, where mtimecmp is."""
        self._state.alarm_at = address
