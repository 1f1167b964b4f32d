"""What the lanes of a warp do together: the meaning of every `system` operation that they have.

An operation is given the operands of all lanes that execute it, in the order of the lanes, and
gives a result for each. `OPERATIONS` is the table by name, as in `m.system(name, ...)`; what is not
in it is illegal on lanes. `lane` has a table of its own, `LANE`, by the names of
`emu.isa.xlane`: votes, shuffles and swaps work on the lanes at hand; the others (`WHOLE`) change
which lanes run, so every active lane of the warp must execute them together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from emu.devices.gpu.dispatch import GROUP_BASE, LANES, Counts, Dispatch, Extent, FaultCode
from emu.devices.gpu.simt.memory import LaneFault, Memory
from emu.devices.gpu.simt.source import is_read
from emu.devices.gpu.simt.tensor import TensorUnit
from emu.devices.gpu.simt.warp import STACK_MAX, Group, Split, Warp
from emu.isa import TABLE, Instruction
from emu.isa.csrs import LANE_CSRS

Operands = Sequence[tuple[Any, ...]]
"""For each lane, what its `m.system` call says behind the name."""


@dataclass
class Context:
    """What executes an instruction: the lanes, by number, lowest first, and what is around."""

    dispatch: Dispatch
    units: int
    counts: Counts
    memory: Memory
    group: Group
    warp: Warp
    lanes: Sequence[int]
    behind: int
    """The address behind the instruction."""

    @property
    def mask(self) -> int:
        """The lanes that execute the instruction."""
        return sum(1 << lane - self.warp.first for lane in self.lanes)


Operation = Callable[[Context, Operands], list[int] | None]
"""Gives a result for each lane; None is as good as zeros."""


def illegal() -> LaneFault:
    """The fault of an instruction that lanes may not execute."""
    return LaneFault(FaultCode.ILLEGAL_INSTRUCTION, None)


# votes, shuffles and swaps


def _vote(decide: Callable[[Sequence[int]], bool]) -> Operation:
    def vote(at: Context, operands: Operands) -> list[int]:
        result = int(decide([condition for (condition,) in operands]))
        return [result] * len(operands)

    return vote


def _ballot(at: Context, operands: Operands) -> list[int]:
    lanes = zip(at.lanes, operands, strict=True)
    mask = sum(condition << lane - at.warp.first for lane, (condition,) in lanes)
    return [mask] * len(operands)


def _shuffle(
    pick: Callable[[int, int, int, int], int], inside: Callable[[int, int, int], bool]
) -> Operation:
    """`pick` says from a lane, b, the lowest lane of its part of the warp and the mask which lane
    to read; `inside` from that and the ends of the part whether it counts. A lane that does not, or
    that does not execute this, leaves the reader its own value."""

    def shuffle(at: Context, operands: Operands) -> list[int]:
        numbers = [lane - at.warp.first for lane in at.lanes]
        values = {n: int(each[0]) for n, each in zip(numbers, operands, strict=True)}
        results: list[int] = []
        for own, (_, b, c, mask) in zip(numbers, operands, strict=True):
            lowest = own & mask
            highest = lowest | (c & ~mask)
            other = pick(own, b, lowest, mask)
            counts = other in values and inside(other, lowest, highest)
            results.append(values[other if counts else own])
        return results

    return shuffle


def _not_below(other: int, lowest: int, highest: int) -> bool:
    return other >= lowest


def _not_above(other: int, lowest: int, highest: int) -> bool:
    return other <= highest


def _compare_and_swap(bits: int) -> Operation:
    """Lane by lane, as all atomic operations."""

    def swap(at: Context, operands: Operands) -> list[int]:
        memory, results = at.memory.functions, []
        for lane, (address, expected, new) in zip(at.lanes, operands, strict=True):
            if address % (bits // 8):
                raise LaneFault(FaultCode.MISALIGNED_ATOMIC, address, lane)
            old: int = memory[f"load_amo{bits}"](lane, address)
            memory[f"store{bits}"](lane, address, new if old == expected else old)
            results.append(old)
        return results

    return swap


# the whole warp


def _tmc(at: Context, operands: Operands) -> None:
    (mask,) = operands[-1]
    at.warp.enable(mask, at.group.pc, at.behind)


def _wspawn(at: Context, operands: Operands) -> None:
    at.warp.spawning = operands[-1][0], operands[-1][1]


def _split(at: Context, operands: Operands) -> list[int]:
    warp = at.warp
    token = len(warp.stack)
    lanes = zip(at.lanes, operands, strict=True)
    rest = sum(1 << lane - warp.first for lane, (condition,) in lanes if not condition)
    if rest not in (0, warp.active):
        if token == STACK_MAX:
            raise illegal()
        warp.stack.append(Split(warp.active, rest, at.behind))
        warp.active &= ~rest
    return [token] * len(operands)


def _join(at: Context, operands: Operands) -> None:
    (token,) = operands[-1]
    depth = len(at.warp.stack)
    if token == depth:
        return  # the split left nobody behind
    if token != depth - 1:
        raise illegal()
    at.warp.join(at.group.pc, at.behind)


def _bar(at: Context, operands: Operands) -> None:
    if at.mask != at.warp.live:
        raise LaneFault(FaultCode.DIVERGED, 0)
    number, count = operands[-1]
    at.counts.barriers += 1
    others = at.group.waiting_at(number)
    if len(others) + 1 >= count:
        for warp in others:
            warp.barrier = None
    else:
        at.warp.barrier = number


def _pred(at: Context, operands: Operands) -> None:
    lanes = zip(at.lanes, operands, strict=True)
    kept = sum(1 << lane - at.warp.first for lane, (condition, _) in lanes if condition)
    at.warp.enable(kept or operands[-1][1], at.group.pc, at.behind)


WHOLE: dict[str, Operation] = {
    "tmc": _tmc, "wspawn": _wspawn, "split": _split, "join": _join, "bar": _bar, "pred": _pred,
}  # fmt: skip
"""Instructions for all active lanes, which have no result or the same for all. Where one operand
counts for the warp, it is the highest lane's."""

LANE: dict[str, Operation] = {
    **WHOLE,
    "vote.all": _vote(all),
    "vote.any": _vote(any),
    "vote.uni": _vote(lambda conditions: len(set(conditions)) == 1),
    "vote.ballot": _ballot,
    "shfl.up": _shuffle(lambda own, b, lowest, mask: own - b, _not_below),
    "shfl.down": _shuffle(lambda own, b, lowest, mask: own + b, _not_above),
    "shfl.bfly": _shuffle(lambda own, b, lowest, mask: own ^ b, _not_above),
    "shfl.idx": _shuffle(lambda own, b, lowest, mask: lowest | (b & ~mask), _not_above),
    "amocas.w": _compare_and_swap(32),
    "amocas.d": _compare_and_swap(64),
}

_NAMES = {
    str(step.args[1])
    for insn in TABLE.values()
    for step in insn.steps
    if step.op == "system" and step.args[0] == "lane"
}
if LANE.keys() != _NAMES:
    raise ImportError(f"the table and the lanes differ in {LANE.keys() ^ _NAMES}")


def lane(at: Context, operands: Operands) -> list[int] | None:
    """An instruction of `emu.isa.xlane`."""
    name = operands[0][0]
    if name in WHOLE and at.mask != at.warp.active:
        raise LaneFault(FaultCode.DIVERGED, 0)
    return LANE[name](at, [tuple(rest) for _, *rest in operands])


# registers

Reading = Callable[[Context, int], int]
"""The value of a register for a lane."""


def _along(name: str, read: Callable[[Context, int], Extent]) -> dict[str, Reading]:
    """The three registers of a value that has x, y and z."""

    def one(axis: int) -> Reading:
        return lambda at, lane: read(at, lane)[axis]

    return {f"{name}_{letter}": one(axis) for axis, letter in enumerate("xyz")}


CSRS: dict[str, Reading] = {
    "lane_id": lambda at, lane: lane - at.warp.first,
    "warp_id": lambda at, lane: at.warp.number,
    "unit_id": lambda at, lane: at.group.number % at.units,
    "warp_mask": lambda at, lane: at.group.warp_mask,
    "lane_mask": lambda at, lane: at.mask,
    "warp_lanes": lambda at, lane: LANES,
    "group_warps": lambda at, lane: at.dispatch.warps,
    "units": lambda at, lane: at.units,
    "group_memory": lambda at, lane: GROUP_BASE,
    **_along("group_id", lambda at, lane: at.group.place),
    **_along("local_id", lambda at, lane: at.dispatch.local_id(lane)),
    **_along("group_size", lambda at, lane: at.dispatch.workgroup),
    **_along("grid_size", lambda at, lane: at.dispatch.grid),
}
"""Each of `LANE_CSRS`."""

_BY_NUMBER = {number: CSRS[csr.name] for number, csr in LANE_CSRS.items()}


def _read_csr(at: Context, operands: Operands) -> list[int]:
    number, _, writes = operands[0]
    if writes or number not in _BY_NUMBER:
        raise illegal()
    return [_BY_NUMBER[number](at, lane) for lane in at.lanes]


# tensors


def _tensor(at: Context, operands: Operands) -> list[int]:
    """Once for all lanes that execute it, with the registers of the lowest."""
    if at.warp.tensor is None:
        at.warp.tensor = TensorUnit(at.memory.regions, at.counts)
    mnemonic, *values = operands[0]
    return [at.warp.tensor.execute(mnemonic, *values)] * len(operands)


OPERATIONS: dict[str, Operation] = {
    "lane": lane,
    "csr_swap": _read_csr,
    "csr_set": _read_csr,
    "csr_clear": _read_csr,
    "tensor": _tensor,
}
"""By the name in `m.system(name, ...)`."""


def is_legal(insn: Instruction) -> bool:
    """Whether lanes may have this instruction."""
    systems = [step.args[0] for step in insn.steps if step.op == "system"]
    return is_read(insn) and all(name in OPERATIONS for name in systems)
