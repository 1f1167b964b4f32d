"""Local response normalisation: each element divided by a power of a sum of squares, over the
channels beside its own at the same place.

*Schedule.* Vectors lie along the places of an image, which are cut into strips: so the channels of
a window are in the nearest caches when the next channel's window, nearly the same, is summed. The
usual power, 3/4, is made of square roots.
"""

from __future__ import annotations

import math

from emu.cpu.tensor.axes import VECTOR, WORDS, adjacent_from, each_vector, share, strip_width, visit
from emu.cpu.tensor.call import Call
from emu.cpu.tensor.call import schedule as bound
from emu.cpu.tensor.descriptor import DType, View, dense
from emu.cpu.tensor.elementwise import run_copy
from emu.cpu.tensor.emit import I64, Block, Emitter, Value, bits_of, vector
from emu.cpu.tensor.kernels import SCRATCH, kernel
from emu.cpu.tensor.vectors import Arithmetic, compute, narrow, storage, widen

_BLOCK = Block(f"{WORDS} step_out strips window before factor power offset")
_STRIP = 512
"""Places of a strip."""
_USUAL = 0.75


@bound("tlrn")
def _lrn(call: Call) -> None:
    at = call.at
    run_lrn(call["d"], call["x"], at.count, at.alpha, at.beta, at.gamma)


def run_lrn(
    destination: View, source: View, window: int, alpha: float, beta: float, offset: float
) -> None:
    """x / (offset + alpha / window * sum of squares) ** beta over host views (N, C, spatial…), the
    sum being over `window` channels, of an even number one more behind than before."""
    x, y = (
        v if adjacent_from(v, 2) else dense(SCRATCH.take(v.bytes), v.dtype, v.dims)
        for v in (source, destination)
    )
    if x is not source:
        run_copy(x, source)
    dtype, usual = source.dtype, beta == _USUAL
    images, channels, *space = source.dims
    places = math.prod(space)
    strips = -(-places // _STRIP)
    step = _STRIP * dtype.size
    run = kernel(
        f"tlrn {dtype.name} {'usual' if usual else 'any'}",
        _BLOCK,
        lambda e: _Lrn(e, dtype, usual).write(),
        parallel=True,
    )
    run(
        p0=y.address, p1=x.address, lines=strips * images, rank=2, dims=[strips, images],
        s0=[step, y.strides[0]], s1=[step, x.strides[0]], m=places, n=channels, step=x.strides[1],
        step_out=y.strides[1], strips=strips, window=window, before=(window - 1) // 2,
        factor=alpha / window, power=-beta, offset=offset,
    )  # fmt: skip
    if y is not destination:
        run_copy(destination, y)


class _Lrn:
    """Writes the kernel."""

    def __init__(self, e: Emitter, dtype: DType, usual: bool) -> None:
        self.e, self.dtype, self.usual = e, dtype, usual
        self.math, self.held = Arithmetic(e, dtype.compute), compute(dtype)
        self.lanes = VECTOR * 8 // bits_of(self.held)

    def write(self) -> None:
        """Write the walk over strips of images and, in it, each channel of them."""
        e, b = self.e, self.e.b
        first, end = share(e, e.word("lines"))
        n, window = e.word("n"), e.word("window")
        with visit(e, first, end, ["s0", "s1"], [e.pointer("p0"), e.pointer("p1")]) as line:
            index, (out, source) = line
            width = strip_width(e, index, _STRIP)
            with e.loop(0, n) as channel:
                at = b.sub(channel.index, e.word("before"))
                low = e.intrinsic("llvm.smax", I64, at, e.const(I64, 0))
                high = e.intrinsic("llvm.smin", I64, b.add(at, window), n)
                self._channel(out, source, width, channel.index, low, high)

    def _channel(
        self, out: Value, source: Value, width: Value, channel: Value, low: Value, high: Value
    ) -> None:
        """One channel of a strip; its window is the channels `low` to `high` - 1."""
        e, b = self.e, self.e.b
        line = e.offset(source, b.mul(channel, e.word("step")))
        target = e.offset(out, b.mul(channel, e.word("step_out")))
        kind = vector(self.held, self.lanes)

        def each(at: Value, mask: Value | None) -> None:
            place = b.mul(at, e.const(I64, self.dtype.size))
            with e.loop(low, high, carry=[e.const(kind, 0.0)]) as loop:
                beside = e.offset(source, b.mul(loop.index, e.word("step")))
                x = self._load(e.offset(beside, place), mask)
                loop.next(e.fma(x, x, loop.values[0]))
            base = e.fma(loop.values[0], e.number("factor", kind), e.number("offset", kind))
            y = self._scaled(self._load(e.offset(line, place), mask), base)
            e.store(narrow(e, y, self.dtype), e.offset(target, place), mask)

        each_vector(e, width, self.lanes, each)

    def _load(self, place: Value, mask: Value | None) -> Value:
        stored = self.e.load(place, vector(storage(self.dtype), self.lanes), mask)
        return widen(self.e, stored, self.dtype)

    def _scaled(self, x: Value, base: Value) -> Value:
        """x base ** -beta."""
        if not self.usual:
            return self.e.b.fmul(x, self.math.op_pow(base, self.e.number("power", base.type)))
        root = self.math.op_sqrt(base)
        return self.e.b.fdiv(x, self.e.b.fmul(root, self.math.op_sqrt(root)))
