"""What emitted code and Python agree on beside `State`: decoded instructions and their pages.

A physical page of code is decoded into a `page` of records, one for every two bytes, so that the
next instruction's record is at a fixed distance and no lookup is needed inside a page. Two guard
records behind the last one send execution that runs off the page back through the fetch buffer.
"""

from __future__ import annotations

from enum import IntEnum

from emu.cpu.state import CELL_WORDS, PAGE_SIZE, Exit
from emu.isa import TABLE

RECORD_SIZE = 16
"""Bytes of a record: handler u16, rd u8, rs1 u8, rs2 u8, rs3 u8, rm u8, unused u8, imm i64."""

OFFSETS = {"rd": 2, "rs1": 3, "rs2": 4, "rs3": 5, "rm": 6, "imm": 8}
"""Where a record holds the operand slots of `emu.isa.graph.SLOTS`."""

RECORDS = PAGE_SIZE // 2
RECORD_SCALE = RECORD_SIZE // 2
"""How many bytes the record pointer moves when pc moves by one."""

COPY = (RECORDS + 2) * RECORD_SIZE
"""Where a page of records has a copy of the code that it was begun for,"""
CHANGED = COPY + PAGE_SIZE
"""a word that is not 0 when an instruction was decoded that was another in the copy,"""
VERSION = CHANGED + 8
"""and a word that no other page of records has, nor this one before it was last cleared."""
PAGE_STRIDE = VERSION + 8 + 16
"""Bytes between two pages of records; no power of two, so pages do not compete for cache sets."""


class Handler(IntEnum):
    """The handlers that belong to no instruction, and two functions that have places among them.
    Those of the table's instructions follow, from FIRST_INSTRUCTION."""

    UNDECODED = 0  # a zeroed record: decode it
    PAGE_END = 1  # a guard: go on through the fetch buffer
    BREAK = 2  # there may be a breakpoint here
    SLOW = 3  # the reference engine executes whatever stands here
    STRADDLE = 4  # half of the instruction lies on the next virtual page: decode it every time
    ALONE = 5  # execute one instruction by its own handler, where a region may begin
    REOPEN = 6  # a region's check has failed: open it again, or execute its first instruction
    FIND_LOAD = 7  # a function: where memory is that a translation does not find at once
    FIND_STORE = 8


FIRST_INSTRUCTION = len(Handler)

NATIVE_SYSTEM = frozenset(
    (
        *("csr_clear", "csr_set", "csr_swap", "ebreak", "ecall", "mret", "sfence_vma", "sret"),
        *("tensor", "wfi", "fence_i"),
    )
)
"""The system operations that emitted code has a way of doing itself."""

FIND = {Exit.LOAD_MISS: Handler.FIND_LOAD, Exit.STORE_MISS: Handler.FIND_STORE}
"""The function that finds memory for an access whose miss is the exit."""


class Cell(IntEnum):
    """What the words of a region handler's entry in `State.cells` are; the region executes only
    if all of it holds."""

    CONTEXT = 0  # the fetch context for which the region has been found valid
    PC = 1  # the virtual address of this way in
    HANDLER = 2  # the handler to go to otherwise: REOPEN
    NEEDED = 3  # instructions that must be left to execute
    ORIGINAL = 4  # the handler of the instruction that stands there
    PAGES = 5  # host address of a table of its pages: pairs of virtual address and VERSION


CELL_SIZE = 8 * len(Cell)
NO_PAGE = 1
"""What ends that table, in place of an address."""

if len(Cell) != CELL_WORDS:
    raise ImportError(f"a cell has {len(Cell)} words, but {CELL_WORDS} are allocated")


class WindowWord(IntEnum):
    """The words of an entry in `State.windows`."""

    CONTEXT = 0  # the data context in which it holds
    START = 1  # virtual address
    LIMIT = 2  # what begins below this offset may be read and written, up to 8 bytes of it
    HOST = 3  # host address of its start


WINDOW_SIZE = 8 * len(WindowWord)


class TensorCall(IntEnum):
    """The functions that handlers of tensor instructions call: places in `State.tensor_unit`."""

    LOAD = 0
    STORE = 1
    MOVE = 2
    GET = 3
    SET = 4
    COMPUTE = 5


TENSOR_CALLS = {
    "tld": TensorCall.LOAD, "tst": TensorCall.STORE, "tmv": TensorCall.MOVE,
    "tget": TensorCall.GET, "tset": TensorCall.SET,
}  # fmt: skip
"""The function of a mnemonic, COMPUTE for all others."""

TENSOR_NUMBERS = {
    i.mnemonic: number
    for number, i in enumerate(i for i in TABLE.values() if i.extension == "xaitensor")
}
"""A number for every tensor instruction, by which emitted code tells them apart."""


class Done(IntEnum):
    """What a `TensorCall` answers. In every case but RETIRED and PAUSE it has had no effect."""

    RETIRED = 0
    SLOW = 1  # the reference engine executes it
    LOAD_MISS = 2  # so does it here, but the page is then worth entering in the load buffer,
    STORE_MISS = 3  # or in the store buffer
    PAUSE = 4  # retired, and the machine must look at the hart: `State.stall_end`
