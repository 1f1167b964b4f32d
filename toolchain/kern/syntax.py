"""The abstract syntax tree of Kern: what the parser makes and the checker reads.

Types are written as expressions: `array[Agent, 256]` is an `Index` of a `Name`; only what has no
expression form (`fn(int) -> int`, `enum(a, b)`, `T!`) has nodes of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.kern.diagnostics import Place


@dataclass(frozen=True)
class Node:
    """Base of all nodes."""

    place: Place


# ── Expressions ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Name(Node):
    name: str


@dataclass(frozen=True)
class Integer(Node):
    value: int


@dataclass(frozen=True)
class Number(Node):
    """A floating point literal."""

    value: float


@dataclass(frozen=True)
class Text(Node):
    value: bytes


@dataclass(frozen=True)
class Boolean(Node):
    value: bool


@dataclass(frozen=True)
class NullLiteral(Node):
    pass


@dataclass(frozen=True)
class ArrayLiteral(Node):
    items: tuple[Node, ...]


@dataclass(frozen=True)
class StructField(Node):
    """`name: value` in a struct literal; the place is the name's."""

    name: str
    value: Node


@dataclass(frozen=True)
class StructLiteral(Node):
    type: Node
    fields: tuple[StructField, ...]


@dataclass(frozen=True)
class Dot(Node):
    """`base.name`; `name_place` is where the name stands."""

    base: Node
    name: str
    name_place: Place


@dataclass(frozen=True)
class Index(Node):
    base: Node
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class SliceOf(Node):
    base: Node
    low: Node | None
    high: Node | None


@dataclass(frozen=True)
class Call(Node):
    callee: Node
    arguments: tuple[Node, ...]
    keywords: tuple[StructField, ...]


@dataclass(frozen=True)
class Prefix(Node):
    """- ~ ! & * before an expression."""

    op: str
    operand: Node


@dataclass(frozen=True)
class Infix(Node):
    """Any binary operator, && and || included; `op_place` is where it stands."""

    op: str
    left: Node
    right: Node
    op_place: Place


@dataclass(frozen=True)
class Try(Node):
    result: Node


@dataclass(frozen=True)
class Launch(Node):
    """`launch kernel(arguments) over grid by group on device signal signal`; an absent part is
    None. Grid and group have one to three extents."""

    kernel: Node
    grid: tuple[Node, ...]
    group: tuple[Node, ...] | None
    device: Node | None
    signal: Node | None


@dataclass(frozen=True)
class Otherwise(Node):
    """`result else name { block }`."""

    result: Node
    name: str | None
    block: Block


# ── Types that are no expressions ────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class FnType(Node):
    parameters: tuple[Node, ...]
    result: Node | None


@dataclass(frozen=True)
class EnumType(Node):
    members: tuple[str, ...]


@dataclass(frozen=True)
class ResultType(Node):
    """`T!`, or `!` alone (value None)."""

    value: Node | None


# ── Statements ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Block(Node):
    body: tuple[Node, ...]
    end: Place


@dataclass(frozen=True)
class Assign(Node):
    """`target = value`; at top level, with a plain name, the declaration of a constant."""

    target: Node
    value: Node


@dataclass(frozen=True)
class Declare(Node):
    """`name: type = value`: a local, or at top level a global variable; `local` marks one in
    the memory that a workgroup shares."""

    name: str
    type: Node
    value: Node | None
    local: bool = False


@dataclass(frozen=True)
class Update(Node):
    """`target op= value`; `op` is the operator without its `=`."""

    op: str
    target: Node
    value: Node


@dataclass(frozen=True)
class If(Node):
    condition: Node
    then: Block
    otherwise: Block | None


@dataclass(frozen=True)
class While(Node):
    condition: Node
    body: Block


@dataclass(frozen=True)
class Range(Node):
    low: Node
    high: Node


@dataclass(frozen=True)
class For(Node):
    """`for index, name in iterable`; index is mostly None."""

    index: Name | None
    name: Name
    iterable: Node
    body: Block


@dataclass(frozen=True)
class Arm(Node):
    """One arm of a match; without patterns it is the `else`."""

    patterns: tuple[Node, ...]
    body: Block


@dataclass(frozen=True)
class Match(Node):
    value: Node
    arms: tuple[Arm, ...]


@dataclass(frozen=True)
class Break(Node):
    pass


@dataclass(frozen=True)
class Continue(Node):
    pass


@dataclass(frozen=True)
class Return(Node):
    value: Node | None


@dataclass(frozen=True)
class Fail(Node):
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Defer(Node):
    body: Block


@dataclass(frozen=True)
class Evaluate(Node):
    value: Node


# ── Declarations ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Parameter(Node):
    """`name: type`; `self` has no type; `formats` marks `str...`."""

    name: str
    type: Node | None
    formats: bool


@dataclass(frozen=True)
class Function(Node):
    """`owner` is the module or struct before the dot; `body` is None for an extern one; `gpu`
    marks one that lanes run."""

    owner: str | None
    name: str
    parameters: tuple[Parameter, ...]
    result: Node | None
    body: Block | None
    exported: bool
    gpu: bool = False


@dataclass(frozen=True)
class FieldDeclaration(Node):
    name: str
    type: Node


@dataclass(frozen=True)
class Struct(Node):
    name: str
    fields: tuple[FieldDeclaration, ...]


@dataclass(frozen=True)
class EnumMember(Node):
    name: str
    value: Node | None


@dataclass(frozen=True)
class Enum(Node):
    name: str
    members: tuple[EnumMember, ...]


@dataclass(frozen=True)
class Test(Node):
    name: str
    body: Block


@dataclass(frozen=True)
class Module:
    """One parsed file: its declarations and top-level statements, in order."""

    name: str
    file: str
    items: tuple[Node, ...]
