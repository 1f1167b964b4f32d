"""AIFS, the disk format that AIos reads: a directory of contiguous entries, nothing more.

All numbers are little-endian, contents begin at multiples of 4096 bytes so that DMA lands page by
page. The header is the image's first 512 bytes; the table of 128-byte entries begins at byte 4096.
An *output* entry reserves room that the guest may fill; the guest then updates its size and CRC.

Public: `create` writes an image, `read` gives its entries, `extract` one entry's bytes. The guest's
side is `kernel_src/registry.kern`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emu.errors import AiosError

MAGIC = b"AIOSDISK"
VERSION = 1
ALIGN = 4096
TABLE_OFFSET = 4096
HEADER = struct.Struct("<8sIIQQI")
"""Magic, version, number of entries, table offset, image size, CRC-32 of the table."""
ENTRY = struct.Struct("<64sIIQQQI28x")
"""Name, kind, flags, offset, size in use, capacity, CRC-32 of the content."""

MODEL, TENSOR, RAW = 1, 2, 3
KIND_NAMES = {MODEL: "model", TENSOR: "tensor", RAW: "raw"}
KIND_OF_SUFFIX = {".onnx": MODEL, ".npy": TENSOR}
OUTPUT = 1
"""Bit of `flags`: the guest may write the entry."""


@dataclass(frozen=True)
class Entry:
    """One entry of the table; offsets, sizes and capacities are bytes."""

    name: str
    kind: int
    flags: int
    offset: int
    size: int
    capacity: int
    crc: int

    @property
    def is_output(self) -> bool:
        """Whether the guest may write it."""
        return bool(self.flags & OUTPUT)


def kind_of(name: str) -> int:
    """The kind that a file name's ending stands for."""
    return KIND_OF_SUFFIX.get(Path(name).suffix.lower(), RAW)


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def _encoded_name(name: str) -> bytes:
    encoded = name.encode()
    if not 0 < len(encoded) < 64:
        raise AiosError(f"the name '{name}' does not fit on a disk: it must have 1 to 63 bytes")
    return encoded


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise AiosError(f"the file '{path}' cannot be read: {reason}") from None


def create(
    image: Path,
    files: Sequence[tuple[str, Path]],
    outputs: Sequence[tuple[str, int]] = (),
) -> None:
    """Write an image with `files` (name on the disk, host path) and room for `outputs`.

    An output is (name, capacity in bytes). The image appears at once and whole, or not at all.
    """
    names = [name for name, _ in files] + [name for name, _ in outputs]
    for name in names:
        if names.count(name) > 1:
            raise AiosError(f"the name '{name}' is given twice; names on a disk are unique")
    offset = _aligned(TABLE_OFFSET + ENTRY.size * len(names))
    table, contents = b"", []
    for name, path in files:
        data = _content(path)
        crc = zlib.crc32(data)
        fields = (kind_of(name), 0, offset, len(data), _aligned(len(data)), crc)
        table += ENTRY.pack(_encoded_name(name), *fields)
        contents.append((offset, data))
        offset += _aligned(len(data))
    for name, capacity in outputs:
        if capacity < 1:
            raise AiosError(f"the output '{name}' has a capacity of {capacity} bytes")
        fields = (kind_of(name), OUTPUT, offset, 0, _aligned(capacity), 0)
        table += ENTRY.pack(_encoded_name(name), *fields)
        offset += _aligned(capacity)
    header = HEADER.pack(MAGIC, VERSION, len(names), TABLE_OFFSET, offset, zlib.crc32(table))
    _write(image, offset, [(0, header), (TABLE_OFFSET, table), *contents])


def _write(image: Path, size: int, pieces: Sequence[tuple[int, bytes]]) -> None:
    if image.exists() and not image.is_file():
        raise AiosError(f"the image '{image}' cannot be written: it is there and is no plain file")
    partial = image.with_name(image.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.truncate(size)
            for offset, data in pieces:
                file.seek(offset)
                file.write(data)
        partial.replace(image)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise AiosError(f"the image '{image}' cannot be written: {error.strerror}") from None


def read(image: Path) -> list[Entry]:
    """The entries of an image; raises AiosError when it is none, or a damaged one."""
    try:
        with image.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            header = file.read(HEADER.size)
            if len(header) < HEADER.size or not header.startswith(MAGIC):
                raise AiosError(f"'{image}' is no AIos disk: it does not begin with AIOSDISK")
            _, version, count, table_offset, whole, crc = HEADER.unpack(header)
            file.seek(min(table_offset, size))
            table = file.read(ENTRY.size * min(count, size // ENTRY.size))
    except OSError as error:
        raise AiosError(f"the disk '{image}' cannot be read: {error.strerror}") from None
    if version != VERSION:
        raise AiosError(f"the disk '{image}' has format version {version}, not {VERSION}")
    if size < whole or len(table) != ENTRY.size * count or zlib.crc32(table) != crc:
        raise AiosError(f"the disk '{image}' is damaged: its table is cut off or altered")
    return [_entry(image, size, fields) for fields in ENTRY.iter_unpack(table)]


def _entry(image: Path, size: int, fields: tuple[bytes, int, int, int, int, int, int]) -> Entry:
    entry = Entry(fields[0].rstrip(b"\0").decode(errors="replace"), *fields[1:])
    if entry.size > entry.capacity or entry.offset + entry.capacity > size:
        raise AiosError(f"the disk '{image}' is damaged: '{entry.name}' lies beyond its end")
    return entry


def extract(image: Path, name: str) -> bytes:
    """The content of the entry `name`, its CRC checked."""
    entries = read(image)
    for entry in entries:
        if entry.name == name:
            with image.open("rb") as file:
                file.seek(entry.offset)
                data = file.read(entry.size)
            if zlib.crc32(data) != entry.crc:
                raise AiosError(
                    f"'{name}' on the disk '{image}' is damaged: its CRC does not match"
                )
            return data
    known = ", ".join(entry.name for entry in entries) or "nothing"
    raise AiosError(f"there is no '{name}' on the disk '{image}'; it holds {known}")
