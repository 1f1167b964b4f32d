"""virtio-blk: a disk behind a virtqueue (specification 1.2, 5.2).

A request is a header (type, sector) to read, data, and a status byte to write at the very end. The
host file behind it is what an NVMe drive has too. A request that cannot be done gets an error
status; one that is no request stops the device (`transport`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from emu.clock import PS_PER_SECOND, PS_PER_US
from emu.devices.device import register
from emu.devices.line import Line
from emu.devices.nvme.backing import BLOCK as SECTOR
from emu.devices.nvme.backing import Backing
from emu.devices.registers import RO, Register, bits
from emu.devices.system import System
from emu.devices.virtio.ring import Chain, RingError
from emu.devices.virtio.transport import CONFIG, VirtioMmio

SEG_MAX, READ_ONLY, BLK_SIZE, FLUSH = 1 << 2, 1 << 5, 1 << 6, 1 << 9
DISCARD, WRITE_ZEROES = 1 << 13, 1 << 14
IN, OUT, FLUSH_REQUEST, GET_ID, DISCARD_REQUEST, WRITE_ZEROES_REQUEST = 0, 1, 4, 8, 11, 13
OK, IO_ERROR, UNSUPPORTED = 0, 1, 2

_HEADER = struct.Struct("<IIQ")
_SEGMENT = struct.Struct("<QII")
_ID_BYTES = 20
_UNMAP = 1
_SEGMENTS_MAX = 1
_SECTORS_MAX = 1 << 22
# A plain disk: no product's figures. Only these decide when a request is done.
_ACCESS_PS = 80 * PS_PER_US
_BYTES_PER_SECOND = 1_000_000_000


class Capacity(Register, offset=CONFIG, size=8):
    """Size of the disk."""

    sectors = bits[63:0](RO, doc="in units of 512 bytes, whatever the block size")


class SegmentsMax(Register, offset=CONFIG + 0x0C):
    """Buffers of data in a request."""

    count_ = bits[31:0](RO, reset=254, doc="most buffers")


class BlockSize(Register, offset=CONFIG + 0x14):
    """What the disk would like to be accessed in."""

    bytes_ = bits[31:0](RO, reset=SECTOR, doc="bytes")


class DiscardMax(Register, offset=CONFIG + 0x24):
    """Longest discard."""

    sectors = bits[31:0](RO, reset=_SECTORS_MAX, doc="sectors of a segment")


class DiscardSegments(Register, offset=CONFIG + 0x28):
    """Ranges in a discard."""

    count_ = bits[31:0](RO, reset=_SEGMENTS_MAX, doc="segments")


class DiscardAlignment(Register, offset=CONFIG + 0x2C):
    """What ranges to discard should be aligned to."""

    sectors = bits[31:0](RO, reset=1, doc="sectors")


class ZeroesMax(Register, offset=CONFIG + 0x30):
    """Longest write of zeroes."""

    sectors = bits[31:0](RO, reset=_SECTORS_MAX, doc="sectors of a segment")


class ZeroesSegments(Register, offset=CONFIG + 0x34):
    """Ranges in a write of zeroes."""

    count_ = bits[31:0](RO, reset=_SEGMENTS_MAX, doc="segments")


class ZeroesMayUnmap(Register, offset=CONFIG + 0x38, size=1):
    """Whether writing zeroes may give the blocks back."""

    may_unmap = bits[7:0](RO, reset=1, doc="1: yes")


class VirtioBlock(VirtioMmio, prefix="VIRTIO_BLK"):
    """A disk over virtio-mmio, with the contents of `backing`."""

    DEVICE_ID = 2
    FEATURES = SEG_MAX | BLK_SIZE | FLUSH | DISCARD | WRITE_ZEROES

    capacity = register(Capacity)
    segments_max = register(SegmentsMax)
    block_size = register(BlockSize)
    discard_max = register(DiscardMax)
    discard_segments = register(DiscardSegments)
    discard_alignment = register(DiscardAlignment)
    zeroes_max = register(ZeroesMax)
    zeroes_segments = register(ZeroesSegments)
    zeroes_may_unmap = register(ZeroesMayUnmap)

    def __init__(
        self, name: str, system: System, line: Line, backing: Backing, *, legacy: bool = False
    ) -> None:
        self.backing = backing
        self._sectors = backing.size // SECTOR
        self._handlers: dict[int, Callable[[int, Chain], int]] = {
            IN: self._read,
            OUT: self._write,
            FLUSH_REQUEST: self._flush,
            GET_ID: self._identify,
            DISCARD_REQUEST: self._discard,
            WRITE_ZEROES_REQUEST: self._write_zeroes,
        }
        super().__init__(name, system, line, legacy=legacy)

    def offered(self) -> int:
        """The features, and whether the disk may be written to."""
        return super().offered() | (READ_ONLY if self.backing.readonly else 0)

    def reset(self) -> None:
        """As after power-on; what was written to the disk stays."""
        super().reset()
        self.capacity.sectors = self._sectors

    def duration_ps(self, chain: Chain) -> int:
        """An access, and the bytes on their way."""
        n = sum(map(len, chain.readable)) + sum(map(len, chain.writable))
        return _ACCESS_PS + n * PS_PER_SECOND // _BYTES_PER_SECOND

    def serve(self, chain: Chain) -> int:
        """Execute one request; a host file that fails is an I/O error."""
        readable, header = _split(chain.readable, _HEADER.size)
        if len(header) < _HEADER.size or not chain.writable:
            raise RingError("a request without header or status byte")
        kind, _, sector = _HEADER.unpack(header)
        writable = list(chain.writable)
        last = writable.pop()
        if len(last) > 1:
            writable.append(last[:-1])
        handler = self._handlers.get(kind)
        try:
            data = Chain(chain.head, readable, writable)
            last[-1] = UNSUPPORTED if handler is None else handler(sector, data)
        except OSError:
            last[-1] = IO_ERROR
        return sum(map(len, chain.writable))  # also after an error: drivers know it so from QEMU

    # Each takes the sector and the data, and gives the status.

    def _inside(self, sector: int, sectors: int) -> bool:
        return sector + sectors <= self._sectors

    def _read(self, sector: int, data: Chain) -> int:
        n = sum(map(len, data.writable))
        if n % SECTOR or not self._inside(sector, n // SECTOR):
            return IO_ERROR
        if n:
            self.backing.read(sector * SECTOR, data.writable)
        return OK

    def _write(self, sector: int, data: Chain) -> int:
        n = sum(map(len, data.readable))
        if self.backing.readonly or n % SECTOR or not self._inside(sector, n // SECTOR):
            return IO_ERROR
        if n:
            self.backing.write(sector * SECTOR, data.readable)
        return OK

    def _flush(self, sector: int, data: Chain) -> int:
        self.backing.flush()
        return OK

    def _identify(self, sector: int, data: Chain) -> int:
        name, written = f"AIOS-{self.name.upper()}".encode().ljust(_ID_BYTES, b"\0"), 0
        for view in data.writable:
            part = name[written : written + len(view)]
            view[: len(part)] = part
            written += len(part)
        return OK

    def _discard(self, sector: int, data: Chain) -> int:
        return self._clear(data, allowed=DISCARD, flags=0)

    def _write_zeroes(self, sector: int, data: Chain) -> int:
        return self._clear(data, allowed=WRITE_ZEROES, flags=_UNMAP)

    def _clear(self, data: Chain, *, allowed: int, flags: int) -> int:
        """Make the one segment of the request zeros: what is discarded reads so too. `flags` are
        those that the segment may have."""
        rest, segment = _split(data.readable, _SEGMENT.size)
        if not self.negotiated(allowed) or len(segment) < _SEGMENT.size or rest:
            return UNSUPPORTED
        sector, sectors, has = _SEGMENT.unpack(segment)
        if has & ~flags:
            return UNSUPPORTED
        if self.backing.readonly or sectors > _SECTORS_MAX or not self._inside(sector, sectors):
            return IO_ERROR
        if sectors:
            self.backing.zero(sector * SECTOR, sectors * SECTOR)
        return OK


def _split(views: list[memoryview], n: int) -> tuple[list[memoryview], bytes]:
    """The buffers behind the first `n` bytes, and those bytes: fewer if there are not so many."""
    taken, rest = b"", list(views)
    while rest and len(taken) < n:
        view = rest.pop(0)
        here = min(len(view), n - len(taken))
        taken += bytes(view[:here])
        if here < len(view):
            rest.insert(0, view[here:])
    return rest, taken
