"""The finisher and the real-time clock."""

from __future__ import annotations

from emu.clock import PS_PER_SECOND
from emu.devices.finisher import Finisher
from emu.devices.line import Line
from emu.devices.rtc import Rtc

EPOCH_NS = 1_767_225_600 * 10**9


def test_the_finisher_ends_fails_and_resets() -> None:
    calls: list[object] = []
    finisher = Finisher(calls.append, lambda: calls.append("reset"))
    for value in (0x5555, 0x0007_3333, 0x7777, 0x1234):
        finisher.write(0, 4, value)
    assert calls == [0, 7, "reset"]
    assert finisher.read(0, 4) == 0


def read_time(rtc: Rtc) -> int:
    low = rtc.read(0, 4)
    return rtc.read(4, 4) << 32 | low


def test_the_date_is_the_epoch_plus_virtual_time(bench) -> None:
    rtc = Rtc(bench.events, Line(), EPOCH_NS)
    bench.pass_time(5 * PS_PER_SECOND)
    assert read_time(rtc) == EPOCH_NS + 5 * 10**9
    rtc.write(4, 4, 0)
    rtc.write(0, 4, 1000)
    assert read_time(rtc) == 1000


def test_the_alarm_interrupts_until_cleared(bench) -> None:
    line = Line()
    rtc = Rtc(bench.events, line, EPOCH_NS)
    rtc.write(0x10, 4, 1)
    due = EPOCH_NS + 10**9
    rtc.write(0x0C, 4, due >> 32)
    rtc.write(0x08, 4, due & 0xFFFF_FFFF)
    assert rtc.read(0x18, 4) == 1
    bench.pass_time(PS_PER_SECOND)
    assert line.level
    assert rtc.read(0x18, 4) == 0
    rtc.write(0x1C, 4, 1)
    assert not line.level


def test_a_cleared_alarm_stays_silent(bench) -> None:
    line = Line()
    rtc = Rtc(bench.events, line, 0)
    rtc.write(0x10, 4, 1)
    rtc.write(0x08, 4, 1000)
    rtc.write(0x14, 4, 1)
    bench.pass_time(PS_PER_SECOND)
    assert not line.level
