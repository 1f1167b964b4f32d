"""The copy engines: transfers between any two places that DMA reaches, a piece at a time.

A transfer is checked as a whole before its first byte moves, and every piece again before it does,
since BARs may move meanwhile. Pieces keep the host responsive and let transfers share links; a
piece's time is the difference that it makes to the time of the whole, so cutting costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.devices.dma import DmaPort
from emu.devices.gpu.packets import Transfer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PIECE_BYTES = 8 << 20
_BURST_BYTES = 64  # what a memory moves at least, so what a shorter row costs; no product's figure


@dataclass(frozen=True)
class Piece:
    """A part of a transfer: `rows` rows of `row_bytes` bytes, at `position` in the whole."""

    position: int
    rows: int
    row_bytes: int

    @property
    def size(self) -> int:
        """Bytes that it moves."""
        return self.rows * self.row_bytes


def piece_at(transfer: Transfer, position: int) -> Piece:
    """The next piece after `position` bytes: whole rows, or a part of a row that is too long."""
    row, column = divmod(position, transfer.row_bytes)
    if transfer.row_bytes > PIECE_BYTES:
        return Piece(position, 1, min(transfer.row_bytes - column, PIECE_BYTES))
    rows = min(transfer.rows - row, PIECE_BYTES // transfer.row_bytes)
    return Piece(position, rows, transfer.row_bytes)


def weight(transfer: Transfer, position: int) -> int:
    """Bytes that `position` bytes count as: short rows cost a burst each."""
    if transfer.rows == 1:
        return position
    row, column = divmod(position, transfer.row_bytes)
    return row * max(transfer.row_bytes, _BURST_BYTES) + column


def find_bad_address(port: DmaPort, transfer: Transfer) -> int | None:
    """The operand that DMA does not reach as a whole; None when all is well."""
    whole = Piece(0, transfer.rows, transfer.row_bytes)
    if _rows(port, whole, transfer.destination, transfer.destination_pitch) is None:
        return transfer.destination
    if transfer.pattern is None and (
        _rows(port, whole, transfer.source, transfer.source_pitch) is None
    ):
        return transfer.source
    return None


def move(port: DmaPort, transfer: Transfer, piece: Piece) -> bool:
    """Move a piece; False, and nothing is written, when memory is not there any more."""
    row, column = divmod(piece.position, transfer.row_bytes)
    to = transfer.destination + row * transfer.destination_pitch + column
    target = _rows(port, piece, to, transfer.destination_pitch)
    if target is None:
        return False
    if transfer.pattern == bytes(8) and piece.rows == 1:
        return port.clear(to, piece.row_bytes)
    if transfer.pattern is not None:
        tiles = -(-piece.row_bytes // len(transfer.pattern))
        target[:] = bytearray(transfer.pattern * tiles)[: piece.row_bytes]
        return True
    at = transfer.source + row * transfer.source_pitch + column
    source = _rows(port, piece, at, transfer.source_pitch)
    if source is None:
        return False
    target[:] = source
    return True


def _rows(port: DmaPort, piece: Piece, address: int, pitch: int) -> npt.NDArray[np.uint8] | None:
    """The bytes of a piece in memory as a matrix, or None when not all of them are there."""
    import numpy as np  # not needed for a boot

    view = port.view(address, (piece.rows - 1) * pitch + piece.row_bytes)
    if view is None:
        return None
    return np.ndarray((piece.rows, piece.row_bytes), np.uint8, view, strides=(pitch, 1))
