"""From an executable's DWARF and symbols to what the debugger asks about.

`read_program` reads everything at once into plain data: `Function`s with their variables in nested
`Block`s, `Variable`s with location expressions as bytes, `LineTable` (in `lines`), frame
descriptions (in `frames`) and symbols. Nothing of pyelftools is visible outside `dwarf`, `lines`
and `frames`. Kern's compiler writes DWARF 4, GNU as and our assembler 5 or less; both are read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.dwarf.descriptions import describe_form_class
from elftools.dwarf.locationlists import LocationExpr, LocationParser
from elftools.elf.elffile import ELFFile

from toolchain.debug import types
from toolchain.debug.errors import DebugError
from toolchain.debug.lines import LineTable, read_lines
from toolchain.debug.typeinfo import TypeReader


@dataclass(frozen=True)
class Location:
    """Where a variable lies while pc is in [low, high): a DWARF expression."""

    low: int
    high: int
    expression: bytes


@dataclass(frozen=True)
class Variable:
    """A variable or parameter. `module` is the Kern module of a global."""

    name: str
    type: types.Type
    locations: tuple[Location, ...]
    parameter: bool = False
    module: str = ""
    line: int = 0

    def expression_at(self, pc: int) -> bytes | None:
        """The location expression that holds at `pc`."""
        return next((w.expression for w in self.locations if w.low <= pc < w.high), None)


@dataclass
class Block:
    """A scope: addresses, its own variables, scopes inside."""

    ranges: tuple[tuple[int, int], ...]
    variables: list[Variable] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    def contains(self, pc: int) -> bool:
        """Whether `pc` is in the scope."""
        return any(low <= pc < high for low, high in self.ranges)

    def visible(self, pc: int) -> list[Variable]:
        """The variables in scope at `pc`, innermost first."""
        inner = [v for block in self.blocks if block.contains(pc) for v in block.visible(pc)]
        return inner + self.variables


@dataclass(frozen=True)
class Function:
    """Code from `low` up to `high`; without debug information `block` is None."""

    name: str
    low: int
    high: int
    module: str = ""
    block: Block | None = None
    result: types.Type | None = None
    frame_base: bytes = b""

    @property
    def plain_name(self) -> str:
        """Its name without the types of a generic function's instance."""
        return self.name.partition("(")[0]

    @property
    def parameters(self) -> list[Variable]:
        """Its parameters in order."""
        return [v for v in self.block.variables if v.parameter] if self.block else []


@dataclass
class Program:
    """All that is known of one executable."""

    entry: int
    functions: list[Function]
    variables: list[Variable]
    types: dict[str, types.Type]
    lines: LineTable
    symbols: list[tuple[int, str]]
    dwarf: Any = None
    """pyelftools' reader; only `frames` looks at it, for the call frame information."""


def read_program(data: bytes, name: str) -> Program:
    """Everything about the executable `data`; one without DWARF has symbols only."""
    try:
        elf = ELFFile(io.BytesIO(data))
        symbols = sorted(_symbols(elf), key=_preference)
        if not elf.has_dwarf_info():
            functions = _from_symbols(symbols, [], elf)
            return Program(elf["e_entry"], functions, [], {}, LineTable([]), symbols)
        dwarf = elf.get_dwarf_info()
        reader = _UnitReader(dwarf)
        for unit in dwarf.iter_CUs():
            reader.read(unit)
        functions = _from_symbols(symbols, reader.functions, elf)
        lines = LineTable(read_lines(dwarf))
        known = reader.types.by_name
    except (ELFError, KeyError, ValueError, AssertionError) as error:
        raise DebugError(f"The debug information of {name} cannot be read: {error}.") from error
    return Program(elf["e_entry"], functions, reader.variables, known, lines, symbols, dwarf)


def _preference(symbol: tuple[int, str]) -> tuple[int, bool, str]:
    """The order of symbols: by address, the linker's own names (`__text_start`) last."""
    return symbol[0], symbol[1].startswith("__"), symbol[1]


def _symbols(elf: Any) -> Iterator[tuple[int, str]]:
    """Address and name of everything in the symbol table that lies in memory."""
    table = elf.get_section_by_name(".symtab")
    for symbol in table.iter_symbols() if table else ():
        if symbol.name and symbol["st_info"]["type"] in ("STT_NOTYPE", "STT_FUNC", "STT_OBJECT"):
            index = symbol["st_shndx"]
            if index != "SHN_UNDEF" and not symbol.name.startswith((".L", "$")):
                yield symbol["st_value"], symbol.name


def _from_symbols(
    symbols: list[tuple[int, str]], known: list[Function], elf: Any
) -> list[Function]:
    """`known`, and for code that DWARF does not describe a function from label to label."""
    text = [
        (s["sh_addr"], s["sh_addr"] + s["sh_size"])
        for s in elf.iter_sections()
        if s["sh_flags"] & 4  # SHF_EXECINSTR
    ]
    described = sorted((f.low, f.high) for f in known)
    starts = {f.low for f in known}
    labels: dict[int, str] = {}
    for address, name in symbols:
        in_text = any(low <= address < high for low, high in text)
        if in_text and not any(low <= address < high for low, high in described):
            labels.setdefault(address, name)
    ends = sorted({*labels, *starts, *(high for _, high in text)})
    following = dict(pairwise(ends))
    more = [Function(name, at, following.get(at, at + 4)) for at, name in labels.items()]
    return sorted([*known, *more], key=lambda f: f.low)


class _UnitReader:
    """Reads functions and global variables, unit by unit."""

    def __init__(self, dwarf: Any) -> None:
        self.types = TypeReader()
        self.functions: list[Function] = []
        self.variables: list[Variable] = []
        self._ranges = dwarf.range_lists()
        self._parser = LocationParser(dwarf.location_lists())
        self._module = ""
        self._base = 0

    def read(self, unit: Any) -> None:
        """Take everything out of one compile unit."""
        top = unit.get_top_DIE()
        self._module = PurePath(_text(top, "DW_AT_name")).stem
        low = top.attributes.get("DW_AT_low_pc")
        self._base = low.value if low else 0
        for die in top.iter_children():
            if die.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in die.attributes:
                self.functions.append(self._function(die))
            elif die.tag == "DW_TAG_variable" and "DW_AT_name" in die.attributes:
                self.variables.append(self._variable(die))
            elif die.tag in ("DW_TAG_base_type", "DW_TAG_structure_type"):
                self.types.read(die)

    def _function(self, die: Any) -> Function:
        attributes = die.attributes
        block = self._block(die)
        low, high = block.ranges[0]
        base = attributes.get("DW_AT_frame_base")
        return Function(
            _text(die, "DW_AT_linkage_name") or _text(die, "DW_AT_name"),
            low,
            high,
            self._module,
            block,
            self.types.of(die) if "DW_AT_type" in attributes else None,
            bytes(base.value) if base and isinstance(base.value, list) else b"",
        )

    def _block(self, die: Any) -> Block:
        block = Block(tuple(self._addresses(die)))
        for child in die.iter_children():
            if child.tag in ("DW_TAG_formal_parameter", "DW_TAG_variable"):
                if "DW_AT_name" in child.attributes:
                    block.variables.append(self._variable(child))
            elif child.tag == "DW_TAG_lexical_block":
                block.blocks.append(self._block(child))
        return block

    def _addresses(self, die: Any) -> Iterator[tuple[int, int]]:
        attributes = die.attributes
        if "DW_AT_low_pc" in attributes:
            low, high = attributes["DW_AT_low_pc"].value, attributes["DW_AT_high_pc"]
            is_size = describe_form_class(high.form) == "constant"
            yield low, high.value + (low if is_size else 0)
        elif "DW_AT_ranges" in attributes and self._ranges is not None:
            base = self._base
            offset = attributes["DW_AT_ranges"].value
            for entry in self._ranges.get_range_list_at_offset(offset, cu=die.cu):
                if hasattr(entry, "base_address"):
                    base = entry.base_address
                else:
                    start = 0 if getattr(entry, "is_absolute", False) else base
                    yield start + entry.begin_offset, start + entry.end_offset

    def _variable(self, die: Any) -> Variable:
        return Variable(
            _text(die, "DW_AT_name"),
            self.types.of(die),
            tuple(self._locations(die)),
            die.tag == "DW_TAG_formal_parameter",
            self._module,
            die.attributes["DW_AT_decl_line"].value if "DW_AT_decl_line" in die.attributes else 0,
        )

    def _locations(self, die: Any) -> Iterator[Location]:
        attribute = die.attributes.get("DW_AT_location")
        if attribute is None:
            return
        version = die.cu["version"]
        if not self._parser.attribute_has_location(attribute, version):
            return
        found: Any = self._parser.parse_from_attribute(attribute, version, die)
        if isinstance(found, LocationExpr):
            yield Location(0, 1 << 64, bytes(found.loc_expr))
            return
        base = self._base
        for entry in found:
            if hasattr(entry, "base_address"):
                base = entry.base_address
            else:
                start = 0 if getattr(entry, "is_absolute", False) else base
                low, high = start + entry.begin_offset, start + entry.end_offset
                yield Location(low, high, bytes(entry.loc_expr))


def _text(die: Any, attribute: str) -> str:
    found = die.attributes.get(attribute)
    return found.value.decode("utf-8", "replace") if found else ""
