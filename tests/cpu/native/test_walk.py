"""The walk of emitted code against the reference's, on page tables of any kind."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu.native.engine import NativeEngine
from emu.cpu.traps import MPP_SHIFT, MPRV, MXR, SUM
from tests.cpu.machines import BASE, HANDLER, Board
from tests.cpu.test_mmu import PAGE, ROOT, U_BIT, A, D, M, R, S, U, V, W, X, entry

TABLES = [ROOT + 0x1000 * n for n in range(4)]
CODE_TABLE = TABLES[-1] + 0x1000
VIRTUAL = 0x12_3456_7000
PAGES = PAGE + 0x2000 - TABLES[0]
COMPARED = ("pc", "priv", "instret", "mstatus", "mepc", "mcause", "mtval", "stall_ps", "reserved")
MODES = {8: 3, 9: 4}
OTHER_BITS = [U_BIT, 1 << 5, 1 << 8, 1 << 54, 1 << 63]
FLAGS = st.lists(st.sampled_from([R, W, X, A, D, *OTHER_BITS]), max_size=5, unique=True).map(sum)
USUAL = st.sampled_from([V | R | W | X | A | D, V | R | W | A, V | R, V | X | U_BIT, 0])
INSTRUCTIONS = ["ld x5, 0(a0)", "sd x5, 0(a0)", "amoadd.w x5, x6, (a0)", "jalr x1, 0(a0)"]


@dataclass(frozen=True)
class Case:
    """Entries from the root to the page, and who accesses it how."""

    mode: int
    entries: tuple[int, ...]
    offset: int
    status: int
    privilege: int
    instruction: str


@st.composite
def cases(draw: st.DrawFn) -> Case:
    mode = draw(st.sampled_from([*MODES]))
    levels = MODES[mode]
    leaf_at = draw(st.integers(0, levels - 1))
    entries = [entry(TABLES[n + 1], V) for n in range(levels - 1 - leaf_at)]
    flags = draw(USUAL | FLAGS.map(lambda f: f | V))
    target = draw(st.sampled_from([PAGE, BASE, 0, 1 << 39, BASE + (1 << 30)]))
    entries.append(entry(target, flags))
    if draw(st.integers(0, 9)) == 0:
        entries[0] ^= draw(FLAGS)
    offset = draw(st.sampled_from([0, 8, 0xFF8, 0xFFC, 1 << 63]))
    status = draw(st.lists(st.sampled_from([MPRV, SUM, MXR]), unique=True).map(sum))
    status |= draw(st.sampled_from([U, S, M])) << MPP_SHIFT
    privilege = draw(st.sampled_from([U, S, S, M]))
    instruction = draw(st.sampled_from(INSTRUCTIONS))
    return Case(mode, tuple(entries), offset, status, privilege, instruction)


def mapped(board: Board, case: Case) -> int:
    """Make the tables, and in the same root an entry that maps the code to itself; gives the
    address that the case accesses."""
    levels = MODES[case.mode]
    virtual = VIRTUAL & (1 << 12 + 9 * levels - 1) - 1
    for n, word in enumerate(case.entries):
        shift = 12 + 9 * (levels - 1 - n)
        board.word(TABLES[n] + 8 * (virtual >> shift & 511), word)
    flags = V | R | W | X | A | D | (U_BIT if case.privilege == U else 0)
    gigabyte = entry(BASE, flags)
    if levels == 4:
        board.word(CODE_TABLE + 8 * (BASE >> 30 & 511), gigabyte)
        gigabyte = entry(CODE_TABLE, V)
    board.word(TABLES[0] + 8 * (BASE >> 12 + 9 * (levels - 1) & 511), gigabyte)
    return virtual + case.offset


def outcome(case: Case, native: bool) -> tuple[object, ...]:
    """What the case does to the registers and to memory."""
    board = Board()
    if native:
        board.engine = NativeEngine(board.hart, translate="off")  # type: ignore[assignment]
    board.open_memory()
    board.program(f"jal x0, {HANDLER}", HANDLER)
    board.set(a0=mapped(board, case), t0=0x1234_5678_9ABC_DEF0, t1=3)
    board["satp"] = case.mode << 60 | TABLES[0] >> 12
    board["mstatus"] = case.status
    board.program(f"{case.instruction}; addi t2, x0, 1; {case.instruction}")
    board.enter(case.privilege)
    board.engine.run(3)
    state = board.hart.state
    control = [state.words[state.indices[name]] for name in COMPARED]
    return state.x.tolist(), control, bytes(board.memory.view(TABLES[0], PAGES))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_the_walks_agree(case: Case) -> None:
    assert outcome(case, native=True) == outcome(case, native=False)
