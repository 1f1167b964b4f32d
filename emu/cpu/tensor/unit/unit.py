"""The tensor unit of one hart: what emitted code finds in memory, and how Python fills it.

When emitted code cannot issue an instruction it leaves the key behind, and the reference engine
executes the instruction. If that worked, `learn` enters what was missing: the plan under that key,
the extents in which the operands lie.
"""

from __future__ import annotations

import ctypes
import mmap
from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING

from emu.cpu.native.layout import TensorCall
from emu.cpu.tensor import threads
from emu.cpu.tensor.arena import reserved
from emu.cpu.tensor.descriptor import SIZE
from emu.cpu.tensor.faults import Operand
from emu.cpu.tensor.unit.build import unit_code
from emu.cpu.tensor.unit.layout import (
    TABLE_SIZE,
    WORD,
    Pair,
    Record,
    Span,
    Unit,
)

if TYPE_CHECKING:
    from emu.cpu.hart import Hart
    from emu.cpu.tensor.execution import Work
    from emu.cpu.tensor.operands import Resolved
    from emu.cpu.tensor.plan import Plan

_FUNCTIONS = {
    TensorCall.LOAD: "tld", TensorCall.STORE: "tst", TensorCall.MOVE: "tmv",
    TensorCall.GET: "tget", TensorCall.SET: "tset", TensorCall.COMPUTE: "issue",
}  # fmt: skip
RECORDS_MAX, WORDS_MAX = TABLE_SIZE // 2, 1 << 23
"""Plans that a unit knows, and words they take: when there are more, it forgets all."""
_SCRATCH_FIRST, _SCRATCH_MAX = 1 << 22, 1 << 30
_ALL = (1 << 64) - 1


class TensorUnit:
    """The unit of `hart`, which executes tensor instructions natively from now on."""

    def __init__(self, hart: Hart) -> None:
        self._hart = hart
        self._memory = reserved(Unit.SIZE)
        self._words = memoryview(self._memory).cast("Q")
        self._address = _address_of(self._memory)
        self._table = reserved(TABLE_SIZE * 2 * WORD)
        self._records: dict[bytes, tuple[array[int], Plan]] = {}
        self._records_words = 0
        code = unit_code()
        for call, name in _FUNCTIONS.items():
            self._words[call] = code.address(name)
        pointer, word = ctypes.c_void_p, ctypes.c_uint64
        self._enter = ctypes.CFUNCTYPE(word, pointer, pointer)(code.address("enter"))
        self._translate = ctypes.CFUNCTYPE(word, pointer, pointer, word, word, word, pointer)(
            code.address("translate")
        )
        self._put(Unit.TABLE, _address_of(self._table))
        self._put(Unit.TEAM, threads.team_address())
        self._grow(_SCRATCH_FIRST)
        hart.state.tensor_unit = self._address

    def _put(self, offset: int, value: int) -> None:
        self._words[offset // WORD] = value

    def forget_miss(self) -> None:
        """The instruction that emitted code left behind is through."""
        self._put(Unit.MISSED, 0)

    def learn(self, work: Work, plan: Plan, reached: Mapping[Operand, Resolved], time: int) -> None:
        """The instruction that emitted code missed has just been executed: this is how, and its
        duration in picoseconds. Does nothing when it has missed none."""
        if not self._words[Unit.MISSED // WORD]:
            return
        self.forget_miss()
        for operand, found in reached.items():
            if found.pieces and not found.copied:
                self._enter_run(work, operand)
        key = self._key()
        if key not in self._records:
            self._enter_record(key, work, plan, time)

    # extents

    def _enter_run(self, work: Work, operand: Operand) -> None:
        """Enter the extent of an operand that is one piece of RAM, if it is not there."""
        hart, state, view = self._hart, self._hart.state, work.views[operand]
        access = "store" if operand in work.written else "load"
        low, high = (view.address + offset for offset in view.span())
        extents, runs = (
            state.address + state.offset(f"{access}_{kind}") for kind in ("extents", "runs")
        )
        addend = ctypes.c_uint64()
        where = ctypes.addressof(addend)
        if self._translate(extents, runs, state.data_context, low, high - low, where):
            return
        hart.runs.enter(low, high - 1, access)

    # plans

    def _key(self) -> bytes:
        """What the plan of the missed instruction is to be found by."""
        count = self._words[Unit.MISSED_COUNT // WORD]
        end = Unit.MISSED_FORMS + count * SIZE
        head = self._memory[Unit.MISSED_HEAD : Unit.MISSED_HEAD + WORD]
        return head + self._memory[Unit.MISSED_BLOCK : end]

    def _regions(self) -> list[int]:
        count = self._words[Unit.MISSED_COUNT // WORD]
        first = Unit.MISSED_REGIONS // WORD
        return self._words[first : first + count].tolist()

    def _enter_record(self, key: bytes, work: Work, plan: Plan, time: int) -> None:
        regions = self._regions()
        if not {*work.views} <= {*regions} or plan.scratch > _SCRATCH_MAX:
            return
        record = _record(key, regions, work, plan, time)
        size = len(record) + plan.packed.words
        if len(self._records) == RECORDS_MAX or self._records_words + size > WORDS_MAX:
            self._forget_records()
        if self._enter(self._address, record.buffer_info()[0]):
            self._forget_records()  # too many with similar hashes
            self._enter(self._address, record.buffer_info()[0])
        self._records[key] = record, plan
        self._records_words += size
        plan.packed.prepare()
        if plan.scratch > self._words[Unit.SCRATCH_SIZE // WORD]:
            self._grow(min(2 * plan.scratch, _SCRATCH_MAX))

    def _forget_records(self) -> None:
        self._table[:] = bytes(len(self._table))
        self._records.clear()
        self._records_words = 0

    def _grow(self, size: int) -> None:
        self._put(Unit.SCRATCH_SIZE, 0)
        self._scratch = reserved(size)
        self._put(Unit.SCRATCH, _address_of(self._scratch))
        self._put(Unit.SCRATCH_SIZE, len(self._scratch))


def _address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _record(key: bytes, regions: list[int], work: Work, plan: Plan, time: int) -> array[int]:
    """The record of a plan; `array`'s memory stays where it is."""
    pairs = _pairs(regions, work)
    forms = Record.FORMS + len(regions) * SIZE
    record = array("Q", bytes(forms + Pair.SIZE * len(pairs)))
    address = record.buffer_info()[0]
    fields = {
        Record.HEAD: int.from_bytes(key[:WORD], "little"), Record.COUNT: len(regions),
        Record.CHARGE: time, Record.SCRATCH: plan.scratch, Record.STEPS: plan.packed.address,
        Record.PAIRS: address + forms, Record.PAIRS_COUNT: len(pairs),
    }  # fmt: skip
    for i, region in enumerate(regions):
        view = work.views.get(Operand(region))
        low, high = view.span() if view is not None and view.count else (0, 0)
        at = Record.SPANS + i * Span.SIZE
        fields[at + Span.REGION] = region
        fields[at + Span.LOW] = low & _ALL
        fields[at + Span.BYTES] = high - low
        fields[at + Span.WRITE] = int(region in work.written)
    for i, pair in enumerate(pairs):
        for j, value in enumerate(pair):
            fields[forms + i * Pair.SIZE + j * WORD] = value
    for offset, value in fields.items():
        record[offset // WORD] = value
    record[Record.BLOCK // WORD : forms // WORD] = array("Q", key[WORD:])
    return record


def _pairs(regions: list[int], work: Work) -> list[tuple[int, int, int]]:
    """Pairs of operands that must lie apart, as `Pair` has them."""
    pairs = []
    for i, written in enumerate(regions):
        for j, other in enumerate(regions):
            if written not in work.written or other not in work.views or i == j:
                continue
            one, two = work.views[Operand(written)], work.views[Operand(other)]
            same = other in work.in_place and other not in work.written
            same = same and two.steps_as(one) and one.dtype.size == two.dtype.size
            pairs.append((i, j, int(same)))
    return pairs
