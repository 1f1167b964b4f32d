"""The gpu functions of a program as an image of their own, for lanes without a machine.

    image = build([read_source(path)])
    memory.view(image.base, len(image.data))[:] = image.data
    block = image.pack("blas.saxpy", 1000, 2.5, x_address, y_address)
    kernel = KernelObject.parse(image.object("blas.saxpy"), image.objects["blas.saxpy"])

Tests and benchmarks put the image and the kernarg into memory that lanes reach and give the engine
a dispatch; the guest's driver does the same from the machine's own image.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emu.errors import AiosError
from toolchain import elf
from toolchain.kern import typed, types
from toolchain.kern.codegen.module import KERNEL_OBJECT, kernel_symbol
from toolchain.kern.compile import analyse, emit
from toolchain.kern.diagnostics import Source

BASE = 0x8000_0000

_FORMATS: dict[types.Type, str] = {
    types.I8: "b", types.U8: "B", types.I16: "h", types.U16: "H", types.I32: "i", types.U32: "I",
    types.INT: "q", types.U64: "Q", types.F32: "f", types.F64: "d", types.BOOL: "?",
}  # fmt: skip


@dataclass(frozen=True)
class KernelImage:
    """The bytes from `base` on; where each kernel object is, and the layout of its arguments."""

    base: int
    data: bytes
    objects: Mapping[str, int]
    kernargs: Mapping[str, types.Struct]

    def object(self, name: str) -> bytes:
        """The 64 bytes of a kernel object."""
        at = self.objects[name] - self.base
        return self.data[at : at + KERNEL_OBJECT]

    def pack(self, name: str, *arguments: float) -> bytes:
        """A kernarg: numbers and addresses as they are declared, a slice as two of them."""
        kernarg = self.kernargs[name]
        block = bytearray(types.size_of(kernarg))
        waiting = list(arguments)
        for i, member in enumerate(kernarg.fields):
            at = types.offset_of(kernarg, i)
            for format_ in _formats(member.type):
                struct.pack_into("<" + format_, block, at, waiting.pop(0))
                at += 8
        if waiting:
            raise AiosError(f"{name} does not take {len(arguments)} arguments.")
        return bytes(block)


def _formats(type_: types.Type) -> str:
    if isinstance(type_, types.Slice | types.Str):
        return "Qq"
    return _FORMATS.get(type_, "i" if isinstance(type_, types.Enum) else "Q")


def build(sources: Sequence[Source], base: int = BASE) -> KernelImage:
    """The image of all gpu functions of these sources, which are one program."""
    from toolchain.link import link

    program = analyse(sources, root="")
    kernels = [function for function in program.lanes if function.gpu]
    if not kernels:
        raise AiosError(f"{', '.join(s.file for s in sources)}: there is no gpu function here.")
    start = kernels[0].symbol
    linked = elf.read(link([emit(_only_lanes(program), opt=2)], base=base, entry=start), "kernels")
    loaded = [s for s in linked.sections if s.flags & elf.SHF_ALLOC]
    data = bytearray(max(s.address + s.size for s in loaded) - base)
    for section in loaded:
        at = section.address - base
        data[at : at + len(section.data)] = section.data
    names = {s.name: s.address for s in linked.symbols}
    return KernelImage(
        base, bytes(data), {f.symbol: names[kernel_symbol(f)] for f in kernels},
        {f.symbol: f.kernarg for f in kernels if f.kernarg is not None},
    )  # fmt: skip


def _only_lanes(program: typed.Program) -> typed.Program:
    """The program without what harts run."""
    return typed.Program(
        program.files, program.structs, program.enums, (), (), (), (), None, program.lanes
    )
