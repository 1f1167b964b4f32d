"""Translations kept on disk across runs, found by the page of code that they are entered on.

An entry of the cache (`emu.cache`) is named after what made it, the address at which it is entered,
and the code there: enough to see without opening it that another program's is not meant. What the
code must be otherwise is in the translation, and compared before it is used. An entry that is not
what was written there, or not by this user, by this program and for this host, is none.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from emu import cache as disk
from emu.cpu.early import SOURCES
from emu.cpu.jit import host_key, source_key
from emu.cpu.native.translate.translation import Translation
from emu.cpu.state import PAGE_SIZE

_LOOKED_AT = 32
"""Bytes at the entry that are in the name, as a checksum; fewer where the code ends before."""


@cache
def maker() -> str:
    """What translations depend on besides the guest's code: this program, LLVM, the host."""
    return hashlib.sha256(f"{source_key(*SOURCES)} {host_key()}".encode()).hexdigest()[:16]


def keep(translation: Translation) -> None:
    """Put a translation on the shelf, in place of an earlier one with the same entry."""
    entry = translation.entries[0].pc
    start, data = next(s for s in translation.spans if s[0] <= entry < s[0] + len(s[1]))
    size = min(_LOOKED_AT, PAGE_SIZE - entry % PAGE_SIZE)
    code = data[entry - start : entry - start + size]
    name = f"region-{maker()}-{entry:x}-{len(code)}-{zlib.crc32(code):08x}.o"
    if disk.cache_directory().is_dir():  # it may be gone, and its user too
        disk.write(name, translation.pack())


class Shelf:
    """What was on the shelf when this was made."""

    def __init__(self) -> None:
        self._by_page: dict[int, list[tuple[int, int, int, str]]] = {}
        prefix = f"region-{maker()}-"
        for name in disk.names(prefix):
            try:
                entry, size, checksum = name[len(prefix) :].removesuffix(".o").split("-")
                row = int(entry, 16), int(size), int(checksum, 16), name
            except ValueError:
                continue  # not one of ours
            if 0 < row[1] <= PAGE_SIZE - row[0] % PAGE_SIZE:
                self._by_page.setdefault(row[0] & -PAGE_SIZE, []).append(row)

    def take(self, page: int, code: Callable[[int, int], bytes]) -> list[Translation]:
        """The translations entered on a page whose entries look right, once; `code(offset, size)`
        gives what is on the page now."""
        rows = self._by_page.get(page)
        if not rows:
            return []
        found, left = [], []
        for row in rows:
            entry, size, checksum, name = row
            if zlib.crc32(code(entry - page, size)) != checksum:
                left.append(row)
                continue
            stored = disk.read(name)
            if stored is not None:
                with suppress(ValueError):
                    found.append(Translation.unpack(stored))
        self._by_page[page] = left
        return found
