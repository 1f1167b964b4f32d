"""One instruction inside a region: the readings of the interpreter, other places for what they use.

Operands are constants, registers are the region's variables, memory goes through the window, and to
bail is to leave the region in front of the instruction, with all registers written back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from llvmlite import ir

from emu.cpu.native.handler import PTR, Frame, i64
from emu.cpu.native.layout import Handler
from emu.cpu.state import Dirty, Exit
from emu.isa.decode import Decoded

if TYPE_CHECKING:
    from emu.cpu.native.translate.emit import Writer


class RegionFrame(Frame):
    """The instruction `found` at `address`, the last of its block but `behind`."""

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
        """Do `action` where the address lies: in a span that has been looked up, or in the window,
        or where it is found to be."""

        def act(pointer: ir.Value) -> ir.Value | None:
            result = action(pointer)
            self.builder.block.instructions[-1].set_metadata("tbaa", self.writer.guest_memory)
            return result

        pc, number = self.pc.constant, self._accesses
        self._accesses += 1
        if self.writer.is_sure(pc, number):
            return act(self.at(self.writer.window, self.writer.window_offset(address)))
        known = self.writer.span_of(pc, number)
        if known is None:
            return self._access_alone(address, size, miss, act)
        span, distance = known
        if span not in self.writer.pointers:
            start = self.builder.sub(address, i64(distance))
            miss = Exit.STORE_MISS if span.stores else miss
            self.writer.pointers[span] = self._look_up(start, span.width, miss)
        return act(self.at(self.writer.pointers[span], i64(distance)))

    def _look_up(self, start: ir.Value, width: int, miss: Exit) -> ir.Value:
        """The host's pointer to `width` bytes that one access each is made to."""
        b = self.builder
        near, far, done, inside = self._ways(start, width)
        b.position_at_end(near)
        first = inside
        b.branch(done)
        b.position_at_end(far)
        where = self._find(start, width, miss, is_certain=False)  # may leave before the others
        second = b.inttoptr(where, PTR)
        far = b.block
        b.branch(done)
        b.position_at_end(done)
        pointer = b.phi(PTR)
        pointer.add_incoming(first, near)
        pointer.add_incoming(second, far)
        return pointer

    def _access_alone(
        self,
        address: ir.Value,
        size: int,
        miss: Exit,
        action: Callable[[ir.Value], ir.Value | None],
    ) -> ir.Value | None:
        """The access is emitted once for each way, so that the usual one has no jump behind it."""
        b = self.builder
        near, far, done, inside = self._ways(address, size)
        b.position_at_end(near)
        first = action(inside)
        near = b.block
        b.branch(done)
        b.position_at_end(far)
        second = action(b.inttoptr(self._find(address, size, miss, is_certain=True), PTR))
        far = b.block
        b.branch(done)
        b.position_at_end(done)
        if first is None or second is None:
            return None
        result = b.phi(first.type)
        result.add_incoming(first, near)
        result.add_incoming(second, far)
        return result

    def _ways(self, start: ir.Value, width: int) -> tuple[ir.Block, ir.Block, ir.Block, ir.Value]:
        """Go to the first block if so many bytes are in the window, else to the second; the third
        is for what follows. Gives the pointer into the window, too."""
        b = self.builder
        near, far, done = (b.append_basic_block(n) for n in ("window", "far", "done"))
        offset, limit = self.writer.window_offset(start), self.writer.limit(width)
        inside = self.at(self.writer.window, offset)
        b.cbranch(b.icmp_unsigned("<", offset, limit), near, far).set_weights([100000, 1])
        return near, far, done, inside

    def _find(self, start: ir.Value, width: int, miss: Exit, is_certain: bool) -> ir.Value:
        where = self.writer.find(miss, start, width, is_certain)
        self.bail_if(self.builder.icmp_unsigned("==", where, i64(0)))
        return where
