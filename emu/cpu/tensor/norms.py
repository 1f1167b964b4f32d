"""Normalisation of lines: layer, RMS, instance and group norm, and division by a line's Lp norm.

Every one of them takes one or two sums over a line (its statistics) and maps each element to
(x - mean) * factor * scale + bias. `Norm` says which sums; scale and bias lie `along` the line
(layer norm), or there is one for each segment of it, a channel (instance and group norm).

*Schedule.* A line that fits the caches is read from memory once: sums, then results, while the next
line is being fetched. A longer one is cut into chunks: one step sums each, a second adds these up
(every part all of them) and computes results. Lines that are not adjacent in memory go through
dense copies. `norms_code.py` writes the kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emu.cpu.tensor.axes import VECTOR, adjacent_from, group_of
from emu.cpu.tensor.call import Call
from emu.cpu.tensor.call import schedule as bound
from emu.cpu.tensor.descriptor import View, dense
from emu.cpu.tensor.elementwise import run_copy, schedule
from emu.cpu.tensor.kernels import SCRATCH, Word, kernel
from emu.cpu.tensor.norms_code import BLOCK, CHUNK, ENTRY, LAYER, LP, RMS, SPAN, Form, Norm, Writer
from emu.cpu.tensor.softmax import STREAM

_LONG = 1 << 18
"""Bytes of a line from which it is cut into chunks."""


@bound("tlayernorm", "trmsnorm", in_place=True)
def _layer_norm(call: Call) -> None:
    norm = LAYER if call.mnemonic == "tlayernorm" else RMS
    run_layer_norm(
        call["d"], call["x"], call["scale"], call.get("bias"), call.axis, call.at.alpha,
        norm=norm, results=(call.get("mean"), call.get("factor")),
    )  # fmt: skip


@bound("tinstancenorm", "tgroupnorm", in_place=True)
def _group_norm(call: Call) -> None:
    groups = call.at.groups if call.mnemonic == "tgroupnorm" else call.size("c")
    scale, bias = call.get("scale"), call.get("bias")
    run_group_norm(call["d"], call["x"], scale, bias, groups, call.at.alpha)


@bound("tl2norm", in_place=True)
def _lp_norm(call: Call) -> None:
    run_lp_norm(call["d"], call["x"], call.axis, call.at.count)


def run_layer_norm(
    destination: View,
    source: View,
    scale: View | None,
    bias: View | None,
    axis: int,
    epsilon: float,
    *,
    norm: Norm = LAYER,
    results: tuple[View | None, View | None] = (None, None),
) -> None:
    """Over host views, the dimensions from `axis` on being a line.

    `scale` and `bias` broadcast to those; `results` take mean and 1/deviation, in the dimensions
    before `axis`. The source may be the destination.
    """
    target, source, after = _adjacent(destination, source, axis)
    line = source.dims[axis:]
    scale, bias = (v and _dense(v, line) for v in (scale, bias))
    lead = [v.permuted(tuple(range(axis))) for v in (target, source)]
    extra = [View(v.address, v.dtype, v.dims[:axis], v.strides[:axis]) for v in results if v]
    dims, steps = schedule([*lead, *extra])
    walk: dict[str, Word] = {"dims": dims, "s0": steps[0], "s1": steps[1]}
    rest = iter(steps[2:])
    walk |= {f"s{2 + k}": next(rest) for k, v in enumerate(results) if v}
    walk |= {f"p{2 + k}": v.address for k, v in enumerate(results) if v}
    n = _product(line)
    if not n:  # the mean of nothing is NaN; only a place to look at is missing
        source = source.at(SCRATCH.take(VECTOR))
        walk |= {"p1": source.address, "s1": [0] * len(dims)}
    _record(norm, target, source, walk, True, (n, 1, 1, n), scale, bias, results, epsilon)
    after()


def run_group_norm(
    destination: View,
    source: View,
    scale: View | None,
    bias: View | None,
    groups: int,
    epsilon: float,
) -> None:
    """Over host views (N, C, spatial…), each group of C/groups channels of an image being a line;
    with as many groups as channels it is instance norm. `scale` and `bias` are (C)."""
    target, source, after = _adjacent(destination, source, 1)
    images, channels, *spatial = source.dims
    segments, segment = channels // groups, _product(spatial)
    n = segments * segment
    steps = [[n * v.dtype.size, v.strides[0]] for v in (target, source)]
    walk: dict[str, Word] = {"dims": [groups, images], "s0": steps[0], "s1": steps[1]}
    shape = (n, groups, segments, segment)
    _record(LAYER, target, source, walk, False, shape, scale, bias, (None, None), epsilon)
    after()


def run_lp_norm(destination: View, source: View, axis: int, power: int) -> None:
    """x / ||x||_p along an axis, p being 1 or 2; a line of zeros stays one."""
    order = (*(d for d in range(source.rank) if d != axis), axis)
    run_layer_norm(
        destination.permuted(order), source.permuted(order), None, None, source.rank - 1, 0.0,
        norm=LP[power],
    )  # fmt: skip


def _product(extents: Sequence[int]) -> int:
    count = 1
    for extent in extents:
        count *= extent
    return count


def _adjacent(destination: View, source: View, axis: int) -> tuple[View, View, Callable[[], None]]:
    """Destination and source with lines that are adjacent in memory, and what to do at the end."""
    if adjacent_from(source, axis) and adjacent_from(destination, axis):
        return destination, source, lambda: None
    copy = dense(SCRATCH.take(source.bytes), source.dtype, source.dims)
    run_copy(copy, source)
    return copy, copy, lambda: run_copy(destination, copy)


def _dense(view: View, dims: tuple[int, ...]) -> View:
    """The view broadcast to `dims`, one element behind the other."""
    if view.dims == dims and view.is_dense():
        return view
    stretched = view.broadcast(dims)
    assert stretched is not None  # the instruction has checked the shapes
    copy = dense(SCRATCH.take(_product(dims) * view.dtype.size), view.dtype, dims)
    run_copy(copy, stretched)
    return copy


def _record(
    norm: Norm,
    target: View,
    source: View,
    walk: dict[str, Word],
    along: bool,
    shape: tuple[int, int, int, int],
    scale: View | None,
    bias: View | None,
    results: tuple[View | None, View | None],
    epsilon: float,
) -> None:
    """Record the steps. `walk` visits the lines (extents and strides, the fastest first); `shape`
    is n, groups, segments, segment."""
    n, groups, segments, segment = shape
    size = source.dtype.size
    dims, to, back = (list(walk[k]) for k in ("dims", "s0", "s1"))  # type: ignore[arg-type]
    lines = _product(dims)
    long = n * size >= _LONG and segment >= CHUNK // 4
    pieces = -(-segment // CHUNK) if long else 1
    group = 1 if long else group_of(n * size)
    words: dict[str, Word] = dict(
        walk, p0=target.address, p1=source.address, n=n, groups=groups, segments=segments,
        segment=segment, pieces=pieces, group=group, epsilon=epsilon,
        ahead=back[0] * group if dims else 0, stream=int(target.bytes >= STREAM),
    )  # fmt: skip
    for name, view in (("scale", scale), ("bias", bias)):
        if view is not None:
            words |= {name: view.address, f"i_{name}": view.strides[0] if view.rank else 0}
    roles: tuple[str, ...] = ("row" if n <= SPAN else "wide",)
    if long:
        cut = [(n, step) for n, step in ((pieces, CHUNK), (segments, segment)) if n > 1]
        dims = [count for count, _ in cut] + dims
        lines = _product(dims)
        steps = [step * size for _, step in cut]
        words |= {"s0": steps + to, "s1": steps + back, "sums": SCRATCH.take(lines * ENTRY)}
        still = [0] * len(cut)
        words |= {k: still + list(v) for k, v in words.items() if k in ("s2", "s3")}  # type: ignore[arg-type]
        roles = ("sums", "long")
    words |= {"dims": dims, "rank": len(dims), "lines": lines}
    types = tuple(v.dtype if v else None for v in (scale, bias, *results))
    for role in roles:
        form = Form(norm, role, source.dtype, along, types[0], types[1], (types[2], types[3]))
        run = kernel(form.name, BLOCK, lambda e, f=form: Writer(e, f).write(), parallel=True)  # type: ignore[misc]
        run(**words)
