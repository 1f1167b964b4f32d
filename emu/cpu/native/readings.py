"""The native reading of the graph: what each operation means in LLVM.

`READINGS` has an entry for every operation of `emu.isa.graph.OPS`, checked at import. A reading
gets the frame and the node and gives the node's value (None for a step that has none). Operands
are evaluated on demand and once; steps run in program order. To bail is a reading: what native code
does not do, the reference engine does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from emu.cpu.native.control import emit_control
from emu.cpu.native.floating import emit_fp
from emu.cpu.native.handler import BIT, Frame, i64, width_of
from emu.cpu.native.tensor import emit_tensor
from emu.cpu.state import Dirty, Exit
from emu.isa.graph import OPS, Arg, Node

Reading = Callable[[Frame, Node], ir.Value | None]


def value(frame: Frame, node: Arg) -> ir.Value:
    """The LLVM value of a node."""
    assert isinstance(node, Node), f"{node!r} is no value"
    known = frame.values.get(id(node))
    if known is None:
        if not OPS[node.op].pure:
            raise ValueError(f"'{node.op}' is used before its step")
        known = READINGS[node.op](frame, node)
        assert known is not None
        frame.values[id(node)] = known
    return known


def execute(frame: Frame, steps: Sequence[Node]) -> None:
    """Emit the steps of an instruction, up to where control goes (`frame.jump`, `frame.branch`), or
    of a routine."""
    for step in steps:
        result = READINGS[step.op](frame, step)
        if result is not None:
            frame.values[id(step)] = result
    for action in frame.after:
        action()


def perform(frame: Frame, steps: tuple[Node, ...]) -> None:
    """Emit the steps of an instruction and the way to the next one; ends the function."""
    execute(frame, steps)
    if frame.end is not None:
        frame.end()
    elif frame.jump is not None:
        frame.goto(frame.jump)
    elif frame.branch is not None:
        _branch(frame, *frame.branch)
    else:
        frame.next()


def _branch(frame: Frame, condition: ir.Value, target: ir.Value) -> None:
    taken = frame.function.append_basic_block("taken")
    falls = frame.function.append_basic_block("falls")
    frame.builder.cbranch(condition, taken, falls)
    frame.builder.position_at_end(falls)
    frame.next()
    frame.builder.position_at_end(taken)
    frame.goto(target)


# Pure operations


def _const(frame: Frame, node: Node) -> ir.Value:
    return ir.Constant(width_of(node), node.args[0])


def _slot(frame: Frame, node: Node) -> ir.Value:
    return frame.operand(str(node.args[0]))


def _pc(frame: Frame, node: Node) -> ir.Value:
    return frame.pc


def _binary(method: str) -> Reading:
    """An operation that is one LLVM instruction on two operands."""

    def reading(frame: Frame, node: Node) -> ir.Value:
        left, right = (value(frame, a) for a in node.args)
        return getattr(frame.builder, method)(left, right)

    return reading


def _compare(operator: str, signed: bool = False) -> Reading:
    def reading(frame: Frame, node: Node) -> ir.Value:
        left, right = (value(frame, a) for a in node.args)
        compare = frame.builder.icmp_signed if signed else frame.builder.icmp_unsigned
        return compare(operator, left, right)

    return reading


def _resize(method: str) -> Reading:
    def reading(frame: Frame, node: Node) -> ir.Value:
        return getattr(frame.builder, method)(value(frame, node.args[0]), width_of(node))

    return reading


def _intrinsic(name: str, *flags: int) -> Reading:
    """An operation that is one LLVM intrinsic on one operand; `flags` are its further 1-bit
    arguments."""

    def reading(frame: Frame, node: Node) -> ir.Value:
        operand = value(frame, node.args[0])
        kinds = [operand.type, *(BIT for _ in flags)]
        function = frame.module.declare_intrinsic(
            f"llvm.{name}", [operand.type], ir.FunctionType(operand.type, kinds)
        )
        return frame.builder.call(function, [operand, *(ir.Constant(BIT, f) for f in flags)])

    return reading


def _select(frame: Frame, node: Node) -> ir.Value:
    condition, if_true, if_false = (value(frame, a) for a in node.args)
    return frame.builder.select(condition, if_true, if_false)


def _divide(signed: bool, remainder: bool) -> Reading:
    """Division by zero gives all ones, its remainder the dividend; the signed overflow gives the
    dividend and 0. Both are undefined in LLVM, so the divisor is replaced first."""

    def reading(frame: Frame, node: Node) -> ir.Value:
        b, kind = frame.builder, width_of(node)
        left, right = (value(frame, a) for a in node.args)
        zero, one, ones = (ir.Constant(kind, v) for v in (0, 1, -1))
        by_zero = b.icmp_unsigned("==", right, zero)
        replaced = by_zero
        if signed:
            smallest = ir.Constant(kind, 1 << (node.width - 1))
            overflow = b.and_(
                b.icmp_unsigned("==", left, smallest), b.icmp_unsigned("==", right, ones)
            )
            replaced = b.or_(by_zero, overflow)
        divisor = b.select(replaced, one, right)
        if remainder:
            result = (b.srem if signed else b.urem)(left, divisor)
            return b.select(by_zero, left, result)
        result = (b.sdiv if signed else b.udiv)(left, divisor)
        return b.select(by_zero, ones, result)

    return reading


def _multiply_high(left_signed: bool, right_signed: bool) -> Reading:
    def reading(frame: Frame, node: Node) -> ir.Value:
        b, double = frame.builder, ir.IntType(2 * node.width)
        left, right = (value(frame, a) for a in node.args)
        left = (b.sext if left_signed else b.zext)(left, double)
        right = (b.sext if right_signed else b.zext)(right, double)
        product = b.mul(left, right)
        return b.trunc(b.lshr(product, ir.Constant(double, node.width)), width_of(node))

    return reading


def _orcb(frame: Frame, node: Node) -> ir.Value:
    """Each byte that is not zero becomes 0xff: its bits are folded into bit 0, then spread."""
    b, kind = frame.builder, width_of(node)
    low_bits = ir.Constant(kind, int("01" * (node.width // 8), 16))
    bits = value(frame, node.args[0])
    for distance in (4, 2, 1):
        mask = ir.Constant(kind, int(f"{(1 << distance) - 1:02x}" * (node.width // 8), 16))
        bits = b.or_(b.and_(bits, mask), b.and_(b.lshr(bits, ir.Constant(kind, distance)), mask))
    return b.mul(b.and_(bits, low_bits), ir.Constant(kind, 0xFF))


# Registers and control


def _read_x(frame: Frame, node: Node) -> ir.Value:
    return frame.load("x", value(frame, node.args[0]))


def _write_x(frame: Frame, node: Node) -> None:
    """x0 needs no test: the decoder names the sink in its place, constants do so here."""
    index = node.args[0]
    assert isinstance(index, Node)
    if index.op == "const" and index.args[0] == 0:
        return
    frame.store("x", value(frame, node.args[1]), value(frame, index))


def _read_f(frame: Frame, node: Node) -> ir.Value:
    return frame.load("f", value(frame, node.args[0]))


def _write_f(frame: Frame, node: Node) -> None:
    """`fp_check` has seen to it that FS is dirty already."""
    frame.store("f", value(frame, node.args[1]), value(frame, node.args[0]))


def _fp_check(frame: Frame, node: Node) -> None:
    """The reference engine turns FS dirty on the first use; from then on we go ahead."""
    fs = frame.load("fs")
    frame.bail_if(frame.builder.icmp_unsigned("!=", fs, i64(Dirty.DIRTY)))


def _jump(frame: Frame, node: Node) -> None:
    frame.jump = value(frame, node.args[0])


def _take_branch(frame: Frame, node: Node) -> None:
    frame.branch = value(frame, node.args[0]), value(frame, node.args[1])


def _trap_if(frame: Frame, node: Node) -> None:
    frame.bail_if(value(frame, node.args[0]))


def _system(frame: Frame, node: Node) -> ir.Value:
    """Only operations of `NATIVE_SYSTEM` get here: others have no native handler."""
    name = str(node.args[0])
    if name != "tensor":
        return emit_control(frame, name, [value(frame, a) for a in node.args[1:]])
    return emit_tensor(frame, str(node.args[1]), [(a, value(frame, a)) for a in node.args[2:]])


# Memory


def _load(frame: Frame, node: Node) -> ir.Value:
    address = value(frame, node.args[0])
    is_amo = node.args[1] == "amo"
    buffer, miss = ("store_tlb", Exit.STORE_MISS) if is_amo else ("load_tlb", Exit.LOAD_MISS)

    def read(pointer: ir.Value) -> ir.Value:
        return frame.builder.load(pointer, typ=width_of(node), align=1)

    loaded = frame.access(address, node.width // 8, buffer, miss, read)
    assert loaded is not None
    return loaded


def _store(frame: Frame, node: Node) -> None:
    address, stored = value(frame, node.args[0]), value(frame, node.args[1])
    end = None
    if node.args[2] is not None:
        condition = value(frame, node.args[2])
        doing = frame.function.append_basic_block("store")
        end = frame.function.append_basic_block("stored")
        frame.builder.cbranch(condition, doing, end)
        frame.builder.position_at_end(doing)
    size = stored.type.width // 8

    def write(pointer: ir.Value) -> None:
        frame.builder.store(stored, pointer, align=1)

    frame.access(address, size, "store_tlb", Exit.STORE_MISS, write)
    if end is not None:
        frame.builder.branch(end)
        frame.builder.position_at_end(end)


def _reserve(frame: Frame, node: Node) -> None:
    frame.store("reservation", value(frame, node.args[0]))
    frame.store("reserved", i64(1))


def _reserved(frame: Frame, node: Node) -> ir.Value:
    """The reservation is cleared at the end: the store that follows may still bail."""
    b = frame.builder
    same = b.icmp_unsigned("==", frame.load("reservation"), value(frame, node.args[0]))
    held = b.icmp_unsigned("!=", frame.load("reserved"), i64(0))
    frame.after.append(lambda: frame.store("reserved", i64(0)))
    return b.and_(same, held)


def _fp(frame: Frame, node: Node) -> ir.Value:
    name, rm, *operands = node.args
    rounding = None if rm is None else value(frame, rm)
    return emit_fp(frame, str(name), rounding, [value(frame, a) for a in operands])


def _index(frame: Frame, index: Arg) -> ir.Value | None:
    return None if index is None else value(frame, index)


def _read_word(frame: Frame, node: Node) -> ir.Value:
    name, index = node.args
    return frame.load(str(name), _index(frame, index))


def _write_word(frame: Frame, node: Node) -> None:
    name, index, written = node.args
    frame.store(str(name), value(frame, written), _index(frame, index))


READINGS: dict[str, Reading] = {
    "const": _const, "slot": _slot, "pc": _pc, "select": _select,
    "add": _binary("add"), "sub": _binary("sub"), "mul": _binary("mul"),
    "and": _binary("and_"), "or": _binary("or_"), "xor": _binary("xor"),
    "shl": _binary("shl"), "shr": _binary("lshr"), "sar": _binary("ashr"),
    "divs": _divide(True, False), "divu": _divide(False, False),
    "rems": _divide(True, True), "remu": _divide(False, True),
    "mulh": _multiply_high(True, True), "mulhu": _multiply_high(False, False),
    "mulhsu": _multiply_high(True, False),
    "eq": _compare("=="), "ne": _compare("!="), "ltu": _compare("<"), "lts": _compare("<", True),
    "sext": _resize("sext"), "zext": _resize("zext"), "trunc": _resize("trunc"),
    "clz": _intrinsic("ctlz", 0), "ctz": _intrinsic("cttz", 0), "popcount": _intrinsic("ctpop"),
    "bswap": _intrinsic("bswap"), "orcb": _orcb,
    "read_x": _read_x, "write_x": _write_x, "read_f": _read_f, "write_f": _write_f,
    "load": _load, "store": _store, "reserve": _reserve, "reserved": _reserved,
    "trap_if": _trap_if, "fp_check": _fp_check, "fp": _fp, "system": _system,
    "jump": _jump, "branch": _take_branch,
    "read_word": _read_word, "write_word": _write_word,
}  # fmt: skip

if _missing := OPS.keys() ^ READINGS.keys():
    raise ImportError(f"the native reading and the graph differ in: {sorted(_missing)}")
