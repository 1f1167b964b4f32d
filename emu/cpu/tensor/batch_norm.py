"""Batch norm for inference: act((x - mean) * scale / sqrt(variance + epsilon) + bias), the four
being one number for each channel.

*Schedule.* Memory is read once and written once, by rows along which elements are adjacent:

each      a row is what one channel of one image has; its numbers stay in registers
along     channels are the fastest dimension (NHWC, or no space at all): the factors are computed
          once into a line of scratch memory, repeated until it is long enough to sweep
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emu.cpu.tensor.axes import VECTOR, WORDS, adjacent_from, drain, finish_row, share, visit
from emu.cpu.tensor.call import Call
from emu.cpu.tensor.call import schedule as bound
from emu.cpu.tensor.descriptor import DType, View, dense
from emu.cpu.tensor.elementwise import run_copy, schedule
from emu.cpu.tensor.emit import I64, Block, Emitter, Value, bits_of, vector
from emu.cpu.tensor.kernels import SCRATCH, THREADS_MAX, Word, kernel
from emu.cpu.tensor.semantics import ACTIVATIONS, UNARY
from emu.cpu.tensor.softmax import STREAM
from emu.cpu.tensor.vectors import Arithmetic, compute, convert, narrow, storage, widen

_NAMES = ("scale", "bias", "mean", "variance")
_BLOCK = Block(
    f"{WORDS} {' '.join(f'{n} i_{n}' for n in _NAMES)} "
    "channels total epsilon alpha beta stream room"
)
_LINE = 512
"""Elements that a line of channels has at least, if there are so many rows."""


@bound("tbatchnorm", in_place=True)
def _batch_norm(call: Call) -> None:
    parameters = [call[name] for name in _NAMES]
    at = call.at
    run_batch_norm(call["d"], call["x"], parameters, at.gamma, at.activation, call.params)


def run_batch_norm(
    destination: View,
    source: View,
    parameters: Sequence[View],
    epsilon: float,
    activation: int = 0,
    numbers: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Over host views (N, C, spatial…); `parameters` are scale, bias, mean and variance, each (C).

    `activation` is a code of `ACTIVATIONS`, `numbers` its alpha and beta. The source may be the
    destination.
    """
    words: dict[str, Word] = {
        "p0": destination.address, "p1": source.address, "epsilon": epsilon, "alpha": numbers[0],
        "beta": numbers[1], "stream": int(destination.bytes >= STREAM),
    }  # fmt: skip
    for name, view in zip(_NAMES, parameters, strict=True):
        words |= {name: view.address, f"i_{name}": view.strides[0]}
    if _channels_adjacent(source) and _channels_adjacent(destination):
        along, shape = True, _along(destination, source)
    elif adjacent_from(source, 2) and adjacent_from(destination, 2):
        along, shape = False, _each(destination, source)
    else:
        copy = dense(SCRATCH.take(source.bytes), source.dtype, source.dims)
        run_copy(copy, source)
        run_batch_norm(copy, copy, parameters, epsilon, activation, numbers)
        run_copy(destination, copy)
        return
    dtype, given = source.dtype, parameters[0].dtype
    run = kernel(
        f"batch norm {dtype.name} {given.name} {'along' if along else 'each'} {activation}",
        _BLOCK,
        lambda e: _BatchNorm(e, dtype, given, activation).write(along),
        parallel=True,
    )
    run(**words | shape)


def _channels_adjacent(view: View) -> bool:
    """Whether the channels of a pixel are adjacent, and that is better than the pixels being."""
    pixel = max(view.dims[2:], default=1)
    return view.strides[1] == view.dtype.size and (
        pixel == 1 or view.strides[-1] != view.dtype.size
    )


def _each(destination: View, source: View) -> dict[str, Word]:
    images, channels, *spatial = source.dims
    n = 1
    for extent in spatial:
        n *= extent
    return {
        "lines": images * channels, "rank": 2, "dims": [channels, images], "n": n,
        "channels": channels, "s0": destination.strides[1::-1], "s1": source.strides[1::-1],
    }  # fmt: skip


def _along(destination: View, source: View) -> dict[str, Word]:
    """Rows of channels; one behind the other, they are joined to longer ones."""
    channels, size = source.dims[1], source.dtype.size
    pixels = (0, *range(2, source.rank))
    dims, (to, back) = schedule([destination.permuted(pixels), source.permuted(pixels)])
    row, n = channels * size, channels
    if len(dims) == 1 and (dims[0] == 1 or to[0] == back[0] == row):
        rows = min(max(_LINE // channels, 1), dims[0])
        n = rows * channels
        dims, to, back = [-(-dims[0] // rows)], [rows * row], [rows * row]
    lines = 1
    for extent in dims:
        lines *= extent
    room = -(-n * 8 // VECTOR) * VECTOR
    return {
        "lines": lines, "rank": len(dims), "dims": dims, "s0": to, "s1": back, "n": n,
        "channels": channels, "total": source.count, "room": room,
        "m": SCRATCH.take(3 * room * THREADS_MAX),
    }  # fmt: skip


class _BatchNorm:
    """Writes the kernel."""

    def __init__(self, e: Emitter, dtype: DType, given: DType, activation: int) -> None:
        self.e, self.dtype, self.given = e, dtype, given
        self.math, self.held = Arithmetic(e, dtype.compute), compute(dtype)
        self.size = bits_of(self.held) // 8
        self.lanes = VECTOR // self.size
        mnemonic = ACTIVATIONS[activation]
        self.activation = UNARY[mnemonic].expr if mnemonic else None

    def write(self, along: bool) -> None:
        """Write the walk over rows and, in it, each of them."""
        e, b = self.e, self.e.b
        first, end = share(e, e.word("lines"))
        room = self._prepare() if along else None
        pointers = [e.pointer("p0"), e.pointer("p1")]
        n, channels = e.word("n"), e.word("channels")
        with visit(e, first, end, ["s0", "s1"], pointers) as (index, (out, source)):
            if room is not None:
                left = b.sub(e.word("total"), b.mul(index, n))
                length = e.intrinsic("llvm.smin", I64, n, left)
                self._row(out, source, length, self._stored(room))
            else:
                values = [e.splat(v, self.lanes) for v in self._numbers(b.urem(index, channels))]
                self._row(out, source, n, lambda *_: values)
        drain(e)

    def _numbers(self, channel: Value) -> list[Value]:
        """(mean, factor, bias) of a channel."""
        e, b = self.e, self.e.b
        values = {}
        for name in _NAMES:
            place = e.offset(e.pointer(name), b.mul(channel, e.word(f"i_{name}")))
            value = widen(e, e.load(place, storage(self.given)), self.given)
            values[name] = convert(e, value, self.given.compute, self.dtype.compute)
        deviation = b.fadd(values["variance"], e.number("epsilon", self.held))
        deviation = e.intrinsic("llvm.sqrt", self.held, deviation)
        return [values["mean"], b.fdiv(values["scale"], deviation), values["bias"]]

    def _prepare(self) -> list[Value]:
        """Where this part keeps means, factors and biases, filled for a line."""
        e, b = self.e, self.e.b
        step = e.word("room")
        base = e.offset(e.pointer("m"), b.mul(e.part, b.mul(step, e.const(I64, 3))))
        rooms = [e.offset(base, b.mul(step, e.const(I64, k))) for k in range(3)]
        with e.loop(0, e.word("n")) as loop:
            numbers = self._numbers(b.urem(loop.index, e.word("channels")))
            for value, room in zip(numbers, rooms, strict=True):
                place = e.offset(room, b.mul(loop.index, e.const(I64, self.size)))
                b.store(value, place, align=self.size)
        return rooms

    def _stored(self, rooms: Sequence[Value]) -> Callable[[Value, Value | None], list[Value]]:
        e, type_ = self.e, vector(self.held, self.lanes)

        def values(index: Value, mask: Value | None) -> list[Value]:
            offset = e.b.mul(index, e.const(I64, self.size))
            return [e.load(e.offset(room, offset), type_, mask) for room in rooms]

        return values

    def _row(
        self,
        out: Value,
        source: Value,
        n: Value,
        numbers: Callable[[Value, Value | None], list[Value]],
    ) -> None:
        e, b = self.e, self.e.b

        def result(index: Value, mask: Value | None) -> Value:
            place = e.offset(source, b.mul(index, e.const(I64, self.dtype.size)))
            x = widen(e, e.load(place, vector(storage(self.dtype), self.lanes), mask), self.dtype)
            mean, factor, bias = numbers(index, mask)
            y = e.fma(b.fsub(x, mean), factor, bias)
            if self.activation is not None:
                params = [e.number(p, y.type) for p in ("alpha", "beta")]
                y = self.math.lower(self.activation, [y], params)
            return narrow(e, y, self.dtype)

        finish_row(e, out, n, self.lanes, self.dtype.size, result)
