"""ELF64 for RISC-V, little-endian: object files in and out, executables out.

`read_object` turns the bytes of a relocatable file (LLVM's, GNU as's or our assembler's) into an
`ObjectFile`: sections that carry their own relocations, and symbols that point at sections rather
than at indexes; `read` takes executables too, whose sections have addresses. `write` is the way
back; the linker gives it addresses and segments, the assembler gives it relocations. Layouts and
numbers are those of the ELF-64 object file format and of the RISC-V ELF psABI; anything read from
outside that does not hold together is an `ElfError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from emu.errors import AiosError

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
SHDR = struct.Struct("<IIQQQQIIQQ")
PHDR = struct.Struct("<IIQQQQQQ")
SYM = struct.Struct("<IBBHQQ")
RELA = struct.Struct("<QIIq")

ET_REL, ET_EXEC = 1, 2
EM_RISCV = 243
EF_RVC, EF_FLOAT_ABI_DOUBLE = 1, 4
SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA = 0, 1, 2, 3, 4
SHT_NOTE, SHT_NOBITS, SHT_GROUP = 7, 8, 17
SHT_INIT_ARRAY, SHT_FINI_ARRAY = 14, 15
SHT_RISCV_ATTRIBUTES = 0x7000_0003
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_INFO_LINK = 1, 2, 4, 0x40
SHN_UNDEF, SHN_ABS, SHN_COMMON = 0, 0xFFF1, 0xFFF2
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE = 0, 1, 2, 3, 4
PT_LOAD = 1
PF_X, PF_W, PF_R = 1, 2, 4

PAGE = 4096
_ALIGNMENTS = frozenset({0, *(1 << n for n in range(22))})


class ElfError(AiosError):
    """A file that is not the ELF it should be."""


@dataclass(frozen=True, slots=True)
class Relocation:
    """`symbol + addend`, to be put at `offset` of a section in the manner of `type`."""

    offset: int
    type: int
    symbol: Symbol
    addend: int


@dataclass(eq=False)
class Section:
    """Named bytes (or, for NOBITS, only a size) with the relocations to be applied to them."""

    name: str
    type: int = SHT_PROGBITS
    flags: int = 0
    align: int = 1
    data: bytearray = field(default_factory=bytearray)
    nobits_size: int = 0
    relocations: list[Relocation] = field(default_factory=list)
    address: int = 0
    """Where its first byte will lie; set by the linker (0-based for debug sections)."""

    @property
    def size(self) -> int:
        """Its size in memory, in bytes."""
        return self.nobits_size if self.type == SHT_NOBITS else len(self.data)


@dataclass(eq=False, slots=True)
class Symbol:
    """A name for a place: `value` bytes into section `where`, or one of the SHN_* numbers."""

    name: str
    where: Section | int = SHN_UNDEF
    value: int = 0
    size: int = 0
    binding: int = STB_LOCAL
    kind: int = STT_NOTYPE

    @property
    def address(self) -> int:
        """Its final address, once its section has one."""
        return self.value + (self.where.address if isinstance(self.where, Section) else 0)


@dataclass
class ObjectFile:
    """The content of a file; `name` is what diagnostics call it."""

    name: str
    sections: list[Section]
    symbols: list[Symbol]
    relocatable: bool = True


@dataclass(frozen=True)
class Segment:
    """A part of the file that is loaded: consecutive sections and their page rights."""

    flags: int
    sections: Sequence[Section]


def _text(table: bytes, offset: int) -> str:
    end = table.index(b"\0", offset)
    return table[offset:end].decode("utf-8", "replace")


def _check_header(data: bytes, name: str, *, allow_executable: bool) -> tuple[int, ...]:
    if len(data) < EHDR.size or data[:4] != b"\x7fELF":
        raise ElfError(f"{name} is not an ELF file.")
    if data[4:6] != b"\x02\x01":
        raise ElfError(f"{name} is not a 64-bit little-endian ELF file.")
    _, kind, machine, *rest = EHDR.unpack_from(data)
    if machine != EM_RISCV:
        raise ElfError(f"{name} is for ELF machine {machine}, not for RISC-V ({EM_RISCV}).")
    if kind != ET_REL and not (allow_executable and kind == ET_EXEC):
        wanted = "a relocatable file" + (" or an executable" if allow_executable else "")
        raise ElfError(f"{name} has ELF type {kind}, so it is not {wanted}.")
    return (kind, *rest)


def read_object(data: bytes, name: str) -> ObjectFile:
    """Read a relocatable RISC-V file; raises `ElfError` in terms of `name`."""
    return _read(data, name, _check_header(data, name, allow_executable=False))


def read(data: bytes, name: str) -> ObjectFile:
    """Read a relocatable RISC-V file or an executable; raises `ElfError` in terms of `name`."""
    return _read(data, name, _check_header(data, name, allow_executable=True))


def _read(data: bytes, name: str, header: Sequence[int]) -> ObjectFile:
    try:
        file = _read_tables(data, name, table=header[4], count=header[10], names=header[11])
    except (struct.error, IndexError, ValueError) as error:
        raise ElfError(f"{name} is a damaged ELF file: its tables do not hold together.") from error
    if header[0] == ET_EXEC:
        file.relocatable = False
        for symbol in file.symbols:
            if isinstance(symbol.where, Section):
                symbol.value -= symbol.where.address
    return file


def _read_tables(data: bytes, name: str, table: int, count: int, names: int) -> ObjectFile:
    if table + SHDR.size * count > len(data):
        raise ValueError("the section table ends beyond the file")
    headers = [SHDR.unpack_from(data, table + SHDR.size * i) for i in range(count)]

    def content(header: Sequence[int]) -> bytes:
        start, size = header[4], header[5]
        if start + size > len(data):
            raise ValueError("a section ends beyond the file")
        return data[start : start + size]

    section_names = content(headers[names])
    by_index: dict[int, Section] = {}
    for i, h in enumerate(headers):
        if h[1] in (SHT_NULL, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_GROUP):
            continue
        # Only writable memory starts as zeros; a larger alignment than a large page is a mistake.
        zeros = h[1] == SHT_NOBITS and h[2] & SHF_ALLOC
        if (zeros and h[2] & (SHF_WRITE | SHF_EXECINSTR) != SHF_WRITE) or h[8] not in _ALIGNMENTS:
            raise ValueError("a section's flags or alignment are not possible")
        by_index[i] = Section(
            _text(section_names, h[0]), h[1], h[2], max(h[8], 1),
            bytearray() if h[1] == SHT_NOBITS else bytearray(content(h)),
            h[5] if h[1] == SHT_NOBITS else 0, address=h[3],
        )  # fmt: skip
    symbols: list[Symbol] = []
    for h in headers:
        if h[1] == SHT_SYMTAB:
            symbols = _read_symbols(content(h), content(headers[h[6]]), by_index)
    for h in headers:
        if h[1] == SHT_RELA and h[7] in by_index:
            by_index[h[7]].relocations = [
                Relocation(offset, kind, symbols[index], addend)
                for offset, kind, index, addend in RELA.iter_unpack(content(h))
            ]
    return ObjectFile(name, list(by_index.values()), symbols)


def _read_symbols(table: bytes, strings: bytes, sections: dict[int, Section]) -> list[Symbol]:
    symbols = []
    for name, info, _, index, value, size in SYM.iter_unpack(table):
        symbol = Symbol(
            _text(strings, name), sections.get(index, index), value, size, info >> 4, info & 15
        )
        if symbol.kind == STT_SECTION and isinstance(symbol.where, Section):
            symbol.name = symbol.where.name
        symbols.append(symbol)
    return symbols


class _Strings:
    """A string table under construction."""

    def __init__(self) -> None:
        self.data = bytearray(1)
        self._known = {"": 0}

    def add(self, text: str) -> int:
        if text not in self._known:
            self._known[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self._known[text]


def write(
    sections: Sequence[Section],
    symbols: Iterable[Symbol],
    *,
    entry: int = 0,
    segments: Sequence[Segment] = (),
) -> bytes:
    """The bytes of a file with these sections and symbols.

    With `segments` it is an executable, its sections congruent to their addresses modulo the page
    size; without, a relocatable file that carries each section's relocations.
    """
    out = bytearray(EHDR.size + PHDR.size * len(segments))
    offsets = {}
    for s in sections:
        _pad(out, PAGE if segments and s.flags & SHF_ALLOC else s.align, s.address)
        offsets[s] = len(out)
        out += s.data
    headers: list[tuple[int, ...]] = [(0,) * 10]
    names = _Strings()
    for s in sections:
        entry_size = 1 if s.name == ".debug_str" else 0
        headers.append(
            (names.add(s.name), s.type, s.flags, s.address, offsets[s], s.size, 0, 0,
             s.align, entry_size)
        )  # fmt: skip
    _add_tables(out, headers, names, sections, list(symbols), relocatable=not segments)
    headers.append(
        (names.add(".shstrtab"), SHT_STRTAB, 0, 0, len(out), len(names.data), 0, 0, 1, 0)
    )
    out += names.data
    _pad(out, 8, 0)
    table = len(out)
    out += b"".join(SHDR.pack(*h) for h in headers)
    _write_segments(out, segments, offsets)
    EHDR.pack_into(
        out, 0, b"\x7fELF\x02\x01\x01".ljust(16, b"\0"), ET_EXEC if segments else ET_REL,
        EM_RISCV, 1, entry, EHDR.size if segments else 0, table, EF_RVC | EF_FLOAT_ABI_DOUBLE,
        EHDR.size, PHDR.size if segments else 0, len(segments), SHDR.size, len(headers),
        len(headers) - 1,
    )  # fmt: skip
    return bytes(out)


def _pad(out: bytearray, align: int, address: int) -> None:
    """Grow `out` until its length is `address` modulo `align`."""
    out += bytes((address - len(out)) % align)


def _add_tables(
    out: bytearray,
    headers: list[tuple[int, ...]],
    names: _Strings,
    sections: Sequence[Section],
    symbols: list[Symbol],
    *,
    relocatable: bool,
) -> None:
    """Append .symtab and .strtab; for a relocatable file also its .rela sections."""
    index = {s: i for i, s in enumerate(sections, 1)}
    symbols = sorted(symbols, key=lambda s: s.binding != STB_LOCAL)
    strings = _Strings()
    table = bytearray(SYM.size)
    for s in symbols:
        where = index[s.where] if isinstance(s.where, Section) else s.where
        value = s.value if relocatable else s.address
        name = 0 if s.kind == STT_SECTION else strings.add(s.name)
        table += SYM.pack(name, s.binding << 4 | s.kind, 0, where, value & (2**64 - 1), s.size)
    local = 1 + sum(s.binding == STB_LOCAL for s in symbols)
    symtab = len(headers)
    _pad(out, 8, 0)
    headers.append(
        (names.add(".symtab"), SHT_SYMTAB, 0, 0, len(out), len(table), symtab + 1, local, 8,
         SYM.size)
    )  # fmt: skip
    out += table
    headers.append(
        (names.add(".strtab"), SHT_STRTAB, 0, 0, len(out), len(strings.data), 0, 0, 1, 0)
    )
    out += strings.data
    if not relocatable:
        return
    number = {id(s): i for i, s in enumerate(symbols, 1)}
    for section in sections:
        if not section.relocations:
            continue
        _pad(out, 8, 0)
        size = len(section.relocations) * RELA.size
        headers.append(
            (names.add(".rela" + section.name), SHT_RELA, SHF_INFO_LINK, 0, len(out), size, symtab,
             index[section], 8, RELA.size)
        )  # fmt: skip
        out += b"".join(
            RELA.pack(r.offset, r.type, number[id(r.symbol)], r.addend) for r in section.relocations
        )


def _write_segments(
    out: bytearray, segments: Sequence[Segment], offsets: dict[Section, int]
) -> None:
    for i, segment in enumerate(segments):
        first = segment.sections[0]
        stored = [s for s in segment.sections if s.type != SHT_NOBITS]
        start = first.address
        file_size = stored[-1].address + stored[-1].size - start if stored else 0
        last = segment.sections[-1]
        PHDR.pack_into(
            out, EHDR.size + PHDR.size * i, PT_LOAD, segment.flags, offsets[first], start, start,
            file_size, last.address + last.size - start, PAGE,
        )  # fmt: skip
