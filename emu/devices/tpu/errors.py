"""How the TPU says no: the codes of its error register, and the exception that carries one inside.

A check raises `ProgramError`; the device turns it into its error registers and stops the ring. It
never reaches anybody outside the device.
"""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """The values of the field `code` of ERROR, and what ERROR_VALUE holds with each."""

    NONE = 0
    OPCODE = 1
    RESERVED = 2
    FETCH = 3
    RING = 4
    BUFFER = 5
    ACCUMULATOR = 6
    LENGTH = 7
    WEIGHT_ADDRESS = 8
    NO_WEIGHTS = 9
    FIFO_FULL = 10
    FORMAT = 11
    DMA = 12
    SETTING = 13
    WATCHDOG = 14


MEANINGS = {
    Code.NONE: "No error.",
    Code.OPCODE: "There is no such instruction. Value: the opcode.",
    Code.RESERVED: "Bits that must be zero are not, or a field has a value without a meaning. "
    "Value: the bits behind the opcode, or the field's value.",
    Code.FETCH: "The ring cannot be read. Value: the bus address.",
    Code.RING: "TAIL or the ring's size is beyond what it may be. Value: the entry.",
    Code.BUFFER: "Rows behind the end of the unified buffer. Value: the first row behind the last.",
    Code.ACCUMULATOR: "Rows behind the last accumulator. Value: the first row behind the last.",
    Code.LENGTH: "An extent is 0, or there are more vectors than accumulators. Value: the extent.",
    Code.WEIGHT_ADDRESS: "Bytes behind the end of the weight memory. Value: the first byte.",
    Code.NO_WEIGHTS: "A product without a tile: none was used yet, or the FIFO is empty. Value: 0.",
    Code.FIFO_FULL: "The FIFO has no room for a tile, and no product before it makes some. It "
    "would wait for ever. Value: the tile's address.",
    Code.FORMAT: "Types that do not go together. Value: the type's number.",
    Code.DMA: "The bus address is no memory that the TPU can reach. Value: the address.",
    Code.SETTING: "A setting that the instruction needs has an impossible value. Value: the value.",
    Code.WATCHDOG: "The program did not end in time. Value: the limit in microseconds.",
}
if set(MEANINGS) != set(Code):
    raise TypeError("an error code of the TPU has no meaning")


class ProgramError(Exception):
    """A program did what it may not."""

    def __init__(self, code: Code, value: int) -> None:
        super().__init__(f"{code.name} ({value:#x})")
        self.code, self.value = code, value
