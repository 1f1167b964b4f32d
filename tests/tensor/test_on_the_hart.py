"""Tensor instructions as a program meets them: assembled, on the real hart, under both engines."""

from __future__ import annotations

import numpy as np
import pytest

from emu.cpu.hart import Hart
from emu.cpu.native.engine import NativeEngine
from emu.cpu.reference import ReferenceEngine
from emu.cpu.tensor.descriptor import SIZE
from emu.cpu.tensor.faults import Cause, Operand
from tests.cpu.machines import BASE, HANDLER, Board
from tests.tensor.bench import descriptor

DATA = BASE + 0x2000
A, B, C, FORMS = DATA, DATA + 0x100, DATA + 0x200, DATA + 0x400

PROGRAM = """
    lui t0, 8
    csrrs x0, mstatus, t0
    tld tr0, (a0)
    tld tr1, (a1)
    tld tr2, (a2)
    tmatmul tr0, tr1, tr2, x0
    trelu tr0, tr0, x0
    tget a3, tr0, 9
    tset tr0, a4, 16
    tst tr0, (a0)
"""


@pytest.fixture(params=[ReferenceEngine, NativeEngine])
def board(request: pytest.FixtureRequest) -> Board:
    """A board with two matrices, a place for a third, and their descriptors."""
    board = Board()
    engine: type[ReferenceEngine] = request.param
    board.engine = engine(board.hart)
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3) - 3, np.ones((3, 4), np.float32)
    for address, array in ((A, a), (B, b)):
        board.memory.view(address, array.nbytes)[:] = array.tobytes()
    tensors = ((C, (2, 4), [4, 1]), (A, (2, 3), [3, 1]), (B, (3, 4), [4, 1]))
    for i, (address, dims, strides) in enumerate(tensors):
        form = descriptor(address, "f32", dims, strides).encode()
        board.memory.view(FORMS + i * SIZE, SIZE)[:] = form
    return board.set(a0=FORMS, a1=FORMS + SIZE, a2=FORMS + 2 * SIZE, a4=5)


def product(hart: Hart) -> list[float]:
    return np.frombuffer(bytes(hart.memory.view(C, 32)), np.float32).tolist()


def test_a_program_multiplies_matrices(board: Board) -> None:
    board.program(PROGRAM)
    board.engine.run(10)
    assert board.hart.instret == 10
    assert product(board.hart) == [0.0] * 4 + [3.0] * 4
    assert board.x("a3") == 4
    assert int.from_bytes(board.memory.view(FORMS + 48, 8), "little") == 5
    assert board["mstatus"] >> 15 & 3 == 3  # dirty
    assert board.hart.stall_ps > 0


def test_the_tensor_unit_that_is_off_makes_an_illegal_instruction(board: Board) -> None:
    board.run("tld tr0, (a0)", 1)
    assert (board["mcause"], board.hart.state.pc) == (2, HANDLER)


def test_a_tensor_exception_names_cause_and_operand(board: Board) -> None:
    board.memory.view(FORMS + SIZE + 16, 1)[:] = b"\3"  # ts1 has 3 rows, td only 2
    board.program(PROGRAM)
    board.engine.run(6)
    assert (board["mcause"], board["mtval"]) == (24, 0)
    assert board["mepc"] == BASE + 5 * 4
    assert (board["tcause"], board["toperand"]) == (Cause.SHAPE, Operand.DESTINATION)


def test_an_element_outside_ram_is_an_access_fault(board: Board) -> None:
    board.memory.view(FORMS, 8)[:] = (0x1000).to_bytes(8, "little")
    board.program(PROGRAM)
    board.engine.run(6)
    assert (board["mcause"], board["mtval"]) == (7, 0x1000)
