"""`declare`: the declaration of one instruction that computes, as the files of families make it.

    tensor = partial(declare, "axes")
    tensor("tsoftmax", ALONG, 9, "x: T[*a, n@axis, *c] -> d: T[*a, n, *c]", T="float",
           means='''m = max(x[*p, j, *q] for j in n)
                    d[*p, i, *q] = exp(x[*p, i, *q] - m) / sum(exp(x[*p, j, *q] - m) for j in n)''',
           work="24 * prod(x)", doc="Softmax along an axis. …")

From it come the encoding, the checks of types, extents and attributes (`emu.cpu.tensor.checks`),
the reference semantics that the compiled code is tested against, and the documentation. What it
does not say is how the instruction is computed: that is bound to it by `emu.cpu.tensor.call`.

A class of encodings (`Form`) has a number of functions; the number of an instruction among them is
its own for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace
from emu.isa.xaitensor.notation import CONSTANTS, functions_of, names_of
from emu.isa.xaitensor.rules import RULES, names_read
from emu.isa.xaitensor.signature import Operand, parse


@dataclass(frozen=True)
class Form:
    """A class of encodings: `picture` has digits for x's, the bits of the function number."""

    picture: str
    syntax: str
    sources: int
    """Tensor registers besides td."""
    block: str = ""
    """The field of the integer register with the address of the attribute block."""

    def encode(self, number: int) -> str:
        """The picture of function `number`. Raises ValueError beyond the class's last."""
        bits = iter(format(number, f"0{self.picture.count('x')}b"))
        picture = "".join(next(bits) if sign == "x" else sign for sign in self.picture)
        if next(bits, None) is not None:
            raise ValueError(f"the class '{self.picture}' has no function {number}")
        return picture


BINARY = Form("xxxxxxx 0 ts2 0 ts1 001 0 td 0101011", "{td:t}, {ts1:t}, {ts2:t}", 2)
UNARY = Form("xxxxxxx rs2 0 ts1 010 0 td 0101011", "{td:t}, {ts1:t}, {rs2}", 1, "rs2")
PRODUCT = Form("rs3 xx 0 ts2 0 ts1 011 0 td 0101011", "{td:t}, {ts1:t}, {ts2:t}, {rs3}", 2, "rs3")
ALONG = Form("xxxxxxx rs2 0 ts1 100 0 td 0101011", "{td:t}, {ts1:t}, {rs2}", 1, "rs2")
WIDE = Form("rs3 xx x ts2 x ts1 101 x td 0101011", "{td:t}, {ts1:t}, {ts2:t}, {rs3}", 2, "rs3")


@dataclass(frozen=True, eq=False)
class Declaration:
    """One instruction, as `tensor` was given it."""

    mnemonic: str
    form: Form
    signature: str
    types: Mapping[str, str]
    """The sets that the type variables stand for."""
    means: str
    doc: str
    family: str
    defaults: Mapping[str, float]
    flags: Mapping[str, int]
    modes: tuple[str, ...]
    requires: Mapping[str, str]
    work: str
    pieces: str
    traffic: tuple[str, ...]
    ulps: float = field(default=0.0)

    @cached_property
    def operands(self) -> tuple[Operand, ...]:
        """Sources in order, then results. Raises ValueError when the signature does not parse."""
        return parse(self.signature, self.form.sources)

    @cached_property
    def results(self) -> tuple[Operand, ...]:
        """The operands that are written, td first."""
        return tuple(o for o in self.operands if o.written)

    @cached_property
    def extras(self) -> dict[int, Operand]:
        """Operands that the attribute block names, by their place there."""
        return {o.extra: o for o in self.operands if o.extra is not None}

    @property
    def elementwise(self) -> bool:
        """Whether the meaning is an expression over one element of each source."""
        return " = " not in self.means

    @property
    def activates(self) -> bool:
        """Whether the attribute block's activation is applied to the result."""
        return "act(" in self.means

    @cached_property
    def expressions(self) -> tuple[str, ...]:
        """Everything it says in the notation: of extents, conditions, work and meaning."""
        dims = (d.text for o in self.operands for d in o.dims if d.kind in ("int", "spread"))
        indexes = (o.indexes for o in self.operands)
        texts = (*dims, *indexes, *self.requires, self.work, self.pieces, self.means)
        return tuple(text for text in texts if text)

    @cached_property
    def attributes(self) -> frozenset[str]:
        """Fields of the attribute block, flags and modes that its expressions use, or the rules
        that they call; not those of an activation."""
        dims = [d for o in self.operands for d in o.dims]
        used = {d.axis for d in dims if d.axis}
        for text in self.expressions:
            used |= names_of(text)
            for rule in functions_of(text) & RULES.keys():
                used |= names_read(RULES[rule])
        bound = {d.text for d in dims if d.kind not in ("int", "spread", "stretch")}
        return frozenset(used - bound - {o.name for o in self.operands} - CONSTANTS.keys())


TENSORS: dict[str, Declaration] = {}
"""Every instruction that computes, by mnemonic."""


def declare(
    family: str,
    mnemonic: str,
    form: Form,
    number: int,
    signature: str,
    *,
    means: str,
    doc: str,
    T: str = "",
    U: str = "",
    V: str = "",
    defaults: Mapping[str, float] | None = None,
    flags: Mapping[str, int] | None = None,
    modes: str = "",
    requires: Mapping[str, str] | None = None,
    work: str = "",
    pieces: str = "",
    traffic: str = "",
    ulps: float = 0.0,
) -> None:
    """Declare the function `number` of a class of encodings; `family` is the name of the file.

    `signature` is described in `signature.py`, its type variables are T, U and V; `means` in
    `emu.cpu.tensor.reference`. `doc` is a paragraph, its first sentence a summary. The rest is what
    the instruction asks of the attribute block and of the machine:

    * `defaults`: values of fields where there is no block;
    * `flags`: names for bits of `flags` (other bits are refused); `modes`: names for the values of
      `mode`, from 0 on;
    * `requires`: conditions, and who is to blame ("at": the block) where they do not hold;
    * `work`: operations, for the timing model and the limit; `pieces`: separate products;
      `traffic`: names of operands whose bytes are moved, if not each once;
    * `ulps`: how far a float result may be from the meaning, in units of the last place of the
      largest element (0: as exact as its type allows).
    """
    types = {name: set_ for name, set_ in (("T", T), ("U", U), ("V", V)) if set_}
    _add(form, number, mnemonic, doc.split(". ")[0].rstrip(".") + ".")
    TENSORS[mnemonic] = Declaration(
        mnemonic, form, signature, types, means, doc, family, defaults or {}, flags or {},
        tuple(modes.split()), requires or {}, work, pieces, tuple(traffic.split()), ulps,
    )  # fmt: skip


def _add(form: Form, number: int, mnemonic: str, summary: str) -> None:
    """Enter the instruction in the table: every body makes the call of the seam."""
    picture, syntax = form.encode(number), f"{mnemonic} {form.syntax}"
    if not form.block:

        @insn(picture, syntax, doc=summary)
        def binary(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
            m.system("tensor", mnemonic, rd, rs1, rs2)

    elif form.sources == 1:

        @insn(picture, syntax, doc=summary)
        def one(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
            m.system("tensor", mnemonic, rd, rs1, m.x[rs2])

    else:

        @insn(picture, syntax, doc=summary)
        def two(m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node) -> None:
            m.system("tensor", mnemonic, rd, rs1, rs2, m.x[rs3])
