"""R_RISCV_ALIGN: assemblers that expect relaxation pad for the worst case; take the excess out.

The relocation covers `addend` bytes of nops before a point that must be aligned to the next power
of two. What is too much is deleted, and every relocation and symbol behind it moves down. This is
sound because such assemblers emit a relocation for every distance that a deletion can change.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace

from toolchain.elf import Section, Symbol
from toolchain.link.relocations import R


def apply(section: Section, symbols: Iterable[Symbol]) -> None:
    """Delete the excess padding of `section`, moving its relocations and its `symbols`."""
    deleted_from: list[int] = []
    deleted_total = [0]
    kept = bytearray()
    position = 0
    for r in section.relocations:
        if r.type != R.ALIGN:
            continue
        alignment = 1 << r.addend.bit_length()
        needed = -(r.offset - deleted_total[-1]) % alignment
        kept += section.data[position : r.offset] + nops(needed)
        position = r.offset + r.addend
        deleted_from.append(r.offset + 1)
        deleted_total.append(deleted_total[-1] + r.addend - needed)
    if not deleted_from:
        return
    section.data = kept + section.data[position:]

    def moved(offset: int) -> int:
        return offset - deleted_total[bisect_right(deleted_from, offset)]

    section.relocations = [
        replace(r, offset=moved(r.offset)) for r in section.relocations if r.type != R.ALIGN
    ]
    for symbol in symbols:
        end = moved(symbol.value + symbol.size)
        symbol.value = moved(symbol.value)
        symbol.size = end - symbol.value


def nops(size: int) -> bytes:
    """`size` bytes of nop instructions, a compressed one first where `size` asks for it."""
    return b"\x01\x00" * (size % 4 // 2) + b"\x13\0\0\0" * (size // 4)
