"""The core-local interruptor: software interrupts, the timer, and the time (SiFive CLINT
layout)."""

from __future__ import annotations

from emu.clock import PS_PER_TICK, EventQueue
from emu.devices.device import Device, on_read, on_write, register
from emu.devices.line import Line
from emu.devices.registers import RO, RW, Register, bits

_NEVER = (1 << 64) - 1


class Msip(Register, offset=0x0000, size=4):
    """Software interrupt pending, hart 0."""

    msip = bits[0](RW, doc="raises the machine software interrupt")
    reserved = bits[31:1]


class Mtimecmp(Register, offset=0x4000, size=8):
    """Timer compare, hart 0: the machine timer interrupt is pending while mtime >= mtimecmp."""

    time = bits[63:0](RW, reset=_NEVER, doc="ticks")


class Mtime(Register, offset=0xBFF8, size=8):
    """The time since power-on, in ticks of the timebase (10 MHz)."""

    time = bits[63:0](RO, doc="ticks")


class Clint(Device, prefix="CLINT"):
    """Timer and software interrupts of hart 0. mtime follows the virtual clock and cannot be
    set."""

    SIZE = 0x10000

    msip = register(Msip)
    mtimecmp = register(Mtimecmp)
    mtime = register(Mtime)

    def __init__(self, events: EventQueue, software: Line, timer: Line) -> None:
        super().__init__("clint", events)
        self._software, self._timer = software, timer

    @on_read(mtime)
    def _time(self) -> int:
        return self.events.clock.ticks

    @on_write(msip)
    def _set_software(self, value: int, old: int) -> None:
        self._software.set(bool(self.msip.msip))

    @on_write(mtimecmp)
    def _set_alarm(self, value: int, old: int) -> None:
        for alarm in self.scheduled():
            alarm.cancel()
        due = self.events.clock.ticks >= self.mtimecmp.value
        self._timer.set(due)
        if not due and self.mtimecmp.value != _NEVER:
            self.at(self.mtimecmp.value * PS_PER_TICK, self._fire, timer=True)

    def _fire(self) -> None:
        self._timer.set(True)

    def reset(self) -> None:
        """No interrupt pending, no alarm set; the time goes on."""
        super().reset()
        self._software.set(False)
        self._timer.set(False)
