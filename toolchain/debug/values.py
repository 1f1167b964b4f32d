"""Values of the debugged program: typed bytes, read where they lie, shown as Kern writes them.

A `Value` has an address as long as it is something in memory; then its bytes are read when they are
needed, so that a huge array costs nothing until it is printed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from toolchain.debug import types
from toolchain.debug.errors import DebugError
from toolchain.debug.memory import GuestMemory

MOST_ELEMENTS = 100
"""Elements of an array, characters of a text: more are not shown."""

_MOST_TEXT = 400
_MOST_DEPTH = 6
_FLOATS = {2: "<e", 4: "<f", 8: "<d"}
_RADIXES: dict[str, Callable[[int], str]] = {"x": hex, "o": oct, "t": bin, "d": str, "u": str}


@dataclass(frozen=True)
class Value:
    """`data`, or what lies at `address`, taken as `type`. `register` is the name of a register that
    an assignment to this value changes."""

    type: types.Type
    address: int | None = None
    data: bytes = b""
    register: str = ""

    def bytes(self, memory: GuestMemory) -> bytes:
        """Its bytes."""
        if self.address is None:
            return self.data
        return memory.read(self.address, self.type.size)

    def part(self, type_: types.Type, offset: int) -> Value:
        """The `type_` that lies `offset` bytes into this value."""
        if self.address is None:
            return Value(type_, None, self.data[offset : offset + type_.size])
        return Value(type_, self.address + offset)


def integer(number: int, type_: types.Type = types.INT) -> Value:
    """A value that is nowhere in memory; `number` wraps to the size of its type."""
    bits = 8 * type_.size
    return Value(type_, None, (number & (1 << bits) - 1).to_bytes(type_.size, "little"))


def floating(number: float) -> Value:
    """A float that is nowhere in memory."""
    return Value(types.F64, None, struct.pack("<d", number))


def is_scalar(type_: types.Type) -> bool:
    """Whether arithmetic can be done with it."""
    return not isinstance(type_, types.Struct | types.Array | types.Reference)


def number(value: Value, memory: GuestMemory) -> int | float:
    """The value of a scalar; DebugError for structs and arrays."""
    if not is_scalar(value.type):
        raise DebugError(f"A value of type {value.type.name} is not a number.")
    return _decode(value.type, value.bytes(memory))


def encode(type_: types.Type, value: int | float) -> bytes:
    """The bytes of a scalar of `type_`."""
    if not is_scalar(type_):
        raise DebugError(f"A value of type {type_.name} cannot be set as a whole; set its parts.")
    if isinstance(type_, types.Float):
        try:
            return struct.pack(_FLOATS[type_.size], value)
        except OverflowError:
            raise DebugError(f"{value} is too large for {type_.name}.") from None
    return (int(value) & (1 << 8 * type_.size) - 1).to_bytes(type_.size, "little")


def _decode(type_: types.Type, data: bytes) -> int | float:
    if isinstance(type_, types.Float):
        unpacked: float = struct.unpack(_FLOATS[type_.size], data)[0]
        return unpacked
    signed = isinstance(type_, types.Enum) or (isinstance(type_, types.Int) and type_.signed)
    return int.from_bytes(data, "little", signed=signed)


class Formatter:
    """Writes values. `name_of` names the function at an address; `radix` is a letter of gdb's
    print formats (x, d, u, o, t) for all integers."""

    def __init__(
        self, memory: GuestMemory, name_of: Callable[[int], str | None], radix: str = ""
    ) -> None:
        self._memory, self._name_of, self._radix = memory, name_of, radix

    def text(self, value: Value, depth: int = 0) -> str:
        """The value in words; what cannot be read is said in its place, except at the top."""
        try:
            return self._text(value, depth)
        except DebugError as error:
            if depth == 0:
                raise
            return f"<{str(error).rstrip('.')}>"

    def _text(self, value: Value, depth: int) -> str:
        type_ = value.type
        match type_:
            case types.Struct() if type_.is_text:
                return self._string(value)
            case types.Struct() if type_.is_slice:
                return self._slice(value, depth)
            case types.Struct():
                return self._struct(value, type_, depth)
            case types.Array():
                return self._array(value, type_, depth)
        return self._scalar(type_, _decode(type_, value.bytes(self._memory)))

    def _scalar(self, type_: types.Type, number: int | float) -> str:
        if isinstance(number, float):
            return f"{number:.7g}" if type_.size < 8 else repr(number)
        if isinstance(type_, types.Pointer):
            name = self._name_of(number)
            return f"{number:#x}" + (f" <{name}>" if name else "")
        if self._radix:
            unsigned = number & (1 << 8 * type_.size) - 1
            return _RADIXES[self._radix](number if self._radix == "d" else unsigned)
        match type_:
            case types.Bool():
                return "true" if number else "false"
            case types.Enum():
                return type_.members.get(number, f"{type_.name}({number})")
            case types.Char():
                return f"{number} {chr(number)!r}"
        return str(number)

    def _struct(self, value: Value, type_: types.Struct, depth: int) -> str:
        if depth >= _MOST_DEPTH:
            return f"{type_.name}{{…}}"
        fields = (
            f"{f.name}: {self.text(value.part(f.type, f.offset), depth + 1)}"
            for f in type_.fields.values()
        )
        return f"{type_.name}{{{', '.join(fields)}}}"

    def _array(self, value: Value, type_: types.Array, depth: int) -> str:
        if depth >= _MOST_DEPTH:
            return "[…]"
        shown = min(type_.length, MOST_ELEMENTS // (depth + 1))
        parts = (value.part(type_.element, i * type_.element.size) for i in range(shown))
        texts = _runs([self.text(part, depth + 1) for part in parts])
        return f"[{', '.join(texts)}{', …' if shown < type_.length else ''}]"

    def _slice(self, value: Value, depth: int) -> str:
        first, length = self.pair(value)
        element = value.type.element if isinstance(value.type, types.Struct) else None
        if element is None or length < 0:
            return f"{value.type.name} of {length} at {first:#x}"
        whole = types.Array("", element.size * length, element, length)
        return self._array(Value(whole, first), whole, depth)

    def _string(self, value: Value) -> str:
        first, length = self.pair(value)
        if length < 0:
            return f"str of {length} at {first:#x}"
        data = self._memory.read(first, min(length, _MOST_TEXT))
        text = data.decode("utf-8", "backslashreplace")
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text.replace("\\", "\\\\"))
        text = text.replace('"', '\\"')
        return f'"{text}"' + ("…" if length > _MOST_TEXT else "")

    def pair(self, value: Value) -> tuple[int, int]:
        """The pointer and the length of a str or a slice."""
        first, length = struct.unpack("<Qq", value.bytes(self._memory)[:16])
        return first, length


def _runs(texts: list[str]) -> list[str]:
    """Equal neighbours, eight or more, as one: `0 (64 times)`."""
    out: list[str] = []
    i = 0
    while i < len(texts):
        end = i
        while end < len(texts) and texts[end] == texts[i]:
            end += 1
        same = end - i
        out += [f"{texts[i]} ({same} times)"] if same >= 8 else texts[i:end]
        i = end
    return out
