"""The steps of a plan in memory, as emitted code runs them."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from emu.cpu.tensor import threads
from emu.cpu.tensor.unit.build import unit_code
from emu.cpu.tensor.unit.layout import WORD, Step, Steps

if TYPE_CHECKING:
    from emu.cpu.tensor.plan import Plan

_ALL = (1 << 64) - 1


@cache
def _run_steps() -> Callable[[int, int, int], int]:
    pointer = ctypes.c_void_p
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, pointer, pointer, pointer)
    return prototype(unit_code().address("run_steps"))


class PackedSteps:
    """A plan's steps: their table, parameter blocks and holes, in one piece. `address` is the
    table's, `words` its size in words."""

    def __init__(self, plan: Plan) -> None:
        head = (Steps.HEAD_SIZE + Step.SIZE * len(plan.steps)) // WORD
        size = head + sum(len(s.words) + 2 * len(s.holes) for s in plan.steps)
        self._memory = array("Q", bytes(WORD * size))
        self.address, self.words = self._memory.buffer_info()[0], size
        self._kernels = [step.kernel for step in plan.steps]  # to keep their code
        memory, free = self._memory, head
        memory[Steps.COUNT // WORD] = len(plan.steps)
        memory[Steps.WORDS // WORD] = max((len(s.words) for s in plan.steps), default=0)
        for number, step in enumerate(plan.steps):
            at = (Steps.HEAD_SIZE + Step.SIZE * number) // WORD
            block, holes = free, free + len(step.words)
            free = holes + 2 * len(step.holes)
            memory[block:holes] = array("Q", step.words.tobytes())
            for i, (index, region) in enumerate(step.holes):
                memory[holes + 2 * i], memory[holes + 2 * i + 1] = index * WORD, region
            fields = {
                Step.KERNEL: step.kernel.address,
                Step.WORDS: self.address + block * WORD, Step.WORDS_COUNT: len(step.words),
                Step.HOLES: self.address + holes * WORD, Step.HOLES_COUNT: len(step.holes),
                Step.PARALLEL: int(step.parallel and plan.is_large),
            }  # fmt: skip
            for offset, value in fields.items():
                memory[at + offset // WORD] = value
        self._is_parallel = plan.is_large and any(s.parallel for s in plan.steps)

    def run(self, bases: Sequence[int]) -> int:
        """Run them; `bases` are host addresses by region. 0, or 1 + the number of a step whose
        check failed."""
        self.prepare()
        words = array("Q", [base & _ALL for base in bases])
        return _run_steps()(self.address, words.buffer_info()[0], threads.team_address())

    def prepare(self) -> None:
        """See to it that there are threads if a step can use them."""
        if self._is_parallel:
            threads.start()
