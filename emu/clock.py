"""Virtual time, in integer picoseconds, and what is to happen later in it.

Time passes in three ways only: instructions retire (each costs the same), an instruction stalls
the hart for a modelled time, or all harts sleep and time skips to the next event. Nothing depends
on the host's clock, so a run repeats exactly. Harts that work at the same time share it: each
executes in turn, and while n of them are awake time passes n times as slowly as the one that
executes would have it (`emu.harts`).
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable
from typing import Any, Protocol

PS_PER_NS = 1_000
PS_PER_US = 1_000_000
PS_PER_MS = 10**9
PS_PER_SECOND = 10**12
TIMEBASE_HZ = 10_000_000
"""Frequency of mtime, as QEMU's virt machine has it."""
PS_PER_TICK = PS_PER_SECOND // TIMEBASE_HZ


_UNITS = {"ns": PS_PER_NS, "us": PS_PER_US, "ms": PS_PER_MS, "s": PS_PER_SECOND}


def parse_time(text: str) -> int:
    """A time as people write it, `3ms` or `1.5us`, in picoseconds; ValueError when it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ns|us|ms|s)", text)
    if match is None:
        raise ValueError(f"'{text}' is not a time; write a number and ns, us, ms or s, as 3ms")
    from fractions import Fraction  # few runs are given a time

    return round(Fraction(match[1]) * _UNITS[match[2]])


class TimeSource(Protocol):
    """What makes time pass: the hart."""

    @property
    def instret(self) -> int:
        """Instructions retired."""

    @property
    def stall_ps(self) -> int:
        """Picoseconds for which the hart did something that takes longer than an instruction."""

    def stall(self, ps: int) -> None:
        """What it does now takes so much longer."""

    def set_time_base(self, base_ps: int, ps_per_insn: int, ps_per_tick: int) -> None:
        """Told how to tell the time by itself: (`base_ps` + instret * `ps_per_insn` + stall_ps) in
        units of `ps_per_tick`."""


class Clock:
    """The machine's one clock. It follows the `source`, the hart that executes, which has 1/`share`
    of the time. Without a source (tests of devices alone) only `skip_to` moves it."""

    def __init__(self, ps_per_insn: int = 1_000, source: TimeSource | None = None) -> None:
        self.ps_per_insn = ps_per_insn
        self.source = source
        self.share = 1
        self._set_base(0)

    def _set_base(self, base: int) -> None:
        """Set what is to be added to the source's work, in the source's own time."""
        self._base = base
        if self.source is not None:
            self.source.set_time_base(base, self.ps_per_insn, PS_PER_TICK * self.share)

    def _executed(self) -> int:
        source = self.source
        return 0 if source is None else source.instret * self.ps_per_insn + source.stall_ps

    @property
    def now_ps(self) -> int:
        """Picoseconds since power-on; never goes back."""
        return (self._base + self._executed()) // self.share

    @property
    def ticks(self) -> int:
        """The value of mtime and of the `time` CSR."""
        return self.now_ps // PS_PER_TICK

    def stall(self, ps: int) -> None:
        """Let what the source does now take `ps` of its own time longer."""
        if self.source is not None and ps:
            self.source.stall(ps)

    def skip_to(self, at_ps: int) -> None:
        """Let time pass without work until `at_ps`; a moment in the past changes nothing."""
        self._set_base(self._base + max(0, at_ps - self.now_ps) * self.share)

    def set_now(self, now_ps: int) -> None:
        """Make it `now_ps` again after the source's counters were set back (a reset)."""
        self._set_base(now_ps * self.share - self._executed())

    def switch(self, source: TimeSource, share: int) -> None:
        """From now on follow `source`, which has 1/`share` of the time. Time stands still meanwhile
        (to less than a picosecond, which is lost when the share changes)."""
        total = self._base + self._executed()
        if share != self.share:
            total = total // self.share * share
        self.source, self.share = source, share
        self._set_base(total - self._executed())

    def work_until(self, at_ps: int) -> int:
        """Picoseconds of the source's own work until it is `at_ps`."""
        return at_ps * self.share - self._base - self._executed()

    def snapshot(self) -> tuple[int, int]:
        """What is more than the source's counters."""
        return self._base, self.share

    def restore(self, saved: tuple[int, int], source: TimeSource) -> None:
        """Take over what `snapshot` gave when it followed `source`, whose counters are back."""
        base, self.share = saved
        self.source = source
        self._set_base(base)


class Event:
    """Something that will happen at `at_ps`. Events at one time happen in the order in which they
    were scheduled. `callback` is None once it has happened or was cancelled."""

    __slots__ = ("_queue", "args", "at_ps", "callback", "sequence", "timer")

    def __init__(
        self,
        queue: EventQueue,
        at_ps: int,
        sequence: int,
        callback: Callable[..., None] | None,
        args: tuple[Any, ...],
        timer: bool,
    ) -> None:
        self._queue, self.args = queue, args
        self.at_ps, self.sequence, self.callback, self.timer = at_ps, sequence, callback, timer

    def __lt__(self, other: Event) -> bool:
        # The heap asks only for two in the same place: a cancelled event and its restored copy.
        return False

    def cancel(self) -> None:
        """Make sure that the event does not happen; harmless when it already has."""
        if self.callback is not None:
            self.callback = None
            self._queue.work -= not self.timer


class EventQueue:
    """What will happen, in order. `on_earlier` is called when an event is scheduled that comes
    before all others: the machine must stop the hart in time for it.

    The heap holds (time, sequence, event): tuples of integers are compared without running Python,
    and no two have the same sequence. Cancelled events stay until they come to the top."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.on_earlier: Callable[[], None] = lambda: None
        self._heap: list[tuple[int, int, Event]] = []
        self._sequence = 0
        self.work = 0
        """How many events are to come that are no timers."""
        self.worked_ps = 0
        """When the last event that was no timer happened."""

    def schedule(
        self, at_ps: int, callback: Callable[..., None], *args: Any, timer: bool = False
    ) -> Event:
        """Have `callback` called with `args` at `at_ps`, or as soon as possible if that is past.
        `timer` marks an event that is the guest's own alarm clock and no device's work in progress.
        """
        sequence = self._sequence
        self._sequence = sequence + 1
        return self._enter(Event(self, at_ps, sequence, callback, args, timer))

    def restore(
        self,
        at_ps: int,
        sequence: int,
        callback: Callable[..., None],
        args: tuple[Any, ...],
        timer: bool,
    ) -> Event:
        """Schedule what a snapshot holds, in the place that it had among the events of its time."""
        self._sequence = max(self._sequence, sequence + 1)
        return self._enter(Event(self, at_ps, sequence, callback, args, timer))

    def _enter(self, event: Event) -> Event:
        heap, at_ps = self._heap, event.at_ps
        earlier = not heap or at_ps < heap[0][0]
        heapq.heappush(heap, (at_ps, event.sequence, event))
        if not event.timer:
            self.work += 1
        if earlier:
            self.on_earlier()
        return event

    def after(self, delay_ps: int, callback: Callable[[], None]) -> Event:
        """Schedule `callback` in `delay_ps` from now."""
        return self.schedule(self.clock.now_ps + delay_ps, callback)

    def next_ps(self) -> int | None:
        """When the next event is due; None if there is none."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def work_pending(self) -> bool:
        """Whether a device still has something to finish (timers do not count)."""
        return self.work > 0

    def run_due(self) -> int:
        """Call everything that is due by now, in order; returns how many events that were. No time
        passes meanwhile: events take none."""
        heap = self._heap
        if not heap:
            return 0
        now, count = self.clock.now_ps, 0
        while heap and heap[0][0] <= now:
            event = heapq.heappop(heap)[2]
            callback, event.callback = event.callback, None
            if callback is not None:
                if not event.timer:
                    self.work -= 1
                    self.worked_ps = now
                callback(*event.args)
                count += 1
        return count

    def pending(self, owner: object) -> list[Event]:
        """The events to come that are to call methods of `owner`, in their order."""
        mine = [e for e in self._heap if getattr(e[2].callback, "__self__", None) is owner]
        return [event for _, _, event in sorted(mine)]

    def snapshot(self) -> tuple[int, int]:
        """What is more than the events themselves, which their owners save."""
        return self._sequence, self.worked_ps

    def resume(self, saved: tuple[int, int]) -> None:
        """Take over what `snapshot` gave, once the owners have restored their events."""
        self._sequence, self.worked_ps = saved

    def clear(self) -> None:
        """Forget everything (power-on reset)."""
        for _, _, event in self._heap:
            event.cancel()
        self._heap.clear()
