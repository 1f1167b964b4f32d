"""The lanes' reading of the instruction graph: what each operation means for 32 lanes at once.

`READINGS` has an entry for every operation of `emu.isa.graph.OPS`, checked at import. A reading
gets the `Frame`, which knows the registers and what memory is, and the node, and gives the node's
value (None for a step that has none). `execute` performs one instruction and says in
`Frame.control` where the lanes go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from llvmlite import ir

from emu.devices.gpu.lift.floating import Refused, compute
from emu.devices.gpu.lift.lanes import BOX, Data, Lanes
from emu.devices.gpu.lift.values import Value, constant
from emu.isa.decode import Decoded
from emu.isa.graph import OPS, Arg, Node

Reading = Callable[["Frame", Node], "Value | None"]
Register = tuple[str, int]
"""A bank, "x" or "f", and a number. A place in the stack that is used like a register is of bank
"s"; its number is its distance from the initial stack pointer."""
Slot = tuple[int, int]
"""Such a place: its number and its size in bits."""


class Illegal(Exception):
    """The instruction is one that lanes do not have, or not with these operands (`tried`)."""

    def __init__(self, *, tried: bool = False) -> None:
        super().__init__()
        self.tried = tried


class Control(NamedTuple):
    """Where lanes go that do not simply go on: to `target`, or only where `condition` holds."""

    target: Value
    condition: Value | None = None


class World(Protocol):
    """What an instruction does besides arithmetic, while kinds are being found or code emitted."""

    slots: Mapping[int, Slot]
    """By the address of a load or store, the place in the stack that it is about."""

    def load(self, address: Value, bits: int) -> Value:
        """Read memory."""

    def store(self, address: Value, value: Value) -> None:
        """Write memory."""

    def atomic(self, frame: Frame, address: Value, bits: int) -> Value:
        """Perform the atomic instruction in `frame`; what was in memory."""

    def csr(self, number: int) -> Value:
        """Read a CSR; Illegal if lanes have none of that number."""

    def lane(self, name: str, operands: list[Value]) -> Value:
        """An instruction of a warp (`emu.isa.xlane`)."""


class Frame:
    """One instruction being executed: its slots, the registers, the values known so far."""

    def __init__(
        self, lanes: Lanes, world: World, registers: dict[Register, Value], insn: Decoded, pc: int
    ) -> None:
        self.lanes, self.world, self.registers = lanes, world, registers
        self.insn, self.pc = insn, pc
        self.values: dict[int, Value] = {}
        self.control: Control | None = None

    def value(self, node: Arg) -> Value:
        """The value of a node."""
        assert isinstance(node, Node), f"{node!r} is no value"
        known = self.values.get(id(node))
        if known is None:
            found = READINGS[node.op](self, node)
            assert found is not None
            assert OPS[node.op].pure, f"'{node.op}' is used before its step"
            known = self.values[id(node)] = found
        return known

    def operand(self, index: int) -> Value:
        """An integer register."""
        return self.registers[("x", index)] if index else constant(0)

    def number(self, node: Arg) -> int:
        """The value of a node that is a constant, such as a register's number."""
        number = self.value(node).number()
        assert number is not None
        return number


def execute(frame: Frame) -> None:
    """Perform the steps of the frame's instruction. Raises Illegal, having done nothing."""
    insn = frame.insn.insn
    if insn.mnemonic in _SIGNS and frame.insn.rs1 == frame.insn.rs2 and _sign(frame):
        return
    if any(step.op in ("reserve", "reserved") for step in insn.steps):
        raise Illegal
    perform(frame, insn.steps)


_SIGNS = {
    f"{name}.{size}": op
    for name, op in (("fsgnj", ""), ("fsgnjn", "xor"), ("fsgnjx", "and"))
    for size in "sd"
}
"""With one operand twice they move, negate and clear the sign, and look at no other bit."""


def _sign(frame: Frame) -> bool:
    """Do that, unless the operand is not known to be a number of that size."""
    name, registers, lanes = frame.insn.insn.mnemonic, frame.registers, frame.lanes
    source, op = registers[("f", frame.insn.rs1)], _SIGNS[name]
    single = name.endswith(".s")
    if (single and source.kind.form != "b") or (not single and source.kind.form):
        return False
    if op:
        bits = 32 if single else 64
        source = lanes.sign(op, lanes.trunc(source, bits))
        if single:
            source = lanes.binary("or", lanes.extend("zext", source, 64), constant(BOX))
    registers[("f", frame.insn.rd)] = source
    return True


def perform(frame: Frame, steps: Sequence[Node]) -> None:
    """Perform steps; those of an atomic instruction as one."""
    for step in steps:
        if step.op == "load" and step.args[1] == "amo":
            frame.values[id(step)] = frame.world.atomic(
                frame, frame.value(step.args[0]), step.width
            )
            rest = [s for s in steps if s.op == "write_x"]
            return perform(frame, rest)
        result = READINGS[step.op](frame, step)
        if result is not None:
            frame.values[id(step)] = result
    return None


# Pure operations


def _const(frame: Frame, node: Node) -> Value:
    value = node.args[0]
    assert isinstance(value, int)
    return constant(value, node.width)


def _slot(frame: Frame, node: Node) -> Value:
    return constant(getattr(frame.insn, str(node.args[0])))


def _pc(frame: Frame, node: Node) -> Value:
    return constant(frame.pc)


def _binary(frame: Frame, node: Node) -> Value:
    return frame.lanes.binary(node.op, frame.value(node.args[0]), frame.value(node.args[1]))


def _select(frame: Frame, node: Node) -> Value:
    condition, a, b = (frame.value(arg) for arg in node.args)
    return frame.lanes.select(condition, a, b)


def _extend(frame: Frame, node: Node) -> Value:
    return frame.lanes.extend(node.op, frame.value(node.args[0]), node.width)


def _trunc(frame: Frame, node: Node) -> Value:
    return frame.lanes.trunc(frame.value(node.args[0]), node.width)


def _intrinsic(name: str, *flags: int) -> Reading:
    return lambda frame, node: frame.lanes.unary(name, frame.value(node.args[0]), *flags)


def _divide(signed: bool, remainder: bool) -> Reading:
    """Division by zero gives all ones, its remainder the dividend; the signed overflow gives the
    dividend and 0. Both are undefined in LLVM, so the divisor is replaced first."""

    def reading(frame: Frame, node: Node) -> Value:
        width, lanes = node.width, frame.lanes

        def emit(b: ir.IRBuilder, operands: list[Data], vector: bool) -> Data:
            left, right = operands
            zero, one, ones = (lanes.constant(v, width, vector) for v in (0, 1, -1))
            by_zero = b.icmp_unsigned("==", right, zero)
            replaced = by_zero
            if signed:
                smallest = lanes.constant(1 << (width - 1), width, vector)
                overflow = b.and_(
                    b.icmp_unsigned("==", left, smallest), b.icmp_unsigned("==", right, ones)
                )
                replaced = b.or_(by_zero, overflow)
            divisor = b.select(replaced, one, right)
            if remainder:
                result = (b.srem if signed else b.urem)(left, divisor)
                return b.select(by_zero, left, result)
            return b.select(by_zero, ones, (b.sdiv if signed else b.udiv)(left, divisor))

        return lanes.compute(width, emit, *(frame.value(a) for a in node.args))

    return reading


def _multiply_high(left_signed: bool, right_signed: bool) -> Reading:
    """Schoolbook multiplication of halves, since no host has vectors of 128-bit products: unsigned
    first, then what a negative operand took away."""

    def reading(frame: Frame, node: Node) -> Value:
        lanes, width = frame.lanes, node.width
        half = width // 2

        def emit(b: ir.IRBuilder, operands: list[Data], vector: bool) -> Data:
            def k(value: int) -> Data:
                return lanes.constant(value, width, vector)

            x, y = operands
            low = k((1 << half) - 1)
            x0, x1, y0, y1 = b.and_(x, low), b.lshr(x, k(half)), b.and_(y, low), b.lshr(y, k(half))
            middle = b.add(b.mul(x1, y0), b.lshr(b.mul(x0, y0), k(half)))
            other = b.add(b.mul(x0, y1), b.and_(middle, low))
            high = b.add(b.mul(x1, y1), b.add(b.lshr(middle, k(half)), b.lshr(other, k(half))))
            for signed, a, c in ((left_signed, x, y), (right_signed, y, x)):
                if signed:
                    high = b.sub(high, b.and_(b.ashr(a, k(width - 1)), c))
            return high

        return lanes.compute(width, emit, *(frame.value(a) for a in node.args))

    return reading


def _orcb(frame: Frame, node: Node) -> Value:
    """Each byte that is not zero becomes 0xff: its bits are folded into bit 0, then spread."""
    lanes, width = frame.lanes, node.width

    def emit(b: ir.IRBuilder, operands: list[Data], vector: bool) -> Data:
        def every(byte: int) -> Data:
            return lanes.constant(int(f"{byte:02x}" * (width // 8), 16), width, vector)

        (bits,) = operands
        for distance in (4, 2, 1):
            mask = every((1 << distance) - 1)
            moved = b.lshr(bits, lanes.constant(distance, width, vector))
            bits = b.or_(b.and_(bits, mask), b.and_(moved, mask))
        return b.mul(b.and_(bits, every(1)), lanes.constant(0xFF, width, vector))

    return lanes.compute(width, emit, frame.value(node.args[0]))


# Registers, control and memory


def _read(bank: str) -> Reading:
    def reading(frame: Frame, node: Node) -> Value:
        index = frame.number(node.args[0])
        return constant(0) if (bank, index) == ("x", 0) else frame.registers[(bank, index)]

    return reading


def _write(bank: str) -> Reading:
    def reading(frame: Frame, node: Node) -> None:
        index = frame.number(node.args[0])
        if (bank, index) != ("x", 0):
            frame.registers[(bank, index)] = frame.value(node.args[1])

    return reading


def _jump(frame: Frame, node: Node) -> None:
    frame.control = Control(frame.value(node.args[0]))


def _branch(frame: Frame, node: Node) -> None:
    frame.control = Control(frame.value(node.args[1]), frame.value(node.args[0]))


def _load(frame: Frame, node: Node) -> Value:
    if slot := frame.world.slots.get(frame.pc):
        return frame.lanes.trunc(frame.registers[("s", slot[0])], node.width)
    return frame.world.load(frame.value(node.args[0]), node.width)


def _store(frame: Frame, node: Node) -> None:
    if slot := frame.world.slots.get(frame.pc):
        value = frame.lanes.extend("zext", frame.value(node.args[1]), 64)
        frame.registers[("s", slot[0])] = value
        return
    frame.world.store(frame.value(node.args[0]), frame.value(node.args[1]))


def _fp(frame: Frame, node: Node) -> Value:
    """A flipped sign of an operand is flipped as a float, so that its NaN may stay as it is."""
    name, rm, *operands = node.args
    mode = 0 if rm is None else frame.number(rm)
    if mode in (5, 6):
        raise Illegal(tried=True)
    values, signs = [], []
    for operand in operands:
        assert isinstance(operand, Node)
        signs.append(0)
        if operand.op == "xor" and str(name).endswith(".madd"):
            flip = frame.number(operand.args[1])
            if flip in (0, 1 << (operand.width - 1)):
                signs[-1] = int(flip != 0)
                assert isinstance(operand.args[0], Node)
                operand = operand.args[0]
        values.append(frame.value(operand))
    return compute(frame.lanes, str(name), mode, values, signs)


def _system(frame: Frame, node: Node) -> Value:
    """CSRs are read-only for lanes; of the hart's other methods they have none."""
    name, *operands = node.args
    if name in ("csr_set", "csr_clear", "csr_swap"):
        number, _, writes = operands
        if frame.number(writes):
            raise Illegal(tried=True)
        return frame.world.csr(frame.number(number))
    if name == "lane":
        kind, *rest = operands
        return frame.world.lane(str(kind), [frame.value(o) for o in rest])
    if frame.insn.insn.extension == "xaitensor":
        raise Refused("tensor instructions are the reference engine's.")
    raise Illegal


def _nothing(frame: Frame, node: Node) -> None:
    """Lanes have no state of the floating-point unit; an atomic's alignment is checked with it."""


def _absent(frame: Frame, node: Node) -> Value:
    """Lanes have no reservations and no state block."""
    raise Illegal


READINGS: dict[str, Reading] = {
    "const": _const, "slot": _slot, "pc": _pc, "select": _select,
    **dict.fromkeys(("add", "sub", "mul", "and", "or", "xor", "shl", "shr", "sar"), _binary),
    **dict.fromkeys(("eq", "ne", "ltu", "lts"), _binary),
    "divs": _divide(True, False), "divu": _divide(False, False),
    "rems": _divide(True, True), "remu": _divide(False, True),
    "mulh": _multiply_high(True, True), "mulhu": _multiply_high(False, False),
    "mulhsu": _multiply_high(True, False),
    "sext": _extend, "zext": _extend, "trunc": _trunc,
    "clz": _intrinsic("ctlz", 0), "ctz": _intrinsic("cttz", 0), "popcount": _intrinsic("ctpop"),
    "bswap": _intrinsic("bswap"), "orcb": _orcb,
    "read_x": _read("x"), "write_x": _write("x"), "read_f": _read("f"), "write_f": _write("f"),
    "load": _load, "store": _store, "jump": _jump, "branch": _branch, "fp": _fp,
    "system": _system, "trap_if": _nothing, "fp_check": _nothing,
    **dict.fromkeys(("reserve", "reserved", "read_word", "write_word"), _absent),
}  # fmt: skip

if _missing := OPS.keys() ^ READINGS.keys():
    raise ImportError(f"the lanes' reading and the graph differ in: {sorted(_missing)}")
