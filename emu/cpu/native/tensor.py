"""Tensor instructions in the interpreter: a call of the tensor unit's native code, or a bail.

`emu.cpu.tensor.unit.issue` puts the unit's functions in place when a program first uses tensors;
until then, and whenever a function declines, the reference engine executes the instruction. All
functions have one signature: the state block and three words, whose meaning `_words` gives by
function; they answer with a `Done` and a value (a field that was read, an address that missed).
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from emu.cpu.native.handler import LONG, PTR, Frame, i64
from emu.cpu.native.layout import TENSOR_CALLS, TENSOR_NUMBERS, Done, TensorCall
from emu.cpu.state import Exit
from emu.isa.graph import Arg, Node

ANSWER = ir.LiteralStructType([LONG, LONG])
FUNCTION = ir.FunctionType(ANSWER, [PTR, LONG, LONG, LONG])

COUNT_SHIFT = 32
"""COMPUTE's first word: the instruction's number, and from this bit on how many tensors it names
(registers, one a byte of the second word). The third is the attribute block's address or 0."""

Operand = tuple[Arg, ir.Value]
"""An operand in the graph, which tells a register number from a value, and in LLVM."""


def emit_tensor(frame: Frame, mnemonic: str, operands: Sequence[Operand]) -> ir.Value:
    """Emit the call and the ways out; gives the answer's value."""
    b = frame.builder
    unit = frame.load("tensor_unit")
    frame.bail_if(b.icmp_unsigned("==", unit, i64(0)))
    call = TENSOR_CALLS.get(mnemonic, TensorCall.COMPUTE)
    place = frame.at(b.inttoptr(unit, PTR), i64(8 * call))
    function = b.load(place, typ=FUNCTION.as_pointer())
    answer = b.call(function, [frame.state, *_words(frame, mnemonic, call, operands)])
    done, result = b.extract_value(answer, 0), b.extract_value(answer, 1)
    for why, exit_ in (
        (Done.LOAD_MISS, Exit.LOAD_MISS), (Done.STORE_MISS, Exit.STORE_MISS),
        (Done.SLOW, Exit.SLOW),
    ):  # fmt: skip
        info = None if why is Done.SLOW else result
        frame.bail_if(b.icmp_unsigned("==", done, i64(why)), exit_, info)
    frame.pause = b.icmp_unsigned("==", done, i64(Done.PAUSE))
    return result


def _words(
    frame: Frame, mnemonic: str, call: TensorCall, operands: Sequence[Operand]
) -> list[ir.Value]:
    """The three words: operands in the order of the syntax, or what COMPUTE wants."""
    b = frame.builder
    if call is not TensorCall.COMPUTE:
        values = [v for _, v in operands]
        return [*values, *[i64(0)] * (3 - len(values))]
    registers = [v for node, v in operands if isinstance(node, Node) and node.op == "slot"]
    block = [v for node, v in operands if not (isinstance(node, Node) and node.op == "slot")]
    if len(block) > 1:
        raise ValueError(f"'{mnemonic}' has more than one integer operand")
    packed: ir.Value = i64(0)
    for i, register in enumerate(registers):
        packed = b.or_(packed, b.shl(register, i64(8 * i)))
    number = TENSOR_NUMBERS[mnemonic] | len(registers) << COUNT_SHIFT
    return [i64(number), packed, *(block or [i64(0)])]
