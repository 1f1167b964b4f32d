"""Code that changes: what is executed after a fence, on both engines.

A function on a page of its own is called again and again; in between it is stored to.
"""

from __future__ import annotations

import pytest

from emu import board
from emu.console import MemoryConsole
from emu.machine import ENGINES, Machine
from toolchain.asm import assemble
from toolchain.link import link

FUNCTION, OTHER, RESULTS = 0x8001_0000, 0x8001_0100, 0x8002_0000
ONE, TWO = 0x0010_0513, 0x0020_0513  # li a0, 1 and li a0, 2
RETURN = 0x8067

START = f"""
        .text
        .globl  _start
_start: li      s0, {FUNCTION}
        li      s1, {OTHER}
        li      s2, {RESULTS}
        li      s3, {ONE}
        li      s4, {TWO}
        li      t0, {RETURN}
        sw      t0, 4(s0)
        sw      t0, 4(s1)
        sw      s3, (s0)
        sw      s3, (s1)
"""
END = """
        li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
1:      j       1b
"""
CALL = """
        jalr    (FUNCTION)
        sd      a0, (s2)
        addi    s2, s2, 8
"""


def call(register: str) -> str:
    """Call what `register` points to and keep what it gives."""
    return CALL.replace("(FUNCTION)", register)


def given(engine: str, text: str, count: int) -> list[int]:
    """The first answers of the calls in `text`."""
    edge = board.load("edge")
    image = link([assemble(START + text + END, "changes.s")], names=["changes.s"])
    with Machine(edge, kernel=image, console=MemoryConsole(), engine=engine) as machine:
        assert machine.run(10_000).code == 0
        return [machine.memory.read(RESULTS + 8 * i, 8) for i in range(count)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fence", ["fence.i", "sfence.vma"])
def test_a_function_stored_to_is_another_after_a_fence(engine: str, fence: str) -> None:
    """SFENCE.VMA need not do that; kernels without FENCE.I live on it."""
    text = call("s0") + "sw s4, (s0)\n" + fence + call("s0")
    assert given(engine, text, 2) == [1, 2]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_decoded_in_between_is_forgotten_too(engine: str) -> None:
    """The second function is stored to, executed for the first time, and stored to again: the page
    is then what it was when its first record was decoded."""
    text = call("s0") + "sw s4, (s1)\n" + call("s1") + "sw s3, (s1)\nfence.i\n" + call("s1")
    assert given(engine, text, 3) == [1, 2, 1]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_page_that_has_not_changed_goes_on(engine: str) -> None:
    text = call("s0") + "fence.i\n" + call("s0") + "fence.i\n" + call("s1")
    assert given(engine, text, 3) == [1, 1, 1]
