"""Issuing an instruction that computes, emitted: key, plan, addresses, steps, time.

    issue(state, instruction, registers, block) -> Done, address that missed
    enter(unit, record) -> i64        put a record into the plan table; 1 when it finds no place

The instruction's operands are collected from its registers and its attribute block. Their
descriptors and the block, less the base addresses, are the key under which the plan is found; the
addresses are then translated through the extents. Nothing is written before all is well, so every
doubt is a jump to the one place that notes the key for Python and lets it do the instruction.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from emu.cpu.jit import host_architecture
from emu.cpu.native.layout import Done
from emu.cpu.native.tensor import COUNT_SHIFT
from emu.cpu.state import EXTENTS, RUNS, Dirty, State
from emu.cpu.tensor.descriptor import REGISTERS, SIZE
from emu.cpu.tensor.faults import Operand
from emu.cpu.tensor.plan import REGIONS, SCRATCH_REGION
from emu.cpu.tensor.unit.descriptors import FORM, Instruction
from emu.cpu.tensor.unit.layout import (
    GIVEN,
    OPERANDS_MAX,
    PROBES,
    TABLE_SIZE,
    Pair,
    Record,
    Span,
    Unit,
)
from emu.cpu.tensor.unit.writer import I32, I64, POINTER, VOID, Value, Writer, i64

LANES = ir.VectorType(I32, 16)
"""A cache line, as hashing and comparing see it."""
WORDS = ir.VectorType(I64, max(OPERANDS_MAX, REGIONS))
"""A word for every operand, or region."""
_HALVES = (8, 64)
"""Offsets of two lines of a descriptor that hold all of it but the base address."""
_LINES = (0, 64)
_MIX = 0x9E37_79B1
_EXTENT_SIZE = 32


@dataclass
class Operands:
    """An instruction's operands: arrays of pointers to descriptors and of regions, how many (a
    variable), the attribute block, and the first word of the key."""

    forms: Value
    regions: Value
    count: Value
    block: Value
    head: Value


def write_issue(module: ir.Module) -> None:
    """Add the functions to the module."""
    _write_hash(module)
    _write_enter(module)
    _write_translate(module)
    _write_miss(module)
    _Issue(module).write()


# the key


def _factors(seed: int) -> Value:
    """Odd numbers, all different, for the lanes."""
    numbers = [((seed * 16 + lane) * 2 + 1) * _MIX & 0xFFFF_FFFF | 1 for lane in range(16)]
    return ir.Constant(LANES, [ir.Constant(I32, n) for n in numbers])


def _write_hash(module: ir.Module) -> None:
    """`hash(head, block, forms, count) -> i64`, never 0. `forms` are pointers to descriptors."""
    w = Writer(module, "hash", I64, [I64, POINTER, POINTER, I64], public=False)
    head, block, forms, count = w.args
    b = w.b
    total = w.variable(_lines(w, block, _LINES))
    with w.loop(count) as i:
        lines = _lines(w, w.pointer(forms, b.shl(i, i64(3))), _HALVES)
        before = b.mul(b.load(total, typ=LANES), _factors(3))
        b.store(b.add(before, lines), total)
    folded = w.call("llvm.vector.reduce.add.v16i32", I32, b.load(total, typ=LANES))
    mixed = b.mul(b.add(b.zext(folded, I64), b.mul(head, i64(_MIX))), i64(0x9E37_79B9_7F4A_7C15))
    b.ret(b.or_(b.lshr(mixed, i64(20)), i64(1 << 63)))


def _lines(w: Writer, start: Value, offsets: tuple[int, int]) -> Value:
    parts = [w.b.mul(w.load(start, o, LANES), _factors(i)) for i, o in enumerate(offsets)]
    return w.b.add(*parts)


def _differ(w: Writer, one: Value, other: Value, offsets: tuple[int, int]) -> Value:
    """Lanes that are not zero where two pairs of lines differ."""
    first, second = (w.b.xor(w.load(one, o, LANES), w.load(other, o, LANES)) for o in offsets)
    return w.b.or_(first, second)


def _any(w: Writer, lanes: Value) -> Value:
    """Whether a lane is not zero."""
    return w.is_set(w.call("llvm.vector.reduce.or.v16i32", I32, lanes))


def _slot(w: Writer, unit: Value, hash_: Value, probe: Value) -> Value:
    """Where the table's entry number `probe` for a hash is."""
    index = w.b.and_(w.b.add(hash_, probe), i64(TABLE_SIZE - 1))
    return w.at(w.pointer(unit, Unit.TABLE), w.b.shl(index, i64(4)))


def _write_enter(module: ir.Module) -> None:
    w = Writer(module, "enter", I64, [POINTER, POINTER], public=True)
    unit, record = w.args
    count = w.load(record, Record.COUNT)
    forms = w.local(POINTER, OPERANDS_MAX)
    with w.loop(count) as i:
        form = w.at(record, w.b.add(w.b.mul(i, i64(SIZE)), i64(Record.FORMS)))
        w.store(form, forms, w.b.shl(i, i64(3)))
    key = (w.load(record, Record.HEAD), w.at(record, Record.BLOCK), forms, count)
    hash_ = w.call("hash", I64, *key)
    taken = w.function.append_basic_block("taken")
    with w.loop(i64(PROBES)) as probe:
        slot = _slot(w, unit, hash_, probe)
        w.leave_if(w.is_zero(w.load(slot)), taken)
    w.b.ret(i64(1))
    w.b.position_at_end(taken)
    w.store(record, slot, 8)
    w.store(hash_, slot)
    w.b.ret(i64(0))


# addresses


def _write_translate(module: ir.Module) -> None:
    """`translate(extents, runs, context, start, bytes, addend) -> i64`: 1 if all bytes are in one
    extent; then `addend` is what makes a host address of a virtual one."""
    arguments = [POINTER, POINTER, I64, I64, I64, POINTER]
    w = Writer(module, "translate", I64, arguments, public=True)
    extents, runs, context, start, size, addend = w.args
    b = w.b
    hit = w.function.append_basic_block("hit")
    index = b.and_(b.lshr(start, i64(12)), i64(EXTENTS - 1))
    near = w.at(extents, b.mul(index, i64(_EXTENT_SIZE)))
    w.leave_if(_holds(w, near, context, start, size), hit, likely=True)
    with w.loop(i64(RUNS)) as i:
        run = w.at(runs, b.mul(i, i64(_EXTENT_SIZE)))
        found, following = (w.function.append_basic_block(n) for n in ("found", "following"))
        b.cbranch(_holds(w, run, context, start, size), found, following)
        b.position_at_end(found)
        for offset in range(0, _EXTENT_SIZE, 8):
            w.store(w.load(run, offset), near, offset)
        b.branch(hit)
        b.position_at_end(following)
    b.ret(i64(0))
    b.position_at_end(hit)
    w.store(w.load(near, 24), addend)
    b.ret(i64(1))


def _holds(w: Writer, extent: Value, context: Value, start: Value, size: Value) -> Value:
    """Whether an extent is valid and has all `size` bytes from `start` on."""
    b = w.b
    before, there = b.sub(start, w.load(extent, 8)), w.load(extent, 16)
    starts = b.icmp_unsigned("<", before, there)
    ends = b.icmp_unsigned("<=", size, b.sub(there, before))
    valid = b.icmp_unsigned("==", w.load(extent), context)
    return b.and_(valid, b.and_(starts, ends))


# a miss


def _write_miss(module: ir.Module) -> None:
    """`miss(unit, head, block, forms, regions, count)`: leave the key for Python."""
    arguments = [POINTER, I64, POINTER, POINTER, POINTER, I64]
    w = Writer(module, "miss", VOID, arguments, public=False)
    unit, head, block, forms, regions, count = w.args
    b = w.b
    for value, place in (
        (i64(1), Unit.MISSED),
        (head, Unit.MISSED_HEAD),
        (count, Unit.MISSED_COUNT),
    ):
        w.store(value, unit, place)
    w.store(w.load(block, 0, FORM), unit, Unit.MISSED_BLOCK)
    with w.loop(count) as i:
        word = b.shl(i, i64(3))
        w.store(w.load(regions, word), unit, b.add(word, i64(Unit.MISSED_REGIONS)))
        to = w.at(unit, b.add(b.mul(i, i64(SIZE)), i64(Unit.MISSED_FORMS)))
        w.store(w.load(w.pointer(forms, word), 0, FORM), to)
        w.store(i64(0), to)
    b.ret_void()


class _Issue(Instruction):
    """The function `issue`."""

    def __init__(self, module: ir.Module) -> None:
        super().__init__(module, "issue")
        self.unit = self.pointer(self.state, State.offset("tensor_unit"))
        self.missed = self.function.append_basic_block("missed")

    def write(self) -> None:
        b = self.b
        operands = self._operands()
        record = self._find(operands)
        bases, lows, highs = (self.local(I64, WORDS.count) for _ in range(3))
        self._translate(record, operands, bases, (lows, highs))
        self._compare(record, lows, highs)
        self._run(record, bases)
        charge = self.load(record, Record.CHARGE)
        stall = b.add(self.load(self.state, State.offset("stall_ps")), charge)
        self.store(stall, self.state, State.offset("stall_ps"))
        end = self.load(self.state, State.offset("stall_end"))
        is_over = b.icmp_unsigned(">=", stall, end)
        self.store(i64(Dirty.DIRTY), self.state, State.offset("xs"))
        self.answer(b.select(is_over, i64(Done.PAUSE), i64(Done.RETIRED)))
        b.position_at_end(self.missed)
        key = (operands.head, operands.block, operands.forms, operands.regions)
        self.call("miss", VOID, self.unit, *key, self.load(operands.count))
        b.branch(self.slow)
        b.position_at_end(self.slow)
        self.answer(i64(Done.SLOW))

    def _operands(self) -> Operands:
        """Collect the operands: those of the instruction, then those of the attribute block."""
        b = self.b
        head, registers, address = self.words
        forms, regions = (self.local(t, OPERANDS_MAX) for t in (POINTER, I64))
        named = b.and_(b.lshr(head, i64(COUNT_SHIFT)), i64(0xFF))
        count = self.variable(named)
        with self.loop(named) as i:
            number = b.and_(b.lshr(registers, b.shl(i, i64(3))), i64(REGISTERS - 1))
            self.store(self.register(number), forms, b.shl(i, i64(3)))
            self.store(i, regions, b.shl(i, i64(3)))
        block = self.variable(self.at(self.unit, Unit.NO_BLOCK))
        given = self.is_set(address)
        with b.if_then(given):
            here = self.block(address, "load_tlb", Done.LOAD_MISS)
            self.store(here, block)
            extra = self.variable(b.lshr(self.load(here), i64(8)))
            region = self.variable(i64(Operand.BIAS))
            with self.forever() as end:
                rest = self.load(extra)
                self.leave_if(self.is_zero(rest), end)
                number = b.and_(rest, i64(0xFF))
                self.leave_if(b.icmp_unsigned(">", number, i64(REGISTERS)), self.slow)
                with b.if_then(self.is_set(number)):
                    place = b.shl(self.load(count), i64(3))
                    self.store(self.register(b.sub(number, i64(1))), forms, place)
                    self.store(self.load(region), regions, place)
                    self.store(b.add(self.load(count), i64(1)), count)
                self.store(b.lshr(rest, i64(8)), extra)
                self.store(b.add(self.load(region), i64(1)), region)
        head = b.or_(head, b.select(given, i64(GIVEN), i64(0)))
        return Operands(forms, regions, count, self.load(block, 0, POINTER), head)

    def _find(self, operands: Operands) -> Value:
        """The record for the operands, or miss."""
        b = self.b
        count = self.load(operands.count)
        hash_ = self.call("hash", I64, operands.head, operands.block, operands.forms, count)
        with self.forever() as found:
            probe = self._probe()
            slot = _slot(self, self.unit, hash_, probe)
            entry = self.load(slot)
            self.leave_if(self.is_zero(entry), self.missed)
            record = self.pointer(slot, 8)
            candidate, other = (self.function.append_basic_block(n) for n in ("candidate", "other"))
            b.cbranch(b.icmp_unsigned("==", entry, hash_), candidate, other)
            b.position_at_end(candidate)
            self.leave_if(b.not_(self._unlike(record, operands, count)), found, likely=True)
            b.branch(other)
            b.position_at_end(other)
        return record

    def _probe(self) -> Value:
        """The number of this round of `_find`, or miss after the last one."""
        with self.b.goto_entry_block():
            place = self.b.alloca(I64)
            place.type = POINTER
            self.b.store(i64(0), place)
        probe = self.load(place)
        self.leave_if(self.b.icmp_unsigned("==", probe, i64(PROBES)), self.missed)
        self.store(self.b.add(probe, i64(1)), place)
        return probe

    def _unlike(self, record: Value, operands: Operands, count: Value) -> Value:
        """Whether a record has another key."""
        b = self.b
        same = b.icmp_unsigned("==", self.load(record, Record.HEAD), operands.head)
        counts = b.icmp_unsigned("==", self.load(record, Record.COUNT), count)
        with_count = b.select(b.and_(same, counts), count, i64(0))
        total = self.variable(_differ(self, operands.block, self.at(record, Record.BLOCK), _LINES))
        with self.loop(with_count) as i:
            form = self.at(record, b.add(b.mul(i, i64(SIZE)), i64(Record.FORMS)))
            here = self.pointer(operands.forms, b.shl(i, i64(3)))
            both = b.or_(self.load(total, 0, LANES), _differ(self, here, form, _HALVES))
            self.store(both, total)
        return b.or_(_any(self, self.load(total, 0, LANES)), b.not_(b.and_(same, counts)))

    def _translate(
        self, record: Value, operands: Operands, bases: Value, ends: tuple[Value, Value]
    ) -> None:
        """Host addresses of all operands, and of the first and last byte of each; or miss."""
        b, state = self.b, self.state
        context = self.load(state, State.offset("data_context"))
        addend = self.local(I64)
        for side in (bases, *ends):  # an operand without elements overlaps nothing
            self.store(ir.Constant(WORDS, [i64(0)] * WORDS.count), side)
        with self.loop(self.load(operands.count)) as i:
            span = self.at(record, b.add(b.mul(i, i64(Span.SIZE)), i64(Record.SPANS)))
            size, low = self.load(span, Span.BYTES), self.load(span, Span.LOW)
            empty = self.function.append_basic_block("empty")
            self.leave_if(self.is_zero(size), empty)
            base = self.load(self.pointer(operands.forms, b.shl(i, i64(3))))
            start = b.add(base, low)
            self.leave_if(b.icmp_unsigned(">", start, base), self.missed)  # below address 0
            writes = self.is_set(self.load(span, Span.WRITE))
            buffers = [
                b.select(
                    writes, *(self.at(state, State.offset(f"{a}_{k}")) for a in ("store", "load"))
                )
                for k in ("extents", "runs")
            ]
            hit = self.call("translate", I64, *buffers, context, start, size, addend)
            self.leave_if(self.is_zero(hit), self.missed)
            host = b.add(base, self.load(addend))
            self.store(host, bases, b.shl(self.load(span, Span.REGION), i64(3)))
            first = b.add(host, low)
            self.store(first, ends[0], b.shl(i, i64(3)))
            self.store(b.add(first, size), ends[1], b.shl(i, i64(3)))
            b.branch(empty)
            b.position_at_end(empty)

    def _compare(self, record: Value, lows: Value, highs: Value) -> None:
        """Miss unless operands that are written lie apart from the others."""
        b = self.b
        pairs = self.pointer(record, Record.PAIRS)
        with self.loop(self.load(record, Record.PAIRS_COUNT)) as i:
            pair = self.at(pairs, b.mul(i, i64(Pair.SIZE)))
            one, other = (b.shl(self.load(pair, p), i64(3)) for p in (Pair.WRITTEN, Pair.OTHER))
            (low, high), (other_low, other_high) = (
                (self.load(lows, o), self.load(highs, o)) for o in (one, other)
            )
            apart = b.or_(
                b.icmp_unsigned("<=", high, other_low), b.icmp_unsigned("<=", other_high, low)
            )
            same = b.and_(
                b.icmp_unsigned("==", low, other_low), self.is_set(self.load(pair, Pair.SAME))
            )
            self.leave_if(b.not_(b.or_(apart, same)), self.missed)

    def _run(self, record: Value, bases: Value) -> None:
        """Run the steps, if there is scratch memory for them; miss when a check of theirs fails."""
        b, unit = self.b, self.unit
        wanted, there = self.load(record, Record.SCRATCH), self.load(unit, Unit.SCRATCH_SIZE)
        self.leave_if(b.icmp_unsigned(">", wanted, there), self.missed)
        self.store(self.load(unit, Unit.SCRATCH), bases, 8 * SCRATCH_REGION)
        saved = self._float_control("st")
        steps, team = self.pointer(record, Record.STEPS), self.pointer(unit, Unit.TEAM)
        failed = self.call("run_steps", I64, steps, bases, team)
        self._float_control("ld", saved)
        self.leave_if(self.is_set(failed), self.missed)

    def _float_control(self, direction: str, saved: Value | None = None) -> Value:
        """Save or restore the floating-point flags, which are the guest's, not the kernels'."""
        place = self.local(I32) if saved is None else saved
        if host_architecture() == "x86_64":
            self.call(f"llvm.x86.sse.{direction}mxcsr", VOID, place)
        return place
