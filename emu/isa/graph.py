"""The vocabulary in which an instruction says what it does, and the tracer that records it.

A declaration's body is ordinary Python run **once**, over abstract values. Arithmetic on a `Node`
makes another `Node`; everything whose order is meaning (register reads and writes, memory, traps,
jumps, calls into the system) is also appended to the trace's `steps`, in program order. Each
consumer (Python source for the reference engine, LLVM IR for the native one, …) is one table from
operation name to meaning over this vocabulary; `OPS` is the complete list, so a reading can check
at import that it lacks none.

Two rules keep every engine precise:

* whatever can trap comes before the first write (`Trace.finish` refuses anything else), so an
  instruction can always be abandoned and executed again;
* a `Node` has a width in bits; operands of one operation are equally wide, conditions have 1 bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Union

from emu.isa.fpops import check


@dataclass(frozen=True)
class Op:
    """One operation of the vocabulary: pure ones may be moved or shared, the others may not."""

    name: str
    pure: bool
    traps: bool = False
    writes: bool = False
    doc: str = ""


def _ops(*rows: Op) -> dict[str, Op]:
    return {row.name: row for row in rows}


def _pure(names: str, doc: str) -> list[Op]:
    return [Op(name, pure=True, doc=doc) for name in names.split()]


OPS: dict[str, Op] = _ops(
    *_pure("const", "an integer constant: args (value,)"),
    *_pure("slot", "a field of the decoded instruction: args (name,), see `SLOTS`"),
    *_pure("add sub mul and or xor", "wrapping arithmetic and logic"),
    *_pure("shl shr sar", "shifts; the amount is below the width"),
    *_pure(
        "divs divu rems remu", "division as the M extension defines it, zero and overflow included"
    ),
    *_pure("mulh mulhsu mulhu", "upper half of the double-width product"),
    *_pure("eq ne lts ltu", "comparisons, width 1"),
    *_pure("select", "args (condition, if true, if false)"),
    *_pure("sext zext trunc", "change of width"),
    *_pure("clz ctz popcount", "bit counts; clz and ctz of zero give the width"),
    *_pure("bswap orcb", "byte reversal; OR-combine within each byte"),
    Op("read_x", pure=False, doc="integer register: args (index,)"),
    Op("read_f", pure=False, doc="floating-point register, 64 bits: args (index,)"),
    Op("pc", pure=True, doc="address of this instruction"),
    Op("load", pure=False, traps=True, doc="args (address, kind), kind 'load', 'amo' or 'lr'"),
    Op("trap_if", pure=False, traps=True, doc="args (condition, cause, tval)"),
    Op("fp_check", pure=False, traps=True, doc="illegal instruction when mstatus.FS is off"),
    Op(
        "fp",
        pure=False,
        traps=True,
        doc="floating-point operation: args (name, rm or None, operands…); "
        "accrues flags; a reserved rounding mode is an illegal instruction",
    ),
    Op(
        "system",
        pure=False,
        traps=True,
        writes=True,
        doc="a hart method by name: args (name, operands…); gives 64 bits",
    ),
    Op(
        "store", pure=False, traps=True, writes=True, doc="args (address, value, condition or None)"
    ),
    Op("reserve", pure=False, writes=True, doc="set the LR reservation: args (address,)"),
    Op(
        "reserved",
        pure=False,
        traps=True,
        doc="whether SC succeeds: args (address, size in bytes); clears it",
    ),
    Op("write_x", pure=False, writes=True, doc="args (index, value)"),
    Op("write_f", pure=False, writes=True, doc="args (index, value): 64 bits; marks FS dirty"),
    Op("jump", pure=False, writes=True, doc="args (target,)"),
    Op("branch", pure=False, writes=True, doc="args (condition, target)"),
    Op("read_word", pure=False, doc="a word of the hart's state: args (name, index or None)"),
    Op("write_word", pure=False, writes=True, doc="args (name, index or None, value)"),
)

SLOTS = ("rd", "rs1", "rs2", "rs3", "imm", "rm", "length", "raw")
"""Decoded fields: register numbers, the signed 64-bit immediate (also shift amounts, CSR numbers),
the rounding mode, the instruction's length in bytes and its raw bits (for `tval` of a trap)."""

Arg = Union["Node", int, str, None]


@dataclass(frozen=True, eq=False)
class Node:
    """A value of the graph. Python operators are the unsigned ones; the rest have names."""

    op: str
    args: tuple[Arg, ...]
    width: int

    def _with(self, op: str, other: Node | int, width: int | None = None) -> Node:
        if isinstance(other, int):
            other = const(other, self.width)
        if other.width != self.width:
            raise TypeError(f"'{op}' wants equal widths, not {self.width} and {other.width}")
        return Node(op, (self, other), width or self.width)

    def __add__(self, other: Node | int) -> Node:
        return self._with("add", other)

    def __sub__(self, other: Node | int) -> Node:
        return self._with("sub", other)

    def __mul__(self, other: Node | int) -> Node:
        return self._with("mul", other)

    def __and__(self, other: Node | int) -> Node:
        return self._with("and", other)

    def __or__(self, other: Node | int) -> Node:
        return self._with("or", other)

    def __xor__(self, other: Node | int) -> Node:
        return self._with("xor", other)

    def __invert__(self) -> Node:
        return self ^ -1

    def __neg__(self) -> Node:
        return const(0, self.width) - self

    def __lshift__(self, other: Node | int) -> Node:
        return self._with("shl", other)

    def __rshift__(self, other: Node | int) -> Node:
        """Logical shift right; `sar` is the arithmetic one."""
        return self._with("shr", other)

    def sar(self, other: Node | int) -> Node:
        return self._with("sar", other)

    def binary(self, op: str, other: Node | int) -> Node:
        """Any other two-operand operation of `OPS` with a result as wide as its operands."""
        return self._with(op, other)

    def unary(self, op: str) -> Node:
        """A one-operand operation of `OPS` with a result as wide as its operand."""
        return Node(op, (self,), self.width)

    def eq(self, other: Node | int) -> Node:
        return self._with("eq", other, 1)

    def ne(self, other: Node | int) -> Node:
        return self._with("ne", other, 1)

    def lts(self, other: Node | int) -> Node:
        return self._with("lts", other, 1)

    def ltu(self, other: Node | int) -> Node:
        return self._with("ltu", other, 1)

    def sext(self, width: int) -> Node:
        return self if width == self.width else Node("sext", (self,), width)

    def zext(self, width: int) -> Node:
        return self if width == self.width else Node("zext", (self,), width)

    def trunc(self, width: int) -> Node:
        return self if width == self.width else Node("trunc", (self,), width)

    def __bool__(self) -> bool:
        raise TypeError("a traced value has no truth in Python; use select() or trap_if()")


def const(value: int, width: int = 64) -> Node:
    """A constant, kept as an unsigned number of `width` bits."""
    return Node("const", (value & ((1 << width) - 1),), width)


def select(condition: Node, if_true: Node | int, if_false: Node | int) -> Node:
    """`if_true` where the 1-bit `condition` holds, else `if_false`."""
    if isinstance(if_true, int):
        assert isinstance(if_false, Node)
        if_true = const(if_true, if_false.width)
    if isinstance(if_false, int):
        if_false = const(if_false, if_true.width)
    if condition.width != 1 or if_true.width != if_false.width:
        raise TypeError("select wants a 1-bit condition and two values of equal width")
    return Node("select", (condition, if_true, if_false), if_true.width)


class _Registers:
    """`m.x[index]` and `m.f[index]`: reads and writes become steps of the trace."""

    def __init__(self, trace: Trace, bank: str) -> None:
        self._trace, self._bank = trace, bank

    def __getitem__(self, index: Node) -> Node:
        return self._trace.step(f"read_{self._bank}", (index,), 64)

    def __setitem__(self, index: Node, value: Node) -> None:
        if value.width != 64:
            raise TypeError(f"a register takes 64 bits, not {value.width}")
        self._trace.step(f"write_{self._bank}", (index, value), 0)


class _State:
    """`m.state["mie"]`, `m.state["contexts", index]`: words of `emu.cpu.state.State`."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __getitem__(self, place: str | tuple[str, Node]) -> Node:
        name, index = place if isinstance(place, tuple) else (place, None)
        return self._trace.step("read_word", (name, index), 64)

    def __setitem__(self, place: str | tuple[str, Node], value: Node) -> None:
        name, index = place if isinstance(place, tuple) else (place, None)
        if value.width != 64:
            raise TypeError(f"a word of the state takes 64 bits, not {value.width}")
        self._trace.step("write_word", (name, index, value), 0)


@dataclass
class Trace:
    """What a body saw as `m`: the machine on which it is traced. `steps` is the result."""

    steps: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.x = _Registers(self, "x")
        self.f = _Registers(self, "f")
        self.state = _State(self)
        self.pc = Node("pc", (), 64)

    def step(self, op: str, args: tuple[Arg, ...], width: int) -> Node:
        node = Node(op, args, width)
        self.steps.append(node)
        return node

    @property
    def next_pc(self) -> Node:
        """The address behind this instruction (2 or 4 bytes on)."""
        return self.pc + Node("slot", ("length",), 64)

    def load(self, address: Node, bits: int, kind: str = "load") -> Node:
        """`bits` bits at a virtual address; may trap. Kind 'amo' asks for write permission."""
        return self.step("load", (address, kind), bits)

    def store(self, address: Node, value: Node, when: Node | None = None) -> None:
        """Write `value` (its width says how much) at a virtual address; may trap.

        With `when` (1 bit) nothing at all happens unless it holds.
        """
        self.step("store", (address, value, when), 0)

    def trap_if(self, condition: Node, cause: int, tval: Node | int = 0) -> None:
        """Raise exception `cause` with `tval` when `condition` holds."""
        tval = const(tval) if isinstance(tval, int) else tval
        self.step("trap_if", (condition, const(cause), tval), 0)

    def jump(self, target: Node) -> None:
        self.step("jump", (target,), 0)

    def branch(self, condition: Node, target: Node) -> None:
        self.step("branch", (condition, target), 0)

    def fp_check(self) -> None:
        """Trap as an illegal instruction while the floating-point unit is off."""
        self.step("fp_check", (), 0)

    def fp(self, name: str, width: int, *operands: Node, rm: Node | None = None) -> Node:
        """A floating-point operation such as 'f64.add', one of `fpops.FP_OPS`."""
        check(name, width, operands, rounds=rm is not None)
        return self.step("fp", (name, rm, *operands), width)

    def reserve(self, address: Node) -> None:
        """Take the reservation of LR on `address`."""
        self.step("reserve", (address,), 0)

    def reserved(self, address: Node, size: int) -> Node:
        """Whether the reservation covers `size` bytes at `address` (1 bit); gives it up."""
        return self.step("reserved", (address, const(size)), 1)

    def system(self, name: str, *operands: Node | int | str) -> Node:
        """Call the hart's method `name`; what it does and when it traps is written there, once."""
        return self.step("system", (name, *operands), 64)

    def finish(self) -> tuple[Node, ...]:
        """Check that nothing traps after a write, and give the steps."""
        written = ""
        for step in self.steps:
            op = OPS[step.op]
            if op.traps and written:
                raise ValueError(f"'{step.op}' may trap, but '{written}' has already written")
            if op.writes:
                written = step.op
        return tuple(self.steps)


def trace(body: Callable[..., None], slots: tuple[str, ...]) -> tuple[Node, ...]:
    """Run `body(m, *slots)` over abstract values and give its steps."""
    m = Trace()
    body(m, *(Node("slot", (name,), 64) for name in slots))
    return m.finish()
