"""Several harts that share memory, wake each other and look at the time: the same instruction for
instruction, whether they translate or not."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from emu import board
from emu.console import MemoryConsole
from emu.cpu import native
from emu.machine import Machine
from tests.cpu.agreement.program import assemble
from tests.cpu.native.translate.guest import AT, split

HARTS = 3
SHARED = """
main: ; csrr x20, mhartid ; li x10, 0x80010000 ; la x5, trap ; csrw mtvec, x5
    li x12, 0x2000000 ; slli x5, x20, 2 ; add x12, x12, x5
    li x5, 0x88 ; csrw mie, x5 ; csrsi mstatus, 8 ; slli x21, x20, 3 ; add x11, x10, x21
again: ; li x18, 70
count: ; amoadd.d x6, x18, (x10) ; add x7, x7, x6 ; addi x18, x18, -1 ; bnez x18, count
    li x18, 50
retry: ; lr.d x6, (x10) ; xor x6, x6, x7 ; sc.d x8, x6, (x10) ; add x9, x9, x8 ; bnez x8, retry
    addi x18, x18, -1 ; bnez x18, retry
    li x18, 90
mix: ; ld x6, 64(x11) ; mul x6, x6, x7 ; addi x6, x6, 3 ; sd x6, 64(x11) ; ld x8, 128(x10)
    add x8, x8, x6 ; sd x8, 128(x10) ; addi x18, x18, -1 ; bnez x18, mix
    csrr x6, time ; add x13, x13, x6 ; andi x5, x7, 3 ; bnez x5, again
    li x5, 0x2000000 ; li x6, 1 ; sw x6, 0(x5) ; sw x6, 4(x5) ; sw x6, 8(x5)
    {} ; j again
.align
trap: ; sw x0, 0(x12) ; addi x14, x14, 1 ; csrr x15, mcause ; mret
"""


def _run(monkeypatch: pytest.MonkeyPatch, translate: str, wait: str) -> list[object]:
    engine = partial(native.NativeEngine, translate=translate)
    monkeypatch.setattr(native, "NativeEngine", engine)
    edge = board.load("edge")
    edge = replace(edge, cpu=replace(edge.cpu, harts=HARTS))
    code = assemble(tuple(split(SHARED.format(wait))), AT, {}, 4096)
    seen: list[object] = []
    with Machine(edge, bios=code, console=MemoryConsole()) as machine:
        for limit in (100, 60_001, 7_003, 30_000, 7):
            machine.run(max_instructions=limit)
            for hart in machine.harts:
                state = hart.state
                seen.append((list(state.x), state.pc, hart.instret, state.stall_ps, hart.waiting))
            seen.append(bytes(machine.memory.view(AT + 0x1_0000, 256)))
        if translate == "eager":
            assert all(hart.state.translated > 3_000 for hart in machine.harts)
    monkeypatch.undo()
    return seen


@pytest.mark.parametrize("wait", ["nop", "wfi"])
def test_harts_do_the_same_with_translations_and_without(
    monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    assert _run(monkeypatch, "eager", wait) == _run(monkeypatch, "off", wait)
