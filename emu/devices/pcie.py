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
from typing import Any, ClassVar

from emu.bus import Bus, Region, Target
from emu.clock import PS_PER_NS
from emu.devices.device import Device
from emu.devices.dma import DmaPort
from emu.devices.line import Line
from emu.devices.memory import DeviceMemory
from emu.devices.msix import BAR_SIZE as MSIX_BAR_SIZE
from emu.devices.msix import TABLE_BAR, Msix
from emu.devices.pci_capabilities import Express
from emu.devices.pci_config import ConfigSpace
from emu.devices.system import System
from emu.errors import AiosError

DEVICES = 32
_BRIDGE_IDENTITY = (0x1B36, 0x0008, 0x060000, 0)  # QEMU's generic PCIe host bridge
_MESSAGE_PS = 250 * PS_PER_NS  # an MSI-X message on its way; half a round trip, no product's figure


class PciFunction(Device):
    """A device behind PCIe: the registers in its BAR 0 plus a configuration space.

    A subclass sets `IDENTITY` (vendor, device, class code, revision), `BAR_SIZE`, and
    `MSIX_VECTORS` if it has MSI-X, whose table then lies in BAR 4; `add_bar` gives it more BARs. It
    reaches memory by `dma`, which is closed until the guest has made it a bus master, and
    interrupts by `set_interrupt` (INTx) or `signal` (MSI-X).
    """

    IDENTITY: ClassVar[tuple[int, int, int, int]]
    BAR_SIZE: ClassVar[int] = 0x1000
    MSIX_VECTORS: ClassVar[int] = 0

    def __init__(self, name: str, system: System) -> None:
        super().__init__(name, system.events)
        self.system = system
        self.config = ConfigSpace(f"{name}.config", self.IDENTITY, self._config_changed)
        self.dma = DmaPort(system.bus, lambda: bool(self.config.command.master))
        self.bars: dict[int, tuple[int, Target]] = {}
        self.msix: Msix | None = None
        self._bridge: HostBridge | None = None
        self._slot = 0
        self._interrupting = False
        self.add_bar(0, self.BAR_SIZE, self)
        self.config.add_capability(Express(self.reset))
        if self.MSIX_VECTORS:
            self.msix = Msix(name, self.MSIX_VECTORS, self._send)
            self.msix.changed = self._drive
            self.config.add_capability(self.msix)
            self.add_bar(TABLE_BAR, MSIX_BAR_SIZE, self.msix.table)

    def add_bar(self, number: int, size: int, target: Target) -> None:
        """Show `target`, a block of registers or a `DeviceMemory`, behind the 64-bit BAR `number`
        (0, 2, 4) of `size` bytes, a power of two of at least 4 KiB; ValueError if that cannot be.
        To be called in the constructor. What lies behind a memory's own size answers nothing."""
        is_memory = isinstance(target, DeviceMemory)
        if isinstance(target, DeviceMemory) and target.size > size:
            raise ValueError(
                f"{target.name} with {target.size:#x} bytes does not fit behind a BAR of {size:#x}."
            )
        self.config.add_bar(number, size, prefetchable=is_memory)
        self.bars[number] = size, target

    def attach(self, bridge: HostBridge, slot: int) -> None:
        """Called by the bridge: the function is device number `slot`."""
        self._bridge, self._slot = bridge, slot

    def _config_changed(self) -> None:
        if self._bridge is not None:
            self._bridge.remap()
            self._drive()

    # --- interrupts ---------------------------------------------------------------------------

    @property
    def msix_enabled(self) -> bool:
        """Whether interrupts go by MSI-X: `signal` does something, INTx is silent."""
        return self.msix is not None and self.msix.enabled

    def _drive(self) -> None:
        if self._bridge is not None:
            silent = self.config.command.intx_disable or self.msix_enabled
            self._bridge.drive(self._slot, self._interrupting and not silent)

    def set_interrupt(self, level: bool) -> None:
        """Raise or lower the function's INTx interrupt."""
        if level != self._interrupting:
            self._interrupting = level
            self.config.status.interrupt = int(level)
            self._drive()

    def signal(self, vector: int) -> None:
        """Send the MSI-X message of `vector`, or keep it pending while it is masked. Does nothing
        while MSI-X is off, and for a vector that does not exist: the guest may have chosen it."""
        if self.msix is not None and self.msix.enabled and 0 <= vector < self.MSIX_VECTORS:
            self.msix.table.signal(vector)

    def _send(self, address: int, data: int) -> None:
        # Later, not now: a message may go to a register whose write makes a device signal again.
        self.after(_MESSAGE_PS, self._deliver, address, data)

    def _deliver(self, address: int, data: int) -> None:
        if self.config.command.master:
            arrived = self.system.bus.post(address, data)
            if self.system.trace is not None:
                self.system.trace.event(
                    self.name, "msix", address=address, data=data, arrived=arrived
                )

    # --- as a whole -----------------------------------------------------------------------------

    def reset(self) -> None:
        """As after power-on, configuration space included."""
        super().reset()
        self.config.reset()
        self.set_interrupt(False)
        self._config_changed()

    def _parts(self) -> dict[int, Any]:
        """What lies behind further BARs and is not the capability's own."""
        own = (self, self.msix.table if self.msix is not None else None)
        targets = {number: target for number, (_, target) in self.bars.items()}
        return {n: t for n, t in targets.items() if t not in own and hasattr(t, "snapshot")}

    def snapshot(self) -> dict[str, Any]:
        """The registers of all BARs, the configuration space, the contents of device memory."""
        parts = {number: part.snapshot() for number, part in self._parts().items()}
        return {
            **super().snapshot(),
            "config": self.config.snapshot(),
            "parts": parts,
            "interrupting": self._interrupting,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave, BAR placement included."""
        self.config.restore(saved["config"])
        super().restore(saved)
        for number, part in self._parts().items():
            part.restore(saved["parts"][number])
        self._interrupting = saved["interrupting"]
        self._config_changed()


class Window:
    """A range of physical addresses in which BARs lie; `base` is its first address, on the bus and
    in PCI memory space alike. As a target it is what answers where no BAR does."""

    def __init__(self, name: str, base: int, size: int) -> None:
        self.name, self.base, self.size = name, base, size

    def read(self, offset: int, size: int) -> int:
        """All ones."""
        return (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """Vanishes."""

    def describe(self, write: bool, offset: int, size: int, value: int) -> str:
        """Nobody answers."""
        return "nothing"


class HostBridge:
    """Device 0 on the bus, and the way to all others. It maps its windows; `lines` are its four
    interrupts."""

    ECAM_SIZE = 0x1000_0000

    def __init__(self, bus: Bus, windows: Sequence[Window], lines: Sequence[Line]) -> None:
        self.name = "pcie"
        self._bus, self.windows, self._lines = bus, windows, lines
        self.functions: dict[int, PciFunction] = {}
        self._raised: list[set[int]] = [set() for _ in lines]
        config = ConfigSpace("pcie.config", _BRIDGE_IDENTITY, lambda: None, interrupt_pin=0)
        self._spaces: dict[int, ConfigSpace] = {0: config}
        for window in windows:
            bus.map(window.base, window.size, window)

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
        """A BAR or a decode bit may have changed: find out anew what lies in the windows. Where
        BARs overlap, the lower device number answers, and of one device the lower BAR."""
        placed = [
            region
            for function in self.functions.values()
            for number in sorted(function.bars)
            if (region := self._region(function, number)) is not None
        ]
        self._bus.overlay(placed)

    def _region(self, function: PciFunction, number: int) -> Region | None:
        """Where the BAR `number` answers; None unless it lies wholly in a window."""
        size, target = function.bars[number]
        base = function.config.base(number)
        inside = base is not None and any(
            w.base <= base and base + size <= w.base + w.size for w in self.windows
        )
        if isinstance(target, DeviceMemory):
            target.base = base if inside else None
            size = target.size
        return Region(base, size, target) if inside and base is not None else None

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

    def snapshot(self) -> dict[str, Any]:
        """The bridge's own configuration and the pins that are raised; functions have their own."""
        return {
            "config": self._spaces[0].snapshot(),
            "raised": [set(slots) for slots in self._raised],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave. Lines are restored with what listens to them."""
        self._spaces[0].restore(saved["config"])
        self._raised = [set(slots) for slots in saved["raised"]]

    def reset(self) -> None:
        """Reset every function."""
        for space in self._spaces.values():
            space.reset()
        for function in self.functions.values():
            function.reset()
        self.remap()
