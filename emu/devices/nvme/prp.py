"""Physical region pages: where a command's data lies (base specification 1.4, 4.3).

PRP1 may start inside a page. What remains after the first page is described by PRP2: one page, or
a list of pages, which may itself start inside a page and goes on in another page when its last
entry is not the last of the data. Guests mostly give one page, or buffers in one piece: these two
cases are answered without looking at pages one by one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_

from emu.devices.nvme.status import CommandError, Status

View = Callable[[int, int], "memoryview | None"]
"""Address and length to the bytes there, or None where there is no memory."""
_ENTRY = 8


def regions(view: View, prp1: int, prp2: int, length: int, page: int) -> list[memoryview]:
    """The `length` bytes that PRP1 and PRP2 describe, as views of guest memory with neighbours
    joined; raises CommandError on a bad entry or address. `page` is the memory page size."""
    if prp1 & 3:
        raise CommandError(Status.INVALID_PRP_OFFSET)
    first = page - (prp1 & page - 1)
    if length <= first:
        found = view(prp1, length)
        if found is None:
            raise CommandError(Status.DATA_TRANSFER_ERROR)
        return [found]
    rest = length - first
    if rest <= page:
        if prp2 & page - 1:
            raise CommandError(Status.INVALID_PRP_OFFSET)
        pages: Sequence[int] = (prp2,)
    else:
        pages = _list(view, prp2, -(-rest // page), page)
    if pages[0] == prp1 + first and _in_one_piece(pages, page):
        return [_memory(view, prp1, length)]
    return _join(view, prp1, first, pages, rest, page)


def _memory(view: View, address: int, n: int) -> memoryview:
    found = view(address, n)
    if found is None:
        raise CommandError(Status.DATA_TRANSFER_ERROR)
    return found


def _in_one_piece(pages: Sequence[int], page: int) -> bool:
    start = pages[0]
    return list(pages) == list(range(start, start + len(pages) * page, page))


def _join(
    view: View, prp1: int, first: int, pages: Sequence[int], rest: int, page: int
) -> list[memoryview]:
    """The first page's `first` bytes at `prp1` and `rest` bytes in `pages`, neighbours as one."""
    found: list[memoryview] = []
    start, end = prp1, prp1 + first
    for entry in pages:
        n = min(rest, page)
        rest -= n
        if entry != end:
            found.append(_memory(view, start, end - start))
            start = entry
        end = entry + n
    found.append(_memory(view, start, end - start))
    return found


def _list(view: View, address: int, count: int, page: int) -> list[int]:
    """The `count` entries of a PRP list, read once. The last entry of a page is the address of the
    next part when more than one entry is still to come."""
    if address % _ENTRY:
        raise CommandError(Status.INVALID_PRP_OFFSET)
    entries: list[int] = []
    while True:
        room = (page - (address & page - 1)) // _ENTRY
        n = min(room, count - len(entries))
        entries += struct.unpack(f"<{n}Q", _memory(view, address, n * _ENTRY))
        if reduce(or_, entries[-n:]) & page - 1:
            raise CommandError(Status.INVALID_PRP_OFFSET)
        if len(entries) == count:
            return entries
        address = entries.pop()
