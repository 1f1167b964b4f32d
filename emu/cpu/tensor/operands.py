"""From guest addresses to host pointers: page rights of every byte touched, before any write.

A view's span is walked mapping by mapping. When it is one piece of RAM, kernels work on guest
memory in place. When its pages are scattered, or a source overlaps the destination, they work on a
copy in scratch memory, and a destination is written back page by page at the end. A page that
lies in the span but holds no element is neither checked nor touched.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Protocol

from emu.cpu.tensor.arena import ARENA
from emu.cpu.tensor.attributes import SIZE as ATTRIBUTES_SIZE
from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.descriptor import Descriptor, View
from emu.cpu.tensor.faults import Cause, Operand, TensorFault
from emu.cpu.tensor.limits import Steps
from emu.cpu.traps import Trap

SPAN_MAX = 1 << 40
"""Bytes from the first to the last element of an operand that is not one piece of RAM."""
_PAGE = 4096
_LOAD_ACCESS_FAULT, _STORE_ACCESS_FAULT = 5, 7


class Registers(Protocol):
    """Tensor registers: what is read may be a copy, so a change is assigned."""

    def __getitem__(self, index: int, /) -> Descriptor: ...
    def __setitem__(self, index: int, value: Descriptor, /) -> None: ...


class Hart(Protocol):
    """What tensor instructions ask of the hart that executes them."""

    tcause: int
    toperand: int
    stall_ps: int

    @property
    def tr(self) -> Registers: ...

    def extent(self, paddr: int, n: int = 1) -> tuple[int, int, int] | None:
        """The memory with all `n` bytes at a physical address: (its first address, its end, host
        address of its first byte); None when no memory is there."""

    def mapping(self, vaddr: int, access: str) -> tuple[int, int]:
        """(physical address, bytes from there to the end of the mapping) for 'load' or 'store';
        raises Trap when the access is not allowed."""


@dataclass
class Resolved:
    """An operand the host can reach: `view.address` is a host address."""

    view: View
    pieces: list[tuple[int, int, int]]
    """(host address, offset in the span, bytes) of the RAM behind it."""
    copied: bool = False
    low: int = 0
    _scatter: bool = field(default=False)

    def finish(self) -> None:
        """Write a copied destination back to where it belongs."""
        if self._scatter:
            start = self.view.address + self.low
            for host, offset, size in self.pieces:
                ctypes.memmove(host, start + offset, size)


def first_touched(view: View, low: int, high: int, looked: Steps | None = None) -> int | None:
    """The first address in [low, high) that holds a byte of an element of `view`, if any.

    Where dimensions overlap the search may branch: every index it looks at is a step.
    """
    looked = looked or Steps(view.address)
    start, steps = view.address, []
    for extent, stride in zip(view.dims, view.strides, strict=True):
        if stride < 0:
            start += stride * (extent - 1)
        if stride and extent > 1:
            steps.append((abs(stride), extent))
    steps.sort()
    reach = [view.dtype.size]
    for stride, extent in steps:
        reach.append(reach[-1] + stride * (extent - 1))

    def search(level: int, base: int) -> int | None:
        if base >= high or base + reach[level] <= low:
            return None
        if level == 0:
            return max(base, low)
        stride, extent = steps[level - 1]
        begin = max(0, -(-(low - reach[level - 1] + 1 - base) // stride))
        end = min(extent - 1, (high - 1 - base) // stride)
        best: int | None = None
        for index in range(begin, end + 1):
            looked.take()
            if best is not None and base + index * stride >= best:
                break  # this step and all behind it start further on
            found = search(level - 1, base + index * stride)
            if found is not None and (best is None or found < best):
                best = found
        return best

    return search(len(steps), start)


def resolve(hart: Hart, view: View, operand: Operand, *, write: bool) -> Resolved:
    """Check the rights of every byte of `view` and make it reachable for the host.

    Raises Trap (page fault, access fault) with the first byte at fault in `tval`, TensorFault when
    scattered elements lie further apart than `SPAN_MAX`.
    """
    if view.count == 0:
        return Resolved(view.at(0), [])
    low, high = view.span()
    pieces = _pieces(hart, view, view.address + low, high - low, "store" if write else "load")
    if len(pieces) == 1 and pieces[0][2] == high - low:
        return Resolved(view.at(pieces[0][0] - low), pieces, low=low)
    if high - low > SPAN_MAX:
        raise TensorFault(Cause.DESCRIPTOR, operand, view.address)
    temporary = ARENA.take(high - low, sum(size for _, _, size in pieces))
    for host, offset, size in pieces:
        ctypes.memmove(temporary + offset, host, size)
    return Resolved(view.at(temporary - low), pieces, True, low, write)


def _pieces(
    hart: Hart, view: View, start: int, length: int, access: str
) -> list[tuple[int, int, int]]:
    pieces: list[tuple[int, int, int]] = []
    offset, steps = 0, Steps(view.address)
    while offset < length:
        vaddr = start + offset
        steps.take()
        try:
            paddr, size = hart.mapping(vaddr, access)
            memory = hart.extent(paddr)
            if memory is None:
                raise Trap(_STORE_ACCESS_FAULT if access == "store" else _LOAD_ACCESS_FAULT, vaddr)
            base, end, host = memory
            size = min(size, length - offset, end - paddr)
        except Trap as trap:
            touched = first_touched(view, vaddr, start + length, steps)
            assert touched is not None  # the span ends with an element
            if touched // _PAGE == vaddr // _PAGE:
                raise Trap(trap.cause, touched) from None
            offset = touched // _PAGE * _PAGE - start  # nothing lies in between
            continue
        host += paddr - base
        if pieces and sum(pieces[-1][::2]) == host and pieces[-1][1] + pieces[-1][2] == offset:
            host, before, done = pieces.pop()
            pieces.append((host, before, done + size))
        else:
            pieces.append((host, offset, size))
        offset += size
    return pieces


def apart(one: View, other: View) -> bool:
    """Whether the spans of two host views have no byte in common."""
    if not one.count or not other.count:
        return True
    low, high = one.span()
    other_low, other_high = other.span()
    return bool(
        one.address + high <= other.address + other_low
        or other.address + other_high <= one.address + low
    )


def detach(source: Resolved, destination: Resolved, *, in_place: bool = False) -> Resolved:
    """The source, copied first if writing the destination could change it.

    `in_place` says that the kernel reads an element before it writes the one at the same place,
    so a source that is exactly the destination needs no copy.
    """
    view, target = source.view, destination.view
    if source.copied or destination.copied or apart(view, target):
        return source
    same = view.address == target.address and view.steps_as(target)
    if in_place and same and view.dtype.size == target.dtype.size:
        return source
    low, high = view.span()
    temporary = ARENA.take(high - low)
    ctypes.memmove(temporary, view.address + low, high - low)
    return Resolved(view.at(temporary - low), [], True)


def host_block(hart: Hart, address: int, size: int, operand: Operand, *, write: bool) -> int:
    """Host address of a naturally aligned block of `size` bytes in guest memory."""
    if address % size:
        raise TensorFault(Cause.ALIGNMENT, operand, address)
    access = "store" if write else "load"
    paddr, mapped = hart.mapping(address, access)
    while mapped < size:  # PMP splits the block: the rest must be allowed too
        mapped += hart.mapping(address + mapped, access)[1]
    memory = hart.extent(paddr, size)
    if memory is None:
        raise Trap(_STORE_ACCESS_FAULT if write else _LOAD_ACCESS_FAULT, address)
    base, _, host = memory
    return host + paddr - base


def read_attributes(hart: Hart, address: int) -> Attributes:
    """The attribute block at a guest address; the defaults for address 0."""
    if address == 0:
        return Attributes()
    host = host_block(hart, address, ATTRIBUTES_SIZE, Operand.ATTRIBUTE, write=False)
    try:
        return Attributes.parse(ctypes.string_at(host, ATTRIBUTES_SIZE))
    except ValueError:
        raise TensorFault(Cause.ATTRIBUTE, Operand.ATTRIBUTE, address) from None
