"""The code of a warp: a function that executes one warp until it ends, waits or fails.

Every block is written twice. The *whole* version is for when all 32 lanes are there: no masks, and
a branch that parts no lanes is a plain branch. The *masked* version is for a part of the warp; the
lanes that are elsewhere stand in the words `masks`, one mask for each block, and after a block the
next one with a lane is looked for in the order of addresses: the rule that lanes with the lowest
pc go on. Where all 32 are found at the same block, the whole version takes over again.

Registers that cross from block to block are variables on the stack, one for each way in which they
are kept, and LLVM turns them into values. The masked version writes only its own lanes' part of a
vector. A scalar is written only where that is right for all lanes (see `analysis`).

The function gives ENDED, WAITS or FAILED. A block's instructions are counted when it begins: `left`
counts down for each warp instruction, `extra` adds what lane instructions are more or fewer than
32 times those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir

from emu.cpu.tensor.emit import I32, I64, POINTER, Emitter
from emu.devices.gpu.dispatch import LANES, FaultCode
from emu.devices.gpu.lift import collective, runtime
from emu.devices.gpu.lift.analysis import Analysis, possible_targets
from emu.devices.gpu.lift.lanes import Data, Lanes
from emu.devices.gpu.lift.memory import Memory
from emu.devices.gpu.lift.program import EXIT, Block, Place
from emu.devices.gpu.lift.readings import Control, Frame, Register, Slot, execute
from emu.devices.gpu.lift.runtime import Slow
from emu.devices.gpu.lift.values import Kind, Nan, Shape, Value, const

ENDED, WAITS, FAILED = range(3)
ALL = (1 << LANES) - 1


@dataclass
class _Labels:
    """Where a block's versions begin; `check` looks whether lanes wait for it."""

    whole: ir.Block
    check: ir.Block
    masked: ir.Block


class Writer:
    """Writes the function `warp` into the emitter's module."""

    def __init__(self, e: Emitter, analysis: Analysis, sites: dict[int, int], slow: Slow) -> None:
        self.e, self.analysis, self.sites = e, analysis, sites
        self.program = analysis.program
        self.slots: Mapping[int, Slot] = self.program.slots
        self.lanes = Lanes(e)
        self.order = list(self.program.blocks)
        self.index = {pc: i for i, pc in enumerate(self.order)}
        self.memory = Memory(e, self.lanes, slow, self._fault, analysis.escaped)
        self.mask: tuple[Data, Data] | None = None
        self.saved: dict[int, list[tuple[ir.Value, Any, int]]] = {}
        """For each block behind a barrier, what is kept meanwhile: variable, type, place."""
        self.saved_bytes = 0
        self._variables: dict[tuple[Register, Shape, int], ir.Value] = {}

    def write(self) -> ir.Function:
        """Write it all."""
        e = self.e
        kind = ir.FunctionType(I64, [POINTER])
        function = ir.Function(e.module, kind, "warp")
        function.linkage = "internal"
        function.attributes.add("noinline")
        outer = e.function, e.b
        e.function, e.b = function, ir.IRBuilder(function.append_basic_block("entry"))
        self._begin()
        for block in self.program.blocks.values():
            self._write(block, whole=True)
            self._write(block, whole=False)
        e.function, e.b = outer
        return function

    # The function's ends

    def _begin(self) -> None:
        """The start of a warp, and the exits."""
        e = self.e
        block = e.function.append_basic_block
        self.labels = {
            pc: _Labels(*(block(f"{name}{i}") for name in ("whole", "check", "masked")))
            for pc, i in self.index.items()
        }
        self.stop, self.wait, self.failed = block("stop"), block("wait"), block("failed")
        self.overrun = block("overrun")
        self.left, self.extra = self._variable(I64), self._variable(I64)
        self.top = e.word("stack_top")
        e.b.store(e.word("left"), self.left)
        e.b.store(e.word("extra"), self.extra)
        start = block("start")
        resumptions = [b.last.behind for b in self.program.blocks.values() if b.is_barrier]
        selector = e.b.switch(e.word("resume"), start)
        for i, pc in enumerate(dict.fromkeys(resumptions), 1):
            label = block("resume")
            selector.add_case(ir.Constant(I64, i), label)
            self._resume(label, pc, i)
        e.b.position_at_end(start)
        self._enter_kernel()
        for label, result in ((self.stop, ENDED), (self.wait, WAITS), (self.failed, FAILED)):
            e.b.position_at_end(label)
            self._leave(result)
        e.b.position_at_end(self.overrun)
        runtime.put(e, "fault_code", int(FaultCode.WATCHDOG))
        runtime.put(e, "fault_address", 0)
        e.b.branch(self.failed)

    def _enter_kernel(self) -> None:
        """Give a0 its value and go to the first block, with all lanes or with some."""
        entry = self.program.entry
        kinds = self.analysis.entering(entry)
        start = {r: Value(const(0)) for r in self.program.registers}
        start[("x", 2)] = self._stack_top()
        start[("x", 10)] = Value(Kind(64, Shape.UNIFORM), self.e.word("kernarg"))
        for register, kind in kinds.items():
            self._keep(register, kind, start[register])
        self._go_with(entry, self.e.b.trunc(self.e.word("mask"), I32))

    def _resume(self, label: ir.Block, pc: int, number: int) -> None:
        """Behind a barrier: bring back what was kept."""
        e = self.e
        e.b.position_at_end(label)
        offset = 0
        plan = []
        for register, kind in self.analysis.entering(pc).items():
            if kind.is_kept:
                place = self._place(register, kind)
                type_ = self._type(kind)
                plan.append((place, type_, offset))
                offset += 8 * (LANES if kind.shape is Shape.VECTOR else 1)
        self.saved[pc] = plan
        self.saved_bytes = max(self.saved_bytes, offset)
        base = e.pointer("saved")
        for place, type_, at in plan:
            e.b.store(e.b.load(e.offset(base, at), typ=type_, align=8), place)
        self._go_with(pc, e.b.trunc(e.word("mask"), I32))

    def _go_with(self, pc: int, mask: Data) -> None:
        """Go to a block with the lanes of a mask, all that there are."""
        labels = self.labels[pc]
        self._set_mask(pc, mask)
        whole = self.e.b.icmp_unsigned("==", mask, self.e.const(I32, ALL))
        self.e.b.cbranch(whole, labels.whole, labels.masked)

    def _leave(self, result: int) -> None:
        e = self.e
        runtime.put(e, "left", e.b.load(self.left, typ=I64))
        runtime.put(e, "extra", e.b.load(self.extra, typ=I64))
        e.b.ret(e.const(I64, result))

    # Variables

    def _variable(self, type_: Any) -> ir.Value:
        with self.e.b.goto_entry_block():
            place = self.e.b.alloca(type_)
        place.type = POINTER
        return place

    def _type(self, kind: Kind) -> Any:
        return self.lanes.type(kind.bits, kind.shape is Shape.VECTOR)

    def _place(self, register: Register, kind: Kind) -> ir.Value:
        """The variable in which a register of this kind is kept."""
        key = register, kind.shape, kind.bits
        if key not in self._variables:
            self._variables[key] = self._variable(self._type(kind))
        return self._variables[key]

    def _stack_top(self) -> Value:
        return Value(Kind(64, Shape.UNIFORM, stack=0, private=True), self.top)

    def _fetch(self, register: Register, kind: Kind) -> Value:
        """A register at the beginning of a block."""
        if kind.stack is not None:
            return Value(kind, self.top)
        if kind.shape is Shape.CONST:
            return Value(kind)
        return Value(kind, self.e.b.load(self._place(register, kind), typ=self._type(kind)))

    def _keep(self, register: Register, kind: Kind, value: Value) -> None:
        """Write a register for a block where it is of this kind."""
        if not kind.is_kept:
            return
        if kind.nan is not Nan.ROUGH:
            value = self.lanes.observe(value)
        vector = kind.shape is Shape.VECTOR
        data, place = self.lanes.kept(value, kind.bits, vector), self._place(register, kind)
        if vector and self.mask is not None:
            old = self.e.b.load(place, typ=self._type(kind))
            data = self.e.b.select(self.mask[1], data, old)
        self.e.b.store(data, place)

    # Blocks

    def _write(self, block: Block, whole: bool) -> None:
        """One version of a block."""
        labels, e = self.labels[block.pc], self.e
        self.block, self.control, self.number = block, None, 0
        if whole:
            e.b.position_at_end(labels.whole)
            self.mask = None
        else:
            self._write_check(block)
            e.b.position_at_end(labels.masked)
            bits = self._mask_of(block.pc)
            self._set_mask(block.pc, e.const(I32, 0))
            self._become_whole(block, bits)
            self.mask = bits, e.b.bitcast(bits, self.lanes.type(1, True))
        self.memory.mask = self.mask
        self._count(block)
        before = {r: self._fetch(r, k) for r, k in self.analysis.entering(block.pc).items()}
        registers = dict.fromkeys(self.program.registers, Value(const(0))) | before
        for self.number, place in enumerate(block.places):
            if place.insn is None:
                self._fault_here(place)
                return
            self.memory.site = self.sites.get(place.pc, 0)
            frame = Frame(self.lanes, self, registers, place.insn, place.pc)
            execute(frame)
            self.control = frame.control
        self._cross(block, before, registers)
        self._go_on(block)

    def _write_check(self, block: Block) -> None:
        """Whether lanes wait for the block; if not, on to the next one's check."""
        e, labels = self.e, self.labels[block.pc]
        e.b.position_at_end(labels.check)
        following = self.index[block.pc] + 1
        after = self.labels[self.order[following]].check if following < len(self.order) else None
        none = e.b.icmp_unsigned("==", self._mask_of(block.pc), e.const(I32, 0))
        e.b.cbranch(none, after or self.stop, labels.masked)

    def _become_whole(self, block: Block, bits: Data) -> None:
        """With all lanes here, go over to the version for them. At blocks inside of what lanes do
        apart, it is not worth looking."""
        facts = self.analysis.facts
        joins = sum(block.pc in f.exits for f in facts.values()) > 1
        if joins or block.pc == self.program.entry:
            rest = self.e.function.append_basic_block("part")
            whole = self.e.b.icmp_unsigned("==", bits, self.e.const(I32, ALL))
            self.e.b.cbranch(whole, self.labels[block.pc].whole, rest)
            self.e.b.position_at_end(rest)

    def _count(self, block: Block) -> None:
        """Count the block's instructions; the watchdog acts when they are too many."""
        e = self.e
        size = e.const(I64, block.size)
        before = e.b.load(self.left, typ=I64)
        over, rest = (e.function.append_basic_block(n) for n in ("over", "rest"))
        e.b.cbranch(e.b.icmp_signed("<", before, size), over, rest).set_weights([1, 100000])
        e.b.position_at_end(over)
        runtime.put(e, "fault_pc", block.pc)
        runtime.put(e, "fault_lane", self.memory.first())
        e.b.branch(self.overrun)
        e.b.position_at_end(rest)
        e.b.store(e.b.sub(before, size), self.left)
        if self.mask is not None:
            more = e.b.mul(size, e.b.sub(self.memory.count(), e.const(I64, LANES)))
            e.b.store(e.b.add(e.b.load(self.extra, typ=I64), more), self.extra)

    def _cross(
        self, block: Block, before: dict[Register, Value], registers: dict[Register, Value]
    ) -> None:
        """Write what the next blocks read."""
        done = set()
        for pc in self.analysis.facts[block.pc].exits - {EXIT}:
            for register, kind in self.analysis.entering(pc).items():
                value = registers[register]
                same = before.get(register) is value and (
                    replace(value.kind, local=kind.local) == kind
                )
                key = register, kind.shape, kind.bits, kind.nan
                if not same and key not in done:
                    done.add(key)
                    self._keep(register, kind, value)

    # Where lanes go

    def _mask_place(self, pc: int) -> Data:
        return runtime.place_of(self.e, "masks", self.index[pc])

    def _mask_of(self, pc: int) -> Data:
        return self.e.b.load(self._mask_place(pc), typ=I32, align=8)

    def _set_mask(self, pc: int, mask: Data) -> None:
        self.e.b.store(mask, self._mask_place(pc), align=8)

    def _add_mask(self, pc: int, mask: Data) -> None:
        """Lanes come to a block, where others may be waiting already."""
        if pc != EXIT:
            self._set_mask(pc, self.e.b.or_(self._mask_of(pc), mask))

    def _go_on(self, block: Block) -> None:
        """From the end of a block to the next."""
        control, behind = self.control, block.last.behind
        if block.is_barrier:
            self._wait(behind)
        elif control is None:
            self._all_to(block, behind)
        elif control.condition is None:
            self._jump(block, control.target)
        else:
            self._branch(block, control, behind)

    def _all_to(self, block: Block, pc: int) -> None:
        """All lanes at hand go to one block."""
        if self.mask is None:
            self.e.b.branch(self.labels[pc].whole if pc != EXIT else self.stop)
            return
        self._add_mask(pc, self.mask[0])
        self._next(block, {pc})

    def _next(self, block: Block, exits: Iterable[int]) -> None:
        """Go to the lowest block that has a lane."""
        pending = self.analysis.facts[block.pc].pending
        places = sorted((set(exits) | pending) - {EXIT})
        if not places:
            self.e.b.branch(self.stop)
        elif not pending and EXIT not in exits and len(places) == 1:
            self.e.b.branch(self.labels[places[0]].masked)
        else:
            self.e.b.branch(self.labels[places[0]].check)

    def _branch(self, block: Block, control: Control, behind: int) -> None:
        condition, e = control.condition, self.e
        target = control.target.number()
        assert condition is not None
        assert target is not None
        known = condition.number()
        if known is not None:
            self._all_to(block, target if known else behind)
        elif condition.shape is Shape.VECTOR:
            bits = e.b.bitcast(self.lanes.vector(condition), I32)
            self._part(block, [(target, bits), (behind, e.b.not_(bits))])
        else:
            taken, falls = (e.function.append_basic_block(n) for n in ("taken", "falls"))
            e.b.cbranch(self.lanes.scalar(condition), taken, falls)
            for label, pc in ((taken, target), (falls, behind)):
                e.b.position_at_end(label)
                self._all_to(block, pc)

    def _jump(self, block: Block, target: Value) -> None:
        """A jump to one of some places: a return. Lanes that would go elsewhere fail."""
        targets = sorted(possible_targets(self.program, block, target))
        if len(targets) == 1 and (target.number() is not None or target.kind.targets):
            self._all_to(block, targets[0])
        elif target.shape is Shape.VECTOR:
            self._part_by_target(block, target, targets)
        else:
            self._switch(block, target, targets)

    def _switch(self, block: Block, target: Value, targets: list[int]) -> None:
        """All lanes go to the same one of some places."""
        e, stray = self.e, self.e.function.append_basic_block("stray")
        selector = e.b.switch(self.lanes.scalar(target), stray)
        for pc in targets:
            label = e.function.append_basic_block("to")
            selector.add_case(ir.Constant(I64, pc), label)
            e.b.position_at_end(label)
            self._all_to(block, pc)
        e.b.position_at_end(stray)
        self._stray(self.lanes.scalar(target), self.memory.first())

    def _part_by_target(self, block: Block, target: Value, targets: list[int]) -> None:
        """Each lane goes to one of some places."""
        e, where = self.e, self.lanes.vector(target)
        ways, found = [], e.const(I32, 0)
        for pc in targets:
            here = e.b.icmp_unsigned("==", where, self.lanes.constant(pc, 64, True))
            ways.append((pc, e.b.bitcast(here, I32)))
            found = e.b.or_(found, ways[-1][1])
        lost = e.b.and_(e.b.not_(found), self.memory.bits)
        stray, rest = (e.function.append_basic_block(n) for n in ("stray", "rest"))
        e.b.cbranch(e.b.icmp_unsigned("!=", lost, e.const(I32, 0)), stray, rest)
        e.b.position_at_end(stray)
        self._stray(*self._lowest(where, lost))
        e.b.position_at_end(rest)
        self._part(block, ways)

    def _lowest(self, where: Data, bits: Data) -> tuple[Data, Data]:
        """The lowest of the addresses of some lanes, and the first lane that has it."""
        e = self.e
        never = self.lanes.constant(-1, 64, True)
        chosen = e.b.select(e.b.bitcast(bits, self.lanes.type(1, True)), where, never)
        name = f"llvm.vector.reduce.umin.v{LANES}i64"
        lowest = e.intrinsic(name, I64, chosen, suffix=False)
        same = e.b.icmp_unsigned("==", where, self.lanes.splat(lowest))
        lanes = e.b.and_(e.b.bitcast(same, I32), bits)
        lane = e.intrinsic("llvm.cttz", I32, lanes, ir.Constant(ir.IntType(1), 1))
        return lowest, e.b.zext(lane, I64)

    def _stray(self, target: Data, lane: Data) -> None:
        """A lane jumps where no instruction of the kernel is, as far as that is known."""
        self._fault(FaultCode.INSTRUCTION_ADDRESS, target, lane, pc=target)

    def _part(self, block: Block, ways: list[tuple[int, Data]]) -> None:
        """Lanes go different ways: `ways` has the mask for each, as if all lanes were here."""
        e = self.e
        if self.mask is None:
            for pc, bits in ways:
                other = e.function.append_basic_block("other")
                label = self.labels[pc].whole if pc != EXIT else self.stop
                all_ = e.b.icmp_unsigned("==", bits, e.const(I32, ALL))
                e.b.cbranch(all_, label, other)
                e.b.position_at_end(other)
        for pc, bits in ways:
            self._add_mask(pc, bits if self.mask is None else e.b.and_(bits, self.mask[0]))
        self._next(block, [pc for pc, _ in ways])

    def _wait(self, behind: int) -> None:
        """Keep what is needed behind the barrier, and wait."""
        e = self.e
        self._require_all()
        place = runtime.place_of(e, "barriers")
        runtime.add(e, place, e.const(I64, 1))
        runtime.put(e, "bar_pc", behind)
        base = e.pointer("saved")
        for place, type_, at in self.saved[behind]:
            e.b.store(e.b.load(place, typ=type_), e.offset(base, at), align=8)
        runtime.put(e, "mask", e.b.zext(self.memory.bits, I64))
        runtime.put(e, "resume", list(self.saved).index(behind) + 1)
        e.b.branch(self.wait)

    def _require_all(self) -> None:
        """A fault unless no other lane of the warp is elsewhere."""
        pending, e = self.analysis.facts[self.block.pc].pending, self.e
        if self.mask is None or not pending:
            return
        others = e.const(I32, 0)
        for pc in pending:
            others = e.b.or_(others, self._mask_of(pc))
        parted, rest = (e.function.append_basic_block(n) for n in ("parted", "rest"))
        e.b.cbranch(e.b.icmp_unsigned("!=", others, e.const(I32, 0)), parted, rest)
        e.b.position_at_end(parted)
        self._fault(FaultCode.DIVERGED, e.const(I64, 0), self.memory.first())
        e.b.position_at_end(rest)

    # Faults

    def _fault_here(self, place: Place) -> None:
        """The end of a block at an instruction that there is not."""
        self._fault(
            place.fault,
            self.e.const(I64, place.word),
            self.memory.first(),
            counted=int(place.counts),
        )

    def _fault(
        self, code: FaultCode, address: Data, lane: Data, counted: int = 1, pc: Data = None
    ) -> None:
        """End the LLVM block with a fault of a lane at the present instruction, or at `pc`. What
        the block has counted too much is taken back."""
        e = self.e
        runtime.put(e, "fault_code", int(code))
        runtime.put(e, "fault_address", address)
        here = self.block.places[self.number].pc
        runtime.put(e, "fault_pc", here if pc is None else pc)
        runtime.put(e, "fault_lane", lane)
        skipped = e.const(I64, self.block.size - self.number - counted)
        e.b.store(e.b.add(e.b.load(self.left, typ=I64), skipped), self.left)
        if self.mask is not None:
            more = e.b.mul(skipped, e.b.sub(e.const(I64, LANES), self.memory.count()))
            e.b.store(e.b.add(e.b.load(self.extra, typ=I64), more), self.extra)
        e.b.branch(self.failed)

    # The world

    def load(self, address: Value, bits: int) -> Value:
        return self.memory.load(address, bits)

    def store(self, address: Value, value: Value) -> None:
        self.memory.store(address, value)

    def atomic(self, frame: Frame, address: Value, bits: int) -> Value:
        return collective.atomic(self.memory, frame, address, bits)

    def csr(self, number: int) -> Value:
        return collective.csr(self.memory, number, self.analysis.shapes)

    def lane(self, name: str, operands: list[Value]) -> Value:
        return collective.lane(self.memory, name, operands)
