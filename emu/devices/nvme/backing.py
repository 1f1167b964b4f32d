"""The host file behind a drive: raw, locked against a second user, written only where the guest
writes. Data goes between the file and guest memory directly, with vectored reads and writes; there
is no buffer in between and nothing to lose when the emulator is killed.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Sequence

from emu.errors import AiosError

BLOCK = 512
_MAX_VECTORS = 1024  # IOV_MAX on Linux
_ZEROS = bytes(1 << 20)


class Backing:
    """The file at `path`, opened for reading and, unless `readonly`, writing."""

    def __init__(self, path: str, *, readonly: bool = False) -> None:
        self.path, self.readonly = path, readonly
        try:
            self._fd = os.open(path, os.O_RDONLY if readonly else os.O_RDWR)
        except OSError as error:
            raise AiosError(f"The drive file {path} cannot be opened: {error.strerror}.") from error
        try:
            self.size = self._check()
        except BaseException:
            os.close(self._fd)
            raise

    def _check(self) -> int:
        """Lock the file; returns its size in bytes, which is a whole number of blocks."""
        mode = os.fstat(self._fd).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise AiosError(f"The drive file {self.path} is not a regular file or a block device.")
        try:
            fcntl.flock(
                self._fd, (fcntl.LOCK_SH if self.readonly else fcntl.LOCK_EX) | fcntl.LOCK_NB
            )
        except OSError as error:
            raise AiosError(
                f"The drive file {self.path} is in use by another machine; stop it, or give both "
                "readonly=on."
            ) from error
        size = os.lseek(self._fd, 0, os.SEEK_END)
        if size == 0 or size % BLOCK:
            raise AiosError(
                f"The drive file {self.path} has {size} bytes; a drive needs a multiple of {BLOCK} "
                "and at least one block."
            )
        return size

    @property
    def blocks(self) -> int:
        """Size in blocks."""
        return self.size // BLOCK

    def read(self, offset: int, views: Sequence[memoryview]) -> None:
        """Fill `views` from the file; OSError when it does not hold that much any more."""
        for batch in _batches(views):
            wanted = sum(map(len, batch))
            if os.preadv(self._fd, batch, offset) != wanted:
                raise OSError("short read")
            offset += wanted

    def write(self, offset: int, views: Sequence[memoryview]) -> None:
        """Write `views` to the file; OSError when the host cannot."""
        for batch in _batches(views):
            wanted = sum(map(len, batch))
            if os.pwritev(self._fd, batch, offset) != wanted:
                raise OSError("short write")
            offset += wanted

    def zero(self, offset: int, n: int) -> None:
        """Write zeros."""
        while n:
            n_now = min(n, len(_ZEROS))
            self.write(offset, [memoryview(_ZEROS)[:n_now]])
            offset, n = offset + n_now, n - n_now

    def flush(self) -> None:
        """Make what was written survive a crash of the host."""
        if not self.readonly:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Release the file and its lock; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _batches(views: Sequence[memoryview]) -> list[Sequence[memoryview]]:
    return [views[i : i + _MAX_VECTORS] for i in range(0, len(views), _MAX_VECTORS)]
