"""Random structured code: nested ifs and loops over registers that differ from lane to lane.

The same text runs on a hart and on lanes. With `masks`, every `if` stands between `split` and
`join` and every loop narrows the mask by `pred`, as Vortex's compiler does it, which only lanes
understand.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from hypothesis import strategies as st

VALUES = ["t0", "t1", "t2", "a1", "a2", "a3"]
"""Registers that programs compute with."""
COUNTERS, MASKS = ["s2", "s3", "s4", "s5"], ["s6", "s7", "s8", "s9"]
"""Registers of loops (or a split's token) and of the lanes that enter them, by depth."""
_OPERATIONS = ["add", "sub", "xor", "mul", "and", "or", "sltu", "srl"]


@dataclass(frozen=True)
class If:
    """One side where bit 0 of a register is set, another where it is not."""

    register: str
    then: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True)
class Loop:
    """As often as the low two bits of a register say."""

    register: str
    body: tuple[Node, ...]


Node = str | If | Loop


def _blocks(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[tuple[Node, ...]]:
    return st.lists(inner, min_size=1, max_size=4).map(tuple)


_REGISTERS = st.sampled_from(VALUES)
_STATEMENTS: st.SearchStrategy[Node] = st.builds(
    lambda operation, *registers: f"{operation} {', '.join(registers)}",
    st.sampled_from(_OPERATIONS), _REGISTERS, _REGISTERS, _REGISTERS,
)  # fmt: skip


def _nested(depth: int) -> st.SearchStrategy[Node]:
    if depth == len(COUNTERS):
        return _STATEMENTS
    block = _blocks(_nested(depth + 1))
    return st.one_of(
        _STATEMENTS, st.builds(If, _REGISTERS, block, block), st.builds(Loop, _REGISTERS, block)
    )


blocks = _blocks(_nested(0))
"""Whole programs."""


def text_of(block: tuple[Node, ...], *, masks: bool = False) -> str:
    """The assembly of a program."""
    lines: list[str] = []
    labels = count()

    def write(node: Node, depth: int) -> None:
        match node:
            case str():
                lines.append(node)
            case If(register, then, otherwise):
                other, end = f"L{next(labels)}", f"L{next(labels)}"
                token = COUNTERS[depth]
                lines.extend([f"split {token}, {register}"] if masks else [])
                lines.extend([f"andi t3, {register}, 1", f"beqz t3, {other}"])
                each(then, depth + 1)
                lines.extend([f"j {end}", f"{other}:"])
                each(otherwise, depth + 1)
                lines.append(f"{end}:")
                lines.extend([f"join {token}"] if masks else [])
            case Loop(register, body):
                again, end = f"L{next(labels)}", f"L{next(labels)}"
                counter = COUNTERS[depth]
                lines.append(f"andi {counter}, {register}, 3")
                lines.extend([f"csrr {MASKS[depth]}, lane_mask"] if masks else [])
                lines.append(f"{again}:")
                narrow = [f"snez t3, {counter}", f"pred t3, {MASKS[depth]}"]
                lines.extend(narrow if masks else [])
                lines.append(f"beqz {counter}, {end}")
                each(body, depth + 1)
                lines.extend([f"addi {counter}, {counter}, -1", f"j {again}", f"{end}:"])

    def each(nodes: tuple[Node, ...], depth: int) -> None:
        for node in nodes:
            write(node, depth)

    each(block, 0)
    return "\n".join(lines)
