"""Lanes against the hart's reference engine, which executes the same code once for every lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given

from emu.bus import Bus
from emu.cpu.hart import Hart
from emu.cpu.reference import ReferenceEngine
from emu.cpu.state import Dirty
from emu.devices.gpu.dispatch import FaultCode
from emu.memory import Memory
from tests.cpu.native.programs import BASES, DATA, DATA_SIZE, INSTRUCTIONS, Program, programs
from tests.devices.gpu.lanes import STORE_REGISTERS, Bench, assemble, load_registers

LANES = 8
CODE = Bench.CODE
WINDOWS = CODE + 0x1_0000
"""Each lane's data, `DATA_SIZE` bytes."""
INITIAL = WINDOWS + LANES * DATA_SIZE
"""Each lane's registers at the start: 32 integer ones, then 32 of floating point."""
RESULT = 0x3FF0
"""Where in its window a lane leaves its registers: beyond what the bases reach."""
TRAPS = (
    FaultCode.ILLEGAL_INSTRUCTION,
    FaultCode.LOAD_ADDRESS,
    FaultCode.STORE_ADDRESS,
    FaultCode.MISALIGNED_ATOMIC,
)
"""What makes a hart trap in these programs."""
_STRAIGHT = [
    i.mnemonic
    for i in INSTRUCTIONS
    if not i.mnemonic.startswith(("lr.", "sc."))
    and all(step.op not in ("jump", "branch") for step in i.steps)
]
"""A jump into the middle of an instruction may find one that harts lack."""

PROLOGUE, EPILOGUE = load_registers(INITIAL), STORE_REGISTERS
START = len(assemble(PROLOGUE))
"""Where the program stands behind the prologue."""


@dataclass(frozen=True)
class Result:
    """What a lane or a hart leaves behind; `pc` is where it stopped, None at the end."""

    x: tuple[int, ...]
    f: tuple[int, ...]
    data: bytes
    pc: int | None = None


def _registers(program: Program, lane: int) -> tuple[list[int], list[int]]:
    """The registers of a lane: those of the program, turned by the lane's number, and its bases."""
    x = [0, *_turned(program.x[1:], lane)]
    for register, value in BASES.items():
        x[register] = value - DATA + WINDOWS + lane * DATA_SIZE
    return x, _turned(program.f, lane)


def _turned(values: Sequence[int], by: int) -> list[int]:
    return [*values[by:], *values[:by]]


def on_harts(program: Program) -> list[Result]:
    """Each lane's work, done by a hart."""
    results = []
    for lane in range(LANES):
        memory = Memory(CODE, 0x10_0000)
        hart = Hart(Bus(memory), memory)
        engine = ReferenceEngine(hart)
        hart.reset(CODE + START)
        hart.state.mtvec = trap = CODE + 0x8000
        hart.state.fs = Dirty.INITIAL
        x, f = _registers(program, lane)
        for i in range(32):
            hart.state.x[i], hart.state.f[i] = x[i], f[i]
        window = WINDOWS + lane * DATA_SIZE
        memory.view(window, DATA_SIZE)[:] = program.data
        memory.view(CODE + START, len(program.code))[:] = program.code
        end = CODE + START + len(program.code)
        while hart.state.pc not in (end, trap):
            engine.step()
        stopped = hart.state.mepc if hart.state.pc == trap else None
        data = bytes(memory.view(window, RESULT))
        results.append(Result(tuple(hart.state.x), tuple(hart.state.f), data, stopped))
    return results


def on_lanes(bench: Bench, program: Program) -> list[Result] | int:
    """Each lane's work, done by the lanes of one warp; the pc at which they failed."""
    code = assemble(PROLOGUE) + program.code
    code += assemble(EPILOGUE)
    for lane in range(LANES):
        x, f = _registers(program, lane)
        words = b"".join(value.to_bytes(8, "little") for value in (*x, *f))
        bench.put(INITIAL + 512 * lane, words)
        bench.put(WINDOWS + DATA_SIZE * lane, program.data)
    outcome = bench.run(code, grid=(LANES, 1, 1), workgroup=(LANES, 1, 1))
    if outcome.fault is not None:
        assert outcome.fault.code in TRAPS
        return outcome.fault.pc
    results = []
    for lane in range(LANES):
        window = WINDOWS + DATA_SIZE * lane
        saved = bench.words(window + RESULT, 64, 8)
        saved[0], saved[2] = 0, window + BASES[2] - DATA
        data = bench.bytes(window, RESULT)
        results.append(Result(tuple(saved[:32]), tuple(saved[32:]), data))
    return results


def compare(bench: Bench, program: Program) -> None:
    """Both give the same. An instruction that traps on a hart stops the dispatch where the first
    lane meets it: code that only goes forward meets the lowest address first."""
    harts = on_harts(program)
    stopped = [result.pc for result in harts if result.pc is not None]
    assert on_lanes(bench, program) == (min(stopped) if stopped else harts)


@given(programs(size=30, names=_STRAIGHT))
def test_straight_code_gives_what_a_hart_gives(program: Program) -> None:
    compare(Bench(), program)
