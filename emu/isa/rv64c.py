"""RV64C: 16-bit forms of common instructions (unprivileged specification, chapter on "C").

Each is a picture of its own whose body calls the instruction that it abbreviates. `never` lists the
reserved encodings; the hints (a result for x0, a shift by zero) execute as what they look like,
which changes nothing but pc.
"""

from __future__ import annotations

from emu.isa import privileged, rv64d, rv64i
from emu.isa.declare import insn
from emu.isa.graph import Node, Trace, const

_ZERO, _RA, _SP = const(0), const(1), const(2)

# --- quadrant 0: memory, registers x8 to x15 ----------------------------------------------------


@insn("000 nzuimm[5:4|9:6|2|3] rd' 00", "c.addi4spn {rd}, sp, {nzuimm}")
def c_addi4spn(m: Trace, rd: Node, imm: Node) -> None:
    """Add a multiple of 4 to sp."""
    rv64i.addi(m, rd, _SP, imm)


@insn("001 uimm[5:3] rs1' uimm[7:6] rd' 00", "c.fld {rd:f}, {uimm}({rs1})")
def c_fld(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load a double."""
    rv64d.fld(m, rd, rs1, imm)


@insn("010 uimm[5:3] rs1' uimm[2|6] rd' 00", "c.lw {rd}, {uimm}({rs1})")
def c_lw(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load word, sign-extended."""
    rv64i.lw(m, rd, rs1, imm)


@insn("011 uimm[5:3] rs1' uimm[7:6] rd' 00", "c.ld {rd}, {uimm}({rs1})")
def c_ld(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load doubleword."""
    rv64i.ld(m, rd, rs1, imm)


@insn("101 uimm[5:3] rs1' uimm[7:6] rs2' 00", "c.fsd {rs2:f}, {uimm}({rs1})")
def c_fsd(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Store a double."""
    rv64d.fsd(m, rs1, rs2, imm)


@insn("110 uimm[5:3] rs1' uimm[2|6] rs2' 00", "c.sw {rs2}, {uimm}({rs1})")
def c_sw(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Store word."""
    rv64i.sw(m, rs1, rs2, imm)


@insn("111 uimm[5:3] rs1' uimm[7:6] rs2' 00", "c.sd {rs2}, {uimm}({rs1})")
def c_sd(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Store doubleword."""
    rv64i.sd(m, rs1, rs2, imm)


# --- quadrant 1: immediates, arithmetic, jumps --------------------------------------------------


@insn("000 imm[5] 00000 imm[4:0] 01", "c.nop")
def c_nop(m: Trace) -> None:
    """Do nothing."""


@insn("000 imm[5] rd imm[4:0] 01", "c.addi {rd}, {imm}", never={"rd": (0,)})
def c_addi(m: Trace, rd: Node, imm: Node) -> None:
    """Add immediate to a register."""
    rv64i.addi(m, rd, rd, imm)


@insn("001 imm[5] rd imm[4:0] 01", "c.addiw {rd}, {imm}", never={"rd": (0,)})
def c_addiw(m: Trace, rd: Node, imm: Node) -> None:
    """Add immediate to a word."""
    rv64i.addiw(m, rd, rd, imm)


@insn("010 imm[5] rd imm[4:0] 01", "c.li {rd}, {imm}")
def c_li(m: Trace, rd: Node, imm: Node) -> None:
    """Load immediate."""
    rv64i.addi(m, rd, _ZERO, imm)


@insn("011 nzimm[9] 00010 nzimm[4|6|8:7|5] 01", "c.addi16sp sp, {nzimm}")
def c_addi16sp(m: Trace, imm: Node) -> None:
    """Add a multiple of 16 to sp."""
    rv64i.addi(m, _SP, _SP, imm)


@insn("011 nzimm[17] rd nzimm[16:12] 01", "c.lui {rd}, {nzimm:u}", never={"rd": (2,)})
def c_lui(m: Trace, rd: Node, imm: Node) -> None:
    """Load upper immediate, six bits."""
    rv64i.lui(m, rd, imm)


@insn("100 shamt[5] 00 rd' shamt[4:0] 01", "c.srli {rd}, {shamt}")
def c_srli(m: Trace, rd: Node, imm: Node) -> None:
    """Shift right logical by an immediate."""
    rv64i.srli(m, rd, rd, imm)


@insn("100 shamt[5] 01 rd' shamt[4:0] 01", "c.srai {rd}, {shamt}")
def c_srai(m: Trace, rd: Node, imm: Node) -> None:
    """Shift right arithmetic by an immediate."""
    rv64i.srai(m, rd, rd, imm)


@insn("100 imm[5] 10 rd' imm[4:0] 01", "c.andi {rd}, {imm}")
def c_andi(m: Trace, rd: Node, imm: Node) -> None:
    """AND with immediate."""
    rv64i.andi(m, rd, rd, imm)


@insn("100 0 11 rd' 00 rs2' 01", "c.sub {rd}, {rs2}")
def c_sub(m: Trace, rd: Node, rs2: Node) -> None:
    """Subtract."""
    rv64i.sub(m, rd, rd, rs2)


@insn("100 0 11 rd' 01 rs2' 01", "c.xor {rd}, {rs2}")
def c_xor(m: Trace, rd: Node, rs2: Node) -> None:
    """Exclusive OR."""
    rv64i.xor(m, rd, rd, rs2)


@insn("100 0 11 rd' 10 rs2' 01", "c.or {rd}, {rs2}")
def c_or(m: Trace, rd: Node, rs2: Node) -> None:
    """OR."""
    rv64i.or_(m, rd, rd, rs2)


@insn("100 0 11 rd' 11 rs2' 01", "c.and {rd}, {rs2}")
def c_and(m: Trace, rd: Node, rs2: Node) -> None:
    """AND."""
    rv64i.and_(m, rd, rd, rs2)


@insn("100 1 11 rd' 00 rs2' 01", "c.subw {rd}, {rs2}")
def c_subw(m: Trace, rd: Node, rs2: Node) -> None:
    """Subtract words."""
    rv64i.subw(m, rd, rd, rs2)


@insn("100 1 11 rd' 01 rs2' 01", "c.addw {rd}, {rs2}")
def c_addw(m: Trace, rd: Node, rs2: Node) -> None:
    """Add words."""
    rv64i.addw(m, rd, rd, rs2)


@insn("101 imm[11|4|9:8|10|6|7|3:1|5] 01", "c.j {imm:b}")
def c_j(m: Trace, imm: Node) -> None:
    """Jump."""
    rv64i.jal(m, _ZERO, imm)


@insn("110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "c.beqz {rs1}, {imm:b}")
def c_beqz(m: Trace, rs1: Node, imm: Node) -> None:
    """Branch if zero."""
    rv64i.beq(m, rs1, _ZERO, imm)


@insn("111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "c.bnez {rs1}, {imm:b}")
def c_bnez(m: Trace, rs1: Node, imm: Node) -> None:
    """Branch if not zero."""
    rv64i.bne(m, rs1, _ZERO, imm)


# --- quadrant 2: stack, moves, indirect jumps ---------------------------------------------------


@insn("000 shamt[5] rd shamt[4:0] 10", "c.slli {rd}, {shamt}")
def c_slli(m: Trace, rd: Node, imm: Node) -> None:
    """Shift left logical by an immediate."""
    rv64i.slli(m, rd, rd, imm)


@insn("001 uimm[5] rd uimm[4:3|8:6] 10", "c.fldsp {rd:f}, {uimm}(sp)")
def c_fldsp(m: Trace, rd: Node, imm: Node) -> None:
    """Load a double from the stack."""
    rv64d.fld(m, rd, _SP, imm)


@insn("010 uimm[5] rd uimm[4:2|7:6] 10", "c.lwsp {rd}, {uimm}(sp)", never={"rd": (0,)})
def c_lwsp(m: Trace, rd: Node, imm: Node) -> None:
    """Load word from the stack."""
    rv64i.lw(m, rd, _SP, imm)


@insn("011 uimm[5] rd uimm[4:3|8:6] 10", "c.ldsp {rd}, {uimm}(sp)", never={"rd": (0,)})
def c_ldsp(m: Trace, rd: Node, imm: Node) -> None:
    """Load doubleword from the stack."""
    rv64i.ld(m, rd, _SP, imm)


@insn("100 0 rs1 00000 10", "c.jr {rs1}", never={"rs1": (0,)})
def c_jr(m: Trace, rs1: Node) -> None:
    """Jump to a register."""
    rv64i.jalr(m, _ZERO, rs1, _ZERO)


@insn("100 0 rd rs2 10", "c.mv {rd}, {rs2}", never={"rs2": (0,)})
def c_mv(m: Trace, rd: Node, rs2: Node) -> None:
    """Copy a register."""
    rv64i.add(m, rd, _ZERO, rs2)


@insn("100 1 00000 00000 10", "c.ebreak")
def c_ebreak(m: Trace) -> None:
    """Breakpoint: always traps."""
    privileged.ebreak(m)


@insn("100 1 rs1 00000 10", "c.jalr {rs1}", never={"rs1": (0,)})
def c_jalr(m: Trace, rs1: Node) -> None:
    """Jump to a register and link."""
    rv64i.jalr(m, _RA, rs1, _ZERO)


@insn("100 1 rd rs2 10", "c.add {rd}, {rs2}", never={"rs2": (0,)})
def c_add(m: Trace, rd: Node, rs2: Node) -> None:
    """Add."""
    rv64i.add(m, rd, rd, rs2)


@insn("101 uimm[5:3|8:6] rs2 10", "c.fsdsp {rs2:f}, {uimm}(sp)")
def c_fsdsp(m: Trace, rs2: Node, imm: Node) -> None:
    """Store a double on the stack."""
    rv64d.fsd(m, _SP, rs2, imm)


@insn("110 uimm[5:2|7:6] rs2 10", "c.swsp {rs2}, {uimm}(sp)")
def c_swsp(m: Trace, rs2: Node, imm: Node) -> None:
    """Store word on the stack."""
    rv64i.sw(m, _SP, rs2, imm)


@insn("111 uimm[5:3|8:6] rs2 10", "c.sdsp {rs2}, {uimm}(sp)")
def c_sdsp(m: Trace, rs2: Node, imm: Node) -> None:
    """Store doubleword on the stack."""
    rv64i.sd(m, _SP, rs2, imm)
