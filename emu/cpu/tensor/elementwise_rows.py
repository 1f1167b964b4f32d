"""The pass over rows: the destination's inner dimension is adjacent, or all goes by elements.

A *row* is the innermost extent. Every operand's row has a class: `v`, adjacent elements, loaded as
vectors; `s`, one element for the whole row; or, for all operands together, `g`: any strides, one
element after the other. Rows are counted through all outer dimensions, so the work is divided by
rows, or by columns when there are few rows. What remains of a row is done under a mask.

A destination that is too large for the caches (`streamed`) is written past them: a store then does
not read the line first. Such stores want aligned vectors, so a row begins with a few elements under
a mask; where the destination's elements are not aligned at all, with ordinary stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from emu.cpu.tensor.emit import I64, Block, Emitter, Value
from emu.cpu.tensor.formula import Formula
from emu.cpu.tensor.vectors import storage

SOURCES_MAX = 3
_WORDS = [f"{w}{k}{size}" for k in range(SOURCES_MAX + 1) for w, size in
          (("p", ""), ("i", ""), ("s", ":8"))]  # fmt: skip
BLOCK = Block(f"n rows rank dims:8 by_rows alpha beta {' '.join(_WORDS)}")
"""The row's length; how many rows there are; the outer dimensions, fastest first; whether the work
is divided by rows; for each operand its place, the step along a row and those from row to row."""
NEAR, FAR, STREAMED = "near", "far", "streamed"
"""Where the operands are: within the inner caches; beyond; a destination too large for any."""
_UNROLLED = 4
_SHARE = 64
"""Parts of a row are multiples of so many elements: no two parts write to one cache line."""


def write_rows(e: Emitter, formula: Formula, layout: str, *, reach: str = NEAR) -> None:
    """Emit the kernel for the row classes `layout`, a letter for each source, or 'g'."""
    e.function.attributes.add("optsize")  # the loops are as they should be: LLVM is not to unroll
    lanes = 1 if layout == "g" else formula.lanes
    operands = range(len(formula.sources) + 1)
    rows = _Rows(e, formula, layout, lanes)
    begin, end, first, last = bounds(e)
    with walk(e, begin, end, len(operands)) as (row, _):
        at = [e.offset(p, e.b.mul(first, rows.steps[k])) for k, p in enumerate(row)]
        rows.emit(at, e.b.sub(last, first), reach == STREAMED)


def bounds(e: Emitter) -> tuple[Value, Value, Value, Value]:
    """This part's rows, and its columns of them: either all rows or all columns."""
    whole, rows, zero = e.word("n"), e.word("rows"), e.const(I64, 0)
    by_rows = e.b.icmp_signed("!=", e.word("by_rows"), zero)
    first, last = share(e, whole, _SHARE)
    begin, end = share(e, rows, 1)
    return (
        e.b.select(by_rows, begin, zero), e.b.select(by_rows, end, rows),
        e.b.select(by_rows, zero, first), e.b.select(by_rows, whole, last),
    )  # fmt: skip


def share(e: Emitter, count: Value, unit: int) -> tuple[Value, Value]:
    """This part's range of `count` things, a multiple of `unit`."""
    size = e.b.mul(e.parts, e.const(I64, unit))
    each = e.b.udiv(e.b.add(count, e.b.sub(size, e.const(I64, 1))), size)
    each = e.b.mul(each, e.const(I64, unit))
    first = e.intrinsic("llvm.smin", I64, e.b.mul(e.part, each), count)
    return first, e.intrinsic("llvm.smin", I64, e.b.add(first, each), count)


@contextmanager
def walk(
    e: Emitter, begin: Value, end: Value, operands: int, unit: int = 1
) -> Iterator[tuple[list[Value], Value]]:
    """Visit the rows `begin` to `end`, or of every `unit` rows along the fastest outer dimension
    the first: gives its pointers, and how many rows there are from it on.

    A loop along that dimension; around it one that finds, for a row's number, its place in the
    other dimensions.
    """
    b = e.b
    extent = e.word("dims")
    runs = b.udiv(b.add(extent, e.const(I64, unit - 1)), e.const(I64, unit))
    before = b.block
    head, body, after = (e.function.append_basic_block(n) for n in ("run", "rows", "end"))
    pointers = [e.pointer(f"p{k}") for k in range(operands)]
    steps = [e.b.mul(e.word(f"s{k}"), e.const(I64, unit)) for k in range(operands)]
    b.branch(head)
    b.position_at_end(head)
    number = b.phi(I64)
    number.add_incoming(begin, before)
    b.cbranch(b.icmp_signed("<", number, end), body, after)
    b.position_at_end(body)
    inner = b.urem(number, runs)
    with e.loop(1, e.word("rank"), carry=[b.udiv(number, runs), *pointers]) as dimension:
        rest, *there = dimension.values
        size = e.word("dims", dimension.index)
        index = b.urem(rest, size)
        moved = [b.mul(index, e.word(f"s{k}", dimension.index)) for k in range(operands)]
        there = [e.offset(p, m) for p, m in zip(there, moved, strict=True)]
        dimension.next(b.udiv(rest, size), *there)
    there = dimension.values[1:]
    start = [e.offset(p, b.mul(inner, s)) for p, s in zip(there, steps, strict=True)]
    many = e.intrinsic("llvm.smin", I64, b.sub(runs, inner), b.sub(end, number))
    with e.loop(0, many, carry=start) as loop:
        done = b.mul(b.add(inner, loop.index), e.const(I64, unit))
        yield list(loop.values), b.sub(extent, done)
        loop.next(*(e.offset(p, s) for p, s in zip(loop.values, steps, strict=True)))
    number.add_incoming(b.add(number, many), b.block)
    b.branch(head)
    b.position_at_end(after)


class _Rows:
    """Emits the work on one row."""

    def __init__(self, e: Emitter, formula: Formula, layout: str, lanes: int) -> None:
        self.e, self.formula, self.layout, self.lanes = e, formula, layout, lanes
        self.params = formula.params(e, lanes)
        self.size = formula.result.size
        sizes = [self.size, *(d.size for d in formula.sources)]
        if layout == "g":
            self.steps = [e.word(f"i{k}") for k in range(len(sizes))]
        else:
            kinds = "v" + layout
            self.steps = [
                e.const(I64, size if kind == "v" else 0)
                for size, kind in zip(sizes, kinds, strict=True)
            ]

    def emit(self, row: Sequence[Value], n: Value, streamed: bool) -> None:
        """`n` elements from the pointers on."""
        e = self.e
        single = [
            e.splat(e.load(row[k + 1], storage(d)), self.lanes) if kind == "s" else None
            for k, (kind, d) in enumerate(zip(self.layout, self.formula.sources, strict=False))
        ]
        zero = e.const(I64, 0)
        unrolled = _UNROLLED if self.formula.cheap else 1
        if self.layout == "g":
            with e.loop(0, n) as at:
                self._vector(row, single, at.index, None)
            return
        start = zero
        if streamed:
            start = self._streamed(row, single, n)
        block = self.lanes * unrolled
        count = e.b.sub(e.b.sub(n, start), zero)
        many = e.b.add(start, e.b.and_(count, e.const(I64, -block)))
        many = e.intrinsic("llvm.smax", I64, many, start)
        with e.loop(start, many, block) as at:
            for i in range(unrolled):
                index = e.b.add(at.index, e.const(I64, i * self.lanes))
                self._vector(row, single, index, None)
        with e.loop(many, n, self.lanes) as at:
            mask = e.mask_below(e.b.sub(n, at.index), self.lanes)
            self._vector(row, single, at.index, mask)

    def _vector(
        self,
        row: Sequence[Value],
        single: Sequence[Value | None],
        index: Value,
        mask: Value | None,
        *,
        past_caches: bool = False,
    ) -> None:
        """One vector of the row, at an index."""
        e, formula = self.e, self.formula
        at = [e.offset(p, e.b.mul(index, s)) for p, s in zip(row, self.steps, strict=True)]
        held: list[Value] = []
        for k in range(len(formula.sources)):
            one = single[k] if self.layout != "g" else None
            held.append(
                one if one is not None else e.load(at[k + 1], formula.loaded(k, self.lanes), mask)
            )
        value = formula.value(e, held, self.params)
        if past_caches:
            e.stream(value, at[0])
        else:
            e.store(value, at[0], mask)

    def _streamed(self, row: Sequence[Value], single: Sequence[Value | None], n: Value) -> Value:
        """The beginning of a long row by stores past the caches; where the rest starts."""
        e, b = self.e, self.e.b
        width = self.lanes * self.size
        address = b.ptrtoint(row[0], I64)
        short = b.and_(b.neg(address), e.const(I64, width - 1))
        head = b.udiv(short, e.const(I64, self.size))
        aligned = b.icmp_signed("==", b.mul(head, e.const(I64, self.size)), short)
        aligned = b.and_(aligned, b.icmp_signed(">=", n, e.const(I64, 64 * self.lanes)))
        with e.branch(aligned, [e.const(I64, 0)]) as taken:
            self._vector(row, single, e.const(I64, 0), e.mask_below(head, self.lanes))
            block = self.lanes * 2
            end = b.add(head, b.and_(b.sub(n, head), e.const(I64, -block)))
            with e.loop(head, end, block) as at:
                for i in range(2):
                    index = b.add(at.index, e.const(I64, i * self.lanes))
                    self._vector(row, single, index, None, past_caches=True)
            e.drain()
            taken.next(end)
        return taken.values[0]
