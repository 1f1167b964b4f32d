"""What is known where each block begins: the registers' kinds, and whether the warp is together.

**Parting.** A branch whose condition differs among lanes *parts* them. Of the lanes of a warp those
with the lowest pc go on; `Facts.pending` are the blocks, all at higher addresses, where others may
be waiting meanwhile. Where there is none the warp is *together*: all lanes that have not ended
execute the block at the same time.

**Kinds** are found by executing blocks until nothing changes. A scalar register is one place for
the whole warp, so it must never be written while other lanes still need what it held: only blocks
that the warp executes together write scalars that others read. What a part of a warp writes is a
vector to the next block (or a constant, as long as all paths bring the same).

Both depend on each other: which branches part depends on kinds. We begin with none and go through
all again whenever another one is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from emu.devices.gpu.lift import world
from emu.devices.gpu.lift.floating import Refused
from emu.devices.gpu.lift.lanes import Lanes
from emu.devices.gpu.lift.program import EXIT, Block, Program
from emu.devices.gpu.lift.readings import Control, Frame, Register, Slot, execute
from emu.devices.gpu.lift.values import Kind, Shape, Value, const, join, scattered, settled
from emu.devices.gpu.lift.world import Shapes

_SP, _A0 = ("x", 2), ("x", 10)
SLOTS_MAX = 64
"""Places in the stack that are registers, at most."""
_LINKS = (1, 5)
"""Registers in which return addresses are by convention (unprivileged specification, 2.5)."""


@dataclass
class Facts:
    """What is known about a block."""

    kinds: dict[Register, Kind] = field(default_factory=dict)
    """Of the registers that are live at its beginning."""
    exits: set[int] = field(default_factory=set)
    """Where it goes on, EXIT included."""
    parts: bool = False
    """Its lanes may go different ways."""
    pending: set[int] = field(default_factory=set)
    """Blocks at which other lanes may be while this one is executed."""

    @property
    def together(self) -> bool:
        """Whether all lanes that have not ended execute it at once."""
        return not self.pending


class _Finding:
    """The world in which kinds are found."""

    def __init__(self, shapes: Shapes, slots: Mapping[int, Slot]) -> None:
        self.shapes, self.slots = shapes, slots
        self.escaped = False
        self.pc = 0
        self.private: dict[int, set[Slot | None]] = {}
        """By the address of each instruction that accesses private memory, the places in the
        stack; None for any other."""

    def _access(self, address: Value, bits: int) -> None:
        if address.kind.private:
            stack = address.kind.stack
            place = None if stack is None else (stack, bits)
            self.private.setdefault(self.pc, set()).add(place)

    def load(self, address: Value, bits: int) -> Value:
        self._access(address, bits)
        return Value(world.loaded(address, bits, self.escaped))

    def store(self, address: Value, value: Value) -> None:
        self._access(address, value.width)
        self.escaped |= value.kind.private

    def atomic(self, frame: Frame, address: Value, bits: int) -> Value:
        if address.kind.private:
            self.private[self.pc] = {None}
        return Value(Kind(bits, private=self.escaped))

    def csr(self, number: int) -> Value:
        return Value(world.csr(number, self.shapes)[1])

    def lane(self, name: str, operands: list[Value]) -> Value:
        return Value(world.lane(name, operands))


@dataclass
class Analysis:
    """The facts of all blocks by address. Raises Refused where control goes who knows where."""

    program: Program
    shapes: Shapes

    def __post_init__(self) -> None:
        self._world = _Finding(self.shapes, self.program.slots)
        self._lanes = Lanes(None)
        self.facts = {pc: Facts() for pc in self.program.blocks}
        while self._changes():
            pass

    @property
    def escaped(self) -> bool:
        """Whether an address in private memory may be loaded."""
        return self._world.escaped

    @property
    def uses_private_memory(self) -> bool:
        """Whether private memory is accessed."""
        return bool(self._world.private)

    def slots(self) -> dict[int, Slot]:
        """The places of the stack, by the instructions that access them, if all of the stack can
        be registers: no address in it goes anywhere, and no two places overlap."""
        found = self._world.private
        places = {pc: next(iter(slots)) for pc, slots in found.items() if len(slots) == 1}
        slots = {pc: slot for pc, slot in places.items() if slot is not None}
        sizes = dict(slots.values())
        words = {number // 8 for number in sizes}
        fits = all(
            number + bits // 8 <= min(0, number // 8 * 8 + 8) for number, bits in sizes.items()
        )
        alone = len(words) == len(sizes) == len(set(slots.values())) <= SLOTS_MAX
        return slots if alone and fits and len(slots) == len(found) and not self.escaped else {}

    def _changes(self) -> bool:
        """Go through everything once; whether another branch turned out to part lanes."""
        known = self._state()
        self._find_pending()
        self._world.private = {}
        for facts in self.facts.values():
            facts.kinds = {}
        self._seen: set[int] = set()
        self._work = [self.program.entry]
        self._meet(self.program.entry, self._start())
        while self._work:
            self._visit(self.program.blocks[self._work.pop()])
        return known != self._state()

    def _state(self) -> object:
        parts = [(f.parts, frozenset(f.exits)) for f in self.facts.values()]
        return parts, self._world.escaped

    def _start(self) -> dict[Register, Kind]:
        kinds = dict.fromkeys(self.program.registers, const(0))
        kinds[_SP] = Kind(64, Shape.UNIFORM, stack=0, private=True)
        kinds[_A0] = Kind(64, Shape.UNIFORM)
        return kinds

    # kinds

    def _meet(self, pc: int, kinds: dict[Register, Kind]) -> None:
        """Another way into a block brings these kinds."""
        here, changed = self.facts[pc].kinds, pc not in self._seen
        self._seen.add(pc)
        for register in self.program.blocks[pc].live:
            old, new = here.get(register), kinds[register]
            here[register] = new if old is None else join(old, new)
            changed |= here[register] != old
        if changed and pc not in self._work:
            self._work.append(pc)

    def entering(self, pc: int) -> dict[Register, Kind]:
        """The kinds at a block's beginning; together, it does not matter who wrote a register."""
        facts = self.facts[pc]
        if not facts.together:
            return facts.kinds
        return {r: replace(kind, local=False) for r, kind in facts.kinds.items()}

    def _visit(self, block: Block) -> None:
        """Execute a block and bring what it leaves to the next ones."""
        facts = self.facts[block.pc]
        before = {r: Value(kind) for r, kind in self.entering(block.pc).items()}
        registers = dict.fromkeys(self.program.registers, Value(const(0))) | before
        control = None
        for place in block.places:
            if place.insn is None:
                return
            frame = Frame(self._lanes, self._world, registers, place.insn, place.pc)
            self._world.pc = place.pc
            execute(frame)
            control = frame.control
        exits, parts = self._leave(block, control)
        facts.exits |= exits
        facts.parts |= parts
        following = facts.exits - {EXIT}
        read = set().union(*(self.program.blocks[pc].live for pc in following))
        after = {
            r: self._crossing(registers[r].kind, facts, before.get(r) is registers[r]) for r in read
        }
        for pc in following:
            self._meet(pc, after)

    def _leave(self, block: Block, control: Control | None) -> tuple[set[int], bool]:
        """Where a block goes on, and whether its lanes part there."""
        if control is None:
            return {block.last.behind}, False
        target, condition = control
        targets = possible_targets(self.program, block, target)
        if condition is None:
            return targets, target.shape is Shape.VECTOR and len(targets) > 1
        known = condition.number()
        if known is not None:
            return targets if known else {block.last.behind}, False
        return targets | {block.last.behind}, condition.shape is Shape.VECTOR

    def _crossing(self, kind: Kind, facts: Facts, unwritten: bool) -> Kind:
        """As what a register's value comes to the next block."""
        kind = settled(kind)
        if facts.together or unwritten:
            return kind
        if kind.is_kept:
            kind = scattered(kind)
        return replace(kind, local=True)

    # parting

    def _find_pending(self) -> None:
        """Where lanes may wait, from where they part and which block has the lowest pc."""
        for facts in self.facts.values():
            facts.pending = set()
        work, seen = [self.program.entry], {self.program.entry}
        while work:
            pc = work.pop()
            for following, waiting in self._following(pc):
                pending = self.facts[following].pending
                if following not in seen or not waiting <= pending:
                    seen.add(following)
                    pending |= waiting
                    work.append(following)

    def _following(self, pc: int) -> list[tuple[int, set[int]]]:
        """The blocks that may be executed next, and where lanes may wait then."""
        facts = self.facts[pc]
        waiting = set() if self.program.blocks[pc].is_barrier else facts.pending
        ways = [facts.exits] if facts.parts else [{e} for e in facts.exits]
        found = []
        for way in ways:
            arrived = way - {EXIT}
            places = waiting | arrived
            highest = max(arrived) if arrived and EXIT not in way else max(places, default=0)
            found += [
                (first, {p for p in places if p > first}) for first in places if first <= highest
            ]
        return found


def possible_targets(program: Program, block: Block, target: Value) -> set[int]:
    """Where the jump at the end of a block may go. A return may go behind any call, or to where
    lanes end. Raises Refused for a jump that is neither known nor a return."""
    known = target.number()
    insn = block.last.insn
    assert insn is not None
    if known is not None:
        targets = {known}
    elif target.kind.targets is not None:
        targets = set(target.kind.targets)
    elif insn.rs1 in _LINKS and insn.insn.mnemonic in ("jalr", "c.jr"):
        return program.return_points | {EXIT}
    else:
        raise Refused(f"a jump at {block.last.pc:#x} to a computed address.")
    if strange := targets - program.blocks.keys() - {EXIT}:
        raise Refused(f"a jump at {block.last.pc:#x} to {min(strange):#x}, which is computed.")
    return targets
