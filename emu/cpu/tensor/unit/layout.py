"""The memory that the tensor unit's emitted code shares with Python: every offset, once.

All is 64-bit words in the host's order. Offsets are in bytes.

* the **unit**: one per hart, what `State.tensor_unit` points to;
* a **record**: one per plan that the unit knows, found by its key: `HEAD`, the attribute block, and
  the descriptors of all operands, less their base addresses;
* the **steps** of a plan, which `Plan.run` and all records of the plan share;
* the **team** of threads: one per process.
"""

from __future__ import annotations

from emu.cpu.tensor.descriptor import SIZE
from emu.cpu.tensor.faults import Operand

WORD = 8
LINE = 64
OPERANDS_MAX = len(Operand) - 1
"""Tensors that an instruction can name: three, and those its attribute block adds."""

GIVEN = 1 << 40
"""Added to the first word of a key when there is an attribute block. Below it stand the number of
the instruction and how many tensors it names itself (`emu.cpu.native.tensor`)."""


TABLE_SIZE, PROBES = 4096, 16
"""Entries of the plan table, and how many of them are looked at for one key."""


class Unit:
    """The unit. It begins with the functions (`TensorCall`)."""

    TABLE = 64
    """Address of the plan table: `TABLE_SIZE` pairs (hash, or 0 for none; address of a record)."""
    SCRATCH = 72
    SCRATCH_SIZE = 80
    TEAM = 88
    MISSED = 104
    """1 when an instruction was left to Python; what follows is then its key."""
    MISSED_HEAD = 112
    MISSED_COUNT = 120
    MISSED_REGIONS = 128
    """The region of every operand of the key."""
    NO_BLOCK = 256
    """Zeros, in the place of an attribute block that is not there."""
    MISSED_BLOCK = 384
    MISSED_FORMS = 512
    SIZE = MISSED_FORMS + OPERANDS_MAX * SIZE


class Span:
    """The bytes of one operand, relative to its base address."""

    REGION = 0
    LOW = 8
    BYTES = 16
    """0 for an operand without elements, or one that the instruction does not look at."""
    WRITE = 24
    SIZE = 32


class Record:
    """A plan as the unit finds it."""

    HEAD = 0
    COUNT = 8
    """Operands in the key."""
    CHARGE = 16
    """Picoseconds."""
    SCRATCH = 24
    STEPS = 32
    """Address of the steps."""
    PAIRS = 40
    """Address and number of pairs of operands that may have to lie apart (`Pair`)."""
    PAIRS_COUNT = 48
    SPANS = 64
    """Where every operand's elements lie (`Span`)."""
    BLOCK = SPANS + Span.SIZE * (OPERANDS_MAX + 1)
    """The attribute block of the key, and the descriptors."""
    FORMS = BLOCK + SIZE


class Pair:
    """Two operands, by their place in the key, the first written."""

    WRITTEN = 0
    OTHER = 8
    SAME = 16
    """1 when the other one may also begin exactly where the written one does."""
    SIZE = 24


class Steps:
    """The steps of a plan: this head, then a `Step` for each."""

    COUNT = 0
    WORDS = 8
    """Words of the longest parameter block."""
    HEAD_SIZE = 16


class Step:
    """A step: a kernel, its parameter block, and the words to add a region's address to."""

    KERNEL = 0
    WORDS = 8
    WORDS_COUNT = 16
    HOLES = 24
    """Address of pairs (offset of the word in bytes, region)."""
    HOLES_COUNT = 32
    PARALLEL = 40
    SIZE = 48


class Team:
    """The threads. Each word that several of them write has a cache line of its own."""

    TICKET = 0
    """(number of the job) << 32 | parts << 16 | parts that somebody has begun."""
    PENDING = LINE
    """Parts that are not finished."""
    KERNEL = 2 * LINE
    BLOCK = 2 * LINE + 8
    ASLEEP = 3 * LINE
    """1 when a thread may be asleep that nobody has woken."""
    BUSY = 4 * LINE
    """1 while a job is in progress."""
    QUIT = 5 * LINE
    PARTS = 5 * LINE + 8
    """How many parts a job is divided into: 1 as long as there are no other threads."""
    MUTEX = 6 * LINE
    CONDITION = 9 * LINE
    SIZE = 12 * LINE
