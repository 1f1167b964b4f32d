"""Tensor descriptors: what a tensor register holds, its memory form, and what makes one valid.

A descriptor says where elements lie and how to walk them; it never holds them. A register may hold
anything (the kernel saves and restores registers it knows nothing about, and `tset` builds a
descriptor field by field), so loading checks only alignment and reserved bytes; an instruction that
*uses* a descriptor calls `check` first. The layout is in `docs/tensor.md` and, once, here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from emu.cpu.tensor.faults import Cause, Operand, TensorFault

SIZE = 128
"""Bytes of the memory form, and its alignment."""
RANK_MAX = 8
REGISTERS = 16
_FORM = struct.Struct("<QBB6x8I8q16s")
_DIM_MASK, _WORD = 0xFFFF_FFFF, 1 << 64


@dataclass(frozen=True)
class DType:
    """An element type. `kind` is 'float', 'int' or 'bool'; `compute` is the type of arithmetic."""

    code: int
    name: str
    size: int
    kind: str
    signed: bool = True

    @property
    def compute(self) -> DType:
        """Half-precision floats compute in f32 and are rounded once, when stored."""
        return F32 if self in (F16, BF16) else self


F32 = DType(1, "f32", 4, "float")
U8 = DType(2, "u8", 1, "int", signed=False)
I8 = DType(3, "i8", 1, "int")
I16 = DType(5, "i16", 2, "int")
I32 = DType(6, "i32", 4, "int")
I64 = DType(7, "i64", 8, "int")
BOOL = DType(9, "bool", 1, "bool", signed=False)
F16 = DType(10, "f16", 2, "float")
F64 = DType(11, "f64", 8, "float")
BF16 = DType(16, "bf16", 2, "float")

DTYPES = {d.code: d for d in (F32, U8, I8, I16, I32, I64, BOOL, F16, F64, BF16)}
"""Element types by their code in ONNX's TensorProto."""


class Field(IntEnum):
    """The field numbers of `tget` and `tset`; dims and strides are `DIMS + i`, `STRIDES + i`."""

    BASE = 0
    DTYPE = 1
    RANK = 2
    DIMS = 8
    STRIDES = 16
    END = 24


Address = Any
"""An int, the guest's virtual address or the host's; or, where plans are made, a `Place`."""


@dataclass(frozen=True)
class View:
    """A checked tensor: extents and strides (in bytes) of its real rank, and where it begins."""

    address: Address
    dtype: DType
    dims: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def count(self) -> int:
        """Number of elements."""
        n = 1
        for extent in self.dims:
            n *= extent
        return n

    @property
    def bytes(self) -> int:
        """Bytes of all elements, each counted once."""
        return self.count * self.dtype.size

    def span(self) -> tuple[int, int]:
        """Offsets from `address` of the lowest byte and of the byte behind the highest one."""
        low, high = 0, self.dtype.size
        for extent, stride in zip(self.dims, self.strides, strict=True):
            reach = (extent - 1) * stride
            low, high = min(low, low + reach), max(high, high + reach)
        return low, high

    def is_dense(self) -> bool:
        """Whether the elements lie one behind the other in row-major order."""
        return self.strides == dense_strides(self.dims, self.dtype.size)

    def steps_as(self, other: View) -> bool:
        """Whether equal indices are at equal distances from the start of both: extents count, as
        one of 1 is stretched where the other's is not."""
        return self.dims == other.dims and self.strides == other.strides

    def at(self, address: Address) -> View:
        """The same view elsewhere."""
        return View(address, self.dtype, self.dims, self.strides)

    def permuted(self, order: tuple[int, ...]) -> View:
        """The dimensions in another order."""
        return View(
            self.address,
            self.dtype,
            tuple(self.dims[d] for d in order),
            tuple(self.strides[d] for d in order),
        )

    def broadcast(self, dims: tuple[int, ...]) -> View | None:
        """This view stretched to `dims` by NumPy's rule; None when it does not fit."""
        lead = len(dims) - self.rank
        if lead < 0:
            return None
        strides = [0] * lead
        for own, wanted, stride in zip(self.dims, dims[lead:], self.strides, strict=True):
            if own != wanted and own != 1:
                return None
            strides.append(stride if own == wanted else 0)
        return View(self.address, self.dtype, dims, tuple(strides))

    def overlaps_itself(self) -> bool:
        """Whether two indices may lead to one byte (by extents: sorted steps must nest)."""
        if self.count == 0:
            return False
        reach = self.dtype.size
        for stride, extent in sorted(
            (abs(s), n) for n, s in zip(self.dims, self.strides, strict=True) if n > 1
        ):
            if stride < reach:
                return True
            reach += stride * (extent - 1)
        return False


def dense_strides(dims: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Row-major strides in bytes."""
    strides, step = [], size
    for extent in reversed(dims):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


def dense(address: Address, dtype: DType, dims: tuple[int, ...]) -> View:
    """A row-major view."""
    return View(address, dtype, dims, dense_strides(dims, dtype.size))


@dataclass
class Descriptor:
    """The content of one tensor register, valid or not."""

    base: int = 0
    dtype: int = 0
    rank: int = 0
    dims: list[int] = field(default_factory=lambda: [0] * RANK_MAX)
    strides: list[int] = field(default_factory=lambda: [0] * RANK_MAX)

    @classmethod
    def parse(cls, form: bytes) -> Descriptor:
        """Read the memory form. Raises ValueError when a reserved byte is not zero."""
        base, dtype, rank, *rest = _FORM.unpack(form)
        if any(rest[16]) or any(form[10:16]):
            raise ValueError("a reserved byte of the descriptor is not zero")
        return cls(base, dtype, rank, list(rest[:8]), list(rest[8:16]))

    def encode(self) -> bytes:
        """The memory form, `SIZE` bytes."""
        return _FORM.pack(self.base, self.dtype, self.rank, *self.dims, *self.strides, bytes(16))

    def copy(self) -> Descriptor:
        """An independent copy."""
        return Descriptor(self.base, self.dtype, self.rank, list(self.dims), list(self.strides))

    def get(self, number: int) -> int | None:
        """A field as 64 unsigned bits (strides in elements); None when there is no such field."""
        match number:
            case Field.BASE:
                return self.base
            case Field.DTYPE:
                return self.dtype
            case Field.RANK:
                return self.rank
        if Field.DIMS <= number < Field.STRIDES:
            return self.dims[number - Field.DIMS]
        if Field.STRIDES <= number < Field.END:
            return self.strides[number - Field.STRIDES] % _WORD
        return None

    def set(self, number: int, value: int) -> bool:
        """Write a field, cut to its width; False when there is no such field."""
        if number == Field.BASE:
            self.base = value % _WORD
        elif number == Field.DTYPE:
            self.dtype = value & 0xFF
        elif number == Field.RANK:
            self.rank = value & 0xFF
        elif Field.DIMS <= number < Field.STRIDES:
            self.dims[number - Field.DIMS] = value & _DIM_MASK
        elif Field.STRIDES <= number < Field.END:
            value %= _WORD
            self.strides[number - Field.STRIDES] = value - (value >> 63) * _WORD
        else:
            return False
        return True

    def check(self, operand: Operand) -> View:
        """The view this descriptor means. Raises TensorFault for `operand` when it means none."""
        dtype = DTYPES.get(self.dtype)
        if dtype is None:
            raise TensorFault(Cause.DTYPE, operand)
        if self.rank > RANK_MAX:
            raise TensorFault(Cause.RANK, operand)
        dims = tuple(self.dims[: self.rank])
        strides = tuple(s * dtype.size for s in self.strides[: self.rank])
        view = View(self.base, dtype, dims, strides)
        if view.bytes >= 1 << 63:
            raise TensorFault(Cause.DESCRIPTOR, operand, self.base)
        if view.count:
            low, high = view.span()
            if self.base + low < 0 or self.base + high > _WORD:
                raise TensorFault(Cause.DESCRIPTOR, operand, self.base)
        return view if view.count and _fits(strides) else _without_idle_strides(view)


def _fits(strides: tuple[int, ...]) -> bool:
    """Whether kernels can be given these strides, as 64-bit words."""
    return all(-(_WORD >> 1) <= stride < _WORD >> 1 for stride in strides)


def _without_idle_strides(view: View) -> View:
    """The same elements with a stride of 0 where no step is ever taken."""
    empty = view.count == 0
    pairs = zip(view.dims, view.strides, strict=True)
    strides = tuple(0 if empty or extent == 1 else stride for extent, stride in pairs)
    return View(view.address, view.dtype, view.dims, strides)


def registers() -> list[Descriptor]:
    """The tensor registers of a hart, as they are after reset."""
    return [Descriptor() for _ in range(REGISTERS)]
