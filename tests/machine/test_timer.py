"""mtimecmp, written by a busy guest: emitted code, which does most of it itself, does what the
CLINT does, to the instruction."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.machine import Machine
from toolchain.asm import assemble
from toolchain.link import link

Make = Callable[..., Machine]

PROGRAM = """
        .equ    CLINT, 0x2000000
        .equ    FINISHER, 0x100000
        .text
        .globl  _start
_start: la      t0, handler
        csrw    mtvec, t0
        li      t0, 128
        csrw    mie, t0
        li      s0, CLINT + 0x4000
        li      s1, CLINT + 0xbff8
        li      s2, ROUNDS
        li      s4, -1
        csrsi   mstatus, 8
again:  ld      a0, 0(s1)
        sd      zero, 0(s0)             # it is time already
        addi    a1, a0, 3
        sd      a1, 0(s0)               # soon
        mv      a2, s2
        andi    a2, a2, 63
1:      addi    a2, a2, -1
        bgtz    a2, 1b
        addi    a1, a0, 90
        sd      a1, 0(s0)               # put off
        csrci   mstatus, 8
        sd      zero, 0(s0)             # pending, and taken back
        csrr    a3, mip
        add     s5, s5, a3
        sd      s4, 0(s0)
        csrr    a3, mip
        add     s5, s5, a3
        addi    a1, a0, 5
        sw      a1, 0(s0)               # by halves
        sw      zero, 4(s0)
        andi    a2, s2, 7
        bnez    a2, 2f
        wfi
2:      csrsi   mstatus, 8
        addi    s2, s2, -1
        bnez    s2, again
        li      t0, FINISHER
        li      t1, 0x5555
        sw      t1, 0(t0)
3:      j       3b

        .balign 4
handler:
        rdtime  t0
        csrr    t1, mepc
        xor     s6, s6, t1
        add     s6, s6, t0
        slli    t1, s6, 1
        add     s6, s6, t1
        addi    s7, s7, 1
        sd      s4, 0(s0)
        mret
"""
ROUNDS = 60


def image(rounds: int) -> bytes:
    """The program with so many rounds."""
    text = f"        .equ ROUNDS, {rounds}\n{PROGRAM}"
    return link([assemble(text, "timer.s")], names=["timer.s"])


def ended(make_machine: Make, **options: object) -> Machine:
    """A machine after the program."""
    machine = make_machine(image(ROUNDS), **options)
    assert machine.run(1_000_000).code == 0
    return machine


@pytest.mark.parametrize("harts", [1, 3])
def test_both_engines_take_each_timer_interrupt_at_the_same_instruction(
    make_machine: Make, harts: int
) -> None:
    native, reference = (
        ended(make_machine, engine=e, harts=harts) for e in ("native", "reference")
    )
    assert reference.hart.state.x[23] > 2 * ROUNDS
    assert native.hart.state.x.tolist() == reference.hart.state.x.tolist()
    assert native.clock.now_ps == reference.clock.now_ps
    assert native.snapshot().devices["clint"] == reference.snapshot().devices["clint"]
    assert native.bus.accesses == reference.bus.accesses


def test_emitted_code_stores_to_mtimecmp_by_itself(make_machine: Make) -> None:
    machine = make_machine(image(1), engine="native")
    written = []
    machine.platform.clint.write = lambda *access: written.append(access)  # type: ignore[method-assign]
    machine.run(1000)
    assert (0x4000, 8, 0) not in written
    assert (0x4000, 8, (1 << 64) - 1) not in written
