"""Xlane: instructions of the GPU's lanes, in the custom-0 opcode, after the Vortex GPGPU.

A warp is 32 lanes, each a RISC-V processor of its own; these instructions make them a warp: they
switch lanes off and on, start warps, let warps wait for each other and lanes see each other's
values. On the hart they are illegal. The encodings and operands are those of Vortex
(`vx_intrinsics.h`), so code generated for it means the same here. Two are not in custom-0: lanes
have no reservations, so they have the compare and swap of RISC-V's Zacas, which harts lack.

**The seam.** Every body makes one call, `m.system("lane", name, operands...)`; a condition is bit 0
of a register, as in Vortex. What a call does is a table of the engine that executes lanes
(`emu.devices.gpu.simt.collective`): it sees the operands of all lanes that execute together.

The rules of masks are in docs/gpu.md; in short: `split` takes the lanes without the condition away
until `join`, where they get their turn and then all go on. `split.n` and `pred.n` negate the
condition.
"""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace


@insn("0000000 00000 rs1 000 00000 0001011", "tmc {rs1}")
def tmc(m: Trace, rs1: Node) -> None:
    """Make the lanes of the mask rs1 the warp's active ones; with no lane the warp ends."""
    m.system("lane", "tmc", m.x[rs1])


@insn("0000000 rs2 rs1 001 00000 0001011", "wspawn {rs1}, {rs2}")
def wspawn(m: Trace, rs1: Node, rs2: Node) -> None:
    """When no other warp is left, start the warps 1 to rs1 - 1 at rs2, each with its first lane."""
    m.system("lane", "wspawn", m.x[rs1], m.x[rs2])


@insn("0000000 00000 rs1 010 rd 0001011", "split {rd}, {rs1}")
def split(m: Trace, rd: Node, rs1: Node) -> None:
    """Go on with the lanes where bit 0 of rs1 is set, the others at join; rd is join's token."""
    m.x[rd] = m.system("lane", "split", m.x[rs1] & 1)


@insn("0000000 00001 rs1 010 rd 0001011", "split.n {rd}, {rs1}")
def split_n(m: Trace, rd: Node, rs1: Node) -> None:
    """Go on with the lanes where bit 0 of rs1 is clear, the others at join; rd is join's token."""
    m.x[rd] = m.system("lane", "split", ~m.x[rs1] & 1)


@insn("0000000 00000 rs1 011 00000 0001011", "join {rs1}")
def join(m: Trace, rs1: Node) -> None:
    """Let the lanes go on that the split with token rs1 left behind; the second time, all."""
    m.system("lane", "join", m.x[rs1])


@insn("0000000 rs2 rs1 100 00000 0001011", "bar {rs1}, {rs2}")
def bar(m: Trace, rs1: Node, rs2: Node) -> None:
    """Wait until rs2 warps of the workgroup, or all that are left, wait at the barrier rs1."""
    m.system("lane", "bar", m.x[rs1], m.x[rs2])


@insn("0000000 rs2 rs1 101 00000 0001011", "pred {rs1}, {rs2}")
def pred(m: Trace, rs1: Node, rs2: Node) -> None:
    """Keep the lanes where bit 0 of rs1 is set; if there is none, those of the mask rs2."""
    m.system("lane", "pred", m.x[rs1] & 1, m.x[rs2])


@insn("0000000 rs2 rs1 101 00001 0001011", "pred.n {rs1}, {rs2}")
def pred_n(m: Trace, rs1: Node, rs2: Node) -> None:
    """Keep the lanes where bit 0 of rs1 is clear; if there is none, those of the mask rs2."""
    m.system("lane", "pred", ~m.x[rs1] & 1, m.x[rs2])


def _vote(number: int, kind: str, doc: str) -> None:
    @insn(f"0000001 00000 rs1 {number:03b} rd 0001011", f"vote.{kind} {{rd}}, {{rs1}}", doc=doc)
    def vote(m: Trace, rd: Node, rs1: Node) -> None:
        m.x[rd] = m.system("lane", f"vote.{kind}", m.x[rs1] & 1)


_vote(0, "all", "1 if bit 0 of rs1 is set in all lanes that execute this, else 0.")
_vote(1, "any", "1 if bit 0 of rs1 is set in a lane that executes this, else 0.")
_vote(2, "uni", "1 if bit 0 of rs1 is the same in all lanes that execute this, else 0.")
_vote(3, "ballot", "The mask of the lanes that execute this and have bit 0 of rs1 set.")


def _shuffle(number: int, kind: str, where: str) -> None:
    @insn(
        f"0000001 rs2 rs1 {number:03b} rd 0001011",
        f"shfl.{kind} {{rd}}, {{rs1}}, {{rs2}}",
        doc=f"rs1 of the lane {where}; rs2 is b | c << 6 | mask << 12.",
    )
    def shuffle(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
        packed = m.x[rs2]
        b, c, mask = (packed >> low & 63 for low in (0, 6, 12))
        m.x[rd] = m.system("lane", f"shfl.{kind}", m.x[rs1], b, c, mask)


_shuffle(4, "up", "b below")
_shuffle(5, "down", "b above")
_shuffle(6, "bfly", "with the number exclusive-or b")
_shuffle(7, "idx", "b of the part of the warp that the mask makes")


def _compare_and_swap(funct3: str, width: str, bits: int, noun: str) -> None:
    @insn(
        f"00101 aq rl rs2 rs1 {funct3} rd 0101111",
        f"amocas.{width} {{rd}}, {{rs2}}, ({{rs1}})",
        doc=f"Atomic store of rs2 to a {noun} in memory that equals rd; rd is what was there.",
    )
    def amocas(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
        values = (m.x[index].trunc(bits) for index in (rd, rs2))
        old = m.system("lane", f"amocas.{width}", m.x[rs1], *values)
        m.x[rd] = old.trunc(bits).sext(64)


_compare_and_swap("010", "w", 32, "word")
_compare_and_swap("011", "d", 64, "doubleword")
