"""Compiled kernels: made on first use, kept in memory and, by content, on disk.

A kernel is found by its name, which spells operation, element types and layout class, such as
`tadd f32 vs`. Shapes are parameters, so a handful of kernels serves a whole model. Calling one
records a step of the plan being made (`plan.py`); nothing runs yet.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence

from emu.cpu.jit import compile_cached, source_key
from emu.cpu.tensor.emit import Block, Emitter
from emu.cpu.tensor.faults import Operand
from emu.cpu.tensor.plan import SCRATCH, Place, Step, current

__all__ = ["SCRATCH", "THREADS_MAX", "Kernel", "Word", "kernel"]

Word = int | float | Place | Sequence[int]
THREADS_MAX = 8
"""The most parts of a step: scratch memory private to a part is taken as often."""
_PASSES = ("instruction_combine", "simplify_cfg")
"""Emitted code is in SSA form, with its loops and vectors as they should be. LLVM's first level
takes half of the time of a compilation and makes no kernel measurably faster than these do."""
_DOUBLE, _WORD = struct.Struct("<d"), struct.Struct("<q")


class Kernel:
    """A compiled kernel and the names of its parameters."""

    def __init__(
        self, name: str, block: Block, write: Callable[[Emitter], None], parallel: bool, lean: bool
    ) -> None:
        def build() -> str:
            emitter = Emitter(block)
            write(emitter)
            return emitter.finish()

        self._block, self._parallel = block, parallel
        key = f"tensor {name} {source_key('emu.cpu.tensor')}"
        self._code = compile_cached(key, build, opt=1, passes=() if lean else _PASSES)
        self.address = self._code.address("kernel")

    def __call__(self, **words: Word) -> None:
        """Record a call. A float is passed as the bits of an f64; words not named are 0."""
        current().steps.append(self._step(words, None))

    def check(self, blame: Operand, /, **words: Word) -> None:
        """Record a call that only looks at an operand and fails when something in it is wrong."""
        current().steps.append(self._step(words, blame))

    def _step(self, words: dict[str, Word], blame: Operand | None) -> Step:
        values = array("q", bytes(8 * self._block.size))
        holes = []
        for name, value in words.items():
            at = self._block.index[name]
            if isinstance(value, Place):
                values[at] = value.offset
                holes.append((at, value.region))
            elif isinstance(value, int):
                values[at] = value
            elif isinstance(value, float):
                values[at] = _WORD.unpack(_DOUBLE.pack(value))[0]
            else:
                for i, item in enumerate(value):
                    values[at + i] = item
        return Step(self, values, tuple(holes), self._parallel, blame)


_kernels: dict[str, Kernel] = {}


def kernel(
    name: str, block: Block, write: Callable[[Emitter], None], *,
    parallel: bool = False, lean: bool = False,
) -> Kernel:  # fmt: skip
    """The kernel of this name; `write` emits its body if nobody has compiled it yet.

    `parallel` says that the body divides its work by `part` and `parts`, each element of the result
    being computed alike whatever their number; `lean` that it has nothing invariant inside of loops
    that matter, so that LLVM's passes can be left out: half the time to compile.
    """
    found = _kernels.get(name)
    if found is None:
        found = _kernels[name] = Kernel(name, block, write, parallel, lean)
    return found
