"""The interpreter's module: a handler for every instruction, and the few functions around them.

    handlers     their addresses, by number, and those of the functions among them (`Handler`)
    run(state)   execute until an exit: BUDGET, or an instruction that Python must deal with

Handlers call each other and never return; `run` enters through `enter`, which every jump between
pages uses, and an `exit_*` function ends the chain of tail calls by returning, to `run`.

Tensor instructions have a module of their own, for programs that use any: `build_tensors`.
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu.native.control import emit_csr, emit_settle
from emu.cpu.native.decoder import emit_fill, emit_identify
from emu.cpu.native.fault import own_handler
from emu.cpu.native.fetch import emit_refill_code, emit_reopen
from emu.cpu.native.floating import enter_float, leave_float
from emu.cpu.native.handler import BYTE, CONVENTION, HALF, HANDLER, LONG, PTR, WORD, Frame, i64
from emu.cpu.native.layout import CHANGED, COPY, RECORD_SCALE, Handler
from emu.cpu.native.readings import perform
from emu.cpu.native.records import is_tensor, number_handlers
from emu.cpu.native.refill import REFILLED, emit_find, emit_refill
from emu.cpu.state import PAGE_SIZE, Exit, State
from emu.isa.declare import Instruction

RUN = ir.FunctionType(ir.VoidType(), [PTR])


def build() -> ir.Module:
    """The module for the whole table as it stands."""
    module = ir.Module("interpreter")
    handlers = number_handlers()
    names = {
        Handler.UNDECODED: "decode",
        Handler.PAGE_END: "enter",
        Handler.BREAK: "exit_break",
        Handler.SLOW: "exit_slow",
        Handler.STRADDLE: "straddle",
        Handler.ALONE: "alone",
        Handler.REOPEN: "reopen",
    }
    finders = {Handler.FIND_LOAD: "load", Handler.FIND_STORE: "store"}
    functions = [
        _handler(module, names[n]) if n in names else emit_find(module, finders[n]) for n in Handler
    ]
    emit_csr(module)
    emit_settle(module)
    for instruction, number in handlers.items():
        if is_tensor(instruction):
            functions.append(_handler(module, "exit_slow"))
        elif number != Handler.SLOW:
            functions.append(_emit_instruction(module, instruction))
    _emit_table(module, functions)
    _emit_exits(module)
    _emit_enter(_handler(module, "enter"))
    _emit_alone(_handler(module, "alone"))
    emit_reopen(_handler(module, "reopen"))
    identify, fill = emit_identify(module, handlers), emit_fill(module, handlers)
    _emit_decode(_handler(module, "decode"), identify, fill)
    _emit_straddle(_handler(module, "straddle"), identify, fill)
    _emit_run(module)
    return module


def build_tensors() -> ir.Module:
    """The module of the tensor instructions' handlers, in the order of their numbers; what they
    go on with, the exits and `enter`, is in the interpreter's."""
    module = ir.Module("tensor instructions")
    _emit_table(module, [_emit_instruction(module, i) for i in number_handlers() if is_tensor(i)])
    return module


def _handler(module: ir.Module, name: str) -> ir.Function:
    """The handler's function, declared if it is not yet."""
    function = module.globals.get(name) or ir.Function(module, HANDLER, name)
    function.calling_convention = CONVENTION
    return function


def _emit_instruction(module: ir.Module, instruction: Instruction) -> ir.Function:
    function = _handler(module, f"insn_{instruction.mnemonic}")
    perform(Frame(function, instruction.length), instruction.steps)
    return function


def _emit_table(module: ir.Module, functions: list[ir.Function]) -> None:
    """`handlers`: the addresses of the functions."""
    kind = ir.ArrayType(PTR, len(functions))
    table = ir.GlobalVariable(module, kind, "handlers")
    table.global_constant, table.initializer = True, ir.Constant(kind, functions)


def _emit_exits(module: ir.Module) -> None:
    """The ends of the chain: what misses in a buffer is looked for first."""
    for why in Exit:
        f = Frame(_handler(module, f"exit_{why.name.lower()}"), 0)
        if why in REFILLED:
            emit_refill(f, REFILLED[why])
        elif why is Exit.FETCH_MISS:
            emit_refill_code(f)
        _emit_exit(f, why)


def _emit_exit(f: Frame, why: Exit) -> None:
    """Return from the chain: `record` is the address that missed, in the exits that have one."""
    f.store("exit_code", i64(why))
    f.store("exit_info", f.builder.ptrtoint(f.record, LONG))
    f.store("pc", f.pc)
    done = f.builder.sub(f.load("budget"), f.count)
    f.store("instret", f.builder.add(f.load("instret"), done))
    f.store("budget", f.count)
    f.builder.ret_void()


def _emit_enter(function: ir.Function) -> None:
    """Go on at `pc`, whatever page it is on; `record` is not looked at."""
    f = Frame(function, 0)
    b = f.builder
    done, more, hit, miss = (
        function.append_basic_block(n) for n in ("done", "more", "hit", "miss")
    )
    b.cbranch(b.icmp_unsigned("==", f.count, i64(0)), done, more)
    b.position_at_end(done)
    f.leave(Exit.BUDGET)
    b.position_at_end(more)
    is_hit, entry = f.fetch_entry(f.pc)
    b.cbranch(is_hit, hit, miss)
    b.position_at_end(miss)
    f.leave(Exit.FETCH_MISS, f.pc)
    b.position_at_end(hit)
    f.dispatch(f.record_at(f.pc, entry), f.pc, f.count)


def _emit_alone(function: ir.Function) -> None:
    """Execute the instruction at `pc` by its own handler, even where a region begins, which has
    just been left in front of it."""
    f = Frame(function, 0)
    b = f.builder
    is_hit, entry = f.fetch_entry(f.pc)
    f.bail_if(b.not_(is_hit), Exit.FETCH_MISS, f.pc)
    record = f.record_at(f.pc, entry)
    place = f.at(f.table, b.shl(own_handler(f, record), i64(3)))
    f.tail(b.load(place, typ=HANDLER.as_pointer()), record, f.pc, f.count)


def _code_pointer(f: Frame, pc: ir.Value) -> ir.Value:
    """Host address of the code at `pc`, or bail so that the fetch buffer gets its page."""
    is_hit, entry = f.fetch_entry(pc)
    f.bail_if(f.builder.not_(is_hit), Exit.FETCH_MISS, pc)
    addend = f.builder.load(f.at(entry, i64(16)), typ=LONG)
    return f.builder.inttoptr(f.builder.add(pc, addend), PTR)


def _emit_decode(function: ir.Function, identify: ir.Function, fill: ir.Function) -> None:
    """Decode the instruction at `pc` into its record, then execute the record."""
    f = Frame(function, 0)
    b = f.builder
    code = _code_pointer(f, f.pc)
    low = b.zext(b.load(code, typ=HALF, align=1), WORD)
    is_long = b.icmp_unsigned("==", b.and_(low, ir.Constant(WORD, 3)), ir.Constant(WORD, 3))
    at_end = b.icmp_unsigned("==", b.and_(f.pc, i64(PAGE_SIZE - 1)), i64(PAGE_SIZE - 2))
    straddles, inside = (function.append_basic_block(n) for n in ("straddles", "inside"))
    wide, known = (function.append_basic_block(n) for n in ("wide", "known"))
    b.cbranch(b.and_(is_long, at_end), straddles, inside)
    b.position_at_end(straddles)
    b.store(ir.Constant(HALF, Handler.STRADDLE), f.record)
    f.call("straddle", f.record, f.pc, f.count)
    b.position_at_end(inside)
    b.cbranch(is_long, wide, known)
    b.position_at_end(wide)
    both = b.load(code, typ=WORD, align=1)
    b.branch(known)
    b.position_at_end(known)
    word = b.phi(WORD)
    word.add_incoming(low, inside)
    word.add_incoming(both, wide)
    _note_change(f, word, b.select(is_long, ir.Constant(WORD, -1), ir.Constant(WORD, 0xFFFF)))
    number = b.call(identify, [word])
    b.call(fill, [f.record, word, number])
    b.store(b.trunc(number, HALF), f.record)
    f.dispatch(f.record, f.pc, f.count)


def _note_change(f: Frame, word: ir.Value, mask: ir.Value) -> None:
    """The instruction at `pc` has been fetched for its record: if it is not in the page's copy of
    the code, comparing that will no longer tell what the records were decoded from."""
    b = f.builder
    offset = b.and_(f.pc, i64(PAGE_SIZE - 1))
    page = f.at(f.record, b.neg(b.mul(offset, i64(RECORD_SCALE))))
    before = b.load(f.at(page, b.add(offset, i64(COPY))), typ=WORD, align=1)
    differs = b.icmp_unsigned("!=", b.and_(b.xor(before, word), mask), ir.Constant(WORD, 0))
    changed = f.at(page, i64(CHANGED))
    b.store(b.or_(b.load(changed, typ=LONG), b.zext(differs, LONG)), changed)


def _emit_straddle(function: ir.Function, identify: ir.Function, fill: ir.Function) -> None:
    """Execute an instruction whose second half is on the next page.

    What that page holds depends on the translation in force, so the record, which belongs to the
    physical first page, keeps saying STRADDLE and is filled each time.
    """
    f = Frame(function, 0)
    b = f.builder
    halves = [
        b.zext(b.load(_code_pointer(f, pc), typ=HALF, align=1), WORD)
        for pc in (f.pc, b.add(f.pc, i64(2)))
    ]
    word = b.or_(halves[0], b.shl(halves[1], ir.Constant(WORD, 16)))
    number = b.call(identify, [word])
    b.call(fill, [f.record, word, number])
    entry = f.at(f.table, b.shl(b.zext(number, LONG), i64(3)))
    f.tail(b.load(entry, typ=HANDLER.as_pointer()), f.record, f.pc, f.count)


def _emit_run(module: ir.Module) -> None:
    """`run(state)`, with the C calling convention and the host's FP control put aside meanwhile."""
    function = ir.Function(module, RUN, "run")
    b = ir.IRBuilder(function.append_basic_block())
    (state,) = function.args
    host_control = enter_float(b)
    words = [b.load(_member(b, state, n), typ=LONG) for n in ("pc", "budget")]
    table = _member(b, state, "handlers")
    b.call(_handler(module, "enter"), [state, state, *words, table], cconv=CONVENTION)
    leave_float(b, host_control, _member(b, state, "fflags"))
    b.ret_void()


def _member(b: ir.IRBuilder, state: ir.Value, name: str) -> ir.Value:
    return b.gep(state, [i64(State.offset(name))], source_etype=BYTE)
