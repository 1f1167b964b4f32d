"""Zbs: single-bit instructions (RISC-V unprivileged specification, chapter on bit manipulation)."""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace, const


def _bit(index: Node) -> Node:
    """1 at the place that the low 6 bits of `index` name."""
    return const(1) << (index & 63)


@insn("0100100 rs2 rs1 001 rd 0110011", "bclr {rd}, {rs1}, {rs2}")
def bclr(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Clear the bit that rs2 names."""
    m.x[rd] = m.x[rs1] & ~_bit(m.x[rs2])


@insn("010010 shamt[5:0] rs1 001 rd 0010011", "bclri {rd}, {rs1}, {shamt}")
def bclri(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Clear one bit."""
    m.x[rd] = m.x[rs1] & ~_bit(imm)


@insn("0100100 rs2 rs1 101 rd 0110011", "bext {rd}, {rs1}, {rs2}")
def bext(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Extract the bit that rs2 names."""
    m.x[rd] = (m.x[rs1] >> (m.x[rs2] & 63)) & 1


@insn("010010 shamt[5:0] rs1 101 rd 0010011", "bexti {rd}, {rs1}, {shamt}")
def bexti(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Extract one bit."""
    m.x[rd] = (m.x[rs1] >> imm) & 1


@insn("0110100 rs2 rs1 001 rd 0110011", "binv {rd}, {rs1}, {rs2}")
def binv(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Invert the bit that rs2 names."""
    m.x[rd] = m.x[rs1] ^ _bit(m.x[rs2])


@insn("011010 shamt[5:0] rs1 001 rd 0010011", "binvi {rd}, {rs1}, {shamt}")
def binvi(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Invert one bit."""
    m.x[rd] = m.x[rs1] ^ _bit(imm)


@insn("0010100 rs2 rs1 001 rd 0110011", "bset {rd}, {rs1}, {rs2}")
def bset(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Set the bit that rs2 names."""
    m.x[rd] = m.x[rs1] | _bit(m.x[rs2])


@insn("001010 shamt[5:0] rs1 001 rd 0010011", "bseti {rd}, {rs1}, {shamt}")
def bseti(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Set one bit."""
    m.x[rd] = m.x[rs1] | _bit(imm)
