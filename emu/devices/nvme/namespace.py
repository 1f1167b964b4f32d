"""A namespace: numbered blocks on a host file, behind the write cache and the fault plan.

Everything that touches the medium passes here, so that statuses, counters and faults are the same
for whichever command does it. Offsets and lengths are blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from emu.devices.nvme.backing import Backing
from emu.devices.nvme.cache import WriteCache
from emu.devices.nvme.faults import READ_ERROR, WRITE_ERROR, FaultPlan
from emu.devices.nvme.status import CommandError, Status
from emu.errors import AiosError

ATOMIC_BLOCKS = 8
"""A power cut leaves a write of up to that many blocks whole or undone."""


@dataclass(slots=True)
class Counters:
    """What the health log tells of a namespace."""

    reads: int = 0
    writes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    media_errors: int = 0


class Namespace:
    """Namespace `nsid` on `backing`; what it holds for the guest is at most `cache_bytes` ahead of
    the medium."""

    def __init__(
        self,
        nsid: int,
        backing: Backing,
        cache_bytes: int = 64 << 20,
        faults: FaultPlan | None = None,
    ) -> None:
        self.nsid, self.backing = nsid, backing
        self.block = backing.block
        self.shift = backing.block.bit_length() - 1
        self.blocks = backing.size // backing.block
        self.cache = WriteCache(backing, cache_bytes)
        self.faults = faults or FaultPlan()
        self.faulty = bool(self.faults.rules)
        """Whether the fault plan has to be asked at all."""
        self.counters = Counters()

    def check(self, lba: int, blocks: int) -> None:
        """Raise CommandError unless all these blocks exist."""
        if lba + blocks > self.blocks:
            raise CommandError(Status.LBA_OUT_OF_RANGE, lba=lba)

    def check_writable(self) -> None:
        """Raise CommandError on a drive that must not change."""
        if self.backing.readonly:
            raise CommandError(Status.NAMESPACE_WRITE_PROTECTED)

    def read(self, lba: int, views: Sequence[memoryview | bytearray], blocks: int) -> None:
        """Fill `views`, which have room for `blocks` blocks; raises CommandError."""
        if self.faulty:
            self.verify(lba, blocks)
        try:
            self.backing.read(lba << self.shift, views)
        except OSError:
            raise self._media_error(Status.UNRECOVERED_READ, lba) from None

    def verify(self, lba: int, blocks: int) -> None:
        """Raise CommandError if the fault plan makes these blocks unreadable now."""
        if self.faults.strike(READ_ERROR, self.nsid, lba, blocks):
            raise self._media_error(Status.UNRECOVERED_READ, lba)

    def write(self, lba: int, views: Sequence[memoryview], blocks: int, durable: bool) -> None:
        """Write what lies in `views`; raises CommandError."""
        self._may_fail_to_write(lba, blocks)
        try:
            self.cache.write(lba << self.shift, views, durable)
        except OSError:
            raise self._media_error(Status.WRITE_FAULT, lba) from None

    def zero(self, lba: int, blocks: int, durable: bool) -> None:
        """Deallocate: these blocks read as zeros from now on; raises CommandError."""
        self._may_fail_to_write(lba, blocks)
        try:
            self.cache.zero(lba << self.shift, blocks << self.shift, durable)
        except OSError:
            raise self._media_error(Status.WRITE_FAULT, lba) from None

    def flush(self) -> None:
        """Make durable what was written; raises CommandError."""
        try:
            self.cache.flush()
        except OSError:
            raise self._media_error(Status.WRITE_FAULT, 0) from None

    def delay_ps(self, lba: int, blocks: int) -> int:
        """By how much the fault plan makes a command late."""
        return self.faults.delay_ps(self.nsid, lba, blocks)

    def power_cut(self) -> None:
        """Lose what was not flushed; AiosError when the host file cannot be written."""
        try:
            self.cache.power_cut(self._tear if self.faulty else None)
        except OSError as error:
            raise AiosError(
                f"After the power cut, the drive file {self.backing.path} cannot be put back to "
                f"what it had made durable: {error.strerror}."
            ) from error

    def snapshot(self) -> dict[str, Any]:
        """What has been counted and set; the blocks, durable or not, stay what they are now."""
        faults = self.faults
        return {
            "counters": astuple(self.counters),
            "matched": list(faults.matched),
            "hits": list(faults.hits),
            "cached": self.cache.enabled,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave."""
        self.counters = Counters(*saved["counters"])
        self.faults.matched, self.faults.hits = list(saved["matched"]), list(saved["hits"])
        self.cache.enabled = saved["cached"]

    def _tear(self, lba: int, blocks: int) -> int:
        return self.faults.torn(self.nsid, lba, blocks, ATOMIC_BLOCKS)

    def _may_fail_to_write(self, lba: int, blocks: int) -> None:
        if self.faulty and self.faults.strike(WRITE_ERROR, self.nsid, lba, blocks):
            raise self._media_error(Status.WRITE_FAULT, lba)

    def _media_error(self, status: Status, lba: int) -> CommandError:
        self.counters.media_errors += 1
        return CommandError(status, lba=lba)
