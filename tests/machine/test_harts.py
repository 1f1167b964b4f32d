"""Several harts: atomics between them, interrupts from one to another, time, turns, snapshots.

The programs start on every hart at `_start` and leave what they found in memory from `RESULTS` on.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine
from emu.errors import AiosError
from emu.harts import TURN
from emu.machine import CODE_LIMIT, CODE_STUCK, Machine
from emu.trace import Trace
from toolchain.asm import assemble
from toolchain.link import link

Make = Callable[..., Machine]
RESULTS = 0x8001_0000
CONSTANTS = f"""
        .equ    RESULTS, {RESULTS:#x}
        .equ    CLINT, 0x2000000
        .equ    FINISHER, 0x100000
        .text
        .globl  _start
_start:
        csrr    s0, mhartid
        li      s2, RESULTS
"""
END = """
finish: csrw    mie, zero
        li      t0, FINISHER            # the last hart to come here ends the run
        addi    t1, s2, 2040
        li      t2, 1
        amoadd.d t2, t2, (t1)
        addi    t2, t2, 1
        li      t1, HARTS
        bne     t1, t2, 1f
        li      t1, 0x5555
        sw      t1, 0(t0)
1:      wfi
        j       1b
"""


def program(text: str, **constants: int) -> bytes:
    """An image of `text` between `CONSTANTS` and `END`."""
    given = "".join(f"        .equ {name}, {value}\n" for name, value in constants.items())
    return link([assemble(given + CONSTANTS + text + END, "harts.s")], names=["harts.s"])


def results(machine: Machine, count: int = 8) -> list[int]:
    """The doublewords at `RESULTS`."""
    return [machine.memory.read(RESULTS + 8 * i, 8) for i in range(count)]


CONTENTION = """
        li      s1, ROUNDS
again:  li      a1, 1
        amoadd.d zero, a1, (s2)         # 0: counted by AMOs
        addi    a0, s2, 8
1:      lr.d    a1, (a0)                # 1: counted by LR and SC
        addi    a1, a1, 1
        sc.d    a2, a1, (a0)
        bnez    a2, 1b
        addi    a0, s2, 16
        li      a1, 1
1:      amoswap.d.aq a2, a1, (a0)       # 2: a lock
        bnez    a2, 1b
        ld      a1, 24(s2)              # 3: counted under the lock
        addi    a1, a1, 1
        sd      a1, 24(s2)
        rdtime  a1
        ld      a2, 32(s2)              # 4: the last time that anybody read
        sd      a1, 32(s2)
        bgeu    a1, a2, 1f
        sd      a1, 40(s2)              # 5: time went back
1:      amoswap.d.rl zero, zero, (a0)
        addi    s1, s1, -1
        bnez    s1, again
"""


@pytest.mark.parametrize(("harts", "rounds"), [(1, 3000), (2, 3000), (8, 2500)])
def test_harts_count_together_without_a_loss(make_machine: Make, harts: int, rounds: int) -> None:
    """By AMOs, by LR and SC, under a spinlock; and time never goes back between harts."""
    kernel = program(CONTENTION, HARTS=harts, ROUNDS=rounds)
    machine = make_machine(kernel, harts=harts, engine="native")
    assert machine.run(50_000_000).code == 0
    total = harts * rounds
    assert results(machine, 4) == [total, total, 0, total]
    assert results(machine)[5] == 0


def test_runs_repeat_on_every_engine_and_however_they_are_cut(
    make_machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`translated` executes all that it can in translations."""
    kernel = program(CONTENTION, HARTS=3, ROUNDS=900)
    seen = set()
    runs = (("native", None), ("native", 7919), ("reference", None), ("translated", None))
    for engine, step in runs:
        if engine == "translated":
            engine = "native"
            monkeypatch.setattr("emu.cpu.native.NativeEngine", _translated)
        machine = make_machine(kernel, harts=3, engine=engine)
        while (status := machine.run(step)).code == CODE_LIMIT and step:
            pass
        assert status.code == 0
        counts = tuple(hart.instret for hart in machine.harts)
        seen.add((machine.clock.now_ps, counts, tuple(results(machine))))
    assert len(seen) == 1


def _translated(hart: Hart) -> NativeEngine:
    return NativeEngine(hart, translate="eager")


PING_PONG = """
        la      t0, woken
        csrw    mtvec, t0
        csrwi   mie, 8                  # MSIE
        li      s3, CLINT
        slli    s4, s0, 2
        add     s4, s4, s3              # our msip
        addi    s5, s0, 1
        li      t0, HARTS
        bne     s5, t0, 1f
        li      s5, 0
1:      slli    s5, s5, 2
        add     s5, s5, s3              # the next hart's
        li      s1, ROUNDS
        bnez    s0, wait
        li      t0, 1
        sw      t0, 0(s4)               # hart 0 begins by waking itself
wait:   wfi
        lw      t0, 0(s4)
        beqz    t0, wait
        sw      zero, 0(s4)
        slli    t0, s0, 3
        add     t0, t0, s2
        ld      t1, 0(t0)
        addi    t1, t1, 1
        sd      t1, 0(t0)
        li      t1, 1
        sw      t1, 0(s5)
        addi    s1, s1, -1
        bnez    s1, wait
        j       finish
        .balign 4
woken:  j       woken                   # interrupts stay masked: they only end the wait
"""


def test_a_software_interrupt_goes_round(make_machine: Make) -> None:
    out = io.StringIO()
    kernel = program(PING_PONG, HARTS=4, ROUNDS=50)
    machine = make_machine(kernel, harts=4, trace=Trace(out))
    assert machine.run(1_000_000).code == 0
    assert results(machine, 4) == [50, 50, 50, 50]
    assert '"hart": 3, "line": "msip", "level": 1' in out.getvalue()
    assert '"kind": "write", "hart": 2, "dev": "clint"' in out.getvalue()


def test_snapshots_hold_all_harts_and_whose_turn_it_is(make_machine: Make) -> None:
    machine = make_machine(program(CONTENTION, HARTS=3, ROUNDS=2000), harts=3, engine="native")
    machine.run(3 * TURN + 1234)
    before = machine.snapshot()
    ends = []
    for _ in range(2):
        assert machine.run().code == 0
        counts = [hart.instret for hart in machine.harts]
        ends.append((machine.clock.now_ps, counts, results(machine)))
        machine.restore(before)
    assert ends[0] == ends[1]


WORK = """
        li      t0, WORKING
        bgeu    s0, t0, sleep
        li      s1, 1000000
1:      addi    s1, s1, -1
        bnez    s1, 1b
        j       finish
sleep:  wfi
        j       sleep
"""


def work(make_machine: Make, harts: int, working: int) -> Machine:
    kernel = program(WORK, HARTS=working, WORKING=working)
    machine = make_machine(kernel, harts=harts, engine="native")
    assert machine.run().code == 0
    return machine


def test_harts_work_side_by_side(make_machine: Make) -> None:
    """Four times the work in the time of one; nobody is ahead by more than turns."""
    alone, together = work(make_machine, 1, 1), work(make_machine, 4, 4)
    assert together.clock.now_ps == pytest.approx(alone.clock.now_ps, rel=0.02)
    counts = [hart.instret for hart in together.harts]
    assert max(counts) - min(counts) <= 2 * TURN


def test_harts_that_sleep_cost_nothing(make_machine: Make) -> None:
    machine = work(make_machine, 8, 1)
    assert all(hart.instret < 20 for hart in machine.harts[1:])
    alone = work(make_machine, 1, 1)
    first_turn_ps = TURN * alone.clock.ps_per_insn  # which it shared with those about to sleep
    assert 0 <= alone.clock.now_ps - machine.clock.now_ps < first_turn_ps


def test_when_all_sleep_for_ever_the_run_ends(make_machine: Make) -> None:
    machine = make_machine(program("", HARTS=9), harts=8)
    assert machine.run().code == CODE_STUCK


TIMERS = """
        csrwi   mie, 0
        li      t0, 128                 # MTIE
        csrw    mie, t0
        li      t0, CLINT + 0x4000
        slli    t1, s0, 3
        add     t0, t0, t1
        addi    t1, s0, 1
        li      t2, 1000
        mul     t1, t1, t2
        sd      t1, 0(t0)               # in 100 us times the number of the hart and one
1:      wfi
        csrr    t2, mip
        andi    t2, t2, 128
        beqz    t2, 1b
        rdtime  t2
        slli    t1, s0, 3
        add     t1, t1, s2
        sd      t2, 0(t1)
"""


def test_every_hart_has_its_own_timer(make_machine: Make) -> None:
    machine = make_machine(program(TIMERS, HARTS=4), harts=4)
    assert machine.run(1_000_000).code == 0
    assert results(machine, 4) == [1000, 2000, 3000, 4000]


STALLS = """
        bnez    s0, 1f
        la      t0, handler
        csrw    mtvec, t0
        .balign 4
handler:
        ecall                           # hart 0 does nothing but trap, which costs it time
1:      j       1b
"""


def test_a_hart_that_stalls_gives_the_others_their_share(make_machine: Make) -> None:
    machine = make_machine(program(STALLS, HARTS=2), harts=2, engine="native")
    machine.hart.state.trap_ps = trap_ps = 30 * TURN * machine.clock.ps_per_insn
    machine.run(200 * TURN)
    stalled, other = machine.harts
    per = machine.clock.ps_per_insn
    assert stalled.stall_ps >= 5 * trap_ps
    assert abs(stalled.stall_ps - other.instret * per) <= trap_ps + 2 * TURN * per
    assert machine.clock.now_ps == pytest.approx(
        (stalled.stall_ps + other.instret * per) / 2, rel=1e-3
    )


def test_a_reset_starts_every_hart_again(make_machine: Make) -> None:
    machine = make_machine(program(CONTENTION, HARTS=3, ROUNDS=2000), harts=3, engine="native")
    machine.run(50_000)
    machine.reset()
    assert [hart.instret for hart in machine.harts] == [0, 0, 0]
    machine.memory.zero(RESULTS, 4096)
    assert machine.run().code == 0
    assert results(machine, 1) == [6000]


def test_more_harts_than_possible_is_a_sentence(make_machine: Make) -> None:
    with pytest.raises(AiosError, match=r"cpu.harts = 9, but the most that are possible are 8\."):
        make_machine(program("", HARTS=1), harts=9)


PENDING = """
        csrwi   mie, 8                  # MSIE
        bnez    s0, spin
        li      t0, CLINT
        li      t1, 1
        li      s1, 1
1:      slli    t2, s1, 2
        add     t2, t2, t0
        sw      t1, 0(t2)               # the others have something pending
        addi    s1, s1, 1
        li      t2, HARTS
        bltu    s1, t2, 1b
        li      s1, 300000
1:      addi    s1, s1, -1
        bnez    s1, 1b
        sd      t1, 8(s2)               # the word that they wait for
        j       finish
spin:   wfi
        ld      t0, 8(s2)
        beqz    t0, spin
        j       finish
"""


def test_harts_that_loop_over_wfi_execute_little(make_machine: Make) -> None:
    """With an interrupt pending that is masked, WFI does not wait, but it takes a while."""
    kernel = program(PENDING, HARTS=4)
    seen = set()
    for engine in ("native", "reference"):
        machine = make_machine(kernel, harts=4, engine=engine)
        assert machine.run(2_000_000).code == 0
        seen.add((machine.clock.now_ps, tuple(hart.instret for hart in machine.harts)))
    assert len(seen) == 1
    assert all(hart.instret < 10_000 for hart in machine.harts[1:])


WAIT = """
        li      s3, CLINT + 0xbff8
        li      s4, TICKS
        ld      s5, 0(s3)
1:      ld      t0, 0(s3)
        sub     t0, t0, s5
        bltu    t0, s4, 1b
        sd      t0, 0(s2)
        j       finish
"""


@pytest.mark.parametrize("ticks", [1, 20, 1_000, 1_000_000])
def test_a_wait_by_mtime_takes_few_reads_and_is_hardly_longer(
    make_machine: Make, ticks: int
) -> None:
    machine = make_machine(program(WAIT, HARTS=1, TICKS=ticks), engine="native")
    assert machine.run(1_000_000).code == 0
    assert ticks <= results(machine)[0] <= ticks + max(2, min(200, ticks // 8))
    assert machine.bus.accesses < 20  # a guest that only looks at the time is idle
    assert machine.hart.instret < 30_000
