"""Features (base specification 1.4, 5.21): what Set Features changes and Get Features tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.devices.nvme.registers import IO_QUEUES
from emu.devices.nvme.status import CommandError, Status

if TYPE_CHECKING:
    from emu.devices.nvme.command import Command
    from emu.devices.nvme.controller import Nvme

NUMBER_OF_QUEUES, TIMESTAMP, HOST_BEHAVIOR = 0x07, 0x0E, 0x16
_CHANGEABLE = 1 << 2
_WARNING_KELVIN, _CRITICAL_KELVIN = 343, 353
_PS_PER_MS = 10**9


@dataclass(frozen=True)
class _Feature:
    """A feature: its value after a reset and which bits of it can be set."""

    name: str
    default: int = 0
    mask: int = 0xFFFF_FFFF


_FEATURES = {
    0x01: _Feature("arbitration", 6, 0xFFFF_FF07),
    0x02: _Feature("power management", 0, 0x1F),
    0x04: _Feature("temperature threshold", _WARNING_KELVIN, 0x3F_FFFF),
    0x05: _Feature("error recovery", 0, 0x1FFFF),
    0x06: _Feature("volatile write cache", 1, 1),
    NUMBER_OF_QUEUES: _Feature("number of queues", (IO_QUEUES - 1) * 0x1_0001),
    0x08: _Feature("interrupt coalescing", 0, 0xFFFF),
    0x09: _Feature("interrupt vector configuration", 0, 0x1FFFF),
    0x0A: _Feature("write atomicity", 0, 1),
    0x0B: _Feature("asynchronous event configuration"),
    TIMESTAMP: _Feature("timestamp", 0, 0),
    HOST_BEHAVIOR: _Feature("host behavior support", 0, 0),
}
_DATA_BYTES = {TIMESTAMP: 8, HOST_BEHAVIOR: 512}


class Features:
    """The current values of one controller."""

    temperature_limits = (_WARNING_KELVIN, _CRITICAL_KELVIN)

    def __init__(self) -> None:
        self.values: dict[int, int] = {}
        self._behavior = bytes(_DATA_BYTES[HOST_BEHAVIOR])
        self._timestamp_offset = 0  # milliseconds by which the guest's date is ahead of the clock
        self.reset()

    def reset(self) -> None:
        """All as after power-on; nothing is saved."""
        self.values = {fid: feature.default for fid, feature in _FEATURES.items()}
        self._behavior = bytes(_DATA_BYTES[HOST_BEHAVIOR])
        self._timestamp_offset = 0

    def set(self, nvme: Nvme, command: Command) -> int:
        """Set Features; returns the command's result. Raises CommandError."""
        fid, value = command.cdw10 & 0xFF, command.cdw11
        feature = _known(fid)
        if command.cdw10 >> 31:
            raise CommandError(Status.FEATURE_NOT_SAVEABLE)
        if fid == NUMBER_OF_QUEUES:
            return self._set_queues(nvme, value)
        if fid in _DATA_BYTES:
            self._set_data(nvme, fid, command)
        else:
            self.values[fid] = value & feature.mask
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

    def _set_data(self, nvme: Nvme, fid: int, command: Command) -> None:
        data = b"".join(bytes(view) for view in nvme.data(command, _DATA_BYTES[fid]))
        if fid == HOST_BEHAVIOR:
            self._behavior = data
        else:
            now_ms = nvme.events.clock.now_ps // _PS_PER_MS
            self._timestamp_offset = int.from_bytes(data[:6], "little") - now_ms

    def get(self, nvme: Nvme, command: Command) -> int:
        """Get Features; returns the command's result. Raises CommandError."""
        fid, select = command.cdw10 & 0xFF, command.cdw10 >> 8 & 7
        feature = _known(fid)
        match select:
            case 0 if fid in _DATA_BYTES:
                nvme.put(command, self._data(nvme, fid))
                return 0
            case 0:
                return self.values[fid]
            case 1 | 2:  # nothing is ever saved, so the saved value is the default
                return feature.default
            case 3:
                return _CHANGEABLE
        raise CommandError(Status.INVALID_FIELD)

    def _data(self, nvme: Nvme, fid: int) -> bytes:
        if fid == HOST_BEHAVIOR:
            return self._behavior
        date = nvme.events.clock.now_ps // _PS_PER_MS + self._timestamp_offset
        origin = 1 << 1 if self._timestamp_offset else 0  # set by the host, or since reset
        return (date & (1 << 48) - 1).to_bytes(6, "little") + bytes([origin, 0])


def _known(fid: int) -> _Feature:
    feature = _FEATURES.get(fid)
    if feature is None:
        raise CommandError(Status.INVALID_FIELD)
    return feature
