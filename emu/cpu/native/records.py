"""Decoded instructions: which handler executes what, and what a record says of its operands.

Nothing here needs LLVM: Python fills the records where translations begin, emitted code all others.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from emu.cpu.jit import host_architecture
from emu.cpu.native.layout import FIRST_INSTRUCTION, NATIVE_SYSTEM, OFFSETS, RECORD_SIZE, Handler
from emu.cpu.state import X_SINK
from emu.isa import TABLE
from emu.isa.declare import SLOT_OF_FIELD, Instruction
from emu.isa.decode import decode
from emu.isa.encoding import Field
from emu.isa.fpops import FP_OPS
from emu.isa.graph import Node

_OPERANDS = struct.Struct("<6Bq")

HOST_FLOATS = frozenset(FP_OPS) if host_architecture() == "x86_64" else frozenset()
"""The floating-point operations that are the host's, by their names in `emu.isa.fpops`."""

RNE, RTZ, DYN = 0, 1, 7
"""Values of the rm field: to nearest, towards zero, as frm says."""


def rounds_as_host(name: str, rm: int) -> bool:
    """Whether the operation `name` with the rm field `rm` is done natively while frm says to
    nearest: conversions to integers when they truncate, all others when they round so."""
    to_integer = ".to_i" in name or ".to_u" in name
    return rm == RTZ if to_integer else rm in (RNE, DYN)


def number_handlers() -> dict[Instruction, int]:
    """The handler of every instruction of the table; SLOW where native code has none."""
    numbers: dict[Instruction, int] = {}
    following = FIRST_INSTRUCTION
    for instruction in TABLE.values():
        if is_native(instruction):
            numbers[instruction] = following
            following += 1
        else:
            numbers[instruction] = Handler.SLOW
    return numbers


def first_region() -> int:
    """The handlers from this number on are those of translations."""
    return 1 + max(number_handlers().values())


def is_native(instruction: Instruction) -> bool:
    """Whether there is a handler. There is none for what only GPU lanes execute, nor for floating
    point on a host whose own is not exactly RISC-V's."""
    return not any(
        (step.op == "system" and step.args[0] not in NATIVE_SYSTEM)
        or (step.op == "fp" and step.args[0] not in HOST_FLOATS)
        for step in instruction.steps
    )


def is_tensor(instruction: Instruction) -> bool:
    """Whether it is an instruction of the tensor unit."""
    return any(step.op == "system" and step.args[0] == "tensor" for step in instruction.steps)


@dataclass(frozen=True)
class Format:
    """Where the operands stand, and which registers are written and so must not be x0."""

    fields: tuple[tuple[str, Field], ...]
    written: frozenset[str]


def format_of(instruction: Instruction) -> Format:
    """The format of an instruction; raises ValueError for an operand that records cannot hold."""
    fields = [(SLOT_OF_FIELD.get(f.name), f) for f in instruction.encoding.fields]
    written = frozenset(_slots(instruction, "write_x"))
    both = written & frozenset(_slots(instruction, "read_x"))
    if both and any(s.op in ("store", "jump", "branch", "write_f") for s in instruction.steps):
        raise ValueError(f"'{instruction.mnemonic}' would let the value of x0's sink be seen")
    return Format(tuple((slot, f) for slot, f in fields if slot in OFFSETS), written)


def _slots(instruction: Instruction, op: str) -> Iterable[str]:
    """The operand slots that steps of the kind `op` use as register numbers."""
    for step in instruction.steps:
        index = step.args[0] if step.op == op else None
        if isinstance(index, Node) and index.op == "slot":
            yield str(index.args[0])


def fill_record(record: int, word: int, handler: int) -> None:
    """Write the record at a host address: the operands of the instruction `word`, as the emitted
    decoder does it, and a handler."""
    ctypes.memmove(record, handler.to_bytes(2, "little") + _operands(word), RECORD_SIZE)


@lru_cache(maxsize=1 << 16)  # the same ways into translations are opened again and again
def _operands(word: int) -> bytes:
    """What the record of the instruction `word` has behind the handler."""
    found = decode(word)
    assert found is not None
    written = format_of(found.insn).written
    fields = [
        X_SINK if slot in written and not getattr(found, slot) else getattr(found, slot)
        for slot in ("rd", "rs1", "rs2", "rs3", "rm")
    ]
    return _OPERANDS.pack(*fields, 0, found.imm)
