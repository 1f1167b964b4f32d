"""Padding: a tensor with elements added around it, or taken away, on any of its sides.

A side with a negative pad is cut off first. What is added is a constant, or comes from the tensor:
its `edge` repeated, its `reflect`ion (the edge itself not repeated), or its other end (`wrap`). All
of them go on however far the padding reaches. Dimensions that are padded go by table (`tables.py`);
in a row that is padded itself, what lies between the pads is copied by vectors, and a constant
needs no table.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.cpu.tensor.call import Call, schedule
from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.elementwise import RAW
from emu.cpu.tensor.emit import I64, Block, Emitter, Value
from emu.cpu.tensor.kernels import SCRATCH, Word, kernel
from emu.cpu.tensor.rows import RowCopy, constant, fill_row, shares
from emu.cpu.tensor.tables import (
    NONE,
    OUTSIDE,
    WORDS,
    Line,
    Row,
    merged,
    parameters,
    put,
    table_rows,
)
from emu.cpu.tensor.vectors import storage
from emu.isa.xaitensor.moving_rules import pads

_BLOCK = Block(f"{WORDS} value filler")
_TABLES = Block("k base begin:8 source:8 extent:8 step:8 unit:8 back:8 table:8")


@schedule("tpad")
def _pad(call: Call) -> None:
    begin, _ = pads(call.scope, call["x"].rank)
    run_pad(call["d"], call["x"], call.get("value"), begin, call.mode, call.at.alpha)


def run_pad(
    destination: View,
    source: View,
    filler: View | None,
    begin: Sequence[int],
    mode: str,
    value: float,
) -> None:
    """destination = source with `begin[d]` elements before it along dimension d, and as many behind
    as there is room for. `filler` holds the constant, or else it is `value`."""
    cut = [max(-b, 0) for b in begin]
    address = source.address
    for count, stride in zip(cut, source.strides, strict=True):
        address = address + count * stride
    pads = [max(b, 0) for b in begin]
    left = [
        min(n - c, m - p)
        for n, c, m, p in zip(source.dims, cut, destination.dims, pads, strict=True)
    ]
    source = View(address, source.dtype, tuple(left), source.strides)
    lines, room = merged(
        [
            Line(extent, to, back, extent != had, before, before + had)
            for extent, had, to, back, before in zip(
                destination.dims, source.dims, destination.strides, source.strides, pads,
                strict=True,
            )
        ],
        row=mode != "constant",
    )  # fmt: skip
    base = _tables(lines, room, mode) if room else 0
    dtype, raw = destination.dtype, RAW[destination.dtype.size]
    adjacent = (lines[0].to, lines[0].back) == (raw.size, raw.size)
    kind = "row" if adjacent else "element"
    if mode != "constant":
        what = f"table {raw.name}"
    else:
        what = f"fill {dtype.name}" if filler is None else f"filler {raw.name}"
    run = kernel(
        f"pad {what} {kind}", _BLOCK, lambda e: _write(e, dtype, what, adjacent), parallel=True
    )
    words = parameters(destination, source, base, lines)
    if filler is not None:
        words["filler"] = filler.address
    run(**words, value=float(value))


def _tables(lines: Sequence[Line], room: int, mode: str) -> Word:
    """Where the lines' tables are; records the step that fills them."""
    base = SCRATCH.take(room)
    mapped = [line for line in lines if line.table != NONE]
    kernel(f"pad table {mode}", _TABLES, lambda e: _write_table(e, mode))(
        k=len(mapped), base=base, begin=[line.low // line.unit for line in mapped],
        source=[(line.high - line.low) // line.unit for line in mapped],
        extent=[line.extent // line.unit for line in mapped],
        step=[line.step for line in mapped], unit=[line.unit for line in mapped],
        back=[line.back for line in mapped], table=[line.table for line in mapped],
    )  # fmt: skip
    return base


def _write_table(e: Emitter, mode: str) -> None:
    """For every dimension with a table, each index less the padding before it, brought into the
    data."""
    b, zero, one = e.b, e.const(I64, 0), e.const(I64, 1)

    def modulo(value: Value, by: Value) -> Value:
        rest = b.srem(value, by)
        return b.select(b.icmp_signed("<", rest, zero), b.add(rest, by), rest)

    with e.loop(0, e.word("k")) as axis:
        begin, source, extent, step = (
            e.word(w, axis.index) for w in ("begin", "source", "extent", "step")
        )
        last = b.sub(source, one)
        period = e.intrinsic("llvm.smax", I64, b.add(last, last), one)
        with e.loop(0, extent) as at:
            index = b.sub(at.index, begin)
            inside = b.icmp_unsigned("<", index, source)
            if mode == "edge":
                index = e.intrinsic("llvm.smax", I64, index, zero)
                index = e.intrinsic("llvm.smin", I64, index, last)
            elif mode == "wrap":
                index = modulo(index, source)
            elif mode == "reflect":
                index = modulo(index, period)
                index = e.intrinsic("llvm.smin", I64, index, b.sub(period, index))
            start = b.mul(index, step)
            if mode == "constant":
                start = b.select(inside, start, e.const(I64, OUTSIDE))
            put(e, axis.index, at.index, start)


def _write(e: Emitter, dtype: DType, what: str, adjacent: bool) -> None:
    b, share, raw = e.b, shares(e, 64), storage(RAW[dtype.size])
    steps = e.word("i0"), e.word("i1")
    low, high = (
        e.intrinsic("llvm.smin", I64, e.intrinsic("llvm.smax", I64, e.word(w), share.begin),
                    share.end)
        for w in ("low", "high")
    )  # fmt: skip
    shift, table = e.word("shift"), e.offset(e.pointer("base"), e.word("column_table"))
    copy = RowCopy(e, low, high, raw)
    filler = None
    if what.startswith("filler"):
        filler = e.load(e.pointer("filler"), raw)
    elif what.startswith("fill"):
        filler = constant(e, "value", dtype)

    def edges(row: Row, begin: Value, end: Value) -> None:
        if filler is not None and adjacent:
            fill_row(e, row.to, filler, begin, end)
            return
        with e.loop(begin, end) as at:
            value = filler
            if value is None:
                entry = e.offset(table, b.shl(at.index, e.const(I64, 3)))
                value = e.load(e.offset(row.back, b.load(entry, typ=I64, align=8)), raw)
            e.store(value, e.offset(row.to, b.mul(at.index, steps[0])))

    def middle(row: Row) -> None:
        edges(row, share.begin, low)
        back = e.offset(row.back, shift)
        if adjacent:
            copy(row.to, back)
        else:
            with e.loop(low, high) as at:
                value = e.load(e.offset(back, b.mul(at.index, steps[1])), raw)
                e.store(value, e.offset(row.to, b.mul(at.index, steps[0])))
        edges(row, high, share.end)

    with table_rows(e, share) as row:
        if filler is None:
            middle(row)
            return
        with b.if_else(row.inside) as (then, otherwise):
            with then:
                middle(row)
            with otherwise:
                edges(row, share.begin, share.end)
