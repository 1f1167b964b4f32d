"""tconv: direct convolution over one to three spatial dimensions, nothing materialised.

*Schedule.* A convolution with one tap, no stride and no padding is a matrix product. Any other, for
an image, a group, a block of output channels and a row of output positions: one vector of
positions times `_BLOCK` channels stays in registers while all input channels and all taps of the
kernel pass by. A vector of input is loaded once per tap and serves every channel of the block.
Taps outside the image are cut off by the limits of the loops in all dimensions but the last, where
a mask does it, so padding is never written anywhere.
"""

from __future__ import annotations

from itertools import product

from emu.cpu.tensor.attributes import SPATIAL_MAX, Attributes
from emu.cpu.tensor.descriptor import Address, View
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import I32, Block, Emitter, Value, vector
from emu.cpu.tensor.gemm import accumulator, lanes, multiply
from emu.cpu.tensor.kernels import SCRATCH, kernel
from emu.cpu.tensor.vectors import compute, storage, widen

_PARAMETERS = Block(
    "x w y out_d out_h out_w in_d in_h in_w channels taps_d taps_h taps_w blocks"
    " images groups x_n x_g w_g y_n y_g x_c x_d x_h x_w w_o w_c w_d w_h w_w y_o y_d y_h"
    " step_d step_h step_w gap_d gap_h gap_w pad_d pad_h pad_w"
)
_BLOCK = 8
"""Output channels that share one load of input."""


def run_conv(
    destination: View, image: View, weights: View, bias: View | None, at: Attributes
) -> None:
    """destination (n, o, spatial…) = image (n, c, spatial…) * weights (o, c / groups, taps…)."""
    with accumulator(destination) as target:
        if bias is None:
            run_copy(target, _zero(target))
        else:
            spatial = destination.rank - 2
            run_copy(target, View(bias.address, bias.dtype, bias.dims + (1,) * spatial,
                                  bias.strides + (0,) * spatial))  # fmt: skip
        if _is_pointwise(image, weights, at):
            _multiply(target, image, weights, at.groups)
        else:
            outputs = weights.dims[0] // at.groups
            whole = outputs - outputs % _BLOCK
            _channels(target, image, weights, at, 0, whole, _BLOCK)
            _channels(target, image, weights, at, whole, outputs - whole, 1)


def _is_pointwise(image: View, weights: View, at: Attributes) -> bool:
    """Whether each position depends on itself alone: then the convolution is a matrix product."""
    spatial = image.rank - 2
    return (
        all(taps == 1 for taps in weights.dims[2:])
        and all(step == 1 for step in at.stride[:spatial])
        and not any(at.pad_begin[:spatial] + at.pad_end[:spatial])
        and weights.dims[0] // at.groups >= _BLOCK
    )


def _multiply(target: View, image: View, weights: View, groups: int) -> None:
    """target += weights @ image for every image and group, over rows of the last dimension; the
    whole image is one row where its positions follow each other."""
    y, x = _as_rows(target, image)
    outputs, inputs = weights.dims[0] // groups, weights.dims[1]
    for index in product(range(y.dims[0]), range(groups), *map(range, y.dims[2:-1])):
        n, group, *row = index
        c = _address(y, (n, group * outputs, *row))
        b = _address(x, (n, group * inputs, *row))
        a = weights.address + group * outputs * weights.strides[0]
        multiply(
            View(c, y.dtype, (outputs, y.dims[-1]), (y.strides[1], y.strides[-1])),
            View(a, weights.dtype, (outputs, inputs), weights.strides[:2]),
            View(b, x.dtype, (inputs, x.dims[-1]), (x.strides[1], x.strides[-1])),
            accumulate=True,
        )


def _address(view: View, index: tuple[int, ...]) -> Address:
    """Where the element with this index is; trailing indices may be left out."""
    return view.address + sum(i * s for i, s in zip(index, view.strides, strict=False))


def _as_rows(*views: View) -> list[View]:
    """Views of equal spatial dims with the last of these merged as far as all of them allow."""
    merged = list(views)
    while merged[0].rank > 3 and all(v.strides[-2] == v.dims[-1] * v.strides[-1] for v in merged):
        merged = [
            View(v.address, v.dtype, (*v.dims[:-2], v.dims[-2] * v.dims[-1]),
                 (*v.strides[:-2], v.strides[-1]))
            for v in merged
        ]  # fmt: skip
    return merged


def _zero(like: View) -> View:
    """A zero, stretched to the dims of `like`."""
    address = SCRATCH.take(like.dtype.size)
    cell = View(address, like.dtype, (1,), (like.dtype.size,))
    kernel("zero", Block("to"), lambda e: e.store(e.const(vector(I32, 4), 0), e.pointer("to")))(
        to=address
    )
    return cell


def _channels(
    y: View, x: View, w: View, at: Attributes, first: int, count: int, block: int
) -> None:
    """`count` output channels of every group from `first` on, `block` at a time; adds to what y
    holds."""
    if not count:
        return
    unit = x.strides[-1] == x.dtype.size and at.stride[x.rank - 3] == 1
    outputs, inputs = w.dims[0] // at.groups, w.dims[1]
    words = {"x": x.address, "w": w.address + first * w.strides[0]}
    words |= {"y": y.address + first * y.strides[1], "images": x.dims[0], "groups": at.groups}
    words |= {"x_n": x.strides[0], "y_n": y.strides[0], "x_g": inputs * x.strides[1]}
    words |= {"w_g": outputs * w.strides[0], "y_g": outputs * y.strides[1]}
    words |= {"blocks": count, "channels": inputs, "x_c": x.strides[1], "w_c": w.strides[1]}
    words |= {"w_o": w.strides[0], "y_o": y.strides[1]}
    missing = SPATIAL_MAX - (x.rank - 2)
    for i, name in enumerate("dhw"):
        real = i - missing
        present = real >= 0
        d = real + 2
        words |= {
            f"in_{name}": x.dims[d] if present else 1,
            f"out_{name}": y.dims[d] if present else 1,
            f"taps_{name}": w.dims[d] if present else 1,
            f"x_{name}": x.strides[d] if present else 0,
            f"w_{name}": w.strides[d] if present else 0,
            f"step_{name}": at.stride[real] if present else 1,
            f"gap_{name}": at.dilation[real] if present else 1,
            f"pad_{name}": at.pad_begin[real] if present else 0,
        }
        if name != "w":
            words[f"y_{name}"] = y.strides[d] if present else 0
    name = f"tconv {x.dtype.name} {block} {'v' if unit else 'g'}"
    kernel(name, _PARAMETERS, lambda e: _Writer(e, x, block, unit).write())(**words)


class _Writer:
    """Writes the kernel for one element type, block and layout class of the input row."""

    def __init__(self, e: Emitter, x: View, block: int, unit: bool) -> None:
        self.e, self.b, self.block, self.unit = e, e.b, block, unit
        self.dtype = x.dtype
        self.lanes = lanes(x.dtype)
        self.type = vector(compute(x.dtype), self.lanes)

    def word(self, name: str) -> Value:
        return self.e.word(name)

    def times(self, index: Value, name: str) -> Value:
        """`index` times a parameter."""
        return self.b.mul(index, self.word(name))

    def write(self) -> None:
        """Images and groups, then blocks of channels, then rows of positions."""
        e = self.e
        with e.loop(0, self.word("images")) as n, e.loop(0, self.word("groups")) as g:
            self.image = self.moved(e.pointer("x"), (n.index, "x_n"), (g.index, "x_g"))
            weights = self.moved(e.pointer("w"), (g.index, "w_g"))
            result = self.moved(e.pointer("y"), (n.index, "y_n"), (g.index, "y_g"))
            with e.loop(0, self.word("blocks"), self.block) as o:
                w, y = self.moved(weights, (o.index, "w_o")), self.moved(result, (o.index, "y_o"))
                self.rows(w, y)

    def rows(self, w: Value, y: Value) -> None:
        """All positions of one block of channels."""
        e = self.e
        with e.loop(0, self.word("out_d")) as d, e.loop(0, self.word("out_h")) as h:
            row = self.moved(y, (d.index, "y_d"), (h.index, "y_h"))
            with e.loop(0, self.word("out_w"), self.lanes) as position:
                self.positions(w, row, (d.index, h.index, position.index))

    def moved(self, pointer: Value, *steps: tuple[Value, str]) -> Value:
        """`pointer` moved by indices times the strides of these names."""
        for index, stride in steps:
            pointer = self.e.offset(pointer, self.times(index, stride))
        return pointer

    def limits(self, name: str, index: Value) -> tuple[Value, Value, Value]:
        """Along one dimension: the first tap inside the image, the one behind the last, and the
        coordinate of tap 0."""
        e, b = self.e, self.b
        first = b.sub(self.times(index, f"step_{name}"), self.word(f"pad_{name}"))
        gap, zero = self.word(f"gap_{name}"), e.const(first.type, 0)
        below = b.sdiv(
            b.sub(
                b.sub(gap, e.const(gap.type, 1)), e.intrinsic("llvm.smin", first.type, first, zero)
            ),
            gap,
        )
        room = b.sub(b.add(b.sub(self.word(f"in_{name}"), first), gap), e.const(gap.type, 1))
        room = e.intrinsic("llvm.smax", room.type, room, zero)
        end = e.intrinsic("llvm.smin", gap.type, b.sdiv(room, gap), self.word(f"taps_{name}"))
        return below, end, first

    def positions(self, w: Value, row: Value, at: tuple[Value, Value, Value]) -> None:
        """One vector of positions, starting at output coordinates `at`, of a block of channels."""
        e, b = self.e, self.b
        size = self.dtype.compute.size
        inside = e.mask_below(b.sub(self.word("out_w"), at[2]), self.lanes)
        places = [
            e.offset(
                e.offset(row, b.mul(at[2], e.const(at[2].type, size))),
                b.mul(self.word("y_o"), e.const(at[2].type, j)),
            )
            for j in range(self.block)
        ]
        sums = [e.load(place, self.type, inside) for place in places]
        depth, height = self.limits("d", at[0]), self.limits("h", at[1])
        with e.loop(0, self.word("channels"), carry=sums) as c:
            x = self.moved(self.image, (c.index, "x_c"))
            v = e.offset(w, self.times(c.index, "w_c"))
            with e.loop(depth[0], depth[1], carry=c.values) as kd:
                x = e.offset(x, self.times(self.coordinate("d", depth[2], kd.index), "x_d"))
                v = e.offset(v, self.times(kd.index, "w_d"))
                with e.loop(height[0], height[1], carry=kd.values) as kh:
                    x = e.offset(x, self.times(self.coordinate("h", height[2], kh.index), "x_h"))
                    v = e.offset(v, self.times(kh.index, "w_h"))
                    kh.next(*self.taps(x, v, at[2], inside, kh.values))
                kd.next(*kh.values)
            c.next(*kd.values)
        for value, place in zip(c.values, places, strict=True):
            e.store(value, place, inside)

    def coordinate(self, name: str, first: Value, tap: Value) -> Value:
        return self.b.add(first, self.times(tap, f"gap_{name}"))

    def taps(
        self, x: Value, w: Value, position: Value, inside: Value, sums: list[Value]
    ) -> list[Value]:
        """The taps along the last dimension; the new sums."""
        e, b = self.e, self.b
        i64 = position.type
        steps = b.mul(e.iota(i64, self.lanes), e.splat(self.word("step_w"), self.lanes))
        start = b.sub(self.times(position, "step_w"), self.word("pad_w"))
        columns = b.add(e.splat(start, self.lanes), steps)
        limit = e.splat(self.word("in_w"), self.lanes)
        with e.loop(0, self.word("taps_w"), carry=sums) as kw:
            shift = self.times(kw.index, "gap_w")
            here = b.add(columns, e.splat(shift, self.lanes))
            mask = b.and_(b.icmp_unsigned("<", here, limit), inside)
            value = self.load(x, b.add(start, shift), here, mask)
            weight = e.offset(w, self.times(kw.index, "w_w"))
            following = []
            for j, total in enumerate(kw.values):
                place = e.offset(weight, b.mul(self.word("w_o"), e.const(i64, j)))
                factor = widen(e, e.load(place, storage(self.dtype)), self.dtype)
                following.append(e.fma(e.splat(factor, self.lanes), value, total))
            kw.next(*following)
        return list(kw.values)

    def load(self, x: Value, first: Value, columns: Value, mask: Value) -> Value:
        """The input at `columns` of the row `x`, zero outside `mask`."""
        e, b = self.e, self.b
        element = storage(self.dtype)
        if self.unit:
            place = e.offset(x, b.mul(first, e.const(first.type, self.dtype.size)))
            value = e.load(place, vector(element, self.lanes), mask)
        else:
            offsets = b.mul(columns, e.splat(self.word("x_w"), self.lanes))
            value = e.gather(x, offsets, element, mask)
        return widen(e, value, self.dtype)
