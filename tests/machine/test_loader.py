"""Images: what is loaded where, and what is wrong with the others."""

from __future__ import annotations

import pytest

from emu.errors import AiosError
from emu.loader import elf as load_elf
from emu.loader import initrd, stages
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


def position_independent(good: bytes) -> bytes:
    """The ELF file as one of type DYN."""
    return good[:16] + b"\3\0" + good[18:]


def test_position_independent_program_linked_elsewhere_goes_where_a_raw_one_would(
    elf, memory
) -> None:
    program = position_independent(elf(b"\x13\0\0\0", base=0))
    assert load_elf(program, memory, "The kernel k").entry == RAM
    first, second = stages(memory, program, "k", program, "b")
    assert second is not None
    assert (first.entry, second.entry) == (RAM, RAM + (2 << 20))
    assert [segment.paddr for segment in second.segments] == [RAM + (2 << 20)]


def test_position_independent_program_linked_into_ram_stays_there(elf, memory) -> None:
    program = position_independent(elf(bytes(4), base=RAM + 0x1000))
    assert load_elf(program, memory, "The kernel k").entry == RAM + 0x1000


def test_initrd_lies_behind_the_kernel_as_qemu_has_it(elf, memory) -> None:
    kernel = load_elf(elf(bytes(8)), memory, "k")
    assert initrd(b"files", kernel, memory, "i").range == (RAM + (8 << 20), RAM + (8 << 20) + 5)
    large = Memory(RAM, 1 << 30)
    assert initrd(b"files", kernel, large, "i").entry == RAM + (128 << 20)


def test_initrd_without_room_is_refused(elf, memory) -> None:
    kernel = load_elf(elf(bytes(9 << 20)), memory, "k")
    with pytest.raises(AiosError, match=r"^The initrd i would lie at 0x80800000, but the kernel "):
        initrd(b"files", kernel, memory, "The initrd i")
    with pytest.raises(AiosError, match="The initrd i wants 0x900000 bytes at 0x80800000"):
        initrd(bytes(9 << 20), load_elf(elf(bytes(8)), memory, "k"), memory, "The initrd i")
