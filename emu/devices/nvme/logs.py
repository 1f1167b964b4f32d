"""Log pages (base specification 1.4, 5.14.1): errors, health, firmware slot, supported commands."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.clock import PS_PER_SECOND
from emu.devices.nvme.status import CommandError, Status

if TYPE_CHECKING:
    from emu.devices.nvme.command import Command
    from emu.devices.nvme.controller import Nvme
    from emu.devices.nvme.namespace import Namespace

ERROR_ENTRIES = 64
TEMPERATURE_KELVIN = 310
_ERROR = struct.Struct("<QHHHHQIB35x")
_NO_LOCATION = 0xFFFF
_SUPPORTED, _CHANGES_DATA = 1 << 0, 1 << 1
_TEMPERATURE_WARNING = 1 << 1
_UNIT_BYTES = 512 * 1000  # health counts data in thousands of 512 bytes
_PS_PER_MINUTE = 60 * PS_PER_SECOND


@dataclass
class Logs:
    """What one controller has counted and noted since the emulator started."""

    errors: int = 0
    entries: deque[bytes] = field(default_factory=lambda: deque(maxlen=ERROR_ENTRIES))
    power_cycles: int = 1
    unsafe_shutdowns: int = 0
    busy_ps: int = 0
    """How long commands were under way."""

    def note_error(self, sqid: int, command: Command, status: Status, lba: int | None) -> None:
        """A command failed: an entry for the error log, newest first."""
        self.errors += 1
        if lba is None:
            lba = command.lba if sqid else 0
        entry = (self.errors, sqid, command.cid, status.field() << 1)
        self.entries.appendleft(_ERROR.pack(*entry, _NO_LOCATION, lba, command.nsid, 0))

    def get(self, nvme: Nvme, command: Command) -> int:
        """Get Log Page; raises CommandError."""
        identifier = command.cdw10 & 0xFF
        page = self._page(nvme, identifier, command)
        dwords = (command.cdw11 & 0xFFFF) << 16 | command.cdw10 >> 16
        offset = command.cdw13 << 32 | command.cdw12
        if offset >= len(page) or offset % 4:
            raise CommandError(Status.INVALID_FIELD)
        nvme.put(command, page[offset : offset + 4 * (dwords + 1)])
        if not command.cdw10 >> 15 & 1:  # "retain asynchronous event" is not set
            nvme.log_was_read(identifier)
        return 0

    def _page(self, nvme: Nvme, identifier: int, command: Command) -> bytes:
        match identifier:
            case 0x01:
                return b"".join(self.entries).ljust(64 * ERROR_ENTRIES, b"\0")
            case 0x02:
                return self._health(nvme, nvme.namespaces_of(command.nsid))
            case 0x03:
                return (bytes([1]) + bytes(7) + b"1.0     ").ljust(512, b"\0")
            case 0x05 if command.cdw14 >> 24:  # effects of another command set
                raise CommandError(Status.INVALID_FIELD)
            case 0x05:
                return _effects(nvme)
        raise CommandError(Status.INVALID_LOG_PAGE)

    def _health(self, nvme: Nvme, namespaces: list[Namespace]) -> bytes:
        out = bytearray(512)
        warning = 0 if nvme.temperature_is_fine() else _TEMPERATURE_WARNING
        struct.pack_into("<BHBBB", out, 0, warning, TEMPERATURE_KELVIN, 100, 10, 0)
        counted = [namespace.counters for namespace in namespaces]
        counters = [
            -(-sum(c.bytes_read for c in counted) // _UNIT_BYTES),
            -(-sum(c.bytes_written for c in counted) // _UNIT_BYTES),
            sum(c.reads for c in counted),
            sum(c.writes for c in counted),
            self.busy_ps // _PS_PER_MINUTE,
            self.power_cycles,
            nvme.now_ps // (60 * _PS_PER_MINUTE),
            self.unsafe_shutdowns,
            sum(c.media_errors for c in counted),
            self.errors,
        ]
        for i, value in enumerate(counters):
            out[32 + 16 * i : 48 + 16 * i] = value.to_bytes(16, "little")
        return bytes(out)


def _effects(nvme: Nvme) -> bytes:
    out = bytearray(4096)
    for opcode in nvme.admin.handlers:
        struct.pack_into("<I", out, 4 * opcode, _SUPPORTED)
    for opcode in nvme.io.handlers:
        effect = _CHANGES_DATA if opcode in nvme.io.CHANGING else 0
        struct.pack_into("<I", out, 1024 + 4 * opcode, _SUPPORTED | effect)
    return bytes(out)
