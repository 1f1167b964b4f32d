"""Small programs for the machine, and machines to run them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest

from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine

RAM = 0x8000_0000


def make_elf(code: bytes, *, base: int = RAM, machine: int = 243, elf_class: int = 2) -> bytes:
    """An executable of one segment that holds `code` at `base`."""
    ident = b"\x7fELF" + bytes([elf_class, 1, 1]) + bytes(9)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 2, machine, 1, base, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 7, 120, base, base, len(code), len(code), 8)
    return header + segment + code


@pytest.fixture
def elf():
    """`make_elf`, which importlib mode keeps out of reach."""
    return make_elf


@pytest.fixture
def assemble():
    """Lines of assembly as bytes, by the instruction table; branch targets are relative."""
    from emu.isa.assemble import assemble_line

    def build(*lines: str) -> bytes:
        return b"".join(assemble_line(line) for line in lines)

    return build


@pytest.fixture
def make_machine():
    """Make a machine on the edge board with the reference engine and a console in memory."""
    made: list[Machine] = []

    def make(kernel: bytes | None, data: Sequence[int] = b"", **options) -> Machine:
        options.setdefault("engine", "reference")
        console = MemoryConsole(data)
        loaded = board.load(options.pop("board", "edge"))
        cpu = replace(loaded.cpu, harts=options.pop("harts", 1))
        loaded = replace(loaded, cpu=cpu)
        made.append(Machine(loaded, kernel=kernel, console=console, **options))
        return made[-1]

    yield make
    for machine in made:
        machine.close()
