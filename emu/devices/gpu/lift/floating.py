"""Floating point on lanes: the host's vector arithmetic, which rounds as RISC-V does.

`FLOAT` has every operation of `emu.isa.fpops` (checked at import). Lanes keep no flags, so plain
LLVM arithmetic serves; only NaNs need care: results of arithmetic are ROUGH, and are made canonical
when something other than arithmetic looks at them (`Lanes.observe`).

Arithmetic rounds to nearest even, statically or by the dynamic mode, which no lane can change.
Conversions to integers have all five modes: the number is made integral first, exactly, and then
converted. Whatever else is asked for raises `Refused`: the reference engine does it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from emu.cpu.softfloat import RDN, RMM, RNE, RTZ, RUP
from emu.cpu.tensor.emit import bits_of, mangled
from emu.devices.gpu.dispatch import LANES
from emu.devices.gpu.lift.lanes import FLOAT, Data, Lanes
from emu.devices.gpu.lift.values import Kind, Nan, Shape, Value
from emu.isa.fpops import FP_OPS

DYN = 7


class Refused(Exception):
    """The kernel does something that only the reference engine does; the text says what."""


_INTEGRAL = {RNE: "roundeven", RDN: "floor", RUP: "ceil", RMM: "round", DYN: "roundeven"}
"""LLVM's roundings to an integral number; truncation is part of the conversion."""


@dataclass(frozen=True)
class Call:
    """One operation being written: its operands as LLVM floats or integers, and the mode."""

    lanes: Lanes
    operands: list[Data]
    mode: int
    vector: bool
    plain_second: bool = False
    """The second operand is a constant, neither NaN nor zero."""

    @property
    def b(self) -> ir.IRBuilder:
        assert self.lanes.e is not None
        return self.lanes.e.b

    def type(self, element: ir.Type) -> ir.Type:
        """`element` in as many lanes as there are."""
        return ir.VectorType(element, LANES) if self.vector else element

    def intrinsic(self, name: str, *operands: Data) -> Data:
        """An LLVM intrinsic whose result has the type of its operands."""
        assert self.lanes.e is not None
        return self.lanes.e.intrinsic(f"llvm.{name}", operands[0].type, *operands)


Emit = Callable[[Call], Data]


def _plain(method: str) -> Emit:
    return lambda call: getattr(call.b, method)(*call.operands)


def _named(name: str) -> Emit:
    return lambda call: call.intrinsic(name, *call.operands)


def _extreme(name: str, predicate: str) -> Emit:
    """The lesser or greater number; beside one that is neither NaN nor zero, that takes a single
    instruction of x86."""

    def emit(call: Call) -> Data:
        x, y = call.operands
        if not call.plain_second:
            return call.intrinsic(name, x, y)
        return call.b.select(call.b.fcmp_ordered(predicate, x, y), x, y)

    return emit


def _ordered(predicate: str) -> Emit:
    return lambda call: call.b.fcmp_ordered(predicate, *call.operands)


def _to_integer(bits: int, signed: bool) -> Emit:
    """What does not fit saturates; a NaN gives the largest integer."""

    def emit(call: Call) -> Data:
        assert call.lanes.e is not None
        (number,) = call.operands
        if call.mode != RTZ:
            number = call.intrinsic(_INTEGRAL[call.mode], number)
        target = call.type(ir.IntType(bits))
        name = f"llvm.fpto{'s' if signed else 'u'}i.sat.{mangled(target)}.{mangled(number.type)}"
        value = call.lanes.e.intrinsic(name, target, number, suffix=False)
        largest = call.lanes.constant((1 << (bits - signed)) - 1, bits, call.vector)
        is_nan = call.b.fcmp_unordered("uno", number, number)
        return call.b.select(is_nan, largest, value)

    return emit


def _from_integer(bits: int, signed: bool) -> Emit:
    method = "sitofp" if signed else "uitofp"
    return lambda call: getattr(call.b, method)(call.operands[0], call.type(FLOAT[bits]))


def _convert(bits: int) -> Emit:
    def emit(call: Call) -> Data:
        method = call.b.fptrunc if bits == 32 else call.b.fpext
        return method(call.operands[0], call.type(FLOAT[bits]))

    return emit


def _operations(form: str) -> dict[str, Emit]:
    named: dict[str, Emit] = {
        **{f".{name}": _plain(f"f{name}") for name in ("add", "sub", "mul", "div")},
        ".sqrt": _named("sqrt"), ".madd": _named("fma"),
        ".min": _extreme("minimumnum", "<"), ".max": _extreme("maximumnum", ">"),
        ".eq": _ordered("=="), ".lt": _ordered("<"), ".le": _ordered("<="),
    }  # fmt: skip
    table = {form + suffix: emit for suffix, emit in named.items()}
    for sign in "iu":
        for bits in (32, 64):
            table[f"{form}.to_{sign}{bits}"] = _to_integer(bits, sign == "i")
            table[f"{sign}{bits}.to_{form}"] = _from_integer(int(form[1:]), sign == "i")
    return table


FLOAT_OPERATIONS: dict[str, Emit] = {
    **_operations("f32"),
    **_operations("f64"),
    "f64.to_f32": _convert(32),
    "f32.to_f64": _convert(64),
}

if _missing := FP_OPS.keys() ^ FLOAT_OPERATIONS.keys():
    raise ImportError(f"the lanes' reading and fpops differ in: {sorted(_missing)}")


def _check_mode(name: str, mode: int) -> None:
    target = name.partition(".to_")[2]
    if target and target[0] in "iu":
        allowed = {RTZ, *_INTEGRAL}
    elif not FP_OPS[name].rounds:
        allowed = set(range(RMM + 1)) | {DYN}
    else:
        allowed = {RNE, DYN}
    if mode not in allowed:
        raise Refused(f"'{name}' with rounding mode {mode} is the reference engine's.")


def _is_plain(value: Value) -> bool:
    """Whether a value is a constant number other than zero."""
    bits = value.number()
    if bits is None:
        return False
    magnitude = bits & (1 << (value.width - 1)) - 1
    return 0 < magnitude <= (0x7F80_0000 if value.width == 32 else 0x7FF << 52)


def compute(lanes: Lanes, name: str, mode: int, operands: list[Value], signs: list[int]) -> Value:
    """The operation `name` of FP_OPS. Operands whose `signs` are set have theirs flipped first."""
    _check_mode(name, mode)
    op = FP_OPS[name]
    if name.endswith((".min", ".max")) and _is_plain(operands[0]):
        operands = operands[::-1]
    from_float = name[0] == "f"
    to_float = not (".to_i" in name or ".to_u" in name or op.result == 1)
    scalar = all(o.shape in (Shape.CONST, Shape.UNIFORM) for o in operands)
    nan = Nan.EXACT if not to_float else Nan.ROUGH if from_float else Nan.CLEAN
    kind = Kind(op.result, Shape.UNIFORM if scalar else Shape.VECTOR, nan=nan)

    def emit() -> Data:
        data = [lanes.kept(o, o.width, not scalar) for o in operands]
        if from_float:
            data = [lanes.as_float(d, o.width) for d, o in zip(data, operands, strict=True)]
        call = Call(lanes, data, mode, not scalar, _is_plain(operands[-1]))
        for i, flipped in enumerate(signs):
            if flipped:
                data[i] = call.b.fneg(data[i])
        value = FLOAT_OPERATIONS[name](call)
        if to_float:
            value = call.b.bitcast(value, call.type(ir.IntType(bits_of(value.type))))
        return value

    return lanes.result(kind, emit)
