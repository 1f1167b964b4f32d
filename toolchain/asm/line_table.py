"""The DWARF 4 that lets a debugger show the source of assembled code: a line table and its unit.

The line program needs only a few opcodes: set the address (relocated), advance, copy, end. One
compile unit describes the file and points at the ranges of its sections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from toolchain.elf import STT_SECTION, Relocation, Section, Symbol
from toolchain.link.relocations import R

_ADVANCE_PC, _ADVANCE_LINE, _COPY = 2, 3, 1
_SET_ADDRESS, _END_SEQUENCE = 2, 1
_STANDARD_OPCODE_LENGTHS = bytes([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1])
_LANGUAGE_ASSEMBLER = 0x8001  # DW_LANG_Mips_Assembler, which everybody uses
_ABBREVIATIONS = bytes([
    1, 0x11, 0,  # 1: DW_TAG_compile_unit without children
    0x10, 0x17,  # DW_AT_stmt_list, sec_offset
    0x11, 0x01,  # DW_AT_low_pc, addr
    0x55, 0x17,  # DW_AT_ranges, sec_offset
    0x03, 0x08,  # DW_AT_name, string
    0x25, 0x08,  # DW_AT_producer, string
    0x13, 0x05,  # DW_AT_language, data2
    0, 0, 0,
])  # fmt: skip


def uleb128(value: int) -> bytes:
    """An unsigned number in LEB128."""
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def sleb128(value: int) -> bytes:
    """A signed number in LEB128."""
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        done = value == (-1 if low & 0x40 else 0)
        out.append(low | (0 if done else 0x80))
        if done:
            return bytes(out)


def sections(
    filename: str, lines: Mapping[Section, Sequence[tuple[int, int]]]
) -> tuple[list[Section], list[Symbol]]:
    """The debug sections for code whose `lines` are (offset, line) pairs, and their symbols."""
    if not lines:
        return [], []
    line, info, ranges = Section(".debug_line"), Section(".debug_info"), Section(".debug_ranges")
    abbreviations = Section(".debug_abbrev", data=bytearray(_ABBREVIATIONS))
    symbols = {
        s: Symbol(s.name, s, kind=STT_SECTION) for s in (*lines, line, ranges, abbreviations)
    }
    _line_program(line, filename, lines, symbols)
    for code in lines:
        for end in (0, code.size):
            _address(ranges, symbols[code], end)
    ranges.data += bytes(16)

    info.data += bytes(4) + (4).to_bytes(2, "little")
    _offset(info, symbols[abbreviations])
    info.data += b"\x08\x01"  # addresses of 8 bytes; the first abbreviation
    _offset(info, symbols[line])
    info.data += bytes(8)
    _offset(info, symbols[ranges])
    info.data += filename.encode() + b"\0" + b"aios asm\0"
    info.data += _LANGUAGE_ASSEMBLER.to_bytes(2, "little")
    info.data[:4] = (len(info.data) - 4).to_bytes(4, "little")
    return [line, info, ranges, abbreviations], list(symbols.values())


def _address(section: Section, symbol: Symbol, addend: int) -> None:
    section.relocations.append(Relocation(len(section.data), R.ABS64, symbol, addend))
    section.data += bytes(8)


def _offset(section: Section, symbol: Symbol) -> None:
    """An offset into another debug section, which the linker will move."""
    section.relocations.append(Relocation(len(section.data), R.ABS32, symbol, 0))
    section.data += bytes(4)


def _line_program(
    section: Section,
    filename: str,
    lines: Mapping[Section, Sequence[tuple[int, int]]],
    symbols: Mapping[Section, Symbol],
) -> None:
    after_length = (
        bytes([1, 1, 1, (-5) & 255, 14, len(_STANDARD_OPCODE_LENGTHS) + 1])
        + _STANDARD_OPCODE_LENGTHS
        + b"\0"  # no include directories
        + filename.encode()
        + b"\0\0\0\0\0"
    )
    section.data += bytes(4) + (4).to_bytes(2, "little")
    section.data += len(after_length).to_bytes(4, "little") + after_length
    for code, entries in lines.items():
        section.data += bytes([0, 9, _SET_ADDRESS])
        _address(section, symbols[code], 0)
        for part in _sequence(entries, code.size):
            section.data += part
    section.data[:4] = (len(section.data) - 4).to_bytes(4, "little")


def _sequence(entries: Sequence[tuple[int, int]], end: int) -> Iterator[bytes]:
    at, line = 0, 1
    for offset, number in entries:
        yield bytes([_ADVANCE_PC]) + uleb128(offset - at)
        yield bytes([_ADVANCE_LINE]) + sleb128(number - line) + bytes([_COPY])
        at, line = offset, number
    yield bytes([_ADVANCE_PC]) + uleb128(end - at) + bytes([0, 1, _END_SEQUENCE])
