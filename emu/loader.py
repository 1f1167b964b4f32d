"""What is in memory when the hart starts: ELF images, raw images, and the boot ROM.

An ELF file's segments go to their physical addresses, as QEMU's loader has it; a position-
independent one that was linked elsewhere goes where a raw image would. Everything is checked before
anything is written, so a bad file is a sentence and not half a kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from emu.errors import AiosError
from emu.memory import Memory

ELF_MAGIC = b"\x7fELF"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_CLASS_64, _LITTLE = 2, 1
_EXECUTABLE, _POSITION_INDEPENDENT, _RISCV, _LOAD = 2, 3, 243, 1
_SYMBOL_TABLE, _UNDEFINED = 2, 0

HOST_SYMBOLS = ("tohost", "fromhost", "begin_signature", "end_signature")
"""Names by which programs written for simulators tell the host addresses: a mailbox
(`emu.devices.htif`), and the results that a conformance test leaves in memory."""

_KERNEL_OFFSET = 2 << 20  # from the start of RAM: where firmware expects a raw kernel
_INITRD_OFFSET = 128 << 20  # from the first instruction of the kernel, where RAM is large enough

_NEXT_MODE_S = 1
_DYNAMIC_INFO_MAGIC, _DYNAMIC_INFO_VERSION = 0x4942534F, 2


@dataclass(frozen=True)
class Segment:
    """Bytes for one place; those from the end of `data` up to `size` are zero."""

    paddr: int
    data: bytes
    size: int


@dataclass(frozen=True)
class Image:
    """A program as it is to lie in memory, where it starts, and the addresses of those of
    `HOST_SYMBOLS` that it defines."""

    entry: int
    segments: tuple[Segment, ...]
    symbols: Mapping[str, int] = field(default_factory=dict)

    @property
    def range(self) -> tuple[int, int]:
        """The first address and the one behind the last."""
        ends = [segment.paddr + segment.size for segment in self.segments]
        return min(segment.paddr for segment in self.segments), max(ends)

    def moved(self, distance: int) -> Image:
        """The same program that many bytes further up."""
        segments = (Segment(s.paddr + distance, s.data, s.size) for s in self.segments)
        symbols = {name: address + distance for name, address in self.symbols.items()}
        return Image(self.entry + distance, tuple(segments), symbols)

    def place(self, memory: Memory) -> None:
        """Copy the image to memory."""
        for segment in self.segments:
            end = segment.paddr + len(segment.data)
            memory.view(segment.paddr, len(segment.data))[:] = segment.data
            memory.zero(end, segment.size - len(segment.data))


def raw(data: bytes, paddr: int, memory: Memory, name: str) -> Image:
    """A file without any format that starts with its first byte, at `paddr`."""
    image = Image(paddr, (Segment(paddr, data, len(data)),))
    _check_fits(image, memory, name)
    return image


def elf(data: bytes, memory: Memory, name: str, default: int | None = None) -> Image:
    """An ELF executable for RV64; AiosError names `name` and says what is wrong with it. A
    position-independent one with no place in RAM is moved to `default`, or its start if None."""
    if not data.startswith(ELF_MAGIC):
        raise AiosError(f"{name} is not an ELF file; a raw image can be given as --bios.")
    if len(data) < _HEADER.size:
        raise AiosError(f"{name} is truncated: it ends within the ELF header.")
    ident, kind, machine, _, entry, phoff, _, _, _, phentsize, phnum, *_ = _HEADER.unpack_from(data)
    if machine != _RISCV:
        raise AiosError(f"{name} is for another machine (ELF machine {machine}), not for RISC-V.")
    if ident[4] != _CLASS_64 or ident[5] != _LITTLE:
        raise AiosError(f"{name} is not a 64-bit little-endian ELF file: this is an RV64 machine.")
    if kind not in (_EXECUTABLE, _POSITION_INDEPENDENT):
        raise AiosError(f"{name} is no executable (ELF type {kind}); link it to a fixed address.")
    if phentsize != _SEGMENT.size or phoff + phnum * phentsize > len(data):
        raise AiosError(f"{name} is truncated: its program headers lie outside the file.")
    segments = []
    for i in range(phnum):
        what, _, offset, vaddr, paddr, filesz, memsz, _ = _SEGMENT.unpack_from(
            data, phoff + i * phentsize
        )
        if what != _LOAD or memsz == 0:
            continue
        if filesz > memsz or offset + filesz > len(data):
            raise AiosError(f"{name} is truncated: segment {i} lies outside the file.")
        segments.append(Segment(paddr, data[offset : offset + filesz], memsz))
        if vaddr <= entry < vaddr + memsz and vaddr != paddr:
            entry = entry - vaddr + paddr
    if not segments:
        raise AiosError(f"{name} has nothing to load: no segment of it is loadable.")
    image = Image(entry, tuple(segments), dict(_host_symbols(data)))
    if kind == _POSITION_INDEPENDENT and image.range[0] < memory.base:
        # It relocates itself, from the difference between where it runs and where it was linked.
        image = image.moved((memory.base if default is None else default) - image.range[0])
    _check_fits(image, memory, name)
    return image


def _host_symbols(data: bytes) -> Iterator[tuple[str, int]]:
    """Those of `HOST_SYMBOLS` that an ELF file defines. Debug information is none of a loader's
    business: a symbol table that does not hold together has no symbols."""
    if not any(
        name.encode() + b"\0" in data for name in HOST_SYMBOLS
    ):  # most programs: nothing is to be searched
        return
    *_, shoff, _, _, _, _, shentsize, shnum, _ = _HEADER.unpack_from(data)
    if shentsize != _SECTION.size or shoff + shnum * shentsize > len(data):
        return
    sections = list(_SECTION.iter_unpack(data[shoff : shoff + shnum * shentsize]))
    for _, kind, _, _, offset, size, link, _, _, _ in sections:
        if kind != _SYMBOL_TABLE or link >= shnum:
            continue
        names_at, names_size = sections[link][4:6]
        names = data[names_at : names_at + names_size]
        wanted = {at: name for name in HOST_SYMBOLS for at in _ends_in(names, name)}
        table = data[offset : offset + size]
        for at, _, _, section, value, _ in _SYMBOL.iter_unpack(
            table[: len(table) // _SYMBOL.size * _SYMBOL.size]
        ):
            if at in wanted and section != _UNDEFINED:
                yield wanted[at], value


def _ends_in(names: bytes, name: str) -> Iterator[int]:
    """The offsets in a string table at which a reader finds `name`: perhaps the end of a longer
    one, for linkers let strings share their ends."""
    at = names.find(name.encode() + b"\0")
    while at >= 0:
        yield at
        at = names.find(name.encode() + b"\0", at + 1)


def _check_fits(image: Image, memory: Memory, name: str) -> None:
    for segment in image.segments:
        if not memory.contains(segment.paddr, segment.size):
            raise AiosError(
                f"{name} wants {segment.size:#x} bytes at {segment.paddr:#x}, but RAM is "
                f"{memory.base:#x} to {memory.end - 1:#x}."
            )


def stages(
    memory: Memory, kernel: bytes | None, kernel_name: str, bios: bytes | None, bios_name: str
) -> tuple[Image, Image | None]:
    """What runs first and what that starts: the kernel alone, or firmware with perhaps a kernel,
    which may then be raw. AiosError if one is unusable or there is neither."""
    if bios is None:
        if kernel is None:
            raise AiosError("There is nothing to run: neither a kernel nor firmware is given.")
        return elf(kernel, memory, kernel_name), None
    first = _any(bios, memory.base, memory, bios_name)
    if kernel is None:
        return first, None
    return first, _any(kernel, memory.base + _KERNEL_OFFSET, memory, kernel_name)


def _any(data: bytes, paddr: int, memory: Memory, name: str) -> Image:
    """An ELF file, or a raw image for `paddr`."""
    if data.startswith(ELF_MAGIC):
        return elf(data, memory, name, paddr)
    return raw(data, paddr, memory, name)


def initrd(data: bytes, kernel: Image, memory: Memory, name: str) -> Image:
    """A file system for the kernel, so far behind it that neither it nor firmware is in the way."""
    paddr = kernel.entry + min(memory.size // 2, _INITRD_OFFSET)
    image = raw(data, paddr, memory, name)
    if paddr < kernel.range[1]:
        raise AiosError(
            f"{name} would lie at {paddr:#x}, but the kernel takes all up to "
            f"{kernel.range[1] - 1:#x}; give the board more RAM."
        )
    return image


class BootRom:
    """The first instructions: a0 = hart number, a1 = device tree, a2 = what OpenSBI's dynamic
    firmware wants to know about the next stage; then jump. The same words as QEMU's."""

    def __init__(self, start: int, tree: int, next_stage: int = 0) -> None:
        self.name = "rom"
        code = (
            0x00000297,  # auipc t0, 0
            0x02828613,  # addi  a2, t0, 40
            0xF1402573,  # csrr  a0, mhartid
            0x0202B583,  # ld    a1, 32(t0)
            0x0182B283,  # ld    t0, 24(t0)
            0x00028067,  # jr    t0
        )
        info = (_DYNAMIC_INFO_MAGIC, _DYNAMIC_INFO_VERSION, next_stage, _NEXT_MODE_S, 0, 0)
        self._bytes = struct.pack("<6I2Q6Q", *code, start, tree, *info)

    def read(self, offset: int, size: int) -> int:
        """The bytes there, zeros behind the end."""
        return int.from_bytes(self._bytes[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """It is a ROM: nothing happens."""

    def describe(self, write: bool, offset: int, size: int, value: int) -> str:
        """For the trace."""
        return "boot code"
