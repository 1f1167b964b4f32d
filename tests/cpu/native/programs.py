"""Random programs for comparing engines: straight-line code over the whole table.

Programs keep `BASES` pointing at data: the registers through which they access memory are never
written, and hold addresses in the middle of `DATA`. Jumps go forward by one instruction's length or
two, so that every program ends behind its last instruction.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from emu.isa import TABLE, Instruction
from emu.isa.declare import SLOT_OF_FIELD
from emu.isa.encoding import Field
from emu.isa.graph import Node

RAM_BASE, RAM_SIZE = 0x8000_0000, 0x10_0000
CODE = RAM_BASE + 0xF00  # programs run over the end of a page
DATA = RAM_BASE + 0x8_0000
DATA_SIZE = 0x6000
BASES = {2: DATA + 0x3000, 10: DATA + 0x2FF8}

_INTERESTING = [0, 1, 2, 7, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 63) - 1,
                (1 << 64) - 1]  # fmt: skip
_SINGLES = [0, 1 << 31, 1, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0x7F80_0001, 0x3F80_0000,
            0x7F7F_FFFF, 0x0080_0000, 0x4F00_0000]  # fmt: skip
_DOUBLES = [0, 1 << 63, 1, 0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48, (0x7FF << 52) + 1, 0x3FF << 52,
            0x7FEF_FFFF_FFFF_FFFF, 1 << 52, 0x43E << 52, 0x41E << 52]  # fmt: skip


def _doubles_near_one() -> st.SearchStrategy[int]:
    """Doubles whose sums and products are inexact but ordinary."""
    return st.builds(
        lambda sign, exponent, fraction: sign << 63 | (1023 + exponent) << 52 | fraction,
        st.integers(0, 1), st.integers(-40, 66), st.integers(0, (1 << 52) - 1),
    )  # fmt: skip


def _singles_near_one() -> st.SearchStrategy[int]:
    return st.builds(
        lambda sign, exponent, fraction: sign << 31 | (127 + exponent) << 23 | fraction,
        st.integers(0, 1), st.integers(-20, 40), st.integers(0, (1 << 23) - 1),
    )  # fmt: skip


def integers() -> st.SearchStrategy[int]:
    """64-bit register values, special ones often."""
    return st.one_of(st.sampled_from(_INTERESTING), st.integers(0, (1 << 64) - 1))


def _boxed_singles() -> st.SearchStrategy[int]:
    single = st.one_of(st.sampled_from(_SINGLES), _singles_near_one(), st.integers(0, 2**32 - 1))
    return single.map(lambda bits: 0xFFFF_FFFF_0000_0000 | bits)


def floats() -> st.SearchStrategy[int]:
    """Values of floating-point registers: doubles, boxed singles, and rubbish."""
    doubles = st.one_of(st.sampled_from(_DOUBLES), _doubles_near_one())
    return st.one_of(doubles, _boxed_singles(), integers())


def _touches_memory(instruction: Instruction) -> bool:
    return any(s.op in ("load", "store", "reserve") for s in instruction.steps)


def _goes_elsewhere(instruction: Instruction) -> bool:
    return any(s.op in ("jump", "branch") for s in instruction.steps)


def _writes_x(instruction: Instruction) -> bool:
    return any(s.op == "write_x" for s in instruction.steps)


def _moves_base(instruction: Instruction) -> bool:
    """Whether it always writes one of `BASES` (as C's additions to the stack pointer do)."""
    indices = [s.args[0] for s in instruction.steps if s.op == "write_x"]
    return any(isinstance(i, Node) and i.op == "const" and i.args[0] in BASES for i in indices)


def _is_straight(instruction: Instruction) -> bool:
    """Whether it may stand in a program: no jump through a register, nothing of the system's."""
    if any(s.op == "system" for s in instruction.steps) or _moves_base(instruction):
        return False
    return not (_goes_elsewhere(instruction) and instruction.encoding.field("rs1") is not None
                and all(s.op != "branch" for s in instruction.steps))  # fmt: skip


INSTRUCTIONS = [i for i in TABLE.values() if _is_straight(i)]


def _field_values(instruction: Instruction, field: Field) -> st.SearchStrategy[int]:
    slot = SLOT_OF_FIELD.get(field.name)
    low, high = (8, 15) if field.primed else (0, (1 << field.top) - 1)
    if slot == "rs1" and _touches_memory(instruction):
        return st.just(10)
    if slot == "rd" and _writes_x(instruction):
        allowed = [n for n in range(low, high + 1) if n not in BASES]
        return st.sampled_from([n for n in allowed if field.fits(n)])
    if slot == "imm" and _goes_elsewhere(instruction):
        return st.sampled_from([4, 6, 8])
    if slot == "rm":
        return st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 7, 7, 7])
    if slot == "imm" and field.signed:
        low, high = -(1 << (field.top - 1)), (1 << (field.top - 1)) - 1
    step = field.align
    return st.integers(-(-low // step), high // step).map(lambda n: n * step).filter(field.fits)


@st.composite
def words(draw: st.DrawFn, instructions: list[Instruction] = INSTRUCTIONS) -> bytes:
    """One encoded instruction."""
    instruction = draw(st.sampled_from(instructions))
    word = instruction.encoding.match
    for field in instruction.encoding.fields:
        word |= field.insert(draw(_field_values(instruction, field)))
    if not instruction.matches(word):  # excluded: something else, or reserved
        return b"\x01\x00"
    return word.to_bytes(instruction.length, "little")


@dataclass(frozen=True)
class Program:
    """Code, and what the registers and the data hold before it."""

    code: bytes
    x: tuple[int, ...]
    f: tuple[int, ...]
    seed: bytes

    @property
    def data(self) -> bytes:
        """What `DATA` and the 24 KiB behind it hold."""
        return self.seed * (DATA_SIZE // len(self.seed))


@st.composite
def programs(
    draw: st.DrawFn, size: int = 100, names: list[str] | None = None, singles: bool = False
) -> Program:
    """A program of at most `size` instructions, with landing places behind it for its jumps.

    `names` restricts the instructions; with `singles`, all floating-point registers are boxed.
    """
    chosen = [i for i in INSTRUCTIONS if names is None or i.mnemonic in names]
    code = b"".join(draw(st.lists(words(chosen), min_size=1, max_size=size)))
    x = [draw(integers()) for _ in range(32)]
    for register, value in BASES.items():
        x[register] = value
    x[0] = 0
    f = tuple(draw(_boxed_singles() if singles else floats()) for _ in range(32))
    seed = draw(st.binary(min_size=64, max_size=64))
    return Program(code + b"\x01\x00" * 6, tuple(x), f, seed)
