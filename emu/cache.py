"""Where things are kept that can always be made again: compiled code, kernel images.

    content = cache.read("interpreter-0123.o")       # None: make it, then
    cache.write("interpreter-0123.o", content)

The cache is a convenience, never a condition. An entry's name is a hash of all that its content
depends on, so nothing in it is ever out of date. What cannot be read, is not what was written under
that name, or may have been written by another user than root, is as if it were not there; what
cannot be written is not kept. Several processes may use a directory at once: an entry appears
whole, under its name, or not at all. Once entries take more than `LIMIT` bytes, those that nobody
has read for longest are deleted.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

LIMIT = 512 << 20
"""Bytes that all entries may take; `AIOS_CACHE_LIMIT` gives another number of MiB."""

_MAGIC = b"aios cache 2\n"
_HEAD = len(_MAGIC) + hashlib.sha256().digest_size
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_PREFIX = ".new-"  # of files that are being written
_TOUCH_SECONDS = 24 * 3600  # how exactly the time of the last reading is kept
_ABANDONED_SECONDS = 3600  # after which nobody goes on writing such a file
_LOOK_AFTER = 32 << 20  # bytes written by this process between two looks at the directory

_written = _LOOK_AFTER  # since the last look: the first writing looks


def cache_directory() -> Path:
    """`$AIOS_CACHE`, or `aios` in the user's cache directory; the directory need not exist. For a
    user without a home it cannot: nothing is kept then."""
    if chosen := os.environ.get("AIOS_CACHE"):
        return Path(chosen)
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "aios"
    try:
        return Path.home() / ".cache" / "aios"
    except RuntimeError:
        return Path(os.devnull) / "aios"


def read(name: str) -> bytes | None:
    """The content of an entry; None when there is none, or not what was written."""
    path = cache_directory() / name
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not _is_ours(status):  # entries are executed
                return None
            stored = file.read()
    except OSError:
        return None
    content = stored[_HEAD:]
    if stored[:_HEAD] != _head(name, content):
        return None
    if time.time() - status.st_mtime > _TOUCH_SECONDS:
        with suppress(OSError):  # where it is not ours to write, reading does not count
            os.utime(path)
    return content


def _open_at_once(path: str, flags: int) -> int:
    """Open a file to read; what is a pipe, and not an entry, is not waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _is_ours(status: os.stat_result) -> bool:
    """Whether only this user, or root, can have written a file."""
    if status.st_uid not in (os.getuid(), 0) or status.st_mode & _OTHERS_MAY_WRITE:
        return False
    return stat.S_ISREG(status.st_mode)


def _head(name: str, content: bytes) -> bytes:
    """What stands before the content: it holds for this content under this name."""
    return _MAGIC + hashlib.sha256(f"{name}\n".encode() + content).digest()


def names(prefix: str) -> list[str]:
    """The names of the entries that begin so, in order."""
    try:
        return sorted(name for name in os.listdir(cache_directory()) if name.startswith(prefix))
    except OSError:
        return []


def write(name: str, content: bytes) -> None:
    """Keep an entry, if that is possible."""
    global _written
    directory = cache_directory()
    temporary = directory / f"{_PREFIX}{os.getpid()}-{time.monotonic_ns()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb", opener=lambda path, how: os.open(path, how, 0o644)) as file:
                file.write(_head(name, content) + content)
            os.replace(temporary, directory / name)
        finally:
            temporary.unlink(missing_ok=True)
        _written += len(content)
        if _written >= _LOOK_AFTER:
            _written = 0
            _shrink(directory, _limit())
    except OSError:
        return


def _limit() -> int:
    chosen = os.environ.get("AIOS_CACHE_LIMIT", "")
    return int(chosen) << 20 if chosen.isdecimal() else LIMIT


def _shrink(directory: Path, limit: int) -> None:
    """Delete what was abandoned while it was written, and what was unread for longest until three
    quarters of `limit` are left, if there is more than `limit`."""
    now = time.time()
    entries: list[tuple[float, int, str]] = []
    with os.scandir(directory) as files:
        for file in files:
            try:
                status = file.stat(follow_symlinks=False)
                if not file.is_file(follow_symlinks=False):
                    continue
                if not file.name.startswith(_PREFIX):
                    entries.append((status.st_mtime, status.st_size, file.path))
                elif now - status.st_mtime > _ABANDONED_SECONDS:
                    os.unlink(file.path)
            except FileNotFoundError:
                continue  # another process was quicker
    total = sum(size for _, size, _ in entries)
    if total <= limit:
        return
    for _, size, path in sorted(entries):
        if total <= limit * 3 // 4:
            break
        Path(path).unlink(missing_ok=True)
        total -= size
