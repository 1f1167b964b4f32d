"""Plans: what an instruction does with its operands, wherever they lie.

A schedule decides once, from types, dims and strides, which kernels run with which parameters. It
never sees an address: an operand is a `Place`, something with an offset from where that operand
will be. What it records is a plan, a list of steps, which is kept and run whenever the same
instruction meets operands of the same form; only addresses are filled in then.

    with planning() as plan:
        run_matmul(*views)              # kernels called in here become steps of `plan`
    plan.run(bases)                     # the host address of every region
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from emu.cpu.tensor.faults import Cause, Operand, TensorFault
from emu.cpu.tensor.limits import SCRATCH_BYTES

if TYPE_CHECKING:
    from emu.cpu.tensor.unit.packed import PackedSteps

SCRATCH_REGION = len(Operand)
"""The region behind the operands': host memory for the duration of the instruction."""
REGIONS = SCRATCH_REGION + 1
ALIGNMENT = 64
"""Of every piece of scratch memory: a cache line."""


@dataclass(frozen=True, slots=True)
class Place:
    """`offset` bytes from the start of a region: an operand's element (0, 0, …), or scratch."""

    region: int
    offset: int = 0

    def __add__(self, bytes_: int) -> Place:
        return Place(self.region, self.offset + bytes_)

    __radd__ = __add__

    def __sub__(self, bytes_: int) -> Place:
        return Place(self.region, self.offset - bytes_)


class Runnable(Protocol):
    """A compiled kernel."""

    @property
    def address(self) -> int:
        """Of `i64 kernel(ptr words, i64 part, i64 parts)`: 0, or 1 when a check failed."""


@dataclass(frozen=True)
class Step:
    """One call of a kernel: its parameter block, less the addresses."""

    kernel: Runnable
    words: array[int]
    holes: tuple[tuple[int, int], ...]
    """(index of a word, region): add the address of the region to the word."""
    parallel: bool = False
    """Whether the kernel divides its work by the parts it is told."""
    blame: Operand | None = None
    """For a step that only looks: the operand at fault when the kernel gives 1."""


@dataclass
class Plan:
    """The steps, in order, and the scratch memory they share."""

    steps: list[Step] = field(default_factory=list)
    scratch: int = 0
    """Bytes; a region that starts at a multiple of `ALIGNMENT`."""
    is_large: bool = False
    """Whether parallel steps are worth more than one thread."""
    _used: int = 0

    @cached_property
    def packed(self) -> PackedSteps:
        """The steps as emitted code runs them; there must be no more to come."""
        from emu.cpu.tensor.unit.packed import PackedSteps  # which knows plans

        return PackedSteps(self)

    def take(self, size: int) -> Place:
        """A piece of scratch memory, content undefined. Raises TensorFault beyond the limit."""
        place = Place(SCRATCH_REGION, self._used)
        self._used += -(-size // ALIGNMENT) * ALIGNMENT
        self.scratch = max(self.scratch, self._used)
        if self.scratch > SCRATCH_BYTES:
            raise TensorFault(Cause.LIMIT, Operand.DESTINATION)
        return place

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Give back at the end what was taken inside: later steps may use it again."""
        before = self._used
        yield
        self._used = before

    def run(self, bases: Sequence[int]) -> None:
        """Run every step; `bases` are host addresses by region. Raises TensorFault (INDEX) when a
        step that looks finds something wrong; such steps come before any that writes an operand.
        """
        failed = self.packed.run(bases)
        if failed:
            blame = self.steps[failed - 1].blame
            assert blame is not None  # only steps that look may fail
            raise TensorFault(Cause.INDEX, blame)


_making: list[Plan] = []


@contextmanager
def planning() -> Iterator[Plan]:
    """Kernels that are called inside become steps of the plan this gives."""
    plan = Plan()
    _making.append(plan)
    try:
        yield plan
    finally:
        _making.pop()


def current() -> Plan:
    """The plan being made."""
    return _making[-1]


class _Scratch:
    """Scratch memory of the plan being made."""

    def take(self, size: int) -> Place:
        """`size` bytes, aligned to a cache line, content undefined. Raises TensorFault beyond
        `SCRATCH_BYTES` an instruction."""
        return current().take(size)

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Give back at the end what was taken inside."""
        with current().borrowed():
            yield


SCRATCH = _Scratch()
