"""The instructions of the TPU and the settings that some of them need: the one table.

After Jouppi et al., ISCA 2017, section 2. The paper names a dozen instructions, describes five and
says of one how it is laid out (MatrixMultiply: 12 bytes, of which 3 are an address in the unified
buffer, 2 one in the accumulators, 4 a length, "sometimes 2 dimensions for convolutions"); the rest
of the encoding is ours. `declare.py` says how to read a declaration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from emu.devices.tpu import declare as _d
from emu.devices.tpu.declare import FIELDS, Unit, declare


@dataclass(frozen=True)
class Setting:
    """A number that `set` changes and instructions use. `least` to `most` are possible."""

    name: str
    doc: str
    reset: int = 0
    least: int = 0
    most: int = (1 << 32) - 1


SETTINGS = (
    Setting("host_pitch", "bytes from one row in memory to the next; 0: rows adjoin"),
    Setting("row_bytes", "bytes of a row that are transferred; 0: all of it"),
    Setting("in_step", "vectors of the unified buffer from one input of `convolve` to the next", 1),
    Setting("in_pitch", "vectors from one row of inputs to the next", 1),
    Setting(
        "out_step", "vectors of the unified buffer from one result of `activate` to the next", 1
    ),
    Setting("out_pitch", "vectors from one row of results to the next; 0: rows adjoin"),
    Setting("pool_pitch", "accumulators from one row to the next where windows are pooled", 1),
    Setting("pool_height", "rows of a window", 1, 1, 64),
    Setting("pool_width", "columns of a window", 1, 1, 64),
    Setting("pool_stride_y", "rows from one window to the next", 1, 0, 255),
    Setting("pool_stride_x", "columns from one window to the next", 1, 0, 255),
    Setting("multiplier", "what sums are multiplied with, signed", 1),
    Setting("shift", "by how many bits products are then shifted right, rounding", 0, 0, 62),
    Setting("zero", "what is added in the end, signed", 0),
    Setting("scale", "what float sums are multiplied with, the bits of an f32", 0x3F80_0000),
    Setting("bias", "row of the unified buffer with the bias: 32 bits a column", 0),
)
NUMBER_OF = {setting.name: number for number, setting in enumerate(SETTINGS)}
FIELDS["setting"] = replace(FIELDS["setting"], names=tuple(NUMBER_OF))

declare("nop", 0x00, Unit.CONTROL, "Nothing, for one cycle.")
declare(
    "halt", 0x01, Unit.CONTROL,
    """Wait for all units, then stop the ring behind this instruction until TAIL is written.""",
)  # fmt: skip
declare(
    "sync units", 0x02, Unit.CONTROL,
    """Issue nothing further until these units have finished what they were given.""",
    layout="0:83 units",
)  # fmt: skip
declare(
    "interrupt tag", 0x03, Unit.CONTROL,
    """Wait for all units; then COMPLETED becomes the tag, which is also written to the word at
    COMPLETION_ADDRESS if that is not 0, and the interrupt is raised.""",
    layout="0:32 tag 0:24",
)  # fmt: skip
declare(
    "wait_host tag", 0x04, Unit.CONTROL,
    """Wait for all units, and then until HOST_SYNC has reached the tag (as numbers that wrap: until
    HOST_SYNC - tag, in 32 bits, is not negative).""",
    layout="0:32 tag 0:24",
)  # fmt: skip
declare(
    "debug tag", 0x05, Unit.CONTROL,
    """DEBUG_TAG becomes the tag, and the trace notes it.""",
    layout="0:32 tag 0:24",
)  # fmt: skip
declare(
    "set setting, value", 0x06, Unit.CONTROL,
    """The setting becomes the value for the instructions that follow.""",
    layout="value setting",
)  # fmt: skip
declare(
    "read_host buffer, host, rows", 0x08, Unit.INPUT,
    """Rows from memory to the unified buffer: row i is `row_bytes` bytes from host + i *
    `host_pitch`; the rest of it becomes 0.""",
    layout="rows host buffer",
)  # fmt: skip
declare(
    "write_host buffer, host, rows", 0x09, Unit.OUTPUT,
    """Rows from the unified buffer to memory, laid out as for read_host; bytes between rows are not
    touched.""",
    layout="rows host buffer",
)  # fmt: skip
declare(
    "load_weights page, host, pages", 0x0A, Unit.INPUT,
    """Pages from memory to the weight memory.""",
    layout="pages host page",
)  # fmt: skip
declare(
    "read_weights weight, format", 0x0C, Unit.WEIGHTS,
    """A tile from the weight memory to the FIFO: a row for each row of the array, with an element
    for each column, densely. Tiles of 16-bit elements take two places. The instruction is done when
    the address is sent: weights arrive later.""",
    layout="0:24 weight 0:21 format",
)  # fmt: skip
declare(
    "matmul accumulator, buffer, length, format, next, accumulate", 0x10, Unit.MATRIX,
    """Multiply vectors with the tile: accumulators[accumulator + i][n] becomes, or is increased by,
    the sum over k of vector[i][k] * tile[k][n]. Vector i begins at row `buffer` + i, or + 2 i where
    elements have 16 bits, and has an element for each row of the array. Integers: modulo 2^32.
    bf16: the sum is made in f32 from 0 with k going up, product and sum rounded each time, then
    added to the accumulator.""",
    layout="0:11 accumulate next format length accumulator buffer",
)  # fmt: skip
declare(
    "convolve accumulator, buffer, height, width, format, next, accumulate", 0x11, Unit.MATRIX,
    """As matmul, over height * width vectors: the vector for accumulator + y * width + x is number
    y * `in_pitch` + x * `in_step` from `buffer`. One instruction is one tap of a convolution.""",
    layout="0:11 accumulate next format width height accumulator buffer",
)  # fmt: skip
declare(
    "activate buffer, accumulator, height, width, function, result, pool, bias", 0x18,
    Unit.ACTIVATION,
    """Accumulators to the unified buffer: result (y, x) is made of accumulator + y * width + x, or,
    where windows are pooled, of the largest or the sum of accumulator + (y * `pool_stride_y` + i) *
    `pool_pitch` + x * `pool_stride_x` + j for i below `pool_height` and j below `pool_width`. The
    bias of the column is added, the function and the requantisation applied (see below), and the
    vector written as number y * `out_pitch` + x * `out_step` from `buffer`.""",
    layout="0:8 bias pool result function width height accumulator buffer",
)  # fmt: skip

TABLE = _d.TABLE
