"""Zifencei: instruction fetch follows earlier stores (unprivileged specification, chapter 5)."""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Trace


@insn("uimm[11:0] rs1 001 rd 0001111", "fence.i")
def fence_i(m: Trace) -> None:
    """Make stores to code visible to instruction fetch."""
    m.system("fence_i")
