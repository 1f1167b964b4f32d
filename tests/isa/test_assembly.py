"""Assembler and disassembler: round trips, binutils and capstone as oracles, errors in words."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import capstone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.errors import AiosError
from emu.isa import TABLE
from emu.isa.assemble import assemble_line
from emu.isa.csrs import BY_NAME, LANE_CSRS
from emu.isa.decode import find
from emu.isa.disassemble import disassemble
from emu.isa.pseudo import PSEUDO

_MARCH = "rv64imafdc_zicsr_zifencei_zihintpause_zba_zbb_zbs"
_STANDARD = [m for m, i in TABLE.items() if i.extension not in ("xaitensor", "xlane")]
_LOSSY = {"fence", "fence.i", "c.nop"}  # bits that no assembly can express


def words(mnemonic: str, count: int) -> list[int]:
    """Random encodings of one instruction, the same in every run."""
    insn, generator = TABLE[mnemonic], random.Random(mnemonic)
    found: list[int] = []
    while len(found) < count:
        word = generator.getrandbits(insn.encoding.bits) & ~insn.encoding.mask
        rm = insn.encoding.field("rm")
        if rm is not None:
            word = word & ~rm.mask | rm.insert(generator.choice([0, 1, 2, 3, 4, 7]))
        if insn.matches(word | insn.encoding.match):
            found.append(word | insn.encoding.match)
    return found


@pytest.mark.parametrize("mnemonic", [m for m in TABLE if m not in _LOSSY])
def test_what_is_disassembled_assembles_to_the_same_bits(mnemonic: str) -> None:
    for word in words(mnemonic, 20):
        text = disassemble(word, pc=0x8000_0000)
        again = assemble_line(text, pc=0x8000_0000)
        assert int.from_bytes(again, "little") == word, text


def _binutils(tool: Callable[[str], str], folder: Path, lines: list[str]) -> bytes:
    """The code that GNU as makes of the lines."""
    source, binary, elf = folder / "a.s", folder / "a.bin", folder / "a.o"
    source.write_text("\n".join(lines) + "\n")
    march = f"-march={_MARCH}"
    subprocess.run([tool("riscv64-unknown-elf-as"), march, "-o", elf, source], check=True)
    objcopy = [tool("riscv64-unknown-elf-objcopy"), "-O", "binary", "-j", ".text", elf, binary]
    subprocess.run(objcopy, check=True)
    return binary.read_bytes()


def test_binutils_assembles_our_text_to_our_bits(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    chosen = [w for m in _STANDARD if m not in _LOSSY for w in words(m, 6) if not _odd_mode(w)]
    lines = [disassemble(w) for w in chosen]
    head = [".option norelax", ".option norvc"]
    code = _binutils(tool, tmp_path, [*head, *map(_for_gas, lines)])
    for word, line in zip(chosen, lines, strict=True):
        size = 4 if word & 3 == 3 else 2
        assert code[:size] == word.to_bytes(size, "little"), line
        code = code[size:]


def _odd_mode(word: int) -> bool:
    """Whether an exact conversion names a rounding mode, which older versions of GNU as refuse."""
    insn = find(word)
    assert insn is not None
    rm = insn.encoding.field("rm")
    return "{rm:e}" in insn.syntax and rm is not None and rm.extract(word) != 0


def _for_gas(line: str) -> str:
    """GNU as wants compressed forms enabled around them, and no names for our own CSRs."""
    for csr in (BY_NAME["tcause"], BY_NAME["toperand"], *LANE_CSRS.values()):
        line = line.replace(csr.name, hex(csr.number))
    return f".option rvc\n{line}\n.option norvc" if line.startswith("c.") else line


def test_capstone_reads_the_same_mnemonic() -> None:
    mode = capstone.CS_MODE_RISCV64 | capstone.CS_MODE_RISCVC
    reader = capstone.Cs(capstone.CS_ARCH_RISCV, mode)
    base = [m for m in _STANDARD if not TABLE[m].extension.startswith("zb")]
    for mnemonic in base:
        insn = TABLE[mnemonic]
        for word in words(mnemonic, 5):
            found = next(reader.disasm(word.to_bytes(insn.length, "little"), 0), None)
            if found is not None and not _is_alias(found.mnemonic):
                assert found.mnemonic.startswith(mnemonic), disassemble(word)


def _is_alias(mnemonic: str) -> bool:
    return mnemonic not in TABLE and mnemonic.rsplit(".", 1)[0] not in TABLE


PSEUDO_LINES = """
nop|ret|mv a0, a1|not a0, a1|neg a0, a1|negw a0, a1|sext.w a0, a1|zext.b a0, a1|zext.w a0, a1
seqz a0, a1|snez a0, a1|sltz a0, a1|sgtz a0, a1|beqz a0, .+8|bnez a0, .+8|blez a0, .+8
bgez a0, .+8|bltz a0, .+8|bgtz a0, .+8|bgt a0, a1, .+8|ble a0, a1, .+8|bgtu a0, a1, .+8
bleu a0, a1, .+8|j .+8|jal .+8|jr a0|jalr a0|jalr a1, a0, 4|csrr a0, mstatus|csrw mstatus, a0
csrs mie, a0|csrc mie, a0|csrwi mie, 3|csrsi mie, 3|csrci mie, 3|rdcycle a0|rdtime a0|rdinstret a0
frcsr a0|fscsr a0|fscsr a0, a1|frrm a0|fsrm a0|fsrm a0, a1|frflags a0|fsflags a0|fsflags a0, a1
fmv.s fa0, fa1|fneg.s fa0, fa1|fabs.s fa0, fa1|fgt.s a0, fa0, fa1|fge.s a0, fa0, fa1
fmv.d fa0, fa1|fneg.d fa0, fa1|fabs.d fa0, fa1|fgt.d a0, fa0, fa1|fge.d a0, fa0, fa1
unimp|pause|fence|sfence.vma|sfence.vma a0|fence rw, w|li a0, 5|li a0, -2048|li a0, 0x12345678
li a0, -1|li a0, 0x123456789abcdef0|lr.w.aqrl a0, (a1)|amoadd.d.rl a0, a1, (a2)
lw a0, (a1)|fcvt.d.w fa0, a1|fadd.s fa0, fa1, fa2, rtz|lui a0, 0xfffff|jalr x1, -4(a0)
""".replace("|", "\n").split("\n")[1:-1]


def test_every_pseudo_instruction_is_tried_here() -> None:
    tried = {(t.split()[0], len(t.split()[1:])) for t in PSEUDO_LINES}
    assert PSEUDO.keys() <= tried


def test_pseudo_instructions_are_what_binutils_makes_of_them(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    """Each line is assembled at its own address, by both."""
    ours = b""
    for line in PSEUDO_LINES:
        ours += assemble_line(line, pc=len(ours))
    source = [".option norelax", ".option norvc", *PSEUDO_LINES]
    assert ours.hex() == _binutils(tool, tmp_path, source).hex()


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_load_immediate_makes_the_value(value: int) -> None:
    """The expansion is executed here, with the meaning of its four instructions written out."""
    total = 0
    code = assemble_line(f"li a0, {value}")
    for i in range(0, len(code), 4):
        word = int.from_bytes(code[i : i + 4], "little")
        insn = find(word)
        assert insn is not None
        field = {f.name: f.extract(word) for f in insn.encoding.fields}
        match insn.mnemonic:
            case "lui":
                total = field["imm"]
            case "addi":
                total = (total if field["rs1"] else 0) + field["imm"]
            case "addiw":
                total = (total + field["imm"] + (1 << 31)) % (1 << 32) - (1 << 31)
            case "slli":
                total <<= field["shamt"]
    assert total % (1 << 64) == value % (1 << 64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frobnicate a0", "'frobnicate' is not an instruction."),
        ("addi a0, a0, 5000", "5000 does not fit 'addi', whose imm is -2048 to 2047."),
        ("add a0, a1", "'add' takes 3 operands (add rd, rs1, rs2), not 2."),
        ("addi a0, fa0, 1", "'fa0' is not an integer register."),
        ("c.lw a0, 4(t6)", "'c.lw' takes only the registers x8 to x15 for rs1, not x31."),
        ("c.addi zero, 3", "'c.addi' cannot have these operands: the encoding is reserved."),
        ("lw a0, 8[sp]", "'8[sp]' is not an address such as 8(sp)."),
        ("li a0, nowhere", "'nowhere' is not a number or a known symbol."),
        ("fadd.s fa0, fa1, fa2, up", "'up' is not a rounding mode: rne, rtz, rdn, rup, rmm, dyn."),
        ("lui a0, 0x100000", "0x100000 does not fit the 20 bits of an upper immediate."),
        ("beq a0, a1, 3", "3 does not fit 'beq', whose imm is -4096 to 4094 in steps of 2."),
    ],
)
def test_bad_assembly_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(AiosError) as error:
        assemble_line(text)
    assert str(error.value) == message


def test_an_illegal_word_disassembles_as_data() -> None:
    assert disassemble(0xFFFF_FFFF) == ".4byte 0xffffffff"
    assert disassemble(0x0000) == ".2byte 0x0"
