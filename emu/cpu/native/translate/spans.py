"""Which accesses of a block lie near each other, so that one look at an address serves them all.

Addresses are followed through a block as a distance from a *root*: what a register held when the
block began, or what an instruction wrote that is no sum with a constant. Accesses with the same
root are a span when they are not far apart: fields of a structure, a frame of the stack, elements
of an unrolled loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from emu.isa.decode import Decoded
from emu.isa.graph import Arg, Node

WIDEST = 4096
"""Bytes that the accesses of one span may cover."""

Root = tuple[str, int]
"""("x", n): register n when the block began; ("pc", address): what that instruction wrote;
("join", n): a value that depends on the way taken; ("const", 0): no root at all."""

Place = tuple[Root, int]
"""A root and the distance from it, in bytes."""

Places = dict[int, Place]
"""Where registers point, those excepted that still hold what they held at the begin."""


@dataclass(eq=False)
class Span:
    """Accesses of a block from `low` to `high` (behind the last byte), distances from `root`."""

    root: Root
    low: int
    high: int
    stores: bool = False
    members: dict[tuple[int, int], int] = field(default_factory=dict)
    """The accesses, as address of the instruction and number of the access in it: how far behind
    `low` each begins."""

    @property
    def width(self) -> int:
        """Bytes from the first to the last."""
        return self.high - self.low


@dataclass(frozen=True)
class Access:
    """A load or store; `key` names it as in `Span.members`."""

    key: tuple[int, int]
    place: Place
    size: int
    stores: bool


def spans(instructions: Iterable[tuple[int, Decoded]]) -> list[Span]:
    """The spans of a block's instructions that have at least two accesses."""
    found: dict[Root, list[Access]] = {}
    for access in follow(instructions, {}):
        found.setdefault(access.place[0], []).append(access)
    return [span for accesses in found.values() for span in _gather(accesses)]


def _gather(accesses: list[Access]) -> list[Span]:
    """Accesses with one root, put together where they are near enough."""
    result: list[Span] = []
    for access in sorted(accesses, key=lambda a: a.place[1]):
        low, high = access.place[1], access.place[1] + access.size
        if not result or high - result[-1].low > WIDEST:
            result.append(Span(access.place[0], low, high))
        span = result[-1]
        span.high = max(span.high, high)
        span.stores |= access.stores
        span.members[access.key] = low - span.low
    return [span for span in result if len(span.members) > 1]


def follow(instructions: Iterable[tuple[int, Decoded]], registers: Places) -> list[Access]:
    """The loads and stores whose addresses are known in this way, those that are executed under
    a condition excepted. `registers` is brought up to date."""
    result = []
    for pc, found in instructions:
        written: Places = {}
        number = 0
        for step in found.insn.steps:
            if step.op in ("load", "store"):
                width = step.width if step.op == "load" else _width(step.args[1])
                place = _place(step.args[0], pc, found, registers)
                is_sure = step.op == "load" or step.args[2] is None
                if place is not None and is_sure:
                    result.append(Access((pc, number), place, width // 8, step.op == "store"))
                number += 1
            elif step.op == "write_x":
                register = register_of(step.args[0], found)
                written[register] = _place(step.args[1], pc, found, registers) or (("pc", pc), 0)
        registers |= written
    return result


def _width(node: Arg) -> int:
    assert isinstance(node, Node)
    return node.width


def register_of(node: Arg, found: Decoded) -> int:
    """The number of the register that a step names so."""
    assert isinstance(node, Node)
    number = node.args[0] if node.op == "const" else getattr(found, str(node.args[0]))
    assert isinstance(number, int)
    return number


def _place(node: Arg, pc: int, found: Decoded, registers: Places) -> Place | None:
    """Where a value points, if it is a register plus a constant, or a constant."""
    if not isinstance(node, Node):
        return None
    match node.op:
        case "const":
            value = node.args[0]
            assert isinstance(value, int)
            return ("const", 0), value
        case "pc":
            return ("const", 0), pc
        case "slot":
            return ("const", 0), int(getattr(found, str(node.args[0])))
        case "read_x":
            number = register_of(node.args[0], found)
            return registers.get(number, (("x", number), 0)) if number else (("const", 0), 0)
        case "add":
            left, right = (_place(a, pc, found, registers) for a in node.args)
            if left is None or right is None or "const" not in (left[0][0], right[0][0]):
                return None
            root = right[0] if left[0][0] == "const" else left[0]
            return root, left[1] + right[1]
    return None
