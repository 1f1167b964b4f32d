"""From an object file to a blob (`emu.cpu.blob`): all that a loader would do again each time.

An object file is sections of code and constants with holes in them, where an address or a distance
belongs that the compiler did not know. Here the sections are laid out one behind the other, and
since the code is position-independent nearly every hole asks for a distance inside the image, which
is filled for good. A word that must hold an address becomes a pointer of the blob. A function that
is not in the object is reached through a stub, a jump to where an import's word says.

Only what compilers make of our modules is understood: ELF for x86-64, without data that is written
to. Relocations are those of the System V ABI's x86-64 supplement, section 4.4, whose letters are
used: S the symbol's place, A the addend, P the hole's own place.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from emu.cpu.blob import pack

_FILE_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QIIq")

_ELF64_LITTLE, _RELOCATABLE, _X86_64 = b"\x7fELF\x02\x01", 1, 62
_PROGBITS, _SYMBOLS, _RELOCATIONS, _NO_BITS, _UNWINDING = 1, 2, 4, 8, 0x7000_0001
_WRITE, _ALLOCATE, _THREAD_LOCAL = 1, 2, 0x400
_R_64, _R_PC32, _R_PLT32, _R_PC64 = 1, 2, 4, 24
_R_GOT = (9, 41, 42)  # GOTPCREL, and the forms of it that a linker may make shorter
_LOCAL = 0
_PAGE = 4096
_JUMP = b"\xff\x25"  # jmp through the word that lies a 32-bit distance behind the instruction


def link(object_file: bytes) -> bytes | None:
    """The blob of an object file; None when it has something that only LLVM's loader knows."""
    try:
        return _Link(object_file).blob()
    except _UnknownError:
        return None


class _UnknownError(Exception):
    """The object is not of the kind that is understood here."""


@dataclass(frozen=True)
class _Section:
    """What matters of a section's header."""

    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int

    @property
    def is_loaded(self) -> bool:
        """Whether it belongs into the image; nobody unwinds our frames."""
        unwinding = self.name == ".eh_frame" or self.kind == _UNWINDING
        return bool(self.flags & _ALLOCATE) and self.size > 0 and not unwinding

    @property
    def is_constant(self) -> bool:
        """Whether it is only read once its pointers are filled in."""
        return not self.flags & _WRITE or self.name.startswith(".data.rel.ro")


@dataclass(frozen=True)
class _Symbol:
    """A name, and where in the image it stands (None: not in it)."""

    name: str
    place: int | None
    is_global: bool


class _Link:
    """One object file on its way to a blob."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._sections = self._read_sections()
        self._image = bytearray()
        self._bases: dict[int, int] = {}  # of sections, in the image
        self._pointers: list[int] = []
        self._imports: list[tuple[str, int]] = []
        self._slots: dict[_Symbol, int] = {}
        self._stubs: dict[_Symbol, int] = {}

    def blob(self) -> bytes:
        """Lay the sections out, fill the holes, and put the blob together."""
        for n, section in enumerate(self._sections):
            if section.is_loaded:
                self._place(n, section)
        symbols = [*self._read_symbols()]
        for section in self._sections:
            if section.kind == _RELOCATIONS and section.info in self._bases:
                base = self._bases[section.info]
                for at in range(section.offset, section.offset + section.size, _RELOCATION.size):
                    offset, kind, symbol, addend = _RELOCATION.unpack_from(self._content, at)
                    self._fill_hole(base + offset, kind, symbols[symbol], addend)
        exports = [(s.name, s.place) for s in symbols if s.is_global and s.place is not None]
        return pack(bytes(self._image), self._pointers, self._imports, exports)

    def _read_sections(self) -> list[_Section]:
        header = _FILE_HEADER.unpack_from(self._content)
        (identity, kind, machine, *_, table), (count, names) = header[:7], header[12:]
        if not identity.startswith(_ELF64_LITTLE) or (kind, machine) != (_RELOCATABLE, _X86_64):
            raise _UnknownError
        places = range(table, table + count * _SECTION.size, _SECTION.size)
        rows = [_SECTION.unpack_from(self._content, at) for at in places]
        return [
            _Section(
                self._text(rows[names][4] + name), kind, flags, offset, size, link, info, align
            )
            for name, kind, flags, _, offset, size, link, info, align, _ in rows
        ]

    def _text(self, offset: int) -> str:
        """A string that ends with a zero."""
        return self._content[offset : self._content.index(b"\0", offset)].decode()

    def _place(self, n: int, section: _Section) -> None:
        """Put a section behind those that the image has."""
        known = section.kind in (_PROGBITS, _NO_BITS) and section.alignment <= _PAGE
        if not known or not section.is_constant or section.flags & _THREAD_LOCAL:
            raise _UnknownError
        self._bases[n] = self._align(max(section.alignment, 1))
        content = self._content[section.offset : section.offset + section.size]
        self._image += bytes(section.size) if section.kind == _NO_BITS else content

    def _align(self, alignment: int) -> int:
        """Fill the image up to a multiple of `alignment`; gives its length."""
        self._image += bytes(-len(self._image) % alignment)
        return len(self._image)

    def _read_symbols(self) -> Iterator[_Symbol]:
        for table in self._sections:
            if table.kind == _SYMBOLS:
                names = self._sections[table.link].offset
                for at in range(table.offset, table.offset + table.size, _SYMBOL.size):
                    name, info, _, section, value, _ = _SYMBOL.unpack_from(self._content, at)
                    base = self._bases.get(section)
                    place = None if base is None else base + value
                    yield _Symbol(self._text(names + name), place, info >> 4 != _LOCAL)

    def _fill_hole(self, place: int, kind: int, symbol: _Symbol, addend: int) -> None:
        """Apply one relocation; `place` is the specification's P."""
        if kind == _R_64:
            self._fill(place, 8, self._pointer(place, symbol) + addend)
        elif kind in _R_GOT:
            self._fill(place, 4, self._slot(symbol) + addend - place)
        elif kind == _R_PLT32 and symbol.place is None:
            self._fill(place, 4, self._stub(symbol) + addend - place)
        elif kind in (_R_PC32, _R_PLT32, _R_PC64) and symbol.place is not None:
            self._fill(place, 8 if kind == _R_PC64 else 4, symbol.place + addend - place)
        else:
            raise _UnknownError

    def _fill(self, place: int, size: int, value: int) -> None:
        self._image[place : place + size] = (value % (1 << 8 * size)).to_bytes(size, "little")

    def _pointer(self, place: int, symbol: _Symbol) -> int:
        """Have the loader see to the word at `place`; gives what it is to hold until then."""
        if symbol.place is not None:
            self._pointers.append(place)
            return symbol.place
        if not symbol.name:
            raise _UnknownError
        self._imports.append((symbol.name, place))
        return 0

    def _slot(self, symbol: _Symbol) -> int:
        """Place of a word that is going to hold the symbol's address."""
        if symbol not in self._slots:
            self._slots[symbol] = slot = self._align(8)
            self._image += bytes(8)
            self._fill(slot, 8, self._pointer(slot, symbol))
        return self._slots[symbol]

    def _stub(self, symbol: _Symbol) -> int:
        """Place of code that jumps to a function elsewhere."""
        if symbol not in self._stubs:
            slot = self._slot(symbol)
            self._stubs[symbol] = stub = len(self._image)
            self._image += _JUMP + bytes(4)
            self._fill(stub + 2, 4, slot - len(self._image))
        return self._stubs[symbol]
