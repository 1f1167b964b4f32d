"""docs/tensor.md against the code: its tables of layouts, codes and causes are compared with the
declarations, so the page cannot grow old."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.descriptor import DTYPES, Descriptor, Field
from emu.cpu.tensor.faults import Cause, Operand

_PAGE = (Path(__file__).parents[2] / "docs/tensor.md").read_text(encoding="utf-8")


def _table(*header: str) -> list[list[str]]:
    """The cells of the table with this header."""
    start = _PAGE.index("| " + " | ".join(header) + " |")
    rows = _PAGE[start:].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def _with(field: str, value: Any) -> Attributes:
    changes: dict[str, Any] = {field: value}
    return replace(Attributes(), **changes)


def test_element_types_are_those_of_the_code() -> None:
    documented = {(int(c), name, int(size)) for c, name, size in _table("code", "type", "bytes")}
    assert documented == {(d.code, d.name, d.size) for d in DTYPES.values()}


def test_causes_and_operands_are_those_of_the_code() -> None:
    causes = {(int(row[0]), row[1]) for row in _table("tcause", "name", "what is wrong")}
    operands = {(int(row[0]), row[1]) for row in _table("toperand", "name", "operand")}
    assert causes == {(c.value, c.name) for c in Cause}
    assert operands == {(o.value, o.name) for o in Operand}


def test_descriptor_layout_is_that_of_the_code() -> None:
    rows = _table("offset", "bytes", "field", "number", "meaning")
    offsets = {row[2]: int(row[0]) for row in rows}
    filled = Descriptor(0x1234, 7, 2, [5] * 8, [-1] * 8).encode()
    assert [filled[offsets[name]] for name in ("base", "dtype", "rank", "dims")] == [0x34, 7, 2, 5]
    assert filled[offsets["strides"] : offsets["strides"] + 64] == b"\xff" * 64
    numbers = {row[2]: int(row[3].split("..")[0]) for row in rows if row[3]}
    assert numbers == {f.name.lower(): f.value for f in Field if f is not Field.END}


def test_attribute_layout_is_that_of_the_code() -> None:
    for offset, _, field, _ in _table("offset", "type", "field", "meaning"):
        if not field:
            continue
        default = getattr(Attributes(), field)
        rest = (0,) * (len(default) - 1) if isinstance(default, tuple) else None
        marked = _with(field, 5 if rest is None else (5, *rest))
        cleared = _with(field, 0 if rest is None else (0, *rest))
        pairs = zip(marked.encode(), cleared.encode(), strict=True)
        changed = [at for at, (a, b) in enumerate(pairs) if a != b]
        assert int(offset) == changed[0] - (changed[0] % 4 if isinstance(default, float) else 0)
