"""The directives of the assembler, one function each; the decorator names them.

They mean what they mean to GNU as. Those that only steer relaxation, compression or other
assemblers (`.option`, `.attribute`, `.file`, ...) are accepted and do nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from toolchain import elf
from toolchain.asm.expressions import string
from toolchain.asm.source import Statement, StatementError
from toolchain.kern.diagnostics import did_you_mean
from toolchain.link.align import nops

if TYPE_CHECKING:
    from toolchain.asm.assembler import Unit

Directive = Callable[["Unit", Sequence[str]], None]
_DIRECTIVES: dict[str, tuple[Directive, int, int | None]] = {}
_FLAGS = {"a": elf.SHF_ALLOC, "w": elf.SHF_WRITE, "x": elf.SHF_EXECINSTR}
_TYPES = {"progbits": elf.SHT_PROGBITS, "nobits": elf.SHT_NOBITS, "note": elf.SHT_NOTE}
_KINDS = {"function": elf.STT_FUNC, "object": elf.STT_OBJECT, "notype": elf.STT_NOTYPE}
_LARGEST = 1 << 32
"""No file needs more bytes from one directive; more is a slip of the pen."""


def _directive(
    names: str, least: int = 0, most: int | None = None
) -> Callable[[Directive], Directive]:
    """Declare a directive under its names, with the number of operands it takes."""

    def declare(function: Directive) -> Directive:
        for name in names.split():
            _DIRECTIVES[name] = (function, least, most)
        return function

    return declare


def execute(unit: Unit, statement: Statement) -> None:
    """Run one directive; raises `StatementError`."""
    found = _DIRECTIVES.get(statement.name)
    if found is None:
        hint = did_you_mean(statement.name, _DIRECTIVES)
        raise StatementError(f"'{statement.name}' is not a directive{'; ' + hint if hint else '.'}")
    function, least, most = found
    texts = [operand.text for operand in statement.operands]
    if len(texts) < least or (most is not None and len(texts) > most):
        wanted = (
            str(least) if least == most else f"{least} to {most}" if most else f"at least {least}"
        )
        raise StatementError(f"'{statement.name}' takes {wanted} operands, not {len(texts)}.")
    function(unit, texts)


@_directive(".option .attribute .file .loc .ident .cfi_startproc .cfi_endproc .addrsig")
def _ignore(unit: Unit, texts: Sequence[str]) -> None:
    pass


# --- sections -----------------------------------------------------------------------------------


@_directive(".text .data .bss .rodata", 0, 0)
def _standard_section(unit: Unit, texts: Sequence[str]) -> None:
    unit.enter(unit.statement.name)


@_directive(".section", 1, 4)
def _section(unit: Unit, texts: Sequence[str]) -> None:
    flags = type_ = None
    if len(texts) > 1:
        letters = string(texts[1]).decode("latin-1")
        unknown = set(letters) - set(_FLAGS)
        if unknown:
            raise StatementError(f"{texts[1]} has the flag '{min(unknown)}', not one of a, w, x.")
        flags = sum(_FLAGS[letter] for letter in set(letters))
    if len(texts) > 2:
        name = texts[2].lstrip("@%")
        if name not in _TYPES:
            raise StatementError(f"'{texts[2]}' is not a section type: {', '.join(_TYPES)}.")
        type_ = _TYPES[name]
    unit.enter(texts[0].strip('"'), type_, flags)


# --- symbols ------------------------------------------------------------------------------------


@_directive(".globl .global", 1)
def _global(unit: Unit, texts: Sequence[str]) -> None:
    for name in texts:
        unit.symbol(name).binding = elf.STB_GLOBAL


@_directive(".weak", 1)
def _weak(unit: Unit, texts: Sequence[str]) -> None:
    for name in texts:
        unit.symbol(name).binding = elf.STB_WEAK


@_directive(".local", 1)
def _local(unit: Unit, texts: Sequence[str]) -> None:
    for name in texts:
        unit.symbol(name).binding = elf.STB_LOCAL


@_directive(".type", 2, 2)
def _type(unit: Unit, texts: Sequence[str]) -> None:
    kind = texts[1].lstrip("@%").lower()
    if kind not in _KINDS:
        raise StatementError(f"'{texts[1]}' is not a symbol type: {', '.join(_KINDS)}.")
    unit.symbol(texts[0]).kind = _KINDS[kind]


@_directive(".size", 2, 2)
def _size(unit: Unit, texts: Sequence[str]) -> None:
    unit.symbol(texts[0]).size = unit.constant(texts[1])


@_directive(".equ .set .equiv", 2, 2)
def _equ(unit: Unit, texts: Sequence[str]) -> None:
    value = unit.value(texts[1])
    symbol = unit.symbol(texts[0])
    if value.known:
        symbol.where, symbol.value = elf.SHN_ABS, value.constant
    elif value.minus is None and value.plus is not None and value.plus.where != elf.SHN_UNDEF:
        symbol.where, symbol.value = value.plus.where, value.plus.value + value.constant
    else:
        raise StatementError(f"'{texts[1]}' is not known here.")


# --- data ---------------------------------------------------------------------------------------


def _declare_numbers(names: str, size: int) -> None:
    @_directive(names, 1)
    def numbers(unit: Unit, texts: Sequence[str]) -> None:
        for text in texts:
            unit.data(unit.value(text), size, text)


_declare_numbers(".byte", 1)
_declare_numbers(".half .short .2byte", 2)
_declare_numbers(".word .long .int .4byte", 4)
_declare_numbers(".dword .quad .8byte", 8)


@_directive(".ascii", 1)
def _ascii(unit: Unit, texts: Sequence[str]) -> None:
    for text in texts:
        unit.emit(string(text))


@_directive(".asciz .string", 1)
def _asciz(unit: Unit, texts: Sequence[str]) -> None:
    for text in texts:
        unit.emit(string(text) + b"\0")


@_directive(".zero .space .skip", 1, 2)
def _space(unit: Unit, texts: Sequence[str]) -> None:
    size = unit.constant(texts[0])
    fill = unit.constant(texts[1]) & 255 if len(texts) > 1 else 0
    if not 0 <= size < _LARGEST:
        raise StatementError(f"'{texts[0]}' ({size}) is not a possible size.")
    if unit.section.type == elf.SHT_NOBITS and not fill:
        unit.section.nobits_size += size
    else:
        unit.emit(bytes([fill]) * size)


@_directive(".align .p2align", 1, 3)
def _align(unit: Unit, texts: Sequence[str]) -> None:
    power = unit.constant(texts[0])
    if not 0 <= power < 32:
        raise StatementError(f"'{texts[0]}' is not a power of two to align to; it is 0 to 31.")
    _align_to(unit, 1 << power)


@_directive(".balign", 1, 3)
def _balign(unit: Unit, texts: Sequence[str]) -> None:
    alignment = unit.constant(texts[0])
    if not 0 < alignment < _LARGEST or alignment & (alignment - 1):
        raise StatementError(f"'{texts[0]}' ({alignment}) is not a power of two to align to.")
    _align_to(unit, alignment)


def _align_to(unit: Unit, alignment: int) -> None:
    unit.section.align = max(unit.section.align, alignment)
    size = -unit.offset % alignment
    code = unit.section.flags & elf.SHF_EXECINSTR
    unit.emit(bytes(size % 2) + nops(size - size % 2) if code else bytes(size))
