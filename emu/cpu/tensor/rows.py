"""Rows: a result as rows of elements, each part of a kernel taking its share of them.

Instructions that move elements have one shape: the dimensions of the result are merged where every
operand allows it, the fastest is the *row*, and a kernel visits the rows in order, with a pointer
into each operand. `layout` gives the parameters, `shares` what a part is to do, `rows` visits.

    _BLOCK = Block(WORDS(2) + " extent")
    run(**layout([destination, source]), extent=5)          # the schedule
    share = shares(e)                                       # the kernel
    with rows(e, 2, share) as (to, back), e.loop(share.begin, share.end) as at: ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llvmlite import ir

from emu.cpu.tensor.axes import share, visit
from emu.cpu.tensor.descriptor import F64 as DOUBLE
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.elementwise import RAW, schedule
from emu.cpu.tensor.emit import F64, I64, Emitter, Type, Value, lanes_of, target, vector
from emu.cpu.tensor.kernels import Word
from emu.cpu.tensor.vectors import convert, narrow, storage


def words(operands: int) -> str:
    """The names of a kernel's parameters: a place, strides in bytes and the row's step of each
    operand; the rows' dimensions, fastest first; their number; and n, the elements of a row."""
    each = " ".join(f"p{k} s{k}:8 i{k}" for k in range(operands))
    return f"{each} rank dims:8 rows n"


def layout(views: Sequence[View], *, ordered: bool = False) -> dict[str, Word]:
    """The values of `words` for views of the same dims, the first being the result.

    Rows are visited in the order that suits the result's memory; `ordered` keeps row-major order.
    """
    dims, strides = in_order(views) if ordered else schedule(views)
    count = 1
    for extent in dims[1:]:
        count *= extent
    result: dict[str, Word] = {
        "rank": len(dims) - 1, "dims": dims[1:], "rows": count, "n": dims[0]
    }  # fmt: skip
    for k, (view, steps) in enumerate(zip(views, strides, strict=True)):
        result.update({f"p{k}": view.address, f"s{k}": steps[1:], f"i{k}": steps[0]})
    return result


def in_order(views: Sequence[View]) -> tuple[list[int], list[list[int]]]:
    """As `schedule`, but only merging: the last dimension stays the fastest."""
    dims: list[int] = []
    strides: list[list[int]] = [[] for _ in views]
    for d in reversed([d for d, extent in enumerate(views[0].dims) if extent != 1]):
        steps = [view.strides[d] for view in views]
        if dims and all(s == own[-1] * dims[-1] for s, own in zip(steps, strides, strict=True)):
            dims[-1] *= views[0].dims[d]
            continue
        dims.append(views[0].dims[d])
        for step, own in zip(steps, strides, strict=True):
            own.append(step)
    if not dims:
        return [1], [[view.dtype.size] for view in views]
    return dims, strides


@dataclass(frozen=True)
class Share:
    """What one part does: rows first..stop, in each of them elements begin..end."""

    first: Value
    stop: Value
    begin: Value
    end: Value


def whole(e: Emitter) -> Share:
    """Everything, for kernels that are not divided."""
    zero = e.const(I64, 0)
    return Share(zero, e.word("rows"), zero, e.word("n"))


def shares(e: Emitter, lanes: int = 16) -> Share:
    """This part's rows; where there are fewer rows than parts, its elements of every row, in
    multiples of `lanes` so that parts seldom write to one cache line."""
    b, count, n, zero = e.b, e.word("rows"), e.word("n"), e.const(I64, 0)
    few = b.icmp_signed("<", count, e.parts)
    first, stop = share(e, count)
    begin, end = share(e, b.sdiv(b.add(n, e.const(I64, lanes - 1)), e.const(I64, lanes)))
    begin, end = (b.mul(place, e.const(I64, lanes)) for place in (begin, end))
    end = e.intrinsic("llvm.smin", I64, end, n)
    return Share(
        b.select(few, zero, first), b.select(few, count, stop),
        b.select(few, begin, zero), b.select(few, end, n),
    )  # fmt: skip


@contextmanager
def rows(e: Emitter, operands: int, part: Share) -> Iterator[list[Value]]:
    """Visit the rows of a share in order; the body sees where each operand's row begins."""
    with rows_with_index(e, operands, part) as (_, row):
        yield row


@contextmanager
def rows_with_index(e: Emitter, operands: int, part: Share) -> Iterator[tuple[Value, list[Value]]]:
    """As `rows`, and the body sees the number of the row."""
    strides = [f"s{k}" for k in range(operands)]
    pointers = [e.pointer(f"p{k}") for k in range(operands)]
    with visit(e, part.first, part.stop, strides, pointers) as (number, row):
        yield number, row


def elements_at(
    e: Emitter, row: Sequence[Value], index: Value, steps: Sequence[Value]
) -> list[Value]:
    """Where element `index` lies in each operand's row."""
    return [e.offset(p, e.b.mul(index, s)) for p, s in zip(row, steps, strict=True)]


class RowCopy:
    """Copies elements begin..end of rows that are adjacent in both operands, by vectors. Where the
    range is the same in all rows, so is the mask of the last vector: made before the loop."""

    def __init__(self, e: Emitter, begin: Value, end: Value, element: Type) -> None:
        self.e, self.begin = e, begin
        self.size = int(element.width) // 8
        self.lanes = target()[0] // self.size
        self.type = vector(element, self.lanes)
        whole = e.b.and_(e.b.sub(end, begin), e.const(I64, -self.lanes))
        self.full = e.b.add(begin, whole)
        rest = e.b.sub(end, self.full)
        self.some, self.mask = (
            e.b.icmp_signed(">", rest, e.const(I64, 0)), e.mask_below(rest, self.lanes)
        )  # fmt: skip

    def __call__(self, to: Value, back: Value) -> None:
        """The row at `back` to the row at `to`."""
        with self.e.loop(self.begin, self.full, self.lanes) as loop:
            self._move(to, back, loop.index, None)
        with self.e.b.if_then(self.some):
            self._move(to, back, self.full, self.mask)

    def _move(self, to: Value, back: Value, at: Value, mask: Value | None) -> None:
        e, offset = self.e, self.e.b.mul(at, self.e.const(I64, self.size))
        e.store(e.load(e.offset(back, offset), self.type, mask), e.offset(to, offset), mask)


def fill_row(e: Emitter, to: Value, value: Value, begin: Value, end: Value) -> None:
    """Elements begin..end of a row of adjacent elements get a value, by vectors."""
    size, b = int(value.type.width) // 8, e.b
    lanes = target()[0] // size
    filler = e.splat(value, lanes)
    full = b.add(begin, b.and_(b.sub(end, begin), e.const(I64, -lanes)))
    with e.loop(begin, full, lanes) as at:
        e.store(filler, e.offset(to, b.mul(at.index, e.const(I64, size))))
    rest = b.sub(end, full)
    with b.if_then(b.icmp_signed(">", rest, e.const(I64, 0))):
        place = e.offset(to, b.mul(full, e.const(I64, size)))
        e.store(filler, place, e.mask_below(rest, lanes))


def constant(e: Emitter, word: str, dtype: DType) -> Value:
    """A number among the parameters as the bits of an element, converted as `tcopy` does."""
    value = convert(e, e.number(word, F64), DOUBLE, dtype.compute)
    return e.b.bitcast(narrow(e, value, dtype), storage(RAW[dtype.size]))


def set_bits(e: Emitter, mask: Value) -> Value:
    """The lanes of a mask as the bits of an i64."""
    lanes = lanes_of(mask.type)
    if lanes == 1:
        return e.b.zext(mask, I64)
    bits = e.b.bitcast(mask, ir.IntType(lanes))
    return bits if lanes == 64 else e.b.zext(bits, I64)
