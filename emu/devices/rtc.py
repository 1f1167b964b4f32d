"""The real-time clock (Google goldfish RTC): nanoseconds since 1970, and an alarm.

It counts virtual time from a fixed date that the board names, so that runs repeat exactly.
"""

from __future__ import annotations

from emu.clock import PS_PER_NS, EventQueue
from emu.devices.device import Device, on_read, on_write, register
from emu.devices.line import Line
from emu.devices.registers import RO, RW, WO, Register, bits


class TimeLow(Register, offset=0x00, size=4):
    """Low half of the time; reading it latches the high half."""

    time = bits[31:0](RW, doc="nanoseconds since 1970, bits 31:0; write after TIMEHIGH to set")


class TimeHigh(Register, offset=0x04, size=4):
    """High half of the time, as of the last read of TIMELOW."""

    time = bits[31:0](RW, doc="nanoseconds since 1970, bits 63:32")


class AlarmLow(Register, offset=0x08, size=4):
    """Low half of the alarm; writing it sets the alarm."""

    time = bits[31:0](RW, doc="nanoseconds since 1970, bits 31:0")


class AlarmHigh(Register, offset=0x0C, size=4):
    """High half of the alarm; write it before ALARMLOW."""

    time = bits[31:0](RW, doc="nanoseconds since 1970, bits 63:32")


class IrqEnabled(Register, offset=0x10, size=4):
    """Whether the alarm interrupts."""

    enabled = bits[0](RW, doc="1: it does")
    reserved = bits[31:1]


class ClearAlarm(Register, offset=0x14, size=4):
    """Any write takes the alarm back."""

    any = bits[31:0](WO, doc="ignored")


class AlarmStatus(Register, offset=0x18, size=4):
    """Whether an alarm is set."""

    running = bits[0](RO, doc="1: it is")
    reserved = bits[31:1]


class ClearInterrupt(Register, offset=0x1C, size=4):
    """Any write lowers the interrupt."""

    any = bits[31:0](WO, doc="ignored")


class Rtc(Device, prefix="RTC"):
    """The clock. `epoch_ns` is the date of power-on."""

    SIZE = 0x1000
    state = ("_offset_ns", "_pending")

    time_low = register(TimeLow)
    time_high = register(TimeHigh)
    alarm_low = register(AlarmLow)
    alarm_high = register(AlarmHigh)
    irq_enabled = register(IrqEnabled)
    clear_alarm = register(ClearAlarm)
    alarm_status = register(AlarmStatus)
    clear_interrupt = register(ClearInterrupt)

    def __init__(self, events: EventQueue, line: Line, epoch_ns: int) -> None:
        super().__init__("rtc", events)
        self._line = line
        self._offset_ns = epoch_ns  # the date minus the virtual clock
        self._pending = False

    def _now_ns(self) -> int:
        return self.now_ps // PS_PER_NS + self._offset_ns & (1 << 64) - 1

    @on_read(time_low)
    def _read_time(self) -> int:
        now = self._now_ns()
        self.time_high.value = now >> 32
        return now & 0xFFFF_FFFF

    @on_write(time_low)
    def _set_time(self, value: int, old: int) -> None:
        wanted = self.time_high.value << 32 | self.time_low.value
        self._offset_ns += wanted - self._now_ns()

    @on_write(alarm_low)
    def _set_alarm(self, value: int, old: int) -> None:
        self._cancel(0, 0)
        wanted = self.alarm_high.value << 32 | self.alarm_low.value
        delay_ns = wanted - self._now_ns()
        if delay_ns <= 0:
            self._fire()
            return
        self.at(self.now_ps + delay_ns * PS_PER_NS, self._fire, timer=True)
        self.alarm_status.running = 1

    @on_write(clear_alarm)
    def _cancel(self, value: int, old: int) -> None:
        for alarm in self.scheduled():
            alarm.cancel()
        self.alarm_status.running = 0

    def _fire(self) -> None:
        self._cancel(0, 0)
        self._pending = True
        self._update(0, 0)

    @on_write(clear_interrupt)
    def _lower(self, value: int, old: int) -> None:
        self._pending = False
        self._update(0, 0)

    @on_write(irq_enabled)
    def _update(self, value: int, old: int) -> None:
        self._line.set(self._pending and bool(self.irq_enabled.enabled))

    def reset(self) -> None:
        """Take the alarm back; the date goes on."""
        super().reset()
        self._cancel(0, 0)
        self._lower(0, 0)
