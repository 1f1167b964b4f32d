"""Gpu functions run over NumPy arrays on engines of lanes, without a machine around them.

    bench = KernelBench("blas")
    y = bench.run("saxpy", (1000,), (256,), 1000, 2.5, x, y)[1]

Arrays are arguments where a kernel takes a `ptr` (`Sliced(array)` where it takes a slice); what
they hold afterwards comes back, in their order. Every run is made by each of the bench's engines
from the same memory, and memory, fault and counts must be the same in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.devices.gpu.dispatch import Dispatch, Engine, KernelObject, Outcome
from emu.devices.gpu.lift import LiftedEngine
from emu.devices.gpu.simt import ReferenceEngine
from emu.memory import Memory
from toolchain.kern.compile import read_source
from toolchain.kern.diagnostics import Source
from toolchain.kern.kernels import KernelImage, build

_LIBRARY = Path(__file__).resolve().parents[3] / "kernel_src" / "gpu"
_ROOM = 1 << 24
_LIMIT = 1 << 24

Array = NDArray[Any]


@dataclass(frozen=True)
class Sliced:
    """An array for a parameter that is a slice."""

    array: Array


@cache
def library_image() -> KernelImage:
    """The kernel library, compiled once."""
    return build([read_source(path) for path in sorted(_LIBRARY.glob("*.kern"))])


class KernelBench:
    """A module's kernels in memory; of the library, or of a text that uses modules of it."""

    def __init__(
        self,
        module: str,
        text: str = "",
        *,
        library: Sequence[str] = (),
        engines: Sequence[Engine] = (),
    ) -> None:
        self._module = module
        if text:
            used = [read_source(_LIBRARY / f"{name}.kern") for name in library]
            self._image = build([Source(f"{module}.kern", module, text), *used])
        else:
            self._image = library_image()
        self._memory = Memory(self._image.base, _ROOM)
        self._memory.view(self._image.base, len(self._image.data))[:] = self._image.data
        self._engines = engines or (LiftedEngine(units=4), ReferenceEngine(units=4))

    def run(
        self,
        name: str,
        grid: Sequence[int],
        group: Sequence[int],
        *arguments: Array | Sliced | float,
    ) -> list[Array]:
        """Dispatches a kernel; the arrays as it leaves them. A fault fails the test."""
        outcome, arrays = self.attempt(name, grid, group, *arguments)
        assert outcome.fault is None, outcome.fault
        return arrays

    def attempt(
        self,
        name: str,
        grid: Sequence[int],
        group: Sequence[int],
        *arguments: Array | Sliced | float,
    ) -> tuple[Outcome, list[Array]]:
        """The same, with the outcome."""
        image, symbol = self._image, f"{self._module}.{name}"
        end = image.base + len(image.data)
        numbers: list[float] = []
        places: list[tuple[int, Array]] = []
        for argument in arguments:
            if not isinstance(argument, Sliced | np.ndarray):
                numbers.append(argument)
                continue
            array = argument.array if isinstance(argument, Sliced) else argument
            end += -end % 64
            numbers.append(end)
            if isinstance(argument, Sliced):
                numbers.append(len(array))
            places.append((end, array))
            self._memory.view(end, array.nbytes)[:] = array.tobytes()
            end += array.nbytes
        kernarg = end + -end % 64
        block = image.pack(symbol, *numbers)
        self._memory.view(kernarg, len(block))[:] = block
        kernel = KernelObject.parse(image.object(symbol), image.objects[symbol])
        dispatch = Dispatch(kernel, kernarg, _extent(grid), _extent(group))
        outcome = self._agreed(dispatch, kernarg + len(block) - image.base)
        return outcome, [
            np.frombuffer(bytes(self._memory.view(at, a.nbytes)), a.dtype).reshape(a.shape)
            for at, a in places
        ]

    def _agreed(self, dispatch: Dispatch, used: int) -> Outcome:
        """What all engines do with the first `used` bytes of memory, which must be the same."""
        regions = [(self._memory.base, self._memory.size, self._memory.host_address)]
        view = self._memory.view(self._memory.base, used)
        before = bytes(view)
        ends: list[tuple[Outcome, bytes]] = []
        for engine in self._engines:
            view[:] = before
            outcome = engine.run(dispatch, regions, _LIMIT)
            ends.append((outcome, bytes(view)))
        assert all(end == ends[0] for end in ends), [outcome for outcome, _ in ends]
        return ends[0][0]


def _extent(given: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = [*given, 1, 1][:3]
    return x, y, z
