"""Lowering of the builtins of lanes: indices, barriers, votes, shuffles.

Reading an index is pure: LLVM's intrinsic of Zimop's `mop.r.N` stands for it, N being the CSR's
number in `CSRS`. What lanes do together is a call of a symbol that stands for assembly text.
"""

from __future__ import annotations

from emu.isa.csrs import ANY_NAME, LANE_CSRS
from toolchain.kern import typed, types
from toolchain.kern.codegen.function import FunctionEmitter
from toolchain.kern.codegen.intrinsics import LOWERINGS
from toolchain.kern.codegen.ir import VOID, Value, int_const

CSRS = tuple(LANE_CSRS)


def _index(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
    number = CSRS.index(ANY_NAME[node.immediates[0]].number)
    zero, which = int_const(0), int_const(number)
    below = "range(i64 0, 4294967296)"
    return f.let("i64", f"call {below} i64 @llvm.riscv.mopr.i64({zero}, {which})")


def _barrier(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
    f.call("i64", f.module.instruction("bar a0, a1", 2), int_const(0), *arguments)
    return VOID


def _vote(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
    kind = node.name.removeprefix("vote_")
    wide = f.convert("zext", arguments[0], "i64")
    told = f.call("i64", f.module.instruction(f"vote.{kind} a0, a0", 1), wide)
    if node.type == types.BOOL:
        return f.compare("icmp ne", told, int_const(0))
    return f.convert("trunc", told, "i32")


_SHUFFLES = {"up": "up", "down": "down", "xor": "bfly", "idx": "idx"}
_WHOLE_WARP = 31 << 6
"""The part of a shuffle's second operand that says that a warp is not divided."""


def _shuffle(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
    value, other = arguments
    kind = _SHUFFLES[node.name.removeprefix("shuffle_")]
    bits = as_bits(f, value)
    wide = bits if bits.type == "i64" else f.convert("zext", bits, "i64")
    low = f.binary("and", other, int_const(63))
    operand = f.binary("or", low, int_const(_WHOLE_WARP))
    got = f.call("i64", f.module.instruction(f"shfl.{kind} a0, a0, a1", 2), wide, operand)
    narrow = got if bits.type == "i64" else f.convert("trunc", got, bits.type)
    return from_bits(f, narrow, value.type)


def as_bits(f: FunctionEmitter, value: Value) -> Value:
    """A scalar as an integer of its size."""
    match value.type:
        case "float":
            return f.convert("bitcast", value, "i32")
        case "double":
            return f.convert("bitcast", value, "i64")
        case "ptr":
            return f.convert("ptrtoint", value, "i64")
    return value


def from_bits(f: FunctionEmitter, bits: Value, type_: str) -> Value:
    """The inverse of `as_bits`."""
    if type_ == "ptr":
        return f.convert("inttoptr", bits, "ptr")
    return bits if type_ == bits.type else f.convert("bitcast", bits, type_)


LOWERINGS["index"] = _index
LOWERINGS["barrier"] = _barrier
for _name in ("vote_all", "vote_any", "ballot"):
    LOWERINGS[_name] = _vote
for _name in _SHUFFLES:
    LOWERINGS[f"shuffle_{_name}"] = _shuffle
