"""The decoder, emitted: from an instruction word to a handler's number and a filled record.

The choice of the instruction is `emu.isa.decode.TREE`, emitted. Operands are then extracted per
*format*: instructions whose operands stand in the same bits share the code.
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu.native.handler import BYTE, LONG, PTR, WORD
from emu.cpu.native.layout import OFFSETS, Handler
from emu.cpu.native.records import Format, format_of
from emu.cpu.state import X_SINK
from emu.isa.declare import Instruction, Pattern
from emu.isa.decode import TREE, Switch, Tree
from emu.isa.encoding import Field

IDENTIFY = ir.FunctionType(WORD, [WORD])
FILL = ir.FunctionType(ir.VoidType(), [PTR, WORD, WORD])


def emit_identify(module: ir.Module, handlers: dict[Instruction, int]) -> ir.Function:
    """`identify(word) -> number of the handler`, for a word of either length."""
    function = ir.Function(module, IDENTIFY, "identify")
    function.linkage = "internal"
    b = ir.IRBuilder(function.append_basic_block())
    _Tree(b, handlers).emit(TREE)
    return function


class _Tree:
    """Emits a reading of `emu.isa.decode.TREE`; each path ends in a return."""

    def __init__(self, builder: ir.IRBuilder, handlers: dict[Instruction, int]) -> None:
        self._b, self._handlers = builder, handlers
        self._word = builder.function.args[0]

    def emit(self, tree: Tree) -> None:
        """Go on from where the builder stands with what is left of the tree."""
        if isinstance(tree, Switch):
            self._switch(tree)
        else:
            for candidate in tree.candidates:
                self._try(candidate)
            self._b.ret(_word(Handler.SLOW))

    def _switch(self, tree: Switch) -> None:
        b = self._b
        otherwise = b.append_basic_block()
        bits = b.and_(b.lshr(self._word, _word(tree.low)), _word((1 << tree.width) - 1))
        switch = b.switch(bits, otherwise)
        for value, rest in tree.cases.items():
            block = b.append_basic_block()
            switch.add_case(_word(value), block)
            b.position_at_end(block)
            self.emit(rest)
        b.position_at_end(otherwise)
        b.ret(_word(Handler.SLOW))

    def _try(self, candidate: Instruction) -> None:
        b = self._b
        found = self._has(candidate.pattern)
        for excluded in candidate.exclusions:
            found = b.and_(found, b.not_(self._has(excluded)))
        hit, miss = b.append_basic_block(), b.append_basic_block()
        b.cbranch(found, hit, miss)
        b.position_at_end(hit)
        b.ret(_word(self._handlers[candidate]))
        b.position_at_end(miss)

    def _has(self, pattern: Pattern) -> ir.Value:
        masked = self._b.and_(self._word, _word(pattern.mask))
        return self._b.icmp_unsigned("==", masked, _word(pattern.match))


def emit_fill(module: ir.Module, handlers: dict[Instruction, int]) -> ir.Function:
    """`fill(record, word, handler)`: write the operands, but not the handler's number."""
    function = ir.Function(module, FILL, "fill")
    function.linkage = "internal"
    record, word, number = function.args
    b = ir.IRBuilder(function.append_basic_block())
    formats: dict[Format, list[int]] = {}
    for instruction, handler in handlers.items():
        if handler != Handler.SLOW:
            formats.setdefault(format_of(instruction), []).append(handler)
    otherwise = b.append_basic_block()
    switch = b.switch(number, otherwise)
    for shape, numbers in formats.items():
        block = b.append_basic_block()
        for n in numbers:
            switch.add_case(_word(n), block)
        b.position_at_end(block)
        for slot, field in shape.fields:
            _store_operand(b, record, slot, _extract(b, word, field), slot in shape.written)
        b.ret_void()
    b.position_at_end(otherwise)
    b.ret_void()
    return function


def _extract(b: ir.IRBuilder, word: ir.Value, field: Field) -> ir.Value:
    """The operand in a word, 32 bits: what `Field.extract` does, emitted."""
    value = _word(0)
    for piece in field.pieces:
        bits = b.and_(b.lshr(word, _word(piece.low)), _word((1 << piece.width) - 1))
        value = b.or_(value, b.shl(bits, _word(piece.field_low)))
    if field.primed:
        value = b.add(value, _word(8))
    if field.signed and field.top < 32:
        shift = _word(32 - field.top)
        value = b.ashr(b.shl(value, shift), shift)
    return value


def _store_operand(
    b: ir.IRBuilder, record: ir.Value, slot: str, value: ir.Value, is_written: bool
) -> None:
    if is_written:
        value = b.select(b.icmp_unsigned("==", value, _word(0)), _word(X_SINK), value)
    value = b.sext(value, LONG) if slot == "imm" else b.trunc(value, BYTE)
    at = b.gep(record, [ir.Constant(LONG, OFFSETS[slot])], source_etype=BYTE)
    b.store(value, at)


def _word(value: int) -> ir.Constant:
    return ir.Constant(WORD, value)
