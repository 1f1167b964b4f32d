"""I/O commands of the NVM command set (base specification 1.4, chapter 6; Copy: 2.0).

A command is executed as a whole at the moment when it is done. Checks come in the order of the
fields: namespace, size, blocks, write protection, where the data lies; only then anything moves.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from emu.devices.nvme.command import BROADCAST, Command
from emu.devices.nvme.namespace import Namespace
from emu.devices.nvme.prp import regions
from emu.devices.nvme.status import CommandError, Status

if TYPE_CHECKING:
    from emu.devices.nvme.controller import Nvme

FLUSH, WRITE, READ, COMPARE, WRITE_ZEROES = 0x00, 0x01, 0x02, 0x05, 0x08
DATASET_MANAGEMENT, VERIFY, COPY = 0x09, 0x0C, 0x19
MDTS = 7
"""Largest transfer: 2 ** MDTS of the smallest memory pages."""
MAX_BYTES = 4096 << MDTS
COPY_RANGES = 128
COPY_BLOCKS_OF_RANGE = 0xFFFF
COPY_BLOCKS = 0x1_0000
"""Limits of Copy: source ranges, blocks of one, blocks of all."""

_TRANSFERS = frozenset({READ, WRITE, COMPARE, VERIFY})  # what passes the data path
_FORCE_UNIT_ACCESS = 1 << 30  # of dword 12
_DEALLOCATE = 1 << 2  # attribute of Dataset Management, dword 11
_RANGE = struct.Struct("<IIQ")  # attributes, blocks, first block
_SOURCE = struct.Struct("<8xQH14x")  # format 0: first block, blocks less one


class Io:
    """Each handler takes a command and returns its result (dword 0), or raises CommandError."""

    CHANGING: ClassVar[frozenset[int]] = frozenset({WRITE, WRITE_ZEROES, DATASET_MANAGEMENT, COPY})
    """Commands that change what is on the drive."""

    def __init__(self, nvme: Nvme) -> None:
        self._nvme = nvme
        self._namespaces = nvme.namespaces
        self.handlers: dict[int, Callable[[Command], int]] = {
            FLUSH: self._flush,
            WRITE: self._write,
            READ: self._read,
            COMPARE: self._compare,
            WRITE_ZEROES: self._write_zeroes,
            DATASET_MANAGEMENT: self._manage_dataset,
            VERIFY: self._verify,
            COPY: self._copy,
        }

    def done_at(self, command: Command, now: int) -> int:
        """When a command that was fetched now is done."""
        timing, opcode = self._nvme.timing, command.opcode
        namespace = self._namespaces.get(command.nsid)
        if namespace is None or opcode not in _TRANSFERS:
            return timing.write.done(now, 0)
        n = (command.cdw12 & 0xFFFF) + 1 << namespace.shift
        path = timing.write if opcode == WRITE else timing.read
        done = path.done(now, n)
        return done + namespace.delay_ps(command.lba, command.blocks) if namespace.faulty else done

    def _place(self, command: Command) -> tuple[Namespace, int, int]:
        """The namespace, first block and number of blocks of a command that transfers them."""
        namespace = self._namespaces.get(command.nsid)
        if namespace is None:
            raise self._nvme.no_namespace(command.nsid)
        lba, blocks = command.cdw11 << 32 | command.cdw10, (command.cdw12 & 0xFFFF) + 1
        if blocks << namespace.shift > MAX_BYTES:
            raise CommandError(Status.INVALID_FIELD)
        if lba + blocks > namespace.blocks:
            raise CommandError(Status.LBA_OUT_OF_RANGE, lba=lba)
        return namespace, lba, blocks

    def _target(self, command: Command) -> Namespace:
        """The namespace of a command that may change it."""
        namespace = self._namespaces.get(command.nsid)
        if namespace is None:
            raise self._nvme.no_namespace(command.nsid)
        return namespace

    def _read(self, command: Command) -> int:
        namespace, lba, blocks = self._place(command)
        n, nvme = blocks << namespace.shift, self._nvme
        views = regions(nvme.view, command.prp1, command.prp2, n, nvme.page)
        namespace.read(lba, views, blocks)
        counters = namespace.counters
        counters.reads += 1
        counters.bytes_read += n
        return 0

    def _write(self, command: Command) -> int:
        namespace, lba, blocks = self._place(command)
        namespace.check_writable()
        n = blocks << namespace.shift
        views = self._nvme.data(command, n)
        namespace.write(lba, views, blocks, bool(command.cdw12 & _FORCE_UNIT_ACCESS))
        counters = namespace.counters
        counters.writes += 1
        counters.bytes_written += n
        return 0

    def _compare(self, command: Command) -> int:
        namespace, lba, blocks = self._place(command)
        n = blocks << namespace.shift
        views = self._nvme.data(command, n)
        stored = bytearray(n)
        namespace.read(lba, [stored], blocks)
        namespace.counters.reads += 1
        namespace.counters.bytes_read += n
        if stored != b"".join(views):
            raise CommandError(Status.COMPARE_FAILURE, lba=lba)
        return 0

    def _verify(self, command: Command) -> int:
        """Read without a transfer: the host file has to hold the blocks, the plan to spare them."""
        namespace = self._target(command)
        lba, blocks = command.lba, command.blocks
        namespace.check(lba, blocks)
        step = MAX_BYTES >> namespace.shift
        scratch = memoryview(bytearray(min(blocks << namespace.shift, MAX_BYTES)))
        for start in range(lba, lba + blocks, step):
            n = min(step, lba + blocks - start)
            namespace.read(start, [scratch[: n << namespace.shift]], n)
        namespace.counters.bytes_read += blocks << namespace.shift
        return 0

    def _write_zeroes(self, command: Command) -> int:
        namespace = self._target(command)
        namespace.check(command.lba, command.blocks)
        namespace.check_writable()
        durable = bool(command.cdw12 & _FORCE_UNIT_ACCESS)
        namespace.zero(command.lba, command.blocks, durable)
        return 0

    def _manage_dataset(self, command: Command) -> int:
        """Deallocate ranges; the other attributes are hints, and nothing is done about them."""
        namespace = self._target(command)
        count = (command.cdw10 & 0xFF) + 1
        table = self._nvme.fetch(command, count * _RANGE.size)
        ranges = [(lba, blocks) for _, blocks, lba in _RANGE.iter_unpack(table)]
        for lba, blocks in ranges:
            namespace.check(lba, blocks)
        if command.cdw11 & _DEALLOCATE:
            namespace.check_writable()
            for lba, blocks in ranges:
                if blocks:
                    namespace.zero(lba, blocks, durable=False)
        return 0

    def _copy(self, command: Command) -> int:
        """Copy ranges to one place, each read as a whole before it is written. Should one fail,
        dword 0 says which."""
        namespace = self._target(command)
        if command.cdw12 >> 8 & 0xF:
            raise CommandError(Status.INVALID_FIELD)
        count = (command.cdw12 & 0xFF) + 1
        if count > COPY_RANGES:
            raise CommandError(Status.COMMAND_SIZE_LIMIT)
        table = self._nvme.fetch(command, count * _SOURCE.size)
        sources = [(lba, blocks + 1) for lba, blocks in _SOURCE.iter_unpack(table)]
        total = sum(blocks for _, blocks in sources)
        if total > COPY_BLOCKS or any(blocks > COPY_BLOCKS_OF_RANGE for _, blocks in sources):
            raise CommandError(Status.COMMAND_SIZE_LIMIT)
        namespace.check(command.lba, total)
        for number, (lba, blocks) in enumerate(sources):
            if lba + blocks > namespace.blocks:
                raise CommandError(Status.LBA_OUT_OF_RANGE, number, lba)
        namespace.check_writable()
        self._copy_ranges(command, namespace, sources)
        return 0

    def _copy_ranges(
        self, command: Command, namespace: Namespace, sources: list[tuple[int, int]]
    ) -> None:
        to, durable = command.lba, bool(command.cdw12 & _FORCE_UNIT_ACCESS)
        for number, (lba, blocks) in enumerate(sources):
            data = bytearray(blocks << namespace.shift)
            try:
                namespace.read(lba, [data], blocks)
                namespace.write(to, [memoryview(data)], blocks, durable)
            except CommandError as error:
                raise CommandError(error.status, number, error.lba) from None
            to += blocks
            namespace.counters.bytes_read += len(data)
            namespace.counters.bytes_written += len(data)
        namespace.counters.writes += 1

    def _flush(self, command: Command) -> int:
        if command.nsid == BROADCAST:
            for namespace in self._namespaces.values():
                namespace.flush()
        else:
            self._target(command).flush()
        return 0
