"""Compiled kernels: made on first use, kept in memory and, by content, on disk; and host scratch.

A kernel is found by its name, which spells operation, element types and layout class, such as
`tadd f32 vs`. Shapes are parameters, so a handful of kernels serves a whole model.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from emu.cpu.jit import compile_cached, source_key
from emu.cpu.tensor.emit import Block, Emitter
from emu.cpu.tensor.faults import Cause, Operand, TensorFault
from emu.cpu.tensor.limits import SCRATCH_BYTES
from emu.errors import AiosError

Word = int | float | Sequence[int]
_DOUBLE, _WORD = struct.Struct("<d"), struct.Struct("<q")
_CHUNK, _KEPT = 1 << 22, 1 << 30
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Scratch is reserved, not committed: a view's span may be far larger than what lies in it. (Python
3.11 lacks the flag's name.)"""
ALIGNMENT = 64


class Kernel:
    """A compiled kernel and its parameter block."""

    def __init__(self, name: str, block: Block, write: Callable[[Emitter], None]) -> None:
        def build() -> str:
            emitter = Emitter(block)
            write(emitter)
            return emitter.finish()

        self._block = block
        self._code = compile_cached(f"tensor {name} {source_key('emu.cpu.tensor')}", build, opt=1)
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self._call = prototype(self._code.address("kernel"))

    def __call__(self, **words: Word) -> None:
        """Run. A float is passed as the bits of an f64; words not named are 0."""
        values = array("q", bytes(8 * self._block.size))
        for name, value in words.items():
            at = self._block.index[name]
            if isinstance(value, int):
                values[at] = value
            elif isinstance(value, float):
                values[at] = _WORD.unpack(_DOUBLE.pack(value))[0]
            else:
                for i, item in enumerate(value):
                    values[at + i] = item
        self._call(values.buffer_info()[0])


_kernels: dict[str, Kernel] = {}


def kernel(name: str, block: Block, write: Callable[[Emitter], None]) -> Kernel:
    """The kernel of this name; `write` emits its body if nobody has compiled it yet."""
    found = _kernels.get(name)
    if found is None:
        found = _kernels[name] = Kernel(name, block, write)
    return found


class Scratch:
    """Host memory for the duration of one instruction; `clear` takes all of it back."""

    def __init__(self) -> None:
        self._chunks: list[mmap.mmap] = []
        self._used = 0
        self._filled = 0

    def take(self, size: int, filled: int | None = None) -> int:
        """The address of `size` bytes, aligned to a cache line, content undefined; only `filled` of
        them will be touched, if less. Raises TensorFault beyond `SCRATCH_BYTES` an instruction."""
        size = -(-size // ALIGNMENT) * ALIGNMENT
        self.reserve(size, filled)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._chunks[-1])) + self._used
        self._used += size
        self._filled += size if filled is None else filled
        return address

    def reserve(self, size: int, filled: int | None = None) -> None:
        """Make sure that the next `size` bytes, alignment included, can be taken: for those who
        have to know before they write anything."""
        if self._filled + (size if filled is None else filled) > SCRATCH_BYTES:
            raise TensorFault(Cause.LIMIT, Operand.DESTINATION)
        if self._chunks and self._used + size <= len(self._chunks[-1]):
            return
        try:
            self._chunks.append(mmap.mmap(-1, max(size, _CHUNK), flags=_FLAGS))
        except OSError as error:
            raise AiosError(
                f"The host cannot give {size >> 20} MiB for a tensor instruction ({error})."
            ) from error
        self._used = 0

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Give back at the end what was taken inside."""
        before = len(self._chunks), self._used, self._filled
        yield
        if len(self._chunks) == before[0]:
            _, self._used, self._filled = before

    def clear(self) -> None:
        """Forget what was taken; a chunk of usual size is kept for the next instruction."""
        usual = [chunk for chunk in self._chunks if len(chunk) <= _KEPT]
        self._chunks = [max(usual, key=len)] if usual else []
        self._used = self._filled = 0


SCRATCH = Scratch()
"""Instructions run one at a time, so one is enough."""
