"""The line table: between addresses and source lines.

A row says from which address on the code belongs to which line; a row with line 0 ends a sequence
or belongs to no line. `Place` is how the debugger names a line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True)
class Place:
    """A line of a source file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{PurePath(self.file).name}:{self.line}"


@dataclass(frozen=True)
class Row:
    """From `address` on, the code is that of `place` (None: of no line)."""

    address: int
    place: Place | None
    column: int
    statement: bool


class LineTable:
    """All rows, sorted by address."""

    def __init__(self, rows: Iterable[Row]) -> None:
        # Where one sequence ends another may begin: its first row must come last to count.
        self._rows = sorted(rows, key=lambda r: (r.address, r.place is not None))
        self._addresses = [row.address for row in self._rows]
        self.files = sorted({row.place.file for row in self._rows if row.place})

    def row_at(self, pc: int) -> Row | None:
        """The row that covers `pc`, if the code there belongs to a line."""
        i = bisect_right(self._addresses, pc) - 1
        return self._rows[i] if i >= 0 and self._rows[i].place is not None else None

    def place_at(self, pc: int) -> Place | None:
        """The line of the code at `pc`."""
        row = self.row_at(pc)
        return row.place if row else None

    def starts_statement(self, pc: int) -> bool:
        """Whether a line's code begins exactly at `pc`."""
        row = self.row_at(pc)
        return row is not None and row.address == pc and row.statement

    def between(self, low: int, high: int) -> list[Row]:
        """The rows of [low, high)."""
        first = bisect_right(self._addresses, low - 1)
        return self._rows[first : bisect_right(self._addresses, high - 1)]

    def body(self, low: int, high: int, *, parameters: bool) -> int:
        """Where the function at `low` has made its frame and stored its parameters, if it has any.

        The first row is the frame's. Where there are parameters, the next one, at the function's
        own line, is their stores; gdb stops in front of them and shows the caller's values.
        """
        rows = [row for row in self.between(low, high) if row.place]
        if len(rows) < 2:
            return low
        second = rows[1]
        if parameters and second.place == rows[0].place:
            for row in rows[2:]:
                if (row.place, row.column) != (second.place, second.column):
                    return row.address
        return second.address

    def find_files(self, name: str) -> list[str]:
        """The files whose path ends with the components of `name`."""
        wanted = PurePath(name).parts
        return [f for f in self.files if PurePath(f).parts[-len(wanted) :] == wanted]

    def addresses(self, file: str, line: int) -> tuple[int, list[int]]:
        """The first line from `line` on that has code, and where statements of it start; (0, [])
        when the file has none there."""
        own = [r for r in self._rows if r.place and r.place.file == file and r.statement]
        found = min((r.place.line for r in own if r.place and r.place.line >= line), default=0)
        return found, [r.address for r in own if r.place and r.place.line == found]


def read_lines(dwarf: Any) -> Iterator[Row]:
    """The rows of every compile unit of pyelftools' `dwarf`."""
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        files = _file_names(program, unit)
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            known = state.line and not state.end_sequence and state.file in files
            place = Place(files[state.file], state.line) if known else None
            yield Row(state.address, place, state.column, bool(state.is_stmt))


def _file_names(program: Any, unit: Any) -> dict[int, str]:
    """The paths of a unit's files by their numbers, which count from 0 in DWARF 5, else from 1."""
    header = program.header
    new = header.version >= 5
    directories = [_decoded(d) for d in header.include_directory]
    top = unit.get_top_DIE().attributes
    here = _decoded(top["DW_AT_comp_dir"].value) if "DW_AT_comp_dir" in top else ""
    if not new:
        directories.insert(0, here)
    names = {}
    for number, entry in enumerate(header.file_entry, 0 if new else 1):
        folder = directories[entry.dir_index] if entry.dir_index < len(directories) else here
        names[number] = str(PurePath(folder, _decoded(entry.name)))
    return names


def _decoded(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
