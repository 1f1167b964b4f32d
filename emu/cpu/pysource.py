"""The Python reading of the instruction graph: a body becomes the source of a Python function.

`PURE` gives each pure operation as an expression and `STEPS` each step as statements. Values are
unsigned integers below 2**width (a 1-bit value may be a bool). A value used more than once becomes
a local variable; a step's result always does, so that order is kept.

The source of `addi` reads:

    def addi(pc, rd, rs1, imm):
        v0 = x[rs1]
        if rd: x[rd] = ((v0 + imm) & 0xffffffffffffffff)
        return pc + 4 & 0xffffffffffffffff
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from emu.cpu.state import State
from emu.isa.declare import Instruction
from emu.isa.graph import OPS, SLOTS, Arg, Node


def _mask(width: int) -> str:
    return f"{(1 << width) - 1:#x}"


def _signed(a: str, width: int) -> str:
    """The signed value of `a`; as a comparison's operand the flipped sign bit alone would do."""
    sign = f"{1 << (width - 1):#x}"
    return f"(({a} ^ {sign}) - {sign})"


Expression = Callable[[int, int, tuple[str, ...]], str]
"""From the result's width, the first operand's width and the operands' text."""


def _wrapping(operator: str) -> Expression:
    return lambda n, m, a: f"(({a[0]} {operator} {a[1]}) & {_mask(n)})"


def _plain(operator: str) -> Expression:
    return lambda n, m, a: f"({a[0]} {operator} {a[1]})"


def _call(name: str) -> Expression:
    return lambda n, m, a: f"{name}({', '.join(a)}, {m})"


PURE: dict[str, Expression] = {
    "add": _wrapping("+"),
    "sub": _wrapping("-"),
    "mul": _wrapping("*"),
    "and": _plain("&"),
    "or": _plain("|"),
    "xor": _plain("^"),
    "shl": _wrapping("<<"),
    "shr": _plain(">>"),
    "sar": lambda n, m, a: f"({_signed(a[0], n)} >> {a[1]} & {_mask(n)})",
    "divs": _call("divs"),
    "divu": _call("divu"),
    "rems": _call("rems"),
    "remu": _call("remu"),
    "mulh": lambda n, m, a: f"({_signed(a[0], n)} * {_signed(a[1], n)} >> {n} & {_mask(n)})",
    "mulhsu": lambda n, m, a: f"({_signed(a[0], n)} * {a[1]} >> {n} & {_mask(n)})",
    "mulhu": lambda n, m, a: f"({a[0]} * {a[1]} >> {n})",
    "eq": _plain("=="),
    "ne": _plain("!="),
    "lts": lambda n, m, a: f"({_signed(a[0], m)} < {_signed(a[1], m)})",
    "ltu": _plain("<"),
    "select": lambda n, m, a: f"({a[1]} if {a[0]} else {a[2]})",
    "sext": lambda n, m, a: f"({_signed(a[0], m)} & {_mask(n)})",
    "zext": lambda n, m, a: f"(+{a[0]})",  # the plus makes a bool an int
    "trunc": lambda n, m, a: f"({a[0]} & {_mask(n)})",
    "clz": lambda n, m, a: f"({m} - {a[0]}.bit_length())",
    "ctz": _call("ctz"),
    "popcount": lambda n, m, a: f"{a[0]}.bit_count()",
    "bswap": lambda n, m, a: f'int.from_bytes({a[0]}.to_bytes({n // 8}, "little"), "big")',
    "orcb": _call("orcb"),
    "const": lambda n, m, a: a[0],
    "slot": lambda n, m, a: a[0],
    "pc": lambda n, m, a: "pc",
}


def _divs(a: int, b: int, width: int) -> int:
    sign = 1 << (width - 1)
    x, y = (a ^ sign) - sign, (b ^ sign) - sign
    if y == 0:
        return (1 << width) - 1
    quotient = abs(x) // abs(y)
    return (-quotient if (x < 0) != (y < 0) else quotient) & ((1 << width) - 1)


def _rems(a: int, b: int, width: int) -> int:
    sign = 1 << (width - 1)
    x, y = (a ^ sign) - sign, (b ^ sign) - sign
    if y == 0:
        return a
    rest = abs(x) % abs(y)
    return (-rest if x < 0 else rest) & ((1 << width) - 1)


def _divu(a: int, b: int, width: int) -> int:
    return a // b if b else (1 << width) - 1


def _remu(a: int, b: int, width: int) -> int:
    return a % b if b else a


def _ctz(a: int, width: int) -> int:
    return (a & -a).bit_length() - 1 if a else width


def _orcb(a: int, width: int) -> int:
    return sum(0xFF << i for i in range(0, width, 8) if a >> i & 0xFF)


ARITHMETIC: dict[str, Callable[..., int]] = {
    "divs": _divs, "rems": _rems, "divu": _divu, "remu": _remu, "ctz": _ctz, "orcb": _orcb,
}  # fmt: skip
"""What the expressions of `pysource` call."""


class Writer:
    """The statements of some steps, line by line: what a reading of the steps writes to.

    `names` has the local variables of values that are kept, `slots` the slots that are read and
    `next_pc`, if not empty, where an instruction jumps; `length` is its size in bytes.
    """

    def __init__(self, steps: tuple[Node, ...], length: int = 0) -> None:
        self.length = length
        self.lines: list[str] = []
        self.names: dict[Node, str] = {}
        self.slots: set[str] = set()
        self.uses = Counter[Node]()
        self.next_pc = ""
        for step in steps:
            self._count(step)

    def _count(self, node: Node) -> None:
        for arg in node.args:
            if isinstance(arg, Node):
                self.uses[arg] += 1
                if self.uses[arg] == 1 and OPS[arg.op].pure:
                    self._count(arg)

    def name(self, node: Node, text: str) -> str:
        """Keep the value of `node` in a local variable."""
        self.names[node] = name = f"v{len(self.names)}"
        self.lines.append(f"{name} = {text}")
        return name

    def text(self, arg: Arg) -> str:
        """An argument as an expression."""
        if not isinstance(arg, Node):
            return repr(arg)
        if arg in self.names:
            return self.names[arg]
        if arg.op == "slot":
            return self._slot(str(arg.args[0]))
        width = arg.args[0].width if arg.args and isinstance(arg.args[0], Node) else arg.width
        if arg.op == "select":
            width = arg.width
        text = PURE[arg.op](arg.width, width, tuple(self.text(a) for a in arg.args))
        leaf = arg.op in ("const", "pc")
        return text if leaf or self.uses[arg] < 2 else self.name(arg, text)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The slots that the statements read, in the order of `SLOTS`."""
        return tuple(name for name in SLOTS if name in self.slots)

    def _slot(self, name: str) -> str:
        if name == "length":
            return str(self.length)
        self.slots.add(name)
        return name


def _read(bank: str) -> Callable[[Writer, Node], None]:
    def step(w: Writer, node: Node) -> None:
        w.name(node, f"{bank}[{w.text(node.args[0])}]")

    return step


def _write_x(w: Writer, node: Node) -> None:
    index, value = w.text(node.args[0]), w.text(node.args[1])
    w.lines.append(f"if {index}: x[{index}] = {value}")


def _write_f(w: Writer, node: Node) -> None:
    w.lines.append(f"f[{w.text(node.args[0])}] = {w.text(node.args[1])}")
    w.lines.append("w[FS] = 3")


def _load(w: Writer, node: Node) -> None:
    address, kind = w.text(node.args[0]), node.args[1]
    function = "load_amo" if kind == "amo" else "load"
    w.name(node, f"{function}{node.width}({address})")


def _store(w: Writer, node: Node) -> None:
    address, value, when = node.args
    assert isinstance(value, Node)
    call = f"store{value.width}({w.text(address)}, {w.text(value)})"
    w.lines.append(call if when is None else f"if {w.text(when)}: {call}")


def _trap_if(w: Writer, node: Node) -> None:
    condition, cause, tval = (w.text(a) for a in node.args)
    w.lines.append(f"if {condition}: raise Trap({cause}, {tval})")


def _fp_check(w: Writer, node: Node) -> None:
    w.lines.append("if not w[FS]: raise illegal()")


def _fp(w: Writer, node: Node) -> None:
    name, mode, *operands = node.args
    texts = ["0" if mode is None else w.text(mode), *(w.text(o) for o in operands)]
    w.name(node, f"fp({name!r}, {', '.join(texts)})")


def _system(w: Writer, node: Node) -> None:
    name, *operands = node.args
    w.name(node, f"system[{name!r}]({', '.join(['hart', *map(w.text, operands)])})")


def _reserve(w: Writer, node: Node) -> None:
    w.lines.append(f"w[RESERVATION] = {w.text(node.args[0])}")
    w.lines.append("w[RESERVED] = 1")


def _reserved(w: Writer, node: Node) -> None:
    w.name(node, f"(w[RESERVED] == 1 and w[RESERVATION] == {w.text(node.args[0])})")
    w.lines.append("w[RESERVED] = 0")


def _place(w: Writer, name: Arg, index: Arg) -> str:
    """A word of the state block, `w` in the source."""
    first = State.indices[str(name)]
    return f"w[{first}]" if index is None else f"w[{first} + {w.text(index)}]"


def _read_word(w: Writer, node: Node) -> None:
    w.name(node, _place(w, *node.args))


def _write_word(w: Writer, node: Node) -> None:
    name, index, value = node.args
    w.lines.append(f"{_place(w, name, index)} = {w.text(value)}")


def _jump(w: Writer, node: Node) -> None:
    w.next_pc = w.text(node.args[0])


def _branch(w: Writer, node: Node) -> None:
    condition, target = node.args
    w.lines.append(f"if {w.text(condition)}: return {w.text(target)}")


STEPS: dict[str, Callable[[Writer, Node], None]] = {
    "read_x": _read("x"),
    "read_f": _read("f"),
    "write_x": _write_x,
    "write_f": _write_f,
    "load": _load,
    "store": _store,
    "trap_if": _trap_if,
    "fp_check": _fp_check,
    "fp": _fp,
    "system": _system,
    "reserve": _reserve,
    "reserved": _reserved,
    "jump": _jump,
    "branch": _branch,
    "read_word": _read_word,
    "write_word": _write_word,
}

if (PURE.keys() | STEPS.keys()) != OPS.keys():
    raise ImportError(f"Python has no reading for {OPS.keys() - PURE.keys() - STEPS.keys()}")


def source(insn: Instruction) -> tuple[str, tuple[str, ...]]:
    """The source of a function named `instruction` that executes `insn`, and the names of the
    slots that it takes after pc, `imm` unsigned. It returns the next pc."""
    writer = Writer(insn.steps, insn.length)
    for step in insn.steps:
        STEPS[step.op](writer, step)
    slots = writer.parameters
    target = writer.next_pc or f"pc + {insn.length} & {_mask(64)}"
    body = "\n".join(f"    {line}" for line in [*writer.lines, f"return {target}"])
    return f"def instruction({', '.join(['pc', *slots])}):\n{body}\n", slots
