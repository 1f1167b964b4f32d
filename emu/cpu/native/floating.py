"""Floating point, natively: the host's arithmetic where it is exactly RISC-V's, else a bail.

`NATIVE_FLOAT` maps the operations of `emu.isa.fpops` to what emits them. Four things make the
host's result RISC-V's:

* `run` sets the host's rounding to nearest-even with all exceptions masked and no flags raised, and
  adds the flags it finds afterwards to `fflags`; operations are LLVM's *constrained* ones, which
  are neither folded nor moved, so exactly the guest's operations raise flags;
* another rounding mode bails;
* a NaN that comes out is replaced by the canonical one, except where x86 and RISC-V differ in the
  flags as well: then the instruction bails, having raised no flag the reference does not;
* minimum, maximum and range tests work on the bit patterns as integers and raise nothing.

Only x86-64 is done: it detects tininess after rounding, as RISC-V does. AArch64 does so before, so
its underflow flag would differ; there, floating point is the reference engine's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from emu.cpu.native.handler import BIT, LONG, PTR, WORD, Frame, i64
from emu.cpu.native.records import DYN, HOST_FLOATS, RNE, RTZ
from emu.isa.fpops import FP_OPS

_ALL_MASKED, _NONE = 0x1F80, ir.Constant(WORD, 0)
_FLAGS = ((0x01, 16), (0x04, 8), (0x08, 4), (0x10, 2), (0x20, 1))
"""MXCSR's exception bits and RISC-V's: invalid, divide by zero, overflow, underflow, inexact."""

NEAREST = "round.tonearest"


@dataclass(frozen=True)
class Float:
    """A binary interchange format of IEEE 754, with the LLVM type that computes in it."""

    bits: int
    fraction: int
    type: ir.Type

    @property
    def name(self) -> str:
        """As LLVM and `emu.isa.fpops` write it."""
        return f"f{self.bits}"

    @property
    def integer(self) -> ir.IntType:
        """The integer type of the same size."""
        return ir.IntType(self.bits)

    @property
    def bias(self) -> int:
        return (1 << (self.bits - self.fraction - 2)) - 1

    @property
    def infinity(self) -> int:
        return ((1 << (self.bits - 1 - self.fraction)) - 1) << self.fraction

    @property
    def nan(self) -> int:
        """The canonical NaN (unprivileged specification, 20.3)."""
        return self.infinity | 1 << (self.fraction - 1)

    def constant(self, bits: int) -> ir.Constant:
        return ir.Constant(self.integer, bits)


F32 = Float(32, 23, ir.FloatType())
F64 = Float(64, 52, ir.DoubleType())

Emitter = Callable[[Frame, list[ir.Value], "ir.Value | None"], ir.Value]


def emit_fp(
    frame: Frame, name: str, rounding: ir.Value | None, operands: list[ir.Value]
) -> ir.Value:
    """The result's bits; `rounding` is the rm field where the instruction has one."""
    return NATIVE_FLOAT[name](frame, operands, rounding)


# The host's control register


def enter_float(b: ir.IRBuilder) -> ir.Value:
    """Put the host's floating-point control aside; gives what `leave_float` wants."""
    if not HOST_FLOATS:
        return ir.Constant(PTR, None)
    saved, ours = b.alloca(WORD), b.alloca(WORD)
    _control(b, "st", saved)
    b.store(ir.Constant(WORD, _ALL_MASKED), ours)
    _control(b, "ld", ours)
    return saved


def leave_float(b: ir.IRBuilder, saved: ir.Value, fflags: ir.Value) -> None:
    """Add the flags raised since `enter_float` to the word `fflags`, and restore the host's."""
    if not HOST_FLOATS:
        return
    _accrue(b, fflags)
    _control(b, "ld", saved)


def drain_flags(b: ir.IRBuilder, fflags: ir.Value) -> None:
    """Move the flags raised so far to the word `fflags`, where the guest can look at them."""
    if not HOST_FLOATS:
        return
    _accrue(b, fflags)
    clean = b.alloca(WORD)
    b.store(ir.Constant(WORD, _ALL_MASKED), clean)
    _control(b, "ld", clean)


def _accrue(b: ir.IRBuilder, fflags: ir.Value) -> None:
    ours = b.alloca(WORD)
    _control(b, "st", ours)
    raised = b.load(ours, typ=WORD)
    accrued = b.load(fflags, typ=LONG)
    for host, guest in _FLAGS:
        is_raised = b.icmp_unsigned(
            "!=", b.and_(raised, ir.Constant(WORD, host)), ir.Constant(WORD, 0)
        )
        accrued = b.or_(accrued, b.select(is_raised, i64(guest), i64(0)))
    b.store(accrued, fflags)


def _control(b: ir.IRBuilder, direction: str, where: ir.Value) -> None:
    kind = ir.FunctionType(ir.VoidType(), [PTR])
    name = f"llvm.x86.sse.{direction}mxcsr"
    b.call(b.module.globals.get(name) or ir.Function(b.module, kind, name), [where])


# Building blocks


def _constrained(
    frame: Frame, name: str, result: ir.Type, operands: list[ir.Value], *modes: str
) -> ir.Value:
    """Call the intrinsic `llvm.experimental.constrained.NAME`; `name` includes the types."""
    full = f"llvm.experimental.constrained.{name}"
    modes = (*modes, "fpexcept.strict")
    kinds = [*(o.type for o in operands), *(ir.MetaDataType() for _ in modes)]
    function = frame.module.globals.get(full) or ir.Function(
        frame.module, ir.FunctionType(result, kinds), full
    )
    words = [ir.MetaDataString(frame.module, mode) for mode in modes]
    return frame.builder.call(function, [*operands, *words])


def _require_rounding(frame: Frame, rounding: ir.Value | None, static: int) -> None:
    """Bail unless the rounding mode is `static`, or dynamic with frm equal to it."""
    if rounding is None or frame.rounds_statically:
        return
    b = frame.builder
    is_dynamic = b.icmp_unsigned("==", rounding, i64(DYN))
    effective = b.select(is_dynamic, frame.load("frm"), rounding)
    frame.bail_if(b.icmp_unsigned("!=", effective, i64(static)))


def _is_nan(frame: Frame, form: Float, bits: ir.Value) -> ir.Value:
    magnitude = frame.builder.and_(bits, form.constant((1 << (form.bits - 1)) - 1))
    return frame.builder.icmp_unsigned(">", magnitude, form.constant(form.infinity))


def _canonical(frame: Frame, form: Float, result: ir.Value) -> ir.Value:
    """The bits of a computed value, any NaN replaced by the canonical one."""
    b = frame.builder
    if not frame.rounds_statically:
        bits = b.bitcast(result, form.integer)
        return b.select(_is_nan(frame, form, bits), form.constant(form.nan), bits)
    # A branch that is never taken costs less than a choice in the chain of dependent results.
    here, nan, rest = b.block, b.append_basic_block("nan"), b.append_basic_block("number")
    b.cbranch(b.fcmp_unordered("uno", result, result), nan, rest).set_weights([1, 100000])
    b.position_at_end(nan)
    canonical = b.bitcast(form.constant(form.nan), form.type)
    b.branch(rest)
    b.position_at_end(rest)
    chosen = b.phi(form.type)
    chosen.add_incoming(result, here)
    chosen.add_incoming(canonical, nan)
    return b.bitcast(chosen, form.integer)


# Operations


def _arithmetic(form: Float, name: str) -> Emitter:
    def emit(frame: Frame, operands: list[ir.Value], rounding: ir.Value | None) -> ir.Value:
        _require_rounding(frame, rounding, RNE)
        values = [frame.builder.bitcast(o, form.type) for o in operands]
        result = _constrained(frame, f"{name}.{form.name}", form.type, values, NEAREST)
        return _canonical(frame, form, result)

    return emit


def _fused(form: Float) -> Emitter:
    """a * b + c, rounded once. RISC-V raises invalid for ∞ * 0 + quiet NaN where x86 does not, so
    a NaN bails."""

    def emit(frame: Frame, operands: list[ir.Value], rounding: ir.Value | None) -> ir.Value:
        b = frame.builder
        _require_rounding(frame, rounding, RNE)
        values = [b.bitcast(o, form.type) for o in operands]
        result = _constrained(frame, f"fma.{form.name}", form.type, values, NEAREST)
        frame.bail_if(b.fcmp_unordered("uno", result, result))
        return b.bitcast(result, form.integer)

    return emit


def _comparison(form: Float, name: str, predicate: str) -> Emitter:
    """`fcmp` is quiet (feq), `fcmps` raises invalid for any NaN (flt, fle)."""

    def emit(frame: Frame, operands: list[ir.Value], rounding: ir.Value | None) -> ir.Value:
        values = [frame.builder.bitcast(o, form.type) for o in operands]
        return _constrained(frame, f"{name}.{form.name}", BIT, values, predicate)

    return emit


def _extreme(form: Float, predicate: str) -> Emitter:
    """Minimum and maximum as integers: turned over when negative, bit patterns are ordered as the
    numbers are, -0 below +0. A NaN bails."""

    def emit(frame: Frame, operands: list[ir.Value], rounding: ir.Value | None) -> ir.Value:
        b, keys = frame.builder, []
        for bits in operands:
            frame.bail_if(_is_nan(frame, form, bits))
            sign = b.ashr(bits, form.constant(form.bits - 1))
            keys.append(b.xor(bits, b.lshr(sign, form.constant(1))))
        return b.select(b.icmp_signed(predicate, *keys), *operands)

    return emit


def _convert(source: Float, target: Float) -> Emitter:
    def emit(frame: Frame, operands: list[ir.Value], rounding: ir.Value | None) -> ir.Value:
        _require_rounding(frame, rounding, RNE)
        value = frame.builder.bitcast(operands[0], source.type)
        narrows = target.bits < source.bits
        name = f"{'fptrunc' if narrows else 'fpext'}.{target.name}.{source.name}"
        modes = [NEAREST] if narrows else []
        return _canonical(frame, target, _constrained(frame, name, target.type, [value], *modes))

    return emit


def _to_integer(form: Float, width: int, signed: bool) -> Emitter:
    """Truncation, as C converts. What does not fit, NaN included, bails; so does, for an unsigned
    result, whatever is negative or needs the top bit of 64."""

    def emit(frame: Frame, operands: list[ir.Value], rounding: ir.Value | None) -> ir.Value:
        b, bits = frame.builder, operands[0]
        _require_rounding(frame, rounding, RTZ)
        limit = (form.bias + min(width - 1 if signed else width, 63)) << form.fraction
        if signed:  # unsigned, the sign bit makes the pattern too large by itself
            bits = b.and_(bits, form.constant((1 << (form.bits - 1)) - 1))
        frame.bail_if(b.icmp_unsigned(">=", bits, form.constant(limit)))
        value = b.bitcast(operands[0], form.type)
        wide = _constrained(frame, f"fptosi.i64.{form.name}", LONG, [value])
        return wide if width == LONG.width else b.trunc(wide, ir.IntType(width))

    return emit


def _from_integer(form: Float, signed: bool) -> Emitter:
    """Everything converts as a signed number of 64 bits; an unsigned one that needs more bails."""

    def emit(frame: Frame, operands: list[ir.Value], rounding: ir.Value | None) -> ir.Value:
        b, value = frame.builder, operands[0]
        _require_rounding(frame, rounding, RNE)
        if value.type.width < LONG.width:
            value = (b.sext if signed else b.zext)(value, LONG)
        elif not signed:
            frame.bail_if(b.icmp_signed("<", value, i64(0)))
        result = _constrained(frame, f"sitofp.{form.name}.i64", form.type, [value], NEAREST)
        return b.bitcast(result, form.integer)

    return emit


def _operations(form: Float) -> dict[str, Emitter]:
    """What there is in each format; the keys go behind its name."""
    integers = ((f"{sign}{width}", sign == "i", width) for sign in "iu" for width in (32, 64))
    operations = {
        **{f".{name}": _arithmetic(form, f"f{name}") for name in ("add", "sub", "mul", "div")},
        ".sqrt": _arithmetic(form, "sqrt"),
        ".madd": _fused(form),
        ".eq": _comparison(form, "fcmp", "oeq"),
        ".lt": _comparison(form, "fcmps", "olt"),
        ".le": _comparison(form, "fcmps", "ole"),
        ".min": _extreme(form, "<"),
        ".max": _extreme(form, ">"),
    }
    readings = {form.name + suffix: emitter for suffix, emitter in operations.items()}
    for name, signed, width in integers:
        readings[f"{form.name}.to_{name}"] = _to_integer(form, width, signed)
        readings[f"{name}.to_{form.name}"] = _from_integer(form, signed)
    return readings


NATIVE_FLOAT: dict[str, Emitter] = {
    **_operations(F32),
    **_operations(F64),
    "f64.to_f32": _convert(F64, F32),
    "f32.to_f64": _convert(F32, F64),
}
if _missing := FP_OPS.keys() ^ NATIVE_FLOAT.keys():
    raise ImportError(f"the native reading and fpops differ in: {sorted(_missing)}")
