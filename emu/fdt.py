"""Flattened device trees: a writer (Devicetree specification 0.4, chapter 5).

    root = Node("")
    root["#address-cells"] = 2
    root.add("memory@80000000")["reg"] = cells64(0x8000_0000, size)
    blob = flatten(root)

A property's value may be an int (one cell), a list of ints (cells), a str, a list of str, bytes, or
None for a property whose presence is all it says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

Value = int | str | bytes | None | Sequence[int] | Sequence[str]

_MAGIC, _VERSION, _COMPATIBLE = 0xD00DFEED, 17, 16
_BEGIN, _END, _PROPERTY, _FINISH = 1, 2, 3, 9
_HEADER_BYTES, _RESERVATIONS_BYTES = 40, 16  # the reservation block is only its end mark


def cells64(*values: int) -> list[int]:
    """Each value as two cells, high one first."""
    return [cell for value in values for cell in (value >> 32, value & 0xFFFF_FFFF)]


class Node:
    """A node: properties by `node["name"] = value`, children by `add`. Both keep their order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.properties: dict[str, Value] = {}
        self.children: list[Node] = []

    def __setitem__(self, name: str, value: Value) -> None:
        self.properties[name] = value

    def add(self, name: str) -> Node:
        """A new child."""
        child = Node(name)
        self.children.append(child)
        return child


def _encode(value: Value) -> bytes:
    match value:
        case None:
            return b""
        case bytes():
            return value
        case int():
            return struct.pack(">I", value)
        case str():
            return value.encode(errors="surrogateescape") + b"\0"  # bytes of any locale
    parts = [_encode(item) for item in value]
    return b"".join(parts)


def _align(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


class _Strings:
    """The strings block: each property name once."""

    def __init__(self) -> None:
        self.block = bytearray()
        self._offsets: dict[str, int] = {}

    def offset(self, name: str) -> int:
        if name not in self._offsets:
            self._offsets[name] = len(self.block)
            self.block += name.encode() + b"\0"
        return self._offsets[name]


def _structure(node: Node, strings: _Strings) -> Iterator[bytes]:
    yield struct.pack(">I", _BEGIN)
    yield _align(node.name.encode() + b"\0")
    for name, value in node.properties.items():
        data = _encode(value)
        yield struct.pack(">III", _PROPERTY, len(data), strings.offset(name))
        yield _align(data)
    for child in node.children:
        yield from _structure(child, strings)
    yield struct.pack(">I", _END)


def flatten(root: Node, boot_hart: int = 0) -> bytes:
    """The tree as one block, as a boot loader hands it to a kernel."""
    strings = _Strings()
    structure = b"".join(_structure(root, strings)) + struct.pack(">I", _FINISH)
    structure_at = _HEADER_BYTES + _RESERVATIONS_BYTES
    strings_at = structure_at + len(structure)
    total = strings_at + len(strings.block)
    header = struct.pack(
        ">10I",
        *(_MAGIC, total, structure_at, strings_at, _HEADER_BYTES, _VERSION, _COMPATIBLE),
        *(boot_hart, len(strings.block), len(structure)),
    )
    return header + bytes(_RESERVATIONS_BYTES) + structure + bytes(strings.block)
