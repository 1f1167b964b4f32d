"""Zba: address generation (RISC-V unprivileged specification, chapter on bit manipulation)."""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace
from emu.isa.rv64i import word


@insn("0010000 rs2 rs1 010 rd 0110011", "sh1add {rd}, {rs1}, {rs2}")
def sh1add(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift left by 1 and add."""
    m.x[rd] = m.x[rs2] + (m.x[rs1] << 1)


@insn("0010000 rs2 rs1 100 rd 0110011", "sh2add {rd}, {rs1}, {rs2}")
def sh2add(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift left by 2 and add."""
    m.x[rd] = m.x[rs2] + (m.x[rs1] << 2)


@insn("0010000 rs2 rs1 110 rd 0110011", "sh3add {rd}, {rs1}, {rs2}")
def sh3add(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift left by 3 and add."""
    m.x[rd] = m.x[rs2] + (m.x[rs1] << 3)


@insn("0000100 rs2 rs1 000 rd 0111011", "add.uw {rd}, {rs1}, {rs2}")
def add_uw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Add the zero-extended word of rs1."""
    m.x[rd] = m.x[rs2] + word(m, rs1).zext(64)


@insn("0010000 rs2 rs1 010 rd 0111011", "sh1add.uw {rd}, {rs1}, {rs2}")
def sh1add_uw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift the zero-extended word of rs1 left by 1 and add."""
    m.x[rd] = m.x[rs2] + (word(m, rs1).zext(64) << 1)


@insn("0010000 rs2 rs1 100 rd 0111011", "sh2add.uw {rd}, {rs1}, {rs2}")
def sh2add_uw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift the zero-extended word of rs1 left by 2 and add."""
    m.x[rd] = m.x[rs2] + (word(m, rs1).zext(64) << 2)


@insn("0010000 rs2 rs1 110 rd 0111011", "sh3add.uw {rd}, {rs1}, {rs2}")
def sh3add_uw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Shift the zero-extended word of rs1 left by 3 and add."""
    m.x[rd] = m.x[rs2] + (word(m, rs1).zext(64) << 3)


@insn("000010 shamt[5:0] rs1 001 rd 0011011", "slli.uw {rd}, {rs1}, {shamt}")
def slli_uw(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Shift the zero-extended word of rs1 left by an immediate."""
    m.x[rd] = word(m, rs1).zext(64) << imm
