"""Control and status registers: permissions, legal values, views of one another."""

from __future__ import annotations

import pytest

from emu.isa.causes import Cause, Interrupt
from emu.isa.csrs import BY_NAME, TIME_READ_PS
from tests.cpu.machines import Board

ALL = (1 << 64) - 1


@pytest.fixture
def board() -> Board:
    return Board()


def read(board: Board, csr: str) -> tuple[int, int]:
    """Execute a read: the cause of its trap, or 0, and the value."""
    board["mcause"] = 0
    board.set(a0=0).run(f"csrr a0, {csr}")
    return board["mcause"], board.x("a0")


@pytest.mark.parametrize("csr", ["0x7c0", "0x30c", "0x34a", "0xda0", "0xc03", "0x015"])
def test_absent_registers_are_illegal(board: Board, csr: str) -> None:
    assert read(board, csr)[0] == Cause.ILLEGAL


@pytest.mark.parametrize("csr", ["mvendorid", "marchid", "mhartid", "mconfigptr", "mhpmcounter3"])
def test_identification_reads_zero(board: Board, csr: str) -> None:
    assert read(board, csr) == (0, 0)


def test_there_are_trigger_registers_but_no_trigger(board: Board) -> None:
    """Debuggers and riscv-tests look there, and not all of them expect a trap."""
    board.set(a1=2 << 60 | 0x44).run("csrw tselect, a1; csrw tdata2, a1; csrw tdata1, a1")
    assert board["mcause"] == 0
    assert [board[name] for name in ("tselect", "tdata1", "tdata2", "tinfo")] == [0, 0, 0, 1]


def test_writing_a_read_only_register_is_illegal_but_reading_is_not(board: Board) -> None:
    board.run("csrrs a0, mhartid, x0; csrrci a0, mhartid, 0")
    assert board["mcause"] == 0
    board.run("csrw mhartid, x0")
    assert board["mcause"] == Cause.ILLEGAL


def test_set_and_clear_give_the_old_value(board: Board) -> None:
    board.set(a1=0b1100, a2=0b0110).run("csrw mscratch, a1; csrrs a3, mscratch, a2")
    board.run("csrrc a4, mscratch, a1")
    assert (board.x("a3"), board.x("a4"), board["mscratch"]) == (0b1100, 0b1110, 0b0010)


@pytest.mark.parametrize(
    ("csr", "kept"),
    [
        ("mepc", ALL - 1),
        ("mtvec", ALL - 2),
        ("medeleg", 0x100_B3FF),
        ("mideleg", 0x222),
        ("mie", 0xAAA),
        ("mcounteren", 7),
        ("menvcfg", 1 << 63 | 1),
        ("stimecmp", ALL),
        ("misa", 2 << 62 | 0x0094_112D),
        ("fcsr", 0xFF),
    ],
)
def test_legal_values(board: Board, csr: str, kept: int) -> None:
    board[csr] = ALL
    assert board[csr] == kept


def test_reserved_previous_mode_becomes_user_mode(board: Board) -> None:
    """As in Spike and in the Sail model."""
    board["mstatus"] = 1 << 11
    board["mstatus"] = 2 << 11
    assert board["mstatus"] >> 11 & 3 == 0


def test_sstatus_is_a_view_of_mstatus(board: Board) -> None:
    board["mstatus"] = 1 << 3 | 1 << 1
    assert board["sstatus"] & 0b1010 == 0b10
    board["sstatus"] = 0
    assert board["mstatus"] & 0b1010 == 0b1000


def test_dirty_units_show_in_the_sign_of_mstatus(board: Board) -> None:
    board["mstatus"] = 1 << 13
    assert not board["mstatus"] >> 63
    board.run("fmv.d.x fa0, a0")
    assert board["mstatus"] >> 13 & 3 == 3
    assert board["mstatus"] >> 63
    board["mstatus"] = 3 << 15
    assert board["sstatus"] >> 63


def test_floating_point_registers_need_the_unit(board: Board) -> None:
    assert read(board, "fcsr")[0] == Cause.ILLEGAL
    board["mstatus"] = 1 << 13
    assert read(board, "fcsr") == (0, 0)


def test_tensor_registers_need_the_unit(board: Board) -> None:
    assert read(board, "tcause")[0] == Cause.ILLEGAL
    board["mstatus"] = 1 << 15
    assert read(board, "tcause") == (0, 0)


def test_tensor_instruction_is_illegal_while_the_unit_is_off(board: Board) -> None:
    board.run("tmv tr1, tr2")
    assert board["mcause"] == Cause.ILLEGAL
    assert board["mtval"] & 0x7F == 0x2B


def test_unsupported_translation_mode_leaves_satp_alone(board: Board) -> None:
    board["satp"] = 8 << 60 | 0x80000
    board["satp"] = 10 << 60 | 0x1234
    assert board["satp"] == 8 << 60 | 0x80000


def test_counters_need_every_enable_on_the_way_down(board: Board) -> None:
    board.open_memory()
    board["mcounteren"] = 0b010
    board.enter(1)
    assert read(board, "cycle")[0] == Cause.ILLEGAL
    board.enter(1)
    assert read(board, "time")[0] == 0
    board.enter(0)
    assert read(board, "time")[0] == Cause.ILLEGAL
    board["scounteren"] = 0b010
    board.enter(0)
    assert read(board, "time")[0] == 0


def test_instret_counts_the_instructions_before_it(board: Board) -> None:
    board.run("nop; nop; rdinstret a0")
    assert board.x("a0") == 2


def test_a_written_counter_goes_on_from_there(board: Board) -> None:
    board.set(a1=1000).run("csrw minstret, a1; csrr a2, minstret; csrr a3, minstret")
    assert (board.x("a2"), board.x("a3")) == (1000, 1001)


def test_an_inhibited_counter_stands_still(board: Board) -> None:
    board.run("csrwi mcountinhibit, 4; csrr a0, minstret; csrr a1, minstret; csrr a2, mcycle")
    assert board.x("a0") == board.x("a1") == 0
    assert board.x("a2") == 3
    assert board["mcountinhibit"] == 4


def test_supervisor_sees_and_clears_only_delegated_interrupts(board: Board) -> None:
    board["mip"] = 1 << Interrupt.SSI | 1 << Interrupt.STI
    assert board["sip"] == 0
    board["mideleg"] = 0x222
    assert board["sip"] == 0x22
    board["sip"] = 0
    assert board["mip"] == 1 << Interrupt.STI


def test_a_line_is_not_latched_by_setting_other_bits(board: Board) -> None:
    board.hart.set_interrupt(Interrupt.SEI, True)
    board.run("csrrsi a0, mip, 2")
    assert board.x("a0") == 1 << Interrupt.SEI
    board.hart.set_interrupt(Interrupt.SEI, False)
    assert board["mip"] == 2


def test_time_is_the_machines_clock(board: Board) -> None:
    board.hart.set_time_base(12345 * 100, 1, 100)
    assert read(board, "time") == (0, 12345)


@pytest.mark.parametrize("base_ps", [1 << 80, (1 << 80) + 99, -1, -(1 << 70)])
def test_time_is_exact_however_far_it_has_been_set(board: Board, base_ps: int) -> None:
    board.hart.set_time_base(base_ps, 7, 300)
    board.run("nop; nop; rdtime a0")
    assert board.x("a0") == (base_ps + 2 * 7) // 300 % (1 << 64)


def test_reading_the_time_takes_time(board: Board) -> None:
    board.run("rdtime a0; rdtime a1; rdcycle a2")
    assert board.hart.stall_ps == 2 * TIME_READ_PS


def test_every_register_reads_in_machine_mode(board: Board) -> None:
    board["mstatus"] = 1 << 13 | 1 << 15
    for name in BY_NAME:
        assert read(board, name)[0] == 0, name
