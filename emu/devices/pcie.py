"""PCI Express: the host bridge with its configuration window (ECAM), and what a function is made
of.

The bridge owns three ranges of physical addresses: the ECAM, where function `f` of device `d` has
its configuration space at `d << 15 | f << 12`, and the 32-bit and 64-bit memory windows, in which
the guest places BARs; there is no firmware that does it first. Where no function answers, reads
give all ones and writes vanish, as on a real bus. INTx is routed as QEMU's virt machine does: pin
p of device d raises interrupt `(d + p - 1) % 4` of the bridge's four.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from emu.bus import Bus, Target
from emu.devices.device import Device
from emu.devices.line import Line
from emu.devices.pci_config import ConfigSpace, express_endpoint
from emu.errors import AiosError

DEVICES = 32
_BRIDGE_IDENTITY = (0x1B36, 0x0008, 0x060000, 0)  # QEMU's generic PCIe host bridge


class PciFunction(Device):
    """A device behind PCIe: the registers in its BAR 0 plus a configuration space.

    A subclass sets `IDENTITY` (vendor, device, class code, revision) and `BAR_SIZE`. It reaches
    memory by `dma_read` and `dma_write`, which fail until the guest has made it a bus master, and
    interrupts by `set_interrupt`.
    """

    IDENTITY: ClassVar[tuple[int, int, int, int]]
    BAR_SIZE: ClassVar[int] = 0x1000

    def __init__(self, name: str, bus: Bus) -> None:
        super().__init__(name)
        self._bus = bus
        self._bridge: HostBridge | None = None
        self._slot = 0
        self._interrupting = False
        self.bars: dict[int, tuple[int, Target]] = {0: (self.BAR_SIZE, self)}
        self.config = ConfigSpace(
            f"{name}.config",
            self.IDENTITY,
            {number: size for number, (size, _) in self.bars.items()},
            self._config_changed,
            capabilities=(express_endpoint(),),
        )

    def attach(self, bridge: HostBridge, slot: int) -> None:
        """Called by the bridge: the function is device number `slot`."""
        self._bridge, self._slot = bridge, slot

    def _config_changed(self) -> None:
        if self._bridge is not None:
            self._bridge.remap()
            self._drive()

    def _drive(self) -> None:
        if self._bridge is not None:
            raised = self._interrupting and not self.config.command.intx_disable
            self._bridge.drive(self._slot, raised)

    def set_interrupt(self, level: bool) -> None:
        """Raise or lower the function's INTx interrupt."""
        if level != self._interrupting:
            self._interrupting = level
            self.config.status.interrupt = int(level)
            self._drive()

    def dma_read(self, paddr: int, n: int) -> memoryview | None:
        """Guest memory itself, or None on a bad address or without bus mastering."""
        return self._bus.dma_read(paddr, n) if self.config.command.master else None

    def dma_write(self, paddr: int, data: bytes | bytearray | memoryview) -> bool:
        """Copy to guest memory; False on a bad address or without bus mastering."""
        return bool(self.config.command.master) and self._bus.dma_write(paddr, data)

    def reset(self) -> None:
        """As after power-on, configuration space included."""
        super().reset()
        self.config.reset()
        self.set_interrupt(False)

    def snapshot(self) -> dict[str, object]:
        """The BAR's registers and the configuration space."""
        return {**super().snapshot(), "config": self.config.snapshot()}

    def restore(self, saved: dict[str, object]) -> None:
        """Take over what `snapshot` gave, BAR placement included."""
        config = saved["config"]
        assert isinstance(config, dict)
        self.config.restore(config)
        super().restore(saved)
        self._config_changed()


class Window:
    """A range of physical addresses in which BARs lie; `base` is its first address, on the bus and
    in PCI memory space alike."""

    def __init__(self, name: str, base: int, size: int) -> None:
        self.name, self.base, self.size = name, base, size
        self.mapped: list[tuple[int, int, Target]] = []  # first offset, end, target

    def _find(self, offset: int, size: int) -> tuple[int, Target] | None:
        for start, end, target in self.mapped:
            if start <= offset and offset + size <= end:
                return offset - start, target
        return None

    def read(self, offset: int, size: int) -> int:
        """What the BAR there says; all ones where there is none."""
        hit = self._find(offset, size)
        return (1 << 8 * size) - 1 if hit is None else hit[1].read(hit[0], size)

    def write(self, offset: int, size: int, value: int) -> None:
        """Pass the write on to the BAR there, if there is one."""
        hit = self._find(offset, size)
        if hit is not None:
            hit[1].write(hit[0], size, value)

    def describe(self, write: bool, offset: int, size: int, value: int) -> str:
        """The access in the words of the function that it reaches."""
        hit = self._find(offset, size)
        return (
            "nothing"
            if hit is None
            else f"{hit[1].name} {hit[1].describe(write, hit[0], size, value)}"
        )


class HostBridge:
    """Device 0 on the bus, and the way to all others. `lines` are its four interrupts."""

    ECAM_SIZE = 0x1000_0000

    def __init__(self, windows: Sequence[Window], lines: Sequence[Line]) -> None:
        self.name = "pcie"
        self.windows, self._lines = windows, lines
        self.functions: dict[int, PciFunction] = {}
        self._raised: list[set[int]] = [set() for _ in lines]
        config = ConfigSpace("pcie.config", _BRIDGE_IDENTITY, {}, lambda: None, interrupt_pin=0)
        self._spaces: dict[int, ConfigSpace] = {0: config}

    def plug(self, function: PciFunction) -> int:
        """Give `function` the next free device number; returns it. At most 31 fit."""
        slot = len(self.functions) + 1
        if slot >= DEVICES:
            raise AiosError(
                f"{function.name} finds no free PCIe slot: the bus has {DEVICES - 1}, so choose a "
                "board with fewer devices."
            )
        self.functions[slot] = function
        self._spaces[slot << 3] = function.config
        function.attach(self, slot)
        return slot

    def remap(self) -> None:
        """A BAR or a decode bit changed: find out anew what lies in the windows."""
        for window in self.windows:
            window.mapped = []
        for function in self.functions.values():
            for number, (size, target) in function.bars.items():
                base = function.config.base(number)
                for window in self.windows:
                    if base is not None and window.base <= base:
                        start = base - window.base
                        if start + size <= window.size:
                            window.mapped.append((start, start + size, target))

    def drive(self, slot: int, level: bool) -> None:
        """The INTA pin of the device `slot` is raised or lowered; lines are shared."""
        number = slot % len(self._lines)
        raised = self._raised[number]
        (raised.add if level else raised.discard)(slot)
        self._lines[number].set(bool(raised))

    def read(self, offset: int, size: int) -> int:
        """Read configuration space; all ones where there is no function."""
        space = self._spaces.get(offset >> 12)
        return (1 << 8 * size) - 1 if space is None else space.read(offset & 0xFFF, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """Write configuration space."""
        space = self._spaces.get(offset >> 12)
        if space is not None:
            space.write(offset & 0xFFF, size, value)

    def describe(self, write: bool, offset: int, size: int, value: int) -> str:
        """The access in the words of the function's configuration space."""
        space = self._spaces.get(offset >> 12)
        where = f"{offset >> 15:02x}.{offset >> 12 & 7}"
        return f"{where} " + (
            "nothing" if space is None else space.describe(write, offset & 0xFFF, size, value)
        )

    def reset(self) -> None:
        """Reset every function."""
        for space in self._spaces.values():
            space.reset()
        for function in self.functions.values():
            function.reset()
        self.remap()
