"""A submission queue entry (base specification 1.4, figure 105)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

ENTRY_BYTES = 64
BROADCAST = 0xFFFF_FFFF
"""The namespace identifier that means all of them."""
_LAYOUT = struct.Struct("<BBHI8xQQQ6I")


@dataclass(frozen=True)
class Command:
    """One command; `cdw` are its dwords 10 to 15."""

    opcode: int
    flags: int
    cid: int
    nsid: int
    prp1: int
    prp2: int
    cdw: tuple[int, ...]

    @property
    def cdw10(self) -> int:
        """Dword 10."""
        return self.cdw[0]

    @property
    def cdw11(self) -> int:
        """Dword 11."""
        return self.cdw[1]

    @property
    def cdw12(self) -> int:
        """Dword 12."""
        return self.cdw[2]

    @property
    def cdw13(self) -> int:
        """Dword 13."""
        return self.cdw[3]

    @property
    def plain(self) -> bool:
        """Neither fused nor with scatter-gather lists, of which this controller has neither."""
        return self.flags == 0


def parse(entry: memoryview | bytes) -> Command:
    """The command in 64 bytes."""
    opcode, flags, cid, nsid, _mptr, prp1, prp2, *cdw = _LAYOUT.unpack(entry)
    return Command(opcode, flags, cid, nsid, prp1, prp2, tuple(cdw))
