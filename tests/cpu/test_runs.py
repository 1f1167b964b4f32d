"""What misses in the buffers: emitted code finds it by itself, and never what it may not touch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.cpu.native.engine import NativeEngine
from emu.cpu.state import PAGE_SIZE
from emu.cpu.traps import MPP_SHIFT
from tests.cpu.machines import BASE, HANDLER, SIZE, Board
from tests.cpu.test_mmu import LEAF, MIDDLE, MPRV, PAGE, ROOT, VIRTUAL, A, D, R, V, W, entry

SUPERVISOR = MPRV | 1 << MPP_SHIFT


class Counting(Board):
    """A board with the native engine; `python` counts what that leaves to Python."""

    def __init__(self) -> None:
        super().__init__()
        engine = NativeEngine(self.hart)
        self.engine = engine  # type: ignore[assignment]
        self.python = 0
        execute: Callable[[], None] = engine._reference.execute_one

        def counting() -> None:
            self.python += 1
            execute()

        engine._reference.execute_one = counting  # type: ignore[method-assign]
        self.open_memory()
        self.program(f"jal x0, {HANDLER}", HANDLER)

    def go(self, text: str, **registers: int) -> int:
        """Execute a straight program; gives how many of its instructions went to Python."""
        self.set(**registers)
        self.program(text)
        before = self.python
        self.engine.run(len(text.split(";")))
        return self.python - before


@pytest.fixture
def board() -> Counting:
    return Counting()


def paged(board: Board, pages: dict[int, int], flags: int = V | R | W | A | D) -> None:
    """Loads and stores in supervisor mode: page i of VIRTUAL is at pages[i]; MIDDLE's second entry
    maps the first 2 MiB of RAM at VIRTUAL + 2 MiB."""
    board.word(ROOT + 8, entry(MIDDLE, V))
    board.word(MIDDLE, entry(LEAF, V))
    board.word(MIDDLE + 8, entry(BASE, V | R | W | A | D))
    for i, address in pages.items():
        board.word(LEAF + 8 * i, entry(address, flags))
    board["satp"] = 8 << 60 | ROOT >> 12
    board["mstatus"] = SUPERVISOR
    board.hart.regime_changed()


def test_memory_is_found_without_python_where_nothing_is_translated(board: Counting) -> None:
    assert board.go("ld x5, 0(a0); lb x6, 0(a1)", a0=BASE + SIZE // 2, a1=BASE + SIZE - 1) == 0
    assert board.go("sd x5, 0(a0)", a0=PAGE) == 0
    assert board.go("sd x5, 0(a0); amoadd.w x6, x5, (a1)", a0=PAGE + 0x8000, a1=PAGE) == 0
    assert board.go("ld x5, 0(a0)", a0=BASE + SIZE) == 1
    assert board["mcause"] == 5


def test_any_part_of_a_large_page_is_found(board: Counting) -> None:
    paged(board, {})
    at = VIRTUAL + (2 << 20)
    assert board.go("ld x5, 0(a0); ld x5, 0(a1)", a0=at, a1=at + (2 << 20) - 8) == 0


def test_small_pages_are_found(board: Counting) -> None:
    paged(board, {i: PAGE + 2 * i * PAGE_SIZE for i in range(40)})
    for i in range(40):
        at = VIRTUAL + i * PAGE_SIZE
        assert board.go("ld x5, 0(a0); sd x5, 0(a0)", a0=at) == 0


def test_a_fence_forgets_runs(board: Counting) -> None:
    paged(board, {})
    at = VIRTUAL + (2 << 20)
    board.go("ld x5, 0(a0); ld x5, 0(a1)", a0=at, a1=at + 0x1000)
    board.word(MIDDLE + 8, 0)
    board.go("sfence.vma x0, x0; ld x5, 0(a0)", a0=at + 0x2000)
    assert (board["mcause"], board["mtval"]) == (13, at + 0x2000)


def test_a_page_that_may_be_read_may_not_be_written(board: Counting) -> None:
    paged(board, {0: PAGE, 1: PAGE + PAGE_SIZE}, V | R | A)
    board.go("ld x5, 0(a0); ld x5, 0(a1); sd x5, 0(a1)", a0=VIRTUAL, a1=VIRTUAL + PAGE_SIZE)
    assert (board["mcause"], board["mtval"]) == (15, VIRTUAL + PAGE_SIZE)


def test_an_access_across_two_pages_of_a_run_is_done(board: Counting) -> None:
    board.word(PAGE + PAGE_SIZE - 4, 0x1234_5678_9ABC_DEF0)
    board.go("ld x5, 0(a0); ld x6, 0(a1)", a0=PAGE, a1=PAGE + PAGE_SIZE - 4)
    board.go("ld x5, 0(a0); ld x6, 0(a1)", a0=PAGE, a1=PAGE + PAGE_SIZE - 4)
    assert board.x("t1") == 0x1234_5678_9ABC_DEF0


def test_what_protection_allows_ends_where_it_says(board: Counting) -> None:
    board["pmpcfg0"] = 0
    board["pmpaddr0"], board["pmpaddr1"] = (PAGE + 0x1800) >> 2, (1 << 54) - 1
    board["pmpcfg0"] = 0x18_0F  # read, write, execute up to there; nothing behind
    paged(board, {i: PAGE + i * PAGE_SIZE for i in range(3)})
    board.go("ld x5, 0(a0)", a0=VIRTUAL)
    assert board.go("ld x5, 0(a0)", a0=VIRTUAL + 0x1000) == 1
    assert board["mcause"] == 0
    board.go("ld x5, 0(a0)", a0=VIRTUAL + 0x1800)
    assert board["mcause"] == 5


def test_a_large_page_that_ends_with_the_last_address_can_be_kept_and_forgotten(
    board: Counting,
) -> None:
    """As kernels have theirs: the first address behind it does not exist."""
    top = (1 << 64) - (2 << 20)
    paged(board, {})
    board.word(ROOT + 8 * 511, entry(MIDDLE, V))
    board.word(MIDDLE + 8 * 511, entry(BASE, V | R | W | A | D))
    board.go("ld a1, 0(a0); sd a1, 0(a0)", a0=top + PAGE - BASE)
    board.hart.runs.enter(top, top, "store")
    assert board.hart.runs.around(top, "store") is not None
    board["mcause"] = 0
    board.word(MIDDLE + 8 * 511, 0)
    board.go("sfence.vma a0, x0; ld a1, 0(a0)", a0=top + PAGE - BASE)
    assert board["mcause"] == 13


def test_page_faults_are_taken_without_python(board: Counting) -> None:
    paged(board, {})
    for text, cause in (("ld t0, 0(a0)", 13), ("sd t0, 0(a0)", 15), ("amoadd.w t0, t1, (a0)", 15)):
        assert board.go(text, a0=VIRTUAL) == 0
        assert (board["mcause"], board["mtval"], board["mepc"]) == (cause, VIRTUAL, BASE)
        board["mstatus"] = SUPERVISOR
