"""RV64I: the base integer instructions (RISC-V unprivileged specification, chapters 2 and 4)."""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace


def word(m: Trace, register: Node) -> Node:
    """The low 32 bits of an integer register."""
    return m.x[register].trunc(32)


# --- upper immediates and jumps -----------------------------------------------------------------


@insn("imm[31:12] rd 0110111", "lui {rd}, {imm:u}")
def lui(m: Trace, rd: Node, imm: Node) -> None:
    """Load upper immediate: imm[31:12], sign-extended."""
    m.x[rd] = imm


@insn("imm[31:12] rd 0010111", "auipc {rd}, {imm:u}")
def auipc(m: Trace, rd: Node, imm: Node) -> None:
    """Add upper immediate to pc."""
    m.x[rd] = m.pc + imm


@insn("imm[20|10:1|11|19:12] rd 1101111", "jal {rd}, {imm:b}")
def jal(m: Trace, rd: Node, imm: Node) -> None:
    """Jump and link."""
    m.x[rd] = m.next_pc
    m.jump(m.pc + imm)


@insn("imm[11:0] rs1 000 rd 1100111", "jalr {rd}, {imm}({rs1})")
def jalr(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Jump and link to a register plus offset; bit 0 of the target is cleared."""
    target = (m.x[rs1] + imm) & ~1
    m.x[rd] = m.next_pc
    m.jump(target)


# --- branches -----------------------------------------------------------------------------------


@insn("imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011", "beq {rs1}, {rs2}, {imm:b}")
def beq(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Branch if equal."""
    m.branch(m.x[rs1].eq(m.x[rs2]), m.pc + imm)


@insn("imm[12|10:5] rs2 rs1 001 imm[4:1|11] 1100011", "bne {rs1}, {rs2}, {imm:b}")
def bne(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Branch if not equal."""
    m.branch(m.x[rs1].ne(m.x[rs2]), m.pc + imm)


@insn("imm[12|10:5] rs2 rs1 100 imm[4:1|11] 1100011", "blt {rs1}, {rs2}, {imm:b}")
def blt(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Branch if less, signed."""
    m.branch(m.x[rs1].lts(m.x[rs2]), m.pc + imm)


@insn("imm[12|10:5] rs2 rs1 101 imm[4:1|11] 1100011", "bge {rs1}, {rs2}, {imm:b}")
def bge(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Branch if greater or equal, signed."""
    m.branch(~m.x[rs1].lts(m.x[rs2]), m.pc + imm)


@insn("imm[12|10:5] rs2 rs1 110 imm[4:1|11] 1100011", "bltu {rs1}, {rs2}, {imm:b}")
def bltu(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Branch if less, unsigned."""
    m.branch(m.x[rs1].ltu(m.x[rs2]), m.pc + imm)


@insn("imm[12|10:5] rs2 rs1 111 imm[4:1|11] 1100011", "bgeu {rs1}, {rs2}, {imm:b}")
def bgeu(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Branch if greater or equal, unsigned."""
    m.branch(~m.x[rs1].ltu(m.x[rs2]), m.pc + imm)


# --- loads and stores ---------------------------------------------------------------------------


@insn("imm[11:0] rs1 000 rd 0000011", "lb {rd}, {imm}({rs1})")
def lb(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load byte, sign-extended."""
    m.x[rd] = m.load(m.x[rs1] + imm, 8).sext(64)


@insn("imm[11:0] rs1 001 rd 0000011", "lh {rd}, {imm}({rs1})")
def lh(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load halfword, sign-extended."""
    m.x[rd] = m.load(m.x[rs1] + imm, 16).sext(64)


@insn("imm[11:0] rs1 010 rd 0000011", "lw {rd}, {imm}({rs1})")
def lw(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load word, sign-extended."""
    m.x[rd] = m.load(m.x[rs1] + imm, 32).sext(64)


@insn("imm[11:0] rs1 011 rd 0000011", "ld {rd}, {imm}({rs1})")
def ld(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load doubleword."""
    m.x[rd] = m.load(m.x[rs1] + imm, 64)


@insn("imm[11:0] rs1 100 rd 0000011", "lbu {rd}, {imm}({rs1})")
def lbu(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load byte, zero-extended."""
    m.x[rd] = m.load(m.x[rs1] + imm, 8).zext(64)


@insn("imm[11:0] rs1 101 rd 0000011", "lhu {rd}, {imm}({rs1})")
def lhu(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load halfword, zero-extended."""
    m.x[rd] = m.load(m.x[rs1] + imm, 16).zext(64)


@insn("imm[11:0] rs1 110 rd 0000011", "lwu {rd}, {imm}({rs1})")
def lwu(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load word, zero-extended."""
    m.x[rd] = m.load(m.x[rs1] + imm, 32).zext(64)


@insn("imm[11:5] rs2 rs1 000 imm[4:0] 0100011", "sb {rs2}, {imm}({rs1})")
def sb(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Store byte."""
    m.store(m.x[rs1] + imm, m.x[rs2].trunc(8))


@insn("imm[11:5] rs2 rs1 001 imm[4:0] 0100011", "sh {rs2}, {imm}({rs1})")
def sh(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Store halfword."""
    m.store(m.x[rs1] + imm, m.x[rs2].trunc(16))


@insn("imm[11:5] rs2 rs1 010 imm[4:0] 0100011", "sw {rs2}, {imm}({rs1})")
def sw(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Store word."""
    m.store(m.x[rs1] + imm, word(m, rs2))


@insn("imm[11:5] rs2 rs1 011 imm[4:0] 0100011", "sd {rs2}, {imm}({rs1})")
def sd(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Store doubleword."""
    m.store(m.x[rs1] + imm, m.x[rs2])


# --- register and immediate ---------------------------------------------------------------------


@insn("imm[11:0] rs1 000 rd 0010011", "addi {rd}, {rs1}, {imm}")
def addi(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Add immediate."""
    m.x[rd] = m.x[rs1] + imm


@insn("imm[11:0] rs1 010 rd 0010011", "slti {rd}, {rs1}, {imm}")
def slti(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Set if less than immediate, signed."""
    m.x[rd] = m.x[rs1].lts(imm).zext(64)


@insn("imm[11:0] rs1 011 rd 0010011", "sltiu {rd}, {rs1}, {imm}")
def sltiu(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Set if less than the sign-extended immediate, unsigned."""
    m.x[rd] = m.x[rs1].ltu(imm).zext(64)


@insn("imm[11:0] rs1 100 rd 0010011", "xori {rd}, {rs1}, {imm}")
def xori(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Exclusive OR with immediate."""
    m.x[rd] = m.x[rs1] ^ imm


@insn("imm[11:0] rs1 110 rd 0010011", "ori {rd}, {rs1}, {imm}")
def ori(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """OR with immediate."""
    m.x[rd] = m.x[rs1] | imm


@insn("imm[11:0] rs1 111 rd 0010011", "andi {rd}, {rs1}, {imm}")
def andi(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """AND with immediate."""
    m.x[rd] = m.x[rs1] & imm


@insn("000000 shamt[5:0] rs1 001 rd 0010011", "slli {rd}, {rs1}, {shamt}")
def slli(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Shift left logical by an immediate."""
    m.x[rd] = m.x[rs1] << imm


@insn("000000 shamt[5:0] rs1 101 rd 0010011", "srli {rd}, {rs1}, {shamt}")
def srli(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Shift right logical by an immediate."""
    m.x[rd] = m.x[rs1] >> imm


@insn("010000 shamt[5:0] rs1 101 rd 0010011", "srai {rd}, {rs1}, {shamt}")
def srai(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Shift right arithmetic by an immediate."""
    m.x[rd] = m.x[rs1].sar(imm)


@insn("imm[11:0] rs1 000 rd 0011011", "addiw {rd}, {rs1}, {imm}")
def addiw(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Add immediate to a word; the 32-bit sum is sign-extended."""
    m.x[rd] = (m.x[rs1] + imm).trunc(32).sext(64)


@insn("0000000 shamt[4:0] rs1 001 rd 0011011", "slliw {rd}, {rs1}, {shamt}")
def slliw(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Shift a word left logical by an immediate."""
    m.x[rd] = (word(m, rs1) << imm.trunc(32)).sext(64)


@insn("0000000 shamt[4:0] rs1 101 rd 0011011", "srliw {rd}, {rs1}, {shamt}")
def srliw(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Shift a word right logical by an immediate."""
    m.x[rd] = (word(m, rs1) >> imm.trunc(32)).sext(64)


@insn("0100000 shamt[4:0] rs1 101 rd 0011011", "sraiw {rd}, {rs1}, {shamt}")
def sraiw(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Shift a word right arithmetic by an immediate."""
    m.x[rd] = word(m, rs1).sar(imm.trunc(32)).sext(64)


# --- register and register ----------------------------------------------------------------------


@insn("0000000 rs2 rs1 000 rd 0110011", "add {rd}, {rs1}, {rs2}")
def add(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Add; wraps at XLEN."""
    m.x[rd] = m.x[rs1] + m.x[rs2]


@insn("0100000 rs2 rs1 000 rd 0110011", "sub {rd}, {rs1}, {rs2}")
def sub(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Subtract; wraps at XLEN."""
    m.x[rd] = m.x[rs1] - m.x[rs2]


@insn("0000000 rs2 rs1 001 rd 0110011", "sll {rd}, {rs1}, {rs2}")
def sll(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift left logical by the low 6 bits of rs2."""
    m.x[rd] = m.x[rs1] << (m.x[rs2] & 63)


@insn("0000000 rs2 rs1 010 rd 0110011", "slt {rd}, {rs1}, {rs2}")
def slt(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Set if less, signed."""
    m.x[rd] = m.x[rs1].lts(m.x[rs2]).zext(64)


@insn("0000000 rs2 rs1 011 rd 0110011", "sltu {rd}, {rs1}, {rs2}")
def sltu(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Set if less, unsigned."""
    m.x[rd] = m.x[rs1].ltu(m.x[rs2]).zext(64)


@insn("0000000 rs2 rs1 100 rd 0110011", "xor {rd}, {rs1}, {rs2}")
def xor(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Exclusive OR."""
    m.x[rd] = m.x[rs1] ^ m.x[rs2]


@insn("0000000 rs2 rs1 101 rd 0110011", "srl {rd}, {rs1}, {rs2}")
def srl(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift right logical by the low 6 bits of rs2."""
    m.x[rd] = m.x[rs1] >> (m.x[rs2] & 63)


@insn("0100000 rs2 rs1 101 rd 0110011", "sra {rd}, {rs1}, {rs2}")
def sra(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift right arithmetic by the low 6 bits of rs2."""
    m.x[rd] = m.x[rs1].sar(m.x[rs2] & 63)


@insn("0000000 rs2 rs1 110 rd 0110011", "or {rd}, {rs1}, {rs2}")
def or_(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """OR."""
    m.x[rd] = m.x[rs1] | m.x[rs2]


@insn("0000000 rs2 rs1 111 rd 0110011", "and {rd}, {rs1}, {rs2}")
def and_(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """AND."""
    m.x[rd] = m.x[rs1] & m.x[rs2]


@insn("0000000 rs2 rs1 000 rd 0111011", "addw {rd}, {rs1}, {rs2}")
def addw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Add words; the 32-bit sum is sign-extended."""
    m.x[rd] = (word(m, rs1) + word(m, rs2)).sext(64)


@insn("0100000 rs2 rs1 000 rd 0111011", "subw {rd}, {rs1}, {rs2}")
def subw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Subtract words; the 32-bit difference is sign-extended."""
    m.x[rd] = (word(m, rs1) - word(m, rs2)).sext(64)


@insn("0000000 rs2 rs1 001 rd 0111011", "sllw {rd}, {rs1}, {rs2}")
def sllw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift a word left logical by the low 5 bits of rs2."""
    m.x[rd] = (word(m, rs1) << (word(m, rs2) & 31)).sext(64)


@insn("0000000 rs2 rs1 101 rd 0111011", "srlw {rd}, {rs1}, {rs2}")
def srlw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift a word right logical by the low 5 bits of rs2."""
    m.x[rd] = (word(m, rs1) >> (word(m, rs2) & 31)).sext(64)


@insn("0100000 rs2 rs1 101 rd 0111011", "sraw {rd}, {rs1}, {rs2}")
def sraw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift a word right arithmetic by the low 5 bits of rs2."""
    m.x[rd] = word(m, rs1).sar(word(m, rs2) & 31).sext(64)


# --- fence --------------------------------------------------------------------------------------


@insn("fm pred succ rs1 000 rd 0001111", "fence {pred}, {succ}")
def fence(m: Trace) -> None:
    """Order memory accesses: nothing to do where one hart performs them in program order."""
