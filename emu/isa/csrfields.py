"""How a control and status register is declared: its fields, where they are kept, what is legal.

A register is a tuple of `Field`s. What is written where no field stands is ignored and reads as
zero, so every register is WARL (privileged specification, section 2.3) without further words. A
field is one of

* bits kept in a word of the hart's state (`word`, by default the one named like the register) at
  the same place or, with `at`, at another (`index` is for a member of several words); `legal` lists
  what it can hold, and writing anything else makes it the first of these;
* a `constant`;
* `read` and, if it can be written, `write`: functions over the trace of `emu.isa.graph`, for what
  is computed.

From this `emu.cpu.csr` makes what each engine executes, and `docs` the table of fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from emu.isa.graph import Node, Trace, const

ALL = (1 << 64) - 1

Read = Callable[[Trace], Node]
Write = Callable[[Trace, Node], None]


@dataclass(frozen=True)
class Field:
    """Bits `high` to `low` of a register."""

    name: str
    high: int
    low: int
    doc: str = ""
    word: str = ""
    index: int | None = None
    at: int | None = None
    legal: tuple[int, ...] = ()
    constant: int | None = None
    read: Read | None = None
    write: Write | None = None

    @property
    def ones(self) -> int:
        """The field's bits, at bit 0."""
        return (1 << (self.high - self.low + 1)) - 1

    @property
    def mask(self) -> int:
        """The field's bits where they stand in the register."""
        return self.ones << self.low

    @property
    def shift(self) -> int:
        """Where the field starts in its word."""
        return self.low if self.at is None else self.at

    @property
    def stored(self) -> bool:
        """Whether it is bits of a word, and neither constant nor computed."""
        return self.constant is None and self.read is None


def bit(name: str, number: int, doc: str = "", **more: object) -> Field:
    """A field of one bit."""
    return Field(name, number, number, doc, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Csr:
    """One register. Its number says who may touch it: bits 9:8 are the least privilege, bits 11:10
    both set mean read-only (privileged specification, section 2.1)."""

    number: int
    name: str
    doc: str
    fields: tuple[Field, ...] = ()
    guard: Read | None = None
    """1 bit: whether it may be accessed at all, beyond what the number says."""
    base: Read | None = None
    """What CSRRS and CSRRC start from, where that is not what is read."""
    accepts: Callable[[Node], Node] | None = None
    """1 bit: whether a write of this value has any effect."""
    after: tuple[str, ...] = ()
    """What may be different after a write: "regime" of translation, "interrupts" to be taken; or
    the unit whose state is then dirty: "fs", "xs"."""
    stall_ps: int = 0
    """How long an access takes beyond its cycle, in picoseconds."""
    unit: str = ""
    """The part of the hart that Python must tell of writes: "pmp", which does them itself, or
    "timer"."""

    @property
    def privilege(self) -> int:
        """The least privilege that may access it: 0 user, 1 supervisor, 3 machine."""
        return self.number >> 8 & 3

    @property
    def read_only(self) -> bool:
        """Whether every write traps."""
        return self.number >> 10 == 3

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """Its fields by their names."""
        return {f.name: f for f in self.fields}

    def mask(self, *names: str) -> int:
        """The bits of the named fields."""
        return sum(self.by_name[name].mask for name in names)

    def word_of(self, field: Field) -> str:
        """The state word that a stored field is kept in."""
        return field.word or self.name


def flag(node: Node) -> Node:
    """A 1-bit value as a 64-bit one."""
    return node.zext(64)


def any_of(value: Node, numbers: tuple[int, ...]) -> Node:
    """1 bit: whether `value` is one of the numbers."""
    found = const(0, 1)
    for number in numbers:
        found = found | value.eq(number)
    return found
