"""Features (base specification 1.4, 5.21): what Set Features changes and Get Features tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.devices.nvme.registers import IO_QUEUES
from emu.devices.nvme.status import CommandError, Status

if TYPE_CHECKING:
    from emu.devices.nvme.command import Command
    from emu.devices.nvme.controller import Nvme

TEMPERATURE_THRESHOLD, WRITE_CACHE, NUMBER_OF_QUEUES = 0x04, 0x06, 0x07
INTERRUPT_COALESCING, INTERRUPT_VECTOR, EVENT_CONFIGURATION = 0x08, 0x09, 0x0B
TIMESTAMP, HOST_BEHAVIOR, COMMAND_SETS = 0x0E, 0x16, 0x19
WARNING_KELVIN, CRITICAL_KELVIN = 343, 353
VECTORS = IO_QUEUES + 1
_CHANGEABLE = 1 << 2
_COALESCING_DISABLED = 1 << 16
_PS_PER_MS = 10**9


@dataclass(frozen=True)
class _Feature:
    """A feature: its value after a reset, which bits of it can be set, and whether to set others is
    an error or has no effect."""

    name: str
    default: int = 0
    mask: int = 0xFFFF_FFFF
    strict: bool = False


_FEATURES = {
    0x01: _Feature("arbitration", 6, 0xFFFF_FF07),
    0x02: _Feature("power management", 0, 0, strict=True),  # power state 0 is the only one
    TEMPERATURE_THRESHOLD: _Feature("temperature threshold", WARNING_KELVIN),
    0x05: _Feature("error recovery", 0, 0xFFFF, strict=True),
    WRITE_CACHE: _Feature("volatile write cache", 1, 1),
    NUMBER_OF_QUEUES: _Feature("number of queues", (IO_QUEUES - 1) * 0x1_0001),
    INTERRUPT_COALESCING: _Feature("interrupt coalescing", 0, 0xFFFF),
    INTERRUPT_VECTOR: _Feature("interrupt vector configuration"),
    0x0A: _Feature("write atomicity", 0, 1),
    EVENT_CONFIGURATION: _Feature("asynchronous event configuration", 0, 0x1F),
    TIMESTAMP: _Feature("timestamp"),
    HOST_BEHAVIOR: _Feature("host behavior support"),
    COMMAND_SETS: _Feature("command set profile", 0, 0, strict=True),  # profile 0 is the only one
}
_DATA_BYTES = {TIMESTAMP: 8, HOST_BEHAVIOR: 512}


def _defaults() -> dict[int, int]:
    return {fid: feature.default for fid, feature in _FEATURES.items()}


@dataclass
class Features:
    """The current values of one controller; nothing is saved over a reset."""

    values: dict[int, int] = field(default_factory=_defaults)
    thresholds: list[int] = field(default_factory=lambda: [WARNING_KELVIN, 0])
    """Kelvins that the temperature may not reach from below, and from above."""
    uncoalesced: set[int] = field(default_factory=set)
    """Vectors that do not wait for others."""
    behavior: bytes = bytes(_DATA_BYTES[HOST_BEHAVIOR])
    ahead_ms: int | None = None
    """By how much the date that the guest set is ahead of virtual time."""

    def set(self, nvme: Nvme, command: Command) -> int:
        """Set Features; returns the command's result. Raises CommandError."""
        fid, value = command.cdw10 & 0xFF, command.cdw11
        feature = _known(fid)
        if command.cdw10 >> 31:
            raise CommandError(Status.FEATURE_NOT_SAVEABLE)
        match fid:
            case 0x07:
                return self._set_queues(nvme, value)
            case 0x04:
                self.thresholds[_threshold(value)] = value & 0xFFFF
                nvme.check_temperature()
            case 0x06:
                nvme.set_write_cache(bool(value & 1))
            case 0x09:
                self._set_vector(value)
            case 0x0E | 0x16:
                self._set_data(nvme, fid, command)
                return 0
        if feature.strict and value & ~feature.mask:
            raise CommandError(Status.INVALID_FIELD)
        self.values[fid] = value & feature.mask
        if fid == EVENT_CONFIGURATION:
            nvme.check_temperature()
        return 0

    def _set_queues(self, nvme: Nvme, value: int) -> int:
        wanted = value & 0xFFFF, value >> 16
        if 0xFFFF in wanted:
            raise CommandError(Status.INVALID_FIELD)
        if nvme.has_io_queues():
            raise CommandError(Status.SEQUENCE_ERROR)
        submission, completion = (min(n, IO_QUEUES - 1) for n in wanted)
        self.values[NUMBER_OF_QUEUES] = completion << 16 | submission
        return self.values[NUMBER_OF_QUEUES]

    def _set_vector(self, value: int) -> None:
        vector = _vector(value)
        if value & _COALESCING_DISABLED:
            self.uncoalesced.add(vector)
        else:
            self.uncoalesced.discard(vector)

    def _set_data(self, nvme: Nvme, fid: int, command: Command) -> None:
        data = nvme.fetch(command, _DATA_BYTES[fid])
        if fid == HOST_BEHAVIOR:
            self.behavior = data
        else:
            self.ahead_ms = int.from_bytes(data[:6], "little") - nvme.now_ps // _PS_PER_MS

    def get(self, nvme: Nvme, command: Command) -> int:
        """Get Features; returns the command's result. Raises CommandError."""
        fid, select = command.cdw10 & 0xFF, command.cdw10 >> 8 & 7
        _known(fid)
        match select:
            case 0 | 1 | 2:  # nothing is ever saved, so the saved value is the default
                current = Features() if select else self
                if fid in _DATA_BYTES:
                    nvme.put(command, current._data(nvme, fid))
                    return 0
                return current._value(fid, command.cdw11)
            case 3:
                return _CHANGEABLE
        raise CommandError(Status.INVALID_FIELD)

    def _value(self, fid: int, cdw11: int) -> int:
        if fid == TEMPERATURE_THRESHOLD:
            return self.thresholds[_threshold(cdw11)]
        if fid == INTERRUPT_VECTOR:
            vector = _vector(cdw11)
            return vector | (_COALESCING_DISABLED if vector in self.uncoalesced else 0)
        return self.values[fid]

    def _data(self, nvme: Nvme, fid: int) -> bytes:
        if fid == HOST_BEHAVIOR:
            return self.behavior
        date = nvme.now_ps // _PS_PER_MS + (self.ahead_ms or 0)
        origin = 0 if self.ahead_ms is None else 1 << 1  # since the reset, or set by the host
        return (date & (1 << 48) - 1).to_bytes(6, "little") + bytes([origin, 0])


def _known(fid: int) -> _Feature:
    feature = _FEATURES.get(fid)
    if feature is None:
        raise CommandError(Status.INVALID_FIELD)
    return feature


def _threshold(value: int) -> int:
    """Which of the two thresholds a dword 11 is about: there is the composite sensor only."""
    sensor, kind = value >> 16 & 0xF, value >> 20 & 3
    if sensor not in (0, 0xF) or kind > 1:
        raise CommandError(Status.INVALID_FIELD)
    return kind


def _vector(value: int) -> int:
    if value & 0xFFFF >= VECTORS:
        raise CommandError(Status.INVALID_FIELD)
    return value & 0xFFFF
