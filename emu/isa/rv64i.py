"""RV64I: the base integer instructions (RISC-V unprivileged specification, chapters 2 and 4)."""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace


@insn("imm[31:12] rd 0110111", "lui {rd}, {imm}")
def lui(m: Trace, rd: Node, imm: Node) -> None:
    """Load upper immediate: imm[31:12], sign-extended."""
    m.x[rd] = imm


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


@insn("imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011", "beq {rs1}, {rs2}, {imm:b}")
def beq(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Branch if equal."""
    m.branch(m.x[rs1].eq(m.x[rs2]), m.pc + imm)


@insn("imm[11:0] rs1 000 rd 0000011", "lb {rd}, {imm}({rs1})")
def lb(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load byte, sign-extended."""
    m.x[rd] = m.load(m.x[rs1] + imm, 8).sext(64)


@insn("imm[11:5] rs2 rs1 011 imm[4:0] 0100011", "sd {rs2}, {imm}({rs1})")
def sd(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Store doubleword."""
    m.store(m.x[rs1] + imm, m.x[rs2])


@insn("imm[11:0] rs1 000 rd 0010011", "addi {rd}, {rs1}, {imm}")
def addi(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Add immediate."""
    m.x[rd] = m.x[rs1] + imm


@insn("000000 shamt[5:0] rs1 001 rd 0010011", "slli {rd}, {rs1}, {shamt}")
def slli(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Shift left logical by an immediate."""
    m.x[rd] = m.x[rs1] << imm


@insn("0000000 rs2 rs1 000 rd 0110011", "add {rd}, {rs1}, {rs2}")
def add(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Add; wraps at XLEN."""
    m.x[rd] = m.x[rs1] + m.x[rs2]


@insn("0000000 rs2 rs1 000 rd 0111011", "addw {rd}, {rs1}, {rs2}")
def addw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Add words; the 32-bit sum is sign-extended."""
    m.x[rd] = (m.x[rs1] + m.x[rs2]).trunc(32).sext(64)
