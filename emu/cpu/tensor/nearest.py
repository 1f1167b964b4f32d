"""Resizing by nearest elements: a copy by table, a row repeated where its neighbour is the same.

In a row, where every element is repeated equally often, whole vectors are spread by shuffles;
otherwise each element is looked up.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from llvmlite import ir

from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.elementwise import RAW
from emu.cpu.tensor.emit import I32, I64, Block, Emitter, Value, target, vector
from emu.cpu.tensor.kernels import SCRATCH, Word, kernel
from emu.cpu.tensor.rows import Share, constant, copy_row, shares
from emu.cpu.tensor.tables import (
    OUTSIDE,
    WORDS,
    Line,
    Row,
    entry,
    merged,
    parameters,
    put,
    table_rows,
)
from emu.cpu.tensor.taps import Stretch, coordinate, whole_part
from emu.cpu.tensor.vectors import storage

_BLOCK = Block(f"{WORDS} value")
_TABLES = Block("k base source:8 extent:8 a:8 p:8 q:8 c:8 step:8 unit:8 back:8 table:8")
_REPEATS = (2, 4)


def run_nearest(
    destination: View, source: View, stretches: Sequence[Stretch], rounding: str, value: float
) -> None:
    """Each element of the destination is the nearest one of the source; `value` is what lies
    outside of it where a stretch crops."""
    lines, base = _lines(destination, source, stretches, rounding)
    dtype, raw, row = destination.dtype, RAW[destination.dtype.size], lines[0]
    crops = any(s.crops for s in stretches)
    kind = "pick"
    if row.to == raw.size and not crops:
        stretched = next((s for s in stretches if s.dim == row.dim), None)
        if not row.mapped and row.back == raw.size:
            kind = "copy"
        elif stretched and row.unit == 1 and row.back == raw.size:
            kind = f"repeat {factor}" if (factor := _factor(stretched, rounding)) else kind
    name = f"nearest {kind} {dtype.name if crops else raw.name}{' crop' if crops else ''}"
    run = kernel(name, _BLOCK, lambda e: _write(e, dtype, kind, crops), parallel=True)
    run(**parameters(destination, source, base, lines), value=float(value))


def run_outside(destination: View, stretches: Sequence[Stretch], value: float) -> None:
    """Where the coordinate lies outside the source, the destination gets a value."""
    lines, base = _lines(destination, destination, stretches, "floor")
    dtype = destination.dtype
    run = kernel(
        f"resize outside {dtype.name}", _BLOCK, lambda e: _write_outside(e, dtype), parallel=True
    )
    run(**parameters(destination, destination, base, lines), value=float(value))


def _lines(
    destination: View, source: View, stretches: Sequence[Stretch], rounding: str
) -> tuple[list[Line], Word]:
    """The merged lines, and where their tables are; records the step that fills them."""
    moving = {s.dim: s for s in stretches if not s.idle}
    lines, room = merged(
        [
            Line(extent, to, back, d in moving, high=extent, dim=d)
            for d, (extent, to, back) in enumerate(
                zip(destination.dims, destination.strides, source.strides, strict=True)
            )
        ]
    )
    mapped = [line for line in lines if line.mapped]
    if not mapped:
        return lines, 0
    base, stretched = SCRATCH.take(room), [moving[line.dim] for line in mapped]
    words: dict[str, Word] = {
        "k": len(mapped), "base": base, "source": [s.source for s in stretched],
        "extent": [s.extent for s in stretched], "step": [line.step for line in mapped],
        "unit": [line.unit for line in mapped], "back": [line.back for line in mapped],
        "table": [line.table for line in mapped],
    }  # fmt: skip
    for name in "apqc":
        words[name] = [double_bits(getattr(s, name)) for s in stretched]
    crops = any(s.crops for s in stretched)
    name = f"nearest table {rounding}{' crop' if crops else ''}"
    kernel(name, _TABLES, lambda e: _write_table(e, rounding, crops))(**words)
    return lines, base


def double_bits(value: float) -> int:
    """The bits of an f64 as a word."""
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def _rounded(x: float, rounding: str) -> int:
    floor = math.floor(x)
    rest = x - floor
    match rounding:
        case "floor":
            return floor
        case "ceil":
            return floor + (rest > 0)
        case "round_prefer_ceil":
            return floor + (rest >= 0.5)
    return floor + (rest > 0.5)


def _factor(line: Stretch, rounding: str) -> int:
    """How often each element is repeated, if that is one of `_REPEATS`; else 0."""
    factor = line.extent // line.source
    if factor not in _REPEATS or line.extent != factor * line.source:
        return 0

    def place(index: int) -> int:
        return min(max(_rounded(line.at(index), rounding), 0), line.source - 1)

    return factor if all(place(i) == i // factor for i in range(line.extent)) else 0


def _write_table(e: Emitter, rounding: str, crops: bool) -> None:
    b, zero = e.b, e.const(I64, 0)
    with e.loop(0, e.word("k")) as axis:
        source, extent, step = (e.word(w, axis.index) for w in ("source", "extent", "step"))
        last = b.sub(source, e.const(I64, 1))
        with e.loop(0, extent) as at:
            x = coordinate(e, at.index, axis.index)
            index, rest = whole_part(e, x)
            limit = e.const(rest.type, 0.0 if rounding == "ceil" else 0.5)
            if rounding != "floor":
                compare = ">=" if rounding == "round_prefer_ceil" else ">"
                index = b.add(index, b.zext(b.fcmp_ordered(compare, rest, limit), I64))
            index = e.intrinsic("llvm.smax", I64, index, zero)
            index = e.intrinsic("llvm.smin", I64, index, last)
            start = b.mul(index, step)
            if crops:
                below = b.fcmp_ordered("<", x, e.const(x.type, 0.0))
                above = b.fcmp_ordered(">", x, b.sitofp(last, x.type))
                start = b.select(b.or_(below, above), e.const(I64, OUTSIDE), start)
            put(e, axis.index, at.index, start)


def _write(e: Emitter, dtype: DType, kind: str, crops: bool) -> None:
    b, share, raw = e.b, shares(e, 64), storage(RAW[dtype.size])
    filler = constant(e, "value", dtype) if crops else None

    def fresh(row: Row) -> None:
        if kind == "copy":
            copy_row(e, row.to, row.back, share.begin, share.end, raw)
        elif kind.startswith("repeat"):
            _repeat(e, row, share, raw, int(kind[-1]))
        else:
            _pick(e, row, share, raw, filler)

    with table_rows(e, share) as row:
        if filler is not None:
            with b.if_else(row.inside) as (then, otherwise):
                with then:
                    fresh(row)
                with otherwise, e.loop(share.begin, share.end) as at:
                    e.store(filler, e.offset(row.to, b.mul(at.index, e.word("i0"))))
        elif kind == "pick":
            fresh(row)
        else:
            with b.if_else(row.again) as (then, otherwise):
                with then:
                    before = e.offset(row.to, b.neg(row.stride))
                    copy_row(e, row.to, before, share.begin, share.end, raw)
                with otherwise:
                    fresh(row)


def _pick(e: Emitter, row: Row, share: Share, raw: ir.Type, filler: Value | None) -> None:
    b, step, table, back = e.b, e.word("i0"), e.word("column_table"), e.word("i1")
    none = b.icmp_signed("<", table, e.const(I64, 0))

    def one(index: Value) -> None:
        with e.branch(b.not_(none), [b.mul(index, back)]) as there:
            there.next(entry(e, table, index))
        offset, place = there.values[0], e.offset(row.to, b.mul(index, step))
        if filler is None:
            e.store(e.load(e.offset(row.back, offset), raw), place)
            return
        inside = b.icmp_signed("!=", offset, e.const(I64, OUTSIDE))
        with e.branch(inside, [filler]) as value:
            value.next(e.load(e.offset(row.back, offset), raw))
        e.store(value.values[0], place)

    with e.loop(share.begin, share.end) as at:
        one(at.index)


def _repeat(e: Emitter, row: Row, share: Share, raw: ir.Type, factor: int) -> None:
    """Each element `factor` times; a share begins at a multiple of 64."""
    b, size = e.b, int(raw.width) // 8
    lanes, bytes_ = target()[0] // size, e.const(I64, size)
    type_, times = vector(raw, lanes), e.const(I64, factor)
    undefined = ir.Constant(type_, ir.Undefined)
    spreads = [
        ir.Constant(
            vector(I32, lanes),
            [ir.Constant(I32, (k * lanes + lane) // factor) for lane in range(lanes)],
        )
        for k in range(factor)
    ]

    def block(at: Value, rest: Value | None) -> None:
        have = None if rest is None else e.mask_below(b.sdiv(rest, times), lanes)
        first = e.offset(row.back, b.mul(b.sdiv(at, times), bytes_))
        value = e.load(first, type_, have)
        for k, spread in enumerate(spreads):
            out = e.offset(row.to, b.mul(b.add(at, e.const(I64, k * lanes)), bytes_))
            mask = None
            if rest is not None:
                mask = e.mask_below(b.sub(rest, e.const(I64, k * lanes)), lanes)
            e.store(b.shuffle_vector(value, undefined, spread), out, mask)

    count = b.sub(share.end, share.begin)
    whole = b.add(share.begin, b.and_(count, e.const(I64, -lanes * factor)))
    with e.loop(share.begin, whole, lanes * factor) as at:
        block(at.index, None)
    left = b.sub(share.end, whole)
    with b.if_then(b.icmp_signed(">", left, e.const(I64, 0))):
        block(whole, left)


def _write_outside(e: Emitter, dtype: DType) -> None:
    b, share, table = e.b, shares(e, 64), e.word("column_table")
    value, step = constant(e, "value", dtype), e.word("i0")
    with table_rows(e, share) as row, e.loop(share.begin, share.end) as at:
        with e.branch(b.icmp_signed(">=", table, e.const(I64, 0)), [e.const(I64, 0)]) as there:
            there.next(entry(e, table, at.index))
        beyond = b.icmp_signed("==", there.values[0], e.const(I64, OUTSIDE))
        with b.if_then(b.or_(beyond, b.not_(row.inside))):
            e.store(value, e.offset(row.to, b.mul(at.index, step)))
