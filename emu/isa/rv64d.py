"""RV64D: double-precision floating point (RISC-V unprivileged specification, chapter 21).

The operations are those of `fpops`; sign injection, moves and classification are plain bit work.
Each body first checks that the floating-point unit is on.
"""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace
from emu.isa.rv64f import classify, read_single, write_single

_SIGN = 1 << 63


def _compute(m: Trace, op: str, rd: Node, *sources: Node, rm: Node | None = None) -> None:
    """`rd = op(sources)`, all double-precision registers."""
    m.fp_check()
    m.f[rd] = m.fp(op, 64, *(m.f[s] for s in sources), rm=rm)


def _fused(
    m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node, rm: Node, signs: tuple[int, int]
) -> None:
    """`rd = ±rs1 * rs2 ± rs3`, rounded once; `signs` are flipped in the product and the addend."""
    m.fp_check()
    m.f[rd] = m.fp("f64.madd", 64, m.f[rs1] ^ signs[0], m.f[rs2], m.f[rs3] ^ signs[1], rm=rm)


def _compare(m: Trace, op: str, rd: Node, rs1: Node, rs2: Node) -> None:
    m.fp_check()
    m.x[rd] = m.fp(op, 1, m.f[rs1], m.f[rs2]).zext(64)


def _to_integer(m: Trace, op: str, bits: int, rd: Node, rs1: Node, rm: Node) -> None:
    """Results of 32 bits are sign-extended, the unsigned ones too."""
    m.fp_check()
    m.x[rd] = m.fp(op, bits, m.f[rs1], rm=rm).sext(64)


def _from_integer(m: Trace, op: str, bits: int, rd: Node, rs1: Node, rm: Node) -> None:
    m.fp_check()
    m.f[rd] = m.fp(op, 64, m.x[rs1].trunc(bits), rm=rm)


# --- memory ---------------------------------------------------------------------------------------


@insn("imm[11:0] rs1 011 rd 0000111", "fld {rd:f}, {imm}({rs1})")
def fld(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load a double."""
    m.fp_check()
    m.f[rd] = m.load(m.x[rs1] + imm, 64)


@insn("imm[11:5] rs2 rs1 011 imm[4:0] 0100111", "fsd {rs2:f}, {imm}({rs1})")
def fsd(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Store a double."""
    m.fp_check()
    m.store(m.x[rs1] + imm, m.f[rs2])


# --- arithmetic -----------------------------------------------------------------------------------


@insn("0000001 rs2 rs1 rm rd 1010011", "fadd.d {rd:f}, {rs1:f}, {rs2:f}, {rm}")
def fadd_d(m: Trace, rd: Node, rs1: Node, rs2: Node, rm: Node) -> None:
    """Add."""
    _compute(m, "f64.add", rd, rs1, rs2, rm=rm)


@insn("0000101 rs2 rs1 rm rd 1010011", "fsub.d {rd:f}, {rs1:f}, {rs2:f}, {rm}")
def fsub_d(m: Trace, rd: Node, rs1: Node, rs2: Node, rm: Node) -> None:
    """Subtract."""
    _compute(m, "f64.sub", rd, rs1, rs2, rm=rm)


@insn("0001001 rs2 rs1 rm rd 1010011", "fmul.d {rd:f}, {rs1:f}, {rs2:f}, {rm}")
def fmul_d(m: Trace, rd: Node, rs1: Node, rs2: Node, rm: Node) -> None:
    """Multiply."""
    _compute(m, "f64.mul", rd, rs1, rs2, rm=rm)


@insn("0001101 rs2 rs1 rm rd 1010011", "fdiv.d {rd:f}, {rs1:f}, {rs2:f}, {rm}")
def fdiv_d(m: Trace, rd: Node, rs1: Node, rs2: Node, rm: Node) -> None:
    """Divide."""
    _compute(m, "f64.div", rd, rs1, rs2, rm=rm)


@insn("0101101 00000 rs1 rm rd 1010011", "fsqrt.d {rd:f}, {rs1:f}, {rm}")
def fsqrt_d(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Square root."""
    _compute(m, "f64.sqrt", rd, rs1, rm=rm)


@insn("0010101 rs2 rs1 000 rd 1010011", "fmin.d {rd:f}, {rs1:f}, {rs2:f}")
def fmin_d(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Minimum number; -0 is below +0."""
    _compute(m, "f64.min", rd, rs1, rs2)


@insn("0010101 rs2 rs1 001 rd 1010011", "fmax.d {rd:f}, {rs1:f}, {rs2:f}")
def fmax_d(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Maximum number; -0 is below +0."""
    _compute(m, "f64.max", rd, rs1, rs2)


# --- fused multiply-add ---------------------------------------------------------------------------


@insn("rs3 01 rs2 rs1 rm rd 1000011", "fmadd.d {rd:f}, {rs1:f}, {rs2:f}, {rs3:f}, {rm}")
def fmadd_d(m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node, rm: Node) -> None:
    """rs1 * rs2 + rs3."""
    _fused(m, rd, rs1, rs2, rs3, rm, (0, 0))


@insn("rs3 01 rs2 rs1 rm rd 1000111", "fmsub.d {rd:f}, {rs1:f}, {rs2:f}, {rs3:f}, {rm}")
def fmsub_d(m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node, rm: Node) -> None:
    """rs1 * rs2 - rs3."""
    _fused(m, rd, rs1, rs2, rs3, rm, (0, _SIGN))


@insn("rs3 01 rs2 rs1 rm rd 1001011", "fnmsub.d {rd:f}, {rs1:f}, {rs2:f}, {rs3:f}, {rm}")
def fnmsub_d(m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node, rm: Node) -> None:
    """-(rs1 * rs2) + rs3."""
    _fused(m, rd, rs1, rs2, rs3, rm, (_SIGN, 0))


@insn("rs3 01 rs2 rs1 rm rd 1001111", "fnmadd.d {rd:f}, {rs1:f}, {rs2:f}, {rs3:f}, {rm}")
def fnmadd_d(m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node, rm: Node) -> None:
    """-(rs1 * rs2) - rs3."""
    _fused(m, rd, rs1, rs2, rs3, rm, (_SIGN, _SIGN))


# --- sign injection, comparison, classification ---------------------------------------------------


@insn("0010001 rs2 rs1 000 rd 1010011", "fsgnj.d {rd:f}, {rs1:f}, {rs2:f}")
def fsgnj_d(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """rs1 with the sign of rs2."""
    m.fp_check()
    a, b = m.f[rs1], m.f[rs2]
    m.f[rd] = (a & ~_SIGN) | (b & _SIGN)


@insn("0010001 rs2 rs1 001 rd 1010011", "fsgnjn.d {rd:f}, {rs1:f}, {rs2:f}")
def fsgnjn_d(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """rs1 with the opposite of the sign of rs2."""
    m.fp_check()
    a, b = m.f[rs1], m.f[rs2]
    m.f[rd] = (a & ~_SIGN) | (~b & _SIGN)


@insn("0010001 rs2 rs1 010 rd 1010011", "fsgnjx.d {rd:f}, {rs1:f}, {rs2:f}")
def fsgnjx_d(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """rs1 with the product of the signs."""
    m.fp_check()
    a, b = m.f[rs1], m.f[rs2]
    m.f[rd] = a ^ (b & _SIGN)


@insn("1010001 rs2 rs1 010 rd 1010011", "feq.d {rd}, {rs1:f}, {rs2:f}")
def feq_d(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Whether equal; quiet."""
    _compare(m, "f64.eq", rd, rs1, rs2)


@insn("1010001 rs2 rs1 001 rd 1010011", "flt.d {rd}, {rs1:f}, {rs2:f}")
def flt_d(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Whether less; signals on any NaN."""
    _compare(m, "f64.lt", rd, rs1, rs2)


@insn("1010001 rs2 rs1 000 rd 1010011", "fle.d {rd}, {rs1:f}, {rs2:f}")
def fle_d(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Whether less or equal; signals on any NaN."""
    _compare(m, "f64.le", rd, rs1, rs2)


@insn("1110001 00000 rs1 001 rd 1010011", "fclass.d {rd}, {rs1:f}")
def fclass_d(m: Trace, rd: Node, rs1: Node) -> None:
    """Which of ten classes the value is of, as one bit."""
    m.fp_check()
    m.x[rd] = classify(m.f[rs1], 52)


# --- conversions and moves ------------------------------------------------------------------------


@insn("1100001 00000 rs1 rm rd 1010011", "fcvt.w.d {rd}, {rs1:f}, {rm}")
def fcvt_w_d(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert to a signed word, saturating."""
    _to_integer(m, "f64.to_i32", 32, rd, rs1, rm)


@insn("1100001 00001 rs1 rm rd 1010011", "fcvt.wu.d {rd}, {rs1:f}, {rm}")
def fcvt_wu_d(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert to an unsigned word, saturating."""
    _to_integer(m, "f64.to_u32", 32, rd, rs1, rm)


@insn("1100001 00010 rs1 rm rd 1010011", "fcvt.l.d {rd}, {rs1:f}, {rm}")
def fcvt_l_d(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert to a signed doubleword, saturating."""
    _to_integer(m, "f64.to_i64", 64, rd, rs1, rm)


@insn("1100001 00011 rs1 rm rd 1010011", "fcvt.lu.d {rd}, {rs1:f}, {rm}")
def fcvt_lu_d(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert to an unsigned doubleword, saturating."""
    _to_integer(m, "f64.to_u64", 64, rd, rs1, rm)


@insn("1101001 00000 rs1 rm rd 1010011", "fcvt.d.w {rd:f}, {rs1}, {rm:e}")
def fcvt_d_w(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert from a signed word."""
    _from_integer(m, "i32.to_f64", 32, rd, rs1, rm)


@insn("1101001 00001 rs1 rm rd 1010011", "fcvt.d.wu {rd:f}, {rs1}, {rm:e}")
def fcvt_d_wu(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert from an unsigned word."""
    _from_integer(m, "u32.to_f64", 32, rd, rs1, rm)


@insn("1101001 00010 rs1 rm rd 1010011", "fcvt.d.l {rd:f}, {rs1}, {rm}")
def fcvt_d_l(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert from a signed doubleword."""
    _from_integer(m, "i64.to_f64", 64, rd, rs1, rm)


@insn("1101001 00011 rs1 rm rd 1010011", "fcvt.d.lu {rd:f}, {rs1}, {rm}")
def fcvt_d_lu(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert from an unsigned doubleword."""
    _from_integer(m, "u64.to_f64", 64, rd, rs1, rm)


@insn("0100000 00001 rs1 rm rd 1010011", "fcvt.s.d {rd:f}, {rs1:f}, {rm}")
def fcvt_s_d(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert a double to a single."""
    m.fp_check()
    write_single(m, rd, m.fp("f64.to_f32", 32, m.f[rs1], rm=rm))


@insn("0100001 00000 rs1 rm rd 1010011", "fcvt.d.s {rd:f}, {rs1:f}, {rm:e}")
def fcvt_d_s(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert a single to a double, exactly."""
    m.fp_check()
    m.f[rd] = m.fp("f32.to_f64", 64, read_single(m, rs1), rm=rm)


@insn("1110001 00000 rs1 000 rd 1010011", "fmv.x.d {rd}, {rs1:f}")
def fmv_x_d(m: Trace, rd: Node, rs1: Node) -> None:
    """Move the bits of a double to an integer register."""
    m.fp_check()
    m.x[rd] = m.f[rs1]


@insn("1111001 00000 rs1 000 rd 1010011", "fmv.d.x {rd:f}, {rs1}")
def fmv_d_x(m: Trace, rd: Node, rs1: Node) -> None:
    """Move the bits of an integer register to a double."""
    m.fp_check()
    m.f[rd] = m.x[rs1]
