"""A blob: machine code that is ready but for its address, loaded in microseconds, without LLVM.

    code = Blob(content)              # `emu.cpu.link` made it, perhaps in another process
    code.address("run")

The image of a blob is position-independent code and its constants, all distances filled in. What
is left open are words that hold an address: `pointers`, to places of the image itself, and
`imports`, of functions elsewhere in the process. Loading copies the image to fresh memory, adds the
base to the pointers, fills the imports in, and makes the memory executable and no longer writable.

In order a blob holds: `HEADER`, the image, the offsets of the pointers (32 bits each), a line
`name offset` for each import and, behind a newline, one for each export.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Iterable, Mapping
from functools import cache

HEADER = struct.Struct("<8s4I")
"""Magic, bytes of the image, number of pointers, bytes of the lines of imports, of exports."""
MAGIC = b"aiosblb1"

_READ_EXECUTE = 1 | 4  # PROT_READ | PROT_EXEC, which `mmap` names where the host has them


class LoadError(Exception):
    """Code that cannot be loaded; says why."""


class Blob:
    """Loaded machine code. Its functions live as long as this object does, or until `close`."""

    def __init__(self, content: bytes, symbols: Mapping[str, int] | None = None) -> None:
        """Load a blob. An import is looked up in `symbols`, then among the process's functions."""
        magic, size, pointers, imports, exports = HEADER.unpack_from(content)
        if magic != MAGIC:
            raise LoadError(f"A blob of compiled code begins with {MAGIC!r}, not {magic!r}.")
        self._memory = memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        view = ctypes.c_char.from_buffer(memory)
        self.base = base = ctypes.addressof(view)
        del view  # memory with a view of it cannot be given back
        at = HEADER.size
        memory[:size] = content[at : at + size]
        at += size
        for offset in struct.unpack_from(f"<{pointers}I", content, at):
            inside = int.from_bytes(memory[offset : offset + 8], "little")
            memory[offset : offset + 8] = (base + inside).to_bytes(8, "little")
        at += 4 * pointers
        for line in content[at : at + imports].decode().splitlines():
            name, slot = line.split()
            address = (symbols or {}).get(name) or _in_process(name)
            memory[int(slot) : int(slot) + 8] = address.to_bytes(8, "little")
        self._exports = content[at + imports : at + imports + exports]
        if _libc().mprotect(ctypes.c_void_p(base), ctypes.c_size_t(size), _READ_EXECUTE):
            raise LoadError(f"The host does not let {size} bytes of memory become executable.")

    def address(self, name: str) -> int:
        """Address of the function or constant `name`; KeyError when the blob exports none."""
        line = f"\n{name} ".encode()  # searched for, not parsed: most blobs are asked for one name
        at = self._exports.find(line)
        if at < 0:
            raise KeyError(name)
        start = at + len(line)
        return self.base + int(self._exports[start : self._exports.index(b"\n", start)])

    def close(self) -> None:
        """Give the memory back. Nothing may be executing in it, nor come there any more."""
        self._memory.close()


def pack(
    image: bytes,
    pointers: Iterable[int],
    imports: Iterable[tuple[str, int]],
    exports: Iterable[tuple[str, int]],
) -> bytes:
    """The blob of these parts: offsets in the image, with names where it has them."""
    offsets = [*pointers]
    lines = [b"".join(f"{n} {at}\n".encode() for n, at in names) for names in (imports, exports)]
    lines[1] = b"\n" + lines[1]
    head = HEADER.pack(MAGIC, len(image), len(offsets), len(lines[0]), len(lines[1]))
    return b"".join([head, image, struct.pack(f"<{len(offsets)}I", *offsets), *lines])


def _in_process(name: str) -> int:
    """Address of a function of the C library."""
    for library in (_libc, _libm):
        try:
            if address := ctypes.cast(library()[name], ctypes.c_void_p).value:
                return address
        except (AttributeError, OSError):
            continue
    raise LoadError(f"Compiled code calls '{name}', which this process does not have.")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@cache
def _libm() -> ctypes.CDLL:
    return ctypes.CDLL("libm.so.6")
