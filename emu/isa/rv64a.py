"""RV64A: atomic memory operations (RISC-V unprivileged specification, chapter 13).

The acquire and release bits order one hart's accesses as others see them; with one hart, which
performs its accesses in program order, they change nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace, select

_LOAD_MISALIGNED = 4
_STORE_MISALIGNED = 6


def _aligned(m: Trace, rs1: Node, bits: int, cause: int) -> Node:
    """The address in rs1, after a check that it is naturally aligned."""
    address = m.x[rs1]
    m.trap_if((address & (bits // 8 - 1)).ne(0), cause, address)
    return address


def _load_reserved(m: Trace, rd: Node, rs1: Node, bits: int) -> None:
    address = _aligned(m, rs1, bits, _LOAD_MISALIGNED)
    value = m.load(address, bits, "lr")
    m.reserve(address)
    m.x[rd] = value.sext(64)


def _store_conditional(m: Trace, rd: Node, rs1: Node, rs2: Node, bits: int) -> None:
    address = _aligned(m, rs1, bits, _STORE_MISALIGNED)
    holds = m.reserved(address, bits // 8)
    m.store(address, m.x[rs2].trunc(bits), when=holds)
    m.x[rd] = (~holds).zext(64)


@insn("00010 aq rl 00000 rs1 010 rd 0101111", "lr.w {rd}, ({rs1})")
def lr_w(m: Trace, rd: Node, rs1: Node) -> None:
    """Load reserved word, sign-extended."""
    _load_reserved(m, rd, rs1, 32)


@insn("00010 aq rl 00000 rs1 011 rd 0101111", "lr.d {rd}, ({rs1})")
def lr_d(m: Trace, rd: Node, rs1: Node) -> None:
    """Load reserved doubleword."""
    _load_reserved(m, rd, rs1, 64)


@insn("00011 aq rl rs2 rs1 010 rd 0101111", "sc.w {rd}, {rs2}, ({rs1})")
def sc_w(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Store conditional word; rd is 0 when it stored."""
    _store_conditional(m, rd, rs1, rs2, 32)


@insn("00011 aq rl rs2 rs1 011 rd 0101111", "sc.d {rd}, {rs2}, ({rs1})")
def sc_d(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Store conditional doubleword; rd is 0 when it stored."""
    _store_conditional(m, rd, rs1, rs2, 64)


_OPERATIONS: tuple[tuple[str, str, str, Callable[[Node, Node], Node]], ...] = (
    ("00001", "swap", "swap", lambda old, new: new),
    ("00000", "add", "add", lambda a, b: a + b),
    ("00100", "xor", "exclusive OR", lambda a, b: a ^ b),
    ("01100", "and", "AND", lambda a, b: a & b),
    ("01000", "or", "OR", lambda a, b: a | b),
    ("10000", "min", "signed minimum", lambda a, b: select(a.lts(b), a, b)),
    ("10100", "max", "signed maximum", lambda a, b: select(a.lts(b), b, a)),
    ("11000", "minu", "unsigned minimum", lambda a, b: select(a.ltu(b), a, b)),
    ("11100", "maxu", "unsigned maximum", lambda a, b: select(a.ltu(b), b, a)),
)


def _declare(
    funct5: str, name: str, doc: str, operation: Callable[[Node, Node], Node], bits: int
) -> None:
    """One read-modify-write operation on a word or a doubleword."""
    funct3, suffix, noun = ("010", "w", "word") if bits == 32 else ("011", "d", "doubleword")

    @insn(
        f"{funct5} aq rl rs2 rs1 {funct3} rd 0101111",
        f"amo{name}.{suffix} {{rd}}, {{rs2}}, ({{rs1}})",
        doc=f"Atomic {doc} of a {noun} in memory with rs2; rd is what was there.",
    )
    def amo(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
        address = _aligned(m, rs1, bits, _STORE_MISALIGNED)
        old = m.load(address, bits, "amo")
        m.store(address, operation(old, m.x[rs2].trunc(bits)))
        m.x[rd] = old.sext(64)


for _row in _OPERATIONS:
    _declare(*_row, bits=32)
    _declare(*_row, bits=64)
