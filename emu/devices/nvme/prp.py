"""Physical region pages: where a command's data lies (base specification 1.4, 4.3)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from emu.devices.nvme.status import CommandError, Status

DmaRead = Callable[[int, int], "memoryview | None"]
_ENTRY = 8


def regions(dma: DmaRead, prp1: int, prp2: int, length: int, page: int) -> list[memoryview]:
    """The `length` bytes that PRP1 and PRP2 describe, as views of guest memory with neighbours
    joined; raises CommandError on a bad entry or address. `page` is the memory page size."""
    joined: list[list[int]] = []
    for address, n in _pieces(dma, prp1, prp2, length, page):
        if joined and joined[-1][0] + joined[-1][1] == address:
            joined[-1][1] += n
        else:
            joined.append([address, n])
    return [_view(dma, address, n) for address, n in joined]


def _view(dma: DmaRead, address: int, n: int) -> memoryview:
    view = dma(address, n)
    if view is None:
        raise CommandError(Status.DATA_TRANSFER_ERROR)
    return view


def _pieces(
    dma: DmaRead, prp1: int, prp2: int, length: int, page: int
) -> Iterator[tuple[int, int]]:
    """Address and size of the data in each page, in order."""
    if prp1 % 4:
        raise CommandError(Status.INVALID_PRP_OFFSET)
    first = min(length, page - prp1 % page)
    yield prp1, first
    rest = length - first
    if rest == 0:
        return
    if rest <= page:
        yield _aligned(prp2, page), rest
        return
    for entry in _list(dma, prp2, -(-rest // page), page):
        yield _aligned(entry, page), min(rest, page)
        rest -= page


def _aligned(entry: int, page: int) -> int:
    if entry % page:
        raise CommandError(Status.INVALID_PRP_OFFSET)
    return entry


def _list(dma: DmaRead, address: int, count: int, page: int) -> Iterator[int]:
    """The `count` entries of a PRP list. A list may start within a page; the last entry of a page
    is the address of the next part when more than one entry is still to come."""
    if address % _ENTRY:
        raise CommandError(Status.INVALID_PRP_OFFSET)
    while count:
        room = (page - address % page) // _ENTRY
        here = count if count <= room else room - 1
        n = here if count <= room else room
        entries = struct.unpack(f"<{n}Q", _view(dma, address, n * _ENTRY))
        yield from entries[:here]
        count -= here
        if count:
            address = _aligned(entries[-1], page)
