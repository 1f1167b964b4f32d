"""Signatures: which operands an instruction takes, of which types and extents.

    x: T[~*b, m, k], y: T[~*b, k, n], bias?: T[~d] -> d: T[*b, m, n]

Before the arrow the sources: ts1, ts2 where the encoding has it, then extra operands that the
attribute block names. Behind it the results: td, then further extra operands, which are written.
`?` marks an extra operand that may be left out.

A type is a set (`SETS`), names of types joined by `|`, or a variable T, U, V: one type wherever it
stands, out of a set. `index(n)` is an index into an extent n, from -n to n - 1; `index(s)`, with
several extents, has the coordinates in its last dimension. `count(n)` is a number from 0 to n.

Extents: `n` is bound where it stands first and must be equal elsewhere; `*t` is any number of them
(`*t:1..3`: 1 to 3; `*k:t`: as many as t); `n@axis` is the one that the attribute `axis` names;
`~*b` takes part in NumPy's broadcast, whose outcome is called b; `~d`, alone, stretches to the
extents of operand d; anything else is an expression (`notation`, `rules`), with `*` before it when
it gives several.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from emu.isa.xaitensor.notation import read

KINDS = {
    "any": ("float", "int", "bool"), "number": ("float", "int"), "float": ("float",),
    "int": ("int",), "logic": ("int", "bool"),
}  # fmt: skip
"""Sets of element types by kind."""
SETS = {"index": ("i32", "i64"), "count": ("i32", "i64")}
"""Sets of element types by name."""
VARIABLES = ("T", "U", "V")

_OPERAND = re.compile(r"\s*(\w+)(\?)?:\s*([\w|]+)(?:\(([^)]*)\))?\[([^\]]*)\]\s*(?:,|$)")
_NAME = r"[A-Za-z_]\w*"


@dataclass(frozen=True)
class Dim:
    """One item between the brackets.

    `kind` is 'one' (a name), 'axis' (name at an attribute), 'rest' (`*name`), 'join' (`~*name`),
    'stretch' (`~name`), 'int' or 'spread' (an expression for one extent, for several).
    """

    kind: str
    text: str
    low: int = 0
    high: int = 8
    axis: str = ""
    like: str = ""
    """The name of extents that it has as many of."""

    @property
    def many(self) -> bool:
        """Whether it stands for any number of dimensions."""
        return self.kind in ("rest", "join", "spread")


@dataclass(frozen=True)
class Operand:
    """One operand of a signature; `number` is its number in the CSR `toperand`."""

    name: str
    number: int
    type: str
    dims: tuple[Dim, ...]
    optional: bool = False
    written: bool = False
    indexes: str = ""
    """What an operand of type index counts in."""

    @property
    def extra(self) -> int | None:
        """Which of the attribute block's extra operands it is, if it is one."""
        return self.number - 4 if self.number >= 4 else None


def admits(type_: str, name: str, kind: str) -> bool:
    """Whether a set of types has the element type `name` of this kind."""
    if type_ in KINDS:
        return kind in KINDS[type_]
    return name in SETS.get(type_, type_.split("|"))


def _dim(text: str) -> Dim:
    text = text.strip()
    if match := re.fullmatch(rf"\*({_NAME})(?::(\d)\.\.(\d))?", text):
        return Dim("rest", match[1], int(match[2] or 0), int(match[3] or 8))
    if match := re.fullmatch(rf"\*({_NAME}):({_NAME})", text):
        return Dim("rest", match[1], like=match[2])
    if match := re.fullmatch(rf"({_NAME})@({_NAME})", text):
        return Dim("axis", match[1], axis=match[2])
    for kind, form in (("join", rf"~\*({_NAME})"), ("stretch", rf"~({_NAME})"),
                       ("one", f"({_NAME})")):  # fmt: skip
        if match := re.fullmatch(form, text):
            return Dim(kind, match[1])
    kind, text = ("spread", text[1:]) if text.startswith("*") else ("int", text)
    read(text)  # raises ValueError
    return Dim(kind, text)


def _split(text: str) -> list[str]:
    """Items separated by commas outside parentheses."""
    items, depth, start = [], 0, 0
    for i, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            items.append(text[start:i])
            start = i + 1
    return [*items, text[start:]] if text.strip() else []


def _side(text: str) -> list[tuple[str, bool, str, str, tuple[Dim, ...]]]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = _OPERAND.match(text, at)
        if match is None:
            raise ValueError(f"'{text[at:].strip()}' is not an operand of a signature")
        name, optional, type_, indexes, dims = match.groups()
        found.append((name, bool(optional), type_, indexes or "", tuple(map(_dim, _split(dims)))))
        at = match.end()
    return found


@cache
def parse(text: str, sources: int) -> tuple[Operand, ...]:
    """The operands, sources first; the first `sources` of these are tensor registers of the
    encoding. Raises ValueError."""
    before, _, behind = text.partition("->")
    operands = []
    extra = 4
    for side, written in ((_side(before), False), (_side(behind), True)):
        for i, (name, optional, type_, indexes, dims) in enumerate(side):
            number = 0 if written else i + 1
            if i >= (1 if written else sources):
                number, extra = extra, extra + 1
            elif optional:
                raise ValueError(f"'{name}' of '{text}' is no extra operand: it is always there")
            operands.append(Operand(name, number, type_, dims, optional, written, indexes))
    if extra > 11 or len([o for o in operands if not o.written]) < sources:
        raise ValueError(f"'{text}' has operands that the encoding does not")
    return tuple(operands)


def variables(operands: tuple[Operand, ...], sets: Mapping[str, str]) -> dict[str, str]:
    """The set of types of every operand, by name."""
    return {o.name: sets.get(o.type, o.type) for o in operands}
