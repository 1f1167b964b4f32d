"""`assemble`, and the object file under construction that its statements fill.

`Unit` is what directives and instructions act upon: sections, the current place, symbols, and the
list of what must wait for the end of the file (branches and differences of labels further down).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emu.errors import AiosError
from emu.isa.encoding import Field
from toolchain import elf
from toolchain.asm import directives, instructions, line_table
from toolchain.asm.expressions import Value, fold, parse
from toolchain.asm.source import AsmErrors, Statement, StatementError, diagnostic, statements
from toolchain.elf import Relocation, Section, Symbol
from toolchain.kern.diagnostics import Diagnostic, Source
from toolchain.link.relocations import R

_CODE = elf.SHF_ALLOC | elf.SHF_EXECINSTR
_DATA = elf.SHF_ALLOC | elf.SHF_WRITE
STANDARD_SECTIONS = {
    ".text": (elf.SHT_PROGBITS, _CODE),
    ".rodata": (elf.SHT_PROGBITS, elf.SHF_ALLOC),
    ".data": (elf.SHT_PROGBITS, _DATA),
    ".bss": (elf.SHT_NOBITS, _DATA),
}
_DATA_RELOCATIONS = {4: (R.ABS32, R.ADD32, R.SUB32), 8: (R.ABS64, R.ADD64, R.SUB64)}


@dataclass(frozen=True)
class _Deferred:
    """Work for the end of the file, when every label is known."""

    statement: Statement
    finish: Callable[[], None]


class Unit:
    """One object file under construction."""

    def __init__(self) -> None:
        self.sections: dict[str, Section] = {}
        self.symbols: dict[str, Symbol] = {}
        self.lines: dict[Section, list[tuple[int, int]]] = {}
        self._numeric: dict[str, Symbol] = {}
        self._awaited: dict[str, Symbol] = {}
        self._anonymous: list[Symbol] = []
        self.deferred: list[_Deferred] = []
        self.statement = Statement(0, 0)
        self.section = self.enter(".text")

    # --- places ---------------------------------------------------------------------------------

    def enter(self, name: str, type_: int | None = None, flags: int | None = None) -> Section:
        """Make `name` the current section; a new one takes the standard kind of its name."""
        section = self.sections.get(name)
        if section is None:
            base = next((s for s in STANDARD_SECTIONS if name == s or name.startswith(s + ".")), "")
            default_type, default_flags = STANDARD_SECTIONS.get(base, (elf.SHT_PROGBITS, 0))
            section = Section(
                name,
                default_type if type_ is None else type_,
                default_flags if flags is None else flags,
                align=4 if base == ".text" else 1,
            )
            self.sections[name] = section
        self.section = section
        return section

    @property
    def offset(self) -> int:
        """Where the next byte goes in the current section."""
        return self.section.size

    def emit(self, data: bytes) -> None:
        """Append bytes to the current section."""
        if self.section.type != elf.SHT_NOBITS:
            self.section.data += data
        elif any(data):
            raise StatementError(f"The section {self.section.name} can hold only zeros.")
        else:
            self.section.nobits_size += len(data)

    # --- symbols --------------------------------------------------------------------------------

    def symbol(self, name: str) -> Symbol:
        """The symbol of a name, `.`, or numeric label (`1f`, `1b`); made if it is new."""
        if name == ".":
            return self.here()
        if name[0].isdigit():
            return self._numeric_label(name)
        return self.symbols.setdefault(name, Symbol(name))

    def here(self) -> Symbol:
        """A nameless symbol for the current place."""
        symbol = Symbol(".L", self.section, self.offset)
        self._anonymous.append(symbol)
        return symbol

    def local_label(self) -> str:
        """Put a label of our own making at the current place; its name."""
        name = f".Lpcrel_hi{len(self.symbols)}"
        self.symbols[name] = Symbol(name, self.section, self.offset)
        return name

    def _numeric_label(self, name: str) -> Symbol:
        if name[-1] == "b":
            found = self._numeric.get(name[:-1])
            if found is None:
                raise StatementError(f"'{name}' has no label {name[:-1]} before it.")
            return found
        if name[:-1] not in self._awaited:
            symbol = self._awaited[name[:-1]] = Symbol(".L" + name)
            self._anonymous.append(symbol)

            def check() -> None:
                if symbol.where == elf.SHN_UNDEF:
                    raise StatementError(f"'{name}' has no label {name[:-1]} after it.")

            self.defer(check)
        return self._awaited[name[:-1]]

    def define(self, label: str) -> None:
        """Put a label at the current place."""
        if label.isdigit():
            symbol = self._awaited.pop(label, None) or self.here()
            self._numeric[label] = symbol
        else:
            symbol = self.symbol(label)
            if symbol.where != elf.SHN_UNDEF:
                raise StatementError(f"The symbol '{label}' is already defined.")
        symbol.where, symbol.value = self.section, self.offset

    def value(self, text: str) -> Value:
        """The value of an expression."""
        return parse(text, self.symbol)

    def constant(self, text: str) -> int:
        """The value of an expression that must be a number here."""
        value = self.value(text)
        if not value.known:
            raise StatementError(f"'{text}' is not a number whose value is known here.")
        return value.constant

    # --- what waits for addresses ---------------------------------------------------------------

    def defer(self, finish: Callable[[], None]) -> None:
        """Run `finish` at the end of the file on behalf of the current statement."""
        self.deferred.append(_Deferred(self.statement, finish))

    def relocate(self, kind: R, symbol: Symbol, addend: int) -> None:
        """Ask the linker to patch what will be emitted next."""
        self.section.relocations.append(Relocation(self.offset, kind, symbol, addend))

    def branch(self, mnemonic: str, field: Field, kind: R, symbol: Symbol, addend: int) -> None:
        """The instruction emitted next branches to `symbol`: patched at the end of the file if
        that is a local label of its section, else by the linker."""
        section, offset = self.section, self.offset

        def finish() -> None:
            if symbol.where is not section or symbol.binding != elf.STB_LOCAL:
                section.relocations.append(Relocation(offset, kind, symbol, addend))
                return
            distance = symbol.value + addend - offset
            if not field.fits(distance):
                raise StatementError(
                    f"'{mnemonic}' cannot reach '{symbol.name}', {distance} bytes away."
                )
            size = 2 if kind in (R.RVC_BRANCH, R.RVC_JUMP) else 4
            word = int.from_bytes(section.data[offset : offset + size], "little")
            word |= field.insert(distance)
            section.data[offset : offset + size] = word.to_bytes(size, "little")

        self.defer(finish)

    def data(self, value: Value, size: int, text: str) -> None:
        """Append a number of `size` bytes, now or, where labels are missing, at the end."""
        section, offset = self.section, self.offset
        if not value.known and section.type == elf.SHT_NOBITS:
            raise StatementError(f"The section {section.name} can hold only zeros.")
        self.emit(bytes(size) if not value.known else _encode(value.constant, size, text))

        def finish() -> None:
            v = fold(value)
            if v.known:
                section.data[offset : offset + size] = _encode(v.constant, size, text)
                return
            if size not in _DATA_RELOCATIONS:
                raise StatementError(f"'{text}' is an address, which {size} bytes cannot hold.")
            absolute, add, subtract = _DATA_RELOCATIONS[size]
            if v.minus is None and v.plus is not None:
                section.relocations.append(Relocation(offset, absolute, v.plus, v.constant))
            elif v.minus is not None and v.plus is not None:
                section.relocations.append(Relocation(offset, add, v.plus, v.constant))
                section.relocations.append(Relocation(offset, subtract, v.minus, 0))
            else:
                raise StatementError(f"'{text}' is the negative of an address.")

        if not value.known:
            self.defer(finish)

    def all_symbols(self) -> list[Symbol]:
        """The symbols of the object file; what is used and not defined is global."""
        for symbol in self.symbols.values():
            if symbol.where == elf.SHN_UNDEF and symbol.binding == elf.STB_LOCAL:
                symbol.binding = elf.STB_GLOBAL
        used = {id(r.symbol) for s in self.sections.values() for r in s.relocations}
        return [*self.symbols.values(), *(s for s in self._anonymous if id(s) in used)]


def _encode(value: int, size: int, text: str) -> bytes:
    if not -(1 << 8 * size - 1) <= value < 1 << 8 * size:
        raise StatementError(f"'{text}' ({value}) does not fit {size} bytes.")
    return (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def _execute(unit: Unit, statement: Statement) -> None:
    unit.statement = statement
    if statement.label:
        unit.define(statement.label)
    elif statement.name.startswith("."):
        directives.execute(unit, statement)
    elif len(statement.operands) == 2 and statement.operands[0].text == "=":
        raise StatementError("Write '.equ NAME, VALUE'.")
    else:
        if not unit.section.flags & elf.SHF_EXECINSTR:
            raise StatementError(
                f"The section {unit.section.name} does not hold instructions; go to .text first."
            )
        unit.lines.setdefault(unit.section, []).append((unit.offset, statement.line))
        instructions.execute(unit, statement)


def assemble(text: str, filename: str) -> bytes:
    """Assemble a file to an RV64 object; raises `AsmErrors` with every mistake found."""
    unit = Unit()
    complaints: list[Diagnostic] = []

    def attempt(statement: Statement, action: Callable[[], None]) -> None:
        try:
            action()
        except (StatementError, AiosError) as error:
            complaints.append(diagnostic(filename, statement, str(error)))

    for statement in statements(text):
        attempt(statement, lambda s=statement: _execute(unit, s))  # type: ignore[misc]
    for late in unit.deferred:
        attempt(late.statement, late.finish)
    if complaints:
        raise AsmErrors(complaints, Source(filename, "", text))
    symbols = unit.all_symbols()
    named = {id(s.where) for s in symbols}
    sections = [s for s in unit.sections.values() if s.size or id(s) in named]
    debug, debug_symbols = line_table.sections(filename, unit.lines)
    return elf.write([*sections, *debug], [*symbols, *debug_symbols])
