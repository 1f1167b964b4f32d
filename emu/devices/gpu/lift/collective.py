"""What lanes do together, written as vector code: CSRs, votes, shuffles, barriers, atomics.

Its meaning is that of `emu.devices.gpu.simt.collective`. Votes are questions about a mask of bits.
A shuffle writes the lanes' values to memory and gathers them, unless which lane reads which is
known beforehand. An atomic instruction is executed lane after lane, its arithmetic by the same
readings, on scalars.
"""

from __future__ import annotations

from functools import partial

from llvmlite import ir

from emu.cpu.tensor.emit import I32, I64, POINTER
from emu.devices.gpu.dispatch import GROUP_BASE, LANES, FaultCode
from emu.devices.gpu.lift import runtime, world
from emu.devices.gpu.lift.lanes import Data
from emu.devices.gpu.lift.memory import Memory
from emu.devices.gpu.lift.readings import Frame
from emu.devices.gpu.lift.values import Kind, Shape, Value, constant
from emu.devices.gpu.lift.world import IDS, Shapes

_ALL = (1 << LANES) - 1


def csr(memory: Memory, number: int, shapes: Shapes) -> Value:
    """The value of a CSR of lanes."""
    e = memory.e
    name, kind = world.csr(number, shapes)
    if name == "lane_id":
        return Value(kind, e.const(I64, 0))
    if name == "lane_mask":
        return Value(kind, e.b.zext(memory.bits, I64))
    if name == "warp_lanes":
        return Value(kind, e.const(I64, LANES))
    if name == "group_memory":
        return Value(kind, e.const(I64, GROUP_BASE))
    if name not in IDS:
        return Value(kind, e.word(name))
    # The table has a row of i32 for x, y and z each, as long as the workgroup's warps.
    items = e.b.shl(e.word("group_warps"), e.const(I64, 7))
    row = e.b.mul(items, e.const(I64, IDS[name]))
    first = e.b.add(row, e.b.shl(e.word("warp_id"), e.const(I64, 7)))
    place = e.offset(e.pointer("ids"), first)
    if kind.shape is Shape.VECTOR:
        return Value(kind, e.b.load(place, typ=ir.VectorType(I32, LANES), align=4))
    return Value(kind, e.b.zext(e.b.load(place, typ=I32, align=4), I64))


def lane(memory: Memory, name: str, operands: list[Value]) -> Value:
    """A vote, a shuffle, or what a barrier has to check."""
    kind = world.lane(name, operands)
    if name == "bar":
        for word, operand in zip(("bar_number", "bar_count"), operands, strict=True):
            last = memory.lanes.vector(operand)
            runtime.put(memory.e, word, memory.e.b.extract_element(last, memory.last()))
        return Value(kind, memory.e.const(I32, 0))
    if name.startswith("shfl."):
        return Value(kind, _shuffle(memory, name[5:], operands))
    return Value(kind, _vote(memory, name[5:], operands[0]))


def _vote(memory: Memory, name: str, condition: Value) -> Data:
    b, e, lanes = memory.e.b, memory.e, memory.lanes
    bit = lanes.trunc(condition, 1)
    bits = b.and_(b.bitcast(lanes.vector(bit), I32), memory.bits)
    if name == "ballot":
        return bits
    none = b.icmp_unsigned("==", bits, e.const(I32, 0))
    every = b.icmp_unsigned("==", bits, memory.bits)
    result = {"all": every, "any": b.not_(none), "uni": b.or_(none, every)}[name]
    return b.zext(result, I32)


def _shuffle(memory: Memory, name: str, operands: list[Value]) -> Data:
    """The value of the lane that each one reads; its own where that one is outside of its part of
    the warp or not at hand."""
    value, *numbers = operands
    lanes, known = memory.lanes, [n.number() for n in numbers]
    own = lanes.vector(lanes.observe(value))
    if memory.mask is None and all(n is not None for n in known):
        picks = [_picked(name, i, *(n for n in known if n is not None)) for i in range(LANES)]
        return memory.e.shuffle(own, own, picks)
    k, b, e = partial(lanes.constant, bits=64, vector=True), memory.e.b, memory.e
    distance, clamp, mask = (lanes.vector(n) for n in numbers)
    index = lanes.ramp(64, 1)
    outside = b.xor(mask, k((1 << 64) - 1))
    lowest = b.and_(index, mask)
    highest = b.or_(lowest, b.and_(clamp, outside))
    other = {
        "up": lambda: b.sub(index, distance), "down": lambda: b.add(index, distance),
        "bfly": lambda: b.xor(index, distance),
        "idx": lambda: b.or_(lowest, b.and_(distance, outside)),
    }[name]()  # fmt: skip
    fits = b.icmp_signed("<=", other, highest)
    if name == "up":
        fits = b.icmp_signed(">=", other, lowest)
    fits = b.and_(fits, b.icmp_unsigned("<", other, k(LANES)))
    safe = b.and_(other, k(LANES - 1))
    here = b.lshr(lanes.splat(b.zext(memory.bits, I64)), safe)
    fits = b.and_(fits, b.icmp_unsigned("!=", b.and_(here, k(1)), k(0)))
    values = runtime.place_of(e, "values")
    b.store(own, values, align=8)
    places = b.gep(values, [b.shl(safe, k(3))], source_etype=ir.IntType(8))
    places.type = ir.VectorType(POINTER, LANES)
    name_ = f"llvm.masked.gather.v{LANES}i64.v{LANES}p0"
    return e.intrinsic(name_, own.type, places, e.const(I32, 8), fits, own, suffix=False)


def _picked(name: str, own: int, distance: int, clamp: int, mask: int) -> int:
    """The lane that lane `own` of a whole warp reads."""
    lowest = own & mask
    highest = lowest | (clamp & ~mask)
    other = {
        "up": own - distance, "down": own + distance, "bfly": own ^ distance,
        "idx": lowest | (distance & ~mask),
    }[name]  # fmt: skip
    inside = other >= lowest if name == "up" else other <= highest
    return other if inside and 0 <= other < LANES else own


def atomic(memory: Memory, frame: Frame, address: Value, bits: int) -> Value:
    """An atomic read-modify-write of every lane at hand, the lowest first; what each found."""
    e, b, lanes = memory.e, memory.e.b, memory.lanes
    size = e.const(I64, bits // 8)
    words = {"addresses": address, "values": frame.operand(frame.insn.rs2)}
    for name, value in words.items():
        b.store(lanes.vector(lanes.observe(value)), runtime.place_of(e, name), align=8)
    mask = b.zext(memory.bits, I64)
    with e.loop(0, e.const(I64, LANES)) as each:
        lane = each.index
        chosen = b.icmp_unsigned("!=", b.and_(b.lshr(mask, lane), e.const(I64, 1)),
                                 e.const(I64, 0))  # fmt: skip
        with b.if_then(chosen):
            step = b.shl(lane, e.const(I64, 3))
            where, place = (
                runtime.read(e, e.offset(runtime.place_of(e, "addresses"), step)),
                e.offset(runtime.place_of(e, "values"), step),
            )
            misaligned = b.icmp_unsigned(
                "!=", b.and_(where, e.const(I64, bits // 8 - 1)), e.const(I64, 0)
            )
            _fault_if(memory, misaligned, FaultCode.MISALIGNED_ATOMIC, where, lane)
            e.call(memory.slow.locate, where, lane, size)
            host = e.word("host")
            nowhere = b.icmp_unsigned("==", host, e.const(I64, 0))
            _fault_if(memory, nowhere, FaultCode.STORE_ADDRESS, where, lane)
            _count_both(memory, size)
            pointer = b.inttoptr(host, POINTER)
            old = b.load(pointer, typ=ir.IntType(bits), align=1)
            new = _combined(frame, Value(Kind(bits, Shape.UNIFORM), old), runtime.read(e, place))
            b.store(lanes.scalar(new), pointer, align=1)
            b.store(b.zext(old, I64) if bits < 64 else old, place, align=8)
    found = b.load(runtime.place_of(e, "values"), typ=lanes.type(64, True), align=8)
    data = b.trunc(found, lanes.type(bits, True)) if bits < 64 else found
    return Value(Kind(bits, private=memory.escaped), data)


def _fault_if(memory: Memory, condition: Data, code: FaultCode, where: Data, lane: Data) -> None:
    fails, rest = memory.block("fails"), memory.block("rest")
    memory.unlikely(condition, fails, rest)
    memory.e.b.position_at_end(fails)
    memory.fault(code, where, lane)
    memory.e.b.position_at_end(rest)


def _count_both(memory: Memory, size: Data) -> None:
    """An atomic operation loads and stores."""
    e = memory.e
    counter = e.word("bad")
    for other in (runtime.LOADED, runtime.STORED):
        is_memory = e.b.icmp_unsigned("==", counter, e.const(I64, runtime.LOADED))
        number = e.b.select(is_memory, e.const(I64, other), counter)
        runtime.add(e, runtime.counter(e, number), size)


def _combined(frame: Frame, old: Value, operand: Data) -> Value:
    """What an atomic instruction stores, from what was there and its operand, both scalar."""
    steps = frame.insn.insn.steps
    registers = dict(frame.registers)
    registers[("x", frame.insn.rs2)] = Value(Kind(64, Shape.UNIFORM), operand)
    scalar = Frame(frame.lanes, frame.world, registers, frame.insn, frame.pc)
    for step in steps:
        if step.op == "load":
            scalar.values[id(step)] = old
        elif step.op == "read_x":
            index = scalar.number(step.args[0])
            scalar.values[id(step)] = registers[("x", index)] if index else constant(0)
        elif step.op == "store":
            return scalar.value(step.args[1])
    raise AssertionError(f"'{frame.insn.insn.mnemonic}' stores nothing")
