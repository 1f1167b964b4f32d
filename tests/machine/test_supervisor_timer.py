"""Sstc: supervisor mode's own timer, by stimecmp (the extension's specification, chapters 1 to 3).

Machine mode gives it away; supervisor mode sleeps until its alarm, puts alarms off and takes them
back, on both engines and across a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.isa.causes import Cause
from emu.machine import CODE_LIMIT, ENGINES, Machine
from toolchain.asm import assemble
from toolchain.link import link

Make = Callable[..., Machine]
RESULTS = 0x8001_0000

START = f"""
        .equ    STI, 32
        .text
        .globl  _start
_start: li      s2, {RESULTS}
        la      t0, machine_trap
        csrw    mtvec, t0
        la      t0, supervisor_trap
        csrw    stvec, t0
        li      t0, -1
        csrw    pmpaddr0, t0
        li      t0, 31
        csrw    pmpcfg0, t0
        li      t0, STI
        csrw    mideleg, t0
        csrw    mip, t0                 # software's, until stimecmp takes the bit over
        li      t0, GIVEN               # whether menvcfg.STCE
        slli    t0, t0, 63
        csrw    menvcfg, t0
        li      t0, COUNTERS
        csrw    mcounteren, t0
        csrr    a0, mip
        sd      a0, 0(s2)
        li      t0, 1 << 11
        csrw    mstatus, t0
        la      t0, supervisor
        csrw    mepc, t0
        mret
machine_trap:
        csrr    a0, mcause
        sd      a0, 8(s2)
finish: li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
1:      j       1b
        .balign 4
supervisor_trap:
        csrr    a0, scause
        sd      a0, 16(s2)
        csrr    a1, time
        sub     a1, a1, s3
        sd      a1, 24(s2)              # how long it was
        li      t0, -1
        csrw    stimecmp, t0
        csrr    a0, sip
        sd      a0, 32(s2)              # taken back
        addi    s4, s4, 1
        sret
supervisor:
        li      s4, 0
        csrr    s3, time
        li      t0, -1
        csrw    stimecmp, t0
        csrr    a0, sip
        sd      a0, 40(s2)
        li      t0, STI
        csrw    sie, t0
        csrsi   sstatus, 2
        addi    t0, s3, 400
        csrw    stimecmp, t0
        addi    t0, s3, 1000
        csrw    stimecmp, t0            # put off
1:      wfi
        beqz    s4, 1b
        sd      s4, 48(s2)
        csrci   sstatus, 2
        csrw    stimecmp, zero
        csrr    a0, sip
        sd      a0, 56(s2)              # pending at once
        ecall
"""


def image(given: int = 1, counters: int = 2) -> bytes:
    """The program, with these rights."""
    constants = f"        .equ GIVEN, {given}\n        .equ COUNTERS, {counters}\n"
    return link([assemble(constants + START, "timer.s")], names=["timer.s"])


def results(machine: Machine) -> list[int]:
    """The doublewords at `RESULTS`."""
    return [machine.memory.read(RESULTS + 8 * i, 8) for i in range(8)]


@pytest.mark.parametrize("engine", ENGINES)
def test_supervisor_mode_sleeps_until_stimecmp(make_machine: Make, engine: str) -> None:
    machine = make_machine(image(), engine=engine)
    assert machine.run(10_000).code == 0
    pending, cause, interrupt, waited, after, before, count, at_once = results(machine)
    assert (cause, interrupt, count) == (Cause.ECALL_S, 1 << 63 | 5, 1)
    assert 1000 <= waited <= 1003
    assert (after, before) == (0, 0)
    assert pending == at_once == 1 << 5  # stimecmp is 0 after reset


def test_both_engines_tell_the_same_time_however_they_are_cut(make_machine: Make) -> None:
    seen = set()
    for engine, step in (("native", None), ("native", 7), ("reference", None)):
        machine = make_machine(image(), engine=engine)
        while (status := machine.run(step)).code == CODE_LIMIT and step:
            pass
        assert status.code == 0
        seen.add((machine.clock.now_ps, machine.hart.instret, *results(machine)))
    assert len(seen) == 1


@pytest.mark.parametrize("rights", [{"given": 0}, {"counters": 0}])
def test_stimecmp_is_illegal_until_machine_mode_gives_it(make_machine: Make, rights) -> None:
    machine = make_machine(image(**rights))
    assert machine.run(10_000).code == 0
    assert results(machine)[1] == Cause.ILLEGAL
    assert results(machine)[0] == 1 << 5  # software's without STCE, stimecmp's with it


def test_a_snapshot_holds_the_alarm(make_machine: Make) -> None:
    machine = make_machine(image())
    while machine.hart.state.stimecmp != (1 << 64) - 1:
        machine.run(1)
    machine.run(9)
    before = machine.snapshot()
    ends = []
    for _ in range(2):
        assert machine.run(10_000).code == 0
        ends.append((machine.clock.now_ps, results(machine)))
        machine.restore(before)
    assert ends[0] == ends[1]
