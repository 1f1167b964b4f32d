"""How an instruction of the TPU is declared: its fields, encoding, syntax, unit and meaning, once.

    NOP = declare("nop", 0x00, Unit.CONTROL, "Nothing, for one cycle.")

    MATMUL = declare(
        "matmul accumulator, buffer, length, format, next, accumulate", 0x10, Unit.MATRIX,
        \"\"\"...meaning...\"\"\", layout="0:11 accumulate next format length accumulator buffer",
    )

An instruction has 96 bits, little-endian: the opcode in the lowest 8, then what `layout` names,
written from bit 95 down; `0:11` are eleven bits that must be zero. A field means the same wherever
it stands, so its width, how it is written and what it is stand in one table, `FIELDS`. The syntax
is the mnemonic and its operands in the order in which they are written; a flag is written as its
name where it is set.

From a declaration derive `encode` and `decode` here, assembler and disassembler (`text.py`), the
checks and the execution (`execute.py`), the functions of the kernel's driver and the tables of the
manual (`docs.py`). A declaration that does not fit raises at import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from emu.devices.tpu.errors import Code, ProgramError
from emu.errors import AiosError

SIZE = 12
"""Bytes of an instruction."""
_OPCODE_BITS = 8


class Unit(Enum):
    """Who executes an instruction. Each works through its own in order, beside the others."""

    CONTROL = "control"
    INPUT = "input"
    WEIGHTS = "weights"
    MATRIX = "matrix"
    ACTIVATION = "activation"
    OUTPUT = "output"


class Style(Enum):
    """How a field is written."""

    NUMBER = "a number"
    ADDRESS = "a number, shown in hexadecimal"
    BUFFER = "u and a row of the unified buffer"
    ACCUMULATOR = "a and a row of the accumulators"
    CHOICE = "one of some names"
    FLAG = "its name where it is set"
    SET = "names joined by |, or none"


@dataclass(frozen=True)
class Field:
    """A field: `bits` wide, written in a `style`; `names` are those of its values, or of its bits
    where it is a set."""

    name: str
    bits: int
    style: Style
    doc: str
    names: tuple[str, ...] = ()


FORMATS = ("i8", "u8", "i16", "bf16")
RESULTS = ("i8", "u8", "i16", "bf16", "i32", "f32")
FUNCTIONS = ("identity", "relu", "sigmoid", "tanh")
POOLS = ("none", "max", "sum")
WAITS = tuple(unit.value for unit in Unit if unit is not Unit.CONTROL)

_N, _CHOICE, _FLAG = Style.NUMBER, Style.CHOICE, Style.FLAG
FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("buffer", 24, Style.BUFFER, "row of the unified buffer"),
        Field("accumulator", 16, Style.ACCUMULATOR, "row of the accumulators"),
        Field("length", 32, _N, "vectors that the matrix unit is given"),
        Field("height", 16, _N, "the outer extent, in rows of vectors"),
        Field("width", 16, _N, "the inner extent, in vectors"),
        Field("rows", 16, _N, "rows of the unified buffer to transfer"),
        Field("host", 48, Style.ADDRESS, "bus address"),
        Field("weight", 40, Style.ADDRESS, "byte of the weight memory"),
        Field("page", 24, _N, "page (4 KiB) of the weight memory"),
        Field("pages", 16, _N, "pages (4 KiB) to transfer"),
        Field("format", 3, _CHOICE, "type of the elements", FORMATS),
        Field("result", 3, _CHOICE, "type of the result's elements", RESULTS),
        Field("function", 2, _CHOICE, "the neuron's function", FUNCTIONS),
        Field("pool", 2, _CHOICE, "what is made of a window", POOLS),
        Field("next", 1, _FLAG, "begin with the next tile of weights"),
        Field("accumulate", 1, _FLAG, "add to the accumulators instead of replacing them"),
        Field("bias", 1, _FLAG, "add the bias to which the setting `bias` points"),
        Field("units", 5, Style.SET, "units to wait for", WAITS),
        Field("tag", 32, _N, "a number for software"),
        Field("setting", 24, _CHOICE, "which setting"),
        Field("value", 64, Style.ADDRESS, "what it is set to"),
    )
}  # `setting` gets its names in `isa.py`, where the settings are declared


@dataclass(frozen=True)
class Slot:
    """A field in its place: `shift` counts from bit 0 of the instruction."""

    field: Field
    shift: int

    @property
    def limit(self) -> int:
        """The largest value that fits."""
        return (1 << self.field.bits) - 1


@dataclass(frozen=True)
class Declaration:
    """One instruction. `operands` are its slots in the order in which they are written; bits of
    `reserved` must be zero."""

    mnemonic: str
    opcode: int
    unit: Unit
    doc: str
    operands: tuple[Slot, ...]
    reserved: int


@dataclass(frozen=True)
class Instruction:
    """A decoded instruction: what was declared, and the value of every field by its name."""

    declaration: Declaration
    values: Mapping[str, int]

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def name_of(self, field: str) -> str:
        """A choice's value by its name."""
        return FIELDS[field].names[self.values[field]]


TABLE: dict[str, Declaration] = {}
_by_opcode: dict[int, Declaration] = {}


def declare(syntax: str, opcode: int, unit: Unit, doc: str, *, layout: str = "0:88") -> Declaration:
    """Add an instruction to the table. Raises ValueError for one that does not fit."""
    mnemonic, _, rest = syntax.partition(" ")
    names = rest.split(", ") if rest else []
    slots: dict[str, Slot] = {}
    shift, reserved = _OPCODE_BITS, 0
    for part in reversed(layout.split()):
        name, _, bits = part.partition(":")
        if name == "0":
            reserved |= (1 << int(bits)) - 1 << shift
            shift += int(bits)
        else:
            slots[name] = Slot(FIELDS[name], shift)
            shift += FIELDS[name].bits
    if shift != 8 * SIZE:
        raise ValueError(f"the layout of '{mnemonic}' has {shift} bits, not {8 * SIZE}")
    if sorted(names) != sorted(slots):
        raise ValueError(f"syntax and layout of '{mnemonic}' do not have the same fields")
    if mnemonic in TABLE or opcode in _by_opcode or not 0 <= opcode < 1 << _OPCODE_BITS:
        raise ValueError(f"'{mnemonic}', opcode {opcode:#x}, is declared twice or does not fit")
    operands = tuple(slots[name] for name in names)
    made = Declaration(mnemonic, opcode, unit, " ".join(doc.split()), operands, reserved)
    TABLE[mnemonic] = _by_opcode[opcode] = made
    return made


def encode(mnemonic: str, **values: int | str) -> bytes:
    """The bytes of an instruction; choices may be given by name, fields left out are zero.
    Raises AiosError for what does not exist or fit."""
    declaration = TABLE.get(mnemonic)
    if declaration is None:
        raise AiosError(f"'{mnemonic}' is not an instruction of the TPU.")
    word = declaration.opcode
    for slot in declaration.operands:
        field = slot.field
        value = values.pop(field.name, 0)
        if isinstance(value, str):
            if value not in field.names:
                raise AiosError(f"'{value}' is no {field.name}: {', '.join(field.names)}.")
            value = field.names.index(value)
        if not 0 <= value <= slot.limit:
            raise AiosError(
                f"{value} does not fit '{mnemonic}', whose {field.name} is 0 to {slot.limit}."
            )
        word |= value << slot.shift
    if values:
        raise AiosError(f"'{mnemonic}' has no '{next(iter(values))}'.")
    return word.to_bytes(SIZE, "little")


@lru_cache(maxsize=4096)
def decode(code: bytes) -> Instruction:
    """What `SIZE` bytes mean. Raises ProgramError for bytes that are no instruction."""
    word = int.from_bytes(code, "little")
    declaration = _by_opcode.get(word & (1 << _OPCODE_BITS) - 1)
    if declaration is None:
        raise ProgramError(Code.OPCODE, word & (1 << _OPCODE_BITS) - 1)
    if word & declaration.reserved:
        raise ProgramError(Code.RESERVED, (word & declaration.reserved) >> _OPCODE_BITS)
    values = {}
    for slot in declaration.operands:
        value = word >> slot.shift & slot.limit
        if slot.field.style is Style.CHOICE and value >= len(slot.field.names):
            raise ProgramError(Code.RESERVED, value)
        values[slot.field.name] = value
    return Instruction(declaration, values)
