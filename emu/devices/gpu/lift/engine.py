"""The lifted engine: executes dispatches as vector code of the host.

    engine = LiftedEngine(units=132)
    outcome = engine.run(dispatch, port.regions(), limit=1 << 32)

Results, faults and counts are those of the reference engine, which also executes the kernels that
are refused (decision 028 lists the reasons).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from ctypes import addressof, c_char
from functools import lru_cache
from math import prod

from emu.devices.gpu.dispatch import (
    GROUP_BASE,
    LANES,
    PRIVATE_BASE,
    BadDispatch,
    Counts,
    Dispatch,
    Extent,
    Fault,
    FaultCode,
    KernelObject,
    Outcome,
    Region,
)
from emu.devices.gpu.lift.driver import NO_ROOM
from emu.devices.gpu.lift.floating import Refused
from emu.devices.gpu.lift.kernel import Kernel, lift
from emu.devices.gpu.lift.runtime import GROUP, LOADED, SITE, STORED
from emu.devices.gpu.lift.world import Shapes
from emu.devices.gpu.simt import ReferenceEngine
from emu.devices.gpu.simt.memory import view_of

_KERNELS_MAX = 256
"""Kernels kept; when there are more, all are forgotten."""
_LIMIT_MAX = (1 << 62) - 1
REFERENCE_LIMIT = 1 << 24
"""Warp instructions that the watchdog allows a kernel that is refused: minutes of the host, where
the board's figure would be hours."""


class LiftedEngine:
    """Executes dispatches on a GPU of so many compute units."""

    def __init__(self, units: int = 1) -> None:
        self.units = units
        self.reference = ReferenceEngine(units)
        self._kernels: dict[tuple[int, bytes, Shapes], Kernel | None] = {}

    def run(self, dispatch: Dispatch, memory: Sequence[Region], limit: int) -> Outcome:
        """See `Engine.run`."""
        try:
            dispatch.check()
        except BadDispatch as bad:
            return Outcome(Fault(bad.code))
        code = _code(dispatch, memory)
        if code is None:
            return Outcome(Fault(FaultCode.BAD_KERNEL))
        kernel = self.kernel(dispatch, code)
        if kernel is None:
            return self.reference.run(dispatch, memory, min(limit, REFERENCE_LIMIT))
        outcome = _Run(kernel, dispatch, memory, limit, self.units).outcome()
        if outcome is None:
            kernel = self.kernel(dispatch, code, roomy=False)
            assert kernel is not None
            outcome = _Run(kernel, dispatch, memory, limit, self.units).outcome()
            assert outcome is not None
        return outcome

    def kernel(self, dispatch: Dispatch, code: bytes, *, roomy: bool = True) -> Kernel | None:
        """The lifted kernel of a dispatch, None if it is the reference engine's."""
        shapes = Shapes(_is_flat(dispatch), roomy)
        key = dispatch.kernel.entry, code, shapes
        if key not in self._kernels:
            if len(self._kernels) >= _KERNELS_MAX:
                self._kernels.clear()
            try:
                self._kernels[key] = lift(*key)
            except Refused:
                self._kernels[key] = None
        return self._kernels[key]


def _code(dispatch: Dispatch, memory: Sequence[Region]) -> bytes | None:
    """A copy of the kernel's instructions; None unless one region holds them all."""
    entry, size = dispatch.kernel.entry, dispatch.kernel.code_size
    for region in memory:
        base, length, _ = region
        if base <= entry and entry + size <= base + length:
            return bytes(view_of(region)[entry - base : entry - base + size])
    return None


def _is_flat(dispatch: Dispatch) -> bool:
    """Whether every warp's work-items lie in a row."""
    width, height, depth = dispatch.workgroup
    return width % LANES == 0 or height * depth == 1


class _Run:
    """One dispatch: its block of words, filled, and what is read out of it."""

    def __init__(
        self, kernel: Kernel, dispatch: Dispatch, memory: Sequence[Region], limit: int, units: int
    ) -> None:
        self.kernel, self.dispatch = kernel, dispatch
        self.limit = min(limit, _LIMIT_MAX)
        self.words = array("Q", bytes(8 * kernel.block.size))
        warps, private = dispatch.warps, dispatch.private_memory
        self._group = bytearray(dispatch.group_memory + 64)
        self._private = bytearray(private * LANES * warps + 64)
        self._saved = bytearray(kernel.saved_bytes * warps)
        self._ids = _ids(dispatch.workgroup)
        regions = [(base, size, host, 0) for base, size, host in memory]
        regions.append((GROUP_BASE, dispatch.group_memory, _address(self._group), 1))
        self._regions = array("Q", [word for region in regions for word in region])
        self._fill(units, len(regions))

    def _fill(self, units: int, regions: int) -> None:
        dispatch = self.dispatch
        groups = dispatch.groups
        named = {
            "kernarg": dispatch.kernarg, "stack_top": PRIVATE_BASE + dispatch.private_memory,
            "regions": self._regions.buffer_info()[0], "region_count": regions,
            "units": units, "group_warps": dispatch.warps, "items": prod(dispatch.workgroup),
            "ids": self._ids.buffer_info()[0],
            "groups": prod(groups), "groups_x": groups[0], "groups_y": groups[1],
            "group_bytes": dispatch.group_memory, "group_host": _address(self._group),
            "private_bytes": dispatch.private_memory, "private_host": _address(self._private),
            "left": self.limit, "saved_host": _address(self._saved),
        }  # fmt: skip
        for name, extent in (("group_size", dispatch.workgroup), ("grid_size", dispatch.grid)):
            named |= {f"{name}_{axis}": n for axis, n in zip("xyz", extent, strict=True)}
        for name, value in named.items():
            self.words[self.kernel.block.index[name]] = value

    def outcome(self) -> Outcome | None:
        """Execute it. None, with nothing done, if private memory is smaller than the kernel's
        stack."""
        failed = self.kernel.call(self.words.buffer_info()[0])
        if failed == NO_ROOM:
            return None
        return Outcome(self._fault() if failed else None, self._counts())

    def word(self, name: str, index: int = 0) -> int:
        return self.words[self.kernel.block.index[name] + index]

    def _fault(self) -> Fault:
        place = self.word("group_id_x"), self.word("group_id_y"), self.word("group_id_z")
        return Fault(
            FaultCode(_signed(self.word("fault_code"))), self.word("fault_address"),
            self.word("fault_pc"), place, self.word("warp_id") * LANES + self.word("fault_lane"),
        )  # fmt: skip

    def _counts(self) -> Counts:
        warp_instructions = self.limit - self.word("left")
        counters = [self.word("counts", i) for i in range(4)]
        for site in range(self.kernel.sites):
            counter, size = (
                self.word("sites", site * len(SITE) + SITE.index(n)) for n in ("counter", "bytes")
            )
            counters[counter] += size
        return Counts(
            warp_instructions=warp_instructions,
            lane_instructions=LANES * warp_instructions + _signed(self.word("extra")),
            bytes_loaded=counters[LOADED], bytes_stored=counters[STORED],
            group_bytes=counters[GROUP], barriers=self.word("barriers"),
        )  # fmt: skip


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _address(buffer: bytearray) -> int:
    """Where a buffer is, at a multiple of 64 unless it is empty."""
    start = addressof((c_char * len(buffer)).from_buffer(buffer)) if buffer else 0
    return -(-start // 64) * 64


@lru_cache(64)
def _ids(workgroup: Extent) -> array[int]:
    """For x, y and z, the place of every work-item in its group; beyond its end, any."""
    dispatch = Dispatch(KernelObject(0, 1), 0, workgroup, workgroup)
    items = range(dispatch.warps * LANES)
    return array("i", [dispatch.local_id(item)[axis] for axis in range(3) for item in items])
