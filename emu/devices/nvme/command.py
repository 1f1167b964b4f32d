"""A submission queue entry (base specification 1.4, figure 105)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

BROADCAST = 0xFFFF_FFFF
"""The namespace identifier that means all of them."""
FUSED_FIRST, FUSED_SECOND = 1, 2
"""Values of `flags`: the halves of a fused pair. Other bits ask for scatter-gather lists."""

ENTRY = struct.Struct("<BBHI16xQQ6I")
"""An entry without its reserved dwords and metadata pointer, which this controller never needs."""


class Command(NamedTuple):
    """One command, in the order of `ENTRY`."""

    opcode: int
    flags: int
    cid: int
    nsid: int
    prp1: int
    prp2: int
    cdw10: int
    cdw11: int
    cdw12: int
    cdw13: int
    cdw14: int
    cdw15: int

    @property
    def lba(self) -> int:
        """The first block of an I/O command."""
        return self.cdw11 << 32 | self.cdw10

    @property
    def blocks(self) -> int:
        """How many blocks an I/O command names; the field is zero-based."""
        return (self.cdw12 & 0xFFFF) + 1


as_command = cast("Callable[[tuple[Any, ...]], Command]", partial(tuple.__new__, Command))
"""The command in an unpacked entry; `Command._make` does the same, with a check that takes twice as
long."""
