"""A region's LLVM: one function, guest registers as its variables.

    region(state, record, pc, count, table)      called as a handler, by a tail call

The prologue makes sure that the translation holds here and now (else `reopen` finds out why, or has
the instruction's own handler execute it), takes the registers from the state block into variables,
which LLVM turns into values, and goes to the block of `pc`. Every way out writes back the registers
that the region may have changed and ends in a tail call: to `enter` when control goes elsewhere, to
`alone` in front of an instruction that the region does not do.

`count` is exact at every way out: a block is charged as a whole, at checkpoints (`budget`) it is
made sure that all of its instructions fit, and who leaves in its middle gives back what was not
executed.
"""

from __future__ import annotations

from collections.abc import Mapping

from llvmlite import ir

from emu.cpu.native.handler import BYTE, CONVENTION, HALF, HANDLER, LONG, i64
from emu.cpu.native.layout import CELL_SIZE, Cell, Handler
from emu.cpu.native.readings import execute
from emu.cpu.native.translate.frame import RegionFrame
from emu.cpu.native.translate.loops import TURNS, Loop, inner_loops
from emu.cpu.native.translate.memory import Memory
from emu.cpu.native.translate.region import Block, Region
from emu.cpu.native.translate.registers import Register, survey
from emu.cpu.state import RING, Dirty, State

NAME = "region"
_HERE = ir.FunctionType(LONG, [LONG])
"""Of no code that gives its operand: the block it stands in, and constants in it, stay out of the
way, where LLVM would have them computed in front of the branch that goes there."""

_DOUBLE = ir.DoubleType()


def emit(region: Region, checkpoints: Mapping[int, int], window_start: int) -> ir.Module:
    """The module of a region whose memory window begins at `window_start`. `checkpoints` has, for
    each, how many instructions must be left there."""
    module = ir.Module(NAME)
    writer = Writer(module, region, checkpoints, window_start)
    writer.prologue()
    for block in region.blocks.values():
        writer.block(block)
    for loop in writer.loops.values():
        writer.guarded(loop)
    writer.write_out()
    return module


class Writer:
    """The function being written, and what all of its instructions share."""

    def __init__(
        self,
        module: ir.Module,
        region: Region,
        checkpoints: Mapping[int, int],
        window_start: int,
    ) -> None:
        self.module, self.region, self.checkpoints = module, region, checkpoints
        self.function = ir.Function(module, HANDLER, NAME)
        self.function.calling_convention = CONVENTION
        self.function.attributes.add("nounwind")
        self.state, self.record, self.pc, self.count, self.table = self.function.args
        self.builder = ir.IRBuilder(self.function.append_basic_block("prologue"))
        self.labels = {
            pc: self.function.append_basic_block(f"at_{pc:x}") for pc in sorted(region.blocks)
        }
        self.loops = {loop.head: loop for loop in inner_loops(region) if window_start}
        self.memory = Memory(self, region, self.loops.values(), window_start)
        self._guards = {
            pc: self.function.append_basic_block(f"guard_{pc:x}") for pc in sorted(self.loops)
        }
        self._copies: dict[int, ir.Block] = {}
        self._variables: dict[Register, ir.Value] = {}
        self._out = self.function.append_basic_block("out")
        self._ways_out: list[tuple[ir.Block, ir.Value, ir.Value, ir.Value]] = []
        self.guest_memory, self._hart_memory = self._kinds_of_memory("guest", "hart")
        self._registers = survey(region)
        self._uses_float = any(
            step.op == "fp_check"
            for block in region.blocks.values()
            for _, found in block.instructions
            for step in found.insn.steps
        )

    def _kinds_of_memory(self, *names: str) -> list[ir.MDValue]:
        """What tells LLVM that accesses marked with different ones do not touch each other."""
        add = self.module.add_metadata
        root = add(["a translation's memory"])
        kinds = [add([name, root, i64(0)]) for name in names]
        return [add([kind, kind, i64(0)]) for kind in kinds]

    # Ways in

    def prologue(self) -> None:
        """Check that the translation holds, load what the region uses, go to the block of `pc`."""
        b, f = self.builder, self.function
        good, refused = f.append_basic_block("good"), f.append_basic_block("refused")
        number = b.zext(b.load(self.record, typ=HALF), LONG)
        cell = self._at(
            self.state, b.add(b.mul(number, i64(CELL_SIZE)), i64(State.offset("cells")))
        )
        context = self._word(cell, Cell.CONTEXT)
        holds = b.icmp_unsigned("==", context, self._state("fetch_context"))
        holds = b.and_(holds, b.icmp_unsigned("==", self._word(cell, Cell.PC), self.pc))
        if self._uses_float:
            holds = b.and_(holds, b.icmp_unsigned("==", self._state("fs"), i64(Dirty.DIRTY)))
            holds = b.and_(holds, b.icmp_unsigned("==", self._state("frm"), i64(0)))
        needed = self._word(cell, Cell.NEEDED)
        holds = b.and_(holds, b.icmp_unsigned(">=", self.count, needed))
        b.cbranch(holds, good, refused).set_weights([100000, 1])
        b.position_at_end(refused)
        otherwise = b.load(
            self._at(self.table, b.shl(self._word(cell, Cell.HANDLER), i64(3))),
            typ=HANDLER.as_pointer(),
        )
        self._tail(otherwise, self.record, self.pc, self.count)
        b.position_at_end(good)
        self.memory.open()
        self._load_variables()
        *others, last = self.region.entries
        switch = b.switch(self.pc, self._label(last))
        for entry in others:
            switch.add_case(i64(entry), self._label(entry))

    def _load_variables(self) -> None:
        b = self.builder
        self._count, self._floor = (self._variable(LONG, n) for n in ("count", "floor"))
        b.store(self.count, self._count)
        for bank, number in sorted(self._registers.values):
            kind = LONG if bank == "x" else _DOUBLE
            variable = self._variables[bank, number] = self._variable(kind, f"{bank}{number}")
            b.store(b.load(self._register(bank, number), typ=kind), variable)

    def _variable(self, kind: ir.Type, name: str) -> ir.Value:
        """A variable, in the first block of the function: only there LLVM makes values of them."""
        with self.builder.goto_entry_block():
            return self.builder.alloca(kind, name=name)

    # What instructions use

    def read(self, bank: str, number: int) -> ir.Value:
        """The 64 bits of a register."""
        if (bank, number) == ("x", 0):
            return i64(0)
        kind = LONG if bank == "x" else _DOUBLE
        variable = self._variables.get((bank, number))
        value = self.builder.load(variable or self._register(bank, number), typ=kind)
        if variable is None:
            value.set_metadata("tbaa", self._hart_memory)
        return value if bank == "x" else self.builder.bitcast(value, LONG)

    def write(self, bank: str, number: int, value: ir.Value) -> None:
        """Set a register."""
        if (bank, number) == ("x", 0):
            return
        if bank == "f":
            value = self.builder.bitcast(value, _DOUBLE)
        variable = self._variables.get((bank, number))
        store = self.builder.store(value, variable or self._register(bank, number))
        if variable is None:
            store.set_metadata("tbaa", self._hart_memory)

    def leave(self, handler: Handler, pc: ir.Value, behind: int = 0) -> None:
        """End the block: write registers back and go on in the `handler` at `pc`, with `behind`
        instructions of the block not executed."""
        b = self.builder
        if isinstance(pc, ir.Constant):
            pc = b.asm(_HERE, "", "=r,0", [pc], side_effect=True)
        self._ways_out.append((b.block, pc, i64(behind), i64(handler)))
        b.branch(self._out)

    def write_out(self) -> None:
        """The one place where registers are written back, for all ways out."""
        b = self.builder
        b.position_at_end(self._out)
        pc, behind, handler = (b.phi(LONG) for _ in range(3))
        for block, *values in self._ways_out:
            for phi, value in zip((pc, behind, handler), values, strict=True):
                phi.add_incoming(value, block)
        for bank, number in sorted(self._registers.written & self._registers.values):
            kind = LONG if bank == "x" else _DOUBLE
            value = b.load(self._variables[bank, number], typ=kind)
            b.store(value, self._register(bank, number))
        count = b.add(b.load(self._count, typ=LONG), behind)
        done = b.add(self._state("translated"), b.sub(self.count, count))
        b.store(done, self._at(self.state, i64(State.offset("translated"))))
        place = self._at(self.table, b.shl(handler, i64(3)))
        self._tail(b.load(place, typ=HANDLER.as_pointer()), self.state, pc, count)

    # Blocks

    def block(self, block: Block, label: ir.Block | None = None) -> None:
        """Write a block: charge it, execute it, go where it leads."""
        b = self.builder
        b.position_at_end(label or self.labels[block.start])
        self.memory.start_block()
        size = len(block.instructions)
        count = b.load(self._count, typ=LONG)
        needed = self.checkpoints.get(block.start)
        guard = self.memory.guard
        if needed is not None and not (guard is not None and guard.head == block.start):
            late, body = b.append_basic_block("late"), b.append_basic_block("body")
            short = b.icmp_unsigned("<", count, i64(needed))
            b.cbranch(short, late, body).set_weights([1, 100000])
            b.position_at_end(late)
            self.leave(Handler.PAGE_END, i64(block.start))
            b.position_at_end(body)
        b.store(b.sub(count, i64(size)), self._count)
        frame = None
        for i, (pc, found) in enumerate(block.instructions):
            frame = RegionFrame(self, pc, found, size - i)
            execute(frame, found.insn.steps)
        assert frame is not None
        self._go_on(block, frame)

    def guarded(self, loop: Loop) -> None:
        """Write a loop's guard, and its copy that relies on it."""
        b, f = self.builder, self.function
        slow, again = self.labels[loop.head], f.append_basic_block("again")
        copies = {pc: f.append_basic_block(f"copy_{pc:x}") for pc in sorted(loop.body)}
        b.position_at_end(self._guards[loop.head])
        count = b.load(self._count, typ=LONG)
        needed = loop.chunk + self.checkpoints[loop.head]
        good = b.icmp_unsigned(">=", count, i64(needed))
        for register, (low, high) in sorted(loop.reach.items()):
            first = b.add(self.read("x", register), i64(low))
            good = b.and_(good, self.memory.in_window(first, high - low))
        b.store(b.sub(count, i64(loop.chunk)), self._floor)
        b.cbranch(good, copies[loop.head], slow)
        self.memory.guard, self._copies = loop, {**copies, loop.head: again}
        b.position_at_end(again)
        spent = b.icmp_unsigned("<", b.load(self._count, typ=LONG), b.load(self._floor, typ=LONG))
        b.cbranch(spent, self._guards[loop.head], copies[loop.head]).set_weights([1, TURNS])
        for pc in sorted(loop.body):
            self.block(self.region.blocks[pc], copies[pc])
        self.memory.guard, self._copies = None, {}

    def _label(self, pc: int) -> ir.Block:
        """Where to go on at a block of the region."""
        return self._copies.get(pc) or self._guards.get(pc) or self.labels[pc]

    def _go_on(self, block: Block, frame: RegionFrame) -> None:
        b, flow = self.builder, block.flow
        if flow.is_indirect:
            assert frame.jump is not None
            self._dispatch(block.instructions[-1][0], frame.jump)
        elif flow.target is not None and flow.falls:
            assert frame.branch is not None
            taken = b.append_basic_block("taken")
            falls = b.append_basic_block("falls")
            b.cbranch(frame.branch[0], taken, falls)
            b.position_at_end(taken)
            self._goto(flow.target)
            b.position_at_end(falls)
            self._goto(block.end)
        else:
            self._goto(block.end if flow.target is None else flow.target)

    def _goto(self, pc: int) -> None:
        if pc in self.labels:
            self.builder.branch(self._label(pc))
        else:
            self.leave(Handler.PAGE_END, i64(pc))

    def _dispatch(self, site: int, target: ir.Value) -> None:
        """The indirect jump at `site`: to one of the blocks that it is known to go to, else out,
        and noted."""
        b = self.builder
        other = b.append_basic_block("other")
        switch = b.switch(target, other)
        for pc in self.region.targets[site]:
            switch.add_case(i64(pc), self._label(pc))
        b.position_at_end(other)
        at = self._state("ring_at")
        entry = b.add(b.shl(b.and_(at, i64(RING - 1)), i64(4)), i64(State.offset("ring")))
        b.store(i64(site), self._at(self.state, entry))
        b.store(target, self._at(self.state, b.add(entry, i64(8))))
        b.store(b.add(at, i64(1)), self._at(self.state, i64(State.offset("ring_at"))))
        self.leave(Handler.PAGE_END, target)

    # The state block

    def _at(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        return self.builder.gep(base, [offset], source_etype=BYTE)

    def _word(self, base: ir.Value, index: int) -> ir.Value:
        return self.builder.load(self._at(base, i64(8 * index)), typ=LONG)

    def _state(self, name: str) -> ir.Value:
        return self.builder.load(self._at(self.state, i64(State.offset(name))), typ=LONG)

    def _register(self, bank: str, number: int) -> ir.Value:
        return self._at(self.state, i64(State.offset(bank) + 8 * number))

    def _tail(self, target: ir.Value, record: ir.Value, pc: ir.Value, count: ir.Value) -> None:
        b = self.builder
        arguments = [self.state, record, pc, count, self.table]
        b.call(target, arguments, cconv=CONVENTION, tail="musttail")
        b.ret_void()
