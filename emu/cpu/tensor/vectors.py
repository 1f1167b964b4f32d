"""Tensor expressions read as LLVM vector code, and the conversions between element types.

`Arithmetic` holds one method per operation of `expr.OPS`, for floats, integers and booleans alike;
the element type decides. The transcendental ones are in `functions`. Every operation must be in one
of the two (checked at import).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emu.cpu.tensor import functions
from emu.cpu.tensor.descriptor import BF16, BOOL, DType
from emu.cpu.tensor.descriptor import F64 as DOUBLE
from emu.cpu.tensor.emit import (
    F32,
    F64,
    HALF,
    I1,
    I8,
    I16,
    I32,
    I64,
    Emitter,
    Type,
    Value,
    bits_of,
    element_of,
    is_float,
    lanes_of,
    like,
)  # fmt: skip
from emu.cpu.tensor.expr import OPS, Expr

_STORAGE = {
    "f32": F32, "f64": F64, "f16": HALF, "bf16": I16, "bool": I8,
    "u8": I8, "i8": I8, "i16": I16, "i32": I32, "i64": I64,
}  # fmt: skip


def storage(dtype: DType) -> Type:
    """The LLVM type of an element in memory."""
    return _STORAGE[dtype.name]


def compute(dtype: DType) -> Type:
    """The LLVM type of an element in arithmetic (`dtype.compute`; booleans are i1)."""
    return I1 if dtype is BOOL else _STORAGE[dtype.compute.name]


def widen(e: Emitter, value: Value, dtype: DType) -> Value:
    """From the form in memory to the form of arithmetic."""
    if dtype is BOOL:
        return e.b.icmp_unsigned("!=", value, e.const(value.type, 0))
    if dtype is BF16:
        wide = e.b.zext(value, like(value.type, I32))
        return e.b.bitcast(e.b.shl(wide, e.const(wide.type, 16)), like(value.type, F32))
    if element_of(value.type) == HALF:
        return e.b.fpext(value, like(value.type, F32))
    return value


def narrow(e: Emitter, value: Value, dtype: DType) -> Value:
    """From the form of arithmetic to the form in memory, rounding to nearest even."""
    if dtype is BOOL:
        return e.b.zext(value, like(value.type, I8))
    if dtype is BF16:
        bits = e.b.bitcast(value, like(value.type, I32))
        odd = e.b.and_(e.b.lshr(bits, e.const(bits.type, 16)), e.const(bits.type, 1))
        rounded = e.b.add(bits, e.b.add(odd, e.const(bits.type, 0x7FFF)))
        quiet = e.b.or_(bits, e.const(bits.type, 0x400000))
        nan = e.b.fcmp_unordered("uno", value, value)
        chosen = e.b.select(nan, quiet, rounded)
        return e.b.trunc(e.b.lshr(chosen, e.const(bits.type, 16)), like(value.type, I16))
    if dtype.name == "f16":
        return e.b.fptrunc(value, like(value.type, HALF))
    return value


def convert(e: Emitter, value: Value, source: DType, target: DType) -> Value:
    """Between forms of arithmetic: floats to integers truncate and saturate (NaN gives 0),
    integers wrap, anything but zero is true."""
    wanted, type_ = like(value.type, compute(target)), value.type
    if target is BOOL:
        if source.kind == "float":
            return e.b.fcmp_unordered("une", value, e.const(type_, 0.0))
        return value if source is BOOL else e.b.icmp_unsigned("!=", value, e.const(type_, 0))
    if source.kind == "float" and target.kind == "float":
        return _resize_float(e, value, wanted, target)
    if source.kind == "float":
        return _truncate(e, value, wanted, target)
    if target.kind == "float":
        return (e.b.sitofp if source.signed else e.b.uitofp)(value, wanted)
    if bits_of(wanted) < bits_of(type_):
        return e.b.trunc(value, wanted)
    if bits_of(wanted) == bits_of(type_):
        return value
    return (e.b.sext if source.signed else e.b.zext)(value, wanted)


def _truncate(e: Emitter, value: Value, wanted: Type, target: DType) -> Value:
    """A float toward zero, held within the integer's range; NaN gives 0.

    It is held there as a float, where the range's ends are floats; else what lies above is put
    right afterwards. (LLVM's own saturating conversion takes some vectors apart.)
    """
    width, type_ = bits_of(wanted), value.type
    precision = {32: 24, 64: 53}[bits_of(type_)]
    low = -(1 << width - 1) if target.signed else 0
    high = low + (1 << width) - 1
    top = (
        high if high.bit_length() <= precision else high + 1 - (1 << high.bit_length() - precision)
    )
    above = e.b.fcmp_ordered(">", value, e.const(type_, float(top)))
    held = e.b.select(above, e.const(type_, float(top)), value)
    held = e.b.select(
        e.b.fcmp_unordered("uge", held, e.const(type_, float(low))),
        held,
        e.const(type_, float(low)),
    )
    held = e.b.select(e.b.fcmp_unordered("uno", value, value), e.const(type_, 0.0), held)
    signed = like(wanted, I32 if width < 32 else element_of(wanted))
    whole = (e.b.fptosi if target.signed or width < 32 else e.b.fptoui)(held, signed)
    if width < 32:
        return e.b.trunc(whole, wanted)
    return whole if top == high else e.b.select(above, e.const(wanted, high), whole)


def _resize_float(e: Emitter, value: Value, wanted: Type, target: DType) -> Value:
    if bits_of(wanted) > bits_of(value.type):
        return e.b.fpext(value, wanted)
    if bits_of(wanted) == bits_of(value.type):
        return value
    short = e.b.fptrunc(value, wanted)
    if target.size == 4:
        return short
    # f64 to a half: round to odd in between, or the second rounding could go the wrong way
    back = e.b.fpext(short, value.type)
    bits = e.b.bitcast(short, like(wanted, I32))
    magnitude = [e.intrinsic("llvm.fabs", v.type, v) for v in (back, value)]
    above = e.b.fcmp_ordered(">", *magnitude)
    toward_zero = e.b.sub(bits, e.b.zext(above, bits.type))
    odd = e.b.or_(toward_zero, e.const(bits.type, 1))
    inexact = e.b.fcmp_ordered("!=", back, value)
    return e.b.bitcast(e.b.select(inexact, odd, bits), wanted)


class Arithmetic:
    """The operations of the vocabulary on values of one element type, any number of lanes."""

    def __init__(self, e: Emitter, dtype: DType) -> None:
        self.e, self.b, self.dtype = e, e.b, dtype
        self.floating = dtype.kind == "float"

    def lower(self, expr: Expr, args: Sequence[Value], params: Sequence[Value]) -> Value:
        """The value of `expr`; `args` and `params` are in the form of arithmetic."""
        done: dict[Expr, Value] = {}
        type_ = like(args[0].type, compute(self.dtype))

        def visit(node: Expr) -> Value:
            if node not in done:
                match node.op:
                    case "arg":
                        done[node] = args[int(node.value)]
                    case "param":
                        done[node] = params[int(node.value)]
                    case "const":
                        done[node] = self.e.const(type_, node.value)
                    case _:
                        done[node] = self.apply(node.op, *map(visit, node.args))
            return done[node]

        return visit(expr)

    def apply(self, op: str, *values: Value) -> Value:
        """One operation."""
        if op in functions.OF_ONE:
            return functions.OF_ONE[op](self.e, *values)
        function: Callable[..., Value] = getattr(self, f"op_{op}")
        return function(*values)

    def const(self, like_: Value, value: float) -> Value:
        return self.e.const(like_.type, value)

    def same(self, name: str, *values: Value) -> Value:
        """An intrinsic whose result has its operands' type."""
        return self.e.intrinsic(name, values[0].type, *values)

    def ordered(self, name: str) -> str:
        """The signed or unsigned spelling of an integer intrinsic or comparison."""
        return f"llvm.{'s' if self.dtype.signed else 'u'}{name}"

    # arithmetic

    def op_neg(self, x: Value) -> Value:
        return self.b.fneg(x) if self.floating else self.b.neg(x)

    def op_abs(self, x: Value) -> Value:
        if self.floating:
            return self.same("llvm.fabs", x)
        if not self.dtype.signed:
            return x
        return self.e.intrinsic("llvm.abs", x.type, x, self.e.const(I1, 0))

    def op_add(self, x: Value, y: Value) -> Value:
        return self.b.fadd(x, y) if self.floating else self.b.add(x, y)

    def op_sub(self, x: Value, y: Value) -> Value:
        return self.b.fsub(x, y) if self.floating else self.b.sub(x, y)

    def op_mul(self, x: Value, y: Value) -> Value:
        return self.b.fmul(x, y) if self.floating else self.b.mul(x, y)

    def op_div(self, x: Value, y: Value) -> Value:
        if self.floating:
            return self.b.fdiv(x, y)
        zero, divisor, overflow = self._safe_divisor(x, y)
        quotient = self.b.select(overflow, x, self._quotient(x, divisor))
        return self.b.select(zero, self.const(x, -1), quotient)

    def _safe_divisor(self, x: Value, y: Value) -> tuple[Value, Value, Value]:
        """(y is 0, y or else 1, the quotient overflows): the host must see no bad division."""
        zero = self.b.icmp_signed("==", y, self.const(y, 0))
        bad = overflow = self.b.icmp_signed("!=", y, y)
        if self.dtype.signed:
            least = self.const(x, -(1 << (bits_of(x.type) - 1)))
            overflow = self.b.and_(
                self.b.icmp_signed("==", x, least), self.b.icmp_signed("==", y, self.const(y, -1))
            )
            bad = overflow
        return zero, self.b.select(self.b.or_(zero, bad), self.const(y, 1), y), overflow

    def _quotient(self, x: Value, divisor: Value) -> Value:
        """x / divisor toward zero, of integers that allow it. No host divides vectors of integers;
        rounded as a float with twice the bits, a quotient that is not whole stays on its side of
        the next whole number."""
        width = bits_of(x.type)
        if width > 32:
            return (self.b.sdiv if self.dtype.signed else self.b.udiv)(x, divisor)
        wide = like(x.type, F32 if width <= 16 else F64)
        floats = [
            (self.b.sitofp if self.dtype.signed else self.b.uitofp)(v, wide) for v in (x, divisor)
        ]
        whole = self.b.fptosi(self.b.fdiv(*floats), like(x.type, I32))
        return self.b.trunc(whole, x.type) if width < 32 else whole

    def _rest(self, x: Value, y: Value) -> tuple[Value, Value]:
        """(y is 0, the remainder with the sign of x)."""
        zero, divisor, _ = self._safe_divisor(x, y)
        return zero, self.b.sub(x, self.b.mul(self._quotient(x, divisor), divisor))

    def op_mod(self, x: Value, y: Value) -> Value:
        if self.floating:
            return functions.remainder(self.e, x, y)
        zero, rest = self._rest(x, y)
        if self.dtype.signed:
            differs = self.b.icmp_signed("<", self.b.xor(rest, y), self.const(x, 0))
            some = self.b.icmp_signed("!=", rest, self.const(x, 0))
            rest = self.b.select(self.b.and_(differs, some), self.b.add(rest, y), rest)
        return self.b.select(zero, x, rest)

    def op_min(self, x: Value, y: Value) -> Value:
        return self.same("llvm.minimum" if self.floating else self.ordered("min"), x, y)

    def op_max(self, x: Value, y: Value) -> Value:
        return self.same("llvm.maximum" if self.floating else self.ordered("max"), x, y)

    def _compare(self, how: str, x: Value, y: Value) -> Value:
        if is_float(x.type):
            compare = self.b.fcmp_unordered if how == "!=" else self.b.fcmp_ordered
            return compare(how, x, y)
        signed = self.dtype.signed
        return (self.b.icmp_signed if signed else self.b.icmp_unsigned)(how, x, y)

    def op_eq(self, x: Value, y: Value) -> Value:
        return self._compare("==", x, y)

    def op_ne(self, x: Value, y: Value) -> Value:
        return self._compare("!=", x, y)

    def op_lt(self, x: Value, y: Value) -> Value:
        return self._compare("<", x, y)

    def op_le(self, x: Value, y: Value) -> Value:
        return self._compare("<=", x, y)

    def op_and(self, x: Value, y: Value) -> Value:
        return self.b.and_(x, y)

    def op_or(self, x: Value, y: Value) -> Value:
        return self.b.or_(x, y)

    def op_xor(self, x: Value, y: Value) -> Value:
        return self.b.xor(x, y)

    def op_not(self, x: Value) -> Value:
        return self.b.xor(x, self.const(x, -1 if bits_of(x.type) > 1 else 1))

    def op_select(self, condition: Value, x: Value, y: Value) -> Value:
        return self.b.select(condition, x, y)

    def op_sqrt(self, x: Value) -> Value:
        return self.same("llvm.sqrt", x)

    def op_floor(self, x: Value) -> Value:
        return self.same("llvm.floor", x) if self.floating else x

    def op_ceil(self, x: Value) -> Value:
        return self.same("llvm.ceil", x) if self.floating else x

    def op_rint(self, x: Value) -> Value:
        return self.same("llvm.rint", x) if self.floating else x

    def op_shl(self, x: Value, y: Value) -> Value:
        return functions.shift(self.e, x, y, left=True, signed=self.dtype.signed)

    def op_shr(self, x: Value, y: Value) -> Value:
        return functions.shift(self.e, x, y, left=False, signed=self.dtype.signed)

    def op_fmod(self, x: Value, y: Value) -> Value:
        if self.floating:
            return functions.remainder(self.e, x, y)
        zero, rest = self._rest(x, y)
        return self.b.select(zero, x, rest)

    def op_pow(self, x: Value, y: Value) -> Value:
        if self.floating:
            return functions.power(self.e, x, y)
        return functions.integer_power(self.e, x, y, self.dtype.signed)

    def op_exp(self, x: Value) -> Value:
        return functions.exp(self.e, x)

    def op_log(self, x: Value) -> Value:
        return functions.log(self.e, x)

    def op_swish(self, x: Value, alpha: Value) -> Value:
        return functions.swish(self.e, x, alpha)

    def op_sin(self, x: Value) -> Value:
        return functions.sine(self.e, x, 0)

    def op_cos(self, x: Value) -> Value:
        return functions.sine(self.e, x, 1)


def parameters(e: Emitter, dtype: DType, type_: Type, words: Sequence[str]) -> list[Value]:
    """Words that hold f64 numbers, such as alpha and beta, in every lane of `type_`, the form of
    arithmetic of `dtype`: integers saturate at the limits of their type, signed or not."""
    scalars = [convert(e, e.number(word, F64), DOUBLE, dtype.compute) for word in words]
    return [e.splat(scalar, lanes_of(type_)) for scalar in scalars]


if missing := [
    op
    for op in OPS
    if OPS[op] and op not in functions.OF_ONE and not hasattr(Arithmetic, f"op_{op}")
]:
    raise TypeError(f"the LLVM reading of tensor expressions lacks {missing}")
