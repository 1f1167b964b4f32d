"""Registers declared as data.

    class Csts(Register, offset=0x1C, size=4):
        \"\"\"Controller status (NVMe base specification, 3.1.4.6).\"\"\"

        rdy = bits[0](RO, doc="set when the controller may be given commands")
        cfs = bits[1](RO, doc="fatal status")
        reserved = bits[31:2]

The class is the declaration: a device's dispatch, reset, snapshot, trace, debugger view,
documentation and the constants of the kernel's drivers all come from it. An instance is one
device's register: its `value`, and each field as an attribute (`csts.rdy = 1`). Every bit must be
named or reserved; a mistake in a declaration raises when the class is made. Field attributes are
the device's own view and obey no access mode: modes are about what the guest may do
(`Register.guest_write`).
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, overload


class Access(Enum):
    """What the guest may do with a field."""

    RO = "read only"
    RW = "read and write"
    W1C = "read; writing 1 clears"
    W1S = "read; writing 1 sets"
    WO = "write only, reads as 0"


RO, RW, W1C, W1S, WO = Access.RO, Access.RW, Access.W1C, Access.W1S, Access.WO


class Bits:
    """A range of bits, both ends included; call it with an access mode to make a field."""

    def __init__(self, high: int, low: int) -> None:
        if not high >= low >= 0:
            raise ValueError(f"bits {high}:{low} are no range; write the higher bit first")
        self.high, self.low = high, low

    @property
    def mask(self) -> int:
        """The bits in place."""
        return (1 << self.high + 1) - (1 << self.low)

    def __str__(self) -> str:
        return str(self.low) if self.high == self.low else f"{self.high}:{self.low}"

    def __call__(self, access: Access, *, reset: int = 0, doc: str) -> Field:
        return Field(self, access, reset, doc)


class _Picker:
    """`bits[7:4]` and `bits[0]`, written as specifications write them."""

    def __getitem__(self, key: int | slice) -> Bits:
        return Bits(key.start, key.stop) if isinstance(key, slice) else Bits(key, key)


bits = _Picker()


class Field:
    """A named part of a register. On an instance of the register it is the part's value."""

    def __init__(self, where: Bits, access: Access, reset: int, doc: str) -> None:
        self.bits, self.access, self.reset, self.doc = where, access, reset, doc
        self.name = ""
        self.shift, self.mask = where.low, where.mask
        self.limit = where.mask >> where.low

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, register: None, owner: type) -> Field: ...
    @overload
    def __get__(self, register: Register, owner: type) -> int: ...
    def __get__(self, register: Register | None, owner: type) -> Field | int:
        return self if register is None else (register.value & self.mask) >> self.shift

    def __set__(self, register: Register, value: int) -> None:
        register.value = register.value & ~self.mask | value << self.shift & self.mask

    def of(self, value: int) -> int:
        """The field's part of a whole register's `value`."""
        return (value & self.mask) >> self.shift


class Register:
    """One register; subclasses declare it. `count` registers of the same kind may follow each
    other `stride` bytes apart. `bank` tells apart registers that share an address by a mode of
    the device; `side` ("read" or "write") those that share it by direction."""

    offset: ClassVar[int]
    size: ClassVar[int]
    count: ClassVar[int]
    stride: ClassVar[int]
    bank: ClassVar[int]
    side: ClassVar[str]
    fields: ClassVar[dict[str, Field]] = {}
    reserved: ClassVar[Bits | tuple[Bits, ...]] = ()
    reset_value: ClassVar[int]
    read_mask: ClassVar[int]
    _writable: ClassVar[int]
    _clears: ClassVar[int]
    _sets: ClassVar[int]

    def __init_subclass__(
        cls,
        *,
        offset: int,
        size: int = 4,
        count: int = 1,
        stride: int = 0,
        bank: int = 0,
        side: str = "both",
    ) -> None:
        if size not in (1, 2, 4, 8) or offset % size:
            raise TypeError(f"{cls.__name__} of {size} bytes cannot lie at offset {offset:#x}")
        if side not in ("both", "read", "write"):
            raise TypeError(f"{cls.__name__} has side '{side}'; it is 'read', 'write' or 'both'")
        cls.offset, cls.size, cls.bank, cls.side = offset, size, bank, side
        cls.count, cls.stride = count, stride or size
        cls.fields = {n: f for n, f in vars(cls).items() if isinstance(f, Field)}
        _check_fields(cls)

        def union(*modes: Access) -> int:
            return sum(f.mask for f in cls.fields.values() if f.access in modes)

        cls.reset_value = sum(f.reset << f.shift for f in cls.fields.values())
        cls.read_mask = union(RO, RW, W1C, W1S)
        cls._writable, cls._clears, cls._sets = union(RW, WO), union(W1C), union(W1S)

    def __init__(self, index: int = 0) -> None:
        self.index = index
        self.value = self.reset_value

    @property
    def at(self) -> int:
        """This register's offset in its device."""
        return self.offset + self.index * self.stride

    @property
    def label(self) -> str:
        """Its name in traces and views."""
        name = type(self).__name__.upper()
        return f"{name}[{self.index}]" if self.count > 1 else name

    def reset(self) -> None:
        """Return to the value after power-on."""
        self.value = self.reset_value

    def guest_read(self) -> int:
        """What the guest sees when no callback says otherwise."""
        return self.value & self.read_mask

    def guest_write(self, value: int, lanes: int) -> None:
        """Apply a guest's write of the bits in `lanes`, each field by its access mode."""
        change = self._writable & lanes
        kept = self.value & ~change | value & change
        self.value = kept & ~(value & self._clears & lanes) | value & self._sets & lanes

    @classmethod
    def explain(cls, value: int) -> str:
        """The fields of `value` in words: `rdy=1 cfs=0`."""
        parts = cls.fields.values()
        return " ".join(f"{f.name}={_number(f.of(value))}" for f in parts)


def _number(value: int) -> str:
    return str(value) if value < 10 else hex(value)


def _reserved(cls: type[Register]) -> tuple[Bits, ...]:
    return (cls.reserved,) if isinstance(cls.reserved, Bits) else cls.reserved


def _check_fields(cls: type[Register]) -> None:
    """Raise TypeError unless the fields and the reserved bits cover the register exactly once."""
    name, width = cls.__name__, 8 * cls.size
    parts = [(f"{name}.{f.name}", f.bits) for f in cls.fields.values()]
    parts += [(f"{name}'s reserved part", r) for r in _reserved(cls)]
    owner: dict[int, str] = {}
    for label, where in parts:
        if where.high >= width:
            raise TypeError(f"{label} covers bits {where}, but the register has {width} bits")
        for bit in range(where.low, where.high + 1):
            if bit in owner:
                raise TypeError(f"{owner[bit]} and {label} both cover bit {bit}")
            owner[bit] = label
    for field in cls.fields.values():
        if not 0 <= field.reset <= field.limit:
            raise TypeError(f"{name}.{field.name} cannot hold its reset value {field.reset:#x}")
    missing = [bit for bit in range(width) if bit not in owner]
    if missing:
        raise TypeError(
            f"{name} leaves bit {missing[0]} undeclared: give it a field or name it in `reserved`"
        )
