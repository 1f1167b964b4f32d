"""Instructions over descriptors: load, store, copy, and access to fields."""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace


@insn("0000000 00000 rs1 000 0 td 0101011", "tld {td:t}, ({rs1})")
def tld(m: Trace, rd: Node, rs1: Node) -> None:
    """Load a descriptor of 128 bytes from memory."""
    m.system("tensor", "tld", rd, m.x[rs1])


@insn("0000001 00000 rs1 000 0 td 0101011", "tst {td:t}, ({rs1})")
def tst(m: Trace, rd: Node, rs1: Node) -> None:
    """Store a descriptor of 128 bytes to memory."""
    m.system("tensor", "tst", rd, m.x[rs1])


@insn("0000010 00000 0 ts1 000 0 td 0101011", "tmv {td:t}, {ts1:t}")
def tmv(m: Trace, rd: Node, rs1: Node) -> None:
    """Copy a descriptor."""
    m.system("tensor", "tmv", rd, rs1)


@insn("0000011 field 0 ts1 000 rd 0101011", "tget {rd}, {ts1:t}, {field}")
def tget(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Read one field of a descriptor."""
    m.x[rd] = m.system("tensor", "tget", rs1, imm)


@insn("0000100 field rs1 000 0 td 0101011", "tset {td:t}, {rs1}, {field}")
def tset(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Write one field of a descriptor."""
    m.system("tensor", "tset", rd, m.x[rs1], imm)
