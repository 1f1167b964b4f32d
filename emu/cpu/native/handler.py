"""One handler: the function that executes one instruction and jumps to the next one's handler.

Every handler has the same signature, passed in registers from one to the next by a tail call:
the state block, the instruction's decoded record, its pc, the number of instructions that may
still be executed (this one included, never 0) and the table of handlers. Nothing returns until an
exit is taken, so those five stay in registers and the host's branch predictor sees a separate
indirect jump behind every instruction.

`bail_if` is the only way out in the middle. It leaves the instruction unexecuted and uncounted, so
it must come before the first effect; the order of a graph's steps guarantees that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from llvmlite import ir

from emu.cpu.jit import host_architecture
from emu.cpu.native.layout import OFFSETS, RECORD_SCALE
from emu.cpu.state import PAGE_BITS, PAGE_SIZE, TLB_ENTRIES, Exit, State
from emu.cpu.state import WORD as WORD_SIZE
from emu.isa.graph import Node

BIT, BYTE, HALF, WORD, LONG = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
PTR = ir.PointerType()
HANDLER = ir.FunctionType(ir.VoidType(), [PTR, PTR, LONG, LONG, PTR])

CONVENTION = "preserve_nonecc" if host_architecture() in ("x86_64", "aarch64") else "tailcc"
"""Leaves nearly all registers to the callee, so that a handler never saves one."""


_ENTRY_BITS = {
    buffer: (getattr(State, buffer).count // TLB_ENTRIES * WORD_SIZE).bit_length() - 1
    for buffer in ("fetch_tlb", "load_tlb", "store_tlb")
}
"""The sizes of the buffers' entries in bytes, as powers of two."""


def i64(value: int) -> ir.Constant:
    """A 64-bit constant."""
    return ir.Constant(LONG, value)


@dataclass
class Frame:
    """The handler being emitted: its function, where we are in it, what is known so far."""

    function: ir.Function
    length: int
    values: dict[int, ir.Value] = field(default_factory=dict)
    """Of nodes that have been evaluated, by the nodes' identity."""
    after: list[Callable[[], None]] = field(default_factory=list)
    """What is emitted behind the steps, when nothing can bail any more."""
    jump: ir.Value | None = None
    """Where the instruction jumps."""
    branch: tuple[ir.Value, ir.Value] | None = None
    """Whether it branches, and where to."""
    pause: ir.Value | None = None
    """Whether the machine must look at the hart behind it."""
    end: Callable[[], None] | None = None
    """What ends the handler in place of going on at the next instruction."""
    rounds_statically: ClassVar[bool] = False
    """Whether rounding modes were looked at before the code was made."""
    _slow: ir.Block | None = None
    _operands: dict[str, ir.Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.function.calling_convention = CONVENTION
        self.function.attributes.add("nounwind")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.state, self.record, self.pc, self.count, self.table = self.function.args

    @property
    def module(self) -> ir.Module:
        """What the function is part of."""
        return self.function.module

    # What the state block and the record hold

    def place(self, name: str, index: ir.Value | None = None) -> ir.Value:
        """Address of a member of the state block, or of one of its words."""
        offset = i64(State.offset(name))
        if index is not None:
            offset = self.builder.add(self.builder.shl(index, i64(3)), offset)
        return self.at(self.state, offset)

    def at(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        """The pointer `offset` bytes behind `base`."""
        return self.builder.gep(base, [offset], source_etype=BYTE)

    def load(self, name: str, index: ir.Value | None = None) -> ir.Value:
        """A word of the state block."""
        return self.builder.load(self.place(name, index), typ=LONG)

    def store(self, name: str, value: ir.Value, index: ir.Value | None = None) -> None:
        """Write a word of the state block."""
        self.builder.store(value, self.place(name, index))

    def operand(self, slot: str) -> ir.Value:
        """A slot of the decoded instruction, 64 bits."""
        if slot == "length":
            return i64(self.length)
        if slot not in self._operands:
            at = self.at(self.record, i64(OFFSETS[slot]))
            value = self.builder.load(at, typ=LONG if slot == "imm" else BYTE)
            self._operands[slot] = self.builder.zext(value, LONG) if slot != "imm" else value
        return self._operands[slot]

    # Ways out

    def call(self, name: str, record: ir.Value, pc: ir.Value, count: ir.Value) -> None:
        """End the block with a tail call of another handler."""
        target = self.module.globals.get(name)
        if target is None:
            target = ir.Function(self.module, HANDLER, name)
            target.calling_convention = CONVENTION
        self.tail(target, record, pc, count)

    def tail(self, target: ir.Value, record: ir.Value, pc: ir.Value, count: ir.Value) -> None:
        """End the block with a tail call of the handler at the address `target`."""
        arguments = [self.state, record, pc, count, self.table]
        self.builder.call(target, arguments, cconv=CONVENTION, tail="musttail")
        self.builder.ret_void()

    def leave(self, why: Exit, info: ir.Value | None = None) -> None:
        """End the block by returning to Python with this instruction still to be executed."""
        where = self.record if info is None else self.builder.inttoptr(info, PTR)
        self.call(f"exit_{why.name.lower()}", where, self.pc, self.count)

    def bail_if(
        self, condition: ir.Value, why: Exit = Exit.SLOW, info: ir.Value | None = None
    ) -> None:
        """Leave when the 1-bit `condition` holds; what follows is emitted for when it does not."""
        block = self._slow if info is None and why is Exit.SLOW else None
        if block is None:
            block = self.function.append_basic_block("bail")
            here = self.builder.block
            self.builder.position_at_end(block)
            self.leave(why, info)
            self.builder.position_at_end(here)
            if info is None and why is Exit.SLOW:
                self._slow = block
        rest = self.function.append_basic_block("rest")
        self.builder.cbranch(condition, block, rest).set_weights([1, 100000])
        self.builder.position_at_end(rest)

    def dispatch(self, record: ir.Value, pc: ir.Value, count: ir.Value) -> None:
        """End the block by executing the instruction that `record` describes."""
        number = self.builder.zext(self.builder.load(record, typ=HALF), LONG)
        entry = self.at(self.table, self.builder.shl(number, i64(3)))
        self.tail(self.builder.load(entry, typ=HANDLER.as_pointer()), record, pc, count)

    def next(self) -> None:
        """End the block: this instruction has retired, go on behind it."""
        record = self.at(self.record, i64(self.length * RECORD_SCALE))
        self._go(record, self.builder.add(self.pc, i64(self.length)))

    def goto(self, target: ir.Value) -> None:
        """End the block: this instruction has retired, go on at `target`."""
        b = self.builder
        near = self.function.append_basic_block("near")
        far = self.function.append_basic_block("far")
        b.cbranch(
            b.icmp_unsigned("<", b.xor(target, self.pc), i64(PAGE_SIZE)), near, far
        ).set_weights([100, 1])
        b.position_at_end(far)
        self.call("enter", self.record, target, b.sub(self.count, i64(1)))
        b.position_at_end(near)
        distance = b.mul(b.sub(target, self.pc), i64(RECORD_SCALE))
        self._go(self.at(self.record, distance), target)

    def _go(self, record: ir.Value, pc: ir.Value) -> None:
        """Count the instruction and go on inside the page, unless the budget is used up or the
        instruction asks for a `pause`: the same exit, with budget left."""
        b = self.builder
        count = b.sub(self.count, i64(1))
        done = self.function.append_basic_block("done")
        more = self.function.append_basic_block("more")
        ends = b.icmp_unsigned("==", count, i64(0))
        if self.pause is not None:
            ends = b.or_(ends, self.pause)
        b.cbranch(ends, done, more).set_weights([1, 100000])
        b.position_at_end(done)
        self.call("exit_budget", record, pc, count)
        b.position_at_end(more)
        self.dispatch(record, pc, count)

    # Guest memory

    def access(
        self,
        address: ir.Value,
        size: int,
        buffer: str,
        miss: Exit,
        action: Callable[[ir.Value], ir.Value | None],
    ) -> ir.Value | None:
        """Do `action` with the host pointer of `size` bytes at a virtual address, or bail; gives
        what it gives."""
        return action(self.translate(address, size, buffer, miss))

    def translate(self, address: ir.Value, size: int, buffer: str, miss: Exit) -> ir.Value:
        """Host pointer of `size` bytes at a virtual address, or bail.

        The tag is compared with the page of the *last* byte, while the entry is that of the first
        one's page: an access that crosses into the next page misses.
        """
        b = self.builder
        entry = self.buffer_entry(address, buffer)
        last = b.add(address, i64(size - 1)) if size > 1 else address
        key = b.or_(b.and_(last, i64(-PAGE_SIZE)), self.load("data_context"))
        self.bail_if(b.icmp_unsigned("!=", b.load(entry, typ=LONG), key), miss, address)
        addend = b.load(self.at(entry, i64(8)), typ=LONG)
        return b.inttoptr(b.add(address, addend), PTR)

    def buffer_entry(self, address: ir.Value, buffer: str) -> ir.Value:
        """The entry of a translation buffer in which the page of an address would be."""
        b, bits = self.builder, _ENTRY_BITS[buffer]
        index = b.and_(b.lshr(address, i64(PAGE_BITS)), i64(TLB_ENTRIES - 1))
        return self.at(self.state, b.add(b.shl(index, i64(bits)), i64(State.offset(buffer))))

    def fetch_entry(self, pc: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Whether `pc`'s page is in the fetch buffer (1 bit), and its entry."""
        b = self.builder
        entry = self.buffer_entry(pc, "fetch_tlb")
        key = b.or_(b.and_(pc, i64(-PAGE_SIZE)), self.load("fetch_context"))
        return b.icmp_unsigned("==", b.load(entry, typ=LONG), key, name="is_hit"), entry

    def record_at(self, pc: ir.Value, entry: ir.Value) -> ir.Value:
        """The record of the instruction at `pc`, by the entry of its page in the fetch buffer."""
        b = self.builder
        addend = b.load(self.at(entry, i64(8)), typ=LONG)
        return b.inttoptr(b.add(b.mul(pc, i64(RECORD_SCALE)), addend), PTR)


def width_of(node: Node) -> ir.IntType:
    """The LLVM type of a node's value."""
    return ir.IntType(node.width)
