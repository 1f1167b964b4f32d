"""A kernel's code as basic blocks: where instructions are, where control may come in and go.

`read` follows the code from its entry: a block begins where something jumps to, behind a branch, a
call and a barrier, and ends before the next one. Targets are found by executing each block with
nothing known about registers, so that an address made right before its jump (`auipc`, `jalr`) is
one too. What jumps elsewhere is a return: it goes to a place behind one of the calls, or to
address 0, where lanes end; the analysis finds out which (`analysis`), and who jumps to any other
place is for the reference engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from emu.devices.gpu.dispatch import FaultCode
from emu.devices.gpu.lift import world
from emu.devices.gpu.lift.floating import Refused
from emu.devices.gpu.lift.lanes import Lanes
from emu.devices.gpu.lift.readings import Control, Frame, Illegal, Register, Slot, execute
from emu.devices.gpu.lift.values import Kind, Value
from emu.devices.gpu.lift.world import Shapes
from emu.isa import Instruction
from emu.isa.decode import Decoded, decode
from emu.isa.graph import Node

EXIT = 0
"""A lane that jumps here has ended."""
INSTRUCTIONS_MAX = 1 << 12
"""A larger kernel is not worth the time to compile it."""
REGISTERS: tuple[Register, ...] = tuple((bank, i) for bank in "xf" for i in range(32))[1:]


@dataclass(frozen=True)
class Place:
    """An instruction and its address. In place of one that there is not, a fault."""

    pc: int
    insn: Decoded | None
    fault: FaultCode = FaultCode.ILLEGAL_INSTRUCTION
    word: int = 0
    """The fault's address: the instruction's bits, or where there is none."""
    counts: bool = True
    """Whether it is counted as executed; what is not even fetched is not."""

    @property
    def behind(self) -> int:
        return self.pc + (self.insn.length if self.insn else 0)


@dataclass
class Block:
    """Instructions that are executed one after the other."""

    places: list[Place]
    targets: set[int] = field(default_factory=set)
    """Where it may go on, as far as it says so itself: EXIT is no block."""
    returns: bool = False
    """It ends with a jump whose target is not in the instructions."""
    live: set[Register] = field(default_factory=set)
    """Registers that are read, here or later, before they are written."""

    @property
    def pc(self) -> int:
        return self.places[0].pc

    @property
    def last(self) -> Place:
        return self.places[-1]

    @property
    def size(self) -> int:
        """How many instructions are counted."""
        return sum(place.counts for place in self.places)

    @property
    def is_barrier(self) -> bool:
        """Whether it ends with a barrier."""
        return self.last.insn is not None and self.last.insn.insn.mnemonic == "bar"


@dataclass
class Program:
    """The blocks by address, in ascending order."""

    entry: int
    blocks: dict[int, Block]
    return_points: set[int]
    slots: dict[int, Slot] = field(default_factory=dict)
    """By the address of a load or store, the place in the stack that is a register to it."""

    @property
    def registers(self) -> list[Register]:
        """All registers, those in the stack included."""
        return [*REGISTERS, *sorted({("s", number) for number, _ in self.slots.values()})]

    def use_slots(self, slots: dict[int, Slot]) -> None:
        """Take these places in the stack for registers."""
        self.slots = slots
        find_live(self)

    def successors(self, block: Block) -> set[int]:
        """Every block that may follow."""
        found = block.targets | (self.return_points if block.returns else set())
        return found - {EXIT}


class _Nowhere:
    """A world in which nothing is known, for finding targets."""

    slots: Mapping[int, Slot] = MappingProxyType({})

    def load(self, address: Value, bits: int) -> Value:
        return Value(Kind(bits))

    def store(self, address: Value, value: Value) -> None:
        pass

    def atomic(self, frame: Frame, address: Value, bits: int) -> Value:
        return Value(Kind(bits))

    def csr(self, number: int) -> Value:
        return Value(world.csr(number, Shapes(flat=False))[1])

    def lane(self, name: str, operands: list[Value]) -> Value:
        if name != "bar" and not name.startswith(("vote.", "shfl.")):
            raise Refused(f"'{name}' is the reference engine's.")
        return Value(Kind(64))


class _Reader:
    """Follows the code."""

    def __init__(self, entry: int, code: bytes) -> None:
        self.entry, self.code = entry, code
        self.leaders, self.pending = {entry}, [entry]
        self.return_points: set[int] = set()
        self.places: dict[int, Place] = {}
        self.ends: dict[int, tuple[set[int], bool]] = {}
        """By the address of a block's last instruction: its targets and whether it returns."""

    def place(self, pc: int) -> Place:
        """The instruction at `pc`, or the fault that fetching it is."""
        if pc not in self.places:
            if len(self.places) == INSTRUCTIONS_MAX:
                raise Refused(f"a kernel of more than {INSTRUCTIONS_MAX} instructions.")
            self.places[pc] = self._decode(pc)
        return self.places[pc]

    def _decode(self, pc: int) -> Place:
        offset, code = pc - self.entry, self.code
        size = 2 if 0 <= offset <= len(code) - 2 and code[offset] & 3 != 3 else 4
        if not 0 <= offset <= len(code) - size:
            return Place(pc, None, FaultCode.INSTRUCTION_ADDRESS, pc, counts=False)
        word = int.from_bytes(code[offset : offset + size], "little")
        decoded = decode(word)
        return Place(pc, decoded, word=word, counts=decoded is not None)

    def lead(self, pc: int) -> int:
        if pc not in self.leaders and pc != EXIT:
            self.leaders.add(pc)
            self.pending.append(pc)
        return pc

    def follow(self, pc: int) -> None:
        """Go through the code from `pc` until it ends or was gone through before."""
        lanes, nowhere = Lanes(None), _Nowhere()
        registers: dict[Register, Value] = {r: Value(Kind(64)) for r in REGISTERS}
        while pc not in self.ends:
            place = self.place(pc)
            if place.insn is None:
                self.ends[pc] = set(), False
                return
            frame = Frame(lanes, nowhere, registers, place.insn, pc)
            try:
                execute(frame)
            except Illegal as illegal:
                self.places[pc] = Place(pc, None, word=place.word, counts=illegal.tried)
                continue
            if frame.control is not None:
                self.ends[pc] = self._leave(place, frame.control)
                return
            if place.insn.insn.mnemonic == "bar":
                self.ends[pc] = {self.lead(place.behind)}, False
                return
            pc = place.behind
            if pc in self.leaders:
                return

    def _leave(self, place: Place, control: Control) -> tuple[set[int], bool]:
        """Note where a jump or branch goes."""
        assert place.insn is not None
        targets = set()
        target = control.target.number()
        if target is not None:
            targets.add(self.lead(target))
        if control.condition is not None:
            targets.add(self.lead(place.behind))
        elif _links(place.insn.insn, place.insn):
            self.return_points.add(self.lead(place.behind))
        return targets, target is None

    def blocks(self) -> Iterator[Block]:
        """The blocks that the leaders make."""
        for leader in sorted(self.leaders):
            places = [self.place(leader)]
            while places[-1].pc not in self.ends and places[-1].behind not in self.leaders:
                places.append(self.place(places[-1].behind))
            last = places[-1]
            targets, returns = self.ends.get(last.pc, ({last.behind}, False))
            yield Block(places, set(targets), returns)


def _links(insn: Instruction, decoded: Decoded) -> bool:
    """Whether a jump leaves the address behind it in a register."""
    for step in insn.steps:
        if step.op == "write_x" and isinstance(index := step.args[0], Node):
            number = index.args[0]
            return bool(number if index.op == "const" else getattr(decoded, str(number)))
    return False


def read(entry: int, code: bytes) -> Program:
    """The program whose instructions are `code`, at the address `entry`. Raises Refused."""
    reader = _Reader(entry, code)
    while reader.pending:
        reader.follow(reader.pending.pop())
    blocks = {block.pc: block for block in reader.blocks()}
    for block, following in zip(blocks.values(), list(blocks)[1:], strict=False):
        if block.last.pc >= following or block.last.behind > following:
            raise Refused(f"instructions overlap at {following:#x}.")
    program = Program(entry, blocks, reader.return_points)
    find_live(program)
    return program


def find_live(program: Program) -> None:
    """Fill in the registers that are live where blocks begin."""
    effects = {pc: _effects(block, program.slots) for pc, block in program.blocks.items()}
    for block in program.blocks.values():
        block.live = set()
    order = list(reversed(program.blocks.values()))
    changed = True
    while changed:
        changed = False
        for block in order:
            reads, writes = effects[block.pc]
            later: set[Register] = set()
            for pc in program.successors(block):
                later |= program.blocks[pc].live
            live = reads | (later - writes)
            if live != block.live:
                block.live, changed = live, True


def _effects(block: Block, slots: Mapping[int, Slot]) -> tuple[set[Register], set[Register]]:
    """The registers that a block reads before it writes them, and those that it writes."""
    reads: set[Register] = set()
    writes: set[Register] = set()
    for place in block.places:
        for step in place.insn.insn.steps if place.insn else ():
            if step.op[:-1] in ("read_", "write_"):
                assert place.insn is not None
                register, is_write = (step.op[-1], _index(place.insn, step)), step.op[0] == "w"
            elif step.op in ("load", "store") and place.pc in slots:
                register, is_write = ("s", slots[place.pc][0]), step.op == "store"
            else:
                continue
            if is_write:
                writes.add(register)
            elif register not in writes and register != ("x", 0):
                reads.add(register)
    return reads, writes


def _index(decoded: Decoded, step: Node) -> int:
    index = step.args[0]
    assert isinstance(index, Node)
    number = index.args[0]
    return int(number) if index.op == "const" else getattr(decoded, str(number))  # type: ignore[arg-type]
