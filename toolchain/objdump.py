"""Disassembly of a file for people: addresses, words, instructions, symbols and source lines.

The layout is that of GNU objdump; the instructions are the table's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from emu.isa.decode import find
from emu.isa.disassemble import disassemble
from emu.isa.syntax import operands
from toolchain import elf
from toolchain.elf import ObjectFile, Section, Symbol
from toolchain.lines import LineTable, Row, code_base, source_lines
from toolchain.link.relocations import R

_RELOCATION_NAMES = {int(kind): kind.full_name for kind in R}


@dataclass(frozen=True)
class Options:
    """What is shown besides instructions."""

    lines: bool = False
    source: bool = False
    relocations: bool = False
    symbol: str | None = None
    """Only this function."""


class Names:
    """The names of addresses in code: `<_start+0x10>`."""

    def __init__(self, symbols: list[Symbol]) -> None:
        named = [s for s in symbols if s.name and s.kind not in (elf.STT_SECTION, elf.STT_FILE)]
        best = sorted(named, key=lambda s: (s.kind == elf.STT_FUNC, s.binding, s.size))
        self._names = {s.address: s.name for s in best}
        self._addresses = sorted(self._names)

    def at(self, address: int) -> str | None:
        """The symbol that stands exactly there."""
        return self._names.get(address)

    def describe(self, address: int) -> str:
        """` <symbol+offset>`, or nothing before the first symbol."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return ""
        start = self._addresses[index]
        offset = f"+{address - start:#x}" if address != start else ""
        return f" <{self._names[start]}{offset}>"


def listing(file: ObjectFile, lines: LineTable | None, options: Options) -> Iterator[str]:
    """The disassembly of every section with code, a line of text at a time."""
    yield ""
    yield f"{file.name}:     file format elf64-littleriscv"
    code = [s for s in file.sections if s.flags & elf.SHF_EXECINSTR]
    for number, section in enumerate(code):
        if section.size:
            base = code_base(number) if file.relocatable else 0
            yield from _Listing(file, section, lines, base, options).text()


class _Listing:
    """The listing of one section."""

    def __init__(
        self,
        file: ObjectFile,
        section: Section,
        lines: LineTable | None,
        line_base: int,
        options: Options,
    ) -> None:
        self._line_base = line_base
        self._section, self._lines, self._options = section, lines, options
        code = [
            s for s in file.symbols if s.where is section and not s.name.startswith(("$", ".L"))
        ]
        self._names = Names(code)
        self._relocations: dict[int, list[str]] = {}
        if options.relocations:
            for r in section.relocations:
                kind = _RELOCATION_NAMES.get(r.type, f"relocation {r.type}")
                addend = f"{r.addend:+#x}" if r.addend else ""
                self._relocations.setdefault(r.offset, []).append(
                    f"{kind}\t{r.symbol.name}{addend}"
                )
        self._last: Row | None = None

    def text(self) -> Iterator[str]:
        yield from ("", "", f"Disassembly of section {self._section.name}:")
        data, offset = self._section.data, 0
        shown = self._options.symbol is None
        while offset < len(data):
            address = self._section.address + offset
            label = self._names.at(address)
            if label is not None:
                shown = self._options.symbol in (None, label)
                if shown:
                    yield from ("", f"{address:016x} <{label}>:")
            length = 4 if data[offset] & 3 == 3 and offset + 4 <= len(data) else 2
            if shown:
                yield from self._source(address)
                word = int.from_bytes(data[offset : offset + length], "little")
                yield self._instruction(address, word, length)
                for place in range(offset, offset + length):
                    for text in self._relocations.get(place, ()):
                        yield f"\t\t\t{self._section.address + place:x}: {text}"
            offset += length

    def _instruction(self, address: int, word: int, length: int) -> str:
        text = disassemble(word, address)
        insn = find(word)
        if insn is not None and any(o.place and o.place.kind == "b" for o in operands(insn)):
            text += self._names.describe(int(text.split()[-1], 16))
        mnemonic, _, rest = text.partition(" ")
        digits = f"{word:0{2 * length}x}"
        return f"{address:8x}:\t{digits:<8}\t{mnemonic:<7} {rest}".rstrip()

    def _source(self, address: int) -> Iterator[str]:
        """The place and the text of the line that begins here, where they are wanted and new."""
        if self._lines is None:
            return
        row = self._lines.at(self._line_base + address)
        if row is None or (
            self._last and (row.file, row.line) == (self._last.file, self._last.line)
        ):
            return
        if self._options.lines:
            yield f"{row.file}:{row.line}"
        if self._options.source:
            text = source_lines(row.file)
            if 0 < row.line <= len(text):
                first = row.line
                if (
                    self._last
                    and self._last.file == row.file
                    and 0 < row.line - self._last.line < 8
                ):
                    first = self._last.line + 1  # comments and the like on the way
                yield from text[first - 1 : row.line]
        self._last = row
