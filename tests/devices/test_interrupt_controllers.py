"""CLINT and PLIC against their specifications."""

from __future__ import annotations

from emu.clock import PS_PER_TICK
from emu.devices.clint import Clint
from emu.devices.line import Line
from emu.devices.plic import Plic

PRIORITY, PENDING, ENABLE_M, ENABLE_S = 0, 0x1000, 0x2000, 0x2080
THRESHOLD_M, CLAIM_M, CLAIM_S = 0x200000, 0x200004, 0x201004


def make_plic() -> tuple[Plic, Line, Line]:
    m, s = Line(), Line()
    return Plic([m, s]), m, s


def enable(plic: Plic, source: int, priority: int, base: int = ENABLE_M) -> None:
    plic.write(PRIORITY + 4 * source, 4, priority)
    at = base + source // 32 * 4
    plic.write(at, 4, plic.read(at, 4) | 1 << source % 32)


def test_a_source_interrupts_the_contexts_that_enable_it() -> None:
    plic, m, s = make_plic()
    enable(plic, 33, 1, ENABLE_S)
    plic.sources[33].set(True)
    assert (m.level, s.level) == (False, True)
    assert plic.read(PENDING + 4, 4) == 2


def test_claims_come_by_priority_and_then_by_number() -> None:
    plic, m, _ = make_plic()
    for source, priority in ((5, 1), (9, 3), (7, 3)):
        enable(plic, source, priority)
        plic.sources[source].set(True)
    assert [plic.read(CLAIM_M, 4) for _ in range(4)] == [7, 9, 5, 0]
    assert not m.level


def test_a_level_still_high_at_completion_is_pending_again() -> None:
    plic, m, _ = make_plic()
    enable(plic, 10, 1)
    plic.sources[10].set(True)
    assert plic.read(CLAIM_M, 4) == 10
    assert not m.level
    plic.write(CLAIM_M, 4, 10)
    assert m.level
    assert plic.read(CLAIM_M, 4) == 10
    plic.sources[10].set(False)
    plic.write(CLAIM_M, 4, 10)
    assert not m.level


def test_the_gateway_holds_requests_back_until_completion() -> None:
    plic, _, _ = make_plic()
    enable(plic, 10, 1)
    plic.sources[10].set(True)
    plic.read(CLAIM_M, 4)
    plic.sources[10].set(False)
    plic.sources[10].set(True)
    assert plic.read(CLAIM_M, 4) == 0
    plic.write(CLAIM_M, 4, 10)
    assert plic.read(CLAIM_M, 4) == 10


def test_the_threshold_masks_interrupts_but_not_claims() -> None:
    plic, m, _ = make_plic()
    enable(plic, 3, 2)
    plic.write(THRESHOLD_M, 4, 2)
    plic.sources[3].set(True)
    assert not m.level
    assert plic.read(CLAIM_M, 4) == 3


def test_a_source_claimed_by_one_context_is_gone_for_the_other() -> None:
    plic, m, s = make_plic()
    enable(plic, 4, 1)
    enable(plic, 4, 1, ENABLE_S)
    plic.sources[4].set(True)
    assert (m.level, s.level) == (True, True)
    assert plic.read(CLAIM_S, 4) == 4
    assert (m.level, s.level) == (False, False)
    plic.write(CLAIM_M, 4, 5)  # completing what is not in service does nothing
    assert plic.read(CLAIM_M, 4) == 0


def test_source_0_and_unknown_sources_do_not_exist() -> None:
    plic, _, _ = make_plic()
    plic.write(PRIORITY, 4, 7)
    plic.write(ENABLE_M, 4, 0xFFFF_FFFF)
    plic.write(ENABLE_M + 12, 4, 0xFFFF_FFFF)
    assert plic.read(PRIORITY, 4) == 0
    assert plic.read(ENABLE_M, 4) == 0xFFFF_FFFE
    assert plic.read(ENABLE_M + 12, 4) == 1  # source 96 is the last
    plic.write(CLAIM_M, 4, 0xFFFF_FFFF)


def test_the_timer_is_pending_while_mtime_has_reached_mtimecmp(bench) -> None:
    software, timer = Line(), Line()
    clint = Clint(bench.bus, bench.events, [software], [timer])
    clint.write(0x4000, 8, 100)
    bench.pass_time(99 * PS_PER_TICK)
    assert not timer.level
    bench.pass_time(PS_PER_TICK)
    assert timer.level
    assert clint.read(0xBFF8, 8) == 100
    clint.write(0x4000, 4, 200)  # by halves, as 32-bit drivers do
    clint.write(0x4004, 4, 0)
    assert not timer.level
    clint.write(0x4000, 8, 50)
    assert timer.level
    clint.reset()
    assert not timer.level


def test_a_postponed_alarm_does_not_go_off(bench) -> None:
    timer = Line()
    clint = Clint(bench.bus, bench.events, [Line()], [timer])
    clint.write(0x4000, 8, 100)
    clint.write(0x4000, 8, 300)
    bench.pass_time(200 * PS_PER_TICK)
    assert not timer.level


def test_msip_is_the_software_interrupt(bench) -> None:
    software = Line()
    clint = Clint(bench.bus, bench.events, [software], [Line()])
    clint.write(0, 4, 0xFFFF_FFFF)
    assert software.level
    assert clint.read(0, 4) == 1
    clint.write(0, 4, 0)
    assert not software.level
