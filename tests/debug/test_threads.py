"""Several harts under the debugger: which there are, whose breakpoint it is, stepping one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.debug.conftest import Debugger
from toolchain.asm import assemble
from toolchain.link import link

PROGRAM = """
        .text
        .globl  _start, work, rest
_start:
        csrr    s0, mhartid
        addi    s1, s0, 100
        li      t0, 2
        beq     s0, t0, rest
again:  li      t1, 100000
1:      addi    t1, t1, -1              # a turn ends within
        bnez    t1, 1b
work:
        addi    s1, s1, 10
        addi    s1, s1, 20
        j       again
rest:
        wfi
        j       rest
"""


@pytest.fixture
def debugger(open_debugger: Callable[..., Debugger], tmp_path: Path) -> Debugger:
    """Three harts, of which one sleeps, at the first instruction of hart 0."""
    source, image = tmp_path / "harts.s", tmp_path / "harts.elf"
    source.write_text(PROGRAM)
    image.write_bytes(link([assemble(PROGRAM, str(source))], names=["harts.s"]))
    return open_debugger(image, harts=3)


def test_threads_are_listed_and_selected(debugger: Debugger) -> None:
    debugger.do("stepi")
    lines = debugger.do("info threads").splitlines()
    assert [line[:8] for line in lines] == ["* hart 0", "  hart 1", "  hart 2"]
    assert "_start+4" in lines[0]
    assert debugger.do("thread 1").startswith("hart 1  ")
    assert debugger.do("info threads").splitlines()[1].startswith("* hart 1")
    assert debugger.do("thread 3") == "There is no hart 3; the last one is 2.\n"


def test_a_breakpoint_selects_the_hart_that_comes_to_it(debugger: Debugger) -> None:
    debugger.do("break work")
    harts = []
    for _ in range(4):
        text = debugger.do("continue")
        assert "Breakpoint 1" in text
        harts.append(debugger.session.hart.hartid)
        assert debugger.do("print $s0") == f"{harts[-1]}\n"
    assert set(harts) == {0, 1}
    threads = debugger.do("info threads")
    assert "hart 2  asleep at" in threads


def test_stepping_is_of_the_selected_hart(debugger: Debugger) -> None:
    debugger.do("tbreak work", "continue", "delete", "thread 1", "until work")
    assert debugger.session.hart.hartid == 1
    before = debugger.session.hart.instret
    debugger.do("stepi 2")
    assert debugger.session.hart.hartid == 1
    assert debugger.session.hart.instret == before + 2
    assert debugger.do("print $s1") == f"{101 + 30}\n"


def test_another_harts_breakpoint_ends_a_step(debugger: Debugger) -> None:
    debugger.do("break again", "thread 2")
    text = debugger.do("stepi")
    assert "Breakpoint 1, hart 0." in text
    assert debugger.session.hart.hartid == 0
