"""Which source line an address comes from, by the DWARF line tables of a file; and its text.

Files are named as the compiler was given them: relative to the checkout for the kernel, relative
to the compiler's own folder for Kern's runtime. `source_lines` looks in all these places.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.dwarf.lineprogram import LineProgram
from elftools.elf.elffile import ELFFile

from toolchain import elf
from toolchain.elf import ElfError
from toolchain.link.relocate import apply_all
from toolchain.link.symbols import SymbolTable

_CHECKOUT = Path(__file__).resolve().parents[1]
_SOURCE_FOLDERS = (Path(), _CHECKOUT, _CHECKOUT / "toolchain" / "kern")


@dataclass(frozen=True, order=True)
class Row:
    """From `address` (to the next row's) the code is that of `line` of `file`; line 0 is none."""

    address: int
    file: str
    line: int
    statement: bool = True


class LineTable:
    """All rows of a file's line tables, in order of address."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = sorted(rows, key=lambda row: (row.address, row.line != 0))
        self._addresses = [row.address for row in self.rows]

    def at(self, address: int) -> Row | None:
        """The row that covers `address`, or None where there is no line information."""
        index = bisect_right(self._addresses, address) - 1
        row = self.rows[index] if index >= 0 else None
        return row if row is not None and row.line else None


def code_base(number: int) -> int:
    """Where `read` pretends that the `number`th code section of a relocatable file lies."""
    return number << 32


def read(data: bytes, name: str) -> LineTable:
    """The line table of an ELF file; raises `ElfError` in terms of `name` if it is damaged.

    The sections of a relocatable file all start at 0, so there rows have addresses that count from
    `code_base` of their section.
    """
    file = elf.read(data, name)
    if file.relocatable:
        data = _placed(file)
    try:
        dwarf = ELFFile(io.BytesIO(data)).get_dwarf_info(follow_links=False)
        rows: list[Row] = []
        for unit in dwarf.iter_CUs() if dwarf.has_debug_info else ():
            program = dwarf.line_program_for_CU(unit)
            if program is not None:
                rows += _rows(program, _directory(unit))
    except (ELFError, ValueError, KeyError, IndexError, AssertionError) as error:
        raise ElfError(f"The debug information of {name} is damaged: {error}.") from error
    return LineTable(rows)


def _placed(file: elf.ObjectFile) -> bytes:
    """The file with its code sections apart from each other and its debug sections relocated."""
    code = [s for s in file.sections if s.flags & elf.SHF_EXECINSTR]
    for number, section in enumerate(code):
        section.address = code_base(number)
        section.relocations = []
    debug = [s for s in file.sections if s.name.startswith(".debug_")]
    apply_all([elf.ObjectFile(file.name, debug, file.symbols)], SymbolTable())
    for section in debug:
        section.relocations = []
    return elf.write(debug, [])


@cache
def source_lines(path: str) -> list[str]:
    """The lines of a source file, without trailing space; none when it cannot be read."""
    for folder in _SOURCE_FOLDERS:
        try:
            text = (folder / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        return [line.rstrip() for line in text.split("\n")]
    return []


def _directory(unit: Any) -> str:
    """The directory in which the unit was compiled."""
    attribute = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
    return attribute.value.decode("utf-8", "replace") if attribute else ""


def _rows(program: LineProgram, directory: str) -> list[Row]:
    names = _file_names(program, directory)
    rows = []
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        line = 0 if state.end_sequence else state.line
        rows.append(Row(state.address, names.get(state.file, "?"), line, bool(state.is_stmt)))
    return rows


def _file_names(program: LineProgram, directory: str) -> dict[int, str]:
    """Paths by file number, which counts from 0 in DWARF 5 and from 1 before."""
    header = program.header
    first = 0 if header.version >= 5 else 1
    folders = [d.decode("utf-8", "replace") for d in header.include_directory]
    if first == 1:
        folders.insert(0, directory)
    return {
        number: str(
            PurePosixPath(directory, folders[entry.dir_index] if folders else "")
            / entry.name.decode("utf-8", "replace")
        )
        for number, entry in enumerate(header.file_entry, first)
    }
