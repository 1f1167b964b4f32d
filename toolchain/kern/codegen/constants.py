"""Initial values of globals, as LLVM constants of exactly the bytes of their types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.kern import typed, types
from toolchain.kern.codegen import layout
from toolchain.kern.codegen.ir import Value, float_const, symbol

if TYPE_CHECKING:
    from toolchain.kern.codegen.module import ModuleEmitter


def constant(module: ModuleEmitter, node: typed.Expr) -> Value:
    """The constant that an initial value stands for."""
    type_ = layout.memory_type(node.type)
    match node:
        case typed.Zero():
            return zero(node.type)
        case typed.IntConst(value=value):
            if type_ == "ptr":
                return Value("ptr", f"inttoptr (i64 {value} to ptr)" if value else "null")
            return Value(type_, str(value))
        case typed.FloatConst(value=number):
            return float_const(number, 32 if type_ == "float" else 64)
        case typed.StrConst(value=data):
            return module.string(data)
        case typed.FunctionAddress(function=function):
            return Value("ptr", module.symbol(function))
        case typed.AddressOf(lvalue=typed.GlobalVar(symbol=variable)):
            return Value("ptr", symbol(variable.symbol))
        case typed.Cast(kind="bits", operand=operand):
            return Value(type_, constant(module, operand).ref)
        case typed.ArrayValue(elements=elements):
            return _array(module, node.type, elements)
        case typed.StructValue(fields=fields):
            return _struct(module, node.type, dict(fields))
    raise AssertionError(f"{node.place}: {type(node).__name__} is no constant")


def zero(type_: types.Type) -> Value:
    """All bytes zero."""
    return Value(f"[{types.size_of(type_)} x i8]", "zeroinitializer")


def _packed(members: list[Value]) -> Value:
    kinds = ", ".join(m.type for m in members)
    return Value(f"<{{ {kinds} }}>", "<{ " + ", ".join(map(str, members)) + " }>")


def _array(module: ModuleEmitter, type_: types.Type, elements: tuple[typed.Expr, ...]) -> Value:
    """An array in place; for a slice, the slice of an anonymous global."""
    members = _packed([constant(module, e) for e in elements])
    if isinstance(type_, types.Slice):
        name = module.anonymous(members, types.align_of(type_.element))
        return Value(layout.memory_type(type_), f"{{ ptr {name}, i64 {len(elements)} }}")
    return members


def _struct(module: ModuleEmitter, type_: types.Type, given: dict[int, typed.Expr]) -> Value:
    """The fields in order with the padding between them made explicit."""
    members: list[Value] = []
    end = 0
    for i, member in enumerate(types.members_of(type_) or ()):
        offset = types.offset_of(type_, i)
        if offset > end:
            members.append(_padding(offset - end))
        members.append(constant(module, given[i]) if i in given else zero(member))
        end = offset + types.size_of(member)
    if types.size_of(type_) > end:
        members.append(_padding(types.size_of(type_) - end))
    return _packed(members)


def _padding(size: int) -> Value:
    return Value(f"[{size} x i8]", "zeroinitializer")
