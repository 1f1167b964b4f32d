"""Sums of products of bytes: the primitive of integer products.

A *quad* is four adjacent bytes in a 32-bit lane. `dot(e, sums, unsigned, signed)` adds to each
lane of `sums` the products of an unsigned quad's bytes with a signed one's, wrapping. Hosts that
have an instruction for it (VNNI) use it; any other does it byte by byte.
"""

from __future__ import annotations

from functools import cache

from llvmlite import binding, ir

from emu.cpu.tensor.emit import I8, I32, Emitter, Value, bits_of, lanes_of, target, vector

QUAD = 4
"""Bytes of a lane."""


def quad_lanes() -> int:
    """Lanes of a vector register that sums of products are kept in."""
    return target()[0] // QUAD


@cache
def _instruction() -> tuple[str, int] | None:
    """The host's instruction for whole vectors, and its bytes."""
    features = binding.get_host_cpu_features()
    if features.get("avx512vnni") and target()[0] == 64:
        return "llvm.x86.avx512.vpdpbusd.512", 64
    if features.get("avxvnni") and target()[0] == 32:
        return "llvm.x86.avx512.vpdpbusd.256", 32
    return None


def dot(e: Emitter, sums: Value, unsigned: Value, signed: Value) -> Value:
    """`sums` + the products of quads; all three are vectors of i32."""
    lanes = lanes_of(sums.type)
    instruction = _instruction()
    if instruction is not None and instruction[1] == lanes * QUAD:
        bytes_ = ir.VectorType(I8, lanes * QUAD)
        operands = [e.b.bitcast(value, bytes_) for value in (unsigned, signed)]
        return e.intrinsic(instruction[0], sums.type, sums, *operands, suffix=False)
    for byte in range(QUAD):
        shift = e.const(sums.type, 8 * byte)
        left = e.b.and_(e.b.lshr(unsigned, shift), e.const(sums.type, 0xFF))
        up = e.b.shl(signed, e.const(sums.type, 24 - 8 * byte))
        right = e.b.ashr(up, e.const(sums.type, 24))
        sums = e.b.add(sums, e.b.mul(left, right))
    return sums


def ones(e: Emitter, lanes: int) -> Value:
    """Quads of ones: a dot with them sums bytes."""
    return e.const(vector(I32, lanes), 0x01010101)


def interleave(e: Emitter, rows: list[Value]) -> Value:
    """Four rows of bytes as quads: quad i has byte i of every row."""
    assert len(rows) == QUAD
    pairs = [_zip(e, rows[0], rows[1]), _zip(e, rows[2], rows[3])]
    halves = ir.VectorType(ir.IntType(16), lanes_of(rows[0].type))
    both = _zip(e, *(e.b.bitcast(pair, halves) for pair in pairs))
    return e.b.bitcast(both, vector(I32, lanes_of(rows[0].type)))


def _zip(e: Emitter, x: Value, y: Value) -> Value:
    """x0 y0 x1 y1 …"""
    lanes = lanes_of(x.type)
    order = [lane // 2 + lanes * (lane % 2) for lane in range(2 * lanes)]
    mask = ir.Constant(ir.VectorType(I32, 2 * lanes), [ir.Constant(I32, i) for i in order])
    assert bits_of(x.type) == bits_of(y.type)
    return e.b.shuffle_vector(x, y, mask)
