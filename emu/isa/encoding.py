"""Encodings as pictures: `"imm[11:0] rs1 000 rd 0010011"` is an I-type instruction, bit 31 first.

A picture is a row of tokens. Digits are fixed bits; a bare name is a field as wide as `WIDTHS` says
(five bits for a register, or three for the primed registers of the C extension, `rd'`, which name
x8 to x15); `name[hi:lo|bit]` scatters an immediate, its bits listed from the most significant end
of the field. The immediate's name says how it reads: `imm` is signed, `uimm` and `shamt` unsigned,
and the forms with `nz` are never zero.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WIDTHS = {
    "rd": 5, "rs1": 5, "rs2": 5, "rs3": 5,  # integer or floating-point registers
    "td": 4, "ts1": 4, "ts2": 4,  # tensor registers
    "csr": 12, "zimm": 5, "field": 5,
    "rm": 3, "aq": 1, "rl": 1, "fm": 4, "pred": 4, "succ": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """`width` bits at `low` of the word that are bits `field_low` and up of the operand."""

    low: int
    width: int
    field_low: int


@dataclass(frozen=True)
class Field:
    """One operand of an encoding: where its bits stand and how they read."""

    name: str
    pieces: tuple[Piece, ...]
    signed: bool = False
    nonzero: bool = False
    primed: bool = False

    @property
    def top(self) -> int:
        """One more than the number of the operand's highest bit."""
        return max(p.field_low + p.width for p in self.pieces)

    @property
    def align(self) -> int:
        """The operand is a multiple of this: bits below the lowest encoded one are zero."""
        return 1 << min(p.field_low for p in self.pieces)

    def extract(self, word: int) -> int:
        """The operand's value in `word`, sign-extended where it is signed."""
        value = 0
        for p in self.pieces:
            value |= ((word >> p.low) & ((1 << p.width) - 1)) << p.field_low
        if self.primed:
            value += 8
        if self.signed and value >> (self.top - 1):
            value -= 1 << self.top
        return value

    def fits(self, value: int) -> bool:
        """Whether `value` can be encoded."""
        if self.primed:
            return 8 <= value < 16
        if self.nonzero and value == 0:
            return False
        low, high = (
            (-(1 << (self.top - 1)), 1 << (self.top - 1)) if self.signed else (0, 1 << self.top)
        )
        return low <= value < high and value % self.align == 0

    @property
    def mask(self) -> int:
        """The word's bits that belong to this operand."""
        return sum(((1 << p.width) - 1) << p.low for p in self.pieces)

    def insert(self, value: int) -> int:
        """The word's bits that encode `value`, which must fit."""
        if self.primed:
            value -= 8
        word = 0
        for p in self.pieces:
            word |= ((value >> p.field_low) & ((1 << p.width) - 1)) << p.low
        return word


@dataclass(frozen=True)
class Encoding:
    """A parsed picture: a word `w` may be this instruction when `w & mask == match`."""

    picture: str
    bits: int
    mask: int
    match: int
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """The field of that name, if the picture has one."""
        return next((f for f in self.fields if f.name == name), None)


def _parse_immediate(token: str, low: int) -> tuple[Field, int]:
    name, ranges = re.fullmatch(r"(\w+)\[([\d:|]+)\]", token).groups()  # type: ignore[union-attr]
    spans = []
    for part in ranges.split("|"):
        high, _, lowest = part.partition(":")
        spans.append((int(high), int(lowest or high)))
    pieces = []
    for high, lowest in reversed(spans):
        pieces.append(Piece(low, high - lowest + 1, lowest))
        low += high - lowest + 1
    return Field(name, tuple(pieces)), low


def _merge(parts: list[Field]) -> Field:
    """An immediate written in several places of a picture is one field."""
    name = parts[0].name
    pieces = tuple(p for part in parts for p in part.pieces)
    return Field(name, pieces, signed=name in ("imm", "nzimm"), nonzero=name.startswith("nz"))


def parse(picture: str) -> Encoding:
    """Read a picture; raises ValueError when it is not 16 or 32 bits wide."""
    low, mask, match = 0, 0, 0
    fields: list[Field] = []
    immediates: dict[str, list[Field]] = {}
    for token in reversed(picture.split()):
        if re.fullmatch("[01]+", token):
            mask |= ((1 << len(token)) - 1) << low
            match |= int(token, 2) << low
            low += len(token)
        elif "[" in token:
            part, low = _parse_immediate(token, low)
            immediates.setdefault(part.name, []).append(part)
        else:
            primed = token.endswith("'")
            name = token.rstrip("'")
            if name not in WIDTHS:
                raise ValueError(f"the encoding '{picture}' has the unknown field '{token}'")
            width = 3 if primed else WIDTHS[name]
            fields.append(Field(name, (Piece(low, width, 0),), primed=primed))
            low += width
    if low not in (16, 32):
        raise ValueError(f"the encoding '{picture}' has {low} bits, not 16 or 32")
    fields += [_merge(parts) for parts in immediates.values()]
    return Encoding(picture, low, mask, match, tuple(fields))
