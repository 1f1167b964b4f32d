"""A device: registers on a bus, with callbacks where a register does more than hold a value.

    class Finisher(Device, prefix="FINISHER"):
        \"\"\"The test finisher.\"\"\"

        command = register(Command)

        @on_write(command)
        def _finish(self, value: int, old: int) -> None: ...

`register(R)` mounts the register class R as an attribute of that name, `register_array(R)` a list
of them. A read callback takes no arguments and returns what the guest reads; a write callback is
called after the register has taken the value, with what was written (bytes that were not written
as they were) and what the register held before. Callbacks of arrays get the index first.

Accesses that match a register exactly take the fast path; halves of 64-bit registers, bytes, and
accesses that span several registers are put together from the registers they touch. Where nothing
lies, reads give zero and writes do nothing: a guest cannot make a device raise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, cast

from emu.devices.registers import Register

R = TypeVar("R", bound=Register)
F = TypeVar("F", bound=Callable[..., Any])


class _Mount:
    """What `register` leaves in the class body; instances shadow it with real registers."""

    def __init__(self, kind: type[Register], array: bool) -> None:
        self.kind, self.array = kind, array
        self.read_name: str | None = None
        self.write_name: str | None = None


def register(kind: type[R]) -> R:
    """Mount one register of the class `kind` in the device."""
    return cast(R, _Mount(kind, array=False))


def register_array(kind: type[R]) -> list[R]:
    """Mount the `kind.count` registers of the class `kind` in the device."""
    return cast("list[R]", _Mount(kind, array=True))


def on_read(mount: Register | list[Any]) -> Callable[[F], F]:
    """Let the decorated method, called with `(index)` for an array, say what the guest reads."""

    def mark(method: F) -> F:
        cast(_Mount, mount).read_name = method.__name__
        return method

    return mark


def on_write(mount: Register | list[Any]) -> Callable[[F], F]:
    """Call the decorated method `(value, old)`, or `(index, value, old)`, after a guest's write."""

    def mark(method: F) -> F:
        cast(_Mount, mount).write_name = method.__name__
        return method

    return mark


class _Port:
    """A mounted register of one device with its callbacks bound: what dispatch finds."""

    def __init__(self, reg: Register, read: Callable[..., int] | None, write: Any) -> None:
        self.register = reg
        self.size, self.at = reg.size, reg.at
        self._read, self._write = read, write
        self._index = (reg.index,) if reg.count > 1 else ()
        self._full = (1 << 8 * reg.size) - 1

    def read(self) -> int:
        """The guest reads the whole register."""
        return self.register.guest_read() if self._read is None else self._read(*self._index)

    def write(self, value: int, lanes: int | None = None) -> None:
        """The guest writes the bits in `lanes` (all by default)."""
        reg, old = self.register, self.register.value
        lanes = self._full if lanes is None else lanes
        reg.guest_write(value, lanes)
        if self._write is not None:
            self._write(*self._index, value & lanes | old & ~lanes, old)


class Device:
    """Base class of everything with registers. `prefix` names it in generated constants; `state`
    lists the attributes that a snapshot must hold besides the registers."""

    prefix: ClassVar[str] = ""
    mounts: ClassVar[dict[str, Any]] = {}
    state: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, prefix: str = "") -> None:
        cls.prefix = prefix or cls.prefix
        own = {n: m for n, m in vars(cls).items() if isinstance(m, _Mount)}
        cls.mounts = {**cls.mounts, **own}
        _check_overlaps(cls)

    def __init__(self, name: str) -> None:
        self.name = name
        self.registers: list[Register] = []
        self._banks: dict[int, tuple[dict[int, _Port], dict[int, _Port]]] = {}
        for attribute, mount in self.mounts.items():
            made = [mount.kind(i) for i in range(mount.kind.count)]
            setattr(self, attribute, made if mount.array else made[0])
            for reg in made:
                self._connect(reg, mount)
        self.select_bank(0)

    def _connect(self, reg: Register, mount: _Mount) -> None:
        read = getattr(self, mount.read_name) if mount.read_name else None
        write = getattr(self, mount.write_name) if mount.write_name else None
        port = _Port(reg, read, write)
        self.registers.append(reg)
        reads, writes = self._banks.setdefault(reg.bank, ({}, {}))
        if reg.side != "write":
            reads[reg.at] = port
        if reg.side != "read":
            writes[reg.at] = port

    def select_bank(self, bank: int) -> None:
        """Show the registers of `bank`; where it has none, those of bank 0 stay."""
        reads, writes = self._banks.get(0, ({}, {}))
        more_reads, more_writes = self._banks.get(bank, ({}, {}))
        self._reads, self._writes = {**reads, **more_reads}, {**writes, **more_writes}

    def read(self, offset: int, size: int) -> int:
        """The guest reads `size` bytes at `offset`."""
        port = self._reads.get(offset)
        if port is not None and port.size == size:
            return port.read()
        value = 0
        for port in self._touched(self._reads, offset, size):
            shift = 8 * (port.at - offset)
            part = port.read()
            value |= part << shift if shift >= 0 else part >> -shift
        return value & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """The guest writes `size` bytes at `offset`, lowest register first."""
        port = self._writes.get(offset)
        if port is not None and port.size == size:
            port.write(value)
            return
        ones = (1 << 8 * size) - 1
        for port in self._touched(self._writes, offset, size):
            shift = 8 * (offset - port.at)
            full = (1 << 8 * port.size) - 1
            if shift >= 0:
                port.write(value << shift & full, ones << shift & full)
            else:
                port.write(value >> -shift & full, ones >> -shift & full)

    @staticmethod
    def _touched(table: dict[int, _Port], offset: int, size: int) -> list[_Port]:
        """The registers that share a byte with the access, in the order of their addresses."""
        found = []
        for at in range(max(0, offset - 7), offset + size):
            port = table.get(at)
            if port is not None and at + port.size > offset:
                found.append(port)
        return found

    def reset(self) -> None:
        """Return every register to its value after power-on."""
        for reg in self.registers:
            reg.reset()
        self.select_bank(0)

    def describe(self, write: bool, offset: int, size: int, value: int) -> str:
        """An access in words, for the trace: `CSTS rdy=1 cfs=0`."""
        table = self._writes if write else self._reads
        port = table.get(offset)
        if port is not None and port.size == size:
            return f"{port.register.label} {port.register.explain(value)}"
        touched = self._touched(table, offset, size)
        return " ".join(port.register.label for port in touched) or "nothing"

    def snapshot(self) -> dict[str, Any]:
        """All that the device holds, as plain values; `restore` takes it back."""
        return {
            "registers": [reg.value for reg in self.registers],
            "state": {name: copy.deepcopy(getattr(self, name)) for name in self.state},
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave."""
        for reg, value in zip(self.registers, saved["registers"], strict=True):
            reg.value = value
        for name, value in saved["state"].items():
            setattr(self, name, copy.deepcopy(value))

    def dump(self) -> str:
        """The debugger's view, one register a line; reading it has no side effects. Elements of
        arrays that hold their reset value are left out."""
        lines = [f"{self.name}:"]
        for reg in self.registers:
            if reg.count == 1 or reg.value != reg.reset_value:
                digits = 2 * reg.size
                fields = reg.explain(reg.value)
                lines.append(f"  {reg.at:#07x} {reg.label:<12} {reg.value:0{digits}x}  {fields}")
        return "\n".join(lines)


def _check_overlaps(cls: type[Device]) -> None:
    """Raise TypeError when two registers of one bank and direction share a byte."""
    for direction in ("read", "write"):
        owner: dict[tuple[int, int], str] = {}
        for mount in cls.mounts.values():
            kind = mount.kind
            if kind.side not in ("both", direction):
                continue
            for index in range(kind.count):
                start = kind.offset + index * kind.stride
                for byte in range(start, start + kind.size):
                    other = owner.setdefault((kind.bank, byte), kind.__name__)
                    if other != kind.__name__ or (index and kind.stride < kind.size):
                        raise TypeError(
                            f"{cls.__name__}: {other} and {kind.__name__} overlap at {byte:#x}"
                        )
