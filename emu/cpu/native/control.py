"""System instructions natively: CSRs, ECALL, EBREAK, MRET, SRET, WFI, fences, and interrupts.

What they do is said by the routines of `emu.cpu.traps`, `emu.cpu.regime` and `emu.cpu.csr`, which
are emitted as functions of the module here, each with the state block as its first argument. What
none of them does bails: absent and forbidden registers, writes that Python follows (the PMP's, the
supervisor's timer), a WFI that waits, and every trap while Python wants to see them
(`State.watched`).

An instruction after which an interrupt may be due, or other code stands at pc, goes on in `settle`
instead of with the next record; one that has trapped, in `trapped`:

    settle    budget used up? → exit · an interrupt is due? → take it · then `trapped`
    trapped   time to look at the hart (`stall_end`)? → exit · else `enter`

The reference engine's loop does the same in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from emu.cpu import csr, regime, traps
from emu.cpu.native.floating import drain_flags
from emu.cpu.native.handler import BIT, CONVENTION, HANDLER, LONG, PTR, Frame, i64
from emu.cpu.routine import Routine
from emu.cpu.state import Exit
from emu.isa.causes import M_MODE, Cause
from emu.isa.csrfields import Csr
from emu.isa.csrs import BY_NUMBER
from emu.isa.graph import Node

ANSWER = ir.LiteralStructType([LONG, LONG])
"""Of the function that accesses a CSR: the old value, and how it ended."""
_CSR_ARGUMENTS = ("number", "operand", "kind", "writes", "retired")
CSR = ir.FunctionType(ANSWER, [PTR, *[LONG] * len(_CSR_ARGUMENTS)])

SLOW, DONE, UNSETTLED = 0, 1, 2
"""How an access ended. SLOW: without any effect. UNSETTLED: `settle` is to follow."""

KINDS = {"csr_swap": 0, "csr_set": 1, "csr_clear": 2}
"""The system operations that access a CSR, as the function's argument `kind`."""


class RoutineFrame(Frame):
    """A function of the state block and some words, in place of a handler."""

    def __post_init__(self) -> None:
        self.function.attributes.add("nounwind")
        self.function.linkage = "internal"
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.state, *arguments = self.function.args
        self.arguments = {argument.name: argument for argument in arguments}
        self._routines: list[Routine] = []  # values go by their nodes' identity: keep the nodes

    def operand(self, slot: str) -> ir.Value:
        """An argument by its name."""
        return self.arguments[slot]

    def answers(self, routine: Routine) -> list[ir.Value]:
        """Emit a routine in place; its parameters are arguments of this function."""
        return _perform(self, routine.steps, routine.answers)

    def inline(self, body: Callable[..., Node | None], *parameters: str) -> ir.Value | None:
        """Emit a body in place, as a routine that is used but once."""
        routine = Routine(body, *parameters)
        self._routines.append(routine)
        answers = self.answers(routine)
        return answers[0] if answers else None


def _declare(module: ir.Module, name: str, kind: ir.FunctionType, names: Sequence[str]) -> ir.Value:
    function = ir.Function(module, kind, name)
    for argument, word in zip(function.args, ("state", *names), strict=True):
        argument.name = word
    return function


def call_routine(frame: Frame, routine: Routine, *arguments: ir.Value) -> ir.Value:
    """Call a routine on the frame's state; gives its answer, if it has one."""
    name = f"routine_{routine.name}"
    function = frame.module.globals.get(name) or _emit_routine(frame.module, name, routine)
    return frame.builder.call(function, [frame.state, *arguments])


def _emit_routine(module: ir.Module, name: str, routine: Routine) -> ir.Function:
    """A routine as a function; it has one answer or none."""
    result = ir.IntType(routine.answers[0].width) if routine.answers else ir.VoidType()
    kind = ir.FunctionType(result, [PTR, *[LONG] * len(routine.parameters)])
    f = RoutineFrame(_declare(module, name, kind, routine.parameters), 0)
    answers = _perform(f, routine.steps, routine.answers)
    if answers:
        f.builder.ret(answers[0])
    else:
        f.builder.ret_void()
    return f.function


def _perform(frame: Frame, steps: Sequence[Node], answers: Sequence[Node]) -> list[ir.Value]:
    """Emit a routine's steps in place; gives its answers."""
    from emu.cpu.native.readings import execute, value  # which reads system instructions by us

    execute(frame, steps)
    return [value(frame, a) for a in answers]


# --- the function that accesses a CSR -----------------------------------------------------------


def emit_csr(module: ir.Module) -> None:
    """`csr(state, number, operand, kind, writes, retired) -> (old value, how it ended)`."""
    f = RoutineFrame(_declare(module, "csr", CSR, _CSR_ARGUMENTS), 0)
    b, number = f.builder, f.operand("number")
    slow, checked, writing, reading = (
        f.function.append_basic_block(n) for n in ("slow", "checked", "writing", "reading")
    )
    groups = _groups()
    choice = b.switch(number, slow)
    arrivals = [_emit_look(f, choice, group, checked) for group in groups]
    b.position_at_end(slow)
    b.ret(_answer(b, i64(0), SLOW))
    b.position_at_end(checked)
    old, start, allowed, ended = (b.phi(t) for t in (LONG, LONG, BIT, LONG))
    for block, *values in arrivals:
        for phi, incoming in zip((old, start, allowed, ended), values, strict=True):
            phi.add_incoming(incoming, block)
    writes = b.icmp_unsigned("!=", f.operand("writes"), i64(0))
    read_only = b.icmp_unsigned("==", b.lshr(number, i64(10)), i64(3))
    forbidden = b.or_(b.not_(allowed), b.and_(writes, read_only))
    permitted = f.function.append_basic_block("permitted")
    b.cbranch(forbidden, slow, permitted)
    b.position_at_end(permitted)
    _emit_stall(f, groups, number)
    b.cbranch(writes, writing, reading)
    b.position_at_end(reading)
    b.ret(_answer(b, old, ended))
    b.position_at_end(writing)
    new = _emit_new(f, start)
    f.arguments["value"] = new
    choice = b.switch(number, slow)
    for group in groups:
        _emit_write(f, choice, group, old)


def _answer(b: ir.IRBuilder, value: ir.Value, ended: ir.Value | int) -> ir.Value:
    ended = i64(ended) if isinstance(ended, int) else ended
    return b.insert_value(b.insert_value(ir.Constant(ANSWER, None), value, 0), ended, 1)


def _groups() -> list[list[Csr]]:
    """The registers; those that are alike in all but number and name stand together."""
    groups: dict[object, list[Csr]] = {}
    for register in BY_NUMBER.values():
        alike = register.privilege, register.fields, register.guard, register.after
        is_constant = all(field.constant is not None for field in register.fields)
        groups.setdefault(alike if is_constant else register.name, []).append(register)
    return list(groups.values())


def _block(f: Frame, choice: ir.Value, group: list[Csr], kind: str) -> None:
    """Begin the block that the switch goes to for these registers."""
    block = f.function.append_basic_block(f"{kind}_{group[0].name}")
    for register in group:
        choice.add_case(i64(register.number), block)
    f.builder.position_at_end(block)


def _emit_look(
    f: RoutineFrame, choice: ir.Value, group: list[Csr], then: ir.Block
) -> tuple[ir.Value, ...]:
    """Read a register; gives the block it ends in, the value, what setting and clearing bits starts
    from, whether the access is permitted, and how it ends if it only reads."""
    register = group[0]
    _block(f, choice, group, "read")
    if any(
        field.word in ("fflags", "frm") or register.name == "fflags" for field in register.fields
    ):
        drain_flags(f.builder, f.place("fflags"))
    allowed = f.inline(lambda m: csr.permitted(m, register))
    old = f.inline(lambda m, retired: csr.read(m, register), "retired")
    start = old
    if register.base:
        start = f.inline(lambda m, retired: csr.base(m, register), "retired")
    f.builder.branch(then)
    return f.builder.block, old, start, allowed, i64(UNSETTLED if register.stall_ps else DONE)


def _emit_stall(f: Frame, groups: list[list[Csr]], number: ir.Value) -> None:
    """Add the time that an access takes."""
    b = f.builder
    stall: ir.Value = i64(0)
    for register in (r for group in groups for r in group if r.stall_ps):
        if register.unit or not register.read_only:
            raise ValueError(f"'{register.name}' may leave native code after its time has passed")
        is_it = b.icmp_unsigned("==", number, i64(register.number))
        stall = b.select(is_it, i64(register.stall_ps), stall)
    f.store("stall_ps", b.add(f.load("stall_ps"), stall))


def _emit_new(f: Frame, start: ir.Value) -> ir.Value:
    """The value to write."""
    b, operand, kind = f.builder, f.operand("operand"), f.operand("kind")
    is_set = b.icmp_unsigned("==", kind, i64(KINDS["csr_set"]))
    changed = b.select(is_set, b.or_(start, operand), b.and_(start, b.not_(operand)))
    return b.select(b.icmp_unsigned("==", kind, i64(KINDS["csr_swap"])), operand, changed)


def _emit_write(f: RoutineFrame, choice: ir.Value, group: list[Csr], old: ir.Value) -> None:
    """Write a register and return; those that native code does not write stay with `slow`."""
    register = group[0]
    if register.unit or register.read_only:
        return
    _block(f, choice, group, "write")
    f.inline(lambda m, value, retired: csr.write(m, register, value), "value", "retired")
    if register.name == "satp":
        call_routine(f, regime.FIND)
    if "regime" in register.after:
        call_routine(f, regime.SELECT)
    settles = {"regime", "interrupts"} & {*register.after}
    f.builder.ret(_answer(f.builder, old, UNSETTLED if settles else DONE))


# --- instructions -------------------------------------------------------------------------------


def emit_csr_access(frame: Frame, name: str, operands: Sequence[ir.Value]) -> ir.Value:
    """CSRRW, CSRRS, CSRRC and their immediate forms; gives the old value."""
    b = frame.builder
    number, operand, writes = operands
    arguments = [frame.state, number, operand, i64(KINDS[name]), writes, _retired(frame)]
    answer = b.call(frame.module.globals["csr"], arguments)
    ended = b.extract_value(answer, 1)
    frame.bail_if(b.icmp_unsigned("==", ended, i64(SLOW)))

    def settle() -> None:
        here, on = (frame.function.append_basic_block(n) for n in ("settle", "settled"))
        b.cbranch(b.icmp_unsigned("==", ended, i64(UNSETTLED)), here, on)
        b.position_at_end(here)
        behind = b.add(frame.pc, i64(frame.length))
        frame.call("settle", frame.record, behind, b.sub(frame.count, i64(1)))
        b.position_at_end(on)

    frame.after.append(settle)
    return b.extract_value(answer, 0)


def _retired(frame: Frame) -> ir.Value:
    """Instructions retired before this one."""
    done = frame.builder.sub(frame.load("budget"), frame.count)
    return frame.builder.add(frame.load("instret"), done)


def _emit_ecall(frame: Frame) -> None:
    _emit_trap(frame, frame.builder.add(frame.load("priv"), i64(Cause.ECALL_U)), i64(0))


def _emit_ebreak(frame: Frame) -> None:
    _emit_trap(frame, i64(Cause.BREAKPOINT), frame.pc)


def _emit_trap(frame: Frame, cause: ir.Value, tval: ir.Value) -> None:
    """Take an exception: it counts as one of the budget, but nothing retires."""
    b = frame.builder
    frame.bail_if(b.icmp_unsigned("!=", frame.load("watched"), i64(0)))
    target = call_routine(frame, traps.ENTER, frame.pc, cause, tval, i64(0))
    call_routine(frame, regime.SELECT)
    frame.store("instret", b.sub(frame.load("instret"), i64(1)))
    frame.end = lambda: frame.call("trapped", frame.record, target, b.sub(frame.count, i64(1)))


def _emit_mret(frame: Frame) -> None:
    not_machine = frame.builder.icmp_unsigned("!=", frame.load("priv"), i64(M_MODE))
    frame.bail_if(not_machine)
    _emit_return(frame, traps.MRET)


def _emit_sret(frame: Frame) -> None:
    frame.bail_if(frame.builder.not_(call_routine(frame, traps.SRET_PERMITTED)))
    _emit_return(frame, traps.SRET)


def _emit_return(frame: Frame, routine: Routine) -> None:
    target = call_routine(frame, routine)
    call_routine(frame, regime.SELECT)
    _settle_at(frame, target)


def _emit_sfence_vma(frame: Frame, address: ir.Value) -> None:
    b = frame.builder
    frame.bail_if(b.not_(call_routine(frame, regime.FENCE_PERMITTED)))
    one = b.icmp_unsigned("!=", address, i64(0))  # address 0 is rare: all is forgotten then, too
    with b.if_else(b.and_(one, call_routine(frame, regime.IS_SMALL, address))) as (page, all_):
        with page:
            call_routine(frame, regime.FORGET_PAGE, address)
        with all_:
            call_routine(frame, regime.FORGET)
    call_routine(frame, regime.SELECT)
    _settle_at(frame, frame.builder.add(frame.pc, i64(frame.length)))


def _emit_fence_i(frame: Frame) -> None:
    call_routine(frame, regime.FENCE)
    call_routine(frame, regime.SELECT)
    _settle_at(frame, frame.builder.add(frame.pc, i64(frame.length)))


def _emit_wfi(frame: Frame) -> None:
    b = frame.builder
    frame.bail_if(b.not_(call_routine(frame, traps.NEED_NOT_WAIT)))
    frame.store("stall_ps", b.add(frame.load("stall_ps"), i64(traps.WAKEFUL_WFI_PS)))
    _settle_at(frame, b.add(frame.pc, i64(frame.length)))


def _settle_at(frame: Frame, target: ir.Value) -> None:
    count = frame.builder.sub(frame.count, i64(1))
    frame.end = lambda: frame.call("settle", frame.record, target, count)


_INSTRUCTIONS: dict[str, Callable[[Frame], None]] = {
    "ecall": _emit_ecall,
    "ebreak": _emit_ebreak,
    "mret": _emit_mret,
    "sret": _emit_sret,
    "wfi": _emit_wfi,
    "fence_i": _emit_fence_i,
}


def emit_control(frame: Frame, name: str, operands: Sequence[ir.Value]) -> ir.Value:
    """A system operation of `NATIVE_SYSTEM`; what it gives is meaningless where nothing uses it."""
    if name in KINDS:
        return emit_csr_access(frame, name, operands)
    if name == "sfence_vma":
        _emit_sfence_vma(frame, operands[0])
    else:
        _INSTRUCTIONS[name](frame)
    return i64(0)


# --- what follows them --------------------------------------------------------------------------


def emit_settle(module: ir.Module) -> None:
    """The handlers `settle` and `trapped`; like that of `enter`, their record is not looked at."""
    f = Frame(_handler(module, "settle"), 0)
    b = f.builder
    done, more, due, none, take = (
        f.function.append_basic_block(n) for n in ("done", "more", "due", "none", "take")
    )
    b.cbranch(b.icmp_unsigned("==", f.count, i64(0)), done, more)
    b.position_at_end(done)
    f.leave(Exit.BUDGET)
    b.position_at_end(more)
    interrupt = call_routine(f, traps.DUE)
    b.cbranch(b.icmp_unsigned("==", interrupt, i64(traps.NONE_DUE)), none, due)
    b.position_at_end(none)
    f.call("trapped", f.record, f.pc, f.count)
    b.position_at_end(due)
    b.cbranch(b.icmp_unsigned("!=", f.load("watched"), i64(0)), done, take)
    b.position_at_end(take)
    target = call_routine(f, traps.ENTER, f.pc, interrupt, i64(0), i64(1))
    call_routine(f, regime.SELECT)
    f.call("trapped", f.record, target, f.count)

    f = Frame(_handler(module, "trapped"), 0)
    b = f.builder
    late = b.icmp_unsigned(">=", f.load("stall_ps"), f.load("stall_end"))
    pause, on = (f.function.append_basic_block(n) for n in ("pause", "on"))
    b.cbranch(late, pause, on).set_weights([1, 100000])
    b.position_at_end(pause)
    f.leave(Exit.BUDGET)
    b.position_at_end(on)
    f.call("enter", f.record, f.pc, f.count)


def _handler(module: ir.Module, name: str) -> ir.Function:
    function = module.globals.get(name) or ir.Function(module, HANDLER, name)
    function.calling_convention = CONVENTION
    return function
