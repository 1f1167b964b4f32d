"""Layout: which input section goes into which output section, and at which address.

    base → .text (r-x) | .rodata (r--) | .data .bss (rw-)

Each group starts on a page of its own so that a kernel can give it its own rights. Debug sections
are gathered by name at address 0, as DWARF wants them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from toolchain import elf
from toolchain.elf import ObjectFile, Section, Segment, Symbol

_SEGMENTS = (
    (elf.PF_R | elf.PF_X, (".text",)),
    (elf.PF_R, (".rodata",)),
    (elf.PF_R | elf.PF_W, (".data", ".bss")),
)
_FLAGS = {
    ".text": elf.SHF_ALLOC | elf.SHF_EXECINSTR,
    ".rodata": elf.SHF_ALLOC,
    ".data": elf.SHF_ALLOC | elf.SHF_WRITE,
    ".bss": elf.SHF_ALLOC | elf.SHF_WRITE,
}
_DROPPED = (".eh_frame", ".note", ".comment", ".riscv.attributes", ".gcc_except_table")
ARCHITECTURE = "rv64i2p1_m2p0_a2p1_f2p2_d2p2_c2p0_zicsr2p0_zifencei2p0_zba1p0_zbb1p0_zbs1p0"


@dataclass
class Image:
    """The output: its sections, its segments, and the output section of each input section."""

    sections: list[Section] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    home: dict[Section, Section] = field(default_factory=dict)
    bounds: list[Symbol] = field(default_factory=list)

    def gather(self) -> None:
        """Copy the relocated bytes of every input section to its place in the output."""
        for section, home in self.home.items():
            if home.type != elf.SHT_NOBITS:
                at = section.address - home.address
                home.data[at : at + section.size] = (
                    bytes(section.size) if section.type == elf.SHT_NOBITS else section.data
                )


def bound_symbols() -> list[Symbol]:
    """The symbols that the linker defines, without their values."""
    names = [f"__{s[1:]}_{end}" for s in _FLAGS for end in ("start", "end")]
    return [
        Symbol(name, elf.SHN_ABS, binding=elf.STB_GLOBAL)
        for name in [*names, "_end", "__global_pointer$"]
    ]


def output_name(section: Section) -> str | None:
    """The output section for an input section, or None for one that the image does not keep."""
    if section.name.startswith(_DROPPED):
        return None
    if not section.flags & elf.SHF_ALLOC:
        return section.name if section.name.startswith(".debug_") else None
    if section.flags & elf.SHF_EXECINSTR:
        return ".text"
    if not section.flags & elf.SHF_WRITE:
        return ".rodata"
    return ".bss" if section.type == elf.SHT_NOBITS else ".data"


def place(
    files: list[ObjectFile], *, base: int, first: Section | None, bounds: list[Symbol]
) -> Image:
    """Give every kept input section its address, `first` at `base`, and the bounds their values."""
    image = Image(bounds=bounds)
    groups: dict[str, list[Section]] = {name: [] for name in _FLAGS}
    for section in (s for file in files for s in file.sections):
        name = output_name(section)
        if name is not None:
            groups.setdefault(name, []).append(section)
    groups[".text"].sort(key=lambda s: s is not first)
    outputs = {name: _fill(image, name, members) for name, members in groups.items()}
    end = _place_segments(image, base, outputs)
    for name, members in groups.items():
        for member in members:
            member.address += outputs[name].address
    image.sections += [s for name, s in outputs.items() if name not in _FLAGS]
    image.sections.append(_attributes())
    _set_bounds(bounds, outputs, end)
    return image


def _fill(image: Image, name: str, members: list[Section]) -> Section:
    """An output section as large as its members, whose addresses are left relative to it."""
    nobits = name == ".bss"
    out = Section(name, elf.SHT_NOBITS if nobits else elf.SHT_PROGBITS, _FLAGS.get(name, 0))
    size = 0
    for member in members:
        out.align = max(out.align, member.align)
        size += -size % member.align
        member.address = size
        size += member.size
        image.home[member] = out
    if nobits:
        out.nobits_size = size
    else:
        out.data = bytearray(size)
    return out


def _place_segments(image: Image, base: int, outputs: dict[str, Section]) -> int:
    """Lay the loaded sections out from `base`; returns the address after the last."""
    address = base
    for flags, names in _SEGMENTS:
        address += -address % elf.PAGE
        for name in names:
            out = outputs[name]
            address += -address % out.align
            out.address = address
            address += out.size
        present = [outputs[name] for name in names if outputs[name].size]
        if present:
            image.sections += present
            image.segments.append(Segment(flags, present))
    return address


def _set_bounds(bounds: list[Symbol], outputs: dict[str, Section], end: int) -> None:
    values = {"_end": end, "__global_pointer$": outputs[".data"].address + 0x800}
    for name in _FLAGS:
        values[f"__{name[1:]}_start"] = outputs[name].address
        values[f"__{name[1:]}_end"] = outputs[name].address + outputs[name].size
    for symbol in bounds:
        symbol.value = values[symbol.name]


def _attributes() -> Section:
    """`.riscv.attributes`: tells a disassembler which extensions the code uses (psABI)."""
    tags = b"\x04\x10" + b"\x05" + ARCHITECTURE.encode() + b"\0"  # stack alignment 16, architecture
    file_part = b"\x01" + (len(tags) + 5).to_bytes(4, "little") + tags
    vendor = b"riscv\0" + file_part
    data = b"A" + (len(vendor) + 4).to_bytes(4, "little") + vendor
    return Section(".riscv.attributes", elf.SHT_RISCV_ATTRIBUTES, data=bytearray(data))
