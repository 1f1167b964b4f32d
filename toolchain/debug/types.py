"""The types of the debugged program, as its DWARF describes them.

Names are written as Kern writes them. `str` and slices are structs in DWARF; `is_text` and
`is_slice` recognise them by their fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field

POINTER_SIZE = 8


@dataclass(eq=False)
class Type:
    """Any type; `size` is in bytes."""

    name: str
    size: int


@dataclass(eq=False)
class Int(Type):
    """An integer of two's complement."""

    signed: bool


@dataclass(eq=False)
class Float(Type):
    """An IEEE 754 number of 2, 4 or 8 bytes."""


@dataclass(eq=False)
class Bool(Type):
    """False is 0."""


@dataclass(eq=False)
class Char(Type):
    """A byte of a text."""


@dataclass(eq=False)
class Enum(Type):
    """An integer whose values have names."""

    members: dict[int, str]


@dataclass(eq=False)
class Pointer(Type):
    """An address; `target` is None when nothing is known of what lies there."""

    target: Type | None


@dataclass(eq=False)
class Reference(Type):
    """What is stored is an address; what is meant is the `target` there."""

    target: Type


@dataclass(eq=False)
class Array(Type):
    """`length` elements, one behind the other."""

    element: Type
    length: int


@dataclass(frozen=True)
class Field:
    """A member of a struct, `offset` bytes from its start."""

    name: str
    type: Type
    offset: int


@dataclass(eq=False)
class Struct(Type):
    """Fields by name. They are filled in after the struct is made, for it may point to itself."""

    fields: dict[str, Field] = field(default_factory=dict)

    @property
    def is_slice(self) -> bool:
        """Whether it is a pointer and a length, as a slice or `str`."""
        return list(self.fields) == ["ptr", "len"] and isinstance(self.fields["ptr"].type, Pointer)

    @property
    def is_text(self) -> bool:
        """Whether it is a `str`."""
        return self.is_slice and isinstance(self.element, Char)

    @property
    def is_table(self) -> bool:
        """Whether it is a slot table: an array with a bit for each element in use."""
        return list(self.fields) == ["elements", "used"]

    @property
    def element(self) -> Type | None:
        """What a slice's pointer points to."""
        pointer = self.fields["ptr"].type
        return pointer.target if isinstance(pointer, Pointer) else None


INT = Int("int", 8, signed=True)
U64 = Int("u64", 8, signed=False)
F64 = Float("float", 8)
BOOL = Bool("bool", 1)
ADDRESS = Pointer("ptr", POINTER_SIZE, None)

BASIC: dict[str, Type] = {
    **{f"i{n}": Int(f"i{n}", n // 8, signed=True) for n in (8, 16, 32, 64)},
    **{f"u{n}": Int(f"u{n}", n // 8, signed=False) for n in (8, 16, 32, 64)},
    "int": INT,
    "f32": Float("f32", 4),
    "f64": Float("f64", 8),
    "float": F64,
    "bool": BOOL,
    "ptr": ADDRESS,
}
"""The types that an expression can name in a cast."""


def pointer_to(target: Type | None) -> Pointer:
    """The type of a pointer to `target`."""
    return ADDRESS if target is None else Pointer(f"ptr[{target.name}]", POINTER_SIZE, target)
