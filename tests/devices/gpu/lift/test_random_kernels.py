"""Random kernels on both engines: registers, memory, faults and counts are equal."""

from __future__ import annotations

import random

from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from emu.isa.decode import find
from tests.cpu.native.programs import BASES, DATA, DATA_SIZE, INSTRUCTIONS, Program, programs
from tests.devices.gpu.lanes import STORE_REGISTERS, Bench, assemble, load_registers
from tests.devices.gpu.lift.both import both
from tests.devices.gpu.structured import VALUES, Node, blocks, text_of

LANES = 32
WINDOWS = Bench.CODE + 0x1_0000
INITIAL = WINDOWS + LANES * DATA_SIZE
_LEGAL = [i.mnemonic for i in INSTRUCTIONS if not i.mnemonic.startswith(("lr.", "sc."))]
_STORED = 8 * len(VALUES)

_ENTER = f"""
    csrr s0, group_id_x; csrr s1, group_size_x; mul s0, s0, s1; csrr s1, local_id_x
    add s0, s0, s1; li s1, {_STORED}; mul s0, s0, s1; add s0, s0, a0
    {"; ".join(f"ld {r}, {8 * i}(s0)" for i, r in enumerate(VALUES))}
"""
_LEAVE = "; ".join(f"sd {r}, {8 * i}(s0)" for i, r in enumerate(VALUES)) + "; ret"


def _random_words(count: int, seed: int) -> bytes:
    source = random.Random(seed)
    words = (source.choice([source.getrandbits(64), source.getrandbits(3)]) for _ in range(count))
    return b"".join(word.to_bytes(8, "little") for word in words)


@settings(max_examples=8, phases=[Phase.generate])
@given(blocks, st.sampled_from([(64, 64), (70, 32), (5, 5)]), st.integers(0, 99))
def test_lanes_that_part_and_meet(
    program: tuple[Node, ...], sizes: tuple[int, int], seed: int
) -> None:
    grid, group = sizes
    text = f"{_ENTER}\n{text_of(program)}\n{_LEAVE}"
    assume(len(text) < 2000)  # a kernel of a thousand instructions takes seconds to compile
    data = {Bench.DATA: _random_words(len(VALUES) * 128, seed)}
    both(text, data, grid=(grid, 1, 1), workgroup=(group, 1, 1))


def _registers(program: Program, lane: int) -> bytes:
    x = [0, *(program.x[1:] * 2)[lane : lane + 31]]
    for register, value in BASES.items():
        x[register] = value - DATA + WINDOWS + lane * DATA_SIZE
    f = (program.f * 2)[lane : lane + 32]
    return b"".join(value.to_bytes(8, "little") for value in (*x, *f))


def _to_nearest(code: bytes) -> bytes:
    """The same instructions, rounding to nearest: other directions are the reference engine's."""
    result, at = b"", 0
    while at < len(code):
        size = 4 if code[at] & 3 == 3 else 2
        word = int.from_bytes(code[at : at + size], "little")
        insn = find(word)
        if insn is not None and (rm := insn.encoding.field("rm")):
            word &= ~rm.mask
        result += word.to_bytes(size, "little")
        at += size
    return result


@settings(max_examples=3, phases=[Phase.generate])
@given(programs(size=30, names=_LEGAL), st.sampled_from([32, 32, 9]))
def test_straight_code(program: Program, lanes: int) -> None:
    code = assemble(load_registers(INITIAL)) + _to_nearest(program.code) + assemble(STORE_REGISTERS)
    data = {}
    for lane in range(lanes):
        data[INITIAL + 512 * lane] = _registers(program, lane)
        data[WINDOWS + DATA_SIZE * lane] = program.data
    # a jump into the middle of an instruction is the reference engine's
    both(code, data, lifts=None, grid=(lanes, 1, 1), workgroup=(lanes, 1, 1))
