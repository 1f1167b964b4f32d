"""Page faults, as emitted code takes them: the traps of which a running system takes most.

Only where a walk has just said so, and nobody wants to see it: not for an access that may cross
into the next page, nor for instructions whose operands are more than one access. Everything else
that faults is Python's (`emu.cpu.mmu`).
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu import mmu, regime, traps
from emu.cpu.native.control import call_routine
from emu.cpu.native.handler import HALF, LONG, Frame, i64
from emu.cpu.native.layout import CELL_SIZE, Cell
from emu.cpu.native.records import first_region, number_handlers
from emu.cpu.native.walk import PAGE_FAULT
from emu.cpu.state import NO_CONTEXT, PAGE_SIZE, State
from emu.isa.declare import Instruction

_LARGEST = 8
"""Bytes of the largest access: one that begins so far before the end of a page stays on it."""


def emit_data_fault(f: Frame, access: str) -> None:
    """In the exit LOAD_MISS or STORE_MISS, after a walk: take its page fault; what follows is
    emitted for when that is not to be done."""
    b = f.builder
    no = f.function.append_basic_block("no_fault")
    address = b.ptrtoint(f.record, LONG)
    offset = b.and_(address, i64(PAGE_SIZE - 1))
    go_on_if(f, b.icmp_unsigned("==", f.load("walked"), i64(PAGE_FAULT)), no)
    go_on_if(f, b.icmp_unsigned("<=", offset, i64(PAGE_SIZE - _LARGEST)), no)
    _, number = instruction_at_pc(f, no)
    fault = f.function.append_basic_block("fault")
    choice = b.switch(number, no)
    for instruction, handler in number_handlers().items():
        if _accesses_once(instruction):
            choice.add_case(i64(handler), fault)
    b.position_at_end(fault)
    _take(f, access, address, no)


def emit_fetch_fault(f: Frame) -> None:
    """The same in the exit FETCH_MISS; breakpoints come before faults."""
    no = f.function.append_basic_block("no_fault")
    b = f.builder
    go_on_if(f, b.icmp_unsigned("!=", f.load("fetch_context"), i64(NO_CONTEXT)), no)  # no walk
    go_on_if(f, b.icmp_unsigned("==", f.load("walked"), i64(PAGE_FAULT)), no)
    go_on_if(f, b.icmp_unsigned("==", f.load("breakpoints"), i64(0)), no)
    _take(f, "fetch", b.ptrtoint(f.record, LONG), no)


def _take(f: Frame, access: str, address: ir.Value, no: ir.Block) -> None:
    """It counts as one of the budget, but nothing retires. Goes on emitting at `no`."""
    b = f.builder
    go_on_if(f, b.icmp_unsigned("==", f.load("watched"), i64(0)), no)
    cause = i64(mmu.PAGE_FAULT[access])
    target = call_routine(f, traps.ENTER, f.pc, cause, address, i64(0))
    call_routine(f, regime.SELECT)
    f.store("instret", b.sub(f.load("instret"), i64(1)))
    f.call("trapped", f.record, target, b.sub(f.count, i64(1)))
    b.position_at_end(no)


def go_on_if(f: Frame, condition: ir.Value, otherwise: ir.Block) -> None:
    """Go to the block `otherwise` unless the 1-bit condition holds."""
    rest = f.function.append_basic_block("rest")
    f.builder.cbranch(condition, rest, otherwise)
    f.builder.position_at_end(rest)


def instruction_at_pc(f: Frame, otherwise: ir.Block) -> tuple[ir.Value, ir.Value]:
    """The record of the instruction at `pc` and the number of its own handler; to `otherwise` if
    its page is not in the fetch buffer."""
    is_hit, entry = f.fetch_entry(f.pc)
    go_on_if(f, is_hit, otherwise)
    record = f.record_at(f.pc, entry)
    return record, own_handler(f, record)


def own_handler(f: Frame, record: ir.Value) -> ir.Value:
    """The number of the handler of a record's instruction, even where a region begins."""
    b = f.builder
    number = b.zext(b.load(record, typ=HALF), LONG)
    cell = b.add(b.mul(number, i64(CELL_SIZE)), i64(State.offset("cells") + 8 * Cell.ORIGINAL))
    begins = b.icmp_unsigned(">=", number, i64(first_region()))
    return b.select(begins, b.load(f.at(f.state, cell), typ=LONG), number)


def _accesses_once(instruction: Instruction) -> bool:
    """Whether memory is accessed at one address, by nothing but loads and stores."""
    steps = {step.op for step in instruction.steps}
    return bool(steps & {"load", "store"}) and "system" not in steps
