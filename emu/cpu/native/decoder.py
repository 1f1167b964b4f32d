"""The decoder, emitted: from an instruction word to a handler's number and a filled record.

The choice of the instruction is a walk through `emu.isa.decode.TREE`, as constants. Operands are
then extracted per *format*: instructions whose operands stand in the same bits share the code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from llvmlite import ir

from emu.cpu.native.handler import BYTE, LONG, PTR, WORD
from emu.cpu.native.layout import OFFSETS, Handler
from emu.cpu.native.records import Format, format_of
from emu.cpu.state import X_SINK
from emu.isa.declare import Instruction
from emu.isa.decode import TREE, Switch, Tree
from emu.isa.encoding import Field

IDENTIFY = ir.FunctionType(WORD, [WORD])
FILL = ir.FunctionType(ir.VoidType(), [PTR, WORD, WORD])


def emit_identify(module: ir.Module, handlers: dict[Instruction, int]) -> ir.Function:
    """`identify(word) -> number of the handler`, for a word of either length: a walk through
    `_Rows`, for a thousand branches would take LLVM longer than all handlers of integers."""
    rows = _Rows(handlers)
    switches = _constants(module, "switches", rows.switches)
    candidates = _constants(module, "candidates", rows.candidates)
    function = ir.Function(module, IDENTIFY, "identify")
    function.linkage = "internal"
    (word,) = function.args
    entry, node, step, leaf, test, found = (
        function.append_basic_block(n) for n in ("entry", "node", "step", "leaf", "test", "found")
    )
    b = ir.IRBuilder(entry)
    b.branch(node)

    b.position_at_end(node)
    at = b.phi(WORD, "at")
    at.add_incoming(_word(rows.root), entry)
    b.cbranch(b.icmp_signed("<", at, _word(0)), leaf, step)

    b.position_at_end(step)
    low, mask = (_at(b, switches, b.add(at, _word(n))) for n in range(2))
    child = b.add(b.add(at, _word(2)), b.and_(b.lshr(word, low), mask))
    at.add_incoming(_at(b, switches, child), step)
    b.branch(node)

    b.position_at_end(leaf)
    first = b.not_(at)
    b.branch(test)
    b.position_at_end(test)
    row = b.phi(WORD, "row")
    number, *patterns = (_at(b, candidates, b.add(row, _word(n))) for n in range(_COLUMNS))
    fits = [
        b.icmp_unsigned("==", b.and_(word, mask), match)
        for mask, match in zip(patterns[::2], patterns[1::2], strict=True)
    ]
    row.add_incoming(first, leaf)
    row.add_incoming(b.add(row, _word(_COLUMNS)), test)
    excluded = b.or_(fits[1], fits[2])
    b.cbranch(b.and_(fits[0], b.not_(excluded)), found, test)
    b.position_at_end(found)
    b.ret(number)
    return function


_COLUMNS = 7
"""Of a candidate: a handler's number, then mask and match of the pattern and of two exclusions."""
_ANY, _NONE = (0, 0), (0, 1)  # the patterns that every word fits, and none


class _Rows:
    """`emu.isa.decode.TREE` as constants.

    A switch is at an index of `switches`: the bit to shift down to, the mask, then a word for each
    value. A word that leads to a switch is its index; one that leads to a leaf is the complement of
    the index in `candidates` of the leaf's first one, so negative. A leaf's last candidate is SLOW.
    """

    def __init__(self, handlers: dict[Instruction, int]) -> None:
        self._handlers = handlers
        self.switches: list[int] = []
        self.candidates: list[int] = []
        self._illegal = self._leaf(())
        self.root = self._row(TREE)

    def _row(self, tree: Tree) -> int:
        """Enter a tree; gives the word that leads to it."""
        if not isinstance(tree, Switch):
            return self._leaf(tree.candidates)
        children = [self._illegal] * (1 << tree.width)
        for value, rest in tree.cases.items():
            children[value] = self._row(rest)
        self.switches += [tree.low, len(children) - 1, *children]
        return len(self.switches) - len(children) - 2

    def _leaf(self, candidates: Iterable[Instruction]) -> int:
        first = len(self.candidates)
        for candidate in candidates:
            patterns = [candidate.pattern, *candidate.exclusions]
            self._candidate(self._handlers[candidate], *((p.mask, p.match) for p in patterns))
        self._candidate(Handler.SLOW, _ANY)
        return ~first

    def _candidate(self, number: int, *patterns: tuple[int, int]) -> None:
        """Enter a candidate: the pattern, and at most two exclusions."""
        three = [*patterns, _NONE, _NONE][:3]
        self.candidates += [number, *(word for pattern in three for word in pattern)]


def _constants(module: ir.Module, name: str, words: Sequence[int]) -> ir.GlobalVariable:
    """A constant array of the module's, as bytes: LLVM's parser takes those much sooner."""
    content = b"".join(word.to_bytes(4, sys.byteorder, signed=word < 0) for word in words)
    kind = ir.ArrayType(BYTE, len(content))
    variable = ir.GlobalVariable(module, kind, name)
    variable.linkage, variable.global_constant, variable.align = "internal", True, 4
    variable.initializer = ir.Constant(kind, bytearray(content))
    return variable


def _at(b: ir.IRBuilder, constants: ir.GlobalVariable, index: ir.Value) -> ir.Value:
    """The word at an index of `_constants`."""
    return b.load(b.gep(constants, [b.zext(index, LONG)], source_etype=WORD), typ=WORD)


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
