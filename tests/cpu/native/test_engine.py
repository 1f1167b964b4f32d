"""The native engine against the reference engine: the same state after the same instructions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.bus import Bus
from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine
from emu.cpu.reference import ReferenceEngine
from emu.cpu.state import Dirty, State
from emu.isa.assemble import assemble_line
from emu.isa.csrs import BY_NAME
from emu.memory import Memory
from tests.cpu.native.programs import CODE, DATA, RAM_BASE, RAM_SIZE, Program, programs

HANDLER = RAM_BASE + 0x8000
DEVICE = 0x1000_0000

NOT_COMPARED = ("x_sink", "reservation", "budget", "exit_code", "exit_info", "stall_end")


class Register:
    """A device of one register; reading it gives what was written plus the number of accesses."""

    name = "register"

    def __init__(self) -> None:
        self.value = self.accesses = 0

    def read(self, offset: int, size: int) -> int:
        self.accesses += 1
        return self.value + self.accesses

    def write(self, offset: int, size: int, value: int) -> None:
        self.accesses += 1
        self.value = value

    def describe(self, offset: int, size: int, value: int) -> str:
        return "register"


Engine = NativeEngine | ReferenceEngine


def make(kind: type[Engine]) -> Engine:
    """An engine on a hart of its own, in machine mode at CODE, the FPU on, traps to HANDLER."""
    memory = Memory(RAM_BASE, RAM_SIZE)
    bus = Bus(memory)
    bus.map(DEVICE, 0x1000, Register())
    hart = Hart(bus, memory)
    hart.reset(CODE)
    hart.csr_write(BY_NAME["mtvec"].number, HANDLER)
    hart.state.fs = Dirty.DIRTY
    put(hart, HANDLER, "csrrs x31, mepc, x0", "addi x31, x31, 4", "csrrw x0, mepc, x31", "mret")
    return kind(hart)


def put(hart: Hart, address: int, *lines: str) -> None:
    """Assemble lines into RAM."""
    code = b"".join(assemble_line(line) for line in lines)
    hart.memory.view(address, len(code))[:] = code


def snapshot(hart: Hart) -> dict[str, object]:
    """All that must agree: registers, control registers, RAM."""
    members = sorted(State.indices.items(), key=lambda member: member[1])
    words = hart.state.words[: hart.state.saved].tolist()
    ends = [index for _, index in members[1:]] + [State.total]
    return {
        name: words[first:end]
        for (name, first), end in zip(members, ends, strict=True)
        if name not in NOT_COMPARED
    }


def assert_same(one: Hart, other: Hart) -> None:
    left, right = snapshot(one), snapshot(other)
    for name in left:
        assert left[name] == right[name], name
    assert one.memory.bytes == other.memory.bytes


@pytest.fixture(params=[NativeEngine, ReferenceEngine], ids=["native", "reference"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Both engines, for what must hold of each."""
    return make(request.param)


def _start(engine: Engine, program: Program, frm: int) -> None:
    hart = engine.hart
    hart.memory.view(CODE, len(program.code))[:] = program.code
    hart.memory.view(DATA, len(program.data))[:] = program.data
    for n in range(32):
        hart.state.x[n], hart.state.f[n] = program.x[n], program.f[n]
    hart.state.frm = frm


@given(programs(), st.lists(st.integers(1, 40), max_size=6), st.sampled_from([0, 0, 0, 1, 3]))
def test_random_programs_leave_the_same_state(
    program: Program, budgets: list[int], frm: int
) -> None:
    native, reference = make(NativeEngine), make(ReferenceEngine)
    for engine in (native, reference):
        _start(engine, program, frm)
    for budget in [*budgets, 150]:
        assert native.run(budget) == reference.run(budget)
        assert_same(native.hart, reference.hart)


def test_a_device_is_accessed_once_an_instruction(engine: Engine) -> None:
    hart = engine.hart
    put(hart, CODE, "sw x5, 0(x6)", "lw x7, 0(x6)", "lw x8, 0(x6)")
    hart.state.x[5], hart.state.x[6] = 100, DEVICE
    assert engine.run(3) == "budget"
    assert (hart.state.x[7], hart.state.x[8], hart.instret) == (102, 103, 3)


def test_a_device_that_asks_for_attention_ends_the_run(engine: Engine) -> None:
    hart = engine.hart
    put(hart, CODE, "addi x5, x5, 1", "lw x7, 0(x6)", "addi x5, x5, 1")
    hart.state.x[6] = DEVICE
    target = hart.bus.find(DEVICE).target
    read = target.read

    def asking(offset: int, size: int) -> int:
        hart.attention = True
        return read(offset, size)

    target.read = asking  # type: ignore[method-assign]
    assert engine.run(100) == "attention"
    assert (hart.instret, hart.state.pc) == (2, CODE + 8)


@pytest.mark.parametrize("budget", [0, 1, 5, 1000, 4099])
def test_the_budget_counts_instructions_and_traps(engine: Engine, budget: int) -> None:
    hart = engine.hart
    put(hart, CODE, "addi x5, x5, 1", "ecall", "jal x0, -8")
    assert engine.run(budget) == "budget"
    traps = len([i for i in range(budget) if i % 7 == 1])
    assert hart.instret == budget - traps


def test_breakpoints_stop_before_and_let_the_first_instruction_pass(engine: Engine) -> None:
    hart = engine.hart
    put(hart, CODE, "addi x5, x5, 1", "addi x5, x5, 1", "jal x0, -8")
    assert engine.run(10) == "budget"
    hart.breakpoints.add(CODE + 4)
    assert engine.run(10) == "breakpoint"
    assert hart.state.pc == CODE + 4
    before = hart.instret
    assert engine.run(10) == "breakpoint"
    assert (hart.state.pc, hart.instret) == (CODE + 4, before + 3)
    hart.breakpoints.clear()
    assert engine.run(10) == "budget"


def test_code_that_changes_itself_is_honoured_at_fence_i(engine: Engine) -> None:
    hart = engine.hart
    new = int.from_bytes(assemble_line("addi x5, x0, 2"), "little")
    put(hart, CODE, "addi x5, x0, 1", "sw x6, 0(x7)", "fence.i", "jal x0, -12")
    hart.state.x[6], hart.state.x[7] = new, CODE
    engine.run(4)
    assert hart.state.x[5] == 1
    engine.run(1)
    assert hart.state.x[5] == 2


def test_wfi_ends_the_run(engine: Engine) -> None:
    put(engine.hart, CODE, "wfi", "addi x5, x5, 1")
    assert engine.run(10) == "attention"
    assert engine.run(10) == "attention"
    assert (engine.hart.instret, engine.hart.state.x[5]) == (1, 0)


def test_the_first_use_of_floating_point_marks_it_dirty(engine: Engine) -> None:
    hart = engine.hart
    put(hart, CODE, "fadd.d f1, f2, f3, rne", "fadd.d f4, f2, f3, rne")
    hart.state.fs = Dirty.INITIAL
    assert engine.run(2) == "budget"
    assert (hart.state.fs, hart.instret) == (Dirty.DIRTY, 2)


def _map_page(hart: Hart, vaddr: int, paddr: int, flags: int) -> None:
    """Page tables for one page: the root at DATA, its children behind it; S-mode from now on."""
    tables = [DATA, DATA + 0x1000, DATA + 0x2000]
    for level, table in zip((2, 1), tables[1:], strict=True):
        entry = table >> 12 << 10 | 1
        hart.memory.write(tables[2 - level] + 8 * (vaddr >> (12 + 9 * level) & 511), 8, entry)
    hart.memory.write(tables[2] + 8 * (vaddr >> 12 & 511), 8, paddr >> 12 << 10 | flags)


def test_page_tables_set_accessed_and_dirty_bits_and_fault_alike() -> None:
    harts = []
    for kind in (NativeEngine, ReferenceEngine):
        engine = make(kind)
        hart = engine.hart
        _map_page(hart, 0x4000_0000, CODE & ~0xFFF, 0b1011)  # V R X
        _map_page(hart, 0x4000_1000, DATA + 0x8000, 0b0111)  # V R W
        _map_page(hart, 0x4000_2000, DATA + 0x9000, 0b0011)  # V R
        hart.csr_write(BY_NAME["satp"].number, 8 << 60 | DATA >> 12)
        hart.csr_write(BY_NAME["pmpaddr0"].number, (1 << 54) - 1)
        hart.csr_write(BY_NAME["pmpcfg0"].number, 0x1F)
        put(hart, CODE, "ld x5, 0(x10)", "ld x5, 8(x10)", "sd x6, 0(x10)", "sd x6, 8(x10)",
            "ld x7, 0(x11)", "sd x7, 0(x11)", "addi x5, x5, 1")  # fmt: skip
        hart.state.x[10], hart.state.x[11], hart.state.x[6] = 0x4000_1000, 0x4000_2000, 77
        hart.state.pc, hart.state.priv = 0x4000_0000 | CODE & 0xFFF, 1
        hart.regime_changed()
        assert [engine.run(n) for n in (1, 2, 3)] == ["budget"] * 3
        harts.append(hart)
    assert_same(*harts)
    assert (harts[0].csr.mcause, harts[0].csr.mtval) == (15, 0x4000_2000)
    leaves = [harts[0].memory.read(DATA + 0x2000 + 8 * page, 8) & 0xC0 for page in range(3)]
    assert leaves == [0x40, 0xC0, 0x40]


def test_the_two_engines_share_one_state() -> None:
    """Either goes on where the other stopped."""
    native = make(NativeEngine)
    put(native.hart, CODE, "addi x5, x5, 1", "jal x0, -4")
    native.run(101)
    ReferenceEngine(native.hart).run(100)
    native.run(100)
    assert (native.hart.state.x[5], native.hart.instret) == (151, 301)
    assert State.offset("x") == 0
