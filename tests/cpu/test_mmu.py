"""Sv39 and Sv48 translation, A and D bits, MPRV, SUM and MXR, and physical memory protection."""

from __future__ import annotations

import pytest

from emu.cpu.traps import Trap
from emu.isa.causes import Cause
from tests.cpu.machines import BASE, Board

V, R, W, X, U_BIT, A, D = 1, 2, 4, 8, 16, 64, 128
ROOT, MIDDLE, LEAF = BASE + 0x1_0000, BASE + 0x1_1000, BASE + 0x1_2000
PAGE = BASE + 0x2_0000
VIRTUAL = 0x4000_0000
U, S, M = 0, 1, 3
MPRV, SUM, MXR = 1 << 17, 1 << 18, 1 << 19


def entry(paddr: int, flags: int) -> int:
    return paddr >> 12 << 10 | flags


@pytest.fixture
def board() -> Board:
    """Supervisor mode; VIRTUAL is mapped to PAGE, readable and writable."""
    board = Board()
    board.open_memory()
    board.word(ROOT + 8, entry(MIDDLE, V))
    board.word(MIDDLE, entry(LEAF, V))
    board.word(LEAF, entry(PAGE, V | R | W | A | D))
    board["satp"] = 8 << 60 | ROOT >> 12
    board.enter(S)
    return board


def cause(board: Board, access: str, vaddr: int = VIRTUAL) -> int | None:
    """The cause of the fault that an access raises, or None."""
    try:
        board.hart.translate(vaddr, access)
    except Trap as trap:
        return trap.cause if trap.tval == vaddr else None
    return None


def test_a_page_is_found_through_three_levels(board: Board) -> None:
    assert board.hart.translate(VIRTUAL + 0x123, "load") == PAGE + 0x123
    assert board.hart.mapping(VIRTUAL + 0x123, "load") == (PAGE + 0x123, 0x1000 - 0x123)


def test_large_pages_map_whole(board: Board) -> None:
    board.word(MIDDLE, entry(BASE, V | R | A))
    assert board.hart.mapping(VIRTUAL + 0x1234, "load") == (BASE + 0x1234, (2 << 20) - 0x1234)
    board.word(ROOT + 8, entry(BASE, V | R | A))
    assert board.hart.translate(VIRTUAL + 0x234567, "load") == BASE + 0x234567


def test_misaligned_large_page_faults(board: Board) -> None:
    board.word(MIDDLE, entry(PAGE, V | R | A))
    assert cause(board, "load") == Cause.LOAD_PAGE


@pytest.mark.parametrize(
    ("flags", "access", "expected"),
    [
        (R | W, "load", Cause.LOAD_PAGE),  # not valid
        (V | W, "store", Cause.STORE_PAGE),  # writable and not readable is reserved
        (V | R, "store", Cause.STORE_PAGE),
        (V | R | W, "fetch", Cause.FETCH_PAGE),
        (V | X, "load", Cause.LOAD_PAGE),
        (V | R | U_BIT, "load", Cause.LOAD_PAGE),
        (V | R | X | U_BIT, "fetch", Cause.FETCH_PAGE),
        (V | R | 1 << 60, "load", Cause.LOAD_PAGE),
        (V, "load", Cause.LOAD_PAGE),  # a pointer at the last level
    ],
)
def test_entry_without_the_right_faults(
    board: Board, flags: int, access: str, expected: Cause
) -> None:
    board.word(LEAF, entry(PAGE, flags))
    assert cause(board, access) == expected


def test_address_that_is_not_sign_extended_faults(board: Board) -> None:
    assert cause(board, "load", 1 << 39 | VIRTUAL) == Cause.LOAD_PAGE
    assert cause(board, "load", 1 << 38) == Cause.LOAD_PAGE


def test_page_table_outside_memory_is_an_access_fault(board: Board) -> None:
    board.word(MIDDLE, entry(0x1000_0000, V))
    assert cause(board, "store") == Cause.STORE_ACCESS


def test_hardware_sets_accessed_and_dirty(board: Board) -> None:
    board.word(LEAF, entry(PAGE, V | R | W))
    board.hart.translate(VIRTUAL, "load")
    assert board.memory.read(LEAF, 8) & (A | D) == A
    board.hart.translate(VIRTUAL, "store")
    assert board.memory.read(LEAF, 8) & (A | D) == A | D


def test_supervisor_reaches_user_pages_only_with_sum(board: Board) -> None:
    board.word(LEAF, entry(PAGE, V | R | U_BIT | A))
    assert cause(board, "load") == Cause.LOAD_PAGE
    board["mstatus"] = SUM
    assert cause(board, "load") is None


def test_executable_pages_are_readable_with_mxr(board: Board) -> None:
    board.word(LEAF, entry(PAGE, V | X | A))
    board["mstatus"] = MXR
    assert cause(board, "load") is None


def test_machine_mode_borrows_a_mode_with_mprv(board: Board) -> None:
    board.enter(M)
    assert board.hart.translate(VIRTUAL, "load") == VIRTUAL
    board["mstatus"] = MPRV | S << 11
    assert board.hart.translate(VIRTUAL, "load") == PAGE
    assert board.hart.translate(VIRTUAL, "fetch") == VIRTUAL


def test_store_across_pages_faults_before_it_writes(board: Board) -> None:
    board.word(PAGE + 0xFF8, 0)
    with pytest.raises(Trap) as trap:
        board.hart.store(VIRTUAL + 0xFFC, 8, (1 << 64) - 1)
    assert (trap.value.cause, trap.value.tval) == (Cause.STORE_PAGE, VIRTUAL + 0x1000)
    assert board.memory.read(PAGE + 0xFF8, 8) == 0


def test_misaligned_access_across_pages_joins_both(board: Board) -> None:
    board.word(LEAF + 8, entry(PAGE + 0x8000, V | R | W | A | D))
    board.hart.store(VIRTUAL + 0xFFC, 8, 0x1122_3344_5566_7788)
    assert board.memory.read(PAGE + 0xFFC, 4) == 0x5566_7788
    assert board.memory.read(PAGE + 0x8000, 4) == 0x1122_3344
    assert board.hart.load(VIRTUAL + 0xFFC, 8) == 0x1122_3344_5566_7788


def test_engine_sees_a_changed_table_after_sfence(board: Board) -> None:
    board.word(ROOT, entry(0x8000_0000 & ~((1 << 30) - 1), 0))
    board.word(ROOT + 16, entry(BASE, V | R | W | X | A | D))  # the program, mapped to itself
    board.word(PAGE, 1)
    board.word(PAGE + 0x8000, 2)
    board.set(a0=VIRTUAL, a1=LEAF, a2=entry(PAGE + 0x8000, V | R | A))
    board.run("ld a3, (a0); sd a2, (a1); sfence.vma; ld a4, (a0)")
    assert (board.x("a3"), board.x("a4")) == (1, 2)


def test_engine_changes_regime_with_satp(board: Board) -> None:
    board.word(ROOT + 16, entry(BASE, V | R | W | X | A | D))
    board.word(PAGE, 77)
    board.set(a0=VIRTUAL)
    board.run("ld a3, (a0); csrw satp, x0; ld a4, (a0)")
    assert board.x("a3") == 77
    assert board["mcause"] == Cause.LOAD_ACCESS  # untranslated, nothing is there


def test_lower_modes_need_a_pmp_entry() -> None:
    board = Board()
    board.enter(S)
    assert cause(board, "load", BASE) == Cause.LOAD_ACCESS
    board.enter(M)
    assert cause(board, "load", BASE) is None


def test_first_matching_pmp_entry_decides() -> None:
    board = Board()
    board["pmpaddr0"] = BASE >> 2
    board["pmpaddr1"] = (BASE + 0x1000) >> 2
    board["pmpaddr2"] = (1 << 54) - 1
    board["pmpcfg0"] = 0x1F << 16 | (1 << 3 | 1) << 8  # all; read-only TOR below it
    board.enter(S)
    assert cause(board, "load", BASE + 0x800) is None
    assert cause(board, "store", BASE + 0x800) == Cause.STORE_ACCESS
    assert cause(board, "store", BASE + 0x1000) is None


def test_access_across_a_pmp_edge_faults_and_the_page_is_not_cached() -> None:
    board = Board()
    board["pmpaddr0"] = (BASE + 0x804) >> 2
    board["pmpcfg0"] = 1 << 3 | 7
    board.enter(S)
    assert board.hart.host_page(BASE, "load") is None
    assert board.hart.load(BASE + 0x7F8, 8) == 0
    with pytest.raises(Trap):
        board.hart.load(BASE + 0x800, 8)


def test_one_entry_must_hold_for_all_of_an_access() -> None:
    """Even where each of two entries would allow its part, and in machine mode."""
    board = Board()
    board["pmpaddr0"], board["pmpaddr1"] = BASE + 0x2004 >> 2, (1 << 54) - 1
    board["pmpcfg0"] = 0x1F << 8 | 2 << 3 | 7  # NA4; everything
    assert board.hart.load(BASE + 0x2004, 4) == 0
    with pytest.raises(Trap) as caught:
        board.hart.load(BASE + 0x2000, 8)
    assert (caught.value.cause, caught.value.tval) == (Cause.LOAD_ACCESS, BASE + 0x2000)


def test_the_first_page_of_an_access_over_two_faults_first(board) -> None:
    """Nothing answers behind the first page, and the second one is not mapped."""
    board.word(LEAF, entry(0x6000_0000, V | R | W | A | D))
    with pytest.raises(Trap) as caught:
        board.hart.store(VIRTUAL + 0xFFE, 4, 0)
    assert (caught.value.cause, caught.value.tval) == (Cause.STORE_ACCESS, VIRTUAL + 0xFFE)


def test_to_write_without_to_read_is_neither() -> None:
    board = Board()
    board["pmpcfg0"] = 0x1E
    assert board["pmpcfg0"] == 0x1C


def test_locked_entry_binds_machine_mode_and_cannot_be_changed() -> None:
    board = Board()
    board["pmpaddr0"] = BASE + 0x2000 >> 2
    board["pmpcfg0"] = 0x80 | 2 << 3 | 1  # NA4, locked, read-only
    board["pmpcfg0"] = 0
    board["pmpaddr0"] = 0
    assert cause(board, "load", BASE + 0x2000) is None
    assert cause(board, "store", BASE + 0x2000) == Cause.STORE_ACCESS
    assert cause(board, "store", BASE + 0x2004) is None


def test_four_levels_reach_where_three_do_not(board: Board) -> None:
    far, top = 3 << 40, BASE + 0x1_3000
    board.word(top + 8 * (far >> 39), entry(ROOT, V))
    board.word(ROOT, entry(MIDDLE, V))
    board["satp"] = 9 << 60 | top >> 12
    assert board.hart.mapping(far + 0x123, "load") == (PAGE + 0x123, 0x1000 - 0x123)
    board.word(top + 8 * (far >> 39), entry(1 << 39, V | R | A))
    assert board.hart.translate(far + 0x40_0000_1234, "load") == (1 << 39) + 0x40_0000_1234
    assert cause(board, "load", 1 << 47) == Cause.LOAD_PAGE  # bit 47 must equal those above
    assert cause(board, "load", (1 << 64) - (1 << 39)) == Cause.LOAD_PAGE  # proper, not mapped
