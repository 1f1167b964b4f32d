"""Hostile programs: those of the agreement tests, with everything spoilt that a guest can spoil.

What the agreement tests must avoid is what is wanted here: code changed without FENCE.I, page
tables that point anywhere and to themselves, any CSR with any value, jumps into the middle,
pointers to the ends of memory, tensor instructions over descriptors of absurd shapes. Nothing is
compared: the host must live, the budget be kept, and no byte outside of RAM be touched, which lies
between pages that nobody may touch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine, engine
from emu.isa import TABLE
from emu.isa.csrs import BY_NUMBER
from emu.memory import Memory
from tests.cpu.agreement.generate import program
from tests.cpu.agreement.program import BASE, CODE, DATA, DEVICE, SIZE, Program
from tests.cpu.agreement.world import ROOTS, Stop, World

INSTRUCTIONS, SECONDS = 1_000_000, 0.4
"""A trial ends after so many instructions and traps, or so much of the processor's time: programs
that do nothing but flush and trap run a thousand times as slowly as others."""

_INSTRUCTIONS = list(TABLE.values())
_TENSOR = [insn for insn in _INSTRUCTIONS if insn.extension == "xaitensor"]
_TABLES = (ROOTS[0], ROOTS[1] + 0x3000)
_EDGES = (0, BASE, BASE + SIZE, CODE, CODE + 0xFFE, DATA, DEVICE, 0x4002_0000, 0x4000_0000, 1 << 38)
_UNITS_ON = 3 << 13 | 3 << 15  # floating point and tensors
_MSTATUS = 0x300


def _word(rng: random.Random) -> int:
    """64 bits with a taste for edges."""
    if rng.random() < 0.7:
        return (rng.choice(_EDGES) + rng.choice((0, 0, 8, -8, -1, 2, 0x1000, -4))) % (1 << 64)
    return rng.getrandbits(rng.choice((8, 16, 32, 39, 56, 64)))


def _instruction(rng: random.Random) -> int:
    """An encoding with any operands, a CSR access, or any 32 bits."""
    kind = rng.random()
    if kind < 0.25:
        number = rng.choice(list(BY_NUMBER)) if rng.random() < 0.9 else rng.getrandbits(12)
        operation = rng.choice((1, 2, 3, 5, 6, 7)) << 12 | rng.getrandbits(5) << 7 | 0x73
        return number << 20 | rng.getrandbits(5) << 15 | operation
    if kind < 0.35:
        return rng.getrandbits(32)
    insn = rng.choice(_TENSOR if kind < 0.55 else _INSTRUCTIONS)
    mask = insn.encoding.mask
    return insn.encoding.match | rng.getrandbits(insn.encoding.bits) & ~mask


def _entry(rng: random.Random) -> int:
    """A page table entry that points into RAM, to the tables themselves, outside, anywhere."""
    page = rng.choice((BASE + rng.randrange(SIZE), rng.choice(ROOTS), BASE + SIZE, DEVICE, 0))
    entry = page >> 12 << 10 | rng.choice((1, 0xCF, 0xDF, rng.getrandbits(8)))
    return entry if rng.random() < 0.9 else rng.getrandbits(64)


def _spoil_memory(rng: random.Random, memory: Memory, text: Program) -> None:
    """Instructions over the program's, entries over the page tables, descriptors over the data."""
    from tests.safety.campaign import descriptor, extent

    length = len(text.code())
    for _ in range(rng.choice((0, 3, 10, 40))):
        at = CODE + text.offset + rng.randrange(max(length - 4, 2)) // 2 * 2
        word = _instruction(rng)
        memory.write(
            at, 4 if word & 3 == 3 else 2, word & (0xFFFF_FFFF if word & 3 == 3 else 0xFFFF)
        )
    for _ in range(rng.choice((0, 0, 5, 100))):
        memory.write(rng.randrange(*_TABLES) & ~7, 8, _entry(rng))
    for at in range(DATA + 0x2000, DATA + 0x4000, 128):
        dims = [extent(rng) for _ in range(rng.choice((0, 1, 2, 2, 3, 4, 8)))]
        code = rng.choice((1, 2, 3, 5, 6, 7, 9, 10, 11, 16, 99))
        memory.view(at, 128)[:] = descriptor(rng, dims, code)
    for _ in range(rng.choice((0, 20))):
        memory.write(BASE + rng.randrange(SIZE - 8) & ~7, 8, _word(rng))


def _spoil_hart(rng: random.Random, hart: Hart) -> None:
    """Registers and CSRs."""
    for number in range(1, 32):
        if rng.random() < 0.5:
            hart.state.x[number] = _word(rng)
    hart.csr_write(_MSTATUS, _UNITS_ON | 10)
    for _ in range(rng.choice((0, 2, 8))):
        hart.csr_write(rng.choice(list(BY_NUMBER)), _word(rng))
    if rng.random() < 0.2:
        hart.state.pc = _word(rng) & ~1
    hart.fence_i()
    hart.flush_translations()


def _engine(rng: random.Random) -> Callable[[Hart], NativeEngine]:
    translate = rng.choice(("off", "eager", "eager"))
    engine.EAGER_SLICE = rng.choice((50, 1000, 10_000, 10_000))
    return lambda hart: NativeEngine(hart, translate=translate)


def program_trial(rng: random.Random, memory: Memory) -> int:
    """Run a spoilt program; gives how many instructions and traps there were."""
    text = program(rng, rng.choice((4, 14)))
    world = World(_engine(rng), memory)
    world.start(text)
    _spoil_memory(rng, memory, text)
    _spoil_hart(rng, world.hart)
    hart, done, end = world.hart, 0, time.process_time() + SECONDS
    while done < INSTRUCTIONS and time.process_time() < end:
        before, budget = hart.instret, rng.choice((1, 7, 100, 3000, 50_000))
        said = world.go(Stop(rng.choice((0, 0, 1 << rng.randrange(12))), budget))
        retired = hart.instret - before
        assert 0 <= retired <= budget, f"{retired} instructions with a budget of {budget}"
        assert hart.state.x[0] == 0
        done += budget if said == "budget" else max(retired, 1)
        if hart.waiting:
            hart.waiting = False
            done += INSTRUCTIONS // 20
    return done
