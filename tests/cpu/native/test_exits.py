"""When emitted code returns, and that what it leaves has had no effect."""

from __future__ import annotations

import pytest

from emu.cpu import regime
from emu.cpu.state import PAGE_SIZE, Dirty, Exit, State
from emu.isa.assemble import assemble_line
from tests.cpu.native.bare import RAM_BASE, Bare

END_OF_PAGE = RAM_BASE + PAGE_SIZE
DATA = RAM_BASE + 0x8000


def _load(bare: Bare, *lines: str, at: int = RAM_BASE) -> None:
    bare.load(at, b"".join(assemble_line(line) for line in lines))
    bare.state.pc = at


def _forget(bare: Bare, tlb: str, address: int) -> None:
    entries = getattr(bare.state, tlb)
    entries[2 * (address // PAGE_SIZE % (len(entries) // 2))] = 0


@pytest.mark.parametrize("budget", [0, 1, 2, 3, 7, 1000, 1_000_001])
def test_a_budget_is_used_up_exactly(budget: int) -> None:
    bare = Bare()
    _load(bare, "addi x5, x5, 1", "addi x6, x6, 1", "jal x0, -8")
    assert bare.run(budget) == Exit.BUDGET
    assert (bare.state.instret, bare.state.budget) == (budget, 0)
    assert bare.state.x[5] == (budget + 2) // 3
    assert bare.state.pc == RAM_BASE + 4 * (budget % 3)


def test_a_budget_that_ends_at_a_jump_between_pages_is_exact() -> None:
    bare = Bare()
    _load(bare, "jal x1, 8192")
    assert bare.run(1) == Exit.BUDGET
    assert (bare.state.pc, bare.state.instret) == (RAM_BASE + 8192, 1)
    assert bare.state.x[1] == RAM_BASE + 4


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("csrrs x5, 0x34a, x0", Exit.SLOW),  # absent: a trap
        ("wfi", Exit.SLOW),
        ("amoadd.w x5, x6, (x11)", Exit.SLOW),  # misaligned: a trap
        ("ld x5, 0(x12)", Exit.LOAD_MISS),  # no RAM there
        ("sd x6, 0(x12)", Exit.STORE_MISS),
        ("lr.d x5, (x12)", Exit.LOAD_MISS),
        ("amoadd.d x5, x6, (x12)", Exit.STORE_MISS),
        ("ld x5, 4090(x10)", Exit.LOAD_MISS),  # crosses into the next page
    ],
)
def test_an_instruction_that_is_left_has_had_no_effect(line: str, why: Exit) -> None:
    bare = Bare()
    line = line.replace("4090(x10)", "2042(x13)")
    _load(bare, "addi x7, x7, 1", line)
    bare.state.x[10], bare.state.x[11], bare.state.x[12] = DATA, DATA + 1, 0x1000_0000
    bare.state.x[13] = DATA + 2048
    before = list(bare.state.x)
    before[7] += 1
    assert bare.run(100) == why
    assert list(bare.state.x) == before
    assert (bare.state.pc, bare.state.instret, bare.state.budget) == (RAM_BASE + 4, 1, 99)
    if why == Exit.SLOW:
        return
    assert bare.state.exit_info == (DATA + 4090 if "x13" in line else 0x1000_0000)


def test_an_illegal_word_is_left() -> None:
    bare = Bare()
    bare.load(RAM_BASE, bytes(4))
    assert bare.run(1) == Exit.SLOW


def test_misaligned_accesses_inside_a_page_are_done() -> None:
    bare = Bare()
    _load(bare, "sd x6, 3(x10)", "ld x5, 3(x10)", "lhu x7, 9(x10)")
    bare.state.x[10], bare.state.x[6] = DATA, 0x1122_3344_5566_7788
    assert bare.run(3) == Exit.BUDGET
    assert (bare.state.x[5], bare.state.x[7]) == (0x1122_3344_5566_7788, 0x1122)


def test_a_store_conditional_that_misses_keeps_the_reservation() -> None:
    bare = Bare()
    _load(bare, "lr.d x5, (x10)", "sc.d x6, x7, (x10)")
    bare.state.x[10] = DATA
    _forget(bare, "store_tlb", DATA)
    assert bare.run(2) == Exit.STORE_MISS
    assert (bare.state.reserved, bare.state.instret) == (1, 1)
    bare.map_data()
    bare.state.x[7] = 9
    assert bare.run(1) == Exit.BUDGET
    assert (bare.state.reserved, bare.state.x[6]) == (0, 0)
    assert bare.memory.read(DATA, 8) == 9


def test_floating_point_is_left_until_its_state_is_dirty() -> None:
    bare = Bare()
    _load(bare, "fadd.d f1, f2, f3, rne")
    for status in (Dirty.OFF, Dirty.INITIAL, Dirty.CLEAN):
        bare.state.fs = status
        assert bare.run(1) == Exit.SLOW
    bare.state.fs = Dirty.DIRTY
    assert bare.run(1) == Exit.BUDGET


def test_flags_are_added_to_those_accrued() -> None:
    bare = Bare()
    _load(bare, "fdiv.d f1, f2, f3, rne", "fadd.d f4, f2, f2, rne")
    bare.state.f[2], bare.state.fflags = 0x3FF << 52, 1
    assert bare.run(2) == Exit.BUDGET
    assert bare.state.fflags == 8 | 1
    assert bare.state.f[1] == 0x7FF << 52


def test_changed_code_is_seen_after_flush_code() -> None:
    bare = Bare()
    _load(bare, "addi x5, x0, 1")
    bare.run(1)
    _load(bare, "addi x5, x0, 2")
    bare.run(1)
    assert bare.state.x[5] == 1
    bare.state.flush_code()
    bare.state.pc = RAM_BASE
    bare.run(1)
    assert bare.state.x[5] == 2


def test_an_instruction_across_two_pages_is_read_from_both_each_time() -> None:
    bare = Bare()
    _load(bare, "addi x5, x5, 1", at=END_OF_PAGE - 2)
    assert bare.run(1) == Exit.BUDGET
    assert (bare.state.x[5], bare.state.pc) == (1, END_OF_PAGE + 2)
    bare.load(END_OF_PAGE, assemble_line("addi x5, x5, 16")[2:])
    bare.state.pc = END_OF_PAGE - 2
    assert bare.run(1) == Exit.BUDGET
    assert bare.state.x[5] == 17


def test_execution_runs_over_the_end_of_a_page() -> None:
    bare = Bare()
    _load(bare, *["addi x5, x5, 1"] * 8, at=END_OF_PAGE - 16)
    assert bare.run(8) == Exit.BUDGET
    assert (bare.state.x[5], bare.state.pc) == (8, END_OF_PAGE + 16)


def test_a_breakpoint_is_left_uncounted() -> None:
    bare = Bare()
    _load(bare, "addi x5, x5, 1", "addi x5, x5, 1", "addi x5, x5, 1")
    assert bare.run(3, frozenset({RAM_BASE + 8})) == Exit.BREAK
    assert (bare.state.pc, bare.state.x[5], bare.state.budget) == (RAM_BASE + 8, 2, 1)


def test_a_write_to_x0_is_lost() -> None:
    bare = Bare()
    _load(bare, "addi x0, x0, 5", "jal x0, 4", "add x5, x0, x0", "c.nop")
    assert bare.run(4) == Exit.BUDGET
    assert (bare.state.x[0], bare.state.x[5]) == (0, 0)
    assert bare.state.words[State.indices["x_sink"]] != 0


def test_another_regime_does_not_hit_the_entries_of_this_one() -> None:
    bare = Bare()
    _load(bare, "ld x5, 0(x10)", "ld x5, 0(x10)")
    bare.state.x[10] = DATA
    assert bare.run(1) == Exit.BUDGET
    before = bare.state.data_context
    bare.state.priv = 1
    regime.SELECT.python(bare.state.words)
    assert bare.state.data_context != before
    assert bare.run(1) == Exit.LOAD_MISS
    bare.state.priv = 0
    regime.SELECT.python(bare.state.words)
    assert bare.run(1) == Exit.BUDGET


def test_more_pages_of_code_than_there_are_pages_of_records() -> None:
    bare = Bare(code_pages=2)
    for page in range(5):
        _load(bare, "addi x5, x5, 1", "jal x0, 4092", at=RAM_BASE + page * PAGE_SIZE)
    _load(bare, "jal x0, -20480", at=RAM_BASE + 5 * PAGE_SIZE)
    bare.state.pc = RAM_BASE
    assert bare.run(1100) == Exit.BUDGET
    assert bare.state.x[5] == 500


def test_a_straddling_instruction_needs_both_pages_to_fit() -> None:
    bare = Bare(code_pages=2)
    _load(bare, "addi x5, x5, 1", "jal x0, -4", at=END_OF_PAGE - 2)
    assert bare.run(1000) == Exit.BUDGET
    assert bare.state.x[5] == 500
