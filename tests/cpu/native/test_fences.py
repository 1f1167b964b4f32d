"""FENCE.I and SFENCE.VMA of emitted code: what is kept is what has not changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.cpu.native.engine import NativeEngine
from emu.isa.assemble import assemble_line
from tests.cpu.machines import BASE, HANDLER
from tests.cpu.test_mmu import LEAF, PAGE, VIRTUAL, A, D, R, V, W, entry
from tests.cpu.test_runs import Counting, paged


@pytest.fixture
def board() -> Counting:
    """A board on which `board.python` also counts pages of code that Python enters."""
    board = Counting()
    engine = board.engine
    assert isinstance(engine, NativeEngine)
    enter: Callable[[int], bool] = engine._enter_page

    def counting(vaddr: int) -> bool:
        board.python += 1
        return enter(vaddr)

    engine._enter_page = counting  # type: ignore[method-assign]
    return board


def code(line: str) -> int:
    return int.from_bytes(assemble_line(line), "little")


def test_code_that_is_what_it_was_is_not_decoded_again(board: Counting) -> None:
    board.program(f"addi t0, t0, 1; fence.i; jal x0, {BASE}")
    board.engine.run(10)
    before = board.python
    board.engine.run(300)
    assert board.python == before
    assert board.x("t0") == 104


def test_code_that_has_changed_is_decoded_again(board: Counting) -> None:
    board.set(a0=BASE, a1=code("addi t0, t0, 2"))
    board.program(f"addi t0, t0, 1; sw a1, 0(a0); fence.i; jal x0, {BASE}")
    board.engine.run(8)
    assert board.x("t0") == 1 + 2


def test_code_that_was_another_for_a_while_is_what_it_is(board: Counting) -> None:
    """The second instruction is first decoded when it is not what it was before and will be."""
    board.set(a0=BASE + 12, a1=code("addi t0, t0, 2"), a2=code("addi t0, t0, 1"))
    board.program(
        f"jal x0, {BASE + 8}; nop; sw a1, 0(a0); addi t0, t0, 1; sw a2, 0(a0); fence.i;"
        f"jal x0, {BASE + 12}"
    )
    board.engine.run(6)
    assert board.x("t0") == 2
    board.engine.run(1)
    assert board.x("t0") == 3


def test_the_fence_of_one_page_forgets_that_one(board: Counting) -> None:
    pages = {i: PAGE + i * 0x1000 for i in range(3)}
    paged(board, pages)
    for i in pages:
        board.word(pages[i], i)
        board.go("ld t0, 0(a0); sd t0, 8(a0)", a0=VIRTUAL + 0x1000 * i)
    board.word(LEAF + 8, entry(PAGE + 0x2000, V | R | W | A | D))
    board.word(LEAF + 16, 0)  # not fenced: the hart may go on as before
    contexts = board.hart.state.data_context
    board.go("sfence.vma a0, x0; ld t0, 0(a0)", a0=VIRTUAL + 0x1000)
    assert (board.x("t0"), board["mcause"]) == (2, 0)
    assert board.hart.state.data_context == contexts
    board.go("sfence.vma a0, x0; ld t0, 0(a0)", a0=VIRTUAL + 0x2000)
    assert (board["mcause"], board["mtval"]) == (13, VIRTUAL + 0x2000)


def test_the_fence_of_a_page_in_a_large_one_forgets_all_of_that(board: Counting) -> None:
    paged(board, {})
    at = VIRTUAL + (2 << 20)
    board.go("ld t0, 0(a0); sd t0, 0(a1)", a0=at, a1=at + 0x5000)
    board.word(LEAF - 0x1000 + 8, 0)
    board.go("sfence.vma a0, x0; ld t0, 0(a1)", a0=at + 0x9000, a1=at + 0x5000)
    assert (board["mcause"], board["mtval"]) == (13, at + 0x5000)
    assert board.hart.state.pc == HANDLER
