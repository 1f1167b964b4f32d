"""One instruction executed twice, by the reference engine and by Unicorn (QEMU's interpreter), from
the same registers and memory; and the strategies that choose those.

A `Situation` is what the instruction finds, an `Outcome` what it leaves behind. Code stands at
`CODE`, and loads and stores are steered into the page at `DATA`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import unicorn
from hypothesis import strategies as st
from unicorn import riscv_const as uc

from emu.bus import Bus
from emu.cpu.hart import Hart
from emu.cpu.reference import ReferenceEngine
from emu.cpu.state import Dirty
from emu.isa import Instruction
from emu.isa.disassemble import disassemble
from emu.memory import Memory

BASE = 0x8000_0000
SIZE = 0x40_0000
CODE = BASE + SIZE // 2  # any jump of 1 MiB stays in memory
DATA = BASE + 0x8000
DATA_SIZE = 0x1000
MASK = (1 << 64) - 1
BOX = 0xFFFF_FFFF << 32

_X = [getattr(uc, f"UC_RISCV_REG_X{i}") for i in range(32)]
_F = [getattr(uc, f"UC_RISCV_REG_F{i}") for i in range(32)]


@dataclass(frozen=True)
class Situation:
    """Registers, rounding mode and data before the instruction."""

    insn: Instruction
    word: int
    x: tuple[int, ...]
    f: tuple[int, ...]
    frm: int
    data: bytes

    def __repr__(self) -> str:
        numbers = {f.name: f.extract(self.word) for f in self.insn.encoding.fields}
        used = {n: numbers[n] for n in ("rd", "rs1", "rs2", "rs3") if n in numbers}
        values = ", ".join(f"{n}: x={self.x[i]:#x} f={self.f[i]:#x}" for n, i in used.items())
        return f"<{disassemble(self.word)}; {values}; frm {self.frm}; data {self.data[:16].hex()}>"


@dataclass(frozen=True)
class Outcome:
    """Registers, flags, pc and data after it."""

    x: tuple[int, ...]
    f: tuple[int, ...]
    pc: int
    fflags: int
    data: bytes


@cache
def _reference() -> tuple[Hart, ReferenceEngine]:
    memory = Memory(BASE, SIZE)
    hart = Hart(Bus(memory), memory)
    return hart, ReferenceEngine(hart)


def on_reference(s: Situation) -> Outcome:
    """Execute on the reference engine; the instruction must not trap."""
    hart, engine = _reference()
    hart.reset(CODE)
    hart.state.fs = Dirty.INITIAL
    hart.state.frm = s.frm
    for i in range(1, 32):
        hart.state.x[i] = s.x[i]
    for i in range(32):
        hart.state.f[i] = s.f[i]
    hart.memory.view(CODE, 4)[:] = s.word.to_bytes(4, "little")
    hart.memory.view(DATA, DATA_SIZE)[:] = s.data
    engine.step()
    assert hart.instret == 1, f"trapped with cause {hart.state.mcause}"
    state = hart.state
    data = bytes(hart.memory.view(DATA, DATA_SIZE))
    return Outcome(tuple(state.x), tuple(state.f), state.pc, state.fflags, data)


@cache
def _unicorn() -> unicorn.Uc:
    machine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
    machine.mem_map(BASE, SIZE)
    machine.reg_write(uc.UC_RISCV_REG_MSTATUS, Dirty.INITIAL << 13)
    return machine


def on_unicorn(s: Situation) -> Outcome:
    """Execute on Unicorn."""
    machine = _unicorn()
    machine.reg_write_batch([*zip(_X[1:], s.x[1:], strict=True), *zip(_F, s.f, strict=True)])
    machine.reg_write(uc.UC_RISCV_REG_FCSR, s.frm << 5)
    machine.mem_write(CODE, s.word.to_bytes(4, "little"))
    machine.mem_write(DATA, s.data)
    machine.ctl_remove_cache(CODE, CODE + 4)
    machine.emu_start(CODE, BASE + SIZE, count=1)
    return Outcome(
        tuple(machine.reg_read_batch(_X)),
        tuple(machine.reg_read_batch(_F)),
        machine.reg_read(uc.UC_RISCV_REG_PC),
        machine.reg_read(uc.UC_RISCV_REG_FCSR) & 31,
        bytes(machine.mem_read(DATA, DATA_SIZE)),
    )


INTEGERS = st.one_of(
    st.sampled_from(
        [0, 1, 2, 63, 64, MASK, MASK - 1, 1 << 63, (1 << 63) - 1, 1 << 31, MASK << 31 & MASK]
    ),
    st.integers(0, MASK),
    st.integers(-4096, 4096).map(lambda v: v & MASK),
)
"""64-bit integers, the edges often."""


def floats(exponent_bits: int, fraction_bits: int) -> st.SearchStrategy[int]:
    """Bit patterns of a format: any, and often zeros, infinities, NaNs, subnormals, values near 1
    and near the integers' limits."""
    bias = (1 << (exponent_bits - 1)) - 1
    top = (1 << exponent_bits) - 1
    exponents = st.one_of(
        st.sampled_from([0, 1, top - 1, top, bias - 1, bias, bias + 31, bias + 63]),
        st.integers(bias - 70, bias + 70),
        st.integers(0, top),
    )
    fractions = st.one_of(
        st.sampled_from([0, 1, (1 << fraction_bits) - 1, 1 << (fraction_bits - 1)]),
        st.integers(0, (1 << fraction_bits) - 1),
    )
    return st.builds(
        lambda s, e, m: s << (exponent_bits + fraction_bits) | e << fraction_bits | m,
        st.integers(0, 1), exponents, fractions,
    )  # fmt: skip


SINGLES = floats(8, 23).map(lambda bits: BOX | bits)
DOUBLES = floats(11, 52)


@st.composite
def situations(draw: st.DrawFn, insn: Instruction) -> Situation:
    """An encoding of `insn` with any operands, whose registers have drawn values; the others have
    fixed ones that tell them apart."""
    word = insn.encoding.match | draw(st.integers(0, (1 << insn.encoding.bits) - 1))
    word &= ~insn.encoding.mask | insn.encoding.match
    rm = insn.encoding.field("rm")
    if rm is not None:
        word = word & ~rm.mask | rm.insert(draw(st.sampled_from([0, 1, 2, 3, 4, 7])))
    numbers = {f.name: f.extract(word) for f in insn.encoding.fields}
    x, f = _OTHERS[:], [BOX | 0x3F80_0000 + i for i in range(32)]
    for name in ("rd", "rs1", "rs2", "rs3"):
        if name in numbers:
            x[numbers[name]] = draw(INTEGERS)
            f[numbers[name]] = draw(SINGLES if reads_single(insn) else DOUBLES)
    base = 2 if "(sp)" in insn.syntax else numbers.get("rs1", 0)
    offset = next((v for n, v in numbers.items() if n in ("imm", "uimm")), 0)
    target = 0x800 + draw(st.integers(0, 63)) * 8
    if _uses_memory(insn):
        aligned = any(step.op == "trap_if" for step in insn.steps)
        x[base] = (DATA + target + (0 if aligned else draw(st.integers(0, 7))) - offset) & MASK
    elif insn.mnemonic in ("jalr", "c.jr", "c.jalr"):
        x[base] = (CODE + target - offset) & MASK
    x[0] = 0
    data = draw(st.binary(min_size=16, max_size=16)) * (DATA_SIZE // 16)
    return Situation(insn, word, tuple(x), tuple(f), draw(st.integers(0, 4)), data)


_OTHERS = [0x1000_0001 * i for i in range(32)]


def reads_single(insn: Instruction) -> bool:
    """Whether its floating-point operands are singles."""
    return insn.mnemonic.endswith((".s", "fsw", "fmv.x.w"))


def _writes_single(insn: Instruction) -> bool:
    name = insn.mnemonic
    single = name.endswith(".s") and name != "fcvt.d.s"
    return "{rd:f}" in insn.syntax and (single or name.startswith(("fcvt.s.", "flw", "fmv.w")))


def _uses_memory(insn: Instruction) -> bool:
    return any(step.op in ("load", "store") for step in insn.steps)


def usable(s: Situation) -> bool:
    """Whether the word is not reserved, and x0 is not the base of an address."""
    base = s.insn.encoding.field("rs1")
    needs_base = _uses_memory(s.insn) or s.insn.mnemonic == "jalr"
    return s.insn.matches(s.word) and not (
        needs_base and base is not None and base.extract(s.word) == 0
    )


def differences(s: Situation, ours: Outcome, theirs: Outcome) -> list[str]:
    """What the outcomes disagree about, in words. Unicorn does not box a single that it writes."""
    rd = s.insn.encoding.field("rd")
    expected = list(theirs.f)
    if rd is not None and _writes_single(s.insn):
        number = rd.extract(s.word)
        expected[number] = BOX | expected[number] & 0xFFFF_FFFF
    pairs = [(f"x{i}", a, b) for i, (a, b) in enumerate(zip(ours.x, theirs.x, strict=True))]
    pairs += [(f"f{i}", a, b) for i, (a, b) in enumerate(zip(ours.f, expected, strict=True))]
    pairs += [("pc", ours.pc, theirs.pc), ("fflags", ours.fflags, theirs.fflags)]
    for i in range(0, DATA_SIZE, 8):
        a, b = ours.data[i : i + 8], theirs.data[i : i + 8]
        pairs.append((f"data+{i:#x}", int.from_bytes(a, "little"), int.from_bytes(b, "little")))
    return [f"{name}: {a:#x}, Unicorn {b:#x}" for name, a, b in pairs if a != b]
