"""Zicsr: control and status registers (RISC-V unprivileged specification, chapter 6).

The hart's method does the whole access, because its order matters: a forbidden or absent CSR traps
before anything is written. Its last operand says whether the access writes: setting or clearing
bits with x0 or with zero as the source reads only, so that read-only CSRs can be read.
"""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace, const


@insn("csr rs1 001 rd 1110011", "csrrw {rd}, {csr}, {rs1}")
def csrrw(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Swap a CSR and a register."""
    m.x[rd] = m.system("csr_swap", imm, m.x[rs1], const(1))


@insn("csr rs1 010 rd 1110011", "csrrs {rd}, {csr}, {rs1}")
def csrrs(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Read a CSR and set bits."""
    m.x[rd] = m.system("csr_set", imm, m.x[rs1], rs1.ne(0).zext(64))


@insn("csr rs1 011 rd 1110011", "csrrc {rd}, {csr}, {rs1}")
def csrrc(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Read a CSR and clear bits."""
    m.x[rd] = m.system("csr_clear", imm, m.x[rs1], rs1.ne(0).zext(64))


@insn("csr zimm 101 rd 1110011", "csrrwi {rd}, {csr}, {zimm}")
def csrrwi(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Read a CSR and write an immediate."""
    m.x[rd] = m.system("csr_swap", imm, rs1, const(1))


@insn("csr zimm 110 rd 1110011", "csrrsi {rd}, {csr}, {zimm}")
def csrrsi(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Read a CSR and set the bits of an immediate."""
    m.x[rd] = m.system("csr_set", imm, rs1, rs1.ne(0).zext(64))


@insn("csr zimm 111 rd 1110011", "csrrci {rd}, {csr}, {zimm}")
def csrrci(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Read a CSR and clear the bits of an immediate."""
    m.x[rd] = m.system("csr_clear", imm, rs1, rs1.ne(0).zext(64))
