"""How Kern's types are represented in LLVM.

A value is either *first-class*, an LLVM value (scalars, str, slices, orders, results of those), or
*in memory* (structs, arrays, slot tables, queues, tensors, results of those): then it is the
address of bytes laid out as `types.size_of` and `types.offset_of` say. No LLVM struct type
describes those bytes; members are reached by their byte offsets.
"""

from __future__ import annotations

from toolchain.kern import types
from toolchain.kern.codegen.ir import ORDER_TYPE, STR_TYPE


def in_memory(type_: types.Type) -> bool:
    """Whether values of the type are represented by their address."""
    if isinstance(type_, types.Result):
        return in_memory(type_.value)
    return types.is_aggregate(type_)


def value_type(type_: types.Type) -> str:
    """The LLVM type of a value ("ptr" for one in memory)."""
    match type_:
        case types.Bool():
            return "i1"
        case types.Void() | types.Never():
            return "void"
    return "ptr" if in_memory(type_) else memory_type(type_)


def memory_type(type_: types.Type) -> str:
    """The LLVM type of an object that holds a value of the type."""
    match type_:
        case types.Int(bits=bits):
            return f"i{bits}"
        case types.Float(bits=bits):
            return "float" if bits == 32 else "double"
        case types.Bool():
            return "i8"
        case types.Enum():
            return "i32"
        case types.Ptr() | types.Fn() | types.Null():
            return "ptr"
        case types.Str() | types.Slice():
            return STR_TYPE
        case types.Order():
            return ORDER_TYPE
        case types.Result() if not in_memory(type_):
            members = types.members_of(type_)
            assert members is not None
            return "{ " + ", ".join(memory_type(m) for m in members) + " }"
    return f"[{types.size_of(type_)} x i8]"


def extension(type_: types.Type) -> str:
    """The parameter attribute by which lp64 widens the type in a register ("" for none)."""
    match type_:
        case types.Bool():
            return "zeroext "
        case types.Int(bits=bits, signed=signed) if bits < 64:
            # the psABI sign-extends every 32-bit value, unsigned ones too
            return "signext " if signed or bits == 32 else "zeroext "
        case types.Enum():
            return "signext "
    return ""
