"""Resizing by nearest elements: a copy by table, element by element; a row that comes from the same
data as the one before it is copied from there. (By whole numbers: `repeat.py`.)
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from llvmlite import ir

from emu.cpu.tensor.descriptor import DType, View
from emu.cpu.tensor.elementwise import RAW
from emu.cpu.tensor.emit import I64, Block, Emitter, Value
from emu.cpu.tensor.kernels import SCRATCH, Word, kernel
from emu.cpu.tensor.repeat import FACTORS, Spread, factor_of, run_repeat
from emu.cpu.tensor.rows import RowCopy, Share, constant, shares
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


def run_nearest(
    destination: View, source: View, stretches: Sequence[Stretch], rounding: str, value: float
) -> None:
    """Each element of the destination is the nearest one of the source; `value` is what lies
    outside of it where a stretch crops."""
    if run_repeat(destination, source, stretches, rounding):
        return
    lines, base = _lines(destination, source, stretches, rounding)
    dtype, raw, row = destination.dtype, RAW[destination.dtype.size], lines[0]
    crops = any(s.crops for s in stretches)
    kind = "table" if row.mapped else "stride"
    if row.to == raw.size and not crops:  # rows can be copied by vectors
        stretched = next((s for s in stretches if s.dim == row.dim and row.mapped), None)
        wide = factor_of(stretched, rounding) if stretched and row.unit == 1 else 0
        if row.back == raw.size and (wide in FACTORS or not row.mapped):
            kind = f"repeat {wide}" if row.mapped else "copy"
        else:
            kind += " row"
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
    copy = RowCopy(e, share.begin, share.end, raw)
    spread = None
    if kind.startswith("repeat"):  # shares begin at multiples of 64
        wide = e.const(I64, int(kind[-1]))
        begin, count = b.sdiv(share.begin, wide), b.sub(share.end, share.begin)
        spread = Spread(e, raw, int(kind[-1]), begin, b.sdiv(count, wide))

    def fresh(row: Row) -> None:
        if kind == "copy":
            copy(row.to, row.back)
        elif spread is not None:
            spread.row(row.to, row.back, e.const(I64, 1), e.const(I64, 0))
        else:
            _pick(e, row, share, raw, kind, filler)

    with table_rows(e, share) as row:
        if filler is not None:
            step = e.word("i0")
            with b.if_else(row.inside) as (then, otherwise):
                with then:
                    fresh(row)
                with otherwise, e.loop(share.begin, share.end) as at:
                    e.store(filler, e.offset(row.to, b.mul(at.index, step)))
        elif kind in ("table", "stride"):
            fresh(row)
        else:
            with b.if_else(row.again) as (then, otherwise):
                with then:
                    before = e.offset(row.to, b.neg(row.stride))
                    copy(row.to, before)
                with otherwise:
                    fresh(row)


def _pick(
    e: Emitter, row: Row, share: Share, raw: ir.Type, kind: str, filler: Value | None
) -> None:
    """Element by element, by table or by stride."""
    b, step, back = e.b, e.word("i0"), e.word("i1")
    table = e.offset(e.pointer("base"), e.word("column_table"))
    with e.loop(share.begin, share.end) as at:
        place = e.offset(row.to, b.mul(at.index, step))
        offset = b.mul(at.index, back)
        if "table" in kind:
            offset = b.load(e.offset(table, b.shl(at.index, e.const(I64, 3))), typ=I64, align=8)
        if filler is None:
            e.store(e.load(e.offset(row.back, offset), raw), place)
        else:
            inside = b.icmp_signed("!=", offset, e.const(I64, OUTSIDE))
            with e.branch(inside, [filler]) as value:
                value.next(e.load(e.offset(row.back, offset), raw))
            e.store(value.values[0], place)


def _write_outside(e: Emitter, dtype: DType) -> None:
    b, share, table = e.b, shares(e, 64), e.word("column_table")
    value, step = constant(e, "value", dtype), e.word("i0")
    with table_rows(e, share) as row, e.loop(share.begin, share.end) as at:
        with e.branch(b.icmp_signed(">=", table, e.const(I64, 0)), [e.const(I64, 0)]) as there:
            there.next(entry(e, table, at.index))
        beyond = b.icmp_signed("==", there.values[0], e.const(I64, OUTSIDE))
        with b.if_then(b.or_(beyond, b.not_(row.inside))):
            e.store(value, e.offset(row.to, b.mul(at.index, step)))
