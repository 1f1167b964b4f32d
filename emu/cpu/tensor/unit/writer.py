"""A few words for writing LLVM functions that handle words in memory.

Variables are stack slots: the optimiser makes registers of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from emu.cpu.jit import host_architecture

I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
POINTER = ir.PointerType()
VOID = ir.VoidType()
Value = Any
"""An llvmlite value."""


def i64(value: int) -> Value:
    """A 64-bit constant."""
    return ir.Constant(I64, value)


class Writer:
    """One function being written; `b` is llvmlite's builder, `args` the function's arguments."""

    def __init__(
        self, module: ir.Module, name: str, result: Any, arguments: Sequence[Any], *, public: bool
    ) -> None:
        self.module = module
        self.function = ir.Function(module, ir.FunctionType(result, arguments), name)
        self.function.attributes.add("nounwind")
        if not public:
            self.function.linkage = "internal"
        self.args = self.function.args
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))

    def at(self, base: Value, offset: Value | int) -> Value:
        """The pointer `offset` bytes behind `base`."""
        offset = i64(offset) if isinstance(offset, int) else offset
        return self.b.gep(base, [offset], source_etype=I8)

    def load(self, base: Value, offset: Value | int = 0, type_: Any = I64) -> Value:
        """A word, or something else, in memory; of any alignment."""
        return self.b.load(self.at(base, offset), typ=type_, align=8 if type_ == I64 else 1)

    def store(self, value: Value, base: Value, offset: Value | int = 0) -> None:
        """Write a value of any type to memory."""
        align = 8 if value.type == I64 else 1
        self.b.store(value, self.at(base, offset), align=align)

    def pointer(self, base: Value, offset: Value | int = 0) -> Value:
        """The pointer that a word in memory is."""
        return self.b.inttoptr(self.load(base, offset), POINTER)

    def local(self, type_: Any, count: int = 1) -> Value:
        """A variable, or an array of `count`."""
        with self.b.goto_entry_block():
            place = self.b.alloca(type_ if count == 1 else ir.ArrayType(type_, count))
        place.type = POINTER  # llvmlite still gives it the type of a typed pointer
        return place

    def variable(self, initial: Value) -> Value:
        """A variable with a value."""
        place = self.local(initial.type)
        self.b.store(initial, place)
        return place

    def is_zero(self, value: Value) -> Value:
        return self.b.icmp_unsigned("==", value, ir.Constant(value.type, 0))

    def is_set(self, value: Value) -> Value:
        return self.b.icmp_unsigned("!=", value, ir.Constant(value.type, 0))

    @contextmanager
    def loop(self, count: Value) -> Iterator[Value]:
        """for (index = 0; index < count; index++), unsigned."""
        before = self.b.block
        head, body, after = (self.function.append_basic_block(n) for n in ("head", "do", "done"))
        self.b.branch(head)
        self.b.position_at_end(head)
        index = self.b.phi(I64)
        self.b.cbranch(self.b.icmp_unsigned("<", index, count), body, after)
        self.b.position_at_end(body)
        yield index
        index.add_incoming(i64(0), before)
        index.add_incoming(self.b.add(index, i64(1)), self.b.block)
        self.b.branch(head)
        self.b.position_at_end(after)

    @contextmanager
    def forever(self) -> Iterator[Value]:
        """A loop that only `leave` ends: gives the block to go to for that."""
        body, after = (self.function.append_basic_block(n) for n in ("again", "left"))
        self.b.branch(body)
        self.b.position_at_end(body)
        yield after
        self.b.branch(body)
        self.b.position_at_end(after)

    def leave_if(self, condition: Value, to: Value, *, likely: bool = False) -> None:
        """Go to the block `to` when the condition holds."""
        rest = self.function.append_basic_block("rest")
        branch = self.b.cbranch(condition, to, rest)
        if not likely:
            branch.set_weights([1, 1000])
        self.b.position_at_end(rest)

    def call(self, name: str, result: Any, *values: Value) -> Value:
        """Call a function of this module, an intrinsic, or one of the host's C library."""
        function = self.module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(result, [v.type for v in values])
            function = ir.Function(self.module, kind, name)
        return self.b.call(function, values)

    def pause(self) -> None:
        """Tell the processor that this is a loop that waits."""
        match host_architecture():
            case "x86_64":
                self.call("llvm.x86.sse2.pause", VOID)
            case "aarch64" | "arm64":
                self.call("llvm.aarch64.hint", VOID, ir.Constant(I32, 1))

    def atomic(self, base: Value, offset: int) -> Value:
        """A word that other threads write."""
        return self.b.load_atomic(self.at(base, offset), "seq_cst", 8, typ=I64)

    def publish(self, value: Value, base: Value, offset: int) -> None:
        """Write a word that other threads read."""
        self.b.atomic_rmw("xchg", self.at(base, offset), value, "seq_cst")

    def add_atomic(self, base: Value, offset: int, value: int) -> None:
        """Add to a word that other threads change too."""
        self.b.atomic_rmw("add", self.at(base, offset), i64(value), "seq_cst")

    def exchange(self, base: Value, offset: int, old: Value, new: Value) -> Value:
        """Replace `old` by `new`; an i1, whether it was `old`."""
        both = self.b.cmpxchg(self.at(base, offset), old, new, "seq_cst", "seq_cst")
        return self.b.extract_value(both, 1)
