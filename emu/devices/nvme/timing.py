"""When a command is done: the drive's speed, from the figures on the board.

A command starts when the drive can take another one: two starts lie at least 1 / IOPS apart. Then
comes the access itself, and last the data passes the drive's one data path. Reads and writes are
limited apart. The latency of the board is that of a 4 KiB command on an idle drive; so one
command at a time gives 1 / latency, many small ones the IOPS, and large ones the bandwidth.

Completions are posted in bursts: `burst_ps` is how far behind the first one they may be due.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emu.board import NvmeBoard
from emu.clock import PS_PER_SECOND, PS_PER_US

_REFERENCE_BYTES = 4096
_MB = 10**6


@dataclass(slots=True)
class Path:
    """One direction; times in picoseconds."""

    spacing: int
    access: int
    ps_per_mb: int
    next_start: int = 0
    data_free: int = 0

    def done(self, now: int, n: int) -> int:
        """When a command of `n` bytes that arrives now is done."""
        start = self.next_start
        if start < now:
            start = now
        self.next_start = start + self.spacing
        ready = start + self.access
        if ready < self.data_free:
            ready = self.data_free
        self.data_free = ready = ready + n * self.ps_per_mb // _MB
        return ready


@dataclass
class Timing:
    """The speed of one drive, and when its two paths are free."""

    board: NvmeBoard
    read: Path = field(init=False)
    write: Path = field(init=False)

    def __post_init__(self) -> None:
        self.admin_ps = self.board.admin_latency_us * PS_PER_US
        """How long an admin command takes."""
        self.enable_ps = self.board.enable_latency_us * PS_PER_US
        """From enabling the controller to its being ready."""
        self.burst_ps = self.board.burst_us * PS_PER_US
        """Commands that are done within this time of the first are answered with it."""
        self.reset()

    def reset(self) -> None:
        """An idle drive."""
        board = self.board
        self.read = _path(board.read_mb_s, board.read_iops, board.read_latency_us)
        self.write = _path(board.write_mb_s, board.write_iops, board.write_latency_us)


def _path(mb_s: int, iops: int, latency_us: int) -> Path:
    ps_per_mb = PS_PER_SECOND // max(mb_s, 1)
    transfer = _REFERENCE_BYTES * ps_per_mb // _MB
    access = max(0, latency_us * PS_PER_US - transfer)
    return Path(PS_PER_SECOND // max(iops, 1), access, ps_per_mb)
