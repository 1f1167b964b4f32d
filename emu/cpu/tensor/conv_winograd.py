"""Winograd's convolution F(4x4, 3x3): 36 products make 16 results that take 144 directly.

An image is cut into tiles of 6 by 6 elements that overlap by two; each gives 4 by 4 results:

    result = A' [ (G taps G') * (B' tile B) ] A

The product in brackets is elementwise, so over channels it is 36 matrix products, of output
channels and tiles. Everything here is two-dimensional, and in both dimensions the same: B', G and
A' are the functions `image_side`, `taps_side` and `result_side`, made from the points at which
polynomials are evaluated. Points, errors and the treatment of infinities: decision 018.

weights   transformed first, in a step of its own, to blocks of `lanes` output channels
image     some rows of tiles at a time, all input channels; vectors hold adjacent tiles
product   for a block of output channels the 36 products, on a register tile
result    transformed back, bias and activation included
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emu.cpu.tensor.conv_gemm import tile_for
from emu.cpu.tensor.conv_job import NONE, Job, adjacent
from emu.cpu.tensor.conv_words import Activation, Words, lanes, zero_room
from emu.cpu.tensor.descriptor import F32, DType
from emu.cpu.tensor.emit import I1, Block, Emitter, Value
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, kernel

WEIGHTS = Block("w u bias bias_o outputs channels w_o u_plane")
CONVOLVE = Block(
    "x w u y bias alpha beta zeros private v m scratch pitch images outputs channels"
    " tiles_h tiles_w unit_rows u_plane v_plane m_plane in_h in_w out_h out_w pad_h pad_w"
    " x_n x_c x_h w_o y_n y_c y_h bias_o"
)
"""`u` holds the transformed weights, `v` and `m` are scratch memory, `scratch` bytes apart for each
part: the transformed image and the products, rows of `pitch` bytes of tiles for each channel. Each
is 36 planes, which are not a power of two apart, or the cache could not hold a line of each."""
NEAR, FAR = 5 / 8, 3 / 2
"""Polynomials are evaluated at 0, ±NEAR, ±FAR and infinity."""
TILE, OUT, TAPS = 6, 4, 3
_IMAGE_BYTES, _ROWS_MAX = 1 << 20, 64
"""Of a transformed image that is worked on at a time, and the most rows of tiles of it."""
_CACHED = 1 << 17
"""Kernels of 3x3 taps that stay in a cache when they are transformed."""
_WEIGHTS_MAX = 1 << 22
"""Kernels of 3x3 taps that are transformed; more would take too much scratch memory."""
_NEAR2, _FAR2 = NEAR * NEAR, FAR * FAR


class _Side:
    """One-dimensional transforms: values in, values out."""

    def __init__(self, e: Emitter) -> None:
        self.e = e

    def scaled(self, x: Value, by: float) -> Value:
        return self.e.b.fmul(x, self.e.const(x.type, by))

    def plus(self, y: Value, by: float, x: Value) -> Value:
        """x by + y."""
        return self.e.fma(x, self.e.const(x.type, by), y)

    def image_side(self, d: Sequence[Value]) -> list[Value]:
        """B': 6 elements of a tile."""
        both, sum_ = _NEAR2 * _FAR2, _NEAR2 + _FAR2
        first, last = (self.plus(self.plus(d[k + 4], -sum_, d[k + 2]), both, d[k]) for k in (0, 1))
        pairs = []
        for point, other in ((NEAR, _FAR2), (FAR, _NEAR2)):
            even, odd = self.plus(d[4], -other, d[2]), self.plus(d[3], -other, d[1])
            pairs += [self.plus(even, point, odd), self.plus(even, -point, odd)]
        return [first, *pairs, last]

    def taps_side(self, g: Sequence[Value]) -> list[Value]:
        """G: 3 taps."""
        pairs = []
        for point, square, other in ((NEAR, _NEAR2, _FAR2), (FAR, _FAR2, _NEAR2)):
            norm = 1 / (2 * square * (square - other))
            even = self.plus(self.scaled(g[0], norm), norm * square, g[2])
            pairs += [self.plus(even, norm * point, g[1]), self.plus(even, -norm * point, g[1])]
        return [self.scaled(g[0], 1 / (_NEAR2 * _FAR2)), *pairs, g[2]]

    def result_side(self, m: Sequence[Value]) -> list[Value]:
        """A': 6 products to 4 results."""
        b = self.e.b
        near, far = b.fadd(m[1], m[2]), b.fadd(m[3], m[4])
        near_odd, far_odd = b.fsub(m[1], m[2]), b.fsub(m[3], m[4])
        return [
            b.fadd(b.fadd(m[0], near), far),
            self.plus(self.scaled(near_odd, NEAR), FAR, far_odd),
            self.plus(self.scaled(near, _NEAR2), _FAR2, far),
            self.plus(self.plus(m[5], NEAR**3, near_odd), FAR**3, far_odd),
        ]


def both_sides(
    side: Callable[[Sequence[Value]], list[Value]], square: Sequence[Sequence[Value]]
) -> list[list[Value]]:
    """A one-dimensional transform of the columns, then of the rows of a square."""
    columns = [side(column) for column in zip(*square, strict=True)]
    return [side(row) for row in zip(*columns, strict=True)]


class WinogradWeights(Words):
    """Writes the kernel that transforms weights to u[block][36][channel][lanes]."""

    def write(self) -> None:
        """A part is some blocks of output channels."""
        e, b = self.e, self.b
        taps = TAPS * TAPS
        columns = e.local(taps * self.lanes * self.lanes * self.size)
        channels, line = e.word("channels"), self.lanes * self.size
        first, end = self.share(self.up(e.word("outputs"), self.lanes))
        with e.loop(first, end) as block, e.loop(0, channels, self.lanes) as c:
            count = self.least(self.const(self.lanes), b.sub(channels, c.index))
            elements = self.times(count, taps)
            start = e.offset(e.pointer("w"), self.times(c.index, taps * self.size))
            with e.loop(0, elements, self.lanes) as k:
                mask = e.mask_below(b.sub(elements, k.index), self.lanes)
                rows = [
                    e.load(self.row(start, block.index, r, k.index), self.type, mask)
                    for r in range(self.lanes)
                ]
                to = e.offset(columns, self.times(k.index, line))
                for r, column in enumerate(self.transposed(rows)):
                    e.store(column, e.offset(to, r * line))
            with e.loop(0, count) as one:
                here = e.offset(columns, self.times(one.index, taps * line))
                g = [e.load(e.offset(here, t * line), self.type) for t in range(taps)]
                square = [g[t : t + TAPS] for t in range(0, taps, TAPS)]
                plane = e.word("u_plane")
                to = e.offset(e.pointer("u"), self.times(block.index, self.times(plane, TILE**2)))
                to = e.offset(to, self.times(b.add(c.index, one.index), line))
                for i, row in enumerate(both_sides(_Side(e).taps_side, square)):
                    for j, value in enumerate(row):
                        e.store(value, e.offset(to, self.times(plane, i * TILE + j)))

    def row(self, start: Value, block: Value, r: int, k: Value) -> Value:
        """Where elements from k on of the r-th output channel of a block are; a channel that does
        not exist is the last one."""
        b, e = self.b, self.e
        output = b.add(self.times(block, self.lanes), self.const(r))
        output = self.least(output, b.sub(e.word("outputs"), self.const(1)))
        place = e.offset(start, self.times(output, e.word("w_o")))
        return e.offset(place, self.times(k, self.size))

    def transposed(self, rows: list[Value]) -> list[Value]:
        """A square of as many rows as lanes: halves of pairs of rows, a distance apart that doubles
        each time, change places."""
        distance = 1
        while distance < self.lanes:
            low = [k if not k & distance else k - distance + self.lanes for k in range(self.lanes)]
            high = [k + distance if not k & distance else k + self.lanes for k in range(self.lanes)]
            for r in range(self.lanes):
                if not r & distance:
                    pair = rows[r], rows[r + distance]
                    rows[r], rows[r + distance] = (
                        self.shuffled(*pair, low), self.shuffled(*pair, high)
                    )  # fmt: skip
            distance *= 2
        return rows


class Winograd(Words):
    """Writes the kernel that convolves. `rows` by `vectors` is the register tile."""

    def __init__(
        self, e: Emitter, dtype: DType, act: Activation | None, rows: int, vectors: int
    ) -> None:
        super().__init__(e, dtype, act)
        self.rows, self.vectors = rows, vectors
        self.side = _Side(e)
        self.line = self.lanes * self.size

    def write(self) -> None:
        """Units are some rows of tiles of an image; then blocks of output channels."""
        e, b = self.e, self.b
        private = self.times(e.part, e.word("scratch"))
        self.v, self.m = (e.offset(e.pointer(name), private) for name in ("v", "m"))
        self.pitch = e.word("pitch")
        self.zeros = self.zero_row()
        blocks = self.up(e.word("outputs"), self.lanes)
        stripes = self.up(e.word("tiles_h"), e.word("unit_rows"))
        units, mine = self.shares(b.mul(e.word("images"), stripes), blocks)
        with e.loop(*units) as u:
            image, stripe = self.divided(u.index, stripes)
            first = b.mul(stripe, e.word("unit_rows"))
            rows = self.least(e.word("unit_rows"), b.sub(e.word("tiles_h"), first))
            self.transform_image(self.moved("x", (image, "x_n")), first, rows)
            y = self.moved("y", (image, "y_n"))
            with e.loop(*mine) as block:
                self.multiply(block.index, b.mul(rows, e.word("tiles_w")))
                with e.loop(0, self.const(self.lanes)) as r:
                    output = b.add(self.times(block.index, self.lanes), r.index)
                    with b.if_then(b.icmp_signed("<", output, e.word("outputs"))):
                        m = e.offset(self.m, b.mul(r.index, self.pitch))
                        self.transform_result(image, output, y, m, first, rows)

    # the image

    def transform_image(self, x: Value, first: Value, rows: Value) -> None:
        """v[36][channel][tile] of `rows` rows of tiles from `first` on. A vector of tiles may reach
        beyond its row: the next row overwrites that."""
        e, b = self.e, self.b
        with e.loop(0, rows) as row:
            top = self.times(b.add(first, row.index), OUT)
            lines = [self.image_line(x, b.add(top, self.const(i))) for i in range(TILE)]
            with e.loop(0, e.word("tiles_w"), self.lanes) as tile:
                left = b.sub(self.times(tile.index, OUT), e.word("pad_w"))
                starts = [b.add(left, self.const(v * self.lanes)) for v in range(OUT + 1)]
                masks = [self.between(at, e.word("in_w")) for at in starts]
                number = b.add(b.mul(row.index, e.word("tiles_w")), tile.index)
                to = e.offset(self.v, self.times(number, self.size))
                offsets = [self.times(at, self.size) for at in starts]
                with e.loop(0, e.word("channels")) as c:
                    square = []
                    for place, step in lines:
                        line = e.offset(place, b.mul(c.index, step))
                        pieces = [
                            e.load(e.offset(line, at), self.type, mask)
                            for at, mask in zip(offsets, masks, strict=True)
                        ]
                        square.append(self.side.image_side(self.columns(pieces)))
                    plane = e.word("v_plane")
                    goal = e.offset(to, b.mul(c.index, self.pitch))
                    for j, column in enumerate(zip(*square, strict=True)):
                        for i, value in enumerate(self.side.image_side(column)):
                            e.store(value, e.offset(goal, self.times(plane, i * TILE + j)))

    def image_line(self, x: Value, at: Value) -> tuple[Value, Value]:
        """A row of the padded image: where it is in the first channel, and the step to the next.
        Outside the image it is the row of zeros, the same for all channels."""
        e, b = self.e, self.b
        at = b.sub(at, e.word("pad_h"))
        inside = b.icmp_unsigned("<", at, e.word("in_h"))
        place = b.select(inside, e.offset(x, self.times(at, e.word("x_h"))), self.zeros)
        return place, b.select(inside, e.word("x_c"), self.const(0))

    def columns(self, pieces: Sequence[Value]) -> list[Value]:
        """From adjacent elements of a row, the six elements of each tile, a vector for each."""
        n = self.lanes
        even, odd = list(range(0, 2 * n, 2)), list(range(1, 2 * n, 2))
        halves = [
            self.shuffled(pieces[k], pieces[k + 1], pick) for pick in (even, odd) for k in (0, 2)
        ]
        quarters = [
            self.shuffled(halves[k], halves[k + 1], pick) for pick in (even, odd) for k in (0, 2)
        ]
        following = [self.shuffled(quarters[k], pieces[OUT], [*range(1, n), n + k]) for k in (0, 1)]
        return [*quarters, *following]

    # the products

    def multiply(self, block: Value, tiles: Value) -> None:
        """m[36][lanes][tile] for a block of output channels."""
        e, b = self.e, self.b
        number = b.mul(block, self.const(TILE**2))
        width = self.vectors * self.lanes
        with e.loop(0, self.const(TILE**2)) as k:
            u = self.moved("u", (b.add(number, k.index), "u_plane"))
            v = e.offset(self.v, self.times(k.index, e.word("v_plane")))
            m = e.offset(self.m, self.times(k.index, e.word("m_plane")))
            with e.loop(0, self.const(self.lanes), self.rows) as r:
                factors = e.offset(u, self.times(r.index, self.size))
                to = e.offset(m, b.mul(r.index, self.pitch))
                with e.loop(0, tiles, width) as t:
                    left = self.up(b.sub(tiles, t.index), self.lanes)
                    left = self.least(left, self.const(self.vectors))
                    at = self.times(t.index, self.size)
                    for piece in range(self.vectors, 0, -1):
                        right = b.icmp_signed("==", left, self.const(piece))
                        with b.if_then(right):
                            self.tile(factors, e.offset(v, at), e.offset(to, at), piece)

    def tile(self, u: Value, v: Value, m: Value, vectors: int) -> None:
        """One register tile, over all input channels."""
        e = self.e
        zero = [e.const(self.type, 0)] * (self.rows * vectors)
        with e.loop(0, e.word("channels"), carry=zero) as c:
            here = e.offset(v, self.times(c.index, self.pitch))
            values = [e.load(e.offset(here, k * self.line), self.type) for k in range(vectors)]
            place = e.offset(u, self.times(c.index, self.line))
            sums: list[Value] = []
            for r in range(self.rows):
                factor = e.load(e.offset(place, r * self.size), self.type.element)
                factor = e.splat(factor, self.lanes)
                own = c.values[r * vectors : (r + 1) * vectors]
                sums += [e.fma(factor, x, s) for x, s in zip(values, own, strict=True)]
            c.next(*sums)
        for k, value in enumerate(c.values):
            row, at = divmod(k, vectors)
            place = e.offset(m, self.times(self.pitch, row))
            e.store(value, e.offset(place, at * self.line))

    # the result

    def transform_result(
        self, image: Value, output: Value, y: Value, m: Value, first: Value, rows: Value
    ) -> None:
        """Rows of tiles of one output channel, whose products are at m."""
        e, b = self.e, self.b
        y = e.offset(y, self.times(output, e.word("y_c")))
        bias = self.bias(output)
        plane = e.word("m_plane")
        with e.loop(0, rows) as row, e.loop(0, e.word("tiles_w"), self.lanes) as tile:
            number = b.add(b.mul(row.index, e.word("tiles_w")), tile.index)
            here = e.offset(m, self.times(number, self.size))
            square = [
                [
                    e.load(e.offset(here, self.times(plane, i * TILE + j)), self.type)
                    for j in range(TILE)
                ]
                for i in range(TILE)
            ]
            results = both_sides(self.side.result_side, square)
            results = [[b.fadd(v, e.splat(bias, self.lanes)) for v in line] for line in results]
            at = (self.times(b.add(first, row.index), OUT), self.times(tile.index, OUT))
            self.store(y, results, at)
            mask = e.mask_below(b.sub(e.word("tiles_w"), tile.index), self.lanes)
            with b.if_then(self.is_spoiled(results, mask)):
                self.directly(image, output, y, at)

    def store(self, y: Value, results: list[list[Value]], at: tuple[Value, Value]) -> None:
        """Four rows of results, cut off at the edges of the destination."""
        e, b = self.e, self.b
        lane = range(self.lanes)
        low = [k // 2 + (k & 1) * self.lanes for k in lane]
        high = [k + self.lanes // 2 for k in low]
        for i, line in enumerate(results):
            halves = [self.shuffled(line[k], line[k + 2], p) for p in (low, high) for k in (0, 1)]
            pieces = [
                self.shuffled(halves[k], halves[k + 1], p) for k in (0, 2) for p in (low, high)
            ]
            row = b.add(at[0], self.const(i))
            with b.if_then(b.icmp_signed("<", row, e.word("out_h"))):
                to = e.offset(y, self.times(row, e.word("y_h")))
                for v, value in enumerate(pieces):
                    column = b.add(at[1], self.const(v * self.lanes))
                    mask = self.between(column, e.word("out_w"))
                    value = self.act(e, value) if self.act else value
                    e.store(value, e.offset(to, self.times(column, self.size)), mask)

    # infinities

    def is_spoiled(self, results: list[list[Value]], mask: Value) -> Value:
        """Whether a result is not finite: then what is not finite in the image or the weights has
        spread over the tile."""
        e, b = self.e, self.b
        zero = e.const(self.type, 0)
        total = zero
        for line in results:
            for value in line:
                total = e.fma(value, zero, total)
        bad = b.and_(b.fcmp_unordered("une", total, zero), mask)
        if self.lanes == 1:
            return bad
        return e.intrinsic(f"llvm.vector.reduce.or.v{self.lanes}i1", I1, bad, suffix=False)

    def directly(self, image: Value, output: Value, y: Value, at: tuple[Value, Value]) -> None:
        """Compute a vector of tiles anew by the definition."""
        e, b = self.e, self.b
        x, w = self.moved("x", (image, "x_n")), self.moved("w", (output, "w_o"))
        bottom = self.least(b.add(at[0], self.const(OUT)), e.word("out_h"))
        right = self.least(b.add(at[1], self.const(OUT * self.lanes)), e.word("out_w"))
        element = self.type.element
        with e.loop(at[0], bottom) as row, e.loop(at[1], right) as column:
            with e.loop(0, e.word("channels"), carry=[self.bias(output)]) as c:
                taps = e.offset(w, self.times(c.index, TAPS * TAPS * self.size))
                plane, total = e.offset(x, self.times(c.index, e.word("x_c"))), c.values[0]
                for i in range(TAPS):
                    line, _ = self.image_line(plane, b.add(row.index, self.const(i)))
                    for j in range(TAPS):
                        where = b.add(column.index, self.const(j))
                        where = b.sub(where, e.word("pad_w"))
                        inside = b.icmp_unsigned("<", where, e.word("in_w"))
                        here = e.offset(line, self.times(where, self.size))
                        value = e.load(b.select(inside, here, self.nothing), element)
                        tap = e.load(e.offset(taps, (i * TAPS + j) * self.size), element)
                        total = e.fma(value, tap, total)
                c.next(total)
            value = self.act(e, c.values[0]) if self.act else c.values[0]
            place = e.offset(y, self.times(row.index, e.word("y_h")))
            e.store(value, e.offset(place, self.times(column.index, self.size)))


def is_winograd(job: Job) -> bool:
    """Whether Winograd's convolution applies and is expected to take less time."""
    deep, high, wide = job.windows
    if job.y.dtype is not F32 or deep != NONE or job.groups != 1:
        return False
    if any(v.taps != 3 or v.step != 1 or v.gap != 1 for v in (high, wide)):
        return False
    outputs, channels = job.w.dims[:2]
    lane, images = lanes(F32), job.x.dims[0]
    if min(outputs, channels) < lane or outputs * channels > _WEIGHTS_MAX:
        return False
    high_tiles, wide_tiles = -(-high.out // OUT), -(-wide.out // OUT)
    vectors = images * -(-high_tiles * wide_tiles // lane)
    moved = images * high_tiles * -(-wide_tiles // lane) * 8 * TILE**2 * (outputs + channels)
    weights = 20 if outputs * channels <= _CACHED else 60
    ours = outputs * channels * (TILE**2 * max(vectors, 1.1) + weights) + moved
    return ours * 1.1 < outputs * channels * 9 * images * high.out * wide.out / lane


def winograd(job: Job) -> None:
    """Winograd's convolution: two steps, weights first."""
    (_, high, wide), x, y = job.windows, job.x, job.y
    (outputs, channels), lane, size = job.w.dims[:2], lanes(F32), F32.size
    weights = adjacent(job.w, 1, F32)
    if x.strides[4] != size:
        x = adjacent(x, 2, F32)
    u_plane = _odd_lines(channels * lane * size)
    u = SCRATCH.take(-(-outputs // lane) * u_plane * TILE**2)
    kernel(
        "winograd weights f32", WEIGHTS, lambda e: WinogradWeights(e, F32).write(), parallel=True
    )(
        w=weights.address, u=u, outputs=outputs, channels=channels,
        w_o=weights.strides[0], u_plane=u_plane,
    )  # fmt: skip
    tiles_h, tiles_w = -(-high.out // OUT), -(-wide.out // OUT)
    unit_rows = _unit_rows(tiles_h, tiles_w, channels)
    tiles = unit_rows * tiles_w
    pitch = (-(-tiles // lane) + 1) * lane * size
    rows, vectors = (lane, 1) if tiles <= lane else (min(lane, tile_for(outputs).rows), 3)
    v_plane, m_plane = _odd_lines(channels * pitch), _odd_lines(lane * pitch)
    private = TILE**2 * (v_plane + m_plane)
    place = SCRATCH.take(THREADS_MAX * private)
    row = zero_room(wide.size * size)
    run = kernel(
        f"tconv winograd f32 {rows}x{vectors} {job.name}",
        CONVOLVE,
        lambda e: Winograd(e, F32, job.activation(), rows, vectors).write(),
        parallel=True,
    )
    run(
        x=x.address, w=weights.address, u=u,
        zeros=SCRATCH.take(THREADS_MAX * row), private=row, v=place,
        m=place + TILE**2 * v_plane, scratch=private, pitch=pitch, u_plane=u_plane,
        v_plane=v_plane, m_plane=m_plane, images=x.dims[0], outputs=outputs, channels=channels,
        tiles_h=tiles_h, tiles_w=tiles_w, unit_rows=unit_rows, in_h=high.size, in_w=wide.size,
        out_h=high.out, out_w=wide.out, pad_h=high.pad, pad_w=wide.pad,
        x_n=x.strides[0], x_c=x.strides[1], x_h=x.strides[3], w_o=weights.strides[0],
        y_n=y.strides[0], y_c=y.strides[1], y_h=y.strides[3], **job.words(),
    )  # fmt: skip


def _odd_lines(size: int) -> int:
    """`size` bytes rounded up to an odd number of cache lines."""
    return (-(-size // 64) | 1) * 64


def _unit_rows(tiles_h: int, tiles_w: int, channels: int) -> int:
    """Rows of tiles to transform at a time: few vectors of tiles are to be incomplete, and the
    transformed image should stay in the second-level cache."""
    lane = lanes(F32)

    def cost(rows: int) -> float:
        """Of one unit, in thirds of a tile."""
        full, rest = divmod(-(-rows * tiles_w // lane), 3)
        return 3 * full + (0, 1.2, 2.1)[rest]

    most = max(1, _IMAGE_BYTES // (TILE**2 * channels * tiles_w * F32.size))
    choices = range(1, min(tiles_h, most, _ROWS_MAX) + 1)

    def total(rows: int) -> float:
        whole, rest = divmod(tiles_h, rows)
        return whole * cost(rows) + (cost(rest) if rest else 0)

    return min(choices, key=lambda rows: (total(rows), rows))
