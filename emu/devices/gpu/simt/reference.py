"""The reference engine: one warp instruction after the other, in plain Python.

**The rule of execution.** Workgroups run one after the other in the order of their number. The
warps of a group take turns, each until it ends or waits. Of a warp's active lanes those with the
lowest pc execute the instruction there, together; so lanes that have parted meet again by
themselves where their paths do. What an instruction does to one lane is the table's (`source`),
what lanes do together is in `collective`.

**Code** is read from memory once, when the dispatch starts: instructions are fetched from the
kernel's `code_size` bytes and from nowhere else, and a kernel that changes them does not see it.

**Faults** end the dispatch; what was stored before stays. The watchdog's is a fault like others,
and so is a group in which every warp that has not ended waits for something that cannot come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from emu.cpu.pysource import ARITHMETIC
from emu.cpu.softfloat import OPERATIONS as FLOATING
from emu.devices.gpu.dispatch import (
    BadDispatch,
    Counts,
    Dispatch,
    Fault,
    FaultCode,
    Outcome,
    Region,
)
from emu.devices.gpu.simt.collective import OPERATIONS, Context, illegal, is_legal
from emu.devices.gpu.simt.memory import LaneFault, Memory
from emu.devices.gpu.simt.source import source
from emu.devices.gpu.simt.warp import RETURN_ADDRESS, Group, Warp
from emu.isa import TABLE, Instruction
from emu.isa.causes import Cause
from emu.isa.decode import decode
from emu.isa.graph import Node

_ALL = (1 << 64) - 1
_NEVER = 1 << 64
"""Above every pc."""
_DYNAMIC, _LAST_MODE = 7, 4
_KEPT = 1 << 16
"""Decoded instructions; when there are more, all are forgotten."""
_FAULTS = {
    Cause.FETCH_MISALIGNED: FaultCode.INSTRUCTION_ADDRESS,
    Cause.ILLEGAL: FaultCode.ILLEGAL_INSTRUCTION,
    Cause.LOAD_MISALIGNED: FaultCode.MISALIGNED_ATOMIC,
    Cause.STORE_MISALIGNED: FaultCode.MISALIGNED_ATOMIC,
}
"""What an instruction's own checks mean for a lane."""

_causes = {
    node.args[0]
    for insn in TABLE.values()
    for step in insn.steps
    if step.op == "trap_if" and isinstance(node := step.args[1], Node)
}
if not _causes <= _FAULTS.keys():
    raise ImportError(f"lanes have no fault for the exceptions {_causes - _FAULTS.keys()}")


def _fp(name: str, mode: int, *operands: int) -> int:
    """A floating-point operation. The dynamic rounding mode is to nearest, ties to even; there are
    no flags."""
    if mode == _DYNAMIC:
        mode = 0
    if mode > _LAST_MODE:
        raise illegal()
    return FLOATING[name](mode, *operands)[0]


def _trap(cause: int, tval: int, lane: int) -> LaneFault:
    return LaneFault(_FAULTS[Cause(cause)], tval, lane)


@dataclass(frozen=True)
class Entry:
    """A decoded instruction of the kernel."""

    word: int
    length: int
    run: Callable[..., Any]
    operands: tuple[int, ...]
    system: str
    parts: bool
    """Whether afterwards lanes may be elsewhere or others active."""


class ReferenceEngine:
    """Executes dispatches on a GPU of so many compute units."""

    def __init__(self, units: int = 1) -> None:
        self.units = units

    def run(self, dispatch: Dispatch, memory: Sequence[Region], limit: int) -> Outcome:
        """See `Engine.run`."""
        counts = Counts()
        try:
            dispatch.check()
            _Run(dispatch, memory, limit, self.units, counts).all_groups()
        except BadDispatch as refused:
            return Outcome(Fault(refused.code), counts)
        except _Stop as stop:
            return Outcome(stop.fault, counts)
        return Outcome(None, counts)


class _Stop(Exception):
    """The end of a dispatch that failed."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _Run:
    """One dispatch under way."""

    def __init__(
        self, dispatch: Dispatch, regions: Sequence[Region], limit: int, units: int, counts: Counts
    ) -> None:
        self._dispatch, self._units, self._counts = dispatch, units, counts
        self._limit = limit
        self._memory = Memory(dispatch, regions, counts)
        kernel = dispatch.kernel
        code = self._memory.code(kernel.entry, kernel.code_size)
        if code is None:
            text = f"The code at {kernel.entry:#x} does not lie in memory."
            raise BadDispatch(FaultCode.BAD_KERNEL, text)
        self._code = code
        self._entries: dict[int, Entry] = {}
        self._functions: dict[str, Callable[..., Any]] = {}
        self._names: dict[str, Any] = {
            **ARITHMETIC, **self._memory.functions, "fp": _fp, "trap": _trap,
        }  # fmt: skip

    # groups and warps

    def all_groups(self) -> None:
        """Execute the workgroups. Raises _Stop."""
        for place in self._dispatch.workgroups():
            self._memory.start_group()
            self._group(Group(self._dispatch, place))

    def _group(self, group: Group) -> None:
        """Let the warps take turns until all have ended."""
        self._names |= {"X": group.x, "F": group.f, "PC": group.pc}
        while left := [warp for warp in group.warps if not warp.ended]:
            ready = [warp for warp in left if not warp.waits]
            if not ready:
                ready = self._released(group, left)
            for warp in ready:
                self._warp(group, warp)

    def _released(self, group: Group, left: list[Warp]) -> list[Warp]:
        """The warps that may go on although all wait: those at a barrier that has all that are
        left, or one that wants to start others."""
        if len({warp.barrier for warp in left}) == 1 and left[0].barrier is not None:
            for warp in left:
                warp.barrier = None
        elif len(left) == 1 and left[0].spawning is not None:
            count, target = left[0].spawning
            left[0].spawning = None
            for warp in group.warps[1:count]:
                if warp is not left[0]:
                    warp.spawn(group.pc, target)
        else:
            where = left[0].lanes(left[0].live)[0]
            self._stop(FaultCode.WATCHDOG, 0, group.pc[where], group, where)
        return left

    def _warp(self, group: Group, warp: Warp) -> None:
        """Execute a warp until it ends or waits."""
        while not warp.ended and not warp.waits:
            lanes = warp.lanes(warp.active)
            pcs = {group.pc[lane] for lane in lanes}
            pc = min(pcs)
            if len(pcs) > 1:
                lanes = [lane for lane in lanes if group.pc[lane] == pc]
            if pc == RETURN_ADDRESS:
                warp.retire(sum(1 << lane - warp.first for lane in lanes), group.pc)
            else:
                self._together(group, warp, lanes, pc, min(pcs - {pc}, default=_NEVER))

    def _together(self, group: Group, warp: Warp, lanes: list[int], pc: int, others: int) -> None:
        """Execute lanes at `pc` as long as it is certain that the same ones go on: until one
        jumps, an instruction changes the masks, or the lowest pc of the `others` is reached."""
        last = False
        while not last:
            word = 0
            try:
                entry = self._entries.get(pc) or self._decode(pc)
                word = entry.word
                self._count(len(lanes))
                behind = pc + entry.length & _ALL
                last = entry.parts or behind >= others
                if last:
                    for lane in lanes:
                        group.pc[lane] = behind
                if entry.system:
                    _collect(entry, self._context(group, warp, lanes, behind), pc)
                else:
                    entry.run(lanes, pc, *entry.operands)
            except LaneFault as fault:
                lane = lanes[0] if fault.lane is None else fault.lane
                address = word if fault.address is None else fault.address
                self._stop(fault.code, address, pc, group, lane)
            pc = behind

    def _context(self, group: Group, warp: Warp, lanes: list[int], behind: int) -> Context:
        return Context(
            self._dispatch, self._units, self._counts, self._memory, group, warp, lanes, behind
        )

    def _count(self, lanes: int) -> None:
        if self._counts.watched >= self._limit:
            raise LaneFault(FaultCode.WATCHDOG, 0)
        self._counts.warp_instructions += 1
        self._counts.lane_instructions += lanes

    def _stop(self, code: FaultCode, address: int, pc: int, group: Group, lane: int) -> NoReturn:
        raise _Stop(Fault(code, address, pc, group.place, lane)) from None

    # instructions

    def _decode(self, pc: int) -> Entry:
        """The instruction at `pc`, kept. Raises LaneFault."""
        code, offset = self._code, pc - self._dispatch.kernel.entry
        size = 2 if 0 <= offset <= len(code) - 2 and code[offset] & 3 != 3 else 4
        if not 0 <= offset <= len(code) - size:
            raise LaneFault(FaultCode.INSTRUCTION_ADDRESS, pc)
        word = int.from_bytes(code[offset : offset + size], "little")
        decoded = decode(word)
        if decoded is None or not is_legal(decoded.insn):
            raise LaneFault(FaultCode.ILLEGAL_INSTRUCTION, word)
        read = source(decoded.insn.mnemonic)
        if len(self._entries) >= _KEPT:
            self._entries.clear()
        operands = tuple(getattr(decoded, name) & _ALL for name in read.slots)
        entry = Entry(word, size, self._function(decoded.insn), operands, read.system, read.parts)
        self._entries[pc] = entry
        return entry

    def _function(self, insn: Instruction) -> Callable[..., Any]:
        function = self._functions.get(insn.mnemonic)
        if function is None:
            exec(source(insn.mnemonic).code, self._names)
            function = self._functions[insn.mnemonic] = self._names["instruction"]
        return function


def _collect(entry: Entry, at: Context, pc: int) -> None:
    """Execute an instruction that the lanes do together."""
    running = [entry.run(lane, pc, *entry.operands) for lane in at.lanes]
    operands = [next(one) for one in running]
    results = OPERATIONS[entry.system](at, operands) or [0] * len(running)
    for one, result in zip(running, results, strict=True):
        with suppress(StopIteration):
            one.send(result)
