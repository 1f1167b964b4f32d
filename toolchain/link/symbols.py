"""Symbol resolution: every name gets one definition, or the linker says which object lacks it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from toolchain import elf
from toolchain.elf import ObjectFile, Section, Symbol
from toolchain.link.errors import LinkErrors

if TYPE_CHECKING:
    from toolchain.link.layout import Image

_HEAD_AND_TAIL_KINDS = (elf.STT_SECTION, elf.STT_FILE)


class SymbolTable:
    """The definitions that the names of a program stand for."""

    def __init__(self) -> None:
        self._defined: dict[str, Symbol] = {}
        self._definer: dict[str, str] = {}

    def definition(self, name: str) -> Symbol | None:
        """The definition of a global name, or None."""
        return self._defined.get(name)

    def add(self, symbol: Symbol, file: str) -> str | None:
        """Record a global definition; returns the complaint if it clashes with another."""
        old = self._defined.get(symbol.name)
        if old is None or _yields(old, symbol):
            self._defined[symbol.name] = symbol
            self._definer[symbol.name] = file
        elif not _yields(symbol, old):
            return (
                f"The symbol '{symbol.name}' is defined in {self._definer[symbol.name]} "
                f"and again in {file}."
            )
        return None

    def target(self, symbol: Symbol) -> Symbol:
        """What a relocation against `symbol` means: globals stand for their definition."""
        if symbol.binding == elf.STB_LOCAL:
            return symbol
        return self._defined.get(symbol.name, symbol)


def _yields(old: Symbol, new: Symbol) -> bool:
    """Whether `old` gives way to `new`: weak to strong, common to defined."""
    old_common, new_common = old.where == elf.SHN_COMMON, new.where == elf.SHN_COMMON
    if old_common and new_common:
        return new.size > old.size
    if old_common or new_common:
        return old_common
    return old.binding == elf.STB_WEAK


def resolve(files: list[ObjectFile], provided: Iterable[Symbol]) -> SymbolTable:
    """Find every global's definition; `provided` are the linker's own, used where none is given.

    Raises `LinkErrors` with a sentence for each duplicate and each undefined symbol that a
    relocation needs. An undefined weak symbol is address 0.
    """
    table = SymbolTable()
    complaints: list[str] = []
    for file in files:
        for symbol in file.symbols:
            if symbol.binding != elf.STB_LOCAL and symbol.where != elf.SHN_UNDEF:
                complaint = table.add(symbol, file.name)
                if complaint:
                    complaints.append(complaint)
    for symbol in provided:
        if table.definition(symbol.name) is None:
            table.add(symbol, "the linker")
    _allocate_commons(files, table)
    complaints += _undefined(files, table)
    if complaints:
        raise LinkErrors(complaints)
    return table


def _undefined(files: list[ObjectFile], table: SymbolTable) -> Iterator[str]:
    for file in files:
        wanted = {
            r.symbol.name
            for s in file.sections
            if s.flags & elf.SHF_ALLOC
            for r in s.relocations
            if r.symbol.where == elf.SHN_UNDEF and r.symbol.binding == elf.STB_GLOBAL
        }
        for name in sorted(wanted):
            if table.definition(name) is None:
                yield f"The symbol '{name}', which {file.name} uses, is not defined in any object."


def _allocate_commons(files: list[ObjectFile], table: SymbolTable) -> None:
    """Give each surviving common symbol (C's tentative definitions) a .bss section of its own."""
    for file in files:
        for symbol in file.symbols:
            if symbol.where == elf.SHN_COMMON and table.target(symbol) is symbol:
                section = Section(
                    ".bss.common", elf.SHT_NOBITS, elf.SHF_ALLOC | elf.SHF_WRITE, symbol.value,
                    nobits_size=symbol.size,
                )  # fmt: skip
                symbol.where, symbol.value = section, 0
                file.sections.append(section)


def kept(files: list[ObjectFile], table: SymbolTable, image: Image) -> Iterator[Symbol]:
    """The symbols of the executable: functions, objects and labels, but no compiler temporaries."""
    for file in files:
        for symbol in file.symbols:
            useful = symbol.name and not symbol.name.startswith((".L", "$"))
            if not useful or symbol.kind in _HEAD_AND_TAIL_KINDS:
                continue
            if symbol.where == elf.SHN_ABS:
                yield symbol
            elif table.target(symbol) is symbol and isinstance(symbol.where, Section):
                home = image.home.get(symbol.where)
                if home is not None:
                    yield replace(symbol, where=home, value=symbol.address - home.address)
    yield from image.bounds
