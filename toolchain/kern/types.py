"""The types of Kern, as the checker computes them and code generation lays them out.

Every type is an immutable value, compared structurally, except `Struct` and `Enum`, which are
nominal: two of them are equal only when they are the same object. `str(type)` is the type as a
program writes it, for messages and debug information.

Layout is that of C for RV64 lp64d, little-endian: every class says its own. `size_of` and
`align_of` compute it; code generation must agree (`sizeof` is folded by the checker).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


class Type:
    """Base of all types."""

    __slots__ = ()


@dataclass(frozen=True)
class Int(Type):
    """A two's complement integer of 8, 16, 32 or 64 bits; `int` is the signed 64-bit one."""

    bits: int
    signed: bool

    def __str__(self) -> str:
        return "int" if self == INT else f"{'i' if self.signed else 'u'}{self.bits}"

    @property
    def minimum(self) -> int:
        """The least value it holds."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def maximum(self) -> int:
        """The greatest value it holds."""
        return (1 << (self.bits - int(self.signed))) - 1


@dataclass(frozen=True)
class Float(Type):
    """An IEEE 754 number of 32 or 64 bits; `float` is the 64-bit one."""

    bits: int

    def __str__(self) -> str:
        return "float" if self.bits == 64 else f"f{self.bits}"


@dataclass(frozen=True)
class Bool(Type):
    """One byte in memory, 0 or 1; an `i1` as a value."""

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True)
class Void(Type):
    """The result of a function that gives nothing; no object has it."""

    def __str__(self) -> str:
        return "nothing"


@dataclass(frozen=True)
class Never(Type):
    """The type of what does not come back (`panic`, `unreachable`); no object has it."""

    def __str__(self) -> str:
        return "never"


@dataclass(frozen=True)
class Poison(Type):
    """The type of an expression already reported wrong; it agrees with everything, silently.

    It never occurs in a program given to code generation.
    """

    def __str__(self) -> str:
        return "?"


@dataclass(frozen=True)
class Null(Type):
    """The type of `null` before it adapts to a pointer or function type; checker only."""

    def __str__(self) -> str:
        return "null"


@dataclass(frozen=True)
class AnyInt(Type):
    """The type of an integer constant before it adapts: exact, of any size; checker only."""

    def __str__(self) -> str:
        return "int"


@dataclass(frozen=True)
class AnyFloat(Type):
    """The type of a floating point constant before it adapts; checker only."""

    def __str__(self) -> str:
        return "float"


@dataclass(frozen=True)
class Ptr(Type):
    """A 64-bit address; `target` is None for the untyped `ptr`."""

    target: Type | None = None

    def __str__(self) -> str:
        return "ptr" if self.target is None else f"ptr[{self.target}]"


@dataclass(frozen=True)
class Str(Type):
    """`{ptr bytes; i64 length}`: immutable bytes, not NUL-terminated."""

    def __str__(self) -> str:
        return "str"


@dataclass(frozen=True)
class Slice(Type):
    """`{ptr first; i64 length}`: a view of `length` elements that lie elsewhere.

    Both `slice[T]` and, in fields and parameters, `array[T]`.
    """

    element: Type

    def __str__(self) -> str:
        return f"slice[{self.element}]"


@dataclass(frozen=True)
class Array(Type):
    """`T elements[length]`, a value."""

    element: Type
    length: int

    def __str__(self) -> str:
        return f"array[{self.element}, {self.length}]"


@dataclass(frozen=True)
class SlotTable(Type):
    """`{S elements[length]; u64 used[ceil(length / 64)]}`: structs with a used bit each.

    Slot i is in use when bit i % 64 of used[i / 64] is set.
    """

    element: Struct
    length: int

    def __str__(self) -> str:
        return f"array[{self.element}, {self.length}]"


@dataclass(frozen=True)
class Queue(Type):
    """`{u64 head; u64 len; T elements[length]}`: a ring; the oldest is elements[head], and the
    k-th oldest elements[(head + k) % length]. All zero is empty."""

    element: Type
    length: int

    def __str__(self) -> str:
        return f"queue[{self.element}, {self.length}]"


@dataclass(frozen=True)
class Order(Type):
    """`{ptr first; ptr indices; i64 length}`: what `sort` gives, indices being u32.

    The k-th element of the order is the element number indices[k] of those that start at
    `first`. The indices lie on the stack of the function that sorts; the type has no name in the
    language, so an order can be passed down (to an `array` parameter) but never kept.
    """

    element: Type

    def __str__(self) -> str:
        return f"order of {self.element}"


@dataclass(frozen=True)
class Fn(Type):
    """The address of a function; null is possible."""

    parameters: tuple[Type, ...]
    result: Type

    def __str__(self) -> str:
        parameters = ", ".join(map(str, self.parameters))
        result = "" if self.result == VOID else f" -> {self.result}"
        return f"fn({parameters}){result}"


@dataclass(frozen=True)
class Result(Type):
    """`{str error; T value}` (no value for `Result(VOID)`): an error when error's bytes are not
    null. In an error the value is zero; in a success the error is {null, 0}."""

    value: Type

    def __str__(self) -> str:
        return "!" if self.value == VOID else f"{self.value}!"


@dataclass(frozen=True)
class Half(Type):
    """A 16-bit float, `f16` or `bf16`: tensors have such elements, no other object has."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Tensor(Type):
    """A Xaitensor descriptor, 128 bytes aligned to 128 (layout: docs/tensor.md); `element` is None
    for the plain `tensor`, whose descriptor says while running what its elements are."""

    element: Type | None = None

    def __str__(self) -> str:
        return "tensor" if self.element is None else f"tensor[{self.element}]"

    @staticmethod
    def index_of(name: str) -> int | None:
        """The number of the descriptor's field `name`, or None."""
        return list(DESCRIPTOR).index(name) if name in DESCRIPTOR else None


@dataclass(frozen=True)
class Field:
    """A field of a struct. `line` is where it is declared."""

    name: str
    type: Type
    line: int


@dataclass(eq=False)
class Struct(Type):
    """A declared struct: its fields in order, with C's padding.

    Made empty and filled once all names are known, so that it can point to itself.
    """

    name: str
    module: str
    file: str
    line: int
    fields: tuple[Field, ...] = ()
    _index: dict[str, int] = field(default_factory=dict, repr=False)

    def fill(self, fields: Sequence[Field]) -> None:
        """Sets the fields, once."""
        self.fields = tuple(fields)
        self._index = {f.name: i for i, f in enumerate(self.fields)}

    def index_of(self, name: str) -> int | None:
        """The number of the field `name`, or None."""
        return self._index.get(name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Struct({self.module}.{self.name})"


@dataclass(eq=False)
class Enum(Type):
    """A declared or anonymous enum: an i32, with names for some values.

    An anonymous one is called after its place: `Agent.state` for the field `state` of `Agent`.
    """

    name: str
    module: str
    file: str
    line: int
    members: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Enum({self.module}.{self.name})"


INT = Int(64, True)
I8, I16, I32 = Int(8, True), Int(16, True), Int(32, True)
U8, U16, U32, U64 = Int(8, False), Int(16, False), Int(32, False), Int(64, False)
F32, F64 = Float(32), Float(64)
BOOL, VOID, NEVER, POISON, NULL, STR = Bool(), Void(), Never(), Poison(), Null(), Str()
PTR, TENSOR = Ptr(), Tensor()
ANY_INT, ANY_FLOAT = AnyInt(), AnyFloat()

NAMED: dict[str, Type] = {
    "int": INT, "float": F64, "bool": BOOL, "str": STR, "ptr": PTR,
    "i8": I8, "i16": I16, "i32": I32, "i64": INT,
    "u8": U8, "u16": U16, "u32": U32, "u64": U64,
    "f32": F32, "f64": F64, "tensor": TENSOR,
}  # fmt: skip
"""The types whose name is one word."""


ELEMENT_CODES: dict[Type, int] = {
    F32: 1, U8: 2, I8: 3, I16: 5, I32: 6, INT: 7, BOOL: 9, Half("f16"): 10, F64: 11,
    Half("bf16"): 16,
}  # fmt: skip
"""What tensors may be made of, and the descriptor's code for it (those of ONNX's TensorProto)."""

DESCRIPTOR: dict[str, Type] = {
    "base": PTR, "dtype": U8, "rank": U8, "zero": Array(U8, 6), "dims": Array(U32, 8),
    "strides": Array(INT, 8), "reserved": Array(U64, 2),
}  # fmt: skip
"""The fields of a tensor's descriptor, in order; the layout is that of a struct."""


def size_of(type_: Type) -> int:
    """The bytes that an object of the type takes, padding included."""
    match type_:
        case Int(bits=bits) | Float(bits=bits):
            return bits // 8
        case Bool():
            return 1
        case Enum():
            return 4
        case Str() | Slice():
            return 16
        case Order():
            return 24
        case Array(element, length):
            return size_of(element) * length
        case Void() | Never():
            return 0
    members = members_of(type_)
    if members is None:
        return 8
    offsets, end = _offsets(members)
    return _round_up(end, align_of(type_)) if offsets else 0


def align_of(type_: Type) -> int:
    """The alignment of the type in bytes."""
    match type_:
        case Array(element, _):
            return align_of(element)
        case Tensor():
            return 128
        case Str() | Slice() | Order():
            return 8
        case Void() | Never():
            return 1
    members = members_of(type_)
    if members is None:
        return size_of(type_)
    return max((align_of(member) for member in members), default=1)


def members_of(type_: Type) -> tuple[Type, ...] | None:
    """The members of a type laid out as a struct, in order; None for the other types."""
    match type_:
        case Struct():
            return tuple(f.type for f in type_.fields)
        case Tensor():
            return tuple(DESCRIPTOR.values())
        case SlotTable(element, length):
            return Array(element, length), Array(U64, -(-length // 64))
        case Queue(element, length):
            return U64, U64, Array(element, length)
        case Result(value):
            return (STR,) if value == VOID else (STR, value)
    return None


def offset_of(struct: Type, index: int) -> int:
    """The byte offset of member number `index` of a type that `members_of` knows."""
    return _offsets(members_of(struct) or ())[0][index]


def _offsets(members: Sequence[Type]) -> tuple[list[int], int]:
    offsets: list[int] = []
    end = 0
    for member in members:
        end = _round_up(end, align_of(member))
        offsets.append(end)
        end += size_of(member)
    return offsets, end


def _round_up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def is_scalar(type_: Type) -> bool:
    """Whether values of the type fit one register."""
    return isinstance(type_, Int | Float | Bool | Ptr | Enum | Fn)


def is_aggregate(type_: Type) -> bool:
    """Whether objects of the type should be copied as memory rather than held as LLVM values."""
    return isinstance(type_, Struct | Array | SlotTable | Queue | Tensor)
