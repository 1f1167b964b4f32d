"""PRP lists against the plainest possible reading of the specification, entry by entry."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from emu.devices.nvme.prp import regions
from emu.devices.nvme.status import CommandError, Status

PAGE, MEMORY = 4096, 256 * 4096


class Memory:
    """Pages 1 to 255 exist; page 0 does not."""

    def __init__(self) -> None:
        self.bytes = bytearray(MEMORY)

    def view(self, address: int, n: int) -> memoryview | None:
        inside = range(PAGE, MEMORY - n + 1)
        return memoryview(self.bytes)[address : address + n] if address in inside else None

    def entry(self, address: int) -> int:
        if not PAGE <= address <= MEMORY - 8:
            raise CommandError(Status.DATA_TRANSFER_ERROR)
        return int.from_bytes(self.bytes[address : address + 8], "little")


def plainly(memory: Memory, prp1: int, prp2: int, length: int) -> list[int]:
    """The address of every 4 bytes of the data."""
    found: list[int] = []

    def use(address: int) -> None:
        for at in range(address, (address // PAGE + 1) * PAGE, 4):
            if len(found) * 4 < length:
                if not PAGE <= at <= MEMORY - 4:
                    raise CommandError(Status.DATA_TRANSFER_ERROR)
                found.append(at)

    if prp1 % 4:
        raise CommandError(Status.INVALID_PRP_OFFSET)
    use(prp1)
    left = length - 4 * len(found)
    if not left:
        return found
    if left <= PAGE:
        if prp2 % PAGE:
            raise CommandError(Status.INVALID_PRP_OFFSET)
        use(prp2)
        return found
    if prp2 % 8:
        raise CommandError(Status.INVALID_PRP_OFFSET)
    while len(found) * 4 < length:
        entry = memory.entry(prp2)
        if entry % PAGE:
            raise CommandError(Status.INVALID_PRP_OFFSET)
        last = prp2 % PAGE == PAGE - 8
        if last and length - 4 * len(found) > PAGE:
            prp2 = entry
            continue
        use(entry)
        prp2 += 8
    return found


PAGES = st.one_of(
    st.integers(1, 255).map(lambda i: i * PAGE),
    st.integers(1, 255).map(lambda i: i * PAGE),
    st.sampled_from([0, 8, PAGE + 4, MEMORY, 1 << 63]),
)
ONE_PIECE = st.tuples(st.integers(1, 120), st.integers(1, 130)).map(
    lambda t: [(t[0] + i) * PAGE for i in range(t[1])]
)
LISTS = st.one_of(st.lists(PAGES, min_size=1, max_size=140), ONE_PIECE)


@given(
    prp1=st.integers(0, MEMORY // 4).map(lambda i: 4 * i) | st.integers(0, MEMORY),
    start=st.sampled_from([0, 8, 4, 0x800, 0xFE8, 0xFF0, 0xFF8]),
    pages=LISTS,
    chained=LISTS,
    blocks=st.integers(1, 1024),
)
def test_regions_are_what_the_specification_says(prp1, start, pages, chained, blocks) -> None:
    memory, length = Memory(), 512 * blocks
    prp2 = 3 * PAGE + start
    room = (PAGE - start) // 8
    for at, entries in ((prp2, pages[:room]), (7 * PAGE, chained)):
        memory.bytes[at : at + 8 * len(entries)] = struct.pack(f"<{len(entries)}Q", *entries)
    try:
        expected: list[int] | None = plainly(memory, prp1, prp2, length)
    except CommandError:
        expected = None  # which of several mistakes is reported is the controller's choice
    try:
        views = regions(memory.view, prp1, prp2, length, PAGE)
    except CommandError:
        views = None
    if expected is None or views is None:
        assert expected is views
        return
    assert sum(map(len, views)) == length
    if len(set(expected)) == len(expected):
        for number, view in enumerate(views):  # paint each region, then look where the paint is
            view[:] = bytes([number // 2 + 1]) * len(view)
        painted = [memory.bytes[at] for at in expected]
        assert painted == [n // 2 + 1 for n, view in enumerate(views) for _ in view[::4]]
