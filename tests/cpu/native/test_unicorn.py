"""Emitted code against Unicorn, instruction set by instruction set, on random programs.

Unicorn also plays the engine that executes what emitted code leaves: it does that one instruction,
and its state is taken over.
"""

from __future__ import annotations

import pytest
import unicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import riscv_const as rv

from emu.cpu.state import Exit
from tests.cpu.native.bare import RAM_BASE, RAM_SIZE, Bare
from tests.cpu.native.programs import CODE, DATA, DATA_SIZE, INSTRUCTIONS, Program, programs

_MIXED = ("fcvt.d.s", "fcvt.s.d")
"""Unicorn does not box singles and takes the low half of a register that is not boxed; so programs
have doubles only, or singles only with just the low halves compared."""

_AMO, _LR, _SC = 0b0101111, 0b00010, 0b00011


def _set(*extensions: str) -> list[str]:
    return [i.mnemonic for i in INSTRUCTIONS if i.extension in extensions]


class _Oracle:
    def __init__(self, program: Program, float_mask: int) -> None:
        self.float_mask = float_mask
        self.uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
        self.uc.mem_map(RAM_BASE, RAM_SIZE)
        self.uc.mem_write(CODE, program.code)
        self.uc.mem_write(DATA, program.data)
        self.uc.reg_write(rv.UC_RISCV_REG_MSTATUS, 3 << 13)
        for n in range(1, 32):
            self.uc.reg_write(rv.UC_RISCV_REG_X0 + n, program.x[n])
        for n in range(32):
            self.uc.reg_write(rv.UC_RISCV_REG_F0 + n, program.f[n])
        self.pc = CODE

    def run(self, count: int) -> bool:
        """Execute `count` instructions; False when one of them traps."""
        try:
            self.uc.emu_start(self.pc, 0, count=count)
        except unicorn.UcError:
            return False
        self.pc = self.uc.reg_read(rv.UC_RISCV_REG_PC)
        return True

    def registers(self) -> tuple[list[int], list[int], int, int]:
        x = [self.uc.reg_read(rv.UC_RISCV_REG_X0 + n) for n in range(32)]
        f = [self.uc.reg_read(rv.UC_RISCV_REG_F0 + n) & self.float_mask for n in range(32)]
        return x, f, self.pc, self.uc.reg_read(rv.UC_RISCV_REG_FFLAGS)

    def data(self) -> bytes:
        return bytes(self.uc.mem_read(DATA, DATA_SIZE))


def _registers(bare: Bare, float_mask: int) -> tuple[list[int], list[int], int, int]:
    s = bare.state
    return list(s.x), [bits & float_mask for bits in s.f], s.pc, s.fflags


def _take_over(bare: Bare, oracle: _Oracle) -> None:
    x, f, pc, fflags = oracle.registers()
    for n in range(32):
        bare.state.x[n], bare.state.f[n] = x[n], f[n] | ~oracle.float_mask % 2**64
    bare.state.pc, bare.state.fflags = pc, fflags
    bare.load(DATA, oracle.data())


def _check(program: Program, float_mask: int = 2**64 - 1) -> None:
    bare, oracle = Bare(), _Oracle(program, float_mask)
    bare.load(CODE, program.code)
    bare.load(DATA, program.data)
    for n in range(32):
        bare.state.x[n], bare.state.f[n] = program.x[n], program.f[n]
    bare.state.pc = CODE
    end = CODE + len(program.code) - 12
    reserved = None
    while CODE <= bare.state.pc < end:
        word = bare.memory.read(bare.state.pc, 4)
        if word & 0x7F == _AMO and word >> 27 in (_LR, _SC):
            width = word >> 12 & 7
            if word >> 27 == _SC and width != reserved:
                return  # it may succeed or fail: Unicorn looks at what is there
            reserved = width
        before = bare.state.instret
        why = bare.run(1)
        if bare.state.instret != before:
            assert oracle.run(1), f"Unicorn traps at {oracle.pc:#x}"
            assert _registers(bare, float_mask) == oracle.registers(), f"after {oracle.pc:#x}"
        assert bare.memory.view(DATA, DATA_SIZE) == oracle.data()
        if why != Exit.BUDGET:
            if not oracle.run(1):
                return
            _take_over(bare, oracle)


def _integers(width: str) -> st.SearchStrategy[Program]:
    """Programs whose LR and SC are all of one width: Unicorn looks at the value when an SC has
    another width than its LR, where we, as we may, look at the address alone."""
    names = _set("rv64i", "rv64m", "rv64a", "rv64c")
    return programs(names=[n for n in names if n not in (f"lr.{width}", f"sc.{width}")])


@settings(max_examples=60)
@given(st.one_of(_integers("w"), _integers("d")))
def test_integer_programs_agree_with_unicorn(program: Program) -> None:
    _check(program)


@settings(max_examples=60)
@given(programs(names=_set("rv64f"), singles=True))
def test_single_precision_programs_agree_with_unicorn(program: Program) -> None:
    _check(program, float_mask=2**32 - 1)


@settings(max_examples=60)
@given(programs(names=[n for n in _set("rv64d") if n not in _MIXED]))
def test_double_precision_programs_agree_with_unicorn(program: Program) -> None:
    _check(program)


@pytest.mark.parametrize("rounding", [1, 2, 3, 4])
def test_another_rounding_mode_is_left(rounding: int) -> None:
    bare = Bare()
    word = 0b0000001_00010_00001_111_00011_1010011  # fadd.d f3, f1, f2, dyn
    bare.load(RAM_BASE, word.to_bytes(4, "little"))
    bare.state.frm = rounding
    assert bare.run(1) == Exit.SLOW
    bare.state.frm = 0
    assert bare.run(1) == Exit.BUDGET
