"""Sorting in emitted code: records of a key and an index, ascending.

A record is one integer, the key above the index, so comparing records compares keys, then indices:
equal keys stay in the order of their indices whatever the algorithm does. `Records.key` maps an
element type's order to that of unsigned integers. Of few records each is compared with all, by
vectors: as many as are smaller, so far from the start it goes. Many go by their digits (least
significant first, eight bits a pass, passes in which all digits agree left out).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import (
    I32,
    I64,
    POINTER,
    Emitter,
    Type,
    Value,
    lanes_of,
    like,
    target,
    vector,
)

SLACK = 32
"""How many records behind the last there must be memory for."""
_MANTISSA = {"f16": 10, "bf16": 7, "f32": 23, "f64": 52}


@contextmanager
def function(e: Emitter, name: str, result: Type, *arguments: Type) -> Iterator[ir.Function]:
    """Emit another function of the kernel's module, private to it."""
    outer = e.function, e.b
    e.function = ir.Function(e.module, ir.FunctionType(result, arguments), name)
    e.function.linkage = "internal"
    e.b = ir.IRBuilder(e.function.append_basic_block("entry"))
    yield e.function
    e.function, e.b = outer


class Records:
    """Records of elements of one type, in the order that is wanted."""

    def __init__(self, e: Emitter, dtype: DType, flip: Value) -> None:
        """`flip`, an i64, is -1 for descending order and else 0."""
        self.e, self.dtype = e, dtype
        self.raw = ir.IntType(8 * dtype.size)
        self.flip = flip if dtype.size == 8 else e.b.trunc(flip, self.raw)
        self.shift = 64 if dtype.size == 8 else 32
        """Where the key begins; the index is below."""
        self.type = ir.IntType(2 * self.shift)
        self.bytes = self.shift // 4
        self.few = 160 if self.shift == 32 else 24
        """Up to how many records comparing each with all is faster."""
        self.sort = self._define()

    def key(self, bits: Value) -> Value:
        """What stands for elements, given as integers of their size, in one lane or more: smaller
        comes first. NaN is above all numbers, and zeros are alike."""
        e, b, type_ = self.e, self.e.b, bits.type
        sign = e.const(type_, -1 << (self.raw.width - 1))
        if self.dtype.kind == "float":
            magnitude = b.and_(bits, b.not_(sign))
            ones = self.raw.width - 1 - _MANTISSA[self.dtype.name]
            infinity = e.const(type_, ((1 << ones) - 1) << _MANTISSA[self.dtype.name])
            zero = e.const(type_, 0)
            bits = b.select(b.icmp_unsigned("==", magnitude, zero), zero, bits)
            negative = b.icmp_signed("<", bits, zero)
            bits = b.select(negative, b.not_(bits), b.xor(bits, sign))
            nan = b.icmp_unsigned(">", magnitude, infinity)
            bits = b.select(nan, e.const(type_, -1), bits)
        elif self.dtype.signed:
            bits = b.xor(bits, sign)
        return b.xor(bits, e.splat(self.flip, lanes_of(type_)))

    def pack(self, key: Value, index: Value) -> Value:
        """The record of a key and an index (i64, as many lanes)."""
        b, type_ = self.e.b, like(key.type, self.type)
        index = b.zext(index, type_) if self.shift == 64 else index
        return b.or_(b.shl(b.zext(key, type_), self.e.const(type_, self.shift)), index)

    def key_of(self, record: Value) -> Value:
        """The key of a record."""
        b = self.e.b
        return b.trunc(b.lshr(record, self.e.const(self.type, self.shift)), self.raw)

    def index_of(self, record: Value) -> Value:
        """The index of a record, as i64."""
        if self.shift == 64:
            return self.e.b.trunc(record, I64)
        return self.e.b.and_(record, self.e.const(I64, 0xFFFF_FFFF))

    def at(self, first: Value, index: Value) -> Value:
        """Where a record lies."""
        return self.e.offset(first, self.e.b.mul(index, self.e.const(I64, self.bytes)))

    def load(self, first: Value, index: Value) -> Value:
        return self.e.b.load(self.at(first, index), typ=self.type, align=8)

    def store(self, record: Value, first: Value, index: Value) -> None:
        self.e.b.store(record, self.at(first, index), align=8)

    def fill(self, source: Value, count: Value, out: Value) -> None:
        """The records of `count` adjacent elements."""
        e, b = self.e, self.e.b
        lanes = 16 if self.shift == 32 else 1
        whole = b.and_(count, e.const(I64, -lanes))
        for first, end, width in ((e.const(I64, 0), whole, lanes), (whole, count, 1)):
            with e.loop(first, end, width) as at:
                place = e.offset(source, b.mul(at.index, e.const(I64, self.dtype.size)))
                key = self.key(e.load(place, vector(self.raw, width)))
                index = b.add(e.splat(at.index, width), e.iota(I64, width))
                e.store(self.pack(key, index), self.at(out, at.index))

    # algorithms

    def _define(self) -> ir.Function:
        """`sort(records, room for as many, count)`: where of the two the sorted records are."""
        e = self.e
        with function(e, "sort", POINTER, POINTER, POINTER, I64) as sort:
            records, spare, count = sort.args
            few = e.b.icmp_signed("<=", count, e.const(I64, self.few))
            with e.b.if_then(few):
                self._rank(records, spare, count)
                e.b.ret(spare)
            e.b.ret(self._radix(records, spare, count))
        return sort

    def _rank(self, records: Value, to: Value, count: Value) -> None:
        """Each record to the place whose number is that of the smaller ones."""
        e, b = self.e, self.e.b
        lanes = target()[0] // 8 if self.shift == 32 else 1
        with e.loop(0, count, 2 * lanes) as block:
            places = [b.add(block.index, e.const(I64, k * lanes)) for k in range(2)]
            own = [e.load(self.at(records, p), vector(self.type, lanes)) for p in places]
            none = e.const(vector(I64, lanes), 0)
            with e.loop(0, count, carry=[none, none]) as other:
                record = e.splat(self.load(records, other.index), lanes)
                smaller = [b.zext(b.icmp_unsigned("<", record, o), none.type) for o in own]
                other.next(*(b.add(v, s) for v, s in zip(other.values, smaller, strict=True)))
            left = b.sub(count, block.index)
            for k in range(2 * lanes):
                rank, record = other.values[k // lanes], own[k // lanes]
                if lanes > 1:
                    lane = e.const(I32, k % lanes)
                    rank, record = (b.extract_element(v, lane) for v in (rank, record))
                # those behind the last go where nobody looks
                there = b.icmp_signed("<", e.const(I64, k), left)
                rank = b.select(there, rank, count)
                self.store(record, to, rank)

    def _radix(self, records: Value, spare: Value, count: Value) -> Value:
        e, b = self.e, self.e.b
        digits = self.dtype.size
        counts = e.local(1024 * digits)

        def counter(digit: Value | int, value: Value) -> Value:
            row = e.const(I64, digit) if isinstance(digit, int) else digit
            offset = b.add(b.shl(row, e.const(I64, 10)), b.shl(value, e.const(I64, 2)))
            return e.offset(counts, offset)

        def digit_of(record: Value, shift: Value) -> Value:
            wide = b.lshr(record, b.zext(shift, self.type) if self.shift == 64 else shift)
            wide = b.trunc(wide, I64) if self.shift == 64 else wide
            return b.and_(wide, e.const(I64, 255))

        with e.loop(0, e.const(I64, 1024 * digits), 64) as at:
            zeros = e.const(vector(I32, 16), 0)
            b.store(zeros, e.offset(counts, at.index), align=64)
        with e.loop(0, count) as at:
            record = self.load(records, at.index)
            for digit in range(digits):
                place = counter(digit, digit_of(record, e.const(I64, self.shift + 8 * digit)))
                b.store(b.add(b.load(place, typ=I32, align=4), e.const(I32, 1)), place, align=4)
        with e.loop(0, e.const(I64, digits), carry=[records, spare]) as level:
            source, to = level.values
            shift = b.add(b.shl(level.index, e.const(I64, 3)), e.const(I64, self.shift))
            first = digit_of(self.load(source, e.const(I64, 0)), shift)
            alike = b.load(counter(level.index, first), typ=I32, align=4)
            differs = b.icmp_unsigned("!=", b.zext(alike, I64), count)
            with e.branch(differs, level.values) as there:
                with e.loop(0, e.const(I64, 256), carry=[e.const(I32, 0)]) as value:
                    place = counter(level.index, value.index)
                    had = b.load(place, typ=I32, align=4)
                    b.store(value.values[0], place, align=4)
                    value.next(b.add(value.values[0], had))
                with e.loop(0, count) as at:
                    record = self.load(source, at.index)
                    place = counter(level.index, digit_of(record, shift))
                    slot = b.load(place, typ=I32, align=4)
                    b.store(b.add(slot, e.const(I32, 1)), place, align=4)
                    self.store(record, to, b.zext(slot, I64))
                there.next(to, source)
            level.next(*there.values)
        return level.values[0]
