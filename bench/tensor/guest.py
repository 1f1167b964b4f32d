"""Tensor instructions as a program in the emulated machine meets them.

`Guest` is a machine that is switched on. For each problem the host puts arrays, descriptors and the
attribute block into RAM and loads a little program, assembled and linked as any other:

    _start: tld tr0, (a0)           every operand's descriptor, as compiled code does it
            tld tr1, (a1)
            tld tr2, (a2)
            tmatmul tr0, tr1, tr2, x0
            addi s0, s0, -1
            bne s0, x0, _start

What is measured is the wall time in which the machine runs that, so decoding, checks and whatever
else issuing an instruction costs are part of it. The program runs in M-mode and ends the run
through the finisher, which costs a batch of instructions some microseconds; a trap ends it too.
"""

from __future__ import annotations

import ctypes
import itertools
import re
from collections.abc import Container

import numpy as np
from numpy.typing import DTypeLike

from bench.tensor.problem import Array, Instruction, Problem
from emu import board, loader
from emu import memory_map as at
from emu.console import MemoryConsole
from emu.cpu.tensor.attributes import EXTRAS, Attributes
from emu.cpu.tensor.descriptor import DTYPES, RANK_MAX, SIZE, Descriptor
from emu.cpu.tensor.faults import TENSOR_EXCEPTION, Cause, Operand
from emu.devices.finisher import FAIL, PASS
from emu.errors import AiosError
from emu.isa import TABLE
from emu.isa.csrs import BY_NAME
from emu.isa.registers import NUMBERS
from emu.machine import Machine
from emu.memory import Memory
from toolchain.asm import assemble
from toolchain.link import link

_PROGRAMS = at.RAM + (16 << 20)
_FORMS = at.RAM + (32 << 20)
_DATA = at.RAM + (64 << 20)
_PROGRAM_SIZE = 4096
_EXTRA = 8
"""The first tensor register of operands that the attribute block names."""
_GAP = 11 * 64
"""Between arrays, so that they do not all begin at the same place of a page."""
_SETUP = """
.globl _start
_start:
    la t0, trap
    csrw mtvec, t0
    lui t0, 8                       # mstatus.XS = 1: the tensor unit is on
    csrs mstatus, t0
    li t0, {passed}
    j end
trap:
    csrr t1, mcause
    slli t1, t1, 16
    li t0, {failed}
    or t0, t0, t1
end:
    li t1, {finisher}
    sw t0, 0(t1)
    j end
"""
_PROGRAM = """
.globl _start
_start:
{lines}
    addi s0, s0, -1
    bne s0, x0, _start
    li t0, {passed}
    li t1, {finisher}
    sw t0, 0(t1)
"""
_NUMBERS = {"passed": PASS, "failed": FAIL, "finisher": at.FINISHER}
_CODES = {t.name: t.code for t in DTYPES.values()}
_POINTERS = [f"a{i}" for i in range(8)] + [f"s{i}" for i in range(1, 12)]
"""Registers that lead to descriptors and attribute blocks; s0 counts."""
_COUNTER = NUMBERS["x"]["s0"]


class Prepared:
    """A problem in the machine's memory, with the program that computes it."""

    def __init__(self, machine: Machine, entry: int, result: Array, shape: tuple[int, ...]) -> None:
        self._machine, self._entry = machine, entry
        self._result, self._shape = result, shape

    def run(self, times: int) -> None:
        """Execute the instructions so often. AiosError when it traps."""
        hart = self._machine.hart
        hart.state.x[_COUNTER], hart.state.pc = times, self._entry
        status = self._machine.run()
        if status.code == TENSOR_EXCEPTION:
            cause, operand = (hart.csr_read(BY_NAME[n].number) for n in ("tcause", "toperand"))
            raise AiosError(f"tensor exception {Cause(cause).name} for {Operand(operand).name}")
        if status.code:
            raise AiosError(f"trap {status.code} at {hart.csr_read(BY_NAME['mepc'].number):#x}")

    def result(self) -> Array:
        """What the program has left in memory."""
        return self._result.reshape(self._shape).copy()


class Guest:
    """A machine for one problem after the other."""

    spins = 0.003
    """As of other engines."""

    def __init__(self) -> None:
        setup = _link(_SETUP.format(**_NUMBERS), at.RAM)
        self._machine = Machine(board.load(), kernel=setup, console=MemoryConsole())
        self._machine.run()
        self._programs = itertools.count(_PROGRAMS, _PROGRAM_SIZE)

    def close(self) -> None:
        """Switch off."""
        self._machine.close()

    def prepare(self, problem: Problem) -> Prepared:
        """Load everything; what was prepared before is gone."""
        memory = self._machine.memory
        result = np.zeros(problem.shape, problem.dtype)
        load = _Load(memory, result)
        lines = [line for instruction in problem.instructions for line in load.lines(instruction)]
        entry = next(self._programs)
        text = _PROGRAM.format(lines="\n".join(lines), **_NUMBERS)
        loader.elf(_link(text, entry), memory, "the program").place(memory)
        for name, value in load.registers.items():
            self._machine.hart.state.x[NUMBERS["x"][name]] = value
        left = memory.view(load.address(result), result.nbytes)
        return Prepared(self._machine, entry, np.frombuffer(left, result.dtype), problem.shape)


class _Load:
    """A problem on its way into RAM: arrays, descriptors and blocks, and the registers that lead
    to these. Arrays that share memory in the host share it in the guest."""

    def __init__(self, memory: Memory, result: Array) -> None:
        self.registers: dict[str, int] = {}
        self._memory, self._result = memory, result
        self._placed: dict[int, int] = {}
        self._next = _DATA
        self._forms = zip(_POINTERS, itertools.count(_FORMS, SIZE), strict=False)

    def lines(self, instruction: Instruction) -> list[str]:
        """The instruction in assembly, behind loads of its operands: those it names itself in tr0,
        tr1, …, those of its attribute block from tr8 on."""
        named = (self._result if instruction.result is None else instruction.result,)
        operands = dict(enumerate(named + instruction.sources))
        extras = {_EXTRA + i: a for i, a in enumerate(instruction.extras) if a is not None}
        loads = [
            f"tld tr{number}, ({self._pointer(self._descriptor(array))})"
            for number, array in {**operands, **extras}.items()
        ]
        block = "x0"
        if instruction.attributes or extras:
            block = self._pointer(_block(instruction, extras))
        tensors = itertools.count()
        text = re.sub(
            r"\{\w+(:t)?\}",
            lambda field: f"tr{next(tensors)}" if field[1] else block,
            TABLE[instruction.mnemonic].syntax,
        )
        return [*loads, text]

    def address(self, array: Array) -> int:
        """Where an array's first element is; its memory is copied when it is first asked for."""
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        start = self._placed.get(id(owner))
        if start is None:
            start = self._placed[id(owner)] = self._next
            self._next = -(-(start + owner.nbytes) // 64) * 64 + _GAP
            content = ctypes.string_at(owner.ctypes.data, owner.nbytes)
            self._memory.view(start, owner.nbytes)[:] = content
        return start + array.ctypes.data - owner.ctypes.data

    def _descriptor(self, array: Array) -> bytes:
        strides = [s // array.itemsize for s in array.strides]
        pad = [0] * (RANK_MAX - array.ndim)
        return Descriptor(
            self.address(array), _CODES[_type_name(array.dtype)], array.ndim,
            [*array.shape, *pad], strides + pad,
        ).encode()  # fmt: skip

    def _pointer(self, form: bytes) -> str:
        """A register that leads to these 128 bytes."""
        register, place = next(self._forms)
        self._memory.view(place, SIZE)[:] = form
        self.registers[register] = place
        return register


def _type_name(dtype: DTypeLike) -> str:
    dtype = np.dtype(dtype)
    return "bool" if dtype.kind == "b" else f"{dtype.kind}{8 * dtype.itemsize}"


def _block(instruction: Instruction, extras: Container[int]) -> bytes:
    """The attribute block."""
    named = range(_EXTRA, _EXTRA + EXTRAS)
    bias, *others = (number + 1 if number in extras else 0 for number in named)
    return Attributes(
        given=True, bias=bias, extras=tuple(others), **instruction.attributes
    ).encode()


def _link(text: str, base: int) -> bytes:
    return link([assemble(text, "benchmark.s")], base=base)
