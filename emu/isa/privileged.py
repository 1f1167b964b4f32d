"""The privileged instructions, and the two that enter a more privileged mode.

RISC-V unprivileged specification, section 2.8 (ECALL, EBREAK), and privileged specification,
section 3.3 (MRET, SRET, WFI) and chapter 12 (SFENCE.VMA).
"""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace


@insn("000000000000 00000 000 00000 1110011", "ecall")
def ecall(m: Trace) -> None:
    """Call the execution environment: always traps."""
    m.system("ecall")


@insn("000000000001 00000 000 00000 1110011", "ebreak")
def ebreak(m: Trace) -> None:
    """Breakpoint: always traps."""
    m.system("ebreak")


@insn("000100000010 00000 000 00000 1110011", "sret")
def sret(m: Trace) -> None:
    """Return from a trap taken in supervisor mode."""
    m.jump(m.system("sret"))


@insn("001100000010 00000 000 00000 1110011", "mret")
def mret(m: Trace) -> None:
    """Return from a trap taken in machine mode."""
    m.jump(m.system("mret"))


@insn("000100000101 00000 000 00000 1110011", "wfi")
def wfi(m: Trace) -> None:
    """Wait until an interrupt is pending."""
    m.system("wfi")


@insn("0001001 rs2 rs1 000 00000 1110011", "sfence.vma {rs1}, {rs2}")
def sfence_vma(m: Trace, rs1: Node, rs2: Node) -> None:
    """Make page table changes visible to translation."""
    m.system("sfence_vma", m.x[rs1], m.x[rs2])
