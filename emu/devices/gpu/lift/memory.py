"""Loads and stores of 32 lanes, by what is known of their addresses.

| addresses | access |
| --- | --- |
| the same in all lanes | one scalar |
| neighbours, in the order of the lanes | one vector |
| a place in the stack | the lanes' words are neighbours: one vector |
| anything else | a gather or scatter, after a look whether they are neighbours after all |

Every access is checked before anything happens: whether all its bytes are in the region that the
site found last (see `runtime`). If not, lane after lane is checked and accessed, up to the first
that may not. In code for a part of the warp the other lanes' addresses mean nothing, so they are
kept out of checks and accesses alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from emu.cpu.tensor.emit import I1, I32, I64, POINTER, Emitter, mangled
from emu.devices.gpu.dispatch import LANES, PRIVATE_BASE, FaultCode
from emu.devices.gpu.lift import runtime, world
from emu.devices.gpu.lift.lanes import Data, Lanes
from emu.devices.gpu.lift.runtime import GOOD, ROW, SITE_BYTES, Slow
from emu.devices.gpu.lift.values import Shape, Value

_ALL = (1 << LANES) - 1


@dataclass
class Memory:
    """Emits the accesses of one function. `mask` is None in code for whole warps, else the lanes
    at hand, as bits and as a vector."""

    e: Emitter
    lanes: Lanes
    slow: Slow
    fault: Callable[[FaultCode, Data, Data], None]
    """Ends the block with a fault: code, address, lane."""
    escaped: bool
    mask: tuple[Data, Data] | None = None
    site: int = 0
    """The number of the site that is next accessed."""

    def load(self, address: Value, bits: int) -> Value:
        """What the lanes find at their addresses."""
        kind = world.loaded(address, bits, self.escaped)
        if world.access_is_uniform(address):
            where = self._one_place(address, bits // 8, stores=False)
            return Value(kind, self.e.b.load(where, typ=ir.IntType(bits), align=1))
        return Value(kind, _Access(self, address, bits, None).run())

    def store(self, address: Value, value: Value) -> None:
        """Write the lanes' values; where places overlap, the highest lane's stays."""
        value = self.lanes.observe(value)
        if world.access_is_uniform(address):
            where = self._one_place(address, value.width // 8, stores=True)
            self.e.b.store(self._last(value), where, align=1)
        else:
            _Access(self, address, value.width, value).run()

    # What accesses share

    @property
    def bits(self) -> Data:
        """The lanes at hand, as bits."""
        return self.e.const(I32, _ALL) if self.mask is None else self.mask[0]

    def count(self) -> Data:
        """How many lanes are at hand."""
        if self.mask is None:
            return self.e.const(I64, LANES)
        return self.e.b.zext(self.e.intrinsic("llvm.ctpop", I32, self.mask[0]), I64)

    def first(self) -> Data:
        """The lowest lane at hand, as i64."""
        if self.mask is None:
            return self.e.const(I64, 0)
        lane = self.e.intrinsic("llvm.cttz", I32, self.mask[0], self.e.const(I1, 1))
        return self.e.b.zext(lane, I64)

    def last(self) -> Data:
        """The highest lane at hand, as i32."""
        if self.mask is None:
            return self.e.const(I32, LANES - 1)
        above = self.e.intrinsic("llvm.ctlz", I32, self.mask[0], self.e.const(I1, 1))
        return self.e.b.sub(self.e.const(I32, LANES - 1), above)

    def _last(self, value: Value) -> Data:
        """The highest lane's value."""
        if value.shape in (Shape.CONST, Shape.UNIFORM):
            return self.lanes.scalar(value)
        return self.e.b.extract_element(self.lanes.vector(value), self.last())

    def site_place(self) -> Data:
        """Where the site's words are."""
        return self.e.offset(runtime.place_of(self.e, "sites"), self.site * SITE_BYTES)

    def word(self, name: str) -> Data:
        """A word of the site."""
        return runtime.read(self.e, runtime.site_word(self.e, self.site_place(), name))

    def counted(self, size: int) -> None:
        """Count an access of all lanes at hand, of `size` bytes each."""
        place = runtime.site_word(self.e, self.site_place(), "bytes")
        amount = self.e.b.mul(self.count(), self.e.const(I64, size))
        self.e.b.store(self.e.b.add(runtime.read(self.e, place), amount), place, align=8)

    def call_refill(self, address: Data, span: int, stores: bool) -> None:
        """Let the site find the region of `span` bytes."""
        numbers = (self.e.const(I64, span), self.e.const(I64, int(stores)))
        self.e.call(self.slow.refill, self.site_place(), address, *numbers)

    def unlikely(self, condition: Data, yes: ir.Block, no: ir.Block) -> None:
        """Branch to `yes` in the rare case that the condition holds."""
        self.e.b.cbranch(condition, yes, no).set_weights([1, 100000])

    def block(self, name: str) -> ir.Block:
        """A new block of the function."""
        return self.e.function.append_basic_block(name)

    def _one_place(self, address: Value, size: int, stores: bool) -> Data:
        """The host's pointer to a place that all lanes access, counted."""
        e, b = self.e, self.e.b
        check, refill, good, bad = (self.block(n) for n in ("check", "refill", "good", "bad"))
        where = self.lanes.scalar(address)
        b.branch(check)
        b.position_at_end(check)
        offset = b.sub(where, self.word("base"))
        self.unlikely(b.icmp_unsigned(">=", offset, self.word("bound")), refill, good)
        b.position_at_end(refill)
        self.call_refill(where, size, stores)
        b.cbranch(b.icmp_unsigned("==", e.word("bad"), e.const(I64, 0)), check, bad)
        b.position_at_end(bad)
        code = FaultCode.STORE_ADDRESS if stores else FaultCode.LOAD_ADDRESS
        self.fault(code, where, self.first())
        b.position_at_end(good)
        self.counted(size)
        return b.inttoptr(b.add(where, self.word("delta")), POINTER)


class _Access:
    """An access at different places. `value` is what is stored, None for a load."""

    def __init__(self, memory: Memory, address: Value, bits: int, value: Value | None) -> None:
        self.m, self.e, self.b = memory, memory.e, memory.e.b
        self.address, self.bits, self.size = address, bits, bits // 8
        self.type = ir.VectorType(ir.IntType(bits), LANES)
        self.data = None if value is None else memory.lanes.vector(value)
        self.addresses = memory.lanes.vector(address)
        self.done = memory.block("done")
        self.results: list[tuple[Data, ir.Block]] = []

    def run(self) -> Data:
        """Emit it; what was loaded."""
        kind = self.address.kind
        if kind.stack is not None and (kind.stack & 7) + self.size <= 8:
            self._stack(kind.stack)
        elif kind.private:
            self._private()
        if kind.shape is Shape.AFFINE and kind.stride == self.size:
            self._row()
        else:
            self._anywhere()
        self._lanewise()
        self.b.position_at_end(self.done)
        if self.data is not None:
            return None
        phi = self.b.phi(self.type)
        for value, block in self.results:
            phi.add_incoming(value, block)
        return phi

    def _end(self, value: Data) -> None:
        """This way has done it."""
        self.results.append((value, self.b.block))
        self.b.branch(self.done)

    def _if(self, condition: Data) -> ir.Block:
        """Go on with the way for when the condition holds; the block for when not is given."""
        way, other = self.m.block("way"), self.m.block("other")
        self.m.unlikely(self.b.not_(condition), other, way)
        self.b.position_at_end(way)
        return other

    def _move(self, pointer: Data) -> None:
        """Access neighbours."""
        mask = self.m.mask[1] if self.m.mask else None
        if self.data is None:
            self._end(self.e.load(pointer, self.type, mask))
        else:
            self.e.store(self.data, pointer, mask)
            self._end(None)

    def _spread(self, pointers: Data) -> None:
        """Gather or scatter."""
        pointers.type = ir.VectorType(POINTER, LANES)
        lanes = self.m.lanes
        mask = self.m.mask[1] if self.m.mask else lanes.constant(1, 1, True)
        name, one = mangled(self.type), self.e.const(I32, 1)
        if self.data is None:
            none = lanes.constant(0, self.bits, True)
            self._end(self.e.intrinsic(
                f"llvm.masked.gather.{name}.v{LANES}p0", self.type, pointers, one, mask, none,
                suffix=False,
            ))  # fmt: skip
        else:
            self.e.intrinsic(
                f"llvm.masked.scatter.{name}.v{LANES}p0", ir.VoidType(), self.data, pointers, one,
                mask, suffix=False,
            )  # fmt: skip
            self._end(None)

    def _all(self, good: Data) -> Data:
        """Whether it holds for all lanes at hand."""
        bits = self.b.bitcast(good, I32)
        return self.b.icmp_unsigned("==", self.b.and_(bits, self.m.bits), self.m.bits)

    def _splat(self, value: Data | int) -> Data:
        scalar = self.e.const(I64, value) if isinstance(value, int) else value
        return self.m.lanes.splat(scalar)

    # The ways

    def _row(self) -> None:
        """The lanes' places are neighbours."""
        base = self.m.lanes.scalar(self.address)
        self._span = self.size * LANES
        offset = self.b.sub(base, self.m.word("base"))
        other = self._if(self.b.icmp_unsigned("<", offset, self.m.word("bound")))
        self.m.counted(self.size)
        self._move(self.b.inttoptr(self.b.add(base, self.m.word("delta")), POINTER))
        self.b.position_at_end(other)

    def _anywhere(self) -> None:
        """The places may be any. Bytes and halfwords are gathered lane by lane."""
        self._span = self.size
        offsets = self.b.sub(self.addresses, self._splat(self.m.word("base")))
        good = self.b.icmp_unsigned("<", offsets, self._splat(self.m.word("bound")))
        other = self._if(self._all(good))
        delta = self.m.word("delta")
        first = self.b.extract_element(self.addresses, self.e.const(I32, 0))
        if self.m.mask is None:
            row = self.b.add(self._splat(first), self.m.lanes.ramp(64, self.size))
            strewn = self._if(self._all(self.b.icmp_unsigned("==", self.addresses, row)))
            self.m.counted(self.size)
            self._move(self.b.inttoptr(self.b.add(first, delta), POINTER))
            self.b.position_at_end(strewn)
        if self.bits < 32:
            self.b.branch(other)
        else:
            self.m.counted(self.size)
            places = self.b.add(self.addresses, self._splat(delta))
            self._spread(self.b.inttoptr(places, ir.VectorType(POINTER, LANES)))
        self.b.position_at_end(other)

    def _stack(self, offset: int) -> None:
        """A place in the stack, the same for all lanes, inside of one word."""
        top = self.e.word("private_bytes")
        inside = offset + self.size <= 0
        fits = self.b.icmp_signed(">=", top, self.e.const(I64, -offset if inside else 1 << 62))
        other = self._if(fits)
        start = self.b.lshr(self.b.add(top, self.e.const(I64, offset)), self.e.const(I64, 3))
        row = self.e.offset(
            self.e.pointer("private_warp"), self.b.mul(start, self.e.const(I64, ROW))
        )
        lanes, low = self.m.lanes, 8 * (offset & 7)
        words = ir.VectorType(I64, LANES)
        mask = self.m.mask[1] if self.m.mask else None
        if self.data is None:
            value = self.b.lshr(self.e.load(row, words, mask), lanes.constant(low, 64, True))
            self._end(value if self.bits == 64 else self.b.trunc(value, self.type))
        else:
            value = self.data
            if self.bits < 64:
                kept = ~(((1 << self.bits) - 1) << low)
                old = self.b.and_(self.e.load(row, words, mask), lanes.constant(kept, 64, True))
                value = self.b.shl(self.b.zext(value, words), lanes.constant(low, 64, True))
                value = self.b.or_(old, value)
            self.e.store(value, row, mask)
            self._end(None)
        self.b.position_at_end(other)

    def _private(self) -> None:
        """Perhaps all places are private."""
        if self.bits < 32:
            return
        k = self.m.lanes.constant
        offsets = self.b.sub(self.addresses, k(PRIVATE_BASE, 64, True))
        bound = self.b.sub(self.e.word("private_bytes"), self.e.const(I64, self.size - 1))
        has_room = self.b.icmp_signed(">", bound, self.e.const(I64, 0))
        bound = self.b.select(has_room, bound, self.e.const(I64, 0))
        good = self.b.icmp_unsigned("<", offsets, self._splat(bound))
        within = self.b.and_(offsets, k(7, 64, True))
        good = self.b.and_(good, self.b.icmp_unsigned("<=", within, k(8 - self.size, 64, True)))
        other = self._if(self._all(good))
        rows = self.b.mul(self.b.lshr(offsets, k(3, 64, True)), k(ROW, 64, True))
        start = self._splat(self.e.word("private_warp"))
        places = self.b.add(self.b.add(rows, within), self.m.lanes.ramp(64, 8))
        self._spread(self.b.inttoptr(self.b.add(start, places), ir.VectorType(POINTER, LANES)))
        self.b.position_at_end(other)

    def _lanewise(self) -> None:
        """Lane by lane, after the site had a chance to find the right region for next time."""
        e, b, m = self.e, self.b, self.m
        words = ir.VectorType(I64, LANES)
        stores = self.data is not None
        b.store(self.addresses, runtime.place_of(e, "addresses"), align=8)
        if stores:
            value = self.data if self.bits == 64 else b.zext(self.data, words)
            b.store(value, runtime.place_of(e, "values"), align=8)
        first = b.extract_element(self.addresses, b.trunc(m.first(), I32))
        m.call_refill(first, self._span, stores)
        mask, size = b.zext(m.bits, I64), e.const(I64, self.size)
        e.call(m.slow.each_lane, mask, size, e.const(I64, int(stores)))
        bad, good = m.block("bad"), m.block("good")
        lane = e.word("bad")
        b.cbranch(b.icmp_unsigned("==", lane, e.const(I64, GOOD)), good, bad)
        b.position_at_end(bad)
        place = e.offset(runtime.place_of(e, "addresses"), b.shl(lane, e.const(I64, 3)))
        code = FaultCode.STORE_ADDRESS if stores else FaultCode.LOAD_ADDRESS
        m.fault(code, runtime.read(e, place), lane)
        b.position_at_end(good)
        if stores:
            self._end(None)
            return
        loaded: Any = b.load(runtime.place_of(e, "values"), typ=words, align=8)
        self._end(loaded if self.bits == 64 else b.trunc(loaded, self.type))
