"""Host memory for the duration of one instruction: copies of operands, and what plans work in."""

from __future__ import annotations

import ctypes
import mmap

from emu.cpu.tensor.faults import Cause, Operand, TensorFault
from emu.cpu.tensor.limits import SCRATCH_BYTES
from emu.cpu.tensor.plan import ALIGNMENT
from emu.errors import AiosError

_CHUNK, _KEPT = 1 << 22, 1 << 30
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Memory is reserved, not committed: a view's span may be far larger than what lies in it. (Python
3.11 lacks the flag's name.)"""


def reserved(size: int) -> mmap.mmap:
    """Host memory that costs nothing until it is touched."""
    try:
        return mmap.mmap(-1, size, flags=_FLAGS)
    except OSError as error:
        raise AiosError(
            f"The host cannot give {size >> 20} MiB for a tensor instruction ({error})."
        ) from error


class Arena:
    """Memory that `clear` takes back, all at once."""

    def __init__(self) -> None:
        self._chunks: list[mmap.mmap] = []
        self._used = 0
        self._filled = 0

    def take(self, size: int, filled: int | None = None) -> int:
        """The address of `size` bytes, aligned to a cache line, content undefined; only `filled` of
        them will be touched, if less. Raises TensorFault beyond `SCRATCH_BYTES` an instruction."""
        size = -(-size // ALIGNMENT) * ALIGNMENT
        self._filled += size if filled is None else filled
        if self._filled > SCRATCH_BYTES:
            raise TensorFault(Cause.LIMIT, Operand.DESTINATION)
        if not self._chunks or self._used + size > len(self._chunks[-1]):
            self._grow(size)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._chunks[-1])) + self._used
        self._used += size
        return address

    def _grow(self, size: int) -> None:
        self._chunks.append(reserved(max(size, _CHUNK)))
        self._used = 0

    def clear(self) -> None:
        """Forget what was taken; a chunk of usual size is kept for the next instruction."""
        usual = [chunk for chunk in self._chunks if len(chunk) <= _KEPT]
        self._chunks = [max(usual, key=len)] if usual else []
        self._used = self._filled = 0


ARENA = Arena()
"""Instructions run one at a time, so one is enough."""
