"""Constants, operators and conversions of scalars."""

from __future__ import annotations

from collections.abc import Callable

from toolchain.kern import typed, types
from toolchain.kern.codegen import layout
from toolchain.kern.codegen.function import FunctionEmitter
from toolchain.kern.codegen.ir import NULL, TRUE, Value, float_const, int_const
from toolchain.kern.codegen.registry import emits, emits_into


@emits(typed.IntConst)
def _int(f: FunctionEmitter, node: typed.IntConst) -> Value:
    type_ = layout.value_type(node.type)
    if type_ == "ptr":
        return Value("ptr", f"inttoptr (i64 {node.value} to ptr)") if node.value else NULL
    return int_const(node.value, type_)


@emits(typed.FloatConst)
def _float(f: FunctionEmitter, node: typed.FloatConst) -> Value:
    assert isinstance(node.type, types.Float)
    return float_const(node.value, node.type.bits)


@emits(typed.StrConst)
def _str(f: FunctionEmitter, node: typed.StrConst) -> Value:
    return f.module.string(node.value)


@emits(typed.FunctionAddress)
def _function(f: FunctionEmitter, node: typed.FunctionAddress) -> Value:
    return Value("ptr", f.module.symbol(node.function))


@emits(typed.Unary)
def _unary(f: FunctionEmitter, node: typed.Unary) -> Value:
    operand = f.value(node.operand)
    if isinstance(node.type, types.Float):
        return f.let(operand.type, f"fneg {operand}")
    if node.op == "neg":
        return f.binary("sub", int_const(0, operand.type), operand)
    return f.binary("xor", operand, TRUE if node.op == "not" else int_const(-1, operand.type))


@emits(typed.Logical)
def _logical(f: FunctionEmitter, node: typed.Logical) -> Value:
    """Through a stack object rather than a phi: the right side may open blocks of its own."""
    result = f.object(types.BOOL)
    right, done = f.label("right"), f.label("decided")
    left = f.value(node.left)
    f.put(left, result, types.BOOL)
    f.branch(left, *((right, done) if node.op == "and" else (done, right)))
    f.enter(right)
    f.put(f.value(node.right), result, types.BOOL)
    f.enter(done)
    return f.get(result, types.BOOL)


@emits(typed.Select)
def _select(f: FunctionEmitter, node: typed.Select) -> Value:
    condition, then, otherwise = map(f.value, (node.condition, node.then, node.otherwise))
    return f.select(condition, then, otherwise)


@emits_into(typed.Select)
def _select_into(f: FunctionEmitter, node: typed.Select, to: Value) -> None:
    f.copy(to, _select(f, node), node.type)


# ── Binary operators ─────────────────────────────────────────────────────────────────────────

_INT_OPS = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_FLOAT_OPS = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "rem": "frem"}
_RELATIONS = ("eq", "ne", "lt", "le", "gt", "ge")


@emits(typed.Binary)
def _binary(f: FunctionEmitter, node: typed.Binary) -> Value:
    left, right = f.value(node.left), f.value(node.right)
    type_ = node.left.type
    if node.op in _RELATIONS:
        return _compare(f, node.op, left, right, type_)
    if isinstance(type_, types.Float):
        return f.binary(_FLOAT_OPS[node.op], left, right)
    if node.op in _INT_OPS:
        return f.binary(_INT_OPS[node.op], left, right)
    assert isinstance(type_, types.Int)
    if node.op in ("shl", "shr"):
        shift = {"shl": "shl", "shr": "ashr" if type_.signed else "lshr"}[node.op]
        return f.binary(shift, left, f.binary("and", right, int_const(type_.bits - 1, right.type)))
    return _divide(f, node.op, left, right, type_)


def _divide(f: FunctionEmitter, op: str, left: Value, right: Value, type_: types.Int) -> Value:
    """Division and remainder, which LLVM leaves undefined for a zero and for minimum / -1."""
    zero, minus_one = int_const(0, left.type), int_const(-1, left.type)
    constant = int(right.ref) if right.ref.lstrip("-").isdigit() else None
    if not constant:
        bad = f.compare("icmp eq", right, zero)
        f.guard(bad, lambda: f.panic("division by zero"))
    if not type_.signed:
        return f.binary("udiv" if op == "div" else "urem", left, right)
    instruction = "sdiv" if op == "div" else "srem"
    if constant not in (None, 0, -1):
        return f.binary(instruction, left, right)
    negates = f.compare("icmp eq", right, minus_one)
    safe = f.select(negates, int_const(1, left.type), right)
    quotient = f.binary(instruction, left, safe)
    special = f.binary("sub", zero, left) if op == "div" else zero
    return f.select(negates, special, quotient)


def _compare(f: FunctionEmitter, op: str, left: Value, right: Value, type_: types.Type) -> Value:
    if isinstance(type_, types.Float):
        return f.compare(f"fcmp {'une' if op == 'ne' else 'o' + op}", left, right)
    if isinstance(type_, types.Str | types.Slice):
        if op in ("eq", "ne"):
            equal = f.runtime("text_equal", "zeroext i1", left, right)
            return f.binary("xor", equal, TRUE) if op == "ne" else equal
        order = f.runtime("text_compare", "i64", left, right)
        return f.compare(f"icmp s{op}", order, int_const(0))
    if op in ("eq", "ne"):
        return f.compare(f"icmp {op}", left, right)
    signed = (isinstance(type_, types.Int) and type_.signed) or isinstance(type_, types.Enum)
    return f.compare(f"icmp {'s' if signed else 'u'}{op}", left, right)


# ── Conversions ──────────────────────────────────────────────────────────────────────────────


@emits(typed.Cast)
def _cast(f: FunctionEmitter, node: typed.Cast) -> Value:
    return _CASTS[node.kind](f, f.value(node.operand), node.operand.type, node.type)


@emits_into(typed.Cast)
def _cast_into(f: FunctionEmitter, node: typed.Cast, to: Value) -> None:
    f.copy(to, f.value(node.operand), node.type)


def _is_signed(type_: types.Type) -> bool:
    return isinstance(type_, types.Int) and type_.signed


def _extend(f: FunctionEmitter, value: Value, from_: types.Type, to: types.Type) -> Value:
    return f.convert("sext" if _is_signed(from_) else "zext", value, layout.value_type(to))


def _int_to_float(f: FunctionEmitter, value: Value, from_: types.Type, to: types.Type) -> Value:
    return f.convert("sitofp" if _is_signed(from_) else "uitofp", value, layout.value_type(to))


def _float_to_int(f: FunctionEmitter, value: Value, from_: types.Type, to: types.Type) -> Value:
    """Saturates as LLVM's fpto*i.sat, but gives the maximum for a NaN, as fcvt does."""
    assert isinstance(from_, types.Float)
    assert isinstance(to, types.Int)
    kind = "fptosi" if to.signed else "fptoui"
    integer = f"i{to.bits}"
    converted = f.call(integer, f"@llvm.{kind}.sat.{integer}.f{from_.bits}", value)
    unordered = f.compare("fcmp uno", value, value)
    return f.select(unordered, int_const(to.maximum, integer), converted)


def _float_resize(f: FunctionEmitter, value: Value, from_: types.Type, to: types.Type) -> Value:
    if from_ == to:
        return value
    return f.convert("fptrunc" if to == types.F32 else "fpext", value, layout.value_type(to))


def _simple(op: str) -> Callable[[FunctionEmitter, Value, types.Type, types.Type], Value]:
    def convert(f: FunctionEmitter, value: Value, _: types.Type, to: types.Type) -> Value:
        return f.convert(op, value, layout.value_type(to))

    return convert


def _bits(f: FunctionEmitter, value: Value, from_: types.Type, to: types.Type) -> Value:
    type_ = layout.value_type(to)
    if value.type == type_:
        return value
    return f.convert("bitcast", value, type_)


_CASTS: dict[str, Callable[[FunctionEmitter, Value, types.Type, types.Type], Value]] = {
    "extend": _extend,
    "truncate": _simple("trunc"),
    "int_to_float": _int_to_float,
    "float_to_int": _float_to_int,
    "float_resize": _float_resize,
    "int_to_ptr": _simple("inttoptr"),
    "ptr_to_int": _simple("ptrtoint"),
    "bits": _bits,
}
