"""The guest's code as a translation sees it: pages by virtual address, and which of it has run.

What the interpreter has never decoded is taken for cold: a region leaves there. So the paths that a
program does not take cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.cpu.native.records import HOST_FLOATS, rounds_as_host
from emu.cpu.state import PAGE_SIZE
from emu.isa.decode import Decoded, decode


@dataclass(frozen=True)
class Page:
    """The bytes of a page of code, and for every two of them whether an instruction that begins
    there has run (not 0)."""

    code: bytes
    executed: bytes


@dataclass(frozen=True)
class Image:
    """Pages of code by the virtual address of their first byte."""

    pages: dict[int, Page]

    def instruction(self, pc: int) -> Decoded | None:
        """The instruction at `pc` if it has run before and can be translated. One behind which
        the address space ends cannot: addresses of a region do not wrap."""
        page = self.pages.get(pc & -PAGE_SIZE)
        if page is None or pc & 1 or not page.executed[pc % PAGE_SIZE >> 1]:
            return None
        word = self._half(pc)
        if word is not None and word & 3 == 3:
            high = self._half(pc + 2)
            word = None if high is None else word | high << 16
        found = None if word is None else decode(word)
        if found is None or pc + found.insn.length >> 64:
            return None
        return found if is_translatable(found) else None

    def length(self, pc: int) -> int | None:
        """The length of the instruction at `pc` if it has run before."""
        page = self.pages.get(pc & -PAGE_SIZE)
        if page is None or not page.executed[pc % PAGE_SIZE >> 1]:
            return None
        return 4 if page.code[pc % PAGE_SIZE] & 3 == 3 else 2

    def _half(self, pc: int) -> int | None:
        page, at = self.pages.get(pc & -PAGE_SIZE), pc % PAGE_SIZE
        return None if page is None else int.from_bytes(page.code[at : at + 2], "little")

    def bytes_at(self, pc: int, size: int) -> bytes:
        """`size` bytes of code, which may cross pages."""
        data = b""
        while size:
            at = pc % PAGE_SIZE
            piece = self.pages[pc - at].code[at : at + size]
            data, pc, size = data + piece, pc + len(piece), size - len(piece)
        return data


def is_translatable(found: Decoded) -> bool:
    """Whether translations execute it: what concerns the hart as a whole (CSRs, traps, tensors) is
    left to the interpreter, and so is arithmetic that does not round as the host's is set to."""
    for step in found.insn.steps:
        if step.op == "system":
            return False
        if step.op == "fp":
            name, rm = str(step.args[0]), step.args[1]
            if name not in HOST_FLOATS:
                return False
            if rm is not None and not rounds_as_host(name, found.rm):
                return False
    return True
