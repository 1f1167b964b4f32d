"""RV64M: multiplication and division (RISC-V unprivileged specification, chapter 12)."""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace
from emu.isa.rv64i import word


@insn("0000001 rs2 rs1 000 rd 0110011", "mul {rd}, {rs1}, {rs2}")
def mul(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Multiply; the lower half of the product."""
    m.x[rd] = m.x[rs1] * m.x[rs2]


@insn("0000001 rs2 rs1 001 rd 0110011", "mulh {rd}, {rs1}, {rs2}")
def mulh(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Upper half of the product, signed by signed."""
    m.x[rd] = m.x[rs1].binary("mulh", m.x[rs2])


@insn("0000001 rs2 rs1 010 rd 0110011", "mulhsu {rd}, {rs1}, {rs2}")
def mulhsu(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Upper half of the product, signed rs1 by unsigned rs2."""
    m.x[rd] = m.x[rs1].binary("mulhsu", m.x[rs2])


@insn("0000001 rs2 rs1 011 rd 0110011", "mulhu {rd}, {rs1}, {rs2}")
def mulhu(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Upper half of the product, unsigned by unsigned."""
    m.x[rd] = m.x[rs1].binary("mulhu", m.x[rs2])


@insn("0000001 rs2 rs1 100 rd 0110011", "div {rd}, {rs1}, {rs2}")
def div(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Divide, signed, towards zero; -1 for a zero divisor."""
    m.x[rd] = m.x[rs1].binary("divs", m.x[rs2])


@insn("0000001 rs2 rs1 101 rd 0110011", "divu {rd}, {rs1}, {rs2}")
def divu(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Divide, unsigned; all ones for a zero divisor."""
    m.x[rd] = m.x[rs1].binary("divu", m.x[rs2])


@insn("0000001 rs2 rs1 110 rd 0110011", "rem {rd}, {rs1}, {rs2}")
def rem(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Remainder, with the dividend's sign; the dividend for a zero divisor."""
    m.x[rd] = m.x[rs1].binary("rems", m.x[rs2])


@insn("0000001 rs2 rs1 111 rd 0110011", "remu {rd}, {rs1}, {rs2}")
def remu(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Remainder, unsigned; the dividend for a zero divisor."""
    m.x[rd] = m.x[rs1].binary("remu", m.x[rs2])


@insn("0000001 rs2 rs1 000 rd 0111011", "mulw {rd}, {rs1}, {rs2}")
def mulw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Multiply words; the lower 32 bits, sign-extended."""
    m.x[rd] = (word(m, rs1) * word(m, rs2)).sext(64)


@insn("0000001 rs2 rs1 100 rd 0111011", "divw {rd}, {rs1}, {rs2}")
def divw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Divide words, signed."""
    m.x[rd] = word(m, rs1).binary("divs", word(m, rs2)).sext(64)


@insn("0000001 rs2 rs1 101 rd 0111011", "divuw {rd}, {rs1}, {rs2}")
def divuw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Divide words, unsigned; the quotient is sign-extended."""
    m.x[rd] = word(m, rs1).binary("divu", word(m, rs2)).sext(64)


@insn("0000001 rs2 rs1 110 rd 0111011", "remw {rd}, {rs1}, {rs2}")
def remw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Remainder of words, signed."""
    m.x[rd] = word(m, rs1).binary("rems", word(m, rs2)).sext(64)


@insn("0000001 rs2 rs1 111 rd 0111011", "remuw {rd}, {rs1}, {rs2}")
def remuw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Remainder of words, unsigned; sign-extended."""
    m.x[rd] = word(m, rs1).binary("remu", word(m, rs2)).sext(64)
