"""Gather: elements and slices picked by a tensor of indices, along one axis or several.

`tgather`            result[b…, i…, a…] = data[b…, indices[i…], a…]          slices along an axis
`tgather_elements`   result[b…, j, a…] = data[b…, indices[b…, j, a…], a…]    one index an element
`tgather_nd`         result[b…, i…, a…] = data[b…, indices[b…, i…, :], a…]   several coordinates

They are one kernel. It walks the result with three pointers: into the result, into the data (which
stands still along the dimensions that indices replace) and into the indices (which stand still
along those of a slice). At each row it *locates*: up to eight coordinates, each from the end if
negative, times the data's stride. A row is one of

row       a piece of a slice, adjacent in both: one place, then vectors
lanes     adjacent elements with an index each, adjacent too: a vector of indices at a time
element   anything else, one at a time

A kernel before it looks at every index; the plan stops there when one is out of range.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.elementwise import RAW
from emu.cpu.tensor.emit import I1, I32, I64, Block, Emitter, Value, lanes_of, like, target, vector
from emu.cpu.tensor.faults import Operand
from emu.cpu.tensor.kernels import Word, kernel
from emu.cpu.tensor.rows import (
    RowCopy,
    elements_at,
    layout,
    rows,
    set_bits,
    shares,
    whole,
    words,
)
from emu.cpu.tensor.vectors import storage

COORDINATES = "k extents:8 steps:8 next"
"""How many coordinates an index has, the data's extents and strides along them, and how far apart
(in bytes) the coordinates of one index lie."""
_LOOK = Block(f"{words(1)} {COORDINATES}")
_PICK = Block(f"{words(3)} {COORDINATES}")


@dataclass(frozen=True)
class Picks:
    """Where indices lead: views over the dims of the picked tensor (the result of a gather, the
    updates of a scatter)."""

    data: View
    """What is picked from, standing still along the dimensions that indices replace."""
    indices: View
    """The first coordinate of each index, standing still along the dimensions of a slice."""
    looked: View
    """The first coordinate of each index, once."""
    coordinates: dict[str, Word]
    """The values of `COORDINATES`."""


@schedule("tgather")
def _gather(call: Call) -> None:
    run_gather(call["d"], call["x"], call["y"], call.axis)


@schedule("tgather_elements")
def _gather_elements(call: Call) -> None:
    run_gather_elements(call["d"], call["x"], call["y"], call.axis)


@schedule("tgather_nd")
def _gather_nd(call: Call) -> None:
    run_gather_nd(call["d"], call["x"], call["y"], call.at.count)


def along(data: View, indices: View, axis: int) -> Picks:
    """`tgather`: every index picks a slice along the axis."""
    before, behind = data.strides[:axis], data.strides[axis + 1 :]
    dims = data.dims[:axis] + indices.dims + data.dims[axis + 1 :]
    still = (0,) * indices.rank
    return Picks(
        View(data.address, data.dtype, dims, before + still + behind),
        View(
            indices.address, indices.dtype, dims,
            (0,) * len(before) + indices.strides + (0,) * len(behind),
        ),
        indices,
        _one(data, axis),
    )  # fmt: skip


def elements(data: View, indices: View, axis: int) -> Picks:
    """`tgather_elements`: every element has its own index along the axis."""
    strides = tuple(0 if d == axis else stride for d, stride in enumerate(data.strides))
    source = View(data.address, data.dtype, indices.dims, strides)
    return Picks(source, indices, indices, _one(data, axis))


def coordinates(data: View, indices: View, batch: int) -> Picks:
    """`tgather_nd`: the last dimension of the indices holds coordinates of a slice."""
    k = indices.dims[-1]
    dims = indices.dims[:-1] + data.dims[batch + k :]
    behind = data.strides[batch + k :]
    picking = indices.rank - 1 - batch
    first = View(indices.address, indices.dtype, indices.dims[:-1], indices.strides[:-1])
    return Picks(
        View(data.address, data.dtype, dims, data.strides[:batch] + (0,) * picking + behind),
        View(indices.address, indices.dtype, dims, first.strides + (0,) * len(behind)),
        first,
        {
            "k": k, "extents": data.dims[batch : batch + k],
            "steps": data.strides[batch : batch + k], "next": indices.strides[-1],
        },
    )  # fmt: skip


def _one(data: View, axis: int) -> dict[str, Word]:
    return {"k": 1, "extents": [data.dims[axis]], "steps": [data.strides[axis]], "next": 0}


def run_gather(destination: View, data: View, indices: View, axis: int) -> None:
    """destination = data's slices along `axis`. The plan begins with a look at the indices."""
    _run(destination, along(data, indices, axis))


def run_gather_elements(destination: View, data: View, indices: View, axis: int) -> None:
    """destination = data's elements, picked along `axis` by an index each."""
    _run(destination, elements(data, indices, axis))


def run_gather_nd(destination: View, data: View, indices: View, batch: int) -> None:
    """destination = data's slices behind coordinates, after `batch` common dimensions."""
    _run(destination, coordinates(data, indices, batch))


def _run(destination: View, picks: Picks) -> None:
    look(picks)
    pick(destination, picks)


def pick(destination: View, picks: Picks) -> None:
    """destination = the picked elements; the indices have been looked at."""
    raw, dtype = RAW[destination.dtype.size], picks.indices.dtype
    parameters = layout([destination, picks.data, picks.indices])
    kind = row_kind(parameters, raw, dtype, vectors=picks.coordinates["k"] == 1)
    name = f"gather {raw.name} {dtype.name} {kind}"
    run = kernel(name, _PICK, lambda e: _write(e, raw, dtype, kind), parallel=True)
    run(**parameters, **picks.coordinates)


def row_kind(parameters: dict[str, Word], raw: DType, dtype: DType, *, vectors: bool) -> str:
    """What the rows of a walk over (picked tensor, data, indices) are: see the top."""
    steps = tuple(parameters[f"i{k}"] for k in range(3))
    if steps == (raw.size, raw.size, 0):
        return "row"
    return "lanes" if vectors and steps[0] == raw.size and steps[2] == dtype.size else "element"


def look(picks: Picks) -> None:
    """Record a look at every index, which blames their operand if one is out of range."""
    dtype = picks.looked.dtype
    if picks.looked.count == 0:
        return
    parameters = layout([picks.looked])
    adjacent = parameters["i0"] == dtype.size
    name = f"gather look {dtype.name} {'row' if adjacent else 'element'}"
    run = kernel(name, _LOOK, lambda e: _write_look(e, dtype, adjacent))
    blame = Operand(picks.looked.address.region)
    run.check(blame, **parameters, **picks.coordinates)


def _write_look(e: Emitter, dtype: DType, adjacent: bool) -> None:
    """Coordinate after coordinate, all indices of each."""
    b, share, size = e.b, whole(e), e.word("i0")
    lanes = target()[0] // 8 if adjacent else 1
    full = b.and_(share.end, e.const(I64, -lanes))
    rest = b.sub(share.end, full)
    tail = e.mask_below(rest, lanes)
    none = e.const(vector(I1, lanes), 0)
    with e.loop(0, e.word("k")) as axis:
        extent = e.splat(e.word("extents", axis.index), lanes)
        twice = b.add(extent, extent)
        shift = b.mul(axis.index, e.word("next"))

        def outside(start: Value, at: Value, mask: Value | None) -> Value:
            """Lanes with an index that is not from -extent to extent - 1; those that are masked
            hold 0, which is one if any is."""
            index = _index(e, e.offset(start, b.mul(at, size)), dtype, lanes, mask)
            return b.icmp_unsigned(">=", b.add(index, extent), twice)

        with rows(e, 1, share) as (line,):
            start = e.offset(line, shift)
            with e.loop(0, full, lanes, [none]) as at:
                at.next(b.or_(at.values[0], outside(start, at.index, None)))
            bad = at.values[0]
            if lanes > 1:
                with e.branch(b.icmp_signed(">", rest, e.const(I64, 0)), [bad]) as end:
                    end.next(b.or_(bad, outside(start, full, tail)))
                bad = end.values[0]
            e.fail_if(b.icmp_unsigned("!=", set_bits(e, bad), e.const(I64, 0)))


def _index(e: Emitter, place: Value, dtype: DType, lanes: int, mask: Value | None = None) -> Value:
    value = e.load(place, vector(storage(dtype), lanes), mask)
    return e.b.sext(value, like(value.type, I64)) if dtype.size < 8 else value


class Locator:
    """What indices add to the data's address. Made before the loops it is used in: that loads the
    words that all indices need."""

    def __init__(self, e: Emitter, dtype: DType) -> None:
        self.e, self.dtype = e, dtype
        self.k, self.next = e.word("k"), e.word("next")
        self.first = e.word("extents"), e.word("steps")
        lanes = target()[0] // 8
        self.wide = [e.splat(value, lanes) for value in self.first]

    def one(self, place: Value) -> Value:
        """Of the index at `place`."""
        e, b = self.e, self.e.b
        first = self._term(place, *self.first)
        with e.loop(1, self.k, carry=[first]) as axis:
            following = e.offset(place, b.mul(axis.index, self.next))
            words = (e.word(w, axis.index) for w in ("extents", "steps"))
            axis.next(b.add(axis.values[0], self._term(following, *words)))
        return axis.values[0]

    def several(self, place: Value) -> Value:
        """Of adjacent indices of one coordinate, in the lanes of a vector."""
        return self._term(place, *self.wide)

    def _term(self, place: Value, extent: Value, step: Value) -> Value:
        b, lanes = self.e.b, lanes_of(extent.type)
        index = _index(self.e, place, self.dtype, lanes)
        below = b.icmp_signed("<", index, self.e.const(index.type, 0))
        return b.mul(b.select(below, b.add(index, extent), index), step)


def _write(e: Emitter, raw: DType, dtype: DType, kind: str) -> None:
    b, element, share = e.b, storage(raw), shares(e)
    steps, locator = [e.word(w) for w in ("i0", "i1", "i2")], Locator(e, dtype)
    copy = RowCopy(e, share.begin, share.end, element)
    with rows(e, 3, share) as (to, back, pick):
        if kind == "row":
            source = e.offset(back, locator.one(pick))
            copy(to, source)
            return
        done = share.begin
        if kind == "lanes":
            lanes = target()[0] // 8
            own = b.mul(e.iota(I64, lanes), e.splat(steps[1], lanes))
            done = b.sub(share.end, b.and_(b.sub(share.end, done), e.const(I64, lanes - 1)))
            with e.loop(share.begin, done, lanes) as at:
                out, line, place = elements_at(e, (to, back, pick), at.index, steps)
                offsets = b.add(locator.several(place), own)
                for lane in range(lanes):  # faster than gathering loads wherever we looked
                    offset = b.extract_element(offsets, e.const(I32, lane))
                    e.store(e.load(e.offset(line, offset), element), e.offset(out, lane * raw.size))
        with e.loop(done, share.end) as at:
            out, line, place = elements_at(e, (to, back, pick), at.index, steps)
            e.store(e.load(e.offset(line, locator.one(place)), element), out)
