"""Floating point at the edges: every instruction, in every rounding mode, gives what Spike gives.

One program applies each instruction to all combinations of operands, first in this rounding mode,
then in that. A row of results has no system instruction in it, so that rows are translated; the
flags that it raised are read behind it. Spike computes with SoftFloat, against whose tests others
are held.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from emu.bus import Bus
from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine
from emu.cpu.reference import ReferenceEngine
from emu.isa import Instruction
from emu.isa.declare import SLOT_OF_FIELD
from emu.memory import Memory
from tests.cpu.agreement import operands
from tests.cpu.agreement.program import assemble
from tests.cpu.agreement.world import Engine
from tests.cpu.spike import simulator
from tests.cpu.spike.layout import BASE

SIZE = 2 << 20
TABLES, RESULTS, TOHOST = BASE + 0x1_0000, BASE + 0x2_0000, BASE + SIZE - 16
MODES = (0, 1, 2, 0, 3, 4, 0)
"""Rounding modes in the order of their turns."""

_DYNAMIC = 7
_BOX = 0xFFFF_FFFF << 32
_SINGLES = (
    0, 1 << 31, 1, 0x007F_FFFF, 0x0080_0000, 0x3F80_0000, 0xBFC0_0000, 0x3F7F_FFFF, 0x4B00_0001,
    0x4F00_0000, 0x4F80_0000, 0xCF00_0001, 0x7F7F_FFFF, 0xFF80_0000, 0x7FC0_1234, 0x7F80_0001,
)  # fmt: skip
_DOUBLES = (
    0, 1 << 63, 1, (1 << 52) - 1, 1 << 52, 0x3FF << 52, 0xBFF8 << 48, (0x3FF << 52) - 1,
    0x41DF_FFFF_FFE0_0000, 0x41F0 << 48, 0xC3E0_0000_0000_0001, 0x47EF_FFFF_F000_0000,
    (0x7FF << 52) - 1, 0xFFF << 52, (0x7FF8 << 48) + 5, (0x7FF << 52) + 1, 0x3810_0000_0000_0001,
    0x36A0 << 48,
)  # fmt: skip
_INTEGERS = (
    0, 1, -1, 1 << 31, -(1 << 31), (1 << 53) + 1, (1 << 24) + 3, (1 << 63) - 1, -1 << 63,
    (1 << 63) - 513, 0x7FFF_FFBF, 0x2000_0001, 0xFFFF_FFFF,
)  # fmt: skip
VALUES = {
    "s": (*(_BOX | single for single in _SINGLES), 0x3F80_0000),  # the last is not boxed
    "d": _DOUBLES,
    "x": tuple(value & (1 << 64) - 1 for value in _INTEGERS),
}
"""Operands of single and of double precision, and integers."""

_ENGINES: dict[str, Callable[[Hart], Engine]] = {
    "reference": ReferenceEngine,
    "native": partial(NativeEngine, translate="off"),
    "translated": partial(NativeEngine, translate="eager"),
}
_TURN = 10_000  # instructions between looks at whether the program has ended
_MOST_TURNS = 1000


def _word(insn: Instruction) -> tuple[int, int]:
    """`insn` from x10 or f10 on to x15 or f15, in the dynamic rounding mode, and how many operands
    it has."""
    slots = {"rd": 15, "rs1": 10, "rs2": 11, "rs3": 12, "rm": _DYNAMIC}
    word, count = insn.encoding.match, 0
    for field in insn.encoding.fields:
        slot = SLOT_OF_FIELD[field.name]
        word |= field.insert(slots[slot])
        count += slot.startswith("rs")
    return word, count


def _rows(insn: Instruction, number: int) -> Iterator[str]:
    """A loop for each operand; the innermost is a row. x27 is where results go."""
    word, count = _word(insn)
    source = insn.mnemonic.rpartition(".")[2]
    name = source if source in ("s", "d") else "x"
    values = len(VALUES[name]) // (2 if count == 3 else 1)
    for i in range(count):
        yield from (f"la x{18 + i}, {name}", f"la x{21 + i}, {name}+{8 * values}")
        yield f"{name}{number}_{i}:"
        yield from (f"ld x{10 + i}, 0(x{18 + i})", f"fld f{10 + i}, 0(x{18 + i})")
    yield f".word {word:#x}"
    yield from ("fmv.x.d x14, f15", "xor x14, x14, x15", "sd x14, 0(x27)", "addi x27, x27, 8")
    for i in reversed(range(count)):
        yield f"addi x{18 + i}, x{18 + i}, 8"
        yield f"bne x{18 + i}, x{21 + i}, {name}{number}_{i}"
        if i == count - 1:
            yield from ("fsflags x14, x0", "sd x14, 0(x27)", "addi x27, x27, 8")


def image() -> bytes:
    """All of RAM, with the program at its start."""
    lines = ["li x5, 0x6000", "csrs mstatus, x5", f"li x27, {RESULTS}", "la x9, modes"]
    lines += ["turn:", "lbu x8, 0(x9)", "csrw fcsr, x0", "csrw frm, x8"]
    for number, insn in enumerate(operands.FLOAT):
        lines += _rows(insn, number)
    lines += ["addi x9, x9, 1", "la x5, modes+" + str(len(MODES)), "beq x9, x5, end"]
    lines += ["la x5, turn", "jr x5", "end:", f"li x5, {TOHOST}", "li x6, 1"]
    lines += ["stop:", "sd x6, 0(x5)", "j stop"]
    places, data = {"modes": TABLES}, bytes(MODES).ljust(16)
    for name, values in VALUES.items():
        places[name] = TABLES + len(data)
        data += struct.pack(f"<{len(values)}Q", *values)
    code = assemble(tuple(lines), BASE, places, TABLES - BASE)
    ram = bytearray(SIZE)
    ram[: len(code)] = code
    ram[TABLES - BASE : TABLES - BASE + len(data)] = data
    return bytes(ram)


@pytest.fixture(scope="module")
def expected(spike: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What Spike leaves in memory."""
    folder = tmp_path_factory.mktemp("floating")
    return simulator.memory_after(spike, image(), BASE, TOHOST, folder)


def _after(factory: Callable[[Hart], Engine]) -> bytes:
    memory = Memory(BASE, SIZE)
    memory.bytes[:] = image()
    hart = Hart(Bus(memory), memory)
    hart.reset(BASE)
    engine = factory(hart)
    for _ in range(_MOST_TURNS):
        engine.run(_TURN)
        if memory.read(TOHOST, 8):
            return bytes(memory.bytes)
    raise AssertionError(f"The program has not ended; it is at {hart.state.pc:#x}.")


@pytest.mark.parametrize("engine", _ENGINES)
def test_every_result_and_flag_is_spikes(expected: bytes, engine: str) -> None:
    seen = _after(_ENGINES[engine])
    start, end = RESULTS - BASE, TOHOST - BASE
    wrong = [at for at in range(start, end, 8) if seen[at : at + 8] != expected[at : at + 8]]
    assert not wrong, f"{len(wrong)} differ, the first of them result {(wrong[0] - start) // 8}"
