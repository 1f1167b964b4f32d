"""Tensor instructions as a program in the emulated machine meets them.

`Guest` is a machine that is switched on. For each problem the host puts arrays, descriptors and the
attribute block into RAM and loads a little program, assembled and linked as any other:

    _start: tld tr0, (a0)           every operand's descriptor, as compiled code does it
            tld tr1, (a1)
            tmatmul tr0, tr1, tr2, s1
            addi s0, s0, -1
            bne s0, x0, _start

What is measured is the wall time in which the machine runs that, so decoding, checks and whatever
else issuing an instruction costs are part of it. The program runs in M-mode and ends the run
through the finisher, which costs a batch of instructions some microseconds; a trap ends it too.
"""

from __future__ import annotations

import itertools
import re

import numpy as np
from numpy.typing import DTypeLike

from bench.tensor.problem import Array, Instruction, Problem
from emu import board, loader
from emu import memory_map as at
from emu.console import MemoryConsole
from emu.cpu.tensor.attributes import EXTRAS, Attributes
from emu.cpu.tensor.attributes import SIZE as BLOCK_SIZE
from emu.cpu.tensor.descriptor import DTYPES, RANK_MAX, SIZE, Descriptor
from emu.cpu.tensor.faults import TENSOR_EXCEPTION, Cause, Operand
from emu.devices.finisher import FAIL, PASS
from emu.errors import AiosError
from emu.isa import TABLE
from emu.isa.csrs import BY_NAME
from emu.isa.registers import NUMBERS
from emu.machine import Machine
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
{loads}
    {instruction}
    addi s0, s0, -1
    bne s0, x0, _start
    li t0, {passed}
    li t1, {finisher}
    sw t0, 0(t1)
"""
_NUMBERS = {"passed": PASS, "failed": FAIL, "finisher": at.FINISHER}
_CODES = {t.name: t.code for t in DTYPES.values()}
_POINTERS = [f"a{i}" for i in range(8)] + [f"s{i}" for i in range(2, 12)]
"""Registers that lead to descriptors; s0 counts, s1 leads to the attribute block."""
_COUNTER = NUMBERS["x"]["s0"]


class Prepared:
    """A problem in the machine's memory, with the program that computes it."""

    def __init__(self, machine: Machine, entry: int, result: Array) -> None:
        self._machine, self._entry, self._result = machine, entry, result

    def run(self, times: int) -> None:
        """Execute the instruction so often. AiosError when it traps."""
        hart = self._machine.hart
        hart.state.x[_COUNTER], hart.state.pc = times, self._entry
        status = self._machine.run()
        if status.code == TENSOR_EXCEPTION:
            cause, operand = (hart.csr_read(BY_NAME[n].number) for n in ("tcause", "toperand"))
            raise AiosError(f"tensor exception {Cause(cause).name} for {Operand(operand).name}")
        if status.code:
            raise AiosError(f"trap {status.code} at {hart.csr_read(BY_NAME['mepc'].number):#x}")

    def result(self) -> Array:
        """What the instruction has left in memory."""
        return np.array(self._result)


class Guest:
    """A machine for one problem after the other."""

    spins = 0.003
    """As of other engines."""

    def __init__(self) -> None:
        setup = _link(_SETUP.format(**_NUMBERS), at.RAM)
        self._machine = Machine(board.load(), kernel=setup, console=MemoryConsole())
        self._machine.run()
        self._programs = itertools.count(_PROGRAMS, _PROGRAM_SIZE)
        self._next = _DATA

    def close(self) -> None:
        """Switch off."""
        self._machine.close()

    def prepare(self, problem: Problem) -> Prepared:
        """Load everything; what was prepared before is gone."""
        self._next = _DATA
        memory, instruction = self._machine.memory, problem.instruction
        result = self._place(np.zeros(problem.shape, problem.dtype))
        sources = [self._place(array) for array in instruction.sources]
        extras = [self._place(array) for array in instruction.extras]
        registers = {}
        operands = [result, *sources, *extras]
        for i, (pointer, array) in enumerate(zip(_POINTERS, operands, strict=False)):
            registers[pointer] = _FORMS + i * SIZE
            memory.view(registers[pointer], SIZE)[:] = self._descriptor(array)
        registers["s1"] = 0
        if instruction.attributes or extras:
            registers["s1"] = _FORMS + len(operands) * SIZE
            memory.view(registers["s1"], BLOCK_SIZE)[:] = _block(instruction)
        entry = next(self._programs)
        text = _program(instruction, len(sources))
        loader.elf(_link(text, entry), memory, "the program").place(memory)
        for name, value in registers.items():
            self._machine.hart.state.x[NUMBERS["x"][name]] = value
        return Prepared(self._machine, entry, result)

    def _place(self, array: Array) -> Array:
        """A copy in the machine's RAM, at the next free place, with the same strides."""
        span = array.itemsize + sum(
            (n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)
        )
        start = self._next
        self._next = -(-(start + span) // 64) * 64 + _GAP
        copy = np.ndarray(
            array.shape, array.dtype, self._machine.memory.view(start, span), 0, array.strides
        )
        copy[...] = array
        return copy

    def _descriptor(self, array: Array) -> bytes:
        """The descriptor of an array that lies in RAM."""
        memory = self._machine.memory
        address = array.__array_interface__["data"][0] - memory.host_address + memory.base
        strides = [s // array.itemsize for s in array.strides]
        pad = [0] * (RANK_MAX - array.ndim)
        code = _CODES[_type_name(array.dtype)]
        return Descriptor(address, code, array.ndim, [*array.shape, *pad], strides + pad).encode()


def exists(instruction: Instruction) -> bool:
    """Whether the machine has the instruction."""
    return instruction.mnemonic in TABLE


def _type_name(dtype: DTypeLike) -> str:
    dtype = np.dtype(dtype)
    return "bool" if dtype.kind == "b" else f"{dtype.kind}{8 * dtype.itemsize}"


def _block(instruction: Instruction) -> bytes:
    """The attribute block."""
    named = [_EXTRA + 1 + i for i in range(len(instruction.extras))]
    bias, *extras = named + [0] * (1 + EXTRAS - len(named))
    fields = {"bias": bias, "extras": tuple(extras[: EXTRAS - 1]), **instruction.attributes}
    return Attributes(given=True, **fields).encode()


def _program(instruction: Instruction, sources: int) -> str:
    """The program's text: operands in tr0, tr1, …, those of the attribute block from tr8 on."""
    numbers = [*range(1 + sources), *range(_EXTRA, _EXTRA + len(instruction.extras))]
    loads = "\n".join(f"    tld tr{n}, ({p})" for n, p in zip(numbers, _POINTERS, strict=False))
    tensors = itertools.count()
    text = re.sub(
        r"\{\w+(:t)?\}",
        lambda field: f"tr{next(tensors)}" if field[1] else "s1",
        TABLE[instruction.mnemonic].syntax,
    )
    return _PROGRAM.format(loads=loads, instruction=text, **_NUMBERS)


def _link(text: str, base: int) -> bytes:
    return link([assemble(text, "benchmark.s")], base=base)
