"""The part of `docs/isa.md` about instructions that compute: what each takes, gives and means."""

from __future__ import annotations

import inspect
import math
import textwrap
from itertools import groupby
from types import ModuleType

from emu.isa.xaitensor import FAMILIES, TENSORS, Declaration
from emu.isa.xaitensor.rules import RULES
from emu.isa.xaitensor.signature import VARIABLES

_FORM = """### How tensor instructions are described

`x: T[*a, n@axis, *c] -> d: T[*a, n, *c]` names the operands: before the arrow the sources, ts1 and
ts2, then operands that the attribute block names (with `?`: may be left out); behind it td, then
further results. Before the brackets stands the element type: a name or several, a set (`any`,
`number`, `float`, `int`, `logic`: integers and bool, `index` and `count`: i32 and i64, with what
they count in, `index` from both ends) or a variable, the same type wherever it stands. In the
brackets stand the extents: `n` is the same wherever it stands, `*a` any number of them, `n@axis`
the one that the attribute `axis` names; `~*s` takes part in NumPy's broadcast, whose outcome is
`s`; `~d` stretches to the extents of `d`; all else is arithmetic.

Meanings are in Python's grammar. An expression alone gives one element of the result from those at
its place in the sources; otherwise a line says so for each result, other lines name what it uses.
`for k in n` runs over the indices below n, `at in t` asks whether an index is one; arithmetic on
several indices is element by element; `x[*k]` with an index less is all elements along the last
dimension. An operand that is left out reads 0, `has(w)` asks for it. `act` is the activation that
the attribute block asks for; `bitand` and its like are logical on bool; `rint` rounds halves to
even, `whole` does where the result has integers; `wrap(i, n)` counts a negative index from the end;
`ordered(v, descending)` says where the elements of v are in order; `updated(x, v)` combines x with
each of v as the mode says. Of shapes there are these functions besides:

{rules}

A float result is the meaning, computed exactly, rounded once; or it differs by at most so many
units in the last place (ulp) as stand there: of the element, or, where a result depends on several
elements, of the greatest one.
"""
_TABLE_FROM = 3
"""Elementwise instructions of one signature that make a table."""


def sections() -> list[str]:
    """The lines, a section for every family."""
    lines = [_FORM.format(rules="\n".join(_rules()))]
    for family in FAMILIES:
        name = family.__name__.rpartition(".")[2]
        lines += [*_head(family), ""]
        members = (d for d in TENSORS.values() if d.family == name)
        for signature, group in groupby(members, lambda d: d.elementwise and d.signature):
            alike = list(group)
            if signature and len(alike) >= _TABLE_FROM:
                lines += [*_table(alike), ""]
            else:
                lines += [line for d in alike for line in (*_instruction(d), "")]
    return lines


def _rules() -> list[str]:
    """A table of the functions in `rules` that have a description: its first paragraph."""
    rows = ["| function | gives |", "| --- | --- |"]
    for name, rule in sorted(RULES.items()):
        if doc := inspect.getdoc(rule):
            names = list(inspect.signature(rule).parameters)[1:]
            text = " ".join(doc.split("\n\n")[0].split())
            rows.append(f"| `{name}({', '.join(names)})` | {_cell(text)} |")
    return rows


def _table(alike: list[Declaration]) -> list[str]:
    """Elementwise instructions of one signature, a row each."""
    rows = [f"`{alike[0].signature}`", "", "| | T | meaning | | ulp |",
            "| --- | --- | --- | --- | ---: |"]  # fmt: skip
    for declaration in alike:
        text = " ".join(filter(None, (declaration.doc, _notes(declaration, attributes=False))))
        cells = (
            f"**{declaration.mnemonic}**", declaration.types.get("T", ""),
            f"`{declaration.means}`", text, f"{declaration.ulps:g}" if declaration.ulps else "",
        )  # fmt: skip
        rows.append(f"| {' | '.join(map(_cell, cells))} |")
    return rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _head(family: ModuleType) -> list[str]:
    title, _, rest = (inspect.getdoc(family) or "").partition("\n\n")
    lines = [f"### {' '.join(title.split()).rstrip('.')}"]
    return [*lines, "", *textwrap.wrap(rest, 100)] if rest.strip() else lines


def _instruction(declaration: Declaration) -> list[str]:
    sets = [f"{v}: {declaration.types[v]}" for v in VARIABLES if v in declaration.types]
    signature = "; ".join([declaration.signature, *sets])
    means = "\n".join(line.strip() for line in declaration.means.splitlines())
    lines = [f"**{declaration.mnemonic}** {declaration.doc}", "", "```", signature, means, "```"]
    notes = _notes(declaration)
    return [*lines, notes] if notes else lines


def _notes(declaration: Declaration, *, attributes: bool = True) -> str:
    """What the attribute block says, and how exact the result is."""
    notes = []
    activation = {"activation", "alpha", "beta"} if declaration.activates else set()
    named = {*declaration.flags, *declaration.modes, "mode"}
    if attributes and (fields := sorted((declaration.attributes | activation) - named)):
        notes.append(f"Attributes: {', '.join(f'`{field}`' for field in fields)}.")
    if declaration.defaults:
        values = (f"{k} = {_number(v)}" for k, v in declaration.defaults.items())
        notes.append(f"Without a block: {', '.join(values)}.")
    if declaration.flags:
        flags = (f"bit {bit} `{name}`" for name, bit in declaration.flags.items())
        notes.append(f"Flags: {', '.join(flags)}.")
    if declaration.modes:
        modes = (f"{number} `{name}`" for number, name in enumerate(declaration.modes))
        notes.append(f"Modes: {', '.join(modes)}.")
    if declaration.extras:
        extras = (f"e{place} `{operand.name}`" for place, operand in declaration.extras.items())
        notes.append(f"Extra operands: {', '.join(extras)}.")
    if attributes and declaration.ulps:
        notes.append(f"Within {declaration.ulps:g} ulp.")
    return " ".join(notes)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) or math.isinf(value) else f"{value:g}"
