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

Work that takes time is scheduled with `after` or `at`, by method and plain arguments, so that a
snapshot holds it:

        self.after(self.copy_ps(n), self._copied, n)

Accesses that match a register exactly take the fast path; halves of 64-bit registers, bytes, and
accesses that span several registers are put together from the registers they touch. Where nothing
lies, reads give zero and writes do nothing: a guest cannot make a device raise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, TypeVar, cast

from emu.clock import Event, EventQueue
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
    """Base class of everything with registers.

    `prefix` names it in generated constants; `state` lists the attributes that a snapshot must hold
    besides the registers and the events to come: plain data, and no `Event` (find those by
    `scheduled`). `counts` gives an array of registers another length than its declaration, by
    attribute. A device without `events` lives outside time and can schedule nothing.
    """

    prefix: ClassVar[str] = ""
    mounts: ClassVar[dict[str, Any]] = {}
    state: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, prefix: str = "") -> None:
        cls.prefix = prefix or cls.prefix
        own = {n: m for n, m in vars(cls).items() if isinstance(m, _Mount)}
        cls.mounts = {**cls.mounts, **own}
        _check_overlaps(cls)

    def __init__(
        self, name: str, events: EventQueue | None = None, counts: Mapping[str, int] | None = None
    ) -> None:
        self.name = name
        self.registers: list[Register] = []
        self._events = events
        self._banks: dict[int, tuple[dict[int, _Port], dict[int, _Port]]] = {}
        for attribute, mount in self.mounts.items():
            count = (counts or {}).get(attribute, mount.kind.count)
            made = [mount.kind(i) for i in range(count)]
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

    # --- time ---------------------------------------------------------------------------------

    @property
    def events(self) -> EventQueue:
        """The machine's event queue."""
        assert self._events is not None, f"{self.name} was made without an event queue"
        return self._events

    @property
    def now_ps(self) -> int:
        """The virtual time in picoseconds."""
        return self.events.clock.now_ps

    def after(self, delay_ps: int, method: Callable[..., None], *args: Any) -> Event:
        """Have `method`, a method of this device, called with `args`, plain data, in `delay_ps`.
        A reset forgets it, a snapshot holds it."""
        return self.at(self.now_ps + delay_ps, method, *args)

    def at(
        self, when_ps: int, method: Callable[..., None], *args: Any, timer: bool = False
    ) -> Event:
        """As `after`, at the virtual time `when_ps`. A `timer` is the guest's own alarm clock."""
        owner: object = getattr(method, "__self__", None)
        assert owner is self, f"{method} is no method of {self.name}"
        return self.events.schedule(when_ps, method, *args, timer=timer)

    def scheduled(self, method: Callable[..., None] | None = None) -> list[Event]:
        """What this device has scheduled and not done yet, in order; only calls of `method` if one
        is given. `Event.args` are its arguments, `Event.cancel` takes it back."""
        mine = [] if self._events is None else self._events.pending(self)
        return [event for event in mine if method is None or event.callback == method]

    # --- as a whole -----------------------------------------------------------------------------

    def reset(self) -> None:
        """Return every register to its value after power-on; nothing stays scheduled."""
        for event in self.scheduled():
            event.cancel()
        for reg in self.registers:
            reg.reset()
        self.select_bank(0)

    def power_cut(self) -> None:
        """The power fails. The run ends with it, so a device has only to see to what outlives it:
        a drive loses what it had not yet made durable."""

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
            "events": [
                (e.at_ps, e.sequence, e.callback.__name__, copy.deepcopy(e.args), e.timer)
                for e in self.scheduled()
                if e.callback is not None
            ],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave."""
        for reg, value in zip(self.registers, saved["registers"], strict=True):
            reg.value = value
        for name, value in saved["state"].items():
            setattr(self, name, copy.deepcopy(value))
        for event in self.scheduled():
            event.cancel()
        for at_ps, sequence, method, args, timer in saved["events"]:
            call = getattr(self, method)
            self.events.restore(at_ps, sequence, call, copy.deepcopy(args), timer)

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
        spans = [
            (kind.bank, kind.offset + i * kind.stride, kind.size, kind.__name__)
            for kind in (mount.kind for mount in cls.mounts.values())
            if kind.side in ("both", direction)
            for i in range(kind.count)
        ]
        spans.sort(key=lambda span: span[:2])
        for (bank, at, size, name), (next_bank, next_at, _, other) in pairwise(spans):
            if bank == next_bank and next_at < at + size:
                raise TypeError(f"{cls.__name__}: {name} and {other} overlap at {next_at:#x}")
