"""System instructions done natively: the same as on the reference engine, and really natively."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.cpu.native import NativeEngine
from emu.cpu.reference import ReferenceEngine
from emu.cpu.state import Dirty, Exit
from emu.isa.causes import Interrupt
from emu.isa.csrs import BY_NAME, TIME_READ_PS
from tests.cpu.native.programs import CODE
from tests.cpu.native.test_engine import HANDLER, Engine, assert_same, make, put

ABSENT = (0x015, 0x30C, 0x34A, 0x3A1, 0x3C0, 0x7A0, 0xC03, 0xDA0, 0xFB0)
ACCESSES = ("csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci")
KEPT_AWAY = ("mtvec", "stvec", "satp", "mepc", "medeleg")
"""Registers whose random values would send the program astray; others tests are about them."""

numbers = st.sampled_from(
    [csr.number for csr in BY_NAME.values() if csr.name not in KEPT_AWAY] + list(ABSENT)
)
values = st.one_of(
    st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63, 2**64 - 1]),
    st.integers(0, 63).map(lambda bit: 1 << bit),
)  # fmt: skip


@st.composite
def accesses(draw: st.DrawFn) -> str:
    """One CSR instruction."""
    name, number = draw(st.sampled_from(ACCESSES)), draw(numbers)
    source = str(draw(st.integers(0, 31))) if name.endswith("i") else f"x{draw(st.integers(0, 12))}"
    return f"{name} x{draw(st.integers(0, 30))}, {number:#x}, {source}"


@given(
    st.lists(accesses(), min_size=1, max_size=12), st.lists(values, min_size=12, max_size=12),
    st.sampled_from([0, 1, 3]), st.lists(st.integers(1, 5), max_size=5),
)  # fmt: skip
def test_random_accesses_leave_the_same_state(
    lines: list[str], registers: list[int], priv: int, budgets: list[int]
) -> None:
    engines = [make(NativeEngine), make(ReferenceEngine)]
    for engine in engines:
        hart = engine.hart
        hart.csr_write(BY_NAME["pmpaddr0"].number, (1 << 54) - 1)
        hart.csr_write(BY_NAME["pmpcfg0"].number, 0x1F)
        hart.state.mcounteren = hart.state.scounteren = 5
        put(hart, CODE, *lines, "jal x0, 0")
        for i, value in enumerate(registers, 1):
            hart.state.x[i] = value
        hart.state.priv, hart.state.fflags = priv, 0
        hart.regime_changed()
    for budget in [*budgets, 30]:
        assert engines[0].run(budget) == engines[1].run(budget)
        assert_same(engines[0].hart, engines[1].hart)
        engines[0].hart.attention = engines[1].hart.attention = False


@pytest.fixture
def engine() -> NativeEngine:
    engine = make(NativeEngine)
    assert isinstance(engine, NativeEngine)
    return engine


def _left(engine: Engine) -> Exit:
    """Why emitted code returned last."""
    return Exit(engine.hart.state.exit_code)


@pytest.mark.parametrize(
    "line",
    [
        "csrrw x5, mscratch, x6", "csrrs x5, mstatus, x0", "csrrs x5, cycle, x0",
        "csrrs x5, time, x0", "csrrs x5, instret, x0", "csrrw x5, satp, x0",
        "csrrs x5, sip, x6", "csrrs x5, mhpmcounter3, x0", "csrrs x5, pmpaddr3, x0",
        "csrrs x5, fcsr, x0", "csrrwi x0, frm, 1", "sfence.vma x0, x0", "ecall", "ebreak",
    ],
)  # fmt: skip
def test_nothing_of_this_needs_python(engine: NativeEngine, line: str) -> None:
    put(engine.hart, CODE, line, "jal x0, -4")
    assert engine.run(300) == "budget"
    engine.hart.state.exit_code = Exit.SLOW
    assert engine.run(1) == "budget"
    assert _left(engine) == Exit.BUDGET
    assert engine.hart.instret > 100


def test_time_and_counters_are_those_of_the_instruction(engine: NativeEngine) -> None:
    hart = engine.hart
    hart.set_time_base(10**30 + 5, 3, 1000)
    put(hart, CODE, "addi x5, x5, 1", "csrrs x6, time, x0", "csrrs x7, instret, x0",
        "csrrs x8, time, x0")  # fmt: skip
    assert engine.run(4) == "budget"
    assert hart.state.x[6] == (10**30 + 5 + 3) // 1000 % 2**64
    assert hart.state.x[7] == 2
    assert hart.state.x[8] == (10**30 + 5 + 9 + TIME_READ_PS) // 1000 % 2**64


def test_flags_raised_natively_are_seen_by_the_next_access(engine: NativeEngine) -> None:
    hart = engine.hart
    hart.state.fs = Dirty.DIRTY
    hart.state.f[1], hart.state.f[2] = 0x3FF0000000000000, 0x4008000000000000
    put(hart, CODE, "fdiv.d f3, f1, f2, rne", "csrrs x5, fflags, x0", "csrrwi x6, fcsr, 0",
        "csrrs x7, fcsr, x0", "fdiv.d f3, f1, f2, rne", "csrrs x8, fcsr, x0")  # fmt: skip
    assert engine.run(6) == "budget"
    assert [hart.state.x[i] for i in (5, 6, 7, 8)] == [1, 1, 0, 1]


@pytest.mark.parametrize("budget", range(1, 9))
@pytest.mark.parametrize("kind", [NativeEngine, ReferenceEngine], ids=["native", "reference"])
def test_an_interrupt_is_taken_between_two_instructions(kind: type[Engine], budget: int) -> None:
    """Set by the second instruction: the third one's place is where it came from."""
    engine = make(kind)
    hart = engine.hart
    hart.state.mie = 1 << Interrupt.SSI
    put(hart, HANDLER, "csrrci x9, mip, 2", "mret")
    put(hart, CODE, "csrrsi x0, mstatus, 8", "csrrsi x0, mip, 2", *["addi x5, x5, 1"] * 9)
    assert engine.run(budget) == "budget"
    assert hart.instret == budget
    assert hart.state.x[5] == max(0, budget - 4)
    assert hart.stall_ps == (hart.trap_ps if budget > 2 else 0)


def test_a_watched_trap_is_told_of(engine: NativeEngine) -> None:
    hart, told = engine.hart, []
    hart.on_trap = lambda *trap: told.append(trap)
    hart.state.mie = 1 << Interrupt.SSI
    put(hart, HANDLER, "csrrci x9, mip, 2", "mret")
    put(hart, CODE, "csrrsi x0, mstatus, 8", "csrrsi x0, mip, 2", "ecall", "addi x5, x5, 1")
    assert engine.run(6) == "budget"
    assert told == [(1 << 63 | 1, 0, CODE + 8, HANDLER), (11, 0, CODE + 8, HANDLER)]


def test_time_used_up_by_traps_ends_the_run(engine: NativeEngine) -> None:
    hart = engine.hart
    put(hart, HANDLER, "csrrs x31, mepc, x0", "addi x31, x31, 4", "csrrw x0, mepc, x31", "mret")
    put(hart, CODE, "ecall", "jal x0, -4")
    hart.state.stall_end = 5 * hart.trap_ps
    assert engine.run(1000) == "attention"
    assert hart.stall_ps == 5 * hart.trap_ps
    assert hart.state.pc == HANDLER
