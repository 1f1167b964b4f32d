"""The kernel of pooling: see `pool.py` for its schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from emu.cpu.tensor.axes import GROUP, VECTOR, blank, each_vector, extreme, in_stages, share
from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import I32, I64, Block, Emitter, Value, bits_of, is_float, vector
from emu.cpu.tensor.folds import FOLDS, GREATEST
from emu.cpu.tensor.vectors import Arithmetic, compute, narrow, storage, widen

BLOCK = Block(
    "p0 p1 p2 p3 lines rank dims:8 s0:8 s1:8 s2:8 size:3 out:3 kernel:3 stride:3 dilation:3 pad:3 "
    "pad_end:3 back:3 room counts width padded power group"
)
SLACK = 512
"""Elements behind a row in scratch memory that may be loaded, and then are not used."""
_AHEAD = 2048
"""Bytes that the source is fetched ahead of its use."""
_TOGETHER = 4
"""Vectors of a row that are folded at a time."""


@dataclass(frozen=True)
class Form:
    """What the kernel depends on."""

    mnemonic: str
    dtype: DType
    stride: int
    """Of windows in a row, if at most 4, else 0."""
    taps: int
    """Of a window in a row, if at most 8, else 0."""
    dilated: bool
    """Whether any dilation is not 1."""
    power: int
    """The p of an Lp norm: 1, 2 or (3) anything else; 0 if it is none."""
    places: bool
    """Whether the places of the greatest elements are wanted."""
    wide: bool
    """Whether a place in an image needs 64 bits."""

    @property
    def name(self) -> str:
        places = ("wide" if self.wide else "places") if self.places else ""
        row = f"{self.stride} {self.taps} {'dilated' if self.dilated else ''}"
        return f"{self.mnemonic} {self.dtype.name} {row} {self.power} {places}"


class Pool:
    """Writes the kernel. A row of scratch memory is carried as (values, places or nothing)."""

    def __init__(self, e: Emitter, form: Form) -> None:
        self.e, self.form, self.dtype = e, form, form.dtype
        self.fold = GREATEST if form.mnemonic == "tmaxpool" else FOLDS["tsum"]
        self.held = form.dtype.compute
        self.math = Arithmetic(e, self.held)
        self.bits = bits_of(compute(self.held))
        self.lanes = VECTOR * 8 // max(self.bits, bits_of(storage(form.dtype)))
        self.type = vector(compute(self.held), self.lanes)
        self.index = vector(I64 if form.wide else I32, self.lanes)
        self.start = self.fold.start(e, self.held, self.type)
        self.none = e.const(self.index, -1)
        both = e.b.mul(e.b.mul(e.word("room"), e.word("group")), e.const(I64, 2))
        size = e.b.add(both, e.word("counts"))
        self.rooms = e.offset(e.pointer("p3"), e.b.mul(e.part, size))
        self.counts = e.offset(self.rooms, both)
        self.row = self.places = self.rooms
        """Where the row is that is being worked on, and its places."""

    def write(self) -> None:
        """Write the walk over rows of results: those of a group are all folded, then finished."""
        e = self.e
        self._prepare()
        first, end = share(e, e.word("lines"))
        names = ["0", "1", *(["2"] if self.form.places else [])]
        pointers, strides = [e.pointer(f"p{n}") for n in names], [f"s{n}" for n in names]
        counters = e.local(64)
        stages = self._stages(counters)
        in_stages(e, first, end, strides, pointers, stages, counters)

    def _stages(self, counters: Value) -> list[Callable[[Value, Value, list[Value]], None]]:
        e, b, held = self.e, self.e.b, self.e.local(8 * GROUP)

        def count(slot: Value) -> Value:
            return e.offset(held, b.mul(slot, e.const(I64, 8)))

        def down(slot: Value, _: Value, pointers: list[Value]) -> None:
            self._take(slot)
            at = [b.load(e.offset(counters, 8 * k), typ=I64, align=8) for k in (1, 0)]
            self._down(pointers[1], [self._part(d, where) for d, where in enumerate(at)])
            if self._averages:
                taps = [self._count(d, where) for d, where in enumerate(at)]
                b.store(b.mul(*taps), count(slot), align=8)

        def along(slot: Value, index: Value, pointers: list[Value]) -> None:
            self._take(slot)
            image = taps = e.const(I64, 1)
            if self.form.places:
                rows = b.mul(e.word("out", 0), e.word("out", 1))
                image = b.mul(b.udiv(index, rows), self._volume())
            if self._averages:
                taps = b.load(count(slot), typ=I64, align=8)
            self._along(pointers[0], pointers[2] if self.form.places else None, image, taps)

        return [down, along]

    def _take(self, slot: Value) -> None:
        """Turn to the row of a slot."""
        e, b = self.e, self.e.b
        self.row = e.offset(self.rooms, b.mul(slot, e.word("room")))
        places = b.mul(e.word("room"), e.word("group"))
        self.places = e.offset(self.row, places)

    def _volume(self) -> Value:
        size = [self.e.word("size", d) for d in range(3)]
        return self.e.b.mul(self.e.b.mul(size[0], size[1]), size[2])

    # which taps of a window lie in the source

    def _origin(self, d: int, at: Value) -> Value:
        e, b = self.e, self.e.b
        return b.sub(b.mul(at, e.word("stride", d)), e.word("pad", d))

    def _taps(self, d: int, distance: Value) -> Value:
        """How many taps of dimension d it takes to cover a distance, no more than there are."""
        e, b = self.e, self.e.b
        if self.form.dilated:
            dilation, one = e.word("dilation", d), e.const(I64, 1)
            distance = b.sdiv(b.add(distance, b.sub(dilation, one)), dilation)
        up = e.intrinsic("llvm.smax", I64, distance, e.const(I64, 0))
        return e.intrinsic("llvm.smin", I64, up, e.word("kernel", d))

    def _part(self, d: int, at: Value) -> tuple[Value, Value, Value]:
        """(first tap, the one behind the last, origin) of window `at` in dimension d."""
        b, origin = self.e.b, self._origin(d, at)
        end = self._taps(d, b.sub(self.e.word("size", d), origin))
        first = self.e.intrinsic("llvm.smin", I64, self._taps(d, b.neg(origin)), end)
        return first, end, origin

    def _count(self, d: int, at: Value) -> Value:
        """How many taps of window `at` a mean is over, in dimension d."""
        e, b = self.e, self.e.b
        first, end, origin = self._part(d, at)
        limit = b.add(e.word("size", d), e.word("pad_end", d))
        padded = self._taps(d, b.sub(limit, origin))
        counts = b.icmp_signed("!=", e.word("padded"), e.const(I64, 0))
        return b.select(counts, padded, b.sub(end, first))

    # rows in scratch memory

    def _at(self, room: Value, index: Value, type_: Value) -> Value:
        return self.e.offset(room, self.e.b.mul(index, self.e.const(I64, bits_of(type_) // 8)))

    def _prepare(self) -> None:
        """The rows, neutral throughout, and what means are divided by."""
        e, b = self.e, self.e.b
        with e.loop(0, e.word("group")) as slot:
            self._take(slot.index)
            with e.loop(0, e.word("width"), self.lanes) as loop:
                b.store(self.start, self._at(self.row, loop.index, self.type), align=8)
                if self.form.places:
                    b.store(self.none, self._at(self.places, loop.index, self.index), align=8)
        if self.form.mnemonic != "tavgpool":
            return
        with e.loop(0, e.word("out", 2)) as loop:
            count = b.sitofp(self._count(2, loop.index), compute(self.held))
            b.store(count, self._at(self.counts, loop.index, self.type), align=8)

    def _blocks(self, n: Value, body: Callable[[Value, list[Value | None]], None]) -> None:
        """Vectors 0 to n, `_TOGETHER` at a time; `body` is given the first index and masks."""
        e, b, step = self.e, self.e.b, self.lanes * _TOGETHER
        whole = b.and_(n, e.const(I64, -step))
        with e.loop(0, whole, step) as loop:
            body(loop.index, [None] * _TOGETHER)
        rest = b.sub(n, whole)

        def single(at: Value, mask: Value | None) -> None:
            body(b.add(whole, at), [mask])

        each_vector(e, rest, self.lanes, single)

    def _combine(self, new: list[Value], old: list[Value]) -> list[Value]:
        """Two (value, place) or (value,): the greater with its place, or the sum."""
        b = self.e.b
        if not self.form.places:
            if self.fold is GREATEST and is_float(self.type):
                return [extreme(self.e, "max", new[0], old[0])]
            return [self.math.apply(self.fold.op, new[0], old[0])]
        (x, here), (y, there) = new, old
        none = self.e.const(self.index, 0)
        earlier = b.icmp_signed("<", here, there)
        if is_float(x.type):
            nan, known = b.fcmp_unordered("uno", x, x), b.fcmp_ordered("ord", y, y)
            greater = b.or_(b.fcmp_ordered(">", x, y), b.and_(nan, known))
            same = b.or_(b.fcmp_ordered("==", x, y), b.and_(nan, b.not_(known)))
        else:
            compare = b.icmp_signed if self.dtype.signed else b.icmp_unsigned
            greater, same = compare(">", x, y), b.icmp_signed("==", x, y)
        better = b.or_(greater, b.and_(same, earlier))
        better = b.or_(better, b.icmp_signed("<", there, none))
        better = b.and_(better, b.icmp_signed(">=", here, none))
        return [b.select(better, x, y), b.select(better, here, there)]

    def _neutral(self) -> list[Value]:
        return [self.start, self.none] if self.form.places else [self.start]

    # the first pass: rows of the source into one

    def _load(self, line: Value, at: Value, mask: Value | None) -> Value:
        e = self.e
        place = e.offset(line, e.b.mul(at, e.const(I64, self.dtype.size)))
        e.prefetch(e.offset(place, _AHEAD))
        x = widen(e, e.load(place, vector(storage(self.dtype), self.lanes), mask), self.dtype)
        if not self.form.power:
            return x
        if self.form.power == 2:
            return e.b.fmul(x, x)
        x = self.math.op_abs(x)
        return x if self.form.power == 1 else self.math.op_pow(x, e.number("power", x.type))

    def _down(self, source: Value, parts: Sequence[tuple[Value, Value, Value]]) -> None:
        """Fold the rows of the source that windows reach; masked lanes lie behind the row."""
        e, b = self.e, self.e.b
        (first, end, top), (first_row, end_row, top_row) = parts
        kinds = len(self._neutral())

        def place(d: int, origin: Value, tap: Value) -> Value:
            if self.form.dilated:
                tap = b.mul(tap, e.word("dilation", d))
            return b.add(origin, tap)

        def block(at: Value, masks: list[Value | None]) -> None:
            start = self._neutral() * len(masks)
            ats = [b.add(at, e.const(I64, k * self.lanes)) for k in range(len(masks))]
            with e.loop(first, end, carry=start) as deep:
                depth = place(0, top, deep.index)
                plane = e.offset(source, b.mul(depth, e.word("back", 0)))
                with e.loop(first_row, end_row, carry=deep.values) as high:
                    row = place(1, top_row, high.index)
                    line = e.offset(plane, b.mul(row, e.word("back", 1)))
                    before = b.mul(b.add(b.mul(depth, e.word("size", 1)), row), e.word("size", 2))
                    following: list[Value] = []
                    for k, (where, mask) in enumerate(zip(ats, masks, strict=True)):
                        new = [self._load(line, where, mask)]
                        if self.form.places:
                            new.append(self._flat(b.add(before, where)))
                        following += self._combine(new, high.values[k * kinds : (k + 1) * kinds])
                    high.next(*following)
                deep.next(*high.values)
            for k, (where, mask) in enumerate(zip(ats, masks, strict=True)):
                for room, value in zip(
                    (self.row, self.places), deep.values[k * kinds : (k + 1) * kinds], strict=False
                ):
                    to = self._at(room, b.add(where, e.word("pad", 2)), value.type)
                    neutral = self.start if room is self.row else self.none
                    e.store(blank(e, value, mask, neutral), to)

        self._blocks(e.word("size", 2), block)

    def _flat(self, first: Value) -> Value:
        """`first` and the numbers behind it, as places."""
        e, b = self.e, self.e.b
        element = I64 if self.form.wide else I32
        first = first if self.form.wide else b.trunc(first, I32)
        return b.add(e.splat(first, self.lanes), e.iota(element, self.lanes))

    # the second pass: windows of that row

    def _window(self, room: Value, first: Value, rest: int, type_: Value) -> Value:
        """The elements of the row `rest` behind `first` and every stride further, by lanes."""
        e, b, element, stride = self.e, self.e.b, type_.element, self.form.stride
        place = self._at(room, first, type_)
        if stride == 1:
            return e.load(place, type_)
        if stride:
            loaded = e.load(place, vector(element, stride * self.lanes))
            picks = [ir.Constant(I32, stride * k + rest) for k in range(self.lanes)]
            pick = ir.Constant(vector(I32, self.lanes), picks)
            return b.shuffle_vector(loaded, ir.Constant(loaded.type, ir.Undefined), pick)
        steps = b.mul(e.splat(e.word("stride", 2), self.lanes), e.iota(I64, self.lanes))
        inside = b.icmp_unsigned(
            "<", b.add(e.splat(first, self.lanes), steps), e.splat(e.word("width"), self.lanes)
        )  # lanes behind the last window may lie anywhere
        offsets = b.mul(steps, e.const(steps.type, bits_of(element) // 8))
        return e.gather(place, offsets, element, inside)

    def _windows(self, ats: Sequence[Value]) -> list[list[Value]]:
        """What each vector of windows holds, the first window of a vector being at `ats`."""
        e, b = self.e, self.e.b
        rooms = ((self.row, self.type), (self.places, self.index))[: len(self._neutral())]
        stride = self.form.stride or e.word("stride", 2)
        stride = e.const(I64, stride) if isinstance(stride, int) else stride
        firsts = [b.mul(at, stride) for at in ats]

        def tap(first: Value, rest: int, old: list[Value]) -> list[Value]:
            return self._combine([self._window(r, first, rest, t) for r, t in rooms], old)

        if self.form.taps and not self.form.dilated:
            found = [self._neutral() for _ in ats]
            for j in range(self.form.taps):
                rest = j % self.form.stride if self.form.stride else 0
                found = [
                    tap(b.add(first, e.const(I64, j - rest)), rest, old)
                    for first, old in zip(firsts, found, strict=True)
                ]
            return found
        kinds = len(rooms)
        with e.loop(0, e.word("kernel", 2), carry=self._neutral() * len(ats)) as loop:
            following: list[Value] = []
            for k, first in enumerate(firsts):
                place = b.add(first, b.mul(loop.index, e.word("dilation", 2)))
                following += tap(place, 0, loop.values[k * kinds : (k + 1) * kinds])
            loop.next(*following)
        return [loop.values[k * kinds : (k + 1) * kinds] for k in range(len(ats))]

    def _along(self, out: Value, places: Value | None, image: Value, count: Value) -> None:
        e, b = self.e, self.e.b
        each = e.splat(b.sitofp(count, compute(self.held)), self.lanes) if self._averages else None

        def block(at: Value, masks: list[Value | None]) -> None:
            ats = [b.add(at, e.const(I64, k * self.lanes)) for k in range(len(masks))]
            found = self._windows(ats)
            for where, mask, values in zip(ats, masks, found, strict=True):
                self._store(values[0], out, where, each, mask)
                if places is not None:
                    flat = values[1]
                    wide = flat if self.form.wide else b.sext(flat, vector(I64, self.lanes))
                    real = b.icmp_signed(">=", wide, e.const(wide.type, 0))
                    whole = b.select(real, b.add(wide, e.splat(image, self.lanes)), wide)
                    e.store(whole, e.offset(places, b.mul(where, e.const(I64, 8))), mask)

        self._blocks(e.word("out", 2), block)

    @property
    def _averages(self) -> bool:
        return self.form.mnemonic == "tavgpool"

    def _store(
        self, value: Value, out: Value, at: Value, each: Value | None, mask: Value | None
    ) -> None:
        e, b = self.e, self.e.b
        if each is not None:
            across = e.load(self._at(self.counts, at, self.type), self.type)
            value = b.fdiv(value, b.fmul(each, across))
        elif self.form.power == 2:
            value = self.math.op_sqrt(value)
        elif self.form.power > 2:
            root = b.fdiv(e.const(value.type, 1.0), e.number("power", value.type))
            value = self.math.op_pow(value, root)
        place = e.offset(out, b.mul(at, e.const(I64, self.dtype.size)))
        e.store(narrow(e, value, self.dtype), place, mask)
