"""Instructions along axes: which indices are kept, which are folded, and in what order to visit.

`split` sorts a source's dimensions into the *kept* ones, which the destination has too, and the
*folded* ones, orders and merges both, and names the layout that results:

row       the fastest folded dimension is adjacent in memory: vectors lie along it
column    the fastest kept dimension is adjacent in both tensors: vectors lie across results
element   neither: one element at a time

`visit` walks over a part's share of the kept indices and `sweep` along the elements of one line.
Vectors have `VECTOR` bytes on every host (LLVM splits them where registers are shorter), so a fold
combines in one order everywhere and its result does not depend on the machine it is computed on,
nor on the number of parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from llvmlite import ir

from emu.cpu.tensor.descriptor import Address, View
from emu.cpu.tensor.elementwise import schedule
from emu.cpu.tensor.emit import I32, I64, POINTER, Emitter, Value, lanes_of, vector
from emu.cpu.tensor.kernels import Word

VECTOR = 64
GROUP = 16
"""The most lines in a group (`in_stages`)."""
_GROUP_BYTES = 1 << 13
"""Bytes of lines in a group."""
UNROLL = 4
"""Vectors, each with accumulators of its own, in an iteration of `sweep`."""
WORDS = "p0 p1 lines rank dims:8 s0:8 s1:8 m n step folds extents:8 steps:8"
"""Parameters of every kernel of this kind: see `Lines`."""


@dataclass(frozen=True)
class Lines:
    """How to visit a source line by line. Lists begin with the fastest dimension."""

    layout: str
    to: Address
    source: Address
    dims: list[int]
    """Extents of the kept dimensions, with the strides of destination and source. In the layout
    `column` without the fastest, the columns."""
    to_steps: list[int]
    source_steps: list[int]
    columns: int
    n: int
    """Elements along the fastest folded dimension, and how far apart they are."""
    step: int
    extents: list[int]
    """Of the other folded dimensions."""
    steps: list[int]

    @property
    def count(self) -> int:
        """How many indices the walk over the kept dimensions visits."""
        return math.prod(self.dims)

    def words(self) -> dict[str, Word]:
        """The values of `WORDS`."""
        return {
            "p0": self.to, "p1": self.source, "lines": self.count, "rank": len(self.dims),
            "dims": self.dims, "s0": self.to_steps, "s1": self.source_steps, "m": self.columns,
            "n": self.n, "step": self.step, "folds": len(self.extents), "extents": self.extents,
            "steps": self.steps,
        }  # fmt: skip

    def cut(self, pieces: int, to_step: int, source_step: int) -> Lines:
        """With a dimension of `pieces` before the others, unless it is just one."""
        if pieces == 1:
            return self
        return replace(
            self,
            dims=[pieces, *self.dims],
            to_steps=[to_step, *self.to_steps],
            source_steps=[source_step, *self.source_steps],
        )


def split(destination: View, source: View, axes: Sequence[int]) -> Lines:
    """How to fold `axes` of `source`.

    `destination` has the source's rank; its extents along `axes` do not matter.
    """
    kept = tuple(d for d in range(source.rank) if d not in axes)
    dims, (to, back) = schedule([destination.permuted(kept), source.permuted(kept)])
    extents, (steps,) = schedule([source.permuted(tuple(axes))])
    if source.count == 0:
        extents, steps = [0], [0]
    layout, first = "element", 0
    if steps[0] == source.dtype.size and extents[0] > 1:
        layout = "row"
    elif (to[0], back[0]) == (destination.dtype.size, source.dtype.size) and dims[0] > 1:
        layout, first = "column", 1
    return Lines(
        layout, destination.address, source.address, dims[first:], to[first:], back[first:],
        dims[0] if first else 1, extents[0], steps[0], extents[1:], steps[1:],
    )  # fmt: skip


def dense_rows(view: View, n: int) -> Lines:
    """A dense view, in place, as rows of `n` elements."""
    row = n * view.dtype.size
    return Lines(
        "row", view.address, view.address, [view.count // n], [row], [row],
        1, n, view.dtype.size, [], [],
    )  # fmt: skip


def expanded(view: View, rank: int, axes: Sequence[int]) -> View:
    """The view of a reduction's result with the reduced `axes` put back as extents of 1."""
    if view.rank == rank:
        return view
    own = iter(zip(view.dims, view.strides, strict=True))
    pairs = [(1, 0) if d in axes else next(own) for d in range(rank)]
    return View(
        view.address, view.dtype, tuple(n for n, _ in pairs), tuple(stride for _, stride in pairs)
    )


def halves(e: Emitter, value: Value) -> tuple[Value, Value]:
    """The lower and the upper lanes of a vector; scalars, when it has two."""
    lanes = lanes_of(value.type) // 2
    if lanes == 1:
        low, high = (e.b.extract_element(value, e.const(I32, lane)) for lane in (0, 1))
        return low, high
    undefined = ir.Constant(value.type, ir.Undefined)
    picks = [
        ir.Constant(vector(I32, lanes), [ir.Constant(I32, first + k) for k in range(lanes)])
        for first in (0, lanes)
    ]
    low, high = (e.b.shuffle_vector(value, undefined, pick) for pick in picks)
    return low, high


def across(e: Emitter, value: Value, combine: Callable[[Value, Value], Value]) -> Value:
    """All lanes of a vector combined to a scalar, half with half."""
    while lanes_of(value.type) > 1:
        value = combine(*halves(e, value))
    return value


def extreme(e: Emitter, op: str, x: Value, y: Value) -> Value:
    """The greater (`max`) or the less of floats, NaN if there is one; the sign of zero is open,
    which saves half of the operations."""
    return e.intrinsic(f"llvm.{op}imum", x.type, x, y, flags=("nsz",))


def blank(e: Emitter, value: Value, mask: Value | None, filler: Value) -> Value:
    """`value` with `filler` in the lanes outside `mask`."""
    return value if mask is None else e.b.select(mask, value, filler)


def share(e: Emitter, total: Value) -> tuple[Value, Value]:
    """The part of 0 to `total` that belongs to the kernel's `part` of `parts`."""
    first = e.b.sdiv(e.b.mul(total, e.part), e.parts)
    following = e.b.add(e.part, e.const(I64, 1))
    return first, e.b.sdiv(e.b.mul(total, following), e.parts)


def strip_width(e: Emitter, index: Value, strip: int) -> Value:
    """The elements in the strip that the kept index `index` stands for, where `m` columns are cut
    into `strips` strips of `strip` (words m and strips): all but the last are whole."""
    before = e.b.mul(e.b.urem(index, e.word("strips")), e.const(I64, strip))
    return e.intrinsic("llvm.smin", I64, e.b.sub(e.word("m"), before), e.const(I64, strip))


@contextmanager
def visit(
    e: Emitter,
    first: Value,
    end: Value,
    strides: Sequence[str],
    pointers: Sequence[Value],
    counters: Value | None = None,
) -> Iterator[tuple[Value, list[Value]]]:
    """Visit the kept indices `first` to `end` - 1 (words rank and dims, dimension 0 the fastest);
    the body sees the index and the pointers moved by `strides`. `counters` are 64 bytes, in which
    the index of each dimension is kept for the body to read."""
    b, rank = e.b, e.word("rank")
    counters = e.local(64) if counters is None else counters

    def place(d: Value) -> Value:
        return e.offset(counters, b.shl(d, e.const(I64, 3)))

    with e.loop(0, rank, carry=[first, *pointers]) as start:
        left, *moved = start.values
        extent = e.word("dims", start.index)
        quotient = b.sdiv(left, extent)
        at = b.sub(left, b.mul(quotient, extent))
        b.store(at, place(start.index), align=8)
        steps = [b.mul(at, e.word(s, start.index)) for s in strides]
        start.next(quotient, *map(e.offset, moved, steps))
    with e.loop(first, end, carry=start.values[1:]) as line:
        yield line.index, list(line.values)
        line.next(*_advance(e, rank, place, strides, line.values))


def in_stages(
    e: Emitter,
    first: Value,
    end: Value,
    strides: Sequence[str],
    pointers: Sequence[Value],
    stages: Sequence[Callable[[Value, Value, list[Value]], None]],
    counters: Value | None = None,
) -> None:
    """Visit the kept indices in groups of as many as the word `group` says, at most `GROUP`: the
    first stage for each of a group, then the next. A stage is given the slot in the group, the
    index, and the moved pointers; `counters` are as in `visit`, right in the first stage.

    What a stage finds out about a line takes a while to be known; by the time that the next one
    needs it, the lines between have been worked on.
    """
    b, group, fields = e.b, e.word("group"), len(pointers) + 1
    room = e.local(8 * fields * GROUP)

    def field(slot: Value, number: int) -> Value:
        place = b.add(b.mul(slot, e.const(I64, 8 * fields)), e.const(I64, 8 * number))
        return e.offset(room, place)

    with visit(e, first, end, strides, pointers, counters) as (index, moved):
        slot = b.urem(b.sub(index, first), group)
        for number, pointer in enumerate(moved):
            b.store(pointer, field(slot, number), align=8)
        b.store(index, field(slot, fields - 1), align=8)
        stages[0](slot, index, moved)
        following = b.add(slot, e.const(I64, 1))
        final = b.icmp_signed("==", index, b.sub(end, e.const(I64, 1)))
        with b.if_then(b.or_(final, b.icmp_signed("==", following, group))):
            for stage in stages[1:]:
                with e.loop(0, following) as loop:
                    at = loop.index
                    held = [b.load(field(at, n), typ=POINTER, align=8) for n in range(fields - 1)]
                    stage(at, b.load(field(at, fields - 1), typ=I64, align=8), held)


def group_of(row: int) -> int:
    """How many lines of `row` bytes are worked on together: they stay in the nearest cache."""
    return max(1, min(GROUP, _GROUP_BYTES // max(row, 1)))


def _advance(
    e: Emitter,
    rank: Value,
    place: Callable[[Value], Value],
    strides: Sequence[str],
    pointers: Sequence[Value],
) -> list[Value]:
    """One step in the first dimension that has one left; those before it begin again."""
    b, zero, one = e.b, e.const(I64, 0), e.const(I64, 1)
    before = b.block
    head, step, wrap, after = (
        e.function.append_basic_block(n) for n in ("carry", "step", "wrap", "moved")
    )
    b.branch(head)
    b.position_at_end(head)
    d, moving = b.phi(I64), [b.phi(POINTER) for _ in pointers]
    b.cbranch(b.icmp_signed("<", d, rank), step, after)
    b.position_at_end(step)
    count, extent = b.add(b.load(place(d), typ=I64, align=8), one), e.word("dims", d)
    by = [e.word(s, d) for s in strides]
    stepped = [e.offset(p, s) for p, s in zip(moving, by, strict=True)]
    b.store(count, place(d), align=8)
    b.cbranch(b.icmp_signed("<", count, extent), after, wrap)
    b.position_at_end(wrap)
    b.store(zero, place(d), align=8)
    back = [e.offset(p, b.neg(b.mul(extent, s))) for p, s in zip(stepped, by, strict=True)]
    following = b.add(d, one)
    b.branch(head)
    b.position_at_end(after)
    result = [b.phi(POINTER) for _ in pointers]
    d.add_incoming(zero, before)
    d.add_incoming(following, wrap)
    for phi, moved, old, new, wrapped in zip(result, moving, pointers, stepped, back, strict=True):
        moved.add_incoming(old, before)
        moved.add_incoming(wrapped, wrap)
        phi.add_incoming(moved, head)
        phi.add_incoming(new, step)
    return result


def sweep(
    e: Emitter,
    n: Value,
    lanes: int,
    start: Sequence[Value],
    body: Callable[[Value, Value | None, Sequence[Value]], Sequence[Value]],
    combine: Callable[[Value, Value], Value] | None = None,
) -> list[Value]:
    """Elements 0 to `n` by vectors: `body(index, mask, values)` gives the values carried on.

    `UNROLL` vectors at a time, each with values of its own that begin as `start` (neutral) and are
    combined pairwise; then the rest under a mask (with one lane there is none).
    """
    b, step, kinds = e.b, lanes * UNROLL, len(start)
    whole = b.and_(n, e.const(I64, -step))
    with e.loop(0, whole, step, carry=[*start] * UNROLL) as main:
        values: list[Value] = []
        for k in range(UNROLL):
            index = b.add(main.index, e.const(I64, k * lanes))
            values += body(index, None, main.values[k * kinds : (k + 1) * kinds])
        main.next(*values)
    values = main.values
    while combine is not None and len(values) > kinds:
        half = len(values) // 2
        values = [combine(x, y) for x, y in zip(values[:half], values[half:], strict=True)]
    if lanes == 1:
        with e.loop(whole, n, 1, carry=values) as rest:
            rest.next(*body(rest.index, None, rest.values))
        return rest.values
    vectors = b.and_(n, e.const(I64, -lanes))
    with e.loop(whole, vectors, lanes, carry=values) as rest:
        rest.next(*body(rest.index, None, rest.values))
    left = b.sub(n, vectors)
    with e.branch(b.icmp_signed(">", left, e.const(I64, 0)), rest.values) as last:
        last.next(*body(vectors, e.mask_below(left, lanes), last.values))
    return last.values


def each_vector(
    e: Emitter, n: Value, lanes: int, body: Callable[[Value, Value | None], None]
) -> None:
    """Elements 0 to `n` by vectors: `body(index, mask)`, with a mask for the last if need be."""
    b = e.b
    whole = b.and_(n, e.const(I64, -lanes))
    with e.loop(0, whole, lanes) as loop:
        body(loop.index, None)
    rest = b.sub(n, whole)
    with b.if_then(b.icmp_signed(">", rest, e.const(I64, 0))):
        body(whole, e.mask_below(rest, lanes))


def finish_row(
    e: Emitter,
    out: Value,
    n: Value,
    lanes: int,
    size: int,
    result: Callable[[Value, Value | None], Value],
) -> None:
    """Write a row of `n` results, elements of `size` bytes; past the caches if the word `stream`
    asks for it and the row's place allows it."""
    b = e.b

    def place(index: Value) -> Value:
        return e.offset(out, b.mul(index, e.const(I64, size)))

    zero, vectors = e.const(I64, 0), b.and_(n, e.const(I64, -lanes))
    odd = b.and_(b.ptrtoint(out, I64), e.const(I64, lanes * size - 1))
    wanted = b.icmp_signed("!=", e.word("stream"), zero)
    with e.branch(b.and_(wanted, b.icmp_signed("==", odd, zero)), [zero]) as streamed:
        with e.loop(0, vectors, lanes) as loop:
            e.stream(result(loop.index, None), place(loop.index))
        streamed.next(vectors)
    pairs = b.and_(n, e.const(I64, -2 * lanes))
    with e.loop(streamed.values[0], pairs, 2 * lanes) as loop:
        indices = [loop.index, b.add(loop.index, e.const(I64, lanes))]
        for index, value in [(i, result(i, None)) for i in indices]:
            e.store(value, place(index))
    single = b.icmp_signed("<", e.intrinsic("llvm.smax", I64, pairs, streamed.values[0]), vectors)
    with b.if_then(single):
        e.store(result(pairs, None), place(pairs))
    left = b.sub(n, vectors)
    with b.if_then(b.icmp_signed(">", left, zero)):
        mask = e.mask_below(left, lanes)
        e.store(result(vectors, mask), place(vectors), mask)


def drain(e: Emitter) -> None:
    """What a kernel ends with that has called `finish_row`."""
    with e.b.if_then(e.b.icmp_signed("!=", e.word("stream"), e.const(I64, 0))):
        e.drain()


def adjacent_from(view: View, axis: int) -> bool:
    """Whether the elements along the dimensions from `axis` on lie one behind the other."""
    step = view.dtype.size
    inner = [*zip(view.dims, view.strides, strict=True)][axis:]
    for extent, stride in reversed(inner):
        if extent > 1 and stride != step:
            return False
        step *= extent
    return True
