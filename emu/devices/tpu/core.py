"""What the TPU holds: the unified buffer, the accumulators, the weight FIFO and the settings.

Both memories are NumPy arrays, for their rows and their host addresses; they are made when a
program first needs them, so that a machine starts without NumPy. Everything that a program can name
wrongly is checked here, once: `rows`, `sums` and `tile` raise ProgramError.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from emu.board import TpuBoard
from emu.devices.tpu.declare import FORMATS
from emu.devices.tpu.errors import Code, ProgramError
from emu.devices.tpu.isa import NUMBER_OF, SETTINGS
from emu.errors import AiosError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LANES = 16
"""Columns that are computed side by side; the array's extents are multiples of it."""
PAGE = 4096
"""Bytes in which the weight memory is filled."""
SIDE_MAX = 0xFFF0
"""What ARRAY_SIZE can say of a side of the array."""
WIDE = ("i16", "bf16")
"""Formats of 16 bits."""


@dataclass(frozen=True)
class Tile:
    """Weights on their way: `data` are rows * columns elements of the format."""

    format: str
    data: NDArray[np.uint8]

    @property
    def places(self) -> int:
        """How many places it takes in the FIFO."""
        return width_of(self.format)


def width_of(form: str) -> int:
    """Bytes of an element, and rows of the unified buffer that a vector of them takes."""
    return 2 if form in WIDE else 1


@dataclass
class Core:
    """The state that programs work on."""

    board: TpuBoard
    fifo: deque[Tile] = field(init=False, default_factory=deque)
    tile: Tile | None = field(init=False, default=None)
    """What the matrix unit multiplies with now."""
    settings: list[int] = field(init=False)

    def __post_init__(self) -> None:
        board = self.board
        if any(side % LANES or not 0 < side <= SIDE_MAX for side in (board.rows, board.columns)):
            raise AiosError(
                f"The board's TPU has an array of {board.rows} by {board.columns}; both must be "
                f"multiples of {LANES}, up to {SIDE_MAX}."
            )
        if board.weights % PAGE or not board.weights:
            raise AiosError(
                f"The board's TPU has {board.weights} bytes of weight memory; it must be whole "
                f"pages of {PAGE} bytes."
            )
        self.row_bytes = max(board.rows, board.columns)
        self.buffer_rows = board.buffer // self.row_bytes
        self.forget()

    @cached_property
    def buffer(self) -> NDArray[np.uint8]:
        """The unified buffer (rows, bytes of a row)."""
        import numpy as np

        return np.zeros((self.buffer_rows, self.row_bytes), np.uint8)

    @cached_property
    def accumulators(self) -> NDArray[np.int32]:
        """The accumulators (rows, columns)."""
        import numpy as np

        return np.zeros((self.board.accumulators, self.board.columns), np.int32)

    def forget(self) -> None:
        """A reset: settings and weights on their way are gone, memories keep what they hold."""
        self.fifo.clear()
        self.tile = None
        self.settings = [setting.reset for setting in SETTINGS]

    def setting(self, name: str, *, signed: bool = False) -> int:
        """A setting's value, checked to be possible."""
        number = NUMBER_OF[name]
        value, declared = self.settings[number], SETTINGS[number]
        if not declared.least <= value <= declared.most:
            raise ProgramError(Code.SETTING, value)
        return (value + (1 << 31)) % (1 << 32) - (1 << 31) if signed else value

    def set(self, number: int, value: int) -> None:
        """Change a setting; one that cannot be is refused here already."""
        if not SETTINGS[number].least <= value <= SETTINGS[number].most:
            raise ProgramError(Code.SETTING, value)
        self.settings[number] = value

    def rows(self, first: int, count: int) -> int:
        """The host address of rows of the unified buffer that exist."""
        if first + count > self.buffer_rows:
            raise ProgramError(Code.BUFFER, first + count)
        return address_of(self.buffer) + first * self.row_bytes

    def sums(self, first: int, count: int) -> int:
        """The host address of accumulators that exist."""
        if first + count > self.board.accumulators:
            raise ProgramError(Code.ACCUMULATOR, first + count)
        return address_of(self.accumulators) + first * self.board.columns * 4

    def extent(self, *extents: int) -> int:
        """How many vectors the extents make: at least 1, at most as many as accumulators."""
        count = 1
        for value in extents:
            count *= value
        if not 0 < count <= len(self.accumulators):
            raise ProgramError(Code.LENGTH, count)
        return count

    def vectors(self, first: int, extents: Sequence[int], steps: Sequence[int], width: int) -> int:
        """The row behind the last one of vectors of `width` rows on a grid; it must exist."""
        last = sum((n - 1) * step for n, step in zip(extents, steps, strict=True))
        end = first + (last + 1) * width
        if end > len(self.buffer):
            raise ProgramError(Code.BUFFER, end)
        return end

    def push(self, tile: Tile, address: int) -> None:
        """A tile enters the FIFO."""
        if sum(waiting.places for waiting in self.fifo) + tile.places > self.board.fifo_tiles:
            raise ProgramError(Code.FIFO_FULL, address)
        self.fifo.append(tile)

    def take(self, form: str, *, following: bool) -> Tile:
        """The tile to multiply inputs of the format with: the next of the FIFO, or the last one."""
        tile = self.fifo[0] if following and self.fifo else None if following else self.tile
        if tile is None:
            raise ProgramError(Code.NO_WEIGHTS, 0)
        if (tile.format == "bf16") != (form == "bf16"):
            raise ProgramError(Code.FORMAT, FORMATS.index(tile.format))
        if following:
            self.tile = self.fifo.popleft()
        return tile


def address_of(array: NDArray[Any]) -> int:
    """Where an array lies in the host's memory."""
    address: int = array.__array_interface__["data"][0]
    return address
