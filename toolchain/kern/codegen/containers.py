"""Slot tables, queues and sort orders."""

from __future__ import annotations

from collections.abc import Callable

from toolchain.kern import typed, types
from toolchain.kern.codegen import layout
from toolchain.kern.codegen.function import FunctionEmitter
from toolchain.kern.codegen.ir import ORDER_TYPE, VOID, Value, int_const
from toolchain.kern.codegen.registry import emits, emits_into

# ── Slot tables ──────────────────────────────────────────────────────────────────────────────


@emits(typed.SlotOp)
def _slot_op(f: FunctionEmitter, node: typed.SlotOp) -> Value:
    table = node.table.type
    assert isinstance(table, types.SlotTable)
    base = f.locate(node.table)
    used = f.offset(base, types.offset_of(table, 1))
    length = int_const(table.length)
    arguments = [f.wide(f.value(a), a.type) for a in node.arguments]
    match node.op:
        case "alloc":
            return _alloc(f, table, base, used)
        case "free":
            f.check_index(arguments[0], length)
            return f.runtime("slots_free", "void", used, *arguments)
        case "full":
            count = f.runtime("slots_count", "i64", used, length)
            return f.compare("icmp eq", count, length)
        case "count":
            return f.runtime("slots_count", "i64", used, length)
    return f.runtime("slots_used", "zeroext i1", used, length, *arguments)


def _alloc(f: FunctionEmitter, table: types.SlotTable, base: Value, used: Value) -> Value:
    """Takes the first free slot, whose element is made zero."""
    index = f.runtime("slots_alloc", "i64", used, int_const(table.length))
    zero, done = f.label("zero"), f.label("allocated")
    f.branch(f.compare("icmp slt", index, int_const(0)), done, zero)
    f.enter(zero)
    f.clear(f.index(base, index, types.size_of(table.element)), table.element)
    f.enter(done)
    return index


# ── Queues ───────────────────────────────────────────────────────────────────────────────────


class _Ring:
    """The parts of a queue object while one operation is written."""

    def __init__(self, f: FunctionEmitter, queue: typed.Lvalue) -> None:
        assert isinstance(queue.type, types.Queue)
        self.f, self.type = f, queue.type
        self.head_at = f.locate(queue)
        self.length_at = f.offset(self.head_at, types.offset_of(self.type, 1))
        self.elements = f.offset(self.head_at, types.offset_of(self.type, 2))

    def length(self) -> Value:
        return self.f.load("i64", self.length_at, 8)

    def set_length(self, op: str) -> None:
        self.f.store(self.f.binary(op, self.length(), int_const(1)), self.length_at, 8)

    def is_empty(self) -> Value:
        return self.f.compare("icmp eq", self.length(), int_const(0))

    def is_full(self) -> Value:
        return self.f.compare("icmp uge", self.length(), int_const(self.type.length))

    def wrapped(self, index: Value) -> Value:
        """`index` (below twice the length) modulo the length."""
        f, length = self.f, int_const(self.type.length)
        return f.select(f.compare("icmp uge", index, length), f.binary("sub", index, length), index)

    def entry(self, k: Value) -> Value:
        """The address of the k-th oldest entry."""
        head = self.f.load("i64", self.head_at, 8)
        index = self.wrapped(self.f.binary("add", head, k))
        return self.f.index(self.elements, index, types.size_of(self.type.element))

    def advance(self) -> None:
        head = self.f.load("i64", self.head_at, 8)
        self.f.store(self.wrapped(self.f.binary("add", head, int_const(1))), self.head_at, 8)
        self.set_length("sub")


@emits(typed.QueueElement)
def _queue_element(f: FunctionEmitter, node: typed.QueueElement) -> Value:
    ring = _Ring(f, node.queue)
    return ring.entry(f.value(node.k))


@emits(typed.QueueOp)
def _queue_op(f: FunctionEmitter, node: typed.QueueOp) -> Value:
    ring = _Ring(f, node.queue)
    match node.op:
        case "push":
            return _push(f, ring, f.value(node.arguments[0]))
        case "pop" | "peek":
            value = f.get(_oldest(f, ring, node.op), node.type)
            if node.op == "pop":
                ring.advance()
            return value
        case "empty":
            return ring.is_empty()
        case "full":
            return ring.is_full()
        case "len":
            return ring.length()
    f.store(int_const(0), ring.length_at, 8)
    return VOID


@emits_into(typed.QueueOp)
def _queue_op_into(f: FunctionEmitter, node: typed.QueueOp, to: Value) -> None:
    ring = _Ring(f, node.queue)
    f.copy(to, _oldest(f, ring, node.op), node.type)
    if node.op == "pop":
        ring.advance()


def _oldest(f: FunctionEmitter, ring: _Ring, op: str) -> Value:
    f.guard(ring.is_empty(), lambda: f.panic(f"{op} of an empty queue"))
    return ring.entry(int_const(0))


def _push(f: FunctionEmitter, ring: _Ring, value: Value) -> Value:
    full = ring.is_full()
    room, done = f.label("room"), f.label("pushed")
    f.branch(full, done, room)
    f.enter(room)
    f.put(value, ring.entry(ring.length()), ring.type.element)
    ring.set_length("add")
    f.enter(done)
    return f.binary("xor", full, Value("i1", "true"))


# ── Sort orders ──────────────────────────────────────────────────────────────────────────────

_MOST = 1024
"""How many elements a slice may have to be sorted; its indices lie on the stack."""


@emits(typed.Sort)
def _sort(f: FunctionEmitter, node: typed.Sort) -> Value:
    first, length, capacity, element = _elements(f, node)
    keys = f.stack(capacity * 8, 8)
    indices = f.stack(capacity * 4, 4)
    count = f.object(types.INT)
    f.store(int_const(0), count, 8)

    def visit(i: Value) -> None:
        f.store(f.index(first, i, types.size_of(element)), f.address(node.element), 8)
        key = _sortable(f, f.value(node.key), node.key.type)
        f.store(key, f.index(keys, i, 8), 8)
        n = f.load("i64", count, 8)
        f.store(f.convert("trunc", i, "i32"), f.index(indices, n, 4), 4)
        f.store(f.binary("add", n, int_const(1)), count, 8)

    f.count_to(length, _used_only(f, node, first, visit))
    n = f.load("i64", count, 8)
    f.runtime("sort_indices", "void", keys, indices, n)
    return f.pack(ORDER_TYPE, first, indices, n)


def _elements(f: FunctionEmitter, node: typed.Sort) -> tuple[Value, Value, int, types.Type]:
    """Address, number, greatest number and type of the elements to sort."""
    base = f.locate(node.base)
    match node.base.type:
        case types.SlotTable(element, length) | types.Array(element, length):
            return base, int_const(length), length, element
        case types.Slice(element):
            value = f.get(base, node.base.type)
            n = f.extract(value, 1, "i64")
            bad = f.compare("icmp ugt", n, int_const(_MOST))
            f.guard(bad, lambda: f.panic_with("panic_sort", n, int_const(_MOST)))
            return f.extract(value, 0, "ptr"), n, _MOST, element
    raise AssertionError(node.base.type)


def _used_only(
    f: FunctionEmitter, node: typed.Sort, base: Value, visit: Callable[[Value], None]
) -> Callable[[Value], None]:
    """`visit`, skipping the free slots of a slot table."""
    table = node.base.type
    if not isinstance(table, types.SlotTable):
        return visit

    def visit_used(i: Value) -> None:
        used = f.offset(base, types.offset_of(table, 1))
        taken = f.runtime("slots_used", "zeroext i1", used, int_const(table.length), i)
        yes, no = f.label("used"), f.label("unused")
        f.branch(taken, yes, no)
        f.enter(yes)
        visit(i)
        f.enter(no)

    return visit_used


def _sortable(f: FunctionEmitter, key: Value, type_: types.Type) -> Value:
    """An i64 whose signed order is the key's; NaN is the least."""
    if isinstance(type_, types.Float):
        return _sortable_float(f, key)
    if isinstance(type_, types.Int):
        wide = f.wide(key, type_)
        if type_ == types.U64:
            return f.binary("xor", wide, int_const(-(1 << 63)))
        return wide
    kind = "sext" if layout.extension(type_) == "signext " else "zext"
    return f.convert(kind, key, "i64")


def _sortable_float(f: FunctionEmitter, key: Value) -> Value:
    """Negative numbers have their other bits turned over; adding 0.0 makes -0.0 equal to 0.0."""
    double = f.convert("fpext", key, "double") if key.type == "float" else key
    positive = f.let("double", f"fadd {double}, 0.0")
    bits = f.convert("bitcast", positive, "i64")
    sign = f.binary("ashr", bits, int_const(63))
    turned = f.binary("xor", bits, f.binary("and", sign, int_const((1 << 63) - 1)))
    nan = f.compare("fcmp uno", double, double)
    return f.select(nan, int_const(-(1 << 63)), turned)
