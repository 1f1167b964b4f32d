"""How the instructions of a region reach the guest's memory.

The usual access takes a comparison. Where the data context has a *window*, one large piece of
memory that may be read and written, it is one with the window's size; where it has none, because
memory is mapped page by page, it is one with an entry of the load or store buffer. Whatever fails
that is looked for by a function, and left to the interpreter if that does not find it either.

Two things save comparisons: accesses of a block that lie near each other are a span, which is
looked up once (`spans`), and loops that a guard stands in front of need none (`loops`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from llvmlite import ir

from emu.cpu.native.handler import BYTE, LONG, PTR, Frame, i64
from emu.cpu.native.layout import FIND, WINDOW_SIZE, WindowWord
from emu.cpu.native.refill import FINDER
from emu.cpu.native.translate.loops import Loop
from emu.cpu.native.translate.region import Region
from emu.cpu.native.translate.spans import Span, spans
from emu.cpu.native.walk import CALLER_KEEPS_NOTHING
from emu.cpu.state import PAGE_SIZE, WINDOWS, Exit, State

if TYPE_CHECKING:
    from emu.cpu.native.translate.emit import Writer

Action = Callable[[ir.Value], ir.Value | None]
"""Emits an access by way of a host pointer; gives what was loaded."""

_AT_END = 8
"""Bytes that can be accessed at the end of a window, as `WindowWord.LIMIT` has it."""

_BUFFERS = {Exit.LOAD_MISS: "load_tlb", Exit.STORE_MISS: "store_tlb"}
_SELDOM = (1, 100_000)


class Memory:
    """The accesses of the region that a `Writer` writes. The window is expected at the virtual
    address `window_start`; 0 stands for none."""

    def __init__(
        self, writer: Writer, region: Region, loops: Iterable[Loop], window_start: int
    ) -> None:
        self._writer, self._builder, self._start = writer, writer.builder, window_start
        self._spans = {
            member: span
            for block in region.blocks.values()
            for span in spans(block.instructions)
            for member in span.members
        }
        self._widths = {span.width for span in self._spans.values()}
        self._widths |= {high - low for loop in loops for low, high in loop.reach.values()}
        self._limits: dict[int, ir.Value] = {}
        self._pointers: dict[Span, ir.Value] = {}
        self.guard: Loop | None = None
        """The loop whose guarded copy is being written."""

    def open(self) -> None:
        """In the prologue: load what accesses are compared with."""
        b, state = self._builder, self._writer.state
        self._context = b.load(self._at(state, i64(State.offset("data_context"))), typ=LONG)
        if not self._start:
            return
        place = b.mul(b.and_(self._context, i64(WINDOWS - 1)), i64(WINDOW_SIZE))
        window = self._at(state, b.add(place, i64(State.offset("windows"))))
        context, start, limit, host = (self._word(window, word) for word in WindowWord)
        fits = b.and_(
            b.icmp_unsigned("==", context, self._context),
            b.icmp_unsigned("==", start, i64(self._start)),
        )
        limit = b.select(fits, limit, i64(0), name="limit")
        self._window = b.inttoptr(host, PTR, name="window")
        signature = ir.FunctionType(LONG, [LONG, LONG])
        subtract = self._writer.module.declare_intrinsic("llvm.usub.sat", [LONG], signature)
        for width in sorted({_AT_END, *map(_rounded, self._widths)}):
            self._limits[width] = b.call(subtract, [limit, i64(width - _AT_END)])

    def start_block(self) -> None:
        """What has been looked up holds no longer."""
        self._pointers.clear()

    def in_window(self, start: ir.Value, width: int) -> ir.Value:
        """Whether so many bytes from an address on are in the window (1 bit)."""
        offset = self._builder.sub(start, i64(self._start))
        return self._builder.icmp_unsigned("<", offset, self._limits[_rounded(width)])

    def access(
        self,
        frame: Frame,
        key: tuple[int, int],
        address: ir.Value,
        size: int,
        miss: Exit,
        action: Action,
    ) -> ir.Value | None:
        """Emit an access of `size` bytes at an address, named by `key` as in `Span.members`; `miss`
        says whether it loads or stores. Gives what `action` does."""

        def act(pointer: ir.Value) -> ir.Value | None:
            result = action(pointer)
            self._builder.block.instructions[-1].set_metadata("tbaa", self._writer.guest_memory)
            return result

        if self.guard is not None and key in self.guard.sure:
            return act(self._inside(address))
        span = self._spans.get(key)
        if span is None:
            return self._either(frame, address, size, miss, True, act)
        distance = span.members[key]
        if span not in self._pointers:
            start = self._builder.sub(address, i64(distance))
            miss = Exit.STORE_MISS if span.stores else miss
            pointer = self._either(frame, start, span.width, miss, False, lambda pointer: pointer)
            assert pointer is not None
            self._pointers[span] = pointer
        return act(self._at(self._pointers[span], i64(distance)))

    def _either(
        self,
        frame: Frame,
        start: ir.Value,
        width: int,
        miss: Exit,
        is_certain: bool,
        action: Action,
    ) -> ir.Value | None:
        """Do `action` with the pointer to `width` bytes, on each of the two ways to it: the usual
        one, and that of what must be looked for. `is_certain` that they are all accessed now."""
        b = self._builder
        near, far, done = (b.append_basic_block(name) for name in ("near", "far", "done"))
        is_near, pointer = self._usual(frame, start, width, miss)
        b.cbranch(is_near, near, far).set_weights(_SELDOM[::-1])
        b.position_at_end(near)
        first = action(pointer)
        near = b.block
        b.branch(done)
        b.position_at_end(far)
        found = self._find(start, width, miss, is_certain)
        frame.bail_if(b.icmp_unsigned("==", found, i64(0)))
        second = action(b.inttoptr(found, PTR))
        far = b.block
        b.branch(done)
        b.position_at_end(done)
        if first is None or second is None:
            return None
        result = b.phi(first.type)
        result.add_incoming(first, near)
        result.add_incoming(second, far)
        return result

    def _usual(
        self, frame: Frame, start: ir.Value, width: int, miss: Exit
    ) -> tuple[ir.Value, ir.Value]:
        """Whether memory is where it usually is (1 bit), and the pointer to it there."""
        if self._start:
            return self.in_window(start, width), self._inside(start)
        b = self._builder
        entry = frame.buffer_entry(start, _BUFFERS[miss])
        last = b.add(start, i64(width - 1)) if width > 1 else start
        key = b.or_(b.and_(last, i64(-PAGE_SIZE)), self._context)
        is_there = b.icmp_unsigned("==", self._word(entry, 0), key)
        return is_there, b.inttoptr(b.add(start, self._word(entry, 1)), PTR)

    def _inside(self, address: ir.Value) -> ir.Value:
        return self._at(self._window, self._builder.sub(address, i64(self._start)))

    def _find(self, start: ir.Value, width: int, miss: Exit, is_certain: bool) -> ir.Value:
        """The host address of memory outside the window, or 0: a call that keeps all registers.
        Where it `is_certain` that all of it is accessed now, page tables are marked."""
        b, writer = self._builder, self._writer
        finder = b.load(self._at(writer.table, i64(8 * FIND[miss])), typ=FINDER.as_pointer())
        arguments = [writer.state, start, i64(width), i64(int(is_certain))]
        return b.call(finder, arguments, cconv=CALLER_KEEPS_NOTHING)

    def _at(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        return self._builder.gep(base, [offset], source_etype=BYTE)

    def _word(self, base: ir.Value, index: int) -> ir.Value:
        return self._builder.load(self._at(base, i64(8 * index)), typ=LONG)


def _rounded(width: int) -> int:
    """Widths that are told apart: few, for each has a limit that takes a register or a load."""
    return max(_AT_END, 1 << (width - 1).bit_length())
