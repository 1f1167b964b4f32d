"""Zbb: basic bit manipulation (RISC-V unprivileged specification, chapter on bit manipulation)."""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace, select
from emu.isa.rv64i import word


def _rotate_right(value: Node, amount: Node) -> Node:
    """Rotate by an amount of which only the bits below the width count."""
    places = amount & (value.width - 1)
    return (value >> places) | (value << (-places & (value.width - 1)))


@insn("0100000 rs2 rs1 111 rd 0110011", "andn {rd}, {rs1}, {rs2}")
def andn(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """AND with inverted rs2."""
    m.x[rd] = m.x[rs1] & ~m.x[rs2]


@insn("0100000 rs2 rs1 110 rd 0110011", "orn {rd}, {rs1}, {rs2}")
def orn(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """OR with inverted rs2."""
    m.x[rd] = m.x[rs1] | ~m.x[rs2]


@insn("0100000 rs2 rs1 100 rd 0110011", "xnor {rd}, {rs1}, {rs2}")
def xnor(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Inverted exclusive OR."""
    m.x[rd] = ~(m.x[rs1] ^ m.x[rs2])


@insn("0110000 00000 rs1 001 rd 0010011", "clz {rd}, {rs1}")
def clz(m: Trace, rd: Node, rs1: Node) -> None:
    """Count leading zeros."""
    m.x[rd] = m.x[rs1].unary("clz")


@insn("0110000 00000 rs1 001 rd 0011011", "clzw {rd}, {rs1}")
def clzw(m: Trace, rd: Node, rs1: Node) -> None:
    """Count leading zeros of a word."""
    m.x[rd] = word(m, rs1).unary("clz").zext(64)


@insn("0110000 00001 rs1 001 rd 0010011", "ctz {rd}, {rs1}")
def ctz(m: Trace, rd: Node, rs1: Node) -> None:
    """Count trailing zeros."""
    m.x[rd] = m.x[rs1].unary("ctz")


@insn("0110000 00001 rs1 001 rd 0011011", "ctzw {rd}, {rs1}")
def ctzw(m: Trace, rd: Node, rs1: Node) -> None:
    """Count trailing zeros of a word."""
    m.x[rd] = word(m, rs1).unary("ctz").zext(64)


@insn("0110000 00010 rs1 001 rd 0010011", "cpop {rd}, {rs1}")
def cpop(m: Trace, rd: Node, rs1: Node) -> None:
    """Count set bits."""
    m.x[rd] = m.x[rs1].unary("popcount")


@insn("0110000 00010 rs1 001 rd 0011011", "cpopw {rd}, {rs1}")
def cpopw(m: Trace, rd: Node, rs1: Node) -> None:
    """Count set bits of a word."""
    m.x[rd] = word(m, rs1).unary("popcount").zext(64)


@insn("0000101 rs2 rs1 110 rd 0110011", "max {rd}, {rs1}, {rs2}")
def max_(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Signed maximum."""
    a, b = m.x[rs1], m.x[rs2]
    m.x[rd] = select(a.lts(b), b, a)


@insn("0000101 rs2 rs1 111 rd 0110011", "maxu {rd}, {rs1}, {rs2}")
def maxu(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Unsigned maximum."""
    a, b = m.x[rs1], m.x[rs2]
    m.x[rd] = select(a.ltu(b), b, a)


@insn("0000101 rs2 rs1 100 rd 0110011", "min {rd}, {rs1}, {rs2}")
def min_(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Signed minimum."""
    a, b = m.x[rs1], m.x[rs2]
    m.x[rd] = select(a.lts(b), a, b)


@insn("0000101 rs2 rs1 101 rd 0110011", "minu {rd}, {rs1}, {rs2}")
def minu(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Unsigned minimum."""
    a, b = m.x[rs1], m.x[rs2]
    m.x[rd] = select(a.ltu(b), a, b)


@insn("0110000 00100 rs1 001 rd 0010011", "sext.b {rd}, {rs1}")
def sext_b(m: Trace, rd: Node, rs1: Node) -> None:
    """Sign-extend a byte."""
    m.x[rd] = m.x[rs1].trunc(8).sext(64)


@insn("0110000 00101 rs1 001 rd 0010011", "sext.h {rd}, {rs1}")
def sext_h(m: Trace, rd: Node, rs1: Node) -> None:
    """Sign-extend a halfword."""
    m.x[rd] = m.x[rs1].trunc(16).sext(64)


@insn("0000100 00000 rs1 100 rd 0111011", "zext.h {rd}, {rs1}")
def zext_h(m: Trace, rd: Node, rs1: Node) -> None:
    """Zero-extend a halfword."""
    m.x[rd] = m.x[rs1].trunc(16).zext(64)


@insn("0110000 rs2 rs1 001 rd 0110011", "rol {rd}, {rs1}, {rs2}")
def rol(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Rotate left."""
    m.x[rd] = _rotate_right(m.x[rs1], -m.x[rs2])


@insn("0110000 rs2 rs1 001 rd 0111011", "rolw {rd}, {rs1}, {rs2}")
def rolw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Rotate a word left; sign-extended."""
    m.x[rd] = _rotate_right(word(m, rs1), -word(m, rs2)).sext(64)


@insn("0110000 rs2 rs1 101 rd 0110011", "ror {rd}, {rs1}, {rs2}")
def ror(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Rotate right."""
    m.x[rd] = _rotate_right(m.x[rs1], m.x[rs2])


@insn("0110000 rs2 rs1 101 rd 0111011", "rorw {rd}, {rs1}, {rs2}")
def rorw(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Rotate a word right; sign-extended."""
    m.x[rd] = _rotate_right(word(m, rs1), word(m, rs2)).sext(64)


@insn("011000 shamt[5:0] rs1 101 rd 0010011", "rori {rd}, {rs1}, {shamt}")
def rori(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Rotate right by an immediate."""
    m.x[rd] = _rotate_right(m.x[rs1], imm)


@insn("0110000 shamt[4:0] rs1 101 rd 0011011", "roriw {rd}, {rs1}, {shamt}")
def roriw(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Rotate a word right by an immediate; sign-extended."""
    m.x[rd] = _rotate_right(word(m, rs1), imm.trunc(32)).sext(64)


@insn("001010000111 rs1 101 rd 0010011", "orc.b {rd}, {rs1}")
def orc_b(m: Trace, rd: Node, rs1: Node) -> None:
    """OR-combine: each byte becomes 0x00 if it was zero, else 0xff."""
    m.x[rd] = m.x[rs1].unary("orcb")


@insn("011010111000 rs1 101 rd 0010011", "rev8 {rd}, {rs1}")
def rev8(m: Trace, rd: Node, rs1: Node) -> None:
    """Reverse the bytes."""
    m.x[rd] = m.x[rs1].unary("bswap")
