"""`docs/isa.md`, written from the table: every instruction, its encoding and what it does.

Run as `python -m emu.isa.docs` to print it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from emu.isa import EXTENSIONS, TABLE, Instruction, xaitensor
from emu.isa.csrfields import Csr
from emu.isa.csrs import BY_NUMBER, LANE_CSRS
from emu.isa.xaitensor.docs import sections

_HEAD = """# The instruction set

Generated from `emu/isa` by `python -m emu.isa.docs`; do not edit.

Encodings are pictures, bit 31 (or 15) first: digits are fixed bits, names are fields,
`imm[11:0]` says which bits of the immediate stand there, `rd'` is one of x8 to x15.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _assembly(insn: Instruction) -> str:
    """The syntax without the kinds of its fields."""
    return re.sub(r"\{(\w+)(?::\w)?\}", r"\1", insn.syntax)


def _extension(module: object) -> list[str]:
    name = getattr(module, "__name__", "").split(".")[2]
    title = (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")
    rows = [
        f"| `{_assembly(i)}` | `{_cell(i.encoding.picture)}` | {_cell(i.doc)} |"
        for i in TABLE.values()
        if i.extension == name
    ]
    head = ["| assembly | encoding | meaning |", "| --- | --- | --- |"]
    return [f"## {title.rstrip('.')}", "", *head, *rows, ""]


def _registers(title: str, csrs: Mapping[int, Csr]) -> list[str]:
    rows = [f"| {n:#05x} | `{c.name}` | {c.doc} |" for n, c in sorted(csrs.items())]
    return [f"## {title}", "", "| number | name | meaning |", "| --- | --- | --- |", *rows]


def render() -> str:
    """The whole document."""
    lines = [_HEAD]
    for module in EXTENSIONS:
        lines += _extension(module)
        if module is xaitensor:
            lines += sections()
    lines += _registers("Control and status registers", BY_NUMBER)
    lines += ["", *_registers("Registers of the GPU's lanes", LANE_CSRS)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render(), end="")
