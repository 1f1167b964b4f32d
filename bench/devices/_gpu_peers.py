"""Kernels of the GPU's library written by hand with the host's vectors: what lifting has to reach.

The same formulas as in `kernel_src/gpu/finance.kern` and `math.kern`, operation by operation, so
that the results are the same to the bit; as somebody would write them who has nothing but llvmlite:
one loop over whole vector registers, no lanes, no checks.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from emu.cpu.jit import Code, compile_cached, source_key
from emu.cpu.tensor.emit import F32, I32, I64, Block, Emitter, Value, target, vector

_BLOCK = Block("n rate volatility price strike years call put")
_LN2_HIGH, _LN2_LOW, _LOG2_E = 0.693359375, -0.00021219444005469057, 1.4426950408889634
_ROUND, _ROUND_BITS = 12582912.0, 0x4B400000
_SQRT_HALF, _SQRT_HALF_BITS = 0.7071067811865476, 0x3F3504F3
_EXP = (0.0013951718574389815, 0.008369598537683487, 0.0416661873459816, 0.16666512191295624, 0.5)
_LOG = (
    -0.07634491473436356, 0.12761574983596802, -0.13160184025764465, 0.14201758801937103,
    -0.16623356938362122, 0.20001226663589478, -0.2500081956386566, 0.3333333134651184,
)  # fmt: skip
_NEAR = (
    8.345225069206208e-05, -0.0008137437980622053, 0.005200634244829416, -0.02685927040874958,
    0.11283694207668304, -0.37612634897232056, 0.12837916612625122,
)  # fmt: skip
_FAR = (
    2.0909474187646993e-05, -0.00043230209848843515, 0.004160522948950529, -0.025091486051678658,
    0.10823660343885422, 0.6333866715431213, 1.1294951438903809, -0.0001705509057501331,
)  # fmt: skip


class _Vectors:
    """Arithmetic on one register of f32."""

    def __init__(self, e: Emitter) -> None:
        self.e, self.b, self.lanes = e, e.b, target()[0] // 4
        self.floats, self.ints = vector(F32, self.lanes), vector(I32, self.lanes)

    def f(self, value: float) -> Value:
        single = ctypes.c_float(value).value
        return self.e.const(self.floats, single)

    def i(self, value: int) -> Value:
        return self.e.const(self.ints, value)

    def bits(self, x: Value) -> Value:
        return self.b.bitcast(x, self.ints)

    def number(self, x: Value) -> Value:
        return self.b.bitcast(x, self.floats)

    def poly(self, x: Value, factors: tuple[float, ...]) -> Value:
        p = self.f(factors[0])
        for factor in factors[1:]:
            p = self.e.fma(x, p, self.f(factor))
        return p

    def least(self, x: Value, limit: float) -> Value:
        return self.b.select(self.b.fcmp_ordered("<", x, self.f(limit)), x, self.f(limit))

    def most(self, x: Value, limit: float) -> Value:
        return self.b.select(self.b.fcmp_ordered(">", x, self.f(limit)), x, self.f(limit))

    def or_nan(self, x: Value, value: Value) -> Value:
        return self.b.select(self.b.fcmp_unordered("uno", x, x), x, value)

    def power_of_two(self, n: Value) -> Value:
        return self.number(self.b.shl(self.b.add(n, self.i(127)), self.i(23)))

    def exp(self, x: Value) -> Value:
        b, e = self.b, self.e
        within = self.most(self.least(x, 89.0), -104.0)
        z = e.fma(within, self.f(_LOG2_E), self.f(_ROUND))
        n = b.sub(self.bits(z), self.i(_ROUND_BITS))
        whole = b.fsub(z, self.f(_ROUND))
        r = e.fma(whole, self.f(-_LN2_HIGH), within)
        r = e.fma(whole, self.f(-_LN2_LOW), r)
        rest = b.fmul(b.fmul(r, r), self.poly(r, _EXP))
        p = b.fadd(b.fadd(rest, r), self.f(1.0))
        half = b.ashr(n, self.i(1))
        scaled = b.fmul(b.fmul(p, self.power_of_two(half)), self.power_of_two(b.sub(n, half)))
        return self.or_nan(x, scaled)

    def log(self, x: Value) -> Value:
        b, e = self.b, self.e
        tiny = b.fcmp_ordered("<", x, self.f(1.1754943508222875e-38))
        bits = self.bits(b.fmul(x, b.select(tiny, self.f(33554432.0), self.f(1.0))))
        bits = b.sub(bits, self.i(_SQRT_HALF_BITS))
        power = b.sub(b.ashr(bits, self.i(23)), b.select(tiny, self.i(25), self.i(0)))
        exponent = b.sitofp(power, self.floats)
        mantissa = b.add(b.and_(bits, self.i(0x7FFFFF)), self.i(_SQRT_HALF_BITS))
        f = b.fsub(self.number(mantissa), self.f(1.0))
        p, square = self.poly(f, _LOG), b.fmul(f, f)
        rest = e.fma(b.fmul(square, f), p, e.fma(self.f(-0.5), square, f))
        low = e.fma(exponent, self.f(_LN2_LOW), rest)
        value = e.fma(exponent, self.f(_LN2_HIGH), low)
        root = e.intrinsic("llvm.sqrt", self.floats, x)
        special = b.fsub(root, b.fdiv(self.f(1.0), b.fmul(x, x)))
        positive = b.fcmp_ordered(">", x, self.f(0.0))
        finite = b.fcmp_ordered("==", b.fsub(x, x), self.f(0.0))
        return b.select(b.and_(positive, finite), value, special)

    def erf(self, x: Value) -> Value:
        b, e = self.b, self.e
        size = self.least(self.number(b.and_(self.bits(x), self.i(0x7FFFFFFF))), 4.0)
        near = e.fma(size, self.poly(b.fmul(size, size), _NEAR), size)
        q = self.poly(size, _FAR)
        far = b.fsub(self.f(1.0), self.exp(b.fneg(q)))
        value = b.select(b.fcmp_ordered("<", size, self.f(0.921875)), near, far)
        sign = b.and_(self.bits(x), self.i(1 << 31))
        return self.or_nan(x, self.number(b.or_(self.bits(value), sign)))

    def normal_below(self, x: Value) -> Value:
        half = self.f(0.5)
        return self.e.fma(self.erf(self.b.fmul(x, self.f(_SQRT_HALF))), half, half)


def _black_scholes(e: Emitter) -> None:
    v, b = _Vectors(e), e.b
    rate, volatility = (e.number(name, v.floats) for name in ("rate", "volatility"))
    with e.loop(0, e.word("n"), v.lanes) as at:
        offset = b.shl(at.index, e.const(I64, 2))
        s, k, t = (
            e.load(e.offset(e.pointer(name), offset), v.floats)
            for name in ("price", "strike", "years")
        )
        deviation = b.fmul(volatility, e.intrinsic("llvm.sqrt", v.floats, t))
        drift = e.fma(b.fmul(volatility, v.f(0.5)), volatility, rate)
        d1 = b.fdiv(e.fma(drift, t, v.log(b.fdiv(s, k))), deviation)
        d2 = b.fsub(d1, deviation)
        discounted = b.fmul(k, v.exp(b.fmul(b.fneg(rate), t)))
        in_call, in_strike = v.normal_below(d1), v.normal_below(d2)
        call = b.fsub(b.fmul(s, in_call), b.fmul(discounted, in_strike))
        one = v.f(1.0)
        put = b.fsub(b.fmul(discounted, b.fsub(one, in_strike)), b.fmul(s, b.fsub(one, in_call)))
        for name, value in (("call", call), ("put", put)):
            e.store(value, e.offset(e.pointer(name), offset))


@cache
def black_scholes() -> Callable[..., None]:
    """The kernel by hand: a function of the words of its block, by name. `n` is a multiple of what
    a register holds."""

    def build() -> str:
        e = Emitter(_BLOCK)
        _black_scholes(e)
        return e.finish()

    key = f"peer {source_key('bench.devices._gpu_peers', 'emu.cpu.tensor.emit')}"
    code: Code = compile_cached(key, build)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    call: Any = prototype(code.address("kernel"))

    def run(**words: float) -> None:
        block = (ctypes.c_uint64 * _BLOCK.size)()
        for name, value in words.items():
            word = ctypes.c_uint64(int(value))
            if isinstance(value, float):
                word = ctypes.c_uint64.from_buffer(ctypes.c_double(value))
            block[_BLOCK.index[name]] = word.value
        assert code
        call(ctypes.addressof(block), 0, 1)

    return run
