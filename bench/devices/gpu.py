"""Kernels of the GPU's library on the lifted engine, against what one core of the host can do.

* `gpu_saxpy_vs_triad`: bytes a second of saxpy over arrays of 64 MiB, each index counted as 12
  bytes, as a part of the host's triad over arrays of that size (`bench.roof`). The triad has a
  third array, whose lines the host reads before it writes them; saxpy has none, so that in memory
  more than 1 is possible.
* `gpu_blackscholes_vs_hand`: options a second, as a part of the same formulas written by hand with
  vectors (`_gpu_peers`), over arrays of 1 MiB. Both give the same bits, which is checked.

Each figure is the median of rounds in which both run one after the other, since hosts change their
clock and share it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.devices._gpu_peers import black_scholes
from bench.report import Report
from bench.roof import triad
from emu.devices.gpu.dispatch import Dispatch, KernelObject
from emu.devices.gpu.lift import LiftedEngine
from emu.errors import AiosError
from emu.memory import Memory
from toolchain.kern.compile import read_source
from toolchain.kern.kernels import KernelImage, build

_LIBRARY = Path(__file__).resolve().parents[2] / "kernel_src" / "gpu"
_MODULES = ("blas", "finance", "math", "warps")
ROUNDS = 9
SAXPY_ELEMENTS, OPTIONS = 1 << 24, 1 << 18
_GROUP = 256
_ARRAYS = 1 << 20
"""How far behind the image the first array begins."""

Array = NDArray[np.float32]


class _Bench:
    """A kernel of the library and `count` arrays of `n` f32 in memory that lanes reach."""

    def __init__(self, image: KernelImage, name: str, n: int, count: int) -> None:
        self._memory = Memory(image.base, _ARRAYS + count * 4 * n)
        self._memory.view(image.base, len(image.data))[:] = image.data
        self._image, self._name, self.n = image, name, n
        self.addresses = [image.base + _ARRAYS + i * 4 * n for i in range(count)]
        self.arrays: list[Array] = [
            np.frombuffer(self._memory.view(at, 4 * n), np.float32) for at in self.addresses
        ]
        self._engine = LiftedEngine()

    def host_addresses(self) -> list[int]:
        """Where the arrays are for the host."""
        distance = self._memory.host_address - self._memory.base
        return [at + distance for at in self.addresses]

    def kernel(self, *arguments: float) -> Callable[[], None]:
        """What dispatches the kernel over all elements, the arrays being its last arguments."""
        block = self._image.pack(self._name, self.n, *arguments, *self.addresses)
        kernarg = self.addresses[0] - 4096
        self._memory.view(kernarg, len(block))[:] = block
        at = self._image.objects[self._name]
        kernel = KernelObject.parse(self._image.object(self._name), at)
        dispatch = Dispatch(kernel, kernarg, (self.n, 1, 1), (_GROUP, 1, 1))
        regions = [(self._memory.base, self._memory.size, self._memory.host_address)]

        def run() -> None:
            outcome = self._engine.run(dispatch, regions, 1 << 40)
            if outcome.fault is not None:
                raise AiosError(f"The kernel '{self._name}' failed: {outcome.fault}.")

        return run


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _rounds(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """The median of the seconds that `one` takes, and of the ratios of `other`'s to those."""
    one(), other()
    times = [(_seconds(one), _seconds(other)) for _ in range(ROUNDS)]
    return statistics.median(t for t, _ in times), statistics.median(o / t for t, o in times)


def _saxpy(report: Report, image: KernelImage) -> None:
    n = SAXPY_ELEMENTS
    bench, roof = _Bench(image, "blas.saxpy", n, 2), triad(4 * n)
    for array in bench.arrays:
        array[:] = 1.0
    scale = 12 * n / roof.work
    seconds, ratio = _rounds(bench.kernel(0.5), roof.run)
    report.add("gpu saxpy", 12 * n / seconds / 1e9, "GB/s")
    report.add("gpu saxpy / triad of the host", ratio * scale, "x")
    report.summary["gpu_saxpy_vs_triad"] = ratio * scale


def _black_scholes(report: Report, image: KernelImage) -> None:
    n, rate, volatility = OPTIONS, 0.02, 0.3
    bench = _Bench(image, "finance.blackscholes", n, 5)
    random = np.random.default_rng(0)
    for array, (low, high) in zip(bench.arrays, ((5, 30), (1, 100), (0.25, 10)), strict=False):
        array[:] = random.uniform(low, high, n)
    run, peer = bench.kernel(rate, volatility), black_scholes()
    names = ("price", "strike", "years", "call", "put")
    words = dict(zip(names, bench.host_addresses(), strict=True))

    def by_hand() -> None:
        peer(n=n, rate=rate, volatility=volatility, **words)

    run()
    lifted = [array.copy() for array in bench.arrays[3:]]
    by_hand()
    if not all(map(np.array_equal, lifted, bench.arrays[3:])):
        raise AiosError("The lifted kernel and the one by hand give different prices.")
    seconds, ratio = _rounds(run, by_hand)
    report.add("gpu blackscholes", n / seconds / 1e6, "million options/s")
    report.add("gpu blackscholes / by hand", ratio, "x")
    report.summary["gpu_blackscholes_vs_hand"] = ratio


def measure(report: Report) -> None:
    """Both kernels."""
    image = build([read_source(_LIBRARY / f"{name}.kern") for name in _MODULES])
    _saxpy(report, image)
    _black_scholes(report, image)
