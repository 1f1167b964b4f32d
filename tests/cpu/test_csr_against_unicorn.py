"""The Zicsr instructions against Unicorn, on registers that both keep in the same way."""

from __future__ import annotations

from functools import cache

import pytest
import unicorn
from hypothesis import given
from hypothesis import strategies as st
from unicorn import riscv_const as uc

from emu.cpu.state import Dirty
from emu.isa import TABLE
from emu.isa.assemble import assemble_line
from tests.cpu.differential import INTEGERS
from tests.cpu.machines import BASE, SIZE, Board

REGISTERS = ["fflags", "frm", "fcsr", "mscratch", "sscratch"]
INSTRUCTIONS = [m for m, i in TABLE.items() if i.extension == "zicsr"]


@cache
def _board() -> Board:
    return Board()


@cache
def _unicorn() -> unicorn.Uc:
    machine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
    machine.mem_map(BASE, SIZE)
    return machine


def _ours(program: str, a0: int, a1: int) -> tuple[int, int]:
    board = _board()
    board.hart.reset(BASE)
    board["mstatus"] = Dirty.INITIAL << 13
    board.set(a0=a0, a1=a1).run(program)
    return board.x("a2"), board.x("a3")


def _theirs(program: str, a0: int, a1: int) -> tuple[int, int]:
    machine = _unicorn()
    lines = program.split(";")
    code = b"".join(assemble_line(line.strip()) for line in lines)
    machine.reg_write(uc.UC_RISCV_REG_MSTATUS, Dirty.INITIAL << 13)
    for register, value in ((uc.UC_RISCV_REG_A0, a0), (uc.UC_RISCV_REG_A1, a1)):
        machine.reg_write(register, value)
    machine.reg_write(uc.UC_RISCV_REG_A2, 0)
    machine.ctl_remove_cache(BASE, BASE + 64)
    machine.mem_write(BASE, code)
    machine.emu_start(BASE, BASE + len(code), count=len(lines))
    return machine.reg_read(uc.UC_RISCV_REG_A2), machine.reg_read(uc.UC_RISCV_REG_A3)


@pytest.mark.parametrize("mnemonic", INSTRUCTIONS)
def test_instruction_agrees_with_unicorn(mnemonic: str) -> None:
    """The register is set, the instruction executed, the register read."""

    @given(
        st.sampled_from(REGISTERS), st.integers(0, 31), st.sampled_from(["a1", "zero"]),
        st.sampled_from(["a2", "zero"]), INTEGERS, INTEGERS,
    )  # fmt: skip
    def agree(csr: str, zimm: int, source: str, rd: str, a0: int, a1: int) -> None:
        operand = str(zimm) if mnemonic.endswith("i") else source
        program = f"csrw {csr}, a0; {mnemonic} {rd}, {csr}, {operand}; csrr a3, {csr}"
        assert _ours(program, a0, a1) == _theirs(program, a0, a1), program

    agree()
