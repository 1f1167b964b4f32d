"""The object of gpu functions, completed: stand-ins resolved, kernel objects filled in.

The size of a kernel's code is its symbol's; the bytes of private memory that a lane needs are the
function's frame, which LLVM tells in the section `.llvm_stackmaps` (a record of each function that
holds a stackmap), dropped here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from emu.devices.gpu.dispatch import PRIVATE_BYTES_MAX
from emu.errors import AiosError
from toolchain import elf
from toolchain.elf import ObjectFile, Section, Symbol
from toolchain.kern.lanes.flow import is_in_order
from toolchain.kern.lanes.stand_ins import StandIns
from toolchain.link.relocations import R

_STACKMAPS = ".llvm_stackmaps"
_CODE_SIZE, _PRIVATE_SIZE = 16, 32
"""Offsets of these fields in a kernel object."""
_CALLS = (R.CALL, R.CALL_PLT, R.JAL)


def finish(data: bytes, name: str, stand_ins: StandIns) -> ObjectFile | None:
    """The finished object of the kernel called `name`; None when its blocks are out of order."""
    made = elf.read_object(data, f"the gpu function {name}")
    symbols = {s.name: s for s in made.symbols if s.name}
    code = symbols[name]
    _refuse_calls(name, code)
    words = [*struct.iter_unpack("<I", _section(code).data[code.value : code.value + code.size])]
    if not is_in_order([word for (word,) in words]):
        return None
    resolved = [stand_ins.resolve(word) for (word,) in words]
    struct.pack_into(f"<{len(resolved)}I", _section(code).data, code.value, *resolved)
    frame = dict(_frames(made))[name]
    if frame > PRIVATE_BYTES_MAX:
        raise AiosError(f"The gpu function '{name}' needs {frame} bytes of private memory for each "
                        f"lane; there are at most {PRIVATE_BYTES_MAX}.")  # fmt: skip
    _complete(symbols[f"{name}.kernel"], code.size, frame)
    made.sections = [s for s in made.sections if s.name != _STACKMAPS]
    made.symbols = [s for s in made.symbols if s.where in (*made.sections, elf.SHN_UNDEF)]
    return made


def _frames(made: ObjectFile) -> Iterator[tuple[str, int]]:
    """The frame's size of every function (LLVM's stack map format, version 3)."""
    for section in made.sections:
        if section.name != _STACKMAPS:
            continue
        (count,) = struct.unpack_from("<I", section.data, 4)
        targets = {r.offset: r.symbol.name for r in section.relocations}
        for i in range(count):
            at = 16 + 24 * i
            yield targets[at], struct.unpack_from("<Q", section.data, at + 8)[0]


def _section(symbol: Symbol) -> Section:
    assert isinstance(symbol.where, Section)
    return symbol.where


def _refuse_calls(name: str, code: Symbol) -> None:
    """A call would leave the code that lanes may fetch; LLVM makes one for what has no
    instruction."""
    for r in _section(code).relocations:
        if r.type in _CALLS and code.value <= r.offset < code.value + code.size:
            raise AiosError(f"The gpu function '{name}' needs '{r.symbol.name}', a routine that "
                            "lanes do not have.")  # fmt: skip


def _complete(kernel: Symbol, code_size: int, frame: int) -> None:
    data = _section(kernel).data
    struct.pack_into("<Q", data, kernel.value + _CODE_SIZE, code_size)
    struct.pack_into("<I", data, kernel.value + _PRIVATE_SIZE, -(-frame // 16) * 16)
