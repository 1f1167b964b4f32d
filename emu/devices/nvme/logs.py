"""Log pages (base specification 1.4, 5.14.1): errors, health, firmware slot, supported commands."""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

from emu.clock import PS_PER_SECOND
from emu.devices.nvme.identify import ERROR_ENTRIES
from emu.devices.nvme.status import CommandError, Status

if TYPE_CHECKING:
    from emu.devices.nvme.command import Command
    from emu.devices.nvme.controller import Nvme


_ERROR = struct.Struct("<QHHHHQIB35x")
_TEMPERATURE_KELVIN = 310
_SUPPORTED, _CHANGES_DATA = 1 << 0, 1 << 1
_UNIT_BYTES = 512 * 1000  # health counts data in thousands of 512 bytes
_PS_PER_HOUR = 3600 * PS_PER_SECOND


class Logs:
    """What one controller has counted and noted since power-on."""

    def __init__(self) -> None:
        self.errors = 0
        self._entries: deque[bytes] = deque(maxlen=ERROR_ENTRIES)
        self.reads = self.writes = self.bytes_read = self.bytes_written = 0

    def note_error(self, sqid: int, command: Command, status: Status) -> None:
        """A command failed: an entry for the error log, newest first."""
        self.errors += 1
        field = status.field() << 1
        lba = command.cdw11 << 32 | command.cdw10 if sqid else 0
        entry = (self.errors, sqid, command.cid, field, 0xFFFF, lba, command.nsid, 0)
        self._entries.appendleft(_ERROR.pack(*entry))

    def get(self, nvme: Nvme, command: Command) -> int:
        """Get Log Page; raises CommandError."""
        page = self._page(nvme, command.cdw10 & 0xFF)
        dwords = (command.cdw11 & 0xFFFF) << 16 | command.cdw10 >> 16
        offset = command.cdw13 << 32 | command.cdw12
        if offset >= len(page) or offset % 4:
            raise CommandError(Status.INVALID_FIELD)
        data = page[offset : offset + 4 * (dwords + 1)]
        nvme.put(command, data)
        if not command.cdw10 >> 15 & 1:  # "retain asynchronous event" is not set
            nvme.asynchronous.unmask(command.cdw10 & 0xFF)
        return 0

    def _page(self, nvme: Nvme, identifier: int) -> bytes:
        match identifier:
            case 0x01:
                return b"".join(self._entries).ljust(64 * ERROR_ENTRIES, b"\0")
            case 0x02:
                return self._health(nvme)
            case 0x03:
                return (bytes([1]) + bytes(7) + b"1.0     ").ljust(512, b"\0")
            case 0x05:
                return _effects(nvme)
        raise CommandError(Status.INVALID_LOG_PAGE)

    def _health(self, nvme: Nvme) -> bytes:
        out = bytearray(512)
        struct.pack_into("<BHBBB", out, 0, 0, _TEMPERATURE_KELVIN, 100, 10, 0)
        counters = [
            -(-self.bytes_read // _UNIT_BYTES),
            -(-self.bytes_written // _UNIT_BYTES),
            self.reads,
            self.writes,
            0,  # minutes busy
            1,  # power cycles
            nvme.events.clock.now_ps // _PS_PER_HOUR,
            0,  # unsafe shutdowns
            0,  # media errors
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
