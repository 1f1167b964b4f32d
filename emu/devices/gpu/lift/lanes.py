"""Arithmetic on values of 32 lanes: it finds a result's kind and, with an emitter, writes the code.

The same functions serve both times a kernel is gone through. While kinds are being found there is
no emitter and every LLVM value is None; afterwards the same calls give the same kinds and emit. So
a kind can never promise what the code does not do.

Each function prefers the cheapest way: constants are computed here, one number for all lanes is a
scalar, addresses stay base and stride, and what is an extension of 32 bits is computed in 32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir

from emu.cpu.tensor.emit import F32, F64, Emitter, mangled
from emu.devices.gpu.dispatch import LANES
from emu.devices.gpu.lift.values import Kind, Nan, Shape, Value, const, constant

Data = Any
"""An LLVM value; None while kinds are being found."""

BOX = 0xFFFF_FFFF_0000_0000
"""What stands above a single in its register."""
CANONICAL = {32: 0x7FC0_0000, 64: 0x7FF8 << 48}
"""The canonical NaNs (unprivileged specification, 20.3)."""
FLOAT = {32: F32, 64: F64}


def _text(kind: Any, text: str) -> Data:
    """A constant vector as LLVM writes it, which llvmlite would spell out lane by lane."""
    constant = ir.FormattedConstant(kind, text)
    constant.constant = text  # which llvmlite has taken apart
    return constant


def _signed(value: int, width: int) -> int:
    sign = 1 << (width - 1)
    return (value ^ sign) - sign


_FOLD: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda a, b, n: a + b, "sub": lambda a, b, n: a - b, "mul": lambda a, b, n: a * b,
    "and": lambda a, b, n: a & b, "or": lambda a, b, n: a | b, "xor": lambda a, b, n: a ^ b,
    "shl": lambda a, b, n: a << b, "shr": lambda a, b, n: a >> b,
    "sar": lambda a, b, n: _signed(a, n) >> b,
    "eq": lambda a, b, n: a == b, "ne": lambda a, b, n: a != b, "ltu": lambda a, b, n: a < b,
    "lts": lambda a, b, n: _signed(a, n) < _signed(b, n),
}  # fmt: skip
"""What is computed while lifting; the other operations on constants are left to LLVM."""

_NEUTRAL = {"add": 0, "sub": 0, "or": 0, "xor": 0, "shl": 0, "shr": 0, "sar": 0, "mul": 1}
"""The right operand with which an operation changes nothing."""

_METHODS = {
    "add": "add", "sub": "sub", "mul": "mul", "and": "and_", "or": "or_", "xor": "xor",
    "shl": "shl", "shr": "lshr", "sar": "ashr",
}  # fmt: skip
_FIRST = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [ir.Constant(ir.IntType(32), 0)] * LANES)
_COMPARISONS = {"eq": "==", "ne": "!=", "ltu": "<", "lts": "<"}


@dataclass
class Lanes:
    """The arithmetic; `e` is None while kinds are being found."""

    e: Emitter | None

    # How a value is kept

    def type(self, bits: int, vector: bool) -> Any:
        """The LLVM type of an integer, in one lane or in all."""
        element = ir.IntType(bits)
        return ir.VectorType(element, LANES) if vector else element

    def constant(self, value: int, bits: int, vector: bool) -> Data:
        """A constant, in one lane or in all."""
        value &= (1 << bits) - 1
        kind = self.type(bits, vector)
        if not vector:
            return ir.Constant(kind, value)
        text = f"i1 {'true' if value else 'false'}" if bits == 1 else f"i{bits} {value}"
        return _text(kind, f"splat ({text})")

    def splat(self, scalar: Data) -> Data:
        """A scalar in every lane."""
        if self.e is None:
            return None
        if isinstance(scalar, ir.Constant) and isinstance(scalar.type, ir.IntType):
            return self.constant(int(scalar.constant), scalar.type.width, True)
        kind = ir.VectorType(scalar.type, LANES)
        first = self.e.b.insert_element(
            ir.Constant(kind, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
        )
        return self.e.b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), _FIRST)

    def ramp(self, bits: int, stride: int) -> Data:
        """0, stride, 2 * stride, … in the lanes."""
        limit = (1 << bits) - 1
        steps = ", ".join(f"i{bits} {lane * stride & limit}" for lane in range(LANES))
        return _text(self.type(bits, True), f"<{steps}>")

    def kept(self, value: Value, bits: int, vector: bool) -> Data:
        """The low `bits` bits, a scalar (of an affine value the base) or a vector; what is above
        them is the caller's business."""
        if self.e is None:
            return None
        kind, b = value.kind, self.e.b
        if kind.shape is Shape.CONST:
            return self.constant(kind.const, bits, vector)
        data = value.data
        if kind.stack is not None:
            data = b.add(data, self.constant(kind.stack, 64, False))
        if kind.bits > bits:
            data = b.trunc(data, self.type(bits, kind.shape is Shape.VECTOR))
        elif kind.bits < bits:
            data = self._extend(data, kind, bits)
        if vector and kind.shape is not Shape.VECTOR:
            data = self.splat(data)
            if kind.shape is Shape.AFFINE:
                data = b.add(data, self.ramp(bits, kind.stride))
        return data

    def _extend(self, data: Data, kind: Kind, bits: int) -> Data:
        assert self.e is not None
        b, vector = self.e.b, kind.shape is Shape.VECTOR
        target = self.type(bits, vector)
        if kind.form == "s":
            return b.sext(data, target)
        data = b.zext(data, target)
        if kind.form == "b":
            ones = (1 << bits) - (1 << kind.part)
            data = b.or_(data, self.constant(ones, bits, vector))
        return data

    def scalar(self, value: Value) -> Data:
        """A constant or uniform value in full, or an affine one's base."""
        return self.kept(value, value.width, False)

    def vector(self, value: Value) -> Data:
        """The value in full in every lane."""
        return self.kept(value, value.width, True)

    def result(self, kind: Kind, make: Callable[[], Data]) -> Value:
        """A value of `kind`; `make` emits it."""
        return Value(kind, make() if self.e is not None else None)

    # NaNs

    def observe(self, value: Value) -> Value:
        """The value with every NaN canonical."""
        kind = value.kind
        if kind.nan is not Nan.ROUGH:
            return value
        nan = Nan.EXACT if kind.quiet else Nan.CLEAN
        return self.result(replace(kind, nan=nan, quiet=0), lambda: self._canonical(value))

    def _canonical(self, value: Value) -> Data:
        assert self.e is not None
        kind, data = value.kind, value.data
        number = self.as_float(data, kind.bits)
        is_nan = self.e.b.fcmp_unordered("uno", number, number)
        quiet = self.constant(
            kind.quiet or CANONICAL[kind.bits], kind.bits, kind.shape is Shape.VECTOR
        )
        return self.e.b.select(is_nan, quiet, data)

    def sign(self, op: str, a: Value) -> Value:
        """A float's bits with the sign flipped ("xor") or cleared ("and"); a NaN that is rough
        stays so, since it is one with either sign."""
        kind, bit = a.kind, 1 << (a.width - 1)
        mask = bit if op == "xor" else bit - 1
        if kind.nan is not Nan.ROUGH:
            return self.binary(op, a, constant(mask, a.width))
        quiet = _FOLD[op](kind.quiet or CANONICAL[a.width], mask, a.width)
        vector = kind.shape is Shape.VECTOR
        return self.result(
            Kind(a.width, kind.shape, nan=Nan.ROUGH, quiet=quiet),
            lambda: getattr(self.e.b, _METHODS[op])(  # type: ignore[union-attr]
                a.data, self.constant(mask, a.width, vector)
            ),
        )

    def as_float(self, data: Data, bits: int) -> Data:
        """Bits as a float of the same size."""
        assert self.e is not None
        vector = isinstance(data.type, ir.VectorType)
        return self.e.b.bitcast(data, ir.VectorType(FLOAT[bits], LANES) if vector else FLOAT[bits])

    # Operations

    def binary(self, op: str, a: Value, b: Value) -> Value:
        """An operation of two equally wide operands with a result as wide, or a comparison."""
        x, y = a.number(), b.number()
        if x is not None and y is not None:
            folded = _FOLD[op](x, y, a.width)
            return constant(folded, 1 if op in _COMPARISONS else a.width)
        if (y is not None and _NEUTRAL.get(op) == y) or (op == "and" and y == (1 << a.width) - 1):
            return a
        if x == 0 and op in ("add", "or", "xor"):
            return b
        special = self._boxing(op, a, y) or self._address(op, a, b)
        if special is not None:
            return special
        a, b = self.observe(a), self.observe(b)
        if op in _COMPARISONS:
            return self._compare(op, a, b)
        form, part = self._common(a, b) if op in ("and", "or", "xor") else ("", 0)
        shape = self._shape(a, b)
        targets = None
        if y is not None and a.kind.targets is not None:
            mask = (1 << a.width) - 1
            targets = frozenset(_FOLD[op](t, y, a.width) & mask for t in a.kind.targets)
        kind = Kind(
            a.width, shape, form=form, part=part, targets=targets,
            private=a.kind.private or b.kind.private,
        )  # fmt: skip
        return self.result(kind, lambda: self._emit(_METHODS[op], kind, a, b))

    def _emit(self, method: str, kind: Kind, *operands: Value) -> Data:
        assert self.e is not None
        vector = kind.shape is Shape.VECTOR
        return getattr(self.e.b, method)(*(self.kept(o, kind.bits, vector) for o in operands))

    def _boxing(self, op: str, a: Value, y: int | None) -> Value | None:
        """Boxing a single, and the test whether it is boxed, which its form answers."""
        if op == "or" and y == BOX and (a.kind.form, a.kind.part) == ("z", 32):
            return Value(replace(a.kind, form="b"), a.data)
        if op == "shr" and y == 32 and a.kind.form == "b":
            return constant(0xFFFF_FFFF)
        return None

    def _address(self, op: str, a: Value, b: Value) -> Value | None:
        """Sums and multiples of what is affine, and places in the stack."""
        if op == "mul" and a.shape is Shape.CONST:
            a, b = b, a
        x, y = a.kind, b.kind
        if op in ("add", "sub") and x.stack is not None and y.shape is Shape.CONST:
            offset = _signed(y.const, 64)
            return Value(replace(x, stack=x.stack + (offset if op == "add" else -offset)), a.data)
        if Shape.VECTOR in (x.shape, y.shape) or Shape.AFFINE not in (x.shape, y.shape):
            return None
        width = a.width
        if op in ("add", "sub"):
            stride = x.stride + (y.stride if op == "add" else -y.stride)
        elif op in ("mul", "shl") and y.shape is Shape.CONST:
            stride = x.stride * (y.const if op == "mul" else 1 << y.const)
        else:
            return None
        stride = _signed(stride & (1 << width) - 1, width)
        shape = Shape.AFFINE if stride else Shape.UNIFORM
        kind = Kind(width, shape, stride=stride, private=x.private or y.private)
        method = _METHODS[op]
        return self.result(
            kind, lambda: self._emit(method, replace(kind, shape=Shape.UNIFORM), a, b)
        )

    def _shape(self, *operands: Value) -> Shape:
        """Of a result that is affine in no case."""
        scalar = all(o.shape in (Shape.CONST, Shape.UNIFORM) for o in operands)
        return Shape.UNIFORM if scalar else Shape.VECTOR

    def _common(self, a: Value, b: Value) -> tuple[str, int]:
        """The form and part in which both operands are, or can be."""
        one, other = a.kind, b.kind
        if one.shape is Shape.CONST:
            one, other = other, one
        if not one.form or one.form == "b":
            return "", 0
        if other.shape is Shape.CONST:
            high, sign = other.const >> one.part, other.const >> (one.part - 1) & 1
            ones = (1 << (one.width - one.part)) - 1
            fits = high == (ones * sign if one.form == "s" else 0)
        else:
            fits = (one.form, one.part) == (other.form, other.part)
        return (one.form, one.part) if fits else ("", 0)

    def _compare(self, op: str, a: Value, b: Value) -> Value:
        """Extended operands compare as their parts do; by a zero extension as unsigned numbers."""
        form, part = self._common(a, b)
        bits, shape = part or a.width, self._shape(a, b)
        signed = op == "lts" and form != "z"

        def emit() -> Data:
            assert self.e is not None
            x, y = (self.kept(v, bits, shape is Shape.VECTOR) for v in (a, b))
            compare = self.e.b.icmp_signed if signed else self.e.b.icmp_unsigned
            return compare(_COMPARISONS[op], x, y)

        return self.result(Kind(1, shape), emit)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """`a` where the condition holds, else `b`."""
        known = condition.number()
        if known is not None:
            return a if known else b
        a, b = self.observe(a), self.observe(b)
        shape = self._shape(condition, a, b)
        form, part = self._common(a, b)
        kind = Kind(a.width, shape, form=form, part=part, private=a.kind.private or b.kind.private)

        def emit() -> Data:
            assert self.e is not None
            vector = shape is Shape.VECTOR
            return self.e.b.select(
                self.kept(condition, 1, vector), *(self.kept(v, kind.bits, vector) for v in (a, b))
            )

        return self.result(kind, emit)

    def trunc(self, a: Value, width: int) -> Value:
        """The low bits. A boxed single keeps its state of NaN."""
        if (known := a.number()) is not None:
            return constant(known, width)
        kind = a.kind
        if not (kind.form == "b" and kind.part == width):
            a = self.observe(a)
        nan = a.kind.nan if kind.part == width else Nan.EXACT
        if kind.part and kind.part < width:
            return Value(Kind(width, kind.shape, form=kind.form, part=kind.part), a.data)
        if kind.shape is Shape.AFFINE:
            stride = _signed(kind.stride & (1 << width) - 1, width)
            shape = Shape.AFFINE if stride else Shape.UNIFORM
            return self.result(
                Kind(width, shape, stride=stride), lambda: self.kept(a, width, False)
            )
        vector = kind.shape is Shape.VECTOR
        return self.result(
            Kind(width, kind.shape, nan=nan, quiet=a.kind.quiet if nan else 0),
            lambda: self.kept(a, width, vector),
        )

    def extend(self, op: str, a: Value, width: int) -> Value:
        """`sext` or `zext` to more bits."""
        if (known := a.number()) is not None:
            return constant(_signed(known, a.width) if op == "sext" else known, width)
        kind = a.kind
        if op == "sext":
            a = self.observe(a)
        vector = kind.shape in (Shape.AFFINE, Shape.VECTOR)
        shape = Shape.VECTOR if vector else Shape.UNIFORM
        form, part = op[0], kind.width
        if kind.form == "z" or kind.form == op[0]:
            form, part = kind.form, kind.part
        return self.result(
            Kind(width, shape, form=form, part=part, nan=a.kind.nan, quiet=a.kind.quiet),
            lambda: self.kept(a, part, vector),
        )

    def unary(self, name: str, a: Value, *flags: int) -> Value:
        """An LLVM intrinsic on one operand; `flags` are its further 1-bit arguments."""
        a = self.observe(a)
        shape = self._shape(a)

        def emit() -> Data:
            assert self.e is not None
            data = self.kept(a, a.width, shape is Shape.VECTOR)
            bits = (ir.Constant(ir.IntType(1), flag) for flag in flags)
            name_ = f"llvm.{name}.{mangled(data.type)}"
            return self.e.intrinsic(name_, data.type, data, *bits, suffix=False)

        return self.result(Kind(a.width, shape), emit)

    def compute(
        self, width: int, emit: Callable[[ir.IRBuilder, list[Data], bool], Data], *operands: Value
    ) -> Value:
        """Any other operation: `emit` gets builder, whole operands and whether they are vectors."""
        seen = [self.observe(o) for o in operands]
        vector = self._shape(*seen) is Shape.VECTOR
        kind = Kind(width, Shape.VECTOR if vector else Shape.UNIFORM)

        def make() -> Data:
            assert self.e is not None
            return emit(self.e.b, [self.kept(o, o.width, vector) for o in seen], vector)

        return self.result(kind, make)


def truth(value: bool) -> Value:
    """A constant condition."""
    return Value(const(int(value), 1))
