"""Relocation: put the final addresses into the bytes of the sections.

`_PATCHES` says for each type what is computed (`S` the symbol's address plus addend, `P` the place)
and into which field it goes; instruction fields are pictures, as in the instruction table. Labels
that differ in sign conventions or that pair up (PCREL_LO12 with its PCREL_HI20, ULEB128) have
functions of their own below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emu.isa.encoding import Field, parse
from toolchain import elf
from toolchain.elf import ObjectFile, Relocation, Section
from toolchain.link.errors import LinkErrors
from toolchain.link.layout import output_name
from toolchain.link.relocations import R
from toolchain.link.symbols import SymbolTable


def _immediate(picture: str) -> Field:
    field = parse(picture).field("imm")
    assert field is not None, picture
    return field


# The pictures of the formats: only the places of the immediate's bits matter here.
_U = _immediate("imm[31:12] 000000000000")
_I = _immediate("imm[11:0] 00000000000000000000")
_S = _immediate("imm[11:5] 0000000000000 imm[4:0] 0000000")
_B = _immediate("imm[12|10:5] 0000000000000 imm[4:1|11] 0000000")
_J = _immediate("imm[20|10:1|11|19:12] 000000000000")
_CB = _immediate("000 imm[8|4:3] 000 imm[7:6|2:1|5] 00")
_CJ = _immediate("000 imm[11|4|9:8|10|6|7|3:1|5] 00")


class _OutOfRangeError(Exception):
    """The value does not fit where the relocation wants it."""


@dataclass(frozen=True)
class _Place:
    """Where a relocation acts, with what is needed to compute its value."""

    section: Section
    relocation: Relocation
    target: int
    """S + A: the target symbol's address plus the addend."""
    high_parts: dict[int, int]
    """The value of each PCREL_HI20 of the whole program, by the address of its auipc."""

    @property
    def address(self) -> int:
        return self.section.address + self.relocation.offset

    def insert(self, field: Field, size: int, value: int, at: int = 0) -> None:
        """Set an instruction's immediate field; the instruction is `at` bytes after the place."""
        if not field.fits(value):
            raise _OutOfRangeError
        offset = self.relocation.offset + at
        word = int.from_bytes(self.section.data[offset : offset + size], "little")
        word = word & ~field.insert(-1) | field.insert(value)
        self.section.data[offset : offset + size] = word.to_bytes(size, "little")

    def add(self, size: int, value: int, *, keep: bool, bits: int | None = None) -> None:
        """Store `value`, modulo its size, in the data; `keep` adds it to what is there."""
        offset = self.relocation.offset
        old = int.from_bytes(self.section.data[offset : offset + size], "little")
        mask = (1 << (8 * size if bits is None else bits)) - 1
        new = old & ~mask | (value + (old if keep else 0)) & mask
        self.section.data[offset : offset + size] = new.to_bytes(size, "little")


def _high(value: int) -> int:
    """The upper 20 bits that, with a sign-extended low part added, make `value`."""
    return (value + 0x800) & ~0xFFF


def _low(value: int) -> int:
    return ((value & 0xFFF) ^ 0x800) - 0x800


def _call(p: _Place) -> None:
    distance = p.target - p.address
    p.insert(_U, 4, _high(distance))
    p.insert(_I, 4, _low(distance), at=4)


def _absolute_word(p: _Place) -> None:
    if not -(1 << 31) <= p.target < 1 << 32:
        raise _OutOfRangeError
    p.add(4, p.target, keep=False)


def _pcrel_word(p: _Place) -> None:
    distance = p.target - p.address
    if not -(1 << 31) <= distance < 1 << 31:
        raise _OutOfRangeError
    p.add(4, distance, keep=False)


def _uleb_length(data: bytearray, offset: int) -> int:
    end = offset
    while data[end] & 0x80:
        end += 1
    return end - offset + 1


def _uleb(p: _Place, sign: int) -> None:
    """Store into a ULEB128 without changing its length (SET_ then SUB_ULEB128)."""
    data, offset = p.section.data, p.relocation.offset
    length = _uleb_length(data, offset)
    old = sum((data[offset + i] & 0x7F) << 7 * i for i in range(length)) if sign < 0 else 0
    # A difference is stored in two steps, so the first may wrap around within the length.
    value = (old + sign * p.target) & ((1 << 7 * length) - 1)
    for i in range(length):
        data[offset + i] = value >> 7 * i & 0x7F | (0x80 if i < length - 1 else 0)


def _low_of_pair(p: _Place, field: Field) -> None:
    """The low half of a pc-relative pair: its symbol names the auipc, not the target."""
    value = p.high_parts.get(p.target)
    if value is None:
        raise _OutOfRangeError
    p.insert(field, 4, _low(value))


_PATCHES: dict[int, Callable[[_Place], None]] = {
    R.NONE: lambda p: None,
    R.RELAX: lambda p: None,
    R.ABS32: _absolute_word,
    R.ABS64: lambda p: p.add(8, p.target, keep=False),
    R.PCREL32: _pcrel_word,
    R.BRANCH: lambda p: p.insert(_B, 4, p.target - p.address),
    R.JAL: lambda p: p.insert(_J, 4, p.target - p.address),
    R.RVC_BRANCH: lambda p: p.insert(_CB, 2, p.target - p.address),
    R.RVC_JUMP: lambda p: p.insert(_CJ, 2, p.target - p.address),
    R.CALL: _call,
    R.CALL_PLT: _call,
    R.PCREL_HI20: lambda p: p.insert(_U, 4, _high(p.target - p.address)),
    R.PCREL_LO12_I: lambda p: _low_of_pair(p, _I),
    R.PCREL_LO12_S: lambda p: _low_of_pair(p, _S),
    R.HI20: lambda p: p.insert(_U, 4, _high(p.target)),
    R.LO12_I: lambda p: p.insert(_I, 4, _low(p.target)),
    R.LO12_S: lambda p: p.insert(_S, 4, _low(p.target)),
    R.ADD8: lambda p: p.add(1, p.target, keep=True),
    R.ADD16: lambda p: p.add(2, p.target, keep=True),
    R.ADD32: lambda p: p.add(4, p.target, keep=True),
    R.ADD64: lambda p: p.add(8, p.target, keep=True),
    R.SUB8: lambda p: p.add(1, -p.target, keep=True),
    R.SUB16: lambda p: p.add(2, -p.target, keep=True),
    R.SUB32: lambda p: p.add(4, -p.target, keep=True),
    R.SUB64: lambda p: p.add(8, -p.target, keep=True),
    R.SET6: lambda p: p.add(1, p.target, keep=False, bits=6),
    R.SUB6: lambda p: p.add(1, -p.target, keep=True, bits=6),
    R.SET8: lambda p: p.add(1, p.target, keep=False),
    R.SET16: lambda p: p.add(2, p.target, keep=False),
    R.SET32: lambda p: p.add(4, p.target, keep=False),
    R.SET_ULEB128: lambda p: _uleb(p, 1),
    R.SUB_ULEB128: lambda p: _uleb(p, -1),
}


def apply_all(files: list[ObjectFile], table: SymbolTable) -> None:
    """Apply every relocation of the sections that the image keeps; raises `LinkErrors`."""
    kept = [(f, s) for f in files for s in f.sections if output_name(s) is not None]
    high_parts = {
        s.address + r.offset: table.target(r.symbol).address + r.addend - (s.address + r.offset)
        for _, s in kept
        if s.flags & elf.SHF_EXECINSTR
        for r in s.relocations
        if r.type == R.PCREL_HI20
    }
    complaints = [c for f, s in kept for c in _apply(f, s, table, high_parts)]
    if complaints:
        raise LinkErrors(complaints)


def _apply(
    file: ObjectFile, section: Section, table: SymbolTable, high_parts: dict[int, int]
) -> Iterator[str]:
    for r in section.relocations:
        patch = _PATCHES.get(r.type)
        where = f"{file.name}, at {section.name}+{r.offset:#x},"
        if patch is None:
            yield (
                f"The linker does not know relocation type {r.type}, which {where} uses for "
                f"'{r.symbol.name}'."
            )
            continue
        if r.offset >= len(section.data):
            yield f"A relocation for '{r.symbol.name}' in {where} lies outside the section."
            continue
        target = table.target(r.symbol).address + r.addend
        try:
            patch(_Place(section, r, target, high_parts))
        except _OutOfRangeError:
            yield (
                f"The symbol '{r.symbol.name}' ({target:#x}) is out of the range of "
                f"{R(r.type).full_name}, by which {where} refers to it."
            )
        except IndexError:
            yield f"A relocation for '{r.symbol.name}' in {where} lies outside the section."
