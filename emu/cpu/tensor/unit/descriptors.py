"""tld, tst, tmv, tget and tset, emitted.

Whatever would trap is left to the reference engine; so is memory that is not in the translation
buffers. A descriptor is aligned to its size, so it never crosses a page.
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu.native.layout import Done
from emu.cpu.native.tensor import ANSWER
from emu.cpu.state import PAGE_SIZE, TLB_ENTRIES, Dirty, State
from emu.cpu.tensor.descriptor import SIZE, Field
from emu.cpu.tensor.unit.writer import I8, I32, I64, POINTER, Value, Writer, i64

FORM = ir.VectorType(I64, SIZE // 8)
_DTYPE, _RANK, _DIMS, _STRIDES = 8, 9, 16, 48
_RESERVED = {8: 0xFFFF_FFFF_FFFF_0000, 112: -1, 120: -1}
"""The bits that must be zero, by the offset of their word."""


class Instruction(Writer):
    """A function that handlers call, with the state and three words; gives a `Done` and a value."""

    def __init__(self, module: ir.Module, name: str) -> None:
        super().__init__(module, name, ANSWER, [POINTER, I64, I64, I64], public=True)
        self.state, *self.words = self.args
        self.slow = self.function.append_basic_block("slow")
        off = self.is_zero(self.load(self.state, State.offset("xs")))
        self.leave_if(off, self.slow)

    def answer(self, done: Value, value: Value | None = None) -> None:
        """Return."""
        pair = ir.Constant(ANSWER, ir.Undefined)
        pair = self.b.insert_value(pair, done, 0)
        self.b.ret(self.b.insert_value(pair, i64(0) if value is None else value, 1))

    def retire(self, value: Value | None = None) -> None:
        """Return after the effect, and end the function."""
        self.store(i64(Dirty.DIRTY), self.state, State.offset("xs"))
        self.answer(i64(Done.RETIRED), value)
        self.b.position_at_end(self.slow)
        self.answer(i64(Done.SLOW))

    def register(self, number: Value) -> Value:
        """Where a tensor register is."""
        offset = self.b.mul(number, i64(SIZE))
        return self.at(self.state, self.b.add(offset, i64(State.offset("tr"))))

    def block(self, address: Value, buffer: str, miss: Done) -> Value:
        """Host pointer of an aligned block of `SIZE` bytes in guest memory."""
        b = self.b
        self.leave_if(self.is_set(b.and_(address, i64(SIZE - 1))), self.slow)
        index = b.and_(b.lshr(address, i64(12)), i64(TLB_ENTRIES - 1))
        entry = self.at(self.state, b.add(b.shl(index, i64(4)), i64(State.offset(buffer))))
        context = self.load(self.state, State.offset("data_context"))
        key = b.or_(b.and_(address, i64(-PAGE_SIZE)), context)
        missed, here = (self.function.append_basic_block(n) for n in ("missed", "here"))
        b.cbranch(b.icmp_unsigned("==", self.load(entry), key), here, missed)
        b.position_at_end(missed)
        self.answer(i64(miss), address)
        b.position_at_end(here)
        return b.inttoptr(b.add(address, self.load(entry, 8)), POINTER)


def write_descriptors(module: ir.Module) -> None:
    """Add the five functions to the module, named after the mnemonics."""
    _write_load(module)
    _write_store(module)
    _write_move(module)
    _write_get(module)
    _write_set(module)


def _write_load(module: ir.Module) -> None:
    w = Instruction(module, "tld")
    register, address, _ = w.words
    form = w.block(address, "load_tlb", Done.LOAD_MISS)
    bad = i64(0)
    for offset, mask in _RESERVED.items():
        bad = w.b.or_(bad, w.b.and_(w.load(form, offset), i64(mask)))
    w.leave_if(w.is_set(bad), w.slow)
    w.store(w.load(form, 0, FORM), w.register(register))
    w.retire()


def _write_store(module: ir.Module) -> None:
    w = Instruction(module, "tst")
    register, address, _ = w.words
    form = w.block(address, "store_tlb", Done.STORE_MISS)
    w.store(w.load(w.register(register), 0, FORM), form)
    w.retire()


def _write_move(module: ir.Module) -> None:
    w = Instruction(module, "tmv")
    target, source, _ = w.words
    w.store(w.load(w.register(source), 0, FORM), w.register(target))
    w.retire()


def _fields(w: Instruction, number: Value) -> dict[str, Value]:
    """Blocks for a field's kind, which the builder has left for one of them."""
    kinds = ("base", "dtype", "rank", "dim", "stride")
    blocks = {kind: w.function.append_basic_block(kind) for kind in kinds}
    switch = w.b.switch(number, w.slow)
    for kind, first, count in (
        ("base", Field.BASE, 1), ("dtype", Field.DTYPE, 1), ("rank", Field.RANK, 1),
        ("dim", Field.DIMS, Field.STRIDES - Field.DIMS),
        ("stride", Field.STRIDES, Field.END - Field.STRIDES),
    ):  # fmt: skip
        for i in range(count):
            switch.add_case(i64(first + i), blocks[kind])
    return blocks


def _place(w: Instruction, kind: str, number: Value) -> tuple[Value, ir.Type]:
    """Offset of a field in the descriptor, and its type."""
    b = w.b
    match kind:
        case "dim":
            index = b.sub(number, i64(Field.DIMS))
            return b.add(b.shl(index, i64(2)), i64(_DIMS)), I32
        case "stride":
            index = b.sub(number, i64(Field.STRIDES))
            return b.add(b.shl(index, i64(3)), i64(_STRIDES)), I64
    return {"base": (i64(0), I64), "dtype": (i64(_DTYPE), I8), "rank": (i64(_RANK), I8)}[kind]


def _write_get(module: ir.Module) -> None:
    w = Instruction(module, "tget")
    register, number, _ = w.words
    form, found = w.register(register), w.variable(i64(0))
    end = w.function.append_basic_block("end")
    for kind, block in _fields(w, number).items():
        w.b.position_at_end(block)
        offset, type_ = _place(w, kind, number)
        value = w.load(form, offset, type_)
        w.store(value if type_ == I64 else w.b.zext(value, I64), found)
        w.b.branch(end)
    w.b.position_at_end(end)
    w.retire(w.load(found))


def _write_set(module: ir.Module) -> None:
    w = Instruction(module, "tset")
    register, value, number = w.words
    form = w.register(register)
    end = w.function.append_basic_block("end")
    for kind, block in _fields(w, number).items():
        w.b.position_at_end(block)
        offset, type_ = _place(w, kind, number)
        w.store(value if type_ == I64 else w.b.trunc(value, type_), form, offset)
        w.b.branch(end)
    w.b.position_at_end(end)
    w.retire()
