"""The matrix unit's results: vectors times a tile, into the accumulators.

Products of bytes go through the same compiled kernel as the instruction `tqmatmul` of the hart
(exact in 32 bits); where an operand has 16 bits, and for bf16, a kernel is written here. Both are
steps of plans (`emu.cpu.tensor.plan`), made once for every shape, run on host addresses.

The order of a bf16 sum is part of the architecture: from the array's row 0 down, as partial sums
move through a systolic array, and only then to the accumulator. Each product and each sum is
rounded to f32; a NaN is stored as the one quiet NaN without a sign, for instructions that give 32
bits raw show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from emu.cpu.jit import source_key
from emu.cpu.tensor.arena import ARENA
from emu.cpu.tensor.descriptor import I8, I32, U8, View, dense
from emu.cpu.tensor.emit import F32 as FLOAT
from emu.cpu.tensor.emit import I8 as BYTE
from emu.cpu.tensor.emit import I16 as HALF
from emu.cpu.tensor.emit import I32 as WORD
from emu.cpu.tensor.emit import Block, Emitter, Value, is_float, like, vector
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.plan import REGIONS, SCRATCH_REGION, Place, Plan, planning
from emu.cpu.tensor.qgemm import run_qmatmul
from emu.cpu.tensor.threads import is_large
from emu.devices.tpu.core import LANES

NAN = 0x7FC0_0000
"""The NaN of f32."""
_TALL = 8
"""Vectors that share a load of weights."""
_SUMS, _INPUTS, _TILE = Place(0), Place(1), Place(2)
_BYTES = {"i8": I8, "u8": U8}
_KERNEL = Block("x x_row w sums m k n")


@dataclass(frozen=True)
class Product:
    """What a product's plan depends on: `m` vectors of `k` elements, `x_row` bytes apart, of the
    format `x`, with a tile of `n` columns of the format `w`."""

    m: int
    k: int
    n: int
    x_row: int
    x: str
    w: str
    accumulate: bool


def multiply(product: Product, sums: int, inputs: int, tile: int) -> None:
    """Compute it; the rest are host addresses."""
    run(_plan(product), sums, inputs, tile)


def run(plan: Plan, *addresses: int) -> None:
    """Run a plan whose regions 0, 1, … lie at host addresses."""
    bases = [0] * REGIONS
    bases[: len(addresses)] = addresses
    ARENA.clear()
    bases[SCRATCH_REGION] = ARENA.take(plan.scratch)
    plan.run(bases)


@lru_cache(maxsize=1024)
def _plan(p: Product) -> Plan:
    with planning() as plan:
        if p.x in _BYTES and p.w in _BYTES:
            sums = dense(_SUMS, I32, (p.m, p.n))
            x = View(_INPUTS, _BYTES[p.x], (p.m, p.k), (p.x_row, 1))
            # The kernel adds a bias as it writes a sum, so the accumulators may be their own.
            extras = dict.fromkeys(("xz", "yz", "scale", "dz"), None)
            bias = sums if p.accumulate else None
            run_qmatmul(sums, x, dense(_TILE, _BYTES[p.w], (p.k, p.n)), {**extras, "bias": bias})
        else:
            name = f"tpu product {p.x} {p.w} {int(p.accumulate)} {source_key(__name__)}"
            kernel(name, _KERNEL, lambda e: _write(e, p))(
                x=_INPUTS, x_row=p.x_row, w=_TILE, sums=_SUMS, m=p.m, k=p.k, n=p.n
            )
    plan.is_large = is_large(2 * p.m * p.k * p.n, p.m * (p.k + 4 * p.n))
    return plan


_STORED = {"i8": BYTE, "u8": BYTE, "i16": HALF, "bf16": HALF}


def _widened(e: Emitter, stored: Value, form: str) -> Value:
    """Elements as the lanes in which sums are made: i32, or f32 for bf16."""
    wide = like(stored.type, WORD)
    if form == "bf16":
        bits = e.b.shl(e.b.zext(stored, wide), e.const(wide, 16))
        return e.b.bitcast(bits, like(wide, FLOAT))
    return (e.b.zext if form == "u8" else e.b.sext)(stored, wide)


def _write(e: Emitter, p: Product) -> None:
    """The kernel: blocks of vectors, of columns, then down the tile."""
    m = e.word("m")
    whole = e.b.and_(m, e.const(m.type, -_TALL))
    with e.loop(0, whole, _TALL) as row:
        _rows(e, p, row.index, _TALL)
    with e.loop(whole, m) as row:
        _rows(e, p, row.index, 1)


def _rows(e: Emitter, p: Product, first: Value, count: int) -> None:
    """`count` vectors from `first` on, all columns."""
    b, n, k, x_row = e.b, e.word("n"), e.word("k"), e.word("x_row")
    weight = _STORED[p.w].width // 8
    inputs = [
        e.offset(e.pointer("x"), b.mul(b.add(first, e.const(first.type, i)), x_row))
        for i in range(count)
    ]
    lane = vector(FLOAT if p.x == "bf16" else WORD, LANES)
    with e.loop(0, n, LANES) as column:
        w = e.offset(e.pointer("w"), _times(e, column.index, weight))
        step = _times(e, n, weight)
        with e.loop(0, k, carry=[e.const(lane, 0)] * count) as depth:
            line = e.offset(w, b.mul(depth.index, step))
            weights = _widened(e, e.load(line, vector(_STORED[p.w], LANES)), p.w)
            at = _times(e, depth.index, _STORED[p.x].width // 8)
            values = (_widened(e, e.load(e.offset(x, at), _STORED[p.x]), p.x) for x in inputs)
            depth.next(*(
                _add(e, total, _mul(e, e.splat(value, LANES), weights))
                for total, value in zip(depth.values, values, strict=True)
            ))  # fmt: skip
        for i, total in enumerate(depth.values):
            place = b.add(b.mul(b.add(first, e.const(first.type, i)), n), column.index)
            target = e.offset(e.pointer("sums"), _times(e, place, 4))
            before = e.load(target, lane) if p.accumulate else None
            e.store(_settled(e, total if before is None else _add(e, before, total)), target)


def _settled(e: Emitter, total: Value) -> Value:
    """A sum as the accumulators hold it. Which NaN a host's arithmetic makes is its own affair."""
    if not is_float(total.type):
        return total
    b, words = e.b, like(total.type, WORD)
    is_nan = b.fcmp_unordered("uno", total, total)
    return b.select(is_nan, e.const(words, NAN), b.bitcast(total, words))


def _times(e: Emitter, value: Value, factor: int) -> Value:
    return e.b.mul(value, e.const(value.type, factor))


def _add(e: Emitter, x: Value, y: Value) -> Value:
    return e.b.fadd(x, y) if is_float(x.type) else e.b.add(x, y)


def _mul(e: Emitter, x: Value, y: Value) -> Value:
    return e.b.fmul(x, y) if is_float(x.type) else e.b.mul(x, y)
