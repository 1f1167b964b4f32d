"""Addresses of objects, and what moves values between objects and registers."""

from __future__ import annotations

from toolchain.kern import typed, types
from toolchain.kern.codegen import layout
from toolchain.kern.codegen.function import FunctionEmitter
from toolchain.kern.codegen.ir import NULL, STR_TYPE, Value, int_const
from toolchain.kern.codegen.registry import emits, emits_into


@emits(typed.LocalVar)
def _local(f: FunctionEmitter, node: typed.LocalVar) -> Value:
    return f.address(node.local)


@emits(typed.GlobalVar)
def _global(f: FunctionEmitter, node: typed.GlobalVar) -> Value:
    return Value("ptr", f.module.variable(node.symbol))


@emits(typed.Deref)
def _deref(f: FunctionEmitter, node: typed.Deref) -> Value:
    if isinstance(node.pointer, typed.PointerAdd) and node.checked:
        # sizes are multiples of alignments: p[i] is as good as p, which loops need check but once
        base, index = f.value(node.pointer.pointer), f.value(node.pointer.index)
        f.check_pointer(base, types.align_of(node.type))
        return f.index(base, index, types.size_of(node.type))
    pointer = f.value(node.pointer)
    if node.checked:
        f.check_pointer(pointer, types.align_of(node.type))
    return pointer


@emits(typed.FieldOf)
def _field(f: FunctionEmitter, node: typed.FieldOf) -> Value:
    return f.offset(f.locate(node.base), types.offset_of(node.base.type, node.index))


@emits(typed.Element)
def _element(f: FunctionEmitter, node: typed.Element) -> Value:
    base_type = node.base.type
    assert isinstance(base_type, types.Array | types.SlotTable)
    base = f.locate(node.base)
    index = f.wide(f.value(node.index), node.index.type)
    if node.checked:
        f.check_index(index, int_const(base_type.length))
    return f.index(base, index, types.size_of(node.type))


@emits(typed.SliceElement)
def _slice_element(f: FunctionEmitter, node: typed.SliceElement) -> Value:
    base = f.value(node.base)
    index = f.wide(f.value(node.index), node.index.type)
    if node.checked:
        f.check_index(index, f.extract(base, 1, "i64"))
    return f.index(f.extract(base, 0, "ptr"), index, types.size_of(node.type))


@emits(typed.OrderElement)
def _order_element(f: FunctionEmitter, node: typed.OrderElement) -> Value:
    order = f.value(node.order)
    index = f.wide(f.value(node.index), node.index.type)
    if node.checked:
        f.check_index(index, f.extract(order, 2, "i64"))
    number = f.load("i32", f.index(f.extract(order, 1, "ptr"), index, 4), 4)
    size = types.size_of(node.type)
    return f.index(f.extract(order, 0, "ptr"), f.convert("zext", number, "i64"), size)


@emits(typed.Temporary)
def _temporary(f: FunctionEmitter, node: typed.Temporary) -> Value:
    address = f.object(node.type)
    f.value_into(node.value, address)
    return address


@emits(typed.Load)
def _load(f: FunctionEmitter, node: typed.Load) -> Value:
    return f.get(f.locate(node.lvalue), node.type)


@emits_into(typed.Load)
def _load_into(f: FunctionEmitter, node: typed.Load, to: Value) -> None:
    f.copy(to, f.locate(node.lvalue), node.type)


@emits(typed.KernelObject)
def _kernel_object(f: FunctionEmitter, node: typed.KernelObject) -> Value:
    return Value("ptr", f.module.kernel_object(node.function))


@emits(typed.AddressOf)
def _address_of(f: FunctionEmitter, node: typed.AddressOf) -> Value:
    return f.locate(node.lvalue)


@emits(typed.Zero)
def _zero(f: FunctionEmitter, node: typed.Zero) -> Value:
    type_ = layout.value_type(node.type)
    if type_ == "ptr":
        return NULL
    if type_.startswith("{"):
        return Value(type_, "zeroinitializer")
    return Value(type_, "0.0" if isinstance(node.type, types.Float) else "0")


@emits_into(typed.Zero)
def _zero_into(f: FunctionEmitter, node: typed.Zero, to: Value) -> None:
    f.clear(to, node.type)


@emits_into(typed.StructValue)
def _struct_into(f: FunctionEmitter, node: typed.StructValue, to: Value) -> None:
    members = types.members_of(node.type) or ()
    if len(node.fields) < len(members):
        f.clear(to, node.type)
    for index, value in node.fields:
        f.value_into(value, f.offset(to, types.offset_of(node.type, index)))


@emits_into(typed.ArrayValue)
def _array_into(f: FunctionEmitter, node: typed.ArrayValue, to: Value) -> None:
    assert isinstance(node.type, types.Array)
    size = types.size_of(node.type.element)
    for i, element in enumerate(node.elements):
        f.value_into(element, f.offset(to, i * size))


# ── Slices ───────────────────────────────────────────────────────────────────────────────────


@emits(typed.PointerAdd)
def _pointer_add(f: FunctionEmitter, node: typed.PointerAdd) -> Value:
    assert isinstance(node.type, types.Ptr)
    assert node.type.target is not None
    pointer, index = f.value(node.pointer), f.value(node.index)
    return f.index(pointer, index, types.size_of(node.type.target))


@emits(typed.MakeSlice)
def _make_slice(f: FunctionEmitter, node: typed.MakeSlice) -> Value:
    pointer, length = f.value(node.pointer), f.value(node.length)
    return f.pack(STR_TYPE, pointer, length)


@emits(typed.SubSlice)
def _sub_slice(f: FunctionEmitter, node: typed.SubSlice) -> Value:
    base, low, high = f.value(node.base), f.value(node.low), f.value(node.high)
    length = f.extract(base, 1, "i64")
    # unsigned comparisons make negative bounds large
    bad = f.binary("or", f.compare("icmp ugt", low, high), f.compare("icmp ugt", high, length))
    f.guard(bad, lambda: f.panic_with("panic_slice", low, high, length))
    size = types.size_of(node.type.element) if isinstance(node.type, types.Slice) else 1
    first = f.index(f.extract(base, 0, "ptr"), low, size)
    return f.pack(STR_TYPE, first, f.binary("sub", high, low))


@emits(typed.Length)
def _length(f: FunctionEmitter, node: typed.Length) -> Value:
    return f.extract(f.value(node.base), 2 if isinstance(node.base.type, types.Order) else 1, "i64")


@emits(typed.DataOf)
def _data_of(f: FunctionEmitter, node: typed.DataOf) -> Value:
    return f.extract(f.value(node.base), 0, "ptr")
