"""DWARF location expressions: where a variable is, in a frame (DWARF 5, sections 2.5 and 2.6).

The operations that compilers for this machine write are understood: a register, an address, an
offset from a register or from the frame base, a pointer there, a constant. Others count as
"optimised away".
"""

from __future__ import annotations

from toolchain.debug import types
from toolchain.debug.dwarf import Variable
from toolchain.debug.errors import DebugError
from toolchain.debug.frames import Frame
from toolchain.debug.memory import GuestMemory
from toolchain.debug.values import Value, integer

_ADDR, _DEREF = 0x03, 0x06
_PLUS_UCONST, _FBREG, _CALL_FRAME_CFA, _STACK_VALUE = 0x23, 0x91, 0x9C, 0x9F
_LIT0, _REG0, _BREG0, _COUNT = 0x30, 0x50, 0x70, 32
_ALL = (1 << 64) - 1


def locate(variable: Variable, frame: Frame, memory: GuestMemory) -> Value:
    """The value of `variable` in `frame`, references followed; DebugError when it has none now."""
    expression = variable.expression_at(frame.lookup_pc)
    value = _evaluate(expression, variable.type, frame, memory) if expression else None
    if value is None:
        raise DebugError(f"The variable '{variable.name}' is optimised away here.")
    if isinstance(variable.type, types.Reference):
        target = int.from_bytes(value.bytes(memory), "little")
        return Value(variable.type.target, target)
    return value


def _evaluate(
    expression: bytes, type_: types.Type, frame: Frame, memory: GuestMemory
) -> Value | None:
    """The few operations of a location; None when it is beyond them."""
    operation, rest = expression[0], expression[1:]
    address: int | None = None
    if operation == _ADDR:
        address, rest = int.from_bytes(rest[:8], "little"), rest[8:]
    elif operation == _FBREG:
        offset, rest = _signed(rest)
        base = frame_base(frame)
        address = None if base is None else base + offset
    elif _BREG0 <= operation < _BREG0 + _COUNT:
        offset, rest = _signed(rest)
        address = frame.x[operation - _BREG0] + offset
    elif _LIT0 <= operation < _LIT0 + _COUNT:
        address = operation - _LIT0
    elif _REG0 <= operation < _REG0 + _COUNT and not rest and type_.size <= 8:
        return Value(type_, None, integer(frame.x[operation - _REG0]).data[: type_.size])
    if address is None:
        return None
    if rest[:1] == bytes([_PLUS_UCONST]):
        offset, rest = _unsigned(rest[1:])
        address += offset
    if rest[:1] == bytes([_DEREF]):
        address, rest = memory.read_int(address & _ALL), rest[1:]
    if rest == bytes([_STACK_VALUE]) and type_.size <= 8:
        return Value(type_, None, integer(address).data[: type_.size])
    return None if rest else Value(type_, address & _ALL)


def frame_base(frame: Frame) -> int | None:
    """What DW_OP_fbreg counts from."""
    base = frame.function.frame_base if frame.function else b""
    if len(base) != 1:
        return None
    if base[0] == _CALL_FRAME_CFA:
        return frame.cfa
    return frame.x[base[0] - _REG0] if _REG0 <= base[0] < _REG0 + _COUNT else None


def _unsigned(data: bytes) -> tuple[int, bytes]:
    """A ULEB128 number and what follows it."""
    value = shift = 0
    for i, byte in enumerate(data):
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, data[i + 1 :]
    return value, b""


def _signed(data: bytes) -> tuple[int, bytes]:
    """An SLEB128 number and what follows it."""
    value, rest = _unsigned(data)
    bits = 7 * (len(data) - len(rest))
    return value - (1 << bits) if value >> bits - 1 & 1 else value, rest
