"""Functions made of instructions: undefined symbols whose name is `__insn` and assembly text.

The Kern compiler cannot put an arbitrary instruction into LLVM's output, so an intrinsic is a call
to a symbol such as `__insn csrrs a0, mstatus, x0`; several instructions are separated by `;`. Here
each becomes a leaf function of those instructions and a return, assembled from the table.
"""

from __future__ import annotations

from emu.errors import AiosError
from toolchain import elf
from toolchain.elf import ObjectFile, Section, Symbol
from toolchain.link.errors import LinkErrors

PREFIX = "__insn "


def make(files: list[ObjectFile]) -> ObjectFile | None:
    """An object that defines the undefined `__insn …` symbols of `files`; None without any."""
    wanted = {
        s.name
        for f in files
        for s in f.symbols
        if s.where == elf.SHN_UNDEF and s.name.startswith(PREFIX)
    }
    if not wanted:
        return None
    section = Section(".text.insn", flags=elf.SHF_ALLOC | elf.SHF_EXECINSTR, align=4)
    symbols, complaints = [], []
    for name in sorted(wanted):
        start = len(section.data)
        try:
            section.data += _assemble(name.removeprefix(PREFIX))
        except AiosError as error:
            complaints.append(f"The intrinsic '{name}' does not assemble: {error}")
        size = len(section.data) - start
        symbols.append(Symbol(name, section, start, size, elf.STB_GLOBAL, elf.STT_FUNC))
        section.data += bytes(-len(section.data) % 4)
    if complaints:
        raise LinkErrors(complaints)
    return ObjectFile("the linker's instruction stubs", [section], symbols)


def _assemble(text: str) -> bytes:
    # Imported here: most links need no instruction, and the whole table loads with it.
    from emu.isa.assemble import assemble_line

    lines = [line.strip() for line in text.split(";")]
    return b"".join(assemble_line(line) for line in [*lines, "jalr x0, 0(ra)"] if line)
