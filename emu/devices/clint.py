"""The core-local interruptor: software interrupts, the timer, and the time (SiFive CLINT
layout).

Guests without timer interrupts wait by asking for mtime over and over. A hart that does so has to
wait a little longer for each answer: else a second would be millions of accesses."""

from __future__ import annotations

from collections.abc import Sequence

from emu import memory_map as at
from emu.bus import Bus
from emu.clock import PS_PER_TICK, PS_PER_US, EventQueue
from emu.devices.device import Device, on_read, on_write, register, register_array
from emu.devices.line import Line
from emu.devices.registers import RO, RW, Register, bits

_NEVER = (1 << 64) - 1
_WAIT_GAP_PS = 2 * PS_PER_US
"""Reads of mtime no farther apart are one wait."""
_WAIT_SHARE, _WAIT_MOST_PS = 16, 20 * PS_PER_US
"""The answer takes this fraction of how long the wait has been, and this much at most; nothing that
could be noticed when two moments are compared."""


class Msip(Register, offset=0x0000, size=4, count=at.HARTS):
    """Software interrupt pending, a register a hart."""

    msip = bits[0](RW, doc="raises the machine software interrupt")
    reserved = bits[31:1]


class Mtimecmp(Register, offset=0x4000, size=8, count=at.HARTS):
    """Timer compare, a register a hart: its machine timer interrupt is pending while mtime >=
    mtimecmp."""

    time = bits[63:0](RW, reset=_NEVER, doc="ticks")


class Mtime(Register, offset=0xBFF8, size=8):
    """The time since power-on, in ticks of the timebase (10 MHz)."""

    time = bits[63:0](RO, doc="ticks")


class Clint(Device, prefix="CLINT"):
    """Timer and software interrupts of every hart, by the lines `software` and `timer`. mtime
    follows the virtual clock and cannot be set."""

    SIZE = 0x10000
    state = ("_wait_start_ps", "_last_read_ps")

    msip = register_array(Msip)
    mtimecmp = register_array(Mtimecmp)
    mtime = register(Mtime)

    def __init__(
        self, bus: Bus, events: EventQueue, software: Sequence[Line], timer: Sequence[Line]
    ) -> None:
        super().__init__("clint", events, {"msip": len(software), "mtimecmp": len(timer)})
        self._bus, self._software, self._timer = bus, software, timer
        self._wait_start_ps = self._last_read_ps = 0

    @on_read(mtime)
    def _time(self) -> int:
        clock = self.events.clock
        now = clock.now_ps
        if now - self._last_read_ps > _WAIT_GAP_PS:
            self._wait_start_ps = now
        clock.stall(min((now - self._wait_start_ps) // _WAIT_SHARE, _WAIT_MOST_PS))
        self._last_read_ps = clock.now_ps
        self._bus.accesses -= 1  # a guest that looks at the time between polls is idle all the same
        return clock.ticks

    @on_write(msip)
    def _set_software(self, hart: int, value: int, old: int) -> None:
        self._software[hart].set(bool(self.msip[hart].msip))

    @on_write(mtimecmp)
    def _set_alarm(self, hart: int, value: int, old: int) -> None:
        for alarm in self.scheduled():
            if alarm.args == (hart,):
                alarm.cancel()
        at_tick = self.mtimecmp[hart].value
        due = self.events.clock.ticks >= at_tick
        self._timer[hart].set(due)
        if not due and at_tick != _NEVER:
            self.at(at_tick * PS_PER_TICK, self._fire, hart, timer=True)

    def _fire(self, hart: int) -> None:
        self._timer[hart].set(True)

    def reset(self) -> None:
        """No interrupt pending, no alarm set; the time goes on."""
        super().reset()
        for line in (*self._software, *self._timer):
            line.set(False)
