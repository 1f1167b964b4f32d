"""Reductions: the schedule. `folds.py` says what is folded, `reduce_code.py` writes the kernels.

Layouts are those of `axes.py` (row, column, element) and two narrow ones, where lines are so short
that a vector would be mostly empty:

short     rows of few elements, one behind the other: as many lines as there are lanes are loaded
          together and taken apart
cycle     few columns, row behind row: vectors run over the rows as if they were one line, and what
          belongs to a column is put together at the end

Where there are fewer results than would occupy several threads, lines are cut into chunks of fixed
size: one step folds each chunk, a second one the chunks' results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from emu.cpu.tensor.axes import UNROLL, VECTOR, Lines, expanded, split
from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.folds import FOLDS
from emu.cpu.tensor.kernels import SCRATCH, kernel
from emu.cpu.tensor.reduce_code import BLOCK, STRIP, Reduction

_CHUNK = 1 << 15
"""Elements that one result of the first step is made of, where a fold takes two steps."""
_FEW = 16
"""Results fewer than these are not enough to share among threads."""
_SHORT, _CYCLE = 16, 16
"""The most elements of a short row (half of it with exponentials), the most columns of a cycle."""


@schedule(*FOLDS)
def _reduce(call: Call) -> None:
    run_reduce(call.mnemonic, call["d"], call["x"], call.axes)


def run_reduce(mnemonic: str, destination: View, source: View, axes: Sequence[int]) -> None:
    """Fold `axes` of a host view; the destination has the other dimensions, or ones among them."""
    lines = split(expanded(destination, source.rank, axes), source, axes)
    count = float(math.prod(source.dims[d] for d in axes))
    strips = -(-lines.columns // STRIP)
    few = lines.count * strips < _FEW and lines.n * lines.columns > 4 * _CHUNK
    if not few or lines.extents:
        _record(mnemonic, "all", source.dtype, destination.dtype, lines, lines.n, count)
        return
    held = FOLDS[mnemonic].accumulator(source.dtype)
    chunk = -(-_CHUNK // lines.columns)
    first, second = _in_chunks(lines, chunk, held.size)
    _record(mnemonic, "first", source.dtype, held, first, chunk, count)
    _record(mnemonic, "second", held, destination.dtype, second, second.n, count)


def _in_chunks(lines: Lines, chunk: int, size: int) -> tuple[Lines, Lines]:
    """The step that folds every `chunk` elements of a line to a result of `size` bytes in scratch
    memory, and the one that folds these."""
    chunks, row = -(-lines.n // chunk), lines.columns * size
    steps = [chunks * row * math.prod(lines.dims[:d]) for d in range(len(lines.dims))]
    scratch = SCRATCH.take(lines.count * chunks * row)
    first = replace(lines, to=scratch, to_steps=steps)
    layout = "column" if lines.layout == "column" else "row"
    second = replace(lines, layout=layout, source=scratch, source_steps=steps, n=chunks, step=row)
    return first, second


def _record(
    mnemonic: str, role: str, source: DType, target: DType, lines: Lines, chunk: int, count: float
) -> None:
    """Record a step. Its role: to fold `all`, chunks (`first`), or the chunks' results."""
    fold, lines = FOLDS[mnemonic], _narrow(mnemonic, lines, source.size, target.size)
    layout = lines.layout
    behind = lines.step == lines.columns * source.size and lines.columns <= STRIP
    few = {
        "short": lines.n, "cycle": lines.columns, "column": 1 if behind else UNROLL,
    }.get(layout, 0 if lines.extents else 1)  # fmt: skip
    run = kernel(
        f"{mnemonic} {role} {source.name} {target.name} {layout} {few}",
        BLOCK,
        lambda e: Reduction(e, fold, role, source, target, layout, few).write(),
        parallel=True,
    )
    chunks, strips = max(-(-lines.n // max(chunk, 1)), 1), -(-lines.columns // STRIP)
    row = lines.columns * target.size
    lines = lines.cut(chunks, row, chunk * lines.step)
    across = source.size * (lines.n if layout == "short" else 1)
    lines = lines.cut(strips, STRIP * target.size, STRIP * across)
    run(**lines.words(), chunk=chunk, chunks=chunks, strips=strips, count=count)


def _narrow(mnemonic: str, lines: Lines, size: int, result: int) -> Lines:
    """The same lines, in one of the narrow layouts if that applies."""
    if lines.extents or not lines.n:
        return lines
    behind = (lines.to_steps[:1], lines.source_steps[:1]) == ([result], [lines.n * size])
    short = _SHORT // 2 if FOLDS[mnemonic].shifted else _SHORT
    if lines.layout == "row" and lines.n <= short and lines.dims[0] > 1 and behind:
        return replace(
            lines, layout="short", columns=lines.dims[0], dims=lines.dims[1:],
            to_steps=lines.to_steps[1:], source_steps=lines.source_steps[1:],
        )  # fmt: skip
    adjacent = lines.step == lines.columns * size and lines.n > 4 * VECTOR
    few = lines.layout == "column" and lines.columns <= _CYCLE
    if few and adjacent and not FOLDS[mnemonic].shifted:
        return replace(lines, layout="cycle")
    return lines
