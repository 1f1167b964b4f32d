"""How long the GPU takes: a dispatch, a matrix product, a copy.

One model for all GPUs. A board says what a data sheet says (units, clock, peak of the matrix
units, memory bandwidth, links); the constants below are the same for every GPU. They are rates and
delays inside a compute unit, in cycles, and grow with the width of its matrix unit, for a unit is
built so that its data paths feed it. They were fitted once, to the measured products of two GPUs
(A100 and H100); docs/timing.md says how, and how well others are met that had no part in it.

A dispatch is workgroups on units: they come in waves, a wave takes what a group takes, and all of
them together share the memory. A matrix product is a dispatch of tiles; since a library picks the
kernel, its time is that of the best tile and of the best number of pieces of the inner dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import ceil
from typing import TYPE_CHECKING

from emu.clock import PS_PER_SECOND, PS_PER_US

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from emu.board import GpuBoard
    from emu.devices.gpu.dispatch import Counts

    Cycles = npt.NDArray[np.float64]

_FLOOR = 4200
"""Cycles from the start of a kernel that does nothing to its end; 2.3 us on an H100."""
_STARTUP = 300
"""Cycles before a group's first operands are there."""
_WIDTH = 4096
"""Dense bf16 operations a cycle of the unit to which the following figures belong (an H100's)."""
_STEP, _STEP_POWER = 15, -0.7
"""Cycles that 64 elements of the inner dimension cost beside their arithmetic."""
_ON_CHIP = 60
"""Bytes a cycle from the second-level cache to a unit."""
_WRITE_BACK = 20
"""Bytes a cycle at which a unit stores a finished tile."""
_FROM_MEMORY = 18
"""Bytes a cycle that one unit can have from memory: what it keeps in flight by the latency."""
_PERSISTENT = 3000
"""From this width on (Hopper) a unit goes on to its next tile by itself, and a last wave that is
not full costs only its share; before, half of the units' idle time in it is lost."""
_LAST_WAVE = 0.5
_MATRIX_EFFICIENCY, _MEMORY_EFFICIENCY = 0.83, 0.8
"""Parts of the peaks that the best kernels reach."""
_SMALL_TILE = 0.05
"""How much a tile's edges slow the matrix unit down; nothing for a tile of 128 by 256."""
_JOIN, _JOIN_RATE = 4000, 2.0
"""Adding up the pieces of a product: cycles, and the rate as a multiple of the memory's."""

_ISSUE = 4
"""Warp instructions that a unit starts in a cycle: one for each of its four schedulers (NVIDIA
A100 and H100 architecture white papers)."""
_DEPENDENT = 4
"""Cycles from an arithmetic instruction to the one that needs it (Jia et al., Dissecting the Volta
GPU Architecture via Microbenchmarking, 2018: 4 for the core ALU)."""
_GROUP_MEMORY = 128
"""Bytes a cycle of a unit's group memory: 32 banks of 4 bytes (white papers as above)."""

_PACKET_PS = 2 * PS_PER_US
"""From the doorbell to the kernel's start: with the floor, the 4 to 7 us of a launch."""
_COPY_START_PS = 1 * PS_PER_US
"""Before a copy engine's first byte; no product's figure."""
_COPY_EFFICIENCY = 0.9
"""Of the memory bandwidth, in a copy: 4.3 of an H200's 4.8 TB/s, measured."""
_LINK_EFFICIENCY = 0.87
"""Of a link's raw rate: 54 to 57 GB/s are seen on PCIe 5 x16, which has 64."""

_EDGES = (16, 32, 64, 128, 256)
_TILES = [(h, w) for h in _EDGES for w in _EDGES if 1024 <= h * w <= 32768]
_PIECES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_DEPTH, _LEAST_PIECE = 32, 128
"""A piece's inner dimension is a multiple of the first and at least the second."""
_BF16, _F32 = 2, 4


class Route(Enum):
    """Which way a copy takes."""

    VRAM = "within a GPU's memory"
    LINK = "over the link between two GPUs"
    HOST = "over PCI Express"


@dataclass(frozen=True)
class _Unit:
    """A compute unit's rates: bytes or operations a cycle, cycles for a step."""

    flops: float
    step: float
    on_chip: float
    write_back: float
    from_memory: float
    last_wave: float


def _unit(flops: float) -> _Unit:
    """A unit whose matrix unit has a peak of `flops` operations a cycle."""
    width = flops / _WIDTH
    return _Unit(
        flops * _MATRIX_EFFICIENCY,
        _STEP * width**_STEP_POWER,
        _ON_CHIP * width,
        _WRITE_BACK * width,
        _FROM_MEMORY * width,
        0 if flops >= _PERSISTENT else _LAST_WAVE,
    )


class Timing:
    """The speed of one GPU. Times are picoseconds."""

    launch_ps = _PACKET_PS
    """From seeing a packet to the kernel's start."""

    def __init__(self, board: GpuBoard) -> None:
        self._units = max(1, board.compute_units)
        self._ps_per_cycle = 10**6 / max(1, board.clock_mhz)
        peak_per_ps = board.matrix_gflop_s / 1000
        self._unit = _unit(peak_per_ps / self._units * self._ps_per_cycle)
        bytes_per_ps = board.memory_mb_s * 10**6 / PS_PER_SECOND
        self._memory = bytes_per_ps * self._ps_per_cycle * _MEMORY_EFFICIENCY
        self._rates = {
            Route.VRAM: board.memory_mb_s * _COPY_EFFICIENCY / 2,  # read once and written once
            Route.LINK: board.link_mb_s * _LINK_EFFICIENCY,
            Route.HOST: board.host_mb_s * _LINK_EFFICIENCY,
        }

    def dispatch_ps(self, counts: Counts, groups: int, warps: int) -> int:
        """From a kernel's start to its end: what it counted, in `groups` workgroups of `warps`.

        The longest of issuing instructions, waiting for one's own results, the matrix units, group
        memory, and memory; caches are left out, every byte is charged to memory.
        """
        groups, warps, unit = max(groups, 1), max(warps, 1), self._unit
        busy = min(groups, self._units)
        share = max(groups / self._units, 1)
        waves = share + unit.last_wave * (ceil(groups / self._units) - share)
        alone = counts.warp_instructions / (groups * warps) * _DEPENDENT
        matrix = counts.tensor_flops / groups / unit.flops
        matrix = max(matrix, counts.tensor_bytes / groups / unit.on_chip)
        on_units = waves * max(
            matrix + (_STARTUP if counts.tensor_flops else 0),
            counts.warp_instructions / groups / _ISSUE,
            counts.group_bytes / groups / _GROUP_MEMORY,
        )
        traffic = counts.bytes_loaded + counts.bytes_stored
        memory = traffic / min(self._memory, busy * unit.from_memory)
        return self._ps(_FLOOR + max(on_units, alone, memory))

    def product_ps(self, m: int, n: int, k: int) -> int:
        """A bf16 product of (m, k) by (k, n) by the best kernel, from its start to its end."""
        import numpy as np

        return self._ps(float(self.product_cycles(*(np.array([d], float) for d in (m, n, k)))[0]))

    def product_cycles(self, m: Cycles, n: Cycles, k: Cycles) -> Cycles:
        """The same for many products at once (three arrays of N), in cycles (N)."""
        import numpy as np  # a machine starts without it

        m, n, k = (d[:, None, None] for d in (m, n, k))
        height, width = np.array(_TILES, float).T[:, :, None]
        unit, pieces = self._unit, np.array(_PIECES, float)
        depth = np.ceil(k / pieces / _DEPTH) * _DEPTH
        tiles = np.ceil(m / height) * np.ceil(n / width) * pieces
        edges = 1 + _SMALL_TILE * (256 / height + 256 / width - 3)
        arithmetic = 2 * height * width * depth / unit.flops * edges
        operands = (height + width) * _BF16 * depth / unit.on_chip
        size = np.where(pieces > 1, _F32, _BF16)
        store = height * width * size / unit.write_back
        tile = np.maximum(arithmetic, operands) + depth / 64 * unit.step + _STARTUP + store
        partial = np.where(pieces > 1, _F32 * pieces * m * n, 0)
        traffic = _BF16 * (m * k + k * n + m * n) + 2 * partial
        memory = np.minimum(self._memory, np.minimum(tiles, self._units) * unit.from_memory)
        share = np.maximum(tiles / self._units, 1)
        waves = share + unit.last_wave * (np.ceil(tiles / self._units) - share)
        time = np.maximum(waves * tile, traffic / memory)
        join = _JOIN + partial / (self._memory / _MEMORY_EFFICIENCY * _JOIN_RATE)
        time = time + np.where(pieces > 1, join, 0)
        sensible = (pieces == 1) | ((depth * (pieces - 1) < k) & (depth >= _LEAST_PIECE))
        best: Cycles = np.where(sensible, time, np.inf).min((1, 2))
        return _FLOOR + best

    def copy_ps(self, n: int, route: Route) -> int:
        """A copy of `n` bytes when nothing else is on its way."""
        return _COPY_START_PS + self.transfer_ps(n, route)

    def transfer_ps(self, n: int, route: Route) -> int:
        """For how long `n` bytes occupy the way."""
        return int(n * 10**6 / self._rates[route])

    def _ps(self, cycles: float) -> int:
        return round(cycles * self._ps_per_cycle)
