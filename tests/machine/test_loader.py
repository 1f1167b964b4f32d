"""Images: what is loaded where, and what is wrong with the others."""

from __future__ import annotations

import pytest

from emu.errors import AiosError
from emu.loader import elf as load_elf
from emu.loader import stages
from emu.memory import Memory

RAM = 0x8000_0000


@pytest.fixture
def memory() -> Memory:
    return Memory(RAM, 16 << 20)


def test_segments_are_placed(elf, memory) -> None:
    image = load_elf(elf(b"\x13\0\0\0"), memory, "The kernel k")
    image.place(memory)
    assert (image.entry, memory.read(RAM, 4)) == (RAM, 0x13)


def test_other_files_are_refused_with_the_reason(elf, memory) -> None:
    good = elf(bytes(64))
    cases = {
        b"hello": "The kernel k is not an ELF file; a raw image can be given as --bios",
        good[:40]: "is truncated: it ends within the ELF header",
        good[:100]: "is truncated: its program headers lie outside the file",
        good[:-1]: "is truncated: segment 0 lies outside the file",
        elf(bytes(8), machine=62): r"is for another machine \(ELF machine 62\), not for RISC-V",
        elf(bytes(8), elf_class=1): "is not a 64-bit little-endian ELF file",
        elf(bytes(8), base=0x1000): "wants 0x8 bytes at 0x1000, but RAM is 0x80000000 to 0x80ff",
        good[:56] + b"\0\0" + good[58:]: "has nothing to load",
    }
    for data, match in cases.items():
        with pytest.raises(AiosError, match=match):
            load_elf(data, memory, "The kernel k")


def test_nothing_to_run_is_a_sentence(memory) -> None:
    with pytest.raises(AiosError, match="There is nothing to run"):
        stages(memory, None, "k", None, "b")
