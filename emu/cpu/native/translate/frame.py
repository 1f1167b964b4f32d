"""One instruction inside a region: the readings of the interpreter, other places for what they use.

Operands are constants, registers are the region's variables, memory goes through the window, and to
bail is to leave the region in front of the instruction, with all registers written back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from llvmlite import ir

from emu.cpu.native.handler import Frame, i64
from emu.cpu.native.layout import Handler
from emu.cpu.state import Dirty, Exit
from emu.isa.decode import Decoded

if TYPE_CHECKING:
    from emu.cpu.native.translate.emit import Writer


class RegionFrame(Frame):
    """The instruction `found` at `address`. When it is left, `behind` instructions of its block are
    not executed: itself and those behind it."""

    rounds_statically: ClassVar[bool] = True

    def __init__(self, writer: Writer, address: int, found: Decoded, behind: int) -> None:
        self.writer, self.found, self.behind = writer, found, behind
        self.function, self.builder = writer.function, writer.builder
        self.state, self.length = writer.state, found.insn.length
        self.pc = i64(address)
        self.values, self.after = {}, []
        self._accesses = 0
        self.jump = self.branch = self.pause = None

    def operand(self, slot: str) -> ir.Value:
        """A slot of the decoded instruction: a constant."""
        return i64(int(getattr(self.found, slot)) & (1 << 64) - 1)

    def load(self, name: str, index: ir.Value | None = None) -> ir.Value:
        """A word of the state block; registers are variables, and FS was looked at on entry."""
        if name == "fs":
            return i64(Dirty.DIRTY)
        if index is None:
            return super().load(name)
        return self.writer.read(name, index.constant)

    def store(self, name: str, value: ir.Value, index: ir.Value | None = None) -> None:
        """Write a word of the state block, or a register's variable."""
        if index is None:
            super().store(name, value)
        else:
            self.writer.write(name, index.constant, value)

    def bail_if(
        self, condition: ir.Value, why: Exit = Exit.SLOW, info: ir.Value | None = None
    ) -> None:
        """Leave in front of this instruction when `condition` holds; its handler finds out why."""
        b = self.builder
        out, rest = b.append_basic_block("bail"), b.append_basic_block("rest")
        b.cbranch(condition, out, rest).set_weights([1, 100000])
        b.position_at_end(out)
        self.writer.leave(Handler.ALONE, self.pc, self.behind)
        b.position_at_end(rest)

    def access(
        self,
        address: ir.Value,
        size: int,
        buffer: str,
        miss: Exit,
        action: Callable[[ir.Value], ir.Value | None],
    ) -> ir.Value | None:
        """Do `action` where the address lies."""
        key = self.pc.constant, self._accesses
        self._accesses += 1
        return self.writer.memory.access(self, key, address, size, miss, action)
