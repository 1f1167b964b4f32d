"""Instructions issued by emitted code do what the reference engine does, and are found by content.

Programs run on two boards, one an engine, with the same memory; whatever a program can see must be
alike afterwards. `Board.python` counts the instructions that the native engine left to Python.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.cpu import traps
from emu.cpu.native.engine import NativeEngine
from emu.cpu.reference import ReferenceEngine
from emu.cpu.state import EXTENTS
from emu.cpu.tensor import threads
from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.descriptor import SIZE as FORM
from emu.cpu.tensor.descriptor import Descriptor
from emu.cpu.tensor.faults import Cause
from emu.cpu.tensor.unit import unit as tensor_unit
from emu.isa.xaitensor import TENSORS, Declaration
from tests.cpu import machines
from tests.cpu.machines import BASE, HANDLER
from tests.cpu.test_mmu import LEAF, MIDDLE, MPRV, ROOT, VIRTUAL, A, D, R, V, W, entry
from tests.tensor import bench
from tests.tensor.bench import descriptor
from tests.tensor.drawn import draw
from tests.tensor.placed import Placed, register_of

FORMS = BASE + 0x8000
BLOCK = BASE + 0x9000
DATA = BASE + 0x4_0000
LENGTH = 0x4000
TENSORS_ON = "lui t0, 8; csrrs x0, mstatus, t0; "
U_BIT, MPP_SUPERVISOR = 16, 1 << traps.MPP_SHIFT


class Board(machines.Board):
    """A board with data in memory, and an engine that says how much it left to Python."""

    def __init__(self, engine: type[NativeEngine | ReferenceEngine]) -> None:
        super().__init__()
        self.engine = engine(self.hart)  # type: ignore[assignment]
        self.python = 0
        if isinstance(self.engine, NativeEngine):
            self._count(self.engine._reference)
        random = np.random.default_rng(1)
        values = random.integers(-4, 5, LENGTH // 4).astype(np.float32)
        self.memory.view(DATA, LENGTH)[:] = values.tobytes()
        self.open_memory()
        self.program(f"jal x0, {HANDLER}", HANDLER)

    def _count(self, reference: ReferenceEngine) -> None:
        execute: Callable[[], None] = reference.execute_one

        def counting() -> None:
            self.python += 1
            execute()

        reference.execute_one = counting  # type: ignore[method-assign]

    def forms(self, *descriptors: Descriptor) -> None:
        """Descriptors in memory, one behind the other."""
        for i, d in enumerate(descriptors):
            self.memory.view(FORMS + i * FORM, FORM)[:] = d.encode()

    def start(self, text: str, **registers: int) -> None:
        """Go to the start of a program; a0, a1, … lead to the descriptors, a7 to the block."""
        places = {f"a{i}": FORMS + i * FORM for i in range(6)}
        self.set(**{**places, "a7": BLOCK, **registers})
        self.program(text)

    def go(self, text: str, **registers: int) -> None:
        """Execute a straight program of one instruction a line or `;`."""
        self.start(text, **registers)
        lines = [line for line in text.replace(";", "\n").splitlines() if line.strip()]
        self.engine.run(len(lines))

    def seen(self) -> tuple[object, ...]:
        """Everything that a program can see."""
        hart, state = self.hart, self.hart.state
        return (
            bytes(self.memory.view(DATA, LENGTH)), bytes(self.memory.view(FORMS, 0x1000)),
            bytes(self.memory.view(ROOT, 0x3000)), bytes(state.tr), state.x.tolist(), state.pc,
            hart.instret, hart.stall_ps, state.xs, state.priv, state.fflags, self["mcause"],
            self["mepc"], self["mtval"], hart.tcause, hart.toperand,
        )  # fmt: skip

    def floats(self, at: int, count: int) -> list[float]:
        values = np.frombuffer(bytes(self.memory.view(at, 4 * count)), np.float32)
        return [float(value) for value in values]


def both(use: Callable[[Board], None]) -> Board:
    """Do the same on a board of each engine and compare; gives the native one."""
    boards = [Board(engine) for engine in (NativeEngine, ReferenceEngine)]
    for board in boards:
        use(board)
    native, reference = boards
    assert native.seen() == reference.seen()
    return native


def matrix(at: int, rows: int = 4, columns: int = 4) -> Descriptor:
    return descriptor(DATA + at, "f32", (rows, columns), [columns, 1])


SQUARES = (matrix(0), matrix(0x100), matrix(0x200))
LOADED = TENSORS_ON + "tld tr0, (a0); tld tr1, (a1); tld tr2, (a2); "


def test_a_loop_is_left_to_python_only_while_it_is_new() -> None:
    def use(board: Board) -> None:
        board.forms(*SQUARES)
        board.start(
            LOADED + "tld tr0, (a0); tmatmul tr0, tr1, tr2, x0; trelu tr0, tr0, x0;"
            f"tst tr0, (a0); jal x0, {BASE + 5 * 4}"
        )
        board.engine.run(50)
        new = board.python
        board.engine.run(500)
        assert board.python == new

    assert both(use).python < 20


OPERATIONS = (
    "tadd tr{d}, tr{s}, tr{t}", "tmul tr{d}, tr{s}, tr{t}", "tsub tr{d}, tr{s}, tr{t}",
    "tmatmul tr{d}, tr{s}, tr{t}, x0", "tmatmul tr{d}, tr{s}, tr{t}, a7",
    "trelu tr{d}, tr{s}, x0", "tcopy tr{d}, tr{s}, x0", "tabs tr{d}, tr{s}, a7",
    "tsoftmax tr{d}, tr{s}, x0", "teq tr{d}, tr{s}, tr{t}",
    "tld tr{d}, (a{s})", "tst tr{d}, (a{s})", "tmv tr{d}, tr{s}", "tget x{t}, tr{s}, {field}",
    "tset tr{d}, a{s}, {field}", "addi a5, a5, 64", "tset tr{d}, a5, 0", "tset tr{s}, a6, {dim}",
)  # fmt: skip
NAMES = ("d", "s", "t", "field", "dim")
OPERATION = st.builds(
    lambda text, *numbers: text.format(**dict(zip(NAMES, numbers, strict=True))),
    st.sampled_from(OPERATIONS), *(st.integers(0, 3) for _ in range(3)),
    st.sampled_from([0, 1, 2, 7, 8, 9, 16, 17, 23, 24]), st.sampled_from([8, 9]),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(OPERATION, min_size=1, max_size=8), st.integers(1, 40))
def test_engines_agree_on_loops_of_any_tensor_instructions(body: list[str], more: int) -> None:
    def use(board: Board) -> None:
        board.forms(*SQUARES, matrix(0x208))
        board.memory.view(BLOCK, FORM)[:] = Attributes(given=True, activation=1, bias=4).encode()
        board["mtvec"] = BASE + 16  # a trap begins the body again
        loop = "\n".join(body)
        board.start(
            TENSORS_ON + "tld tr0, (a0); tld tr1, (a1); tld tr2, (a2); tld tr3, (a3)\n"
            f"{loop}\njal x0, {BASE + 6 * 4}",
            a5=DATA, a6=4,
        )  # fmt: skip
        board.engine.run(3 * len(body))
        board.engine.run(more)

    both(use)


def test_a_source_that_comes_to_overlap_the_destination_is_read_as_before() -> None:
    def use(board: Board) -> None:
        board.forms(*SQUARES)
        board.go(LOADED + "tadd tr0, tr1, tr2; tadd tr0, tr1, tr2; tset tr1, a5, 0;"
                 "tadd tr0, tr1, tr2; tset tr1, a6, 0; tadd tr0, tr1, tr2; tadd tr0, tr1, tr2",
                 a5=DATA + 4, a6=DATA)  # fmt: skip

    # left to Python: the first tld, the first tadd and the one whose source overlaps
    assert both(use).python == 3


def test_a_product_may_not_be_computed_over_its_own_factor() -> None:
    def use(board: Board) -> None:
        board.forms(*SQUARES)
        board.go(LOADED + "tmatmul tr0, tr1, tr2, x0; tset tr1, a5, 0; tmatmul tr0, tr1, tr2, x0",
                 a5=DATA)  # fmt: skip

    both(use)


def test_an_attribute_block_counts_by_its_content() -> None:
    board = Board(NativeEngine)
    board.forms(*SQUARES)
    results = []
    for activation in (0, 0, 1, 0):
        block = Attributes(given=True, activation=activation).encode()
        board.memory.view(BLOCK, FORM)[:] = block
        board.go(LOADED + "tmatmul tr0, tr1, tr2, a7; tmatmul tr0, tr1, tr2, a7")
        results.append(board.floats(DATA, 16))
    assert results[0] == results[1] == results[3]
    assert results[2] == [max(x, 0) for x in results[0]]
    assert min(results[0]) < 0


def test_a_reserved_byte_set_later_is_found() -> None:
    def use(board: Board) -> None:
        board.forms(*SQUARES)
        board.memory.view(BLOCK, FORM)[:] = Attributes(given=True).encode()
        board.go(LOADED + "tmatmul tr0, tr1, tr2, a7; tmatmul tr0, tr1, tr2, a7")
        board.memory.view(BLOCK + 117, 1)[:] = b"\1"
        board.go("tmatmul tr0, tr1, tr2, a7")
        assert (board["mcause"], board.hart.tcause) == (24, Cause.ATTRIBUTE)
        board.memory.view(FORMS + 15, 1)[:] = b"\1"
        board.go("tld tr1, (a0)")
        assert (board["mcause"], board.hart.tcause) == (24, Cause.DESCRIPTOR)

    both(use)


def test_the_unit_that_is_turned_off_again_makes_illegal_instructions() -> None:
    def use(board: Board) -> None:
        board.forms(*SQUARES)
        for line in ("tadd tr0, tr1, tr2", "tld tr1, (a0)", "tget x5, tr0, 0", "tst tr1, (a0)"):
            board.go(LOADED + "tadd tr0, tr1, tr2; tadd tr0, tr1, tr2; tst tr1, (a1)")
            board.go(f"csrrc x0, mstatus, a6; {line}", a6=0x1_8000)
            assert (board["mcause"], board["mepc"]) == (2, BASE + 4)

    both(use)


@pytest.mark.parametrize("form", ["tld tr1, (a6)", "tst tr1, (a6)", "tmatmul tr0, tr1, tr2, a6"])
def test_a_misaligned_block_traps(form: str) -> None:
    def use(board: Board) -> None:
        board.forms(*SQUARES)
        board.go(LOADED + f"tst tr1, (a1); tmatmul tr0, tr1, tr2, x0; {form}", a6=FORMS + 64)
        assert (board["mcause"], board.hart.tcause) == (24, Cause.ALIGNMENT)

    both(use)


def paged(board: Board, flags: int) -> None:
    """Loads and stores go through tables, as in supervisor mode: VIRTUAL is DATA, page by page."""
    board.word(ROOT + 8, entry(MIDDLE, V))
    board.word(ROOT + 16, entry(BASE & -(1 << 30), V | R | W | A | D))
    board.word(MIDDLE, entry(LEAF, V))
    for i in range(LENGTH // 4096):
        board.word(LEAF + 8 * i, entry(DATA + i * 4096, flags))
    board["satp"] = 8 << 60 | ROOT >> 12
    board["mstatus"] = MPRV | MPP_SUPERVISOR | 0x1_8000
    board.hart.regime_changed()


def virtual(at: int, count: int) -> Descriptor:
    return descriptor(VIRTUAL + at, "f32", (count,), [1])


ADD = "tadd tr0, tr1, tr2"


def load_registers(board: Board, *descriptors: Descriptor) -> None:
    for i, d in enumerate(descriptors):
        board.hart.tr[i] = d


def test_a_page_mapped_elsewhere_is_found_after_a_fence() -> None:
    def use(board: Board) -> None:
        paged(board, V | R | W | A | D)
        load_registers(board, virtual(0, 1500), virtual(0x2000, 1500), virtual(0x2000, 1500))
        board.go(f"{ADD}; {ADD}; {ADD}")
        new = board.python
        board.go(f"{ADD}; {ADD}")
        assert board.python == new
        board.word(LEAF + 8, entry(DATA + 0x3000, V | R | W | A | D))  # scattered from now on
        board.go(f"sfence.vma x0, x0; {ADD}; {ADD}")
        board.word(LEAF + 8, entry(DATA + 0x1000, V | R | W | A | D))
        board.go(f"sfence.vma x0, x0; {ADD}; {ADD}")

    both(use)


def test_rights_taken_away_are_missed_after_a_fence() -> None:
    def use(board: Board) -> None:
        paged(board, V | R | W | A | D)
        load_registers(board, virtual(0, 1500), virtual(0x2000, 1500), virtual(0x2000, 1500))
        board.go(f"{ADD}; {ADD}; {ADD}")
        board.word(LEAF + 8, entry(DATA + 0x1000, V | R | A))
        board.go(f"sfence.vma x0, x0; {ADD}")
        assert (board["mcause"], board["mtval"]) == (15, VIRTUAL + 0x1000)

    both(use)


def test_accessed_and_dirty_bits_are_set() -> None:
    def use(board: Board) -> None:
        paged(board, V | R | W)
        for at in (0, 0x1000):  # the second destination is a page that has not been written
            load_registers(board, virtual(at, 900), virtual(0x2000, 900), virtual(0x2000, 900))
            board.go(f"{ADD}; {ADD}; {ADD}")
        assert board.memory.read(LEAF + 8, 8) & (A | D) == A | D
        assert not board.memory.read(LEAF + 16, 8) & D

    both(use)


def test_what_one_mode_may_touch_another_may_not() -> None:
    def use(board: Board) -> None:
        paged(board, V | R | W | A | D)
        load_registers(board, virtual(0, 900), virtual(0x2000, 900), virtual(0x2000, 900))
        board.go(f"{ADD}; {ADD}; {ADD}")
        board["mstatus"] = MPRV | 0x1_8000  # user mode, and the pages are not the user's
        board.go(ADD)
        assert board["mcause"] == 13
        board["mstatus"] = MPRV | MPP_SUPERVISOR | 0x1_8000
        board.go(f"{ADD}; {ADD}")

    both(use)


def test_an_operand_moved_outside_its_pages_is_looked_for_again() -> None:
    def use(board: Board) -> None:
        load_registers(board, *SQUARES)
        board["mstatus"] = 0x1_8000
        board.go(f"{ADD}; {ADD}; {ADD}")
        for bad in (0x1000, BASE + machines.SIZE - 4, (1 << 64) - 8, 0):
            board.go(f"tset tr1, a5, 0; {ADD}", a5=bad)
            assert board["mcause"] in (5, 24)
        board.hart.tr[1] = descriptor(4, "f32", (4, 4), [-4, 1])  # elements below address 0
        board.go(ADD)
        assert board["mcause"] == 24

    both(use)


def test_an_index_out_of_range_is_found_by_a_plan_that_is_known() -> None:
    def use(board: Board) -> None:
        index = descriptor(DATA + 0x300, "i32", (2,), [1])
        load_registers(board, matrix(0, 2), matrix(0x100), index)
        board["mstatus"] = 0x1_8000
        for indices in ((0, 3), (1, 2), (1, 4)):
            board.memory.view(DATA + 0x300, 8)[:] = np.array(indices, np.int32).tobytes()
            board.go("tgather tr0, tr1, tr2, x0; tgather tr0, tr1, tr2, x0")
        assert (board["mcause"], board.hart.tcause) == (24, Cause.INDEX)

    both(use)


def test_more_forms_than_the_unit_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_unit, "RECORDS_MAX", 8)

    def use(board: Board) -> None:
        board["mstatus"] = 0x1_8000
        for _ in range(2):
            for n in range(1, 30):
                load_registers(board, *(descriptor(DATA + 0x400 * i, "f32", (n,), [1])
                                        for i in range(3)))  # fmt: skip
                board.go(f"{ADD}; {ADD}")

    both(use)


def test_more_operands_than_extents() -> None:
    def use(board: Board) -> None:
        paged(board, V | R | W | A | D)
        for i in range(EXTENTS + 10):  # all the same page, so that no run is longer than one
            board.word(LEAF + 8 * i, entry(DATA, V | R | W | A | D))
        for _ in range(2):
            for i in range(EXTENTS + 10):
                operands = (virtual(0x1000 * i + 64 * j, 8) for j in range(3))
                load_registers(board, *operands)
                board.go(f"{ADD}; {ADD}")

    both(use)


def test_a_breakpoint_on_a_tensor_instruction_stops_in_front_of_it() -> None:
    board = Board(NativeEngine)
    board.forms(*SQUARES)
    board.start(LOADED + f"{ADD}; {ADD}; jal x0, {BASE + 20}")
    board.engine.run(20)
    board.hart.breakpoints = {BASE + 24}
    assert board.engine.run(100) == "breakpoint"
    assert board.hart.state.pc == BASE + 24


@pytest.mark.parametrize("time", [1, 70_000, 100_000, 1_000_000])
def test_the_machine_looks_at_a_hart_that_has_stalled_until_a_moment(time: int) -> None:
    def use(board: Board) -> None:
        load_registers(board, *SQUARES)
        board["mstatus"] = 0x1_8000
        board.start(f"{ADD}; jal x0, {BASE}")
        board.engine.run(10)
        for budget in (1, 3, 100):
            board.hart.state.stall_end = board.hart.stall_ps + time
            before = board.hart.instret
            why = board.engine.run(budget)
            board.hart.state.x[5] = board.hart.instret - before
            board.hart.state.x[6] = why == "attention"
            assert (why == "attention") == (board.hart.stall_ps >= board.hart.state.stall_end)

    both(use)


def test_traps_use_up_the_same_time() -> None:
    def use(board: Board) -> None:
        board["mtvec"] = BASE
        board.hart.state.stall_end = 5 * board.hart.trap_ps
        board.start("ecall")
        assert board.engine.run(100) == "attention"
        assert board.hart.stall_ps == board.hart.state.stall_end

    both(use)


def test_threads_that_come_later_take_part_and_change_nothing() -> None:
    """An instruction that is issued natively, with its plan known before there were threads."""
    before, results = threads.count(), []
    board = Board(NativeEngine)
    n = 200
    board.memory.view(DATA, 4 * n * n)[:] = (
        np.random.default_rng(2).random(n * n, np.float32).tobytes()
    )
    load_registers(board, *(descriptor(DATA + 0x4_0000 * i, "f32", (n, n), [n, 1])
                            for i in (1, 0, 0)))  # fmt: skip
    board["mstatus"] = 0x1_8000
    try:
        for count in (1, 1, 2, 3, 1):
            threads.set_count(count)
            board.go("tmatmul tr0, tr1, tr2, x0; tmatmul tr0, tr1, tr2, x0")
            results.append(bytes(board.memory.view(DATA + 0x4_0000, 4 * n * n)))
    finally:
        threads.set_count(before)
    assert set(results) == {results[0]}


@dataclass
class Drawn:
    """An instruction with operands drawn from its declaration, to be put on boards at `DATA`."""

    placed: Placed
    first: int = bench.BASE + bench.PAGE

    def __post_init__(self) -> None:
        self.size = self.placed.bench.take(0) - self.first
        self.before = self.placed.bench.read(self.first, self.size)

    def put(self, board: Board) -> None:
        """Memory as it was drawn, and the descriptors in the registers."""
        board["mstatus"] = 0x1_8000
        board.memory.view(DATA, self.size)[:] = self.before
        for operand in self.placed.case.declaration.operands:
            if operand.name in self.placed.tensors:
                moved = self.placed.tensors[operand.name].copy()
                moved.base += DATA - self.first
                board.hart.tr[register_of(operand)] = moved

    def issue(self, board: Board) -> None:
        """Execute it."""
        declaration = self.placed.case.declaration
        operands = [f"tr{i}" for i in range(1 + declaration.form.sources)]
        if declaration.form.block:
            operands.append("a7" if self.placed.block else "x0")
        block = self.placed.block + DATA - self.first
        board.go(f"{declaration.mnemonic} {', '.join(operands)}", a7=block)


@pytest.mark.parametrize("declaration", TENSORS.values(), ids=TENSORS.keys())
def test_every_instruction_issued_again_gives_what_it_gave(declaration: Declaration) -> None:
    rng = random.Random(declaration.mnemonic)
    for _ in range(2):
        drawn, board = Drawn(Placed(draw(declaration, rng))), Board(NativeEngine)
        drawn.placed.execute()
        for left_to_python in (2, 3, 3):
            drawn.put(board)
            drawn.issue(board)
            after = bytes(board.memory.view(DATA, drawn.size))
            assert after == drawn.placed.bench.read(drawn.first, drawn.size)
            assert board.python <= left_to_python
        assert board.hart.stall_ps == 3 * drawn.placed.bench.stall_ps


@pytest.mark.parametrize("declaration", TENSORS.values(), ids=TENSORS.keys())
def test_every_instruction_whose_operands_move_does_as_in_the_reference(
    declaration: Declaration,
) -> None:
    """Over one another, to odd addresses, out of RAM: a known plan makes no difference."""
    drawn = Drawn(Placed(draw(declaration, random.Random(declaration.mnemonic))))

    def use(board: Board) -> None:
        rng = random.Random(declaration.mnemonic)
        for turn in range(10):
            drawn.put(board)
            for register in range(10 if turn > 1 else 0):
                moved = board.hart.tr[register]
                near = DATA + rng.randrange(drawn.size)
                moved.base = rng.choice([moved.base] * 3 + [near] * 4 + [rng.getrandbits(64)])
                board.hart.tr[register] = moved
            drawn.issue(board)
            board.set(t0=zlib.crc32(board.memory.view(DATA - 0x1000, drawn.size + 0x4000)))

    both(use)
