"""The core-local interruptor: software interrupts, the timer, and the time (SiFive CLINT
layout)."""

from __future__ import annotations

from collections.abc import Sequence

from emu import memory_map as at
from emu.clock import PS_PER_TICK, EventQueue
from emu.devices.device import Device, on_read, on_write, register, register_array
from emu.devices.line import Line
from emu.devices.registers import RO, RW, Register, bits

_NEVER = (1 << 64) - 1


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

    msip = register_array(Msip)
    mtimecmp = register_array(Mtimecmp)
    mtime = register(Mtime)

    def __init__(self, events: EventQueue, software: Sequence[Line], timer: Sequence[Line]) -> None:
        super().__init__("clint", events, {"msip": len(software), "mtimecmp": len(timer)})
        self._software, self._timer = software, timer

    @on_read(mtime)
    def _time(self) -> int:
        return self.events.clock.ticks

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
