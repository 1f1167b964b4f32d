"""The kernel of a product of bytes: batches, groups of panels, register tiles. See `qgemm.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emu.cpu.tensor.axes import across
from emu.cpu.tensor.descriptor import F32, I32, DType
from emu.cpu.tensor.dots import QUAD, dot, interleave, ones, quad_lanes
from emu.cpu.tensor.emit import F32 as FLOAT
from emu.cpu.tensor.emit import I8, I64, POINTER, Block, Emitter, Value, like, vector
from emu.cpu.tensor.emit import I32 as LANE
from emu.cpu.tensor.tile import Matrix, Tile, accumulate, scaled
from emu.cpu.tensor.vectors import convert, storage

OPERANDS = ("x", "y", "d", "bias", "scale")
VECTORS = 2
"""Vectors of columns in a panel."""
DEPTH = 256
"""Quads of the inner dimension in a panel: 32 KiB of it, on AVX-512."""
BLOCK = Block(
    "x y d bias scale dz xz yz m n k quads batches rank dims:6 "
    + " ".join(f"{name}_s:6 {name}_row" for name in OPERANDS)
    + " y_column xz_step yz_step blocks tall panels group depth packed packed_part sums sums_part"
    " columns columns_part waiting waiting_part waiting_row by_rows"
)


@dataclass(frozen=True)
class Form:
    """What the code depends on. `turned`: y is adjacent along its columns. `bias` and `scale` are
    "" where there is none, or how their rows lie."""

    x: DType
    y: DType
    result: DType
    height: int
    turned: bool
    bias: str
    scale: str
    left_zero: bool
    right_zero: bool
    result_zero: bool
    deep: bool
    """Whether the inner dimension is cut into blocks."""

    @property
    def direct(self) -> bool:
        """Whether sums can wait in the result for the next block."""
        return self.result is I32

    @property
    def name(self) -> str:
        traits = (self.left_zero, self.right_zero, self.result_zero, self.deep)
        flags = "".join(str(int(trait)) for trait in traits)
        kinds = f"{self.x.name} {self.y.name} {self.result.name} {self.height}"
        way = "turned" if self.turned else "rows"
        return f"tqmatmul {kinds} {way} {self.bias or '-'} {self.scale or '-'} {flags}"

    @property
    def flips(self) -> bool:
        """Whether y's high bits are turned over."""
        return self.x.signed == self.y.signed

    @property
    def moves(self) -> bool:
        """Whether packed y has a zero point, so that the sums of x's rows are wanted."""
        return self.right_zero or self.flips


class Writer:
    """Writes the kernel: batches, groups of panels, tiles."""

    def __init__(self, e: Emitter, form: Form) -> None:
        self.e, self.form = e, form
        self.lanes = quad_lanes()
        self.width = VECTORS * self.lanes
        self.whole = vector(LANE, self.lanes)
        heights = sorted({h for h in (form.height, form.height - 1) if h})
        self.tiles = {h: self._tile(h) for h in heights}

    @property
    def b(self) -> Any:
        """The builder of the function being written, which a subroutine is for a while."""
        return self.e.b

    def number(self, value: int) -> Value:
        return self.e.const(I64, value)

    def smaller(self, x: Value, y: Value) -> Value:
        return self.e.intrinsic("llvm.smin", I64, x, y)

    def products(self, x: Value, y: Value, sums: Value) -> Value:
        """`sums` + quads of x times packed quads of y."""
        signed = self.form.x.signed
        return dot(self.e, sums, *((y, x) if signed else (x, y)))

    def own(self, name: str) -> Value:
        """The part's piece of a scratch area."""
        e = self.e
        return e.offset(e.pointer(name), e.b.mul(self.e.part, e.word(f"{name}_part")))

    # loops

    def write(self) -> None:
        e, b = self.e, self.b
        by_rows = b.icmp_signed("!=", e.word("by_rows"), self.number(0))
        self.rows = self._share("blocks", by_rows)
        self.columns = self._share("panels", b.not_(by_rows))
        self.packed, self.sums, self.zeros = (self.own(n) for n in ("packed", "sums", "columns"))
        with e.loop(0, e.word("batches")) as index:
            self._batch(index.index)

    def _share(self, total: str, divided: Value) -> tuple[Value, Value]:
        """The part's range of what a word counts; all of it unless it is `divided`."""
        e, b, count = self.e, self.b, self.e.word(total)
        following = b.add(e.part, self.number(1))
        low, high = (b.sdiv(b.mul(count, p), e.parts) for p in (e.part, following))
        return b.select(divided, low, self.number(0)), b.select(divided, high, count)

    def _batch(self, index: Value) -> None:
        """One product of the batch; the last dimension is the fastest."""
        e, b, form = self.e, self.b, self.form
        names = ["x", "y", "d"] + ["bias"] * bool(form.bias) + ["scale"] * bool(form.scale)
        rank = e.word("rank")
        with e.loop(0, rank, carry=[index, *(e.pointer(name) for name in names)]) as d:
            at = b.sub(b.sub(rank, d.index), self.number(1))
            left, *pointers = d.values
            extent = e.word("dims", at)
            here = b.srem(left, extent)
            moved = [e.offset(p, b.mul(here, e.word(f"{name}_s", at)))
                     for name, p in zip(names, pointers, strict=True)]  # fmt: skip
            d.next(b.sdiv(left, extent), *moved)
        self.at = dict(zip(names, d.values[1:], strict=True))
        if form.moves:
            with e.loop(self._row(self.rows[0]), self._row(self.rows[1])) as row:
                self._sum_row(row.index)
        group = e.word("group")
        with e.loop(*self.columns, group) as first:
            end = self.smaller(b.add(first.index, group), self.columns[1])
            quads = e.intrinsic("llvm.smax", I64, e.word("quads"), self.number(1))
            with e.loop(0, quads, DEPTH) as inner:
                steps = self.smaller(b.sub(e.word("quads"), inner.index), self.number(DEPTH))
                self._group(first.index, end, inner.index, steps)

    def _group(self, first: Value, end: Value, quad: Value, steps: Value) -> None:
        """All rows with the panels `first` to `end`, over `steps` quads from `quad` on."""
        e, b = self.e, self.b
        with e.loop(first, end) as panel:
            self._pack(panel.index, b.sub(panel.index, first), quad, steps)
        with e.loop(*self.rows) as block, e.loop(first, end) as panel:
            self._call(block.index, panel.index, b.sub(panel.index, first), quad, steps)

    def _row(self, block: Value) -> Value:
        """The first row of a block: the first ones are a row taller."""
        less = self.b.mul(block, self.number(self.form.height - 1))
        return self.b.add(less, self.smaller(block, self.e.word("tall")))

    def _panel(self, number: Value) -> Value:
        """A packed panel."""
        size = self.b.mul(number, self.e.word("depth"))
        return self.e.offset(self.packed, scaled(self.e, size, self.width * QUAD))

    def _zeros(self, number: Value) -> Value:
        """For each column of a panel columns[j] - k * b[j], then for each b[j]."""
        return self.e.offset(self.zeros, scaled(self.e, number, 2 * self.width * QUAD))

    def _sum_row(self, row: Value) -> None:
        """The sum of a row of x, which has whole quads."""
        e, b = self.e, self.b
        line = e.offset(self.at["x"], b.mul(row, e.word("x_row")))
        quads, unit = e.word("quads"), ones(e, self.lanes)

        def add(at: Value, sums: Value, mask: Value | None) -> Value:
            x = e.load(e.offset(line, scaled(e, at, QUAD)), self.whole, mask)
            return dot(e, sums, *((unit, x) if self.form.x.signed else (x, unit)))

        end = b.and_(quads, self.number(-self.lanes))
        with e.loop(0, end, self.lanes, carry=[e.const(self.whole, 0)]) as loop:
            loop.next(add(loop.index, loop.values[0], None))
        rest = b.sub(quads, end)
        total = add(end, loop.values[0], e.mask_below(rest, self.lanes))
        e.store(across(e, total, b.add), e.offset(self.sums, scaled(e, row, QUAD)))

    # packing

    def _pack(self, panel: Value, number: Value, first_quad: Value, steps: Value) -> None:
        """Columns of y as quads, and what their zero points take from every sum."""
        e, b, form = self.e, self.b, self.form
        start, column = self._panel(number), b.mul(panel, self.number(self.width))
        begins = b.icmp_signed("==", first_quad, self.number(0))
        unit = ones(e, self.lanes)
        for v in range(VECTORS):
            first = b.add(column, self.number(v * self.lanes))
            mask = e.mask_below(b.sub(e.word("n"), first), self.lanes)
            zero = self._right_zero(first, mask)
            place = e.offset(self._zeros(number), v * self.lanes * QUAD)
            count = e.splat(b.trunc(e.word("k"), LANE), self.lanes)
            with e.branch(b.not_(begins), [b.neg(b.mul(count, zero))]) as known:
                known.next(e.load(place, self.whole))
            with e.loop(0, steps, carry=known.values) as quad:
                y = self._quads(b.add(first_quad, quad.index), first, mask)
                there = scaled(e, quad.index, self.width * QUAD)
                e.store(y, e.offset(e.offset(start, there), v * self.lanes * QUAD))
                pair = (y, unit) if form.x.signed else (unit, y)
                quad.next(dot(e, quad.values[0], *pair))
            e.store(quad.values[0], place)
            e.store(zero, e.offset(place, self.width * QUAD))

    def _quads(self, quad: Value, column: Value, mask: Value) -> Value:
        """Four steps of the columns from `column` on; steps behind the last are 0."""
        e, b = self.e, self.b
        step = b.mul(quad, self.number(QUAD))
        line = e.offset(self.at["y"], b.mul(step, e.word("y_row")))
        turn = e.const(self.whole, -0x7F7F7F80 if self.form.flips else 0)
        if self.form.turned:
            places = b.add(e.splat(column, self.lanes), e.iota(I64, self.lanes))
            places = b.mul(places, e.splat(e.word("y_column"), self.lanes))
            return b.xor(e.gather(line, places, LANE, mask), turn)
        rows = []
        left = b.sub(e.word("k"), step)
        for i in range(QUAD):
            there = b.icmp_signed("<", self.number(i), left)
            inside = b.and_(mask, e.splat(there, self.lanes))
            place = e.offset(line, b.add(b.mul(self.number(i), e.word("y_row")), column))
            y = e.load(place, vector(I8, self.lanes), inside)
            if self.form.flips:
                flip = e.splat(b.select(there, e.const(I8, -128), e.const(I8, 0)), self.lanes)
                y = b.xor(y, flip)
            rows.append(y)
        return interleave(e, rows)

    def _right_zero(self, column: Value, mask: Value) -> Value:
        """Zero points of packed columns, as i32."""
        e, b, form = self.e, self.b, self.form
        zero = e.const(self.whole, 0)
        if form.right_zero:
            places = b.add(e.splat(column, self.lanes), e.iota(I64, self.lanes))
            places = b.mul(places, e.splat(e.word("yz_step"), self.lanes))
            held = e.gather(e.pointer("yz"), places, I8, mask)
            zero = (b.sext if form.y.signed else b.zext)(held, self.whole)
        if form.flips:
            zero = b.add(zero, e.const(self.whole, 128 if form.y.signed else -128))
        return zero

    # tiles

    def _call(self, block: Value, panel: Value, number: Value, quad: Value, steps: Value) -> None:
        """The tile where a block of rows and a panel of columns meet."""
        e, b, form = self.e, self.b, self.form
        row, column = self._row(block), b.mul(panel, self.number(self.width))
        rows = b.sub(self._row(b.add(block, self.number(1))), row)
        x = e.offset(self.at["x"], b.mul(row, e.word("x_row")))
        x = e.offset(x, scaled(e, quad, QUAD))
        places = [
            e.offset(e.offset(self.at[name], b.mul(row, e.word(f"{name}_row"))), offset)
            for name, offset in (
                ("d", scaled(e, column, form.result.size)),
                ("bias" if form.bias else "d", scaled(e, column, QUAD * (form.bias == "v"))),
                ("scale" if form.scale else "d", scaled(e, column, QUAD * (form.scale == "v"))),
            )
        ]
        waiting = places[0]
        if form.deep and not form.direct:
            waiting = e.offset(self.own("waiting"), b.mul(row, e.word("waiting_row")))
            waiting = e.offset(waiting, scaled(e, number, self.width * QUAD))
        free = b.sub(e.word("n"), column)
        more = b.zext(b.icmp_signed(">", quad, self.number(0)), I64)
        last = b.zext(b.icmp_signed(">=", b.add(quad, steps), e.word("quads")), I64)
        for height, tile in self.tiles.items():
            with b.if_then(b.icmp_signed("==", rows, self.number(height))):
                e.call(
                    tile, x, self._panel(number), self._zeros(number), *places, waiting, self.sums,
                    row, free, steps, more, last,
                )  # fmt: skip

    def _tile(self, height: int) -> Any:
        """Subroutine: `height` rows with a panel of columns, of which `free` are there; `more` says
        that sums have been waiting, `last` that none will have to."""
        e = self.e
        types = (*[POINTER] * 8, *[I64] * 5)
        with e.subroutine(f"tile{height}", *types) as function:
            _, x, panel, zeros, out, bias, scale, waiting, sums_at, *numbers = function.args
            row, free, steps, more, last = numbers
            tile = Tile(I32, height, VECTORS, packed_right=True)
            left = Matrix(x, e.word("x_row"), QUAD)
            right = Matrix(panel, self.width * QUAD, QUAD)
            sums = accumulate(e, tile, left, right, steps, combine=self.products)
            masks = [
                e.mask_below(e.b.sub(free, self.number(v * self.lanes)), self.lanes)
                for v in range(VECTORS)
            ]
            places = (zeros, out, bias, scale, sums_at)
            if not self.form.deep:
                self._finish(sums, places, row, masks)
                return function
            sums = self._with_waiting(sums, waiting, more, masks)
            with e.b.if_else(e.b.icmp_signed("!=", last, self.number(0))) as (then, otherwise):
                with then:
                    self._finish(sums, places, row, masks)
                with otherwise:
                    for at, value in enumerate(sums):
                        r, v = divmod(at, VECTORS)
                        e.store(value, self._waiting(waiting, r, v), masks[v])
        return function

    def _waiting(self, start: Value, r: int, v: int) -> Value:
        """Where a vector of sums waits."""
        word = "d_row" if self.form.direct else "waiting_row"
        line = self.e.offset(start, scaled(self.e, r, self.e.word(word)))
        return self.e.offset(line, v * self.lanes * QUAD)

    def _with_waiting(
        self, sums: list[Value], start: Value, more: Value, masks: list[Value]
    ) -> list[Value]:
        """Sums with those that have been waiting, if there are any."""
        e, b = self.e, self.b
        with e.branch(b.icmp_signed("!=", more, self.number(0)), sums) as added:
            known = []
            for at, value in enumerate(sums):
                r, v = divmod(at, VECTORS)
                held = e.load(self._waiting(start, r, v), self.whole, masks[v])
                known.append(b.add(value, held))
            added.next(*known)
        return added.values

    def _finish(
        self, sums: list[Value], places: tuple[Value, ...], row: Value, masks: list[Value]
    ) -> None:
        """From sums of products to results."""
        e = self.e
        zeros, out, bias, scale, sums_at = places
        for v in range(VECTORS):
            columns = [
                e.load(e.offset(zeros, v * self.lanes * QUAD + i * self.width * QUAD), self.whole)
                for i in range(2)
            ]
            for r in range(len(sums) // VECTORS):
                at = e.b.add(row, self.number(r))
                value = self._without_zeros(sums[r * VECTORS + v], at, columns, sums_at)
                lines = [
                    e.offset(p, scaled(e, r, e.word(f"{name}_row")))
                    for name, p in (("bias", bias), ("scale", scale), ("d", out))
                ]
                self._store(value, lines, v, masks[v])

    def _without_zeros(self, value: Value, row: Value, columns: list[Value], sums: Value) -> Value:
        """Sums of products without what zero points add to them."""
        e, b, form = self.e, self.b, self.form
        if form.left_zero:
            held = e.load(e.offset(e.pointer("xz"), b.mul(row, e.word("xz_step"))), I8)
            zero = e.splat((b.sext if form.x.signed else b.zext)(held, LANE), self.lanes)
            value = b.sub(value, b.mul(zero, columns[0]))
        if form.moves:
            total = e.splat(e.load(e.offset(sums, scaled(e, row, QUAD)), LANE), self.lanes)
            value = b.sub(value, b.mul(columns[1], total))
        return value

    def _store(self, value: Value, lines: list[Value], v: int, mask: Value) -> None:
        """Bias, scale and zero point, and a row's vector of results."""
        e, b, form = self.e, self.b, self.form
        bias, scale, out = lines
        if form.bias:
            value = b.add(value, self._operand(bias, form.bias, v, mask, self.whole))
        result = form.result
        if form.scale:
            real = like(self.whole, FLOAT)
            value = b.sitofp(value, real)
            value = b.fmul(value, self._operand(scale, form.scale, v, mask, real))
            value = e.intrinsic("llvm.rint", real, value)
            if form.result_zero:
                zero = e.load(e.pointer("dz"), storage(result))
                value = b.fadd(value, e.splat(convert(e, zero, result, F32), self.lanes))
            value = convert(e, value, F32, result)
        else:
            value = value if result is I32 else b.trunc(value, vector(I8, self.lanes))
            if form.result_zero:
                zero = e.load(e.pointer("dz"), storage(result))
                value = b.add(value, e.splat(zero, self.lanes))
        e.store(value, e.offset(out, v * self.lanes * result.size), mask)

    def _operand(self, line: Value, layout: str, v: int, mask: Value, type_: Any) -> Value:
        e = self.e
        if layout == "s":
            return e.splat(e.load(line, type_.element), self.lanes)
        return e.load(e.offset(line, v * self.lanes * QUAD), type_, mask)
