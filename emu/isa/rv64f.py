"""RV64F: single-precision floating point (RISC-V unprivileged specification, chapter 20).

A single lives in the low half of a 64-bit register, the upper half all ones ("boxed").
The operations are those of `fpops`; sign injection, moves and classification are plain bit work.
Each body first checks that the floating-point unit is on.
"""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace, const, select

_BOX = 0xFFFF_FFFF_0000_0000
_CANONICAL_NAN = 0x7FC0_0000
_SIGN = 1 << 31


def read_single(m: Trace, register: Node) -> Node:
    """The 32-bit value of a register; one that is not boxed counts as the canonical NaN."""
    value = m.f[register]
    boxed = (value >> 32).eq(_BOX >> 32)
    return select(boxed, value.trunc(32), const(_CANONICAL_NAN, 32))


def write_single(m: Trace, register: Node, value: Node) -> None:
    """Write 32 bits to a register, NaN-boxed."""
    m.f[register] = value.zext(64) | _BOX


def classify(value: Node, fraction_bits: int) -> Node:
    """The one-hot mask of FCLASS (table in section 20.9), for a format of any size."""
    top = value.width - 1
    quiet = const(1 << (fraction_bits - 1), value.width)
    magnitude = value & ((1 << top) - 1)
    infinity = ((1 << top) - 1) ^ ((1 << fraction_bits) - 1)
    negative = (value >> top).ne(0)

    def side(if_negative: int, if_positive: int) -> Node:
        return select(negative, const(1 << if_negative), const(1 << if_positive))

    nan = select((value & quiet).ne(0), const(1 << 9), const(1 << 8))
    normal = select(magnitude.ltu(1 << fraction_bits), side(2, 5), side(1, 6))
    number = select(magnitude.eq(0), side(3, 4), normal)
    finite = select(magnitude.eq(infinity), side(0, 7), number)
    return select(const(infinity, value.width).ltu(magnitude), nan, finite)


def _compute(m: Trace, op: str, rd: Node, *sources: Node, rm: Node | None = None) -> None:
    """`rd = op(sources)`, all single-precision registers."""
    m.fp_check()
    write_single(m, rd, m.fp(op, 32, *(read_single(m, s) for s in sources), rm=rm))


def _fused(
    m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node, rm: Node, signs: tuple[int, int]
) -> None:
    """`rd = ±rs1 * rs2 ± rs3`, rounded once; `signs` are flipped in the product and the addend."""
    m.fp_check()
    a = read_single(m, rs1) ^ signs[0]
    b, c = read_single(m, rs2), read_single(m, rs3) ^ signs[1]
    write_single(m, rd, m.fp("f32.madd", 32, a, b, c, rm=rm))


def _compare(m: Trace, op: str, rd: Node, rs1: Node, rs2: Node) -> None:
    m.fp_check()
    m.x[rd] = m.fp(op, 1, read_single(m, rs1), read_single(m, rs2)).zext(64)


def _to_integer(m: Trace, op: str, bits: int, rd: Node, rs1: Node, rm: Node) -> None:
    """Results of 32 bits are sign-extended, the unsigned ones too."""
    m.fp_check()
    m.x[rd] = m.fp(op, bits, read_single(m, rs1), rm=rm).sext(64)


def _from_integer(m: Trace, op: str, bits: int, rd: Node, rs1: Node, rm: Node) -> None:
    m.fp_check()
    write_single(m, rd, m.fp(op, 32, m.x[rs1].trunc(bits), rm=rm))


# --- memory ---------------------------------------------------------------------------------------


@insn("imm[11:0] rs1 010 rd 0000111", "flw {rd:f}, {imm}({rs1})")
def flw(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Load a single."""
    m.fp_check()
    write_single(m, rd, m.load(m.x[rs1] + imm, 32))


@insn("imm[11:5] rs2 rs1 010 imm[4:0] 0100111", "fsw {rs2:f}, {imm}({rs1})")
def fsw(m: Trace, rs1: Node, rs2: Node, imm: Node) -> None:
    """Store a single, boxed or not."""
    m.fp_check()
    m.store(m.x[rs1] + imm, m.f[rs2].trunc(32))


# --- arithmetic -----------------------------------------------------------------------------------


@insn("0000000 rs2 rs1 rm rd 1010011", "fadd.s {rd:f}, {rs1:f}, {rs2:f}, {rm}")
def fadd_s(m: Trace, rd: Node, rs1: Node, rs2: Node, rm: Node) -> None:
    """Add."""
    _compute(m, "f32.add", rd, rs1, rs2, rm=rm)


@insn("0000100 rs2 rs1 rm rd 1010011", "fsub.s {rd:f}, {rs1:f}, {rs2:f}, {rm}")
def fsub_s(m: Trace, rd: Node, rs1: Node, rs2: Node, rm: Node) -> None:
    """Subtract."""
    _compute(m, "f32.sub", rd, rs1, rs2, rm=rm)


@insn("0001000 rs2 rs1 rm rd 1010011", "fmul.s {rd:f}, {rs1:f}, {rs2:f}, {rm}")
def fmul_s(m: Trace, rd: Node, rs1: Node, rs2: Node, rm: Node) -> None:
    """Multiply."""
    _compute(m, "f32.mul", rd, rs1, rs2, rm=rm)


@insn("0001100 rs2 rs1 rm rd 1010011", "fdiv.s {rd:f}, {rs1:f}, {rs2:f}, {rm}")
def fdiv_s(m: Trace, rd: Node, rs1: Node, rs2: Node, rm: Node) -> None:
    """Divide."""
    _compute(m, "f32.div", rd, rs1, rs2, rm=rm)


@insn("0101100 00000 rs1 rm rd 1010011", "fsqrt.s {rd:f}, {rs1:f}, {rm}")
def fsqrt_s(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Square root."""
    _compute(m, "f32.sqrt", rd, rs1, rm=rm)


@insn("0010100 rs2 rs1 000 rd 1010011", "fmin.s {rd:f}, {rs1:f}, {rs2:f}")
def fmin_s(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Minimum number; -0 is below +0."""
    _compute(m, "f32.min", rd, rs1, rs2)


@insn("0010100 rs2 rs1 001 rd 1010011", "fmax.s {rd:f}, {rs1:f}, {rs2:f}")
def fmax_s(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Maximum number; -0 is below +0."""
    _compute(m, "f32.max", rd, rs1, rs2)


# --- fused multiply-add ---------------------------------------------------------------------------


@insn("rs3 00 rs2 rs1 rm rd 1000011", "fmadd.s {rd:f}, {rs1:f}, {rs2:f}, {rs3:f}, {rm}")
def fmadd_s(m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node, rm: Node) -> None:
    """rs1 * rs2 + rs3."""
    _fused(m, rd, rs1, rs2, rs3, rm, (0, 0))


@insn("rs3 00 rs2 rs1 rm rd 1000111", "fmsub.s {rd:f}, {rs1:f}, {rs2:f}, {rs3:f}, {rm}")
def fmsub_s(m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node, rm: Node) -> None:
    """rs1 * rs2 - rs3."""
    _fused(m, rd, rs1, rs2, rs3, rm, (0, _SIGN))


@insn("rs3 00 rs2 rs1 rm rd 1001011", "fnmsub.s {rd:f}, {rs1:f}, {rs2:f}, {rs3:f}, {rm}")
def fnmsub_s(m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node, rm: Node) -> None:
    """-(rs1 * rs2) + rs3."""
    _fused(m, rd, rs1, rs2, rs3, rm, (_SIGN, 0))


@insn("rs3 00 rs2 rs1 rm rd 1001111", "fnmadd.s {rd:f}, {rs1:f}, {rs2:f}, {rs3:f}, {rm}")
def fnmadd_s(m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node, rm: Node) -> None:
    """-(rs1 * rs2) - rs3."""
    _fused(m, rd, rs1, rs2, rs3, rm, (_SIGN, _SIGN))


# --- sign injection, comparison, classification ---------------------------------------------------


@insn("0010000 rs2 rs1 000 rd 1010011", "fsgnj.s {rd:f}, {rs1:f}, {rs2:f}")
def fsgnj_s(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """rs1 with the sign of rs2."""
    m.fp_check()
    a, b = read_single(m, rs1), read_single(m, rs2)
    write_single(m, rd, (a & ~_SIGN) | (b & _SIGN))


@insn("0010000 rs2 rs1 001 rd 1010011", "fsgnjn.s {rd:f}, {rs1:f}, {rs2:f}")
def fsgnjn_s(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """rs1 with the opposite of the sign of rs2."""
    m.fp_check()
    a, b = read_single(m, rs1), read_single(m, rs2)
    write_single(m, rd, (a & ~_SIGN) | (~b & _SIGN))


@insn("0010000 rs2 rs1 010 rd 1010011", "fsgnjx.s {rd:f}, {rs1:f}, {rs2:f}")
def fsgnjx_s(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """rs1 with the product of the signs."""
    m.fp_check()
    a, b = read_single(m, rs1), read_single(m, rs2)
    write_single(m, rd, a ^ (b & _SIGN))


@insn("1010000 rs2 rs1 010 rd 1010011", "feq.s {rd}, {rs1:f}, {rs2:f}")
def feq_s(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Whether equal; quiet."""
    _compare(m, "f32.eq", rd, rs1, rs2)


@insn("1010000 rs2 rs1 001 rd 1010011", "flt.s {rd}, {rs1:f}, {rs2:f}")
def flt_s(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Whether less; signals on any NaN."""
    _compare(m, "f32.lt", rd, rs1, rs2)


@insn("1010000 rs2 rs1 000 rd 1010011", "fle.s {rd}, {rs1:f}, {rs2:f}")
def fle_s(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
    """Whether less or equal; signals on any NaN."""
    _compare(m, "f32.le", rd, rs1, rs2)


@insn("1110000 00000 rs1 001 rd 1010011", "fclass.s {rd}, {rs1:f}")
def fclass_s(m: Trace, rd: Node, rs1: Node) -> None:
    """Which of ten classes the value is of, as one bit."""
    m.fp_check()
    m.x[rd] = classify(read_single(m, rs1), 23)


# --- conversions and moves ------------------------------------------------------------------------


@insn("1100000 00000 rs1 rm rd 1010011", "fcvt.w.s {rd}, {rs1:f}, {rm}")
def fcvt_w_s(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert to a signed word, saturating."""
    _to_integer(m, "f32.to_i32", 32, rd, rs1, rm)


@insn("1100000 00001 rs1 rm rd 1010011", "fcvt.wu.s {rd}, {rs1:f}, {rm}")
def fcvt_wu_s(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert to an unsigned word, saturating."""
    _to_integer(m, "f32.to_u32", 32, rd, rs1, rm)


@insn("1100000 00010 rs1 rm rd 1010011", "fcvt.l.s {rd}, {rs1:f}, {rm}")
def fcvt_l_s(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert to a signed doubleword, saturating."""
    _to_integer(m, "f32.to_i64", 64, rd, rs1, rm)


@insn("1100000 00011 rs1 rm rd 1010011", "fcvt.lu.s {rd}, {rs1:f}, {rm}")
def fcvt_lu_s(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert to an unsigned doubleword, saturating."""
    _to_integer(m, "f32.to_u64", 64, rd, rs1, rm)


@insn("1101000 00000 rs1 rm rd 1010011", "fcvt.s.w {rd:f}, {rs1}, {rm}")
def fcvt_s_w(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert from a signed word."""
    _from_integer(m, "i32.to_f32", 32, rd, rs1, rm)


@insn("1101000 00001 rs1 rm rd 1010011", "fcvt.s.wu {rd:f}, {rs1}, {rm}")
def fcvt_s_wu(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert from an unsigned word."""
    _from_integer(m, "u32.to_f32", 32, rd, rs1, rm)


@insn("1101000 00010 rs1 rm rd 1010011", "fcvt.s.l {rd:f}, {rs1}, {rm}")
def fcvt_s_l(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert from a signed doubleword."""
    _from_integer(m, "i64.to_f32", 64, rd, rs1, rm)


@insn("1101000 00011 rs1 rm rd 1010011", "fcvt.s.lu {rd:f}, {rs1}, {rm}")
def fcvt_s_lu(m: Trace, rd: Node, rs1: Node, rm: Node) -> None:
    """Convert from an unsigned doubleword."""
    _from_integer(m, "u64.to_f32", 64, rd, rs1, rm)


@insn("1110000 00000 rs1 000 rd 1010011", "fmv.x.w {rd}, {rs1:f}")
def fmv_x_w(m: Trace, rd: Node, rs1: Node) -> None:
    """Move the low 32 bits to an integer register, sign-extended."""
    m.fp_check()
    m.x[rd] = m.f[rs1].trunc(32).sext(64)


@insn("1111000 00000 rs1 000 rd 1010011", "fmv.w.x {rd:f}, {rs1}")
def fmv_w_x(m: Trace, rd: Node, rs1: Node) -> None:
    """Move the low 32 bits of an integer register to a single."""
    m.fp_check()
    write_single(m, rd, m.x[rs1].trunc(32))
