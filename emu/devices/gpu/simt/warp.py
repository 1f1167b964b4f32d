"""Workgroups and warps: which lanes there are, which of them run, and where they are.

A lane is named by the number of its work-item in the workgroup; `Group.x`, `.f` and `.pc` are lists
by that number. Masks are numbers whose bit i is the warp's lane i.

Of a warp's lanes

* `started` are those whose work-item lies in the grid;
* `returned` have jumped to address 0 and never run again (unless `wspawn` starts the warp anew);
* `active` may execute; among them those with the lowest pc do;
* the lanes of the masks on `stack` wait for a `join`.

A warp has ended when no lane is active and none waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from emu.devices.gpu.dispatch import (
    LANES,
    PRIVATE_BASE,
    Dispatch,
    Extent,
)
from emu.devices.gpu.simt.tensor import TensorUnit

RETURN_ADDRESS = 0
"""A lane that jumps here has ended; `ra` is this at the start."""
STACK_MAX = LANES
"""Splits that may be open at once: enough for lanes that part one by one."""
_SP, _A0 = 2, 10


@cache
def lanes_of(mask: int) -> tuple[int, ...]:
    """The lanes of a mask, lowest first."""
    return tuple(i for i in range(mask.bit_length()) if mask >> i & 1)


@dataclass
class Split:
    """A split whose join has not come yet."""

    whole: int
    """The lanes that were active before."""
    rest: int
    """Those that are to have their turn; 0 when they have it."""
    behind: int
    """The address behind the split, where their turn begins."""


@dataclass
class Warp:
    """One warp. `first` is the number of its lane 0 in the workgroup."""

    number: int
    first: int
    started: int
    active: int = 0
    returned: int = 0
    stack: list[Split] = field(default_factory=list)
    barrier: int | None = None
    """The barrier at which it waits."""
    spawning: tuple[int, int] | None = None
    """The warps (one more than the last) that it will start when it is alone, and where."""
    tensor: TensorUnit | None = None
    """Its tensor registers, made when they are first used."""

    @property
    def ended(self) -> bool:
        """Whether nothing of it will run any more."""
        return not self.active and not self.stack

    @property
    def waits(self) -> bool:
        """Whether it can go on only when other warps have come so far."""
        return self.barrier is not None or self.spawning is not None

    @property
    def live(self) -> int:
        """The lanes that run or wait for a join."""
        mask = self.active
        for split in self.stack:
            mask |= split.whole
        return mask & ~self.returned

    def lanes(self, mask: int) -> list[int]:
        """The lanes of a mask, by their number in the workgroup."""
        return [self.first + lane for lane in lanes_of(mask)]

    def retire(self, mask: int, pc: list[int]) -> None:
        """These lanes have returned. With the last active one gone, those that wait take over."""
        self.returned |= mask
        self.active &= ~mask
        self._take_over(pc)

    def join(self, pc: list[int], behind: int) -> None:
        """The innermost split's other lanes have their turn; after them all go on at `behind`."""
        before, is_last = self.active, not self.stack[-1].rest
        self.active = 0
        self._take_over(pc)
        for lane in self.lanes(self.active & ~before if is_last else 0):
            pc[lane] = behind

    def _take_over(self, pc: list[int]) -> None:
        """While no lane is active, let those that wait for a join follow, the innermost first."""
        while not self.active and self.stack:
            split = self.stack[-1]
            if split.rest:
                self.active, split.rest = split.rest & ~self.returned, 0
                for lane in self.lanes(self.active):
                    pc[lane] = split.behind
            else:
                self.active = split.whole & ~self.returned
                self.stack.pop()

    def enable(self, mask: int, pc: list[int], behind: int) -> None:
        """Make the lanes of a mask the active ones; those that were not go on at `behind`. With
        none the warp ends."""
        mask &= self.started & ~self.returned
        for lane in self.lanes(mask & ~self.active):
            pc[lane] = behind
        self.active = mask
        if not mask:
            self.stack.clear()

    def spawn(self, pc: list[int], target: int) -> None:
        """Start it anew, with its first lane only."""
        self.returned = 0
        self.active = self.started & -self.started
        for lane in self.lanes(self.active):
            pc[lane] = target


class Group:
    """A workgroup at its start: every lane at the kernel's entry, registers zero but two."""

    def __init__(self, dispatch: Dispatch, place: Extent) -> None:
        self.place = place
        self.number = dispatch.number(place)
        items = dispatch.warps * LANES
        self.pc = [dispatch.kernel.entry] * items
        self.x = [[0] * 32 for _ in range(items)]
        self.f = [[0] * 32 for _ in range(items)]
        for x in self.x:
            x[_SP] = PRIVATE_BASE + dispatch.private_memory
            x[_A0] = dispatch.kernarg
        self.warps = []
        for number in range(dispatch.warps):
            mask = dispatch.started(place, number)
            self.warps.append(Warp(number, number * LANES, mask, active=mask))

    @property
    def warp_mask(self) -> int:
        """The warps that have a lane in the grid."""
        return sum(1 << warp.number for warp in self.warps if warp.started)

    def waiting_at(self, barrier: int) -> list[Warp]:
        """The warps that wait at a barrier."""
        return [warp for warp in self.warps if warp.barrier == barrier]
