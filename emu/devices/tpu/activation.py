"""The activation unit's results: accumulators through pooling, bias, function and requantisation
into the unified buffer, in one compiled pass.

What a number goes through, in this order:

* of a window of accumulators the largest or the sum (floats: element by element, left to right, top
  to bottom; a NaN is never larger than anything);
* plus the bias of its column;
* integers for i8, u8 and i16: times `multiplier`, shifted right by `shift` with halves rounded up,
  in 64 bits; relu makes negative numbers 0; `zero` is added and the result saturates. Sigmoid and
  tanh take the number saturated to 16 bits, by table (`functions.py`); `zero` is not added;
* i32: relu alone; floats: times `scale`, then relu, or sigmoid and tanh of the number rounded to
  bf16. A NaN becomes the one quiet NaN without a sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from emu.cpu.jit import source_key
from emu.cpu.tensor.emit import F32 as FLOAT
from emu.cpu.tensor.emit import I8, I16, I64, Block, Emitter, Value, like, vector
from emu.cpu.tensor.emit import I32 as WORD
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.plan import Place, Plan, planning
from emu.devices.tpu.core import LANES
from emu.devices.tpu.functions import table
from emu.devices.tpu.matrix import NAN, run

SIZES = {"i8": 1, "u8": 1, "i16": 2, "bf16": 2, "i32": 4, "f32": 4}
"""Bytes of a result's element, and rows of the unified buffer that a vector takes."""
FLOATS = ("bf16", "f32")
_LIMITS = {"i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767)}
_STORED = {"i8": I8, "u8": I8, "i16": I16, "bf16": I16}
_NAN_OF_BF16 = NAN >> 16
_KERNEL = Block(
    "sums out bias table height width columns y_step x_step out_y out_x"
    " window_y window_x window_row multiplier shift rounding zero scale"
)
_SUMS, _OUT, _BIAS, _TABLE = (Place(region) for region in range(4))


@dataclass(frozen=True)
class Form:
    """What the code depends on."""

    result: str
    function: str
    pool: str
    bias: bool

    @property
    def tabled(self) -> bool:
        """Whether the function is a table."""
        return self.function in ("sigmoid", "tanh")


@dataclass(frozen=True)
class Shape:
    """Extents and distances: of results, `columns` elements each; bytes in the unified buffer from
    row to row and result to result (`out_y`, `out_x`); accumulators to the next window's; a
    window's extents, and accumulators from one of its rows to the next."""

    height: int
    width: int
    columns: int
    out_y: int
    out_x: int
    y_step: int
    x_step: int
    window_y: int = 1
    window_x: int = 1
    window_row: int = 0


@dataclass(frozen=True)
class Scaling:
    """Requantisation: signed `multiplier`, `shift`, signed `zero`; the bits of `scale`."""

    multiplier: int = 1
    shift: int = 0
    zero: int = 0
    scale: int = 0x3F80_0000


def activate(
    form: Form, shape: Shape, scaling: Scaling, sums: int, out: int, bias: int = 0
) -> None:
    """Compute it; the rest are host addresses."""
    place = table(form.function, form.result).ctypes.data if form.tabled else 0
    run(_plan(form, shape, scaling), sums, out, bias, place)


@lru_cache(maxsize=1024)
def _plan(form: Form, shape: Shape, scaling: Scaling) -> Plan:
    name = f"tpu activate {form} {source_key(__name__)}"
    with planning() as plan:
        kernel(name, _KERNEL, lambda e: _write(e, form))(
            sums=_SUMS, out=_OUT, bias=_BIAS, table=_TABLE,
            rounding=1 << scaling.shift >> 1, **vars(shape), **vars(scaling),
        )  # fmt: skip
    return plan


def _write(e: Emitter, form: Form) -> None:
    b, columns = e.b, e.word("columns")
    size = SIZES[form.result]
    with e.loop(0, e.word("height")) as y, e.loop(0, e.word("width")) as x:
        steps = b.mul(y.index, e.word("y_step")), b.mul(x.index, e.word("x_step"))
        first = _bytes(e, b.mul(b.add(*steps), columns))
        places = b.mul(y.index, e.word("out_y")), b.mul(x.index, e.word("out_x"))
        out = e.offset(e.pointer("out"), b.add(*places))
        with e.loop(0, columns, LANES) as n:
            value = _pooled(e, form, e.offset(e.pointer("sums"), b.add(first, _bytes(e, n.index))))
            if form.bias:
                line = e.offset(e.pointer("bias"), _bytes(e, n.index))
                value = _sum(e, value, e.load(line, value.type))
            finish = _float if form.result in FLOATS else _integer
            e.store(finish(e, form, value), e.offset(out, b.mul(n.index, e.const(I64, size))))


def _bytes(e: Emitter, index: Value) -> Value:
    return e.b.shl(index, e.const(I64, 2))


def _sum(e: Emitter, x: Value, y: Value) -> Value:
    return e.b.fadd(x, y) if x.type.element == FLOAT else e.b.add(x, y)


def _pooled(e: Emitter, form: Form, first: Value) -> Value:
    """One vector of accumulators, or what a window of them makes."""
    lanes = vector(FLOAT if form.result in FLOATS else WORD, LANES)
    if form.pool == "none":
        return e.load(first, lanes)
    b, columns = e.b, e.word("columns")
    start = e.load(first, lanes) if form.pool == "max" else e.const(lanes, 0)
    with e.loop(0, e.word("window_y"), carry=[start]) as y:
        row = b.mul(y.index, e.word("window_row"))
        with e.loop(0, e.word("window_x"), carry=y.values) as x:
            at = e.offset(first, _bytes(e, b.mul(b.add(row, x.index), columns)))
            value, before = e.load(at, lanes), x.values[0]
            if form.pool == "sum":
                x.next(_sum(e, before, value))
            elif lanes.element == FLOAT:
                x.next(b.select(b.fcmp_ordered(">", value, before), value, before))
            else:
                x.next(e.intrinsic("llvm.smax", lanes, value, before))
        y.next(*x.values)
    return y.values[0]


def _looked_up(e: Emitter, bits: Value) -> Value:
    """Entries of the table, as i32."""
    wide = like(bits.type, I64)
    places = e.b.shl(e.b.zext(e.b.trunc(bits, like(bits.type, I16)), wide), e.const(wide, 2))
    return e.gather(e.pointer("table"), places, WORD, e.mask_below(e.const(I64, LANES), LANES))


def _clamped(e: Emitter, value: Value, low: int, high: int) -> Value:
    value = e.intrinsic("llvm.smax", value.type, value, e.const(value.type, low))
    return e.intrinsic("llvm.smin", value.type, value, e.const(value.type, high))


def _integer(e: Emitter, form: Form, value: Value) -> Value:
    b = e.b
    if form.result == "i32":
        if form.function != "relu":
            return value
        return e.intrinsic("llvm.smax", value.type, value, e.const(value.type, 0))
    wide = vector(I64, LANES)

    def setting(name: str) -> Value:
        return e.splat(e.word(name), LANES)

    value = b.add(b.mul(b.sext(value, wide), setting("multiplier")), setting("rounding"))
    value = b.ashr(value, setting("shift"))
    if form.tabled:
        value = _looked_up(e, _clamped(e, value, *_LIMITS["i16"]))
    else:
        if form.function == "relu":
            value = e.intrinsic("llvm.smax", wide, value, e.const(wide, 0))
        value = _clamped(e, b.add(value, setting("zero")), *_LIMITS[form.result])
    return b.trunc(value, vector(_STORED[form.result], LANES))


def _float(e: Emitter, form: Form, value: Value) -> Value:
    b, words = e.b, vector(WORD, LANES)
    scale = b.bitcast(b.trunc(e.word("scale"), WORD), FLOAT)
    value = b.fmul(value, e.splat(scale, LANES))
    if form.function == "relu":
        zero = e.const(value.type, 0)
        value = b.select(b.fcmp_unordered(">", value, zero), value, zero)  # a NaN stays
    if form.tabled:
        bits = _looked_up(e, _as_bf16(e, value))
        return (
            b.trunc(bits, vector(I16, LANES))
            if form.result == "bf16"
            else b.shl(bits, e.const(words, 16))
        )
    if form.result == "bf16":
        return b.trunc(_as_bf16(e, value), vector(I16, LANES))
    is_nan = b.fcmp_unordered("uno", value, value)
    return b.select(is_nan, e.const(words, NAN), b.bitcast(value, words))


def _as_bf16(e: Emitter, value: Value) -> Value:
    """Rounded to nearest, ties to even; the bits, as i32."""
    b, words = e.b, vector(WORD, LANES)
    bits = b.bitcast(value, words)
    odd = b.and_(b.lshr(bits, e.const(words, 16)), e.const(words, 1))
    rounded = b.lshr(b.add(b.add(bits, odd), e.const(words, 0x7FFF)), e.const(words, 16))
    is_nan = b.fcmp_unordered("uno", value, value)
    return b.select(is_nan, e.const(words, _NAN_OF_BF16), rounded)
