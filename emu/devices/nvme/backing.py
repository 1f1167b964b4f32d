"""The host file behind a namespace: raw, sparse, locked against a second user, written only where
the guest writes.

Data goes between the host's page cache and guest memory in one step, with vectored reads and
writes (decision 022 says why the file is not mapped): nothing is buffered here, so killing the
emulator loses nothing that the file was given, and a file that somebody else cuts short is an error
of the command that meets the missing part.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from typing import TypeVar

from emu.errors import AiosError

BLOCK = 512
_MAX_VECTORS = 1024  # IOV_MAX on Linux
_ZEROS = bytes(1 << 20)
V = TypeVar("V")
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # fallocate(2)


class Backing:
    """The file at `path`, opened for reading and, unless `readonly`, writing; a whole number of
    blocks of `block` bytes."""

    def __init__(self, path: str, *, readonly: bool = False, block: int = BLOCK) -> None:
        self.path, self.readonly, self.block = path, readonly, block
        self._punches = True
        try:
            # a pipe must not keep us waiting for its other end, only to be refused then
            self._fd = os.open(path, (os.O_RDONLY if readonly else os.O_RDWR) | os.O_NONBLOCK)
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
        size = self._size_now()
        if size == 0 or size % self.block:
            raise AiosError(
                f"The drive file {self.path} has {size} bytes; a drive needs a multiple of "
                f"{self.block} and at least one block."
            )
        return size

    def _size_now(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_END)

    def read(self, offset: int, views: Sequence[memoryview | bytearray]) -> None:
        """Fill `views` from the file; OSError when it does not hold that much any more."""
        if len(views) == 1:
            if os.preadv(self._fd, views, offset) != len(views[0]):
                raise OSError(errno.EIO, "short read")
            return
        for batch in _batches(views):
            wanted = sum(map(len, batch))
            if os.preadv(self._fd, batch, offset) != wanted:
                raise OSError(errno.EIO, "short read")
            offset += wanted

    def write(self, offset: int, views: Sequence[memoryview | bytes]) -> None:
        """Write `views` to the file; OSError when the host cannot, or when the file has become too
        short: it is never made longer."""
        if offset + sum(map(len, views)) > self._size_now():
            raise OSError(errno.EIO, "the file has become shorter")
        for batch in _batches(views):
            wanted = sum(map(len, batch))
            if os.pwritev(self._fd, batch, offset) != wanted:
                raise OSError(errno.EIO, "short write")
            offset += wanted

    def zero(self, offset: int, n: int) -> None:
        """Make `n` bytes zero, giving whole pages back to the host's file system where it can take
        them; OSError as for `write`."""
        if offset + n > self._size_now():
            raise OSError(errno.EIO, "the file has become shorter")
        if self._punches:
            try:
                _punch(self._fd, offset, n)
                return
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV):
                    raise
                self._punches = False
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


def _batches(views: Sequence[V]) -> list[Sequence[V]]:
    return [views[i : i + _MAX_VECTORS] for i in range(0, len(views), _MAX_VECTORS)]


def _punch(fd: int, offset: int, n: int) -> None:
    """fallocate(2) with a hole as result; the file keeps its size. OSError says what went wrong."""
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if fallocate is None:
        raise OSError(errno.ENOSYS, "this host has no fallocate")
    where = ctypes.c_int64(offset), ctypes.c_int64(n)
    if fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, *where):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
