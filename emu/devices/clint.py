"""The core-local interruptor: software interrupts, the timer, and the time (SiFive CLINT
layout).

Guests without timer interrupts wait by asking for mtime over and over. A hart that does so has to
wait a little longer for each answer: else a second would be millions of accesses.

A hart's own stores to its mtimecmp may come by its `Alarm` instead of here, so what is scheduled is
never taken back: it looks when it is due. The timer of supervisor mode is a CSR of the hart
(stimecmp, of Sstc); its line `supervisor` is driven here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from emu import memory_map as at
from emu.bus import Bus
from emu.clock import PS_PER_TICK, PS_PER_US, Event, EventQueue
from emu.devices.device import Device, on_read, on_write, register, register_array
from emu.devices.line import Line
from emu.devices.registers import RO, RW, Register, bits

NEVER = (1 << 64) - 1
_WAIT_GAP_PS = 2 * PS_PER_US
"""Reads of mtime no farther apart are one wait."""
_WAIT_SHARE, _WAIT_MOST_PS = 16, 20 * PS_PER_US
"""The answer takes this fraction of how long the wait has been, and this much at most; nothing that
could be noticed when two moments are compared."""


class Alarm(Protocol):
    """The timer of a hart. `scheduled` is the tick for which the CLINT has an event, or NEVER."""

    compare: int
    scheduled: int

    @property
    def supervisor(self) -> int:
        """When the supervisor's timer interrupt is to be pending, in ticks."""

    @property
    def pending(self) -> bool:
        """Whether the timer interrupt is."""

    def offer(self, address: int) -> None:
        """The hart may store to mtimecmp at that physical address behind the bus's back: the value
        and the interrupt, and only where nothing earlier has to be scheduled."""


@dataclass
class _OwnAlarm:
    """One without a hart."""

    compare: int = NEVER
    scheduled: int = NEVER
    supervisor: int = NEVER
    pending: bool = False

    def offer(self, address: int) -> None:
        """Nobody takes it."""


class Msip(Register, offset=0x0000, size=4, count=at.HARTS):
    """Software interrupt pending, a register a hart."""

    msip = bits[0](RW, doc="raises the machine software interrupt")
    reserved = bits[31:1]


class Mtimecmp(Register, offset=0x4000, size=8, count=at.HARTS):
    """Timer compare, a register a hart: its machine timer interrupt is pending while mtime >=
    mtimecmp."""

    time = bits[63:0](RW, reset=NEVER, doc="ticks")

    def __init__(self, index: int = 0) -> None:
        self.alarm: Alarm = _OwnAlarm()
        super().__init__(index)

    @property
    def value(self) -> int:
        """Kept where the hart has it as well."""
        return self.alarm.compare

    @value.setter
    def value(self, value: int) -> None:
        self.alarm.compare = value


class Mtime(Register, offset=0xBFF8, size=8):
    """The time since power-on, in ticks of the timebase (10 MHz)."""

    time = bits[63:0](RO, doc="ticks")


class Clint(Device, prefix="CLINT"):
    """Timer and software interrupts of every hart, by the lines `software` and `timer`. mtime
    follows the virtual clock and cannot be set.
    """

    SIZE = 0x10000
    state = ("_wait_start_ps", "_last_read_ps")

    msip = register_array(Msip)
    mtimecmp = register_array(Mtimecmp)
    mtime = register(Mtime)

    def __init__(
        self,
        bus: Bus,
        events: EventQueue,
        software: Sequence[Line],
        timer: Sequence[Line],
        alarms: Sequence[Alarm] = (),
        supervisor: Sequence[Line] = (),
    ) -> None:
        super().__init__("clint", events, {"msip": len(software), "mtimecmp": len(timer)})
        self._bus, self._software, self._timer = bus, software, timer
        self._supervisor = supervisor
        self._wait_start_ps = self._last_read_ps = 0
        for reg, alarm in zip(self.mtimecmp, alarms, strict=False):
            reg.alarm = alarm
            reg.reset()
            alarm.scheduled = NEVER

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
        alarm = self.mtimecmp[hart].alarm
        due = self.events.clock.ticks >= alarm.compare
        self._timer[hart].set(due)
        if not due and alarm.compare < alarm.scheduled:
            for event in self._alarms(hart):
                event.cancel()
            self._schedule(hart)
        self._bus.accesses -= 1  # as when it looks at the time

    def _alarms(self, hart: int) -> list[Event]:
        return [event for event in self.scheduled(self._look) if event.args == (hart,)]

    def _schedule(self, hart: int) -> None:
        alarm = self.mtimecmp[hart].alarm
        alarm.scheduled = alarm.compare
        self.at(alarm.compare * PS_PER_TICK, self._look, hart, timer=True)

    def _look(self, hart: int) -> None:
        """It was time for an alarm, which may have been put off since."""
        alarm = self.mtimecmp[hart].alarm
        alarm.scheduled = NEVER
        if self.events.clock.ticks >= alarm.compare:
            self._timer[hart].set(True)
        elif alarm.compare != NEVER:
            self._schedule(hart)

    def supervisor_changed(self, hart: int) -> None:
        """A hart has written stimecmp, or enabled it or not."""
        for event in self.scheduled(self._wake):
            if event.args == (hart,):
                event.cancel()
        at_tick = self.mtimecmp[hart].alarm.supervisor
        due = self.events.clock.ticks >= at_tick
        self._supervisor[hart].set(due)
        if not due and at_tick != NEVER:
            self.at(at_tick * PS_PER_TICK, self._wake, hart, timer=True)

    def _wake(self, hart: int) -> None:
        self._supervisor[hart].set(True)

    def reset(self) -> None:
        """No interrupt pending, no alarm set; the time goes on."""
        super().reset()
        for reg in self.mtimecmp:
            reg.alarm.scheduled = NEVER
        for line in (*self._software, *self._timer, *self._supervisor):
            line.set(False)

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave."""
        super().restore(saved)
        for reg in self.mtimecmp:
            events = self._alarms(reg.index)
            reg.alarm.scheduled = events[0].at_ps // PS_PER_TICK if events else NEVER
