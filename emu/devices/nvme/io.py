"""I/O commands of the NVM command set (base specification 1.4, chapter 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from emu.devices.nvme.backing import BLOCK
from emu.devices.nvme.command import BROADCAST
from emu.devices.nvme.identify import MDTS, NAMESPACES
from emu.devices.nvme.status import CommandError, Status

if TYPE_CHECKING:
    from emu.devices.nvme.command import Command
    from emu.devices.nvme.controller import Nvme

FLUSH, WRITE, READ, COMPARE, WRITE_ZEROES = 0x00, 0x01, 0x02, 0x05, 0x08
_MAX_BYTES = 4096 << MDTS
_FORCE_UNIT_ACCESS = 1 << 30


class Io:
    """Each handler takes a command and returns its result (dword 0), or raises CommandError."""

    CHANGING: ClassVar[frozenset[int]] = frozenset({WRITE, WRITE_ZEROES})
    """Commands that change what is on the drive."""

    def __init__(self, nvme: Nvme) -> None:
        self._nvme = nvme
        self.handlers: dict[int, Callable[[Command], int]] = {
            FLUSH: self._flush,
            WRITE: self._write,
            READ: self._read,
            COMPARE: self._compare,
            WRITE_ZEROES: self._write_zeroes,
        }

    def done_at(self, command: Command, now: int) -> int:
        """When a command that was fetched now is done."""
        timing, n = self._nvme.timing, _length(command)
        if command.opcode in (READ, COMPARE):
            return timing.read(now, min(n, _MAX_BYTES))
        moves = min(n, _MAX_BYTES) if command.opcode == WRITE else 0
        return timing.write(now, moves)

    def _place(self, command: Command, limit: int) -> tuple[int, int]:
        """Offset and length of the command's blocks, in bytes, all checks done."""
        if not 1 <= command.nsid <= NAMESPACES:
            raise CommandError(Status.INVALID_NAMESPACE)
        lba, n = command.cdw11 << 32 | command.cdw10, _length(command)
        if n > limit:
            raise CommandError(Status.INVALID_FIELD)
        if lba + n // BLOCK > self._nvme.backing.blocks:
            raise CommandError(Status.LBA_OUT_OF_RANGE)
        if command.opcode in self.CHANGING and self._nvme.backing.readonly:
            raise CommandError(Status.NAMESPACE_WRITE_PROTECTED)
        return lba * BLOCK, n

    def _read(self, command: Command) -> int:
        offset, n = self._place(command, _MAX_BYTES)
        views = self._nvme.data(command, n)
        try:
            self._nvme.backing.read(offset, views)
        except OSError:
            raise CommandError(Status.UNRECOVERED_READ) from None
        self._nvme.logs.reads += 1
        self._nvme.logs.bytes_read += n
        return 0

    def _write(self, command: Command) -> int:
        offset, n = self._place(command, _MAX_BYTES)
        views = self._nvme.data(command, n)
        backing = self._nvme.backing
        try:
            backing.write(offset, views)
            if command.cdw12 & _FORCE_UNIT_ACCESS:
                backing.flush()
        except OSError:
            raise CommandError(Status.WRITE_FAULT) from None
        self._nvme.logs.writes += 1
        self._nvme.logs.bytes_written += n
        return 0

    def _compare(self, command: Command) -> int:
        offset, n = self._place(command, _MAX_BYTES)
        stored = bytearray(n)
        try:
            self._nvme.backing.read(offset, [memoryview(stored)])
        except OSError:
            raise CommandError(Status.UNRECOVERED_READ) from None
        if stored != b"".join(self._nvme.data(command, n)):
            raise CommandError(Status.COMPARE_FAILURE)
        return 0

    def _write_zeroes(self, command: Command) -> int:
        offset, n = self._place(command, 0x10000 * BLOCK)
        try:
            self._nvme.backing.zero(offset, n)
        except OSError:
            raise CommandError(Status.WRITE_FAULT) from None
        self._nvme.logs.writes += 1
        return 0

    def _flush(self, command: Command) -> int:
        if command.nsid != BROADCAST and not 1 <= command.nsid <= NAMESPACES:
            raise CommandError(Status.INVALID_NAMESPACE)
        try:
            self._nvme.backing.flush()
        except OSError:
            raise CommandError(Status.WRITE_FAULT) from None
        return 0


def _length(command: Command) -> int:
    """Bytes that the command names: its number of blocks is zero-based."""
    return ((command.cdw12 & 0xFFFF) + 1) * BLOCK
