"""tattention, tpaged: scores, softmax and the weighted sum of values, a few queries at a time.

*Schedule.* The keys of a head are packed once into panels, a tile's columns wide, for all queries
and all heads that share them. Then, for as many queries as a register tile has rows: their scores
with every key they may see, into scratch memory that stays in cache; softmax along each row, less
the last division; the tile times the values, read in place, and the division. What no query of a
tile sees is not computed.

Threads divide heads and groups of queries; each packs the keys it needs for itself. An element is
computed alike whatever their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emu.cpu.tensor.axes import across, blank, share, sweep
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import DType, View, dense
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import I1, I32, I64, POINTER, Block, Emitter, Value, vector
from emu.cpu.tensor.epilogue import lanes, sum_size, sum_type
from emu.cpu.tensor.gather import along, look, pick
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, kernel
from emu.cpu.tensor.pack import Lines, layout, pack, slack
from emu.cpu.tensor.tile import Matrix, Tile, accumulate, most_rows, scaled
from emu.cpu.tensor.vectors import Arithmetic, narrow, storage, widen

_VECTORS = 2
"""Of a tile: this many registers of keys, or of values, wide."""
_BLOCK = Block(
    "q k v d mask lengths groups shared s t e f blocks tall scale past"
    " q_b q_h q_s q_e k_b k_h k_t k_e v_b v_h v_t d_b d_h d_s m_b m_h m_s m_t lengths_step"
    " panels panels_part scores scores_part row heads"
)


@schedule("tattention")
def _attention(call: Call) -> None:
    scale = call.at.alpha or 1 / math.sqrt(max(call.size("e"), 1))
    run_attention(
        call["d"], call["q"], call["k"], call["v"], call.get("mask"), call.get("lengths"),
        scale, call.flag("causal"), call.at.count,
    )  # fmt: skip


@schedule("tpaged")
def _paged(call: Call) -> None:
    """Pages are brought together in scratch memory, then read as usual."""
    keys, values = (_gathered(call[name], call["table"]) for name in ("k", "v"))
    scale = call.at.alpha or 1 / math.sqrt(max(call.size("e"), 1))
    run_attention(
        call["d"], call["q"], keys, values, None, call.get("lengths"),
        scale, call.flag("causal"), call.at.count,
    )  # fmt: skip


def _gathered(pages: View, table: View) -> View:
    """Pages (p, g, l, e) by a table (b, m) as (b, g, m * l, e), dense."""
    (batch, count), (_, groups, tokens, width) = table.dims, pages.dims
    size = pages.dtype.size
    place = SCRATCH.take(batch * count * groups * tokens * width * size)
    whole = dense(place, pages.dtype, (batch, groups, count, tokens, width))
    picks = along(pages, table, 0)
    look(picks)
    if whole.count:
        pick(whole.permuted((0, 2, 1, 3, 4)), picks)
    return dense(place, pages.dtype, (batch, groups, count * tokens, width))


def run_attention(
    d: View, q: View, k: View, v: View, mask: View | None, lengths: View | None,
    scale: float, causal: bool, past: int,
) -> None:  # fmt: skip
    """d (b, h, s, f) from q (b, h, s, e), k (b, g, t, e), v (b, g, t, f); mask (b, h, s, t) is
    added to the scores, lengths (b) is how many keys count."""
    dtype = d.dtype
    if v.strides[-1] != dtype.size:
        v = _copied(v)
    out = d if d.strides[-1] == dtype.size else dense(SCRATCH.take(d.bytes), dtype, d.dims)
    (batch, heads, s, e), (groups, t), f = q.dims, k.dims[1:3], d.dims[-1]
    blocks = -(-s // most_rows(_VECTORS))
    height = -(-s // blocks)
    form = _Form(
        dtype, height, layout(dtype, k.strides[2], k.strides[3]), causal,
        mask is not None, lengths is not None, f % (_VECTORS * lanes(dtype)) != 0,
    )  # fmt: skip
    width = _VECTORS * lanes(dtype)
    wide = -(-t // width) * width
    row = (wide + lanes(dtype)) * sum_size(dtype)
    panels = wide * max(e, 1) * sum_size(dtype) + slack(dtype, width)
    words: dict[str, Any] = {
        "q": q.address, "k": k.address, "v": v.address, "d": out.address, "s": s, "t": t, "e": e,
        "f": f, "groups": groups, "heads": batch * groups, "shared": heads // groups,
        "blocks": blocks, "tall": s - blocks * (height - 1), "scale": float(scale), "past": past,
        "panels": SCRATCH.take(panels * THREADS_MAX), "panels_part": panels, "row": row,
        "scores": SCRATCH.take((height + 1) * row * THREADS_MAX), "scores_part": (height + 1) * row,
        "k_e": k.strides[3], "q_e": q.strides[3],
    }  # fmt: skip
    for name, view in (("q", q), ("k", k), ("v", v), ("d", out)):
        words |= {f"{name}_b": view.strides[0], f"{name}_h": view.strides[1]}
        words[f"{name}_{'s' if name in 'qd' else 't'}"] = view.strides[2]
    if mask is not None:
        steps = dict(zip(("m_b", "m_h", "m_s", "m_t"), mask.strides, strict=True))
        words |= {"mask": mask.address, **steps}
    if lengths is not None:
        words |= {"lengths": lengths.address, "lengths_step": lengths.strides[0]}
    kernel(form.name, _BLOCK, lambda e: _Writer(e, form).write(), parallel=True)(**words)
    if out is not d:
        run_copy(d, out)


def _copied(view: View) -> View:
    copy = dense(SCRATCH.take(view.bytes), view.dtype, view.dims)
    run_copy(copy, view)
    return copy


@dataclass(frozen=True)
class _Form:
    """What the code depends on. `height` is that of the taller tiles; the others have a row less.
    `keys` is how the keys lie, `ragged` whether the last tile of values is not a whole one."""

    dtype: DType
    height: int
    keys: str
    causal: bool
    masked: bool
    lengths: bool
    ragged: bool

    @property
    def name(self) -> str:
        traits = ("causal", "masked", "lengths", "ragged")
        given = [trait for trait in traits if getattr(self, trait)]
        return " ".join(["tattention", self.dtype.name, str(self.height), self.keys, *given])


class _Writer:
    """Writes the kernel: heads, groups of queries, then the three steps for each."""

    def __init__(self, e: Emitter, form: _Form) -> None:
        self.e, self.b, self.form = e, e.b, form
        self.dtype = form.dtype
        self.size = sum_size(form.dtype)
        self.lanes = lanes(form.dtype)
        self.width = _VECTORS * self.lanes
        self.whole = vector(sum_type(form.dtype), self.lanes)
        self.math = Arithmetic(e, form.dtype.compute)
        heights = {h for h in (form.height, form.height - 1) if h}
        self.scores = {h: self._score_tile(h) for h in sorted(heights)}
        widths = range(1, _VECTORS + 1) if form.ragged else [_VECTORS]
        self.values = {(h, v): self._value_tile(h, v) for h in sorted(heights) for v in widths}

    def number(self, value: int) -> Value:
        return self.e.const(I64, value)

    def smaller(self, x: Value, y: Value) -> Value:
        return self.e.intrinsic("llvm.smin", I64, x, y)

    # tiles

    def _score_tile(self, height: int) -> Any:
        """Subroutine: scores of `height` queries with a panel of keys, to rows of scratch."""
        e = self.e
        with e.subroutine(f"scores{height}", POINTER, POINTER, POINTER) as function:
            _, queries, panel, out = function.args
            tile = Tile(self.dtype, height, _VECTORS, packed_right=True)
            left = Matrix(queries, e.word("q_s"), e.word("q_e"))
            right = Matrix(panel, self.width * self.size, self.size)
            sums = accumulate(e, tile, left, right, e.word("e"))
            scale = e.number("scale", self.whole)
            for at, value in enumerate(sums):
                r, v = divmod(at, _VECTORS)
                line = e.offset(out, scaled(e, r, e.word("row")))
                e.store(e.b.fmul(value, scale), e.offset(line, v * self.lanes * self.size))
        return function

    def _value_tile(self, height: int, vectors: int) -> Any:
        """Subroutine: weights of `height` queries times values, divided by the weights' sums; the
        columns `free` of the last vector are there."""
        e = self.e
        types = (POINTER, POINTER, POINTER, POINTER, I64, I64)
        with e.subroutine(f"values{height}_{vectors}", *types) as function:
            _, weights, values, out, sums_at, k, free = function.args
            tile = Tile(self.dtype, height, vectors, packed_left=True)
            mask = e.mask_below(free, self.lanes) if self.form.ragged else None
            left = Matrix(weights, e.word("row"), self.size)
            right = Matrix(values, e.word("v_t"), self.dtype.size)
            sums = accumulate(e, tile, left, right, k, mask)
            for at, value in enumerate(sums):
                r, v = divmod(at, vectors)
                total = e.load(e.offset(sums_at, r * self.size), sum_type(self.dtype))
                done = e.b.fmul(value, e.splat(total, self.lanes))
                line = e.offset(out, scaled(e, r, e.word("d_s")))
                place = e.offset(line, v * self.lanes * self.dtype.size)
                last = mask if v == vectors - 1 else None
                e.store(narrow(e, done, self.dtype), place, last)
        return function

    # loops

    def write(self) -> None:
        """All tasks of the part: groups of queries, counted over the heads of keys."""
        e, b = self.e, self.b
        per_head = b.mul(e.word("shared"), e.word("blocks"))
        first, end = share(e, b.mul(e.word("heads"), per_head))
        one = self.number(1)
        with b.if_then(b.icmp_signed("<", first, end)):
            last = b.add(b.sdiv(b.sub(end, one), per_head), one)
            with e.loop(b.sdiv(first, per_head), last) as head:
                start = b.mul(head.index, per_head)
                low = b.sub(first, start)
                low = e.intrinsic("llvm.smax", I64, low, self.number(0))
                high = self.smaller(b.sub(end, start), per_head)
                self._head(head.index, low, high)

    def _head(self, head: Value, low: Value, high: Value) -> None:
        """Tasks `low` to `high` of one head of keys."""
        e, b = self.e, self.b
        batch = b.sdiv(head, e.word("groups"))
        group = b.sub(head, b.mul(batch, e.word("groups")))
        keys = self._at("k", batch, group)
        known = e.word("t")
        if self.form.lengths:
            place = e.offset(e.pointer("lengths"), b.mul(batch, e.word("lengths_step")))
            length = b.sext(e.load(place, I32), I64)
            known = e.intrinsic("llvm.smax", I64, self.smaller(length, known), self.number(0))
            past = b.sub(length, e.word("s"))
        else:
            past = e.word("past")
        panels = e.offset(e.pointer("panels"), b.mul(e.part, e.word("panels_part")))
        self._pack(keys, panels, known)
        values = self._at("v", batch, group)
        with e.loop(low, high) as task:
            inner = b.sdiv(task.index, e.word("blocks"))
            block = b.sub(task.index, b.mul(inner, e.word("blocks")))
            query = b.add(b.mul(group, e.word("shared")), inner)
            self._task(batch, query, block, (panels, values, known, past))

    def _at(self, name: str, batch: Value, head: Value) -> Value:
        """Where the matrix of a batch and head begins in an operand."""
        e, b, short = self.e, self.b, name[0]
        place = e.offset(e.pointer(name), b.mul(batch, e.word(f"{short}_b")))
        return e.offset(place, b.mul(head, e.word(f"{short}_h")))

    def _pack(self, keys: Value, panels: Value, known: Value) -> None:
        e, b = self.e, self.b
        source = Matrix(keys, e.word("k_t"), e.word("k_e"))
        if self.form.keys == "v":
            source = Matrix(keys, self.dtype.size, e.word("k_e"))
        elif self.form.keys == "t":
            source = Matrix(keys, e.word("k_t"), self.dtype.size)
        with e.loop(0, known, self.width) as first:
            to = e.offset(panels, scaled(e, b.mul(first.index, e.word("e")), self.size))
            valid = self.smaller(b.sub(known, first.index), self.number(self.width))
            lines = Lines(source.moved(e, first.index, 0), valid, e.word("e"))
            pack(e, self.dtype, self.form.keys, lines, to, self.width)

    def _task(self, batch: Value, head: Value, block: Value, at: Sequence[Value]) -> None:
        """One group of queries."""
        e, b = self.e, self.b
        panels, values, known, past = at
        height = self.number(self.form.height - 1)
        row = b.add(b.mul(block, height), self.smaller(block, e.word("tall")))
        tall = b.icmp_signed("<", block, e.word("tall"))
        rows = b.add(height, b.zext(tall, I64))
        seen = known
        if self.form.causal:  # what the last of the queries sees
            limit = b.add(b.add(row, rows), past)
            seen = e.intrinsic("llvm.smax", I64, self.smaller(known, limit), self.number(0))
        scores = e.offset(e.pointer("scores"), b.mul(e.part, e.word("scores_part")))
        queries = e.offset(self._at("q", batch, head), b.mul(row, e.word("q_s")))
        with e.loop(0, seen, self.width) as key:
            panel = e.offset(panels, scaled(e, b.mul(key.index, e.word("e")), self.size))
            out = e.offset(scores, scaled(e, key.index, self.size))
            for count, tile in self.scores.items():
                with b.if_then(b.icmp_signed("==", rows, self.number(count))):
                    e.call(tile, queries, panel, out)
        sums_at = e.offset(scores, b.mul(self.number(self.form.height), e.word("row")))
        mask = self._at("mask", batch, head) if self.form.masked else None
        with e.loop(0, rows) as r:
            line = e.offset(scores, b.mul(r.index, e.word("row")))
            count = seen
            if self.form.causal:
                limit = b.add(b.add(b.add(row, r.index), past), self.number(1))
                count = e.intrinsic("llvm.smax", I64, self.smaller(seen, limit), self.number(0))
            here = mask and e.offset(mask, b.mul(b.add(row, r.index), e.word("m_s")))
            total = self._weigh(line, count, seen, here)
            e.store(total, e.offset(sums_at, scaled(e, r.index, self.size)))
        out = e.offset(self._at("d", batch, head), b.mul(row, e.word("d_s")))
        self._multiply(rows, scores, values, out, sums_at, seen)

    def _multiply(
        self, rows: Value, scores: Value, values: Value, out: Value, sums_at: Value, seen: Value
    ) -> None:
        """Weights times values, a tile of columns at a time."""
        e, b = self.e, self.b
        with e.loop(0, e.word("f"), self.width) as column:
            offset = scaled(e, column.index, self.dtype.size)
            left = b.sub(e.word("f"), column.index)
            vectors = b.sdiv(b.add(left, self.number(self.lanes - 1)), self.number(self.lanes))
            vectors = self.smaller(vectors, self.number(_VECTORS))
            for (count, wide), tile in self.values.items():
                fits = b.icmp_signed("==", rows, self.number(count))
                if self.form.ragged:
                    same = b.icmp_signed("==", vectors, self.number(wide))
                    fits = b.and_(fits, same)
                with b.if_then(fits):
                    free = b.sub(left, self.number((wide - 1) * self.lanes))
                    places = (scores, e.offset(values, offset), e.offset(out, offset), sums_at)
                    e.call(tile, *places, seen, free)

    # softmax

    def _weigh(self, line: Value, count: Value, seen: Value, mask: Value | None) -> Value:
        """Scores to exponentials, zeros from `count` to `seen`; one over their sum."""
        e, b, whole = self.e, self.b, self.whole
        lowest, none = e.const(whole, -math.inf), e.const(whole, 0.0)

        def place(index: Value) -> Value:
            return e.offset(line, scaled(e, index, self.size))

        def greater(x: Value, y: Value) -> Value:
            return b.select(b.fcmp_ordered(">", x, y), x, y)

        def look(index: Value, inside: Value | None, values: Sequence[Value]) -> list[Value]:
            x = e.load(place(index), whole)
            if mask is not None:
                x = b.fadd(x, self._mask(mask, index, inside))
                e.store(x, place(index), inside)
            return [greater(blank(e, x, inside, lowest), values[0])]

        def power(index: Value, inside: Value | None, values: Sequence[Value]) -> list[Value]:
            y = self.math.apply("exp", b.fsub(e.load(place(index), whole), tops))
            y = blank(e, y, inside, none)
            e.store(y, place(index))  # the lanes behind the end: zeros, in scratch
            return [b.fadd(values[0], y)]

        (top,) = sweep(e, count, self.lanes, [lowest], look, greater)
        best = across(e, top, greater)
        hidden = b.fcmp_ordered("==", best, e.const(best.type, -math.inf))
        tops = e.splat(b.select(hidden, e.const(best.type, 0.0), best), self.lanes)
        (total,) = sweep(e, count, self.lanes, [none], power, b.fadd)
        start = b.and_(b.add(count, self.number(self.lanes - 1)), self.number(-self.lanes))
        with e.loop(start, seen, self.lanes) as rest:
            e.store(none, place(rest.index))
        weight = across(e, total, b.fadd)
        zero, one = e.const(weight.type, 0.0), e.const(weight.type, 1.0)
        return b.select(hidden, zero, b.fdiv(one, weight))

    def _mask(self, mask: Value, index: Value, inside: Value | None) -> Value:
        """The mask of adjacent keys, however they lie."""
        e, b = self.e, self.b
        steps = e.b.mul(
            b.add(e.splat(index, self.lanes), e.iota(I64, self.lanes)),
            e.splat(e.word("m_t"), self.lanes),
        )
        every = inside if inside is not None else e.const(vector(I1, self.lanes), 1)
        return widen(e, e.gather(mask, steps, storage(self.dtype), every), self.dtype)
