"""A hart's store to its own mtimecmp, as emitted code does it (`emu.cpu.alarm`).

It is found when a store has missed in the buffer and its page turns out to be no memory. The
instruction's record says which register is stored.
"""

from __future__ import annotations

from emu.cpu import alarm
from emu.cpu.native.control import call_routine
from emu.cpu.native.fault import go_on_if, instruction_at_pc
from emu.cpu.native.handler import BYTE, LONG, Frame, i64
from emu.cpu.native.layout import OFFSETS
from emu.cpu.native.records import number_handlers
from emu.cpu.state import PAGE_SIZE
from emu.isa.declare import Instruction
from emu.isa.graph import Node


def emit_alarm_store(f: Frame) -> None:
    """In the exit STORE_MISS, after a walk: if the store at `pc` is one to mtimecmp for which
    nothing has to be scheduled, do it and go on behind it; what follows is emitted for when not."""
    b = f.builder
    no = f.function.append_basic_block("no_alarm")
    address = b.ptrtoint(f.record, LONG)
    offset = b.and_(address, i64(PAGE_SIZE - 1))
    physical = b.or_(f.load("walked"), offset)
    go_on_if(f, b.icmp_unsigned("==", physical, f.load("alarm_at")), no)
    go_on_if(f, b.icmp_unsigned("!=", f.load("walked"), i64(0)), no)
    record, number = instruction_at_pc(f, no)
    found = f.function.append_basic_block("found")
    choice = b.switch(number, no)
    stores = [(n, i.length) for i, n in number_handlers().items() if _stores_doubleword(i)]
    b.position_at_end(found)
    size = b.phi(LONG)
    for handler, length in stores:
        block = f.function.append_basic_block("size")
        choice.add_case(i64(handler), block)
        with b.goto_block(block):
            b.branch(found)
        size.add_incoming(i64(length), block)
    register = b.zext(b.load(f.at(record, i64(OFFSETS["rs2"])), typ=BYTE), LONG)
    value = f.load("x", register)
    retired = b.add(f.load("instret"), b.sub(f.load("budget"), f.count))
    go_on_if(f, call_routine(f, alarm.SUFFICES, value, retired), no)
    call_routine(f, alarm.SET, value, retired)
    f.store("reserved", i64(0))  # as with any device's register: see `Hart.break_reservation`
    f.call("settle", f.record, b.add(f.pc, size), b.sub(f.count, i64(1)))
    b.position_at_end(no)


def _stores_doubleword(instruction: Instruction) -> bool:
    """Whether all that it does is to store the integer register of its operand rs2."""
    effects = [s for s in instruction.steps if s.op != "read_x"]
    if len(effects) != 1 or effects[0].op != "store" or effects[0].args[2] is not None:
        return False
    value = effects[0].args[1]
    if not isinstance(value, Node) or value.op != "read_x" or value.width != 64:
        return False
    index = value.args[0]
    return isinstance(index, Node) and index.op == "slot" and index.args[0] == "rs2"
