"""Virtual time and the event queue."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from emu.clock import PS_PER_TICK, Clock, EventQueue, parse_time


@dataclass
class Source:
    """Stands for a hart."""

    instret: int = 0
    stall_ps: int = 0
    base: tuple[int, int, int] = (0, 0, 0)

    def set_time_base(self, base_ps: int, ps_per_insn: int, ps_per_tick: int) -> None:
        self.base = base_ps, ps_per_insn, ps_per_tick


def test_time_is_instructions_stalls_and_skips() -> None:
    source = Source()
    clock = Clock(ps_per_insn=500, source=source)
    source.instret, source.stall_ps = 1000, 77
    assert clock.now_ps == 500_077
    clock.skip_to(2_000_000)
    assert clock.now_ps == 2_000_000
    clock.skip_to(10)
    assert clock.now_ps == 2_000_000
    source.instret = source.stall_ps = 0
    clock.set_now(2_000_000)
    assert clock.now_ps == 2_000_000
    assert clock.ticks == 2_000_000 // PS_PER_TICK
    assert source.base == (2_000_000, 500, PS_PER_TICK)


def test_events_run_in_order_of_time_and_then_of_scheduling() -> None:
    clock = Clock()
    queue = EventQueue(clock)
    ran: list[str] = []
    queue.schedule(20, lambda: ran.append("c"))
    queue.schedule(10, lambda: ran.append("a"))
    queue.schedule(10, lambda: ran.append("b"))
    queue.schedule(30, lambda: ran.append("d"))
    clock.skip_to(20)
    assert queue.run_due() == 3
    assert ran == ["a", "b", "c"]
    assert queue.next_ps() == 30


def test_cancelled_events_never_run() -> None:
    clock = Clock()
    queue = EventQueue(clock)
    ran: list[str] = []
    queue.schedule(10, lambda: ran.append("a")).cancel()
    clock.skip_to(100)
    assert queue.run_due() == 0
    assert queue.next_ps() is None
    assert not ran


def test_an_earlier_event_is_announced_and_timers_are_no_work() -> None:
    queue = EventQueue(Clock())
    announced: list[int] = []
    queue.on_earlier = lambda: announced.append(1)
    queue.schedule(50, lambda: None, timer=True)
    queue.schedule(60, lambda: None, timer=True)
    assert not queue.work_pending()
    queue.schedule(40, lambda: None)
    assert len(announced) == 2
    assert queue.work_pending()


def test_times_are_numbers_with_a_unit() -> None:
    assert [parse_time(t) for t in ("3ms", "1.5us", "0ns", "2s")] == [
        3 * 10**9,
        1_500_000,
        0,
        2 * 10**12,
    ]
    for text in ("3", "ms", "-1ms", "1.ms", "3 ms", "1e3ms", "3min"):
        with pytest.raises(ValueError, match="is not a time; write a number and ns, us, ms or s"):
            parse_time(text)
