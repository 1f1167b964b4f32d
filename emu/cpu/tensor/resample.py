"""Resizing by weighted taps, along rows and across them, in one pass over the planes of an image.

`rows`: the row of a plane is stretched along itself (`along`), and rows are combined (`across`). A
row of the source is widened to the type of arithmetic, with its ends repeated around it, so that
the taps of every element are adjacent there; they are loaded in pairs, as one element of twice the
size. Where there are more rows in the result, stretched rows stay in a ring of as many as
there are taps across, so each is computed once; where there are fewer, rows are combined before
they are stretched. What a part computes does not depend on where its share begins.

`columns`: only rows are combined, each of any number of adjacent elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import F32, I1, I32, I64, Block, Emitter, Value, target, vector
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, Word, kernel
from emu.cpu.tensor.rows import shares
from emu.cpu.tensor.taps import Taps
from emu.cpu.tensor.vectors import compute, convert, narrow, storage, widen

_ROWS = Block(
    "p0 p1 rows source height width n wide_base wide_weights wide_stride wide_taps unit"
    " base weights stride taps line room private"
)
"""Rows of the result in all, and of one plane (`height`), and their elements (`n`); rows of a plane
of the source and their elements (`width`); the taps along rows, `unit` elements apart, and across;
a part's memory: `line` bytes for a row of the source, then the ring."""
_COLUMNS = Block("p0 p1 rows source height n base weights stride taps")
_UNROLLED = 4
"""Taps up to which each has code of its own."""


@dataclass(frozen=True)
class Types:
    """Of the source's elements, the arithmetic, and the result's elements."""

    source: DType
    held: DType
    result: DType

    def __str__(self) -> str:
        return f"{self.source.name} {self.held.name} {self.result.name}"

    @property
    def lanes(self) -> int:
        """Elements of a vector of the type of arithmetic."""
        return target()[0] // self.held.size


def run_rows(
    to: Word, source: Word, planes: int, extents: tuple[int, int, int, int], types: Types,
    along: Taps, across: Taps, unit: int,
) -> None:  # fmt: skip
    """Planes of (rows, elements) `extents[:2]` become planes of `extents[2:]`. Taps along a row are
    `unit` elements apart, and their bases padded."""
    height, width, rows, n = extents
    lanes = types.lanes
    # behind the taps of the last element, whole vectors of pairs are read
    line = -(-(width + 2 * along.count * unit + 2 * lanes) * types.held.size // 64) * 64
    ring = -(-n // lanes) * lanes * types.held.size
    private = line + across.count * (ring + 64)
    pairs = types.held.size == 4 and unit == 1
    many = across.count if across.count <= _UNROLLED else "many"
    ringed = rows >= height
    wide = along.count if along.count <= _UNROLLED else "many"
    name = f"resize {'rows' if ringed else 'fewer rows'} {types} {wide} {many}"
    name += " pairs" if pairs else ""

    def write(e: Emitter) -> None:
        _Rows(e, types, along.count, across.count, pairs).write(ringed)

    kernel(name, _ROWS, write, parallel=True)(
        p0=to, p1=source, rows=planes * rows, source=height, height=rows, width=width, n=n,
        wide_base=along.base, wide_weights=along.weights, wide_stride=along.stride, unit=unit,
        base=across.base, weights=across.weights, stride=across.stride, taps=across.count,
        wide_taps=along.count, line=line, room=SCRATCH.take(THREADS_MAX * private),
        private=private,
    )  # fmt: skip


def run_columns(
    to: Word, source: Word, planes: int, extents: tuple[int, int, int], types: Types, across: Taps
) -> None:
    """Planes of (rows, elements) become planes of as many rows as `extents[1]` says."""
    height, rows, n = extents
    many = across.count if across.count <= _UNROLLED else "many"
    count = across.count
    kernel(f"resize columns {types} {many}", _COLUMNS, lambda e: _write_columns(e, types, count),
           parallel=True)(
        p0=to, p1=source, rows=planes * rows, source=height, height=rows, n=n,
        base=across.base, weights=across.weights, stride=across.stride, taps=across.count,
    )  # fmt: skip


def _clamped(e: Emitter, row: Value, count: Value) -> Value:
    """A row's number, or that of the nearest there is."""
    row = e.intrinsic("llvm.smax", I64, row, e.const(I64, 0))
    return e.intrinsic("llvm.smin", I64, row, e.b.sub(count, e.const(I64, 1)))


def _first(e: Emitter, index: Value) -> Value:
    """The first tap across, of row `index`."""
    place = e.offset(e.pointer("base"), e.b.shl(index, e.const(I64, 2)))
    return e.b.sext(e.b.load(place, typ=I32, align=4), I64)


def _combine(
    e: Emitter, types: Types, taps: int, y: Value, out: Value, columns: tuple[Value, Value],
    row_of: Callable[[Value], Value],
) -> None:  # fmt: skip
    """Some columns of the result's row y: the rows that `row_of(tap)` gives, by their weights."""
    b, lanes, held, read = e.b, types.lanes, types.held, types.source
    type_ = compute(held)

    def weight(k: Value) -> Value:
        row = e.offset(e.pointer("weights"), b.mul(k, e.word("stride")))
        place = e.offset(row, b.mul(y, e.const(I64, held.size)))
        return e.splat(e.load(place, type_), lanes)

    constants = [e.const(I64, k) for k in range(taps)] if taps <= _UNROLLED else []
    known = [(row_of(k), weight(k)) for k in constants]

    def term(row: Value, factor: Value, at: Value, mask: Value | None, total: Value) -> Value:
        place = e.offset(row, b.mul(at, e.const(I64, read.size)))
        value = widen(e, e.load(place, vector(storage(read), lanes), mask), read)
        return e.fma(convert(e, value, read.compute, held), factor, total)

    def vector_at(at: Value, mask: Value | None) -> None:
        total = e.const(vector(type_, lanes), 0)
        if known:
            for row, factor in known:
                total = term(row, factor, at, mask, total)
        else:
            with e.loop(0, e.word("taps"), carry=[total]) as k:
                k.next(term(row_of(k.index), weight(k.index), at, mask, k.values[0]))
            total = k.values[0]
        place = e.offset(out, b.mul(at, e.const(I64, types.result.size)))
        e.store(_rounded(e, total, types), place, mask)

    begin, end = columns
    whole = b.add(begin, b.and_(b.sub(end, begin), e.const(I64, -lanes)))
    with e.loop(begin, whole, lanes) as at:
        vector_at(at.index, None)
    rest = b.sub(end, whole)
    with b.if_then(b.icmp_signed(">", rest, e.const(I64, 0))):
        vector_at(whole, e.mask_below(rest, lanes))


def _rounded(e: Emitter, value: Value, types: Types) -> Value:
    """In the form of the result; to the nearest integer, where that is one."""
    if types.result.kind == "int":
        value = e.intrinsic("llvm.rint", value.type, value)
    return narrow(e, convert(e, value, types.held, types.result), types.result)


def _write_columns(e: Emitter, types: Types, taps: int) -> None:
    b, share = e.b, shares(e, 64)
    height, n, source = e.word("height"), e.word("n"), e.word("source")
    with e.loop(share.first, share.stop) as row:
        plane = b.sdiv(row.index, height)
        y = b.sub(row.index, b.mul(plane, height))
        first, above = _first(e, y), b.mul(plane, source)

        def row_of(k: Value, first: Value = first, above: Value = above) -> Value:
            number = b.add(above, _clamped(e, b.add(first, k), source))
            return e.offset(
                e.pointer("p1"), b.mul(b.mul(number, n), e.const(I64, types.source.size))
            )

        out = e.offset(e.pointer("p0"), b.mul(b.mul(row.index, n), e.const(I64, types.result.size)))
        _combine(e, types, taps, y, out, (share.begin, share.end), row_of)


class _Rows:
    """Writes the kernel of `run_rows`."""

    def __init__(self, e: Emitter, types: Types, along: int, across: int, pairs: bool) -> None:
        self.e, self.b, self.types = e, e.b, types
        self.along, self.across, self.pairs = along, across, pairs
        self.size = e.const(I64, types.held.size)
        self.type = compute(types.held)
        self.n, self.width, self.unit = (e.word(w) for w in ("n", "width", "unit"))
        self.line = e.offset(e.pointer("room"), e.b.mul(e.part, e.word("private")))
        self.ring = e.offset(self.line, e.word("line"))
        self.bases, self.weights = e.pointer("wide_base"), e.pointer("wide_weights")
        self.stride = e.word("wide_stride")
        whole = e.b.add(self.n, e.const(I64, types.lanes - 1))
        whole = e.b.and_(whole, e.const(I64, -types.lanes))
        self.step = e.b.mul(whole, self.size)
        self.tags = e.offset(self.ring, e.b.mul(self.step, e.word("taps")))

    def write(self, ringed: bool) -> None:
        """Row after row of this part's share."""
        e, b = self.e, self.b
        share, height = shares(e, 64), e.word("height")
        with e.loop(share.first, share.stop) as row:
            plane = b.sdiv(row.index, height)
            y = b.sub(row.index, b.mul(plane, height))
            place = b.mul(b.mul(row.index, self.n), e.const(I64, self.types.result.size))
            out, columns = e.offset(e.pointer("p0"), place), (share.begin, share.end)
            if ringed:
                fresh = b.icmp_signed("==", y, e.const(I64, 0))
                fresh = b.or_(fresh, b.icmp_signed("==", row.index, share.first))
                self._stretch_first(plane, y, fresh, out, columns)
            else:
                self._combine_first(plane, y, out, columns)

    def _stretch_first(
        self, plane: Value, y: Value, fresh: Value, out: Value, columns: tuple[Value, Value]
    ) -> None:
        """Rows are stretched, those in the ring excepted, then combined; the ring holds none where
        a plane begins."""
        e, b = self.e, self.b
        with b.if_then(fresh), e.loop(0, e.word("taps")) as k:
            b.store(e.const(I64, -(1 << 62)), self._tag(k.index), align=8)
        first = _first(e, y)
        with e.loop(0, e.word("taps")) as k:
            self._need(plane, b.add(first, k.index))
        held = Types(self.types.held, self.types.held, self.types.result)
        _combine(e, held, self.across, y, out, columns, lambda k: self._slot(b.add(first, k))[1])

    def _combine_first(
        self, plane: Value, y: Value, out: Value, columns: tuple[Value, Value]
    ) -> None:
        """Rows are combined, and the outcome is stretched."""
        e, b = self.e, self.b
        first, edge = _first(e, y), b.mul(e.word("wide_taps"), self.unit)
        held = Types(self.types.source, self.types.held, self.types.held)
        whole = (e.const(I64, 0), self.width)
        _combine(
            e, held, self.across, y, self._in_line(edge), whole,
            lambda k: self._row(plane, b.add(first, k)),
        )  # fmt: skip
        self._repeat_ends()

        def put(index: Value, value: Value) -> None:
            place = e.offset(out, b.mul(index, e.const(I64, self.types.result.size)))
            mask = e.mask_below(b.sub(columns[1], index), self.types.lanes)
            e.store(_rounded(e, value, self.types), place, mask)

        self._stretch(*columns, put)

    def _row(self, plane: Value, row: Value) -> Value:
        """Where a row of the source lies, or that at the nearer end."""
        e, b, source = self.e, self.b, self.e.word("source")
        number = b.add(b.mul(plane, source), _clamped(e, row, source))
        start = b.mul(b.mul(number, self.width), e.const(I64, self.types.source.size))
        return e.offset(e.pointer("p1"), start)

    def _tag(self, slot: Value) -> Value:
        return self.e.offset(self.tags, self.b.shl(slot, self.e.const(I64, 3)))

    def _slot(self, row: Value) -> tuple[Value, Value]:
        """The number and place, in the ring, of a row of the source (which may be beyond an end,
        by no more than there are taps)."""
        e, b, taps = self.e, self.b, self.e.word("taps")
        slot = b.urem(b.add(row, taps), taps)
        return slot, e.offset(self.ring, b.mul(slot, self.step))

    def _need(self, plane: Value, row: Value) -> None:
        """Stretch a row of the source into the ring, unless it is there."""
        e, b = self.e, self.b
        slot, out = self._slot(row)
        tag = self._tag(slot)
        with b.if_then(b.icmp_signed("!=", b.load(tag, typ=I64, align=8), row)):
            b.store(row, tag, align=8)
            self._widen(self._row(plane, row))

            def put(index: Value, value: Value) -> None:
                e.store(value, e.offset(out, b.mul(index, self.size)))

            self._stretch(e.const(I64, 0), b.sdiv(self.step, self.size), put)

    def _widen(self, source: Value) -> None:
        """A row of the source in the type of arithmetic, its ends repeated around it."""
        e, b, types = self.e, self.b, self.types
        taps, read = e.word("wide_taps"), types.source
        edge = b.mul(taps, self.unit)

        def move(at: Value, mask: Value | None) -> None:
            place = e.offset(source, b.mul(at, e.const(I64, read.size)))
            value = widen(e, e.load(place, vector(storage(read), types.lanes), mask), read)
            value = convert(e, value, read.compute, types.held)
            e.store(value, self._in_line(b.add(edge, at)), mask)

        whole = b.and_(self.width, e.const(I64, -types.lanes))
        with e.loop(0, whole, types.lanes) as at:
            move(at.index, None)
        rest = b.sub(self.width, whole)
        with b.if_then(b.icmp_signed(">", rest, e.const(I64, 0))):
            move(whole, e.mask_below(rest, types.lanes))
        self._repeat_ends()

    def _repeat_ends(self) -> None:
        e, b = self.e, self.b
        edge = b.mul(e.word("wide_taps"), self.unit)
        end = b.add(edge, self.width)
        with e.loop(0, edge) as at:
            within = b.urem(at.index, self.unit)
            first, last = b.add(edge, within), b.add(b.sub(end, self.unit), within)
            for value, place in ((first, at.index), (last, b.add(end, at.index))):
                e.store(e.load(self._in_line(value), self.type), self._in_line(place))

    def _in_line(self, index: Value) -> Value:
        return self.e.offset(self.line, self.b.mul(index, self.size))

    def _stretch(self, begin: Value, end: Value, put: Callable[[Value, Value], None]) -> None:
        """The row in the line, stretched: `put(index, vector)` for elements begin..end."""
        e, b, lanes = self.e, self.b, self.types.lanes
        group = 2 if self.pairs else 1
        with e.loop(begin, end, lanes) as at:
            bases = e.offset(self.bases, b.shl(at.index, e.const(I64, 2)))
            weights = e.offset(self.weights, b.mul(at.index, self.size))
            total = e.const(vector(self.type, lanes), 0)
            if self.along <= _UNROLLED:
                for k in range(0, self.along, group):
                    total = self._group(bases, weights, e.const(I64, k), total)
            else:
                with e.loop(0, e.word("wide_taps"), group, [total]) as tap:
                    tap.next(self._group(bases, weights, tap.index, tap.values[0]))
                total = tap.values[0]
            put(at.index, total)

    def _group(self, bases: Value, weights: Value, k: Value, total: Value) -> Value:
        """With tap k of a vector of results added, and the one behind it where taps go in pairs."""
        e, b = self.e, self.b
        values = self._pair(bases, k) if self.pairs else [self._single(bases, k)]
        for i, value in enumerate(values[: self.along]):
            row = b.mul(b.add(k, e.const(I64, i)), self.stride)
            weight = e.load(e.offset(weights, row), vector(self.type, self.types.lanes))
            total = e.fma(value, weight, total)
        return total

    def _single(self, bases: Value, k: Value) -> Value:
        """Tap k of a vector of results."""
        e, b, lanes = self.e, self.b, self.types.lanes
        first = b.sext(e.load(bases, vector(I32, lanes)), vector(I64, lanes))
        element = b.add(first, e.splat(b.mul(k, self.unit), lanes))
        offsets = b.mul(element, e.const(element.type, self.types.held.size))
        return e.gather(self.line, offsets, self.type, e.const(vector(I1, lanes), 1))

    def _pair(self, bases: Value, k: Value) -> list[Value]:
        """Tap k of a vector of results and the tap behind it, as two vectors: elements that are
        adjacent, loaded as one of twice the size."""
        e, b, lanes = self.e, self.b, self.types.lanes
        half, line = lanes // 2, e.offset(self.line, b.shl(k, e.const(I64, 2)))
        both = []
        for first in (0, half):
            pairs = ir.Constant(vector(I64, half), ir.Undefined)
            for lane in range(half):
                entry = b.load(e.offset(bases, 4 * (first + lane)), typ=I32, align=4)
                place = e.offset(line, b.shl(b.sext(entry, I64), e.const(I64, 2)))
                pairs = b.insert_element(pairs, e.load(place, I64), e.const(I32, lane))
            both.append(b.bitcast(pairs, vector(F32, lanes)))
        result = []
        for odd in (0, 1):
            picks = ir.Constant(
                vector(I32, lanes), [ir.Constant(I32, 2 * k + odd) for k in range(lanes)]
            )
            result.append(b.shuffle_vector(*both, picks))
        return result
