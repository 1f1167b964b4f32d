"""The platform: every device of a board, wired to the bus, the clock and the harts' interrupts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from emu import memory_map as at
from emu.board import Board
from emu.bus import Bus
from emu.clock import EventQueue
from emu.console import Console
from emu.devices.clint import Alarm, Clint
from emu.devices.device import Device
from emu.devices.finisher import Finisher
from emu.devices.gpu import Fabric, Gpu, default_engine
from emu.devices.htif import Finish, Htif
from emu.devices.line import KeptLine, Line
from emu.devices.nvme.backing import Backing
from emu.devices.nvme.drives import Drive, open_namespaces
from emu.devices.nvme.drives import controllers as group_drives
from emu.devices.pcie import HostBridge, PciFunction, Window
from emu.devices.plic import Plic
from emu.devices.rtc import Rtc
from emu.devices.system import System
from emu.devices.tpu import Tpu
from emu.devices.uart import Uart
from emu.devices.virtio import EmptySlot, VirtioBlock, VirtioDrive
from emu.errors import AiosError
from emu.plugins import NoParameters
from emu.trace import Trace

__all__ = ["Drive", "Hooks", "Platform", "VirtioDrive"]

NS_PER_SECOND = 1_000_000_000
M_SOFTWARE, S_TIMER, M_TIMER, S_EXTERNAL, M_EXTERNAL = 3, 5, 7, 9, 11
"""Bits of mip that devices drive."""


@dataclass(frozen=True)
class Hooks:
    """What the platform asks of the machine around it."""

    set_interrupt: Callable[[int, int, bool], None]
    """Drive bit `number` of the mip of a hart: (hart, number, level)."""
    finish: Finish
    restart: Callable[[], None]
    alarms: Sequence[Alarm]
    """The timers of the harts."""


class Platform:
    """All devices of a machine. `devices` lists them by name in the order of their creation; with
    `reference` the GPUs execute kernels by the reference engine; `symbols` are those of the program
    that the host knows (`emu.loader.HOST_SYMBOLS`)."""

    def __init__(
        self,
        board: Board,
        bus: Bus,
        events: EventQueue,
        console: Console,
        drives: Sequence[Drive | VirtioDrive],
        hooks: Hooks,
        trace: Trace | None,
        *,
        reference: bool = False,
        symbols: Mapping[str, int] | None = None,
    ) -> None:
        self._board, self._bus, self._trace = board, bus, trace
        self._reference = reference
        self._system = System(bus, events, trace)
        self._hooks = hooks
        self.lines: list[Line] = []
        """The lines to the harts."""
        harts = range(board.cpu.harts)
        external = ((M_EXTERNAL, "meip"), (S_EXTERNAL, "seip"))
        self.plic = Plic([self._line(h, *context) for h in harts for context in external])
        software = [self._line(h, M_SOFTWARE, "msip") for h in harts]
        timers = [self._line(h, M_TIMER, "mtip", hooks.alarms[h]) for h in harts]
        supervisor = [self._line(h, S_TIMER, "stip") for h in harts]
        self.clint = Clint(bus, events, software, timers, hooks.alarms, supervisor)
        self.uart = Uart(bus, events, self.plic.sources[at.UART_IRQ], console)
        self.rtc = Rtc(events, self.plic.sources[at.RTC_IRQ], _nanoseconds(board.rtc.epoch))
        self.finisher = Finisher(hooks.finish, hooks.restart)
        self.htif = self._htif(console, symbols or {})
        self.bridge = self._build_pcie()
        self.backings: list[Backing] = []
        try:
            self.virtio = self._virtio([d for d in drives if isinstance(d, VirtioDrive)])
            nvmes = self._nvmes([d for d in drives if isinstance(d, Drive)])
            functions = [*nvmes, *self._accelerators(), *self._plugins()]
        except BaseException:
            self.close()
            raise
        for function in functions:
            self.bridge.plug(function)
        self._map()
        core: list[Device] = [self.clint, self.plic, self.uart, self.rtc, self.finisher]
        found = [*core, *self.htif, *self.virtio, *functions]
        self.devices: dict[str, Device] = {}
        for device in found:
            if device.name in self.devices:
                self.close()
                raise AiosError(f"Two devices are called {device.name}; name the class otherwise.")
            self.devices[device.name] = device

    def _line(self, hart: int, number: int, name: str, keeper: Alarm | None = None) -> Line:
        """A line to the mip bit `number` of a hart, noted in `lines`; a `keeper` has its level."""

        def changed(level: bool) -> None:
            if self._trace is not None:
                self._trace.irq(name, level, hart)
            self._hooks.set_interrupt(hart, number, level)

        line = Line(changed) if keeper is None else KeptLine(changed, lambda: keeper.pending)
        self.lines.append(line)
        return self.lines[-1]

    def _build_pcie(self) -> HostBridge:
        high = at.pcie_memory_64(self._bus.memory.size)
        windows = [
            Window("pcie-io", at.PCIE_IO, at.PCIE_IO_SIZE),
            Window("pcie-mem32", at.PCIE_MEMORY_32, at.PCIE_MEMORY_32_SIZE),
            Window("pcie-mem64", high, at.PCIE_MEMORY_64_SIZE),
        ]
        return HostBridge(self._bus, windows, self.plic.sources[at.PCIE_IRQ : at.PCIE_IRQ + 4])

    def _htif(self, console: Console, symbols: Mapping[str, int]) -> list[Htif]:
        """The mailbox, if the program has one: what else is called `tohost` is no doubleword of
        RAM."""
        memory, events = self._bus.memory, self._system.events
        places = [symbols.get(name) for name in ("tohost", "fromhost")]
        tohost, fromhost = (at if at and memory.contains(at, 8) else None for at in places)
        if tohost is None:
            return []
        return [Htif(self._bus, events, console, self._hooks.finish, tohost, fromhost)]

    def _virtio(self, drives: Sequence[VirtioDrive]) -> list[VirtioBlock]:
        """The disks of the virtio slots, from the first one on."""
        if len(drives) > at.VIRTIO_SLOTS:
            raise AiosError(
                f"There are {at.VIRTIO_SLOTS} virtio slots, but {len(drives)} drives with "
                "if=virtio are given."
            )
        disks: list[VirtioBlock] = []
        for i, drive in enumerate(drives):
            backing = Backing(drive.path, readonly=drive.readonly)
            self.backings.append(backing)
            line = self.plic.sources[at.VIRTIO_IRQ + i]
            disks.append(
                VirtioBlock(f"virtio{i}", self._system, line, backing, legacy=drive.legacy)
            )
        return disks

    def _nvmes(self, drives: Sequence[Drive]) -> list[PciFunction]:
        board, controllers = self._board, group_drives(drives)
        if len(controllers) > board.nvme.slots:
            raise AiosError(
                f"The board {board.name} has {board.nvme.slots} NVMe slots, but {len(controllers)} "
                "drives are given."
            )
        functions: list[PciFunction] = []
        if not controllers:
            return functions
        from emu.devices.nvme import Nvme  # without drives there is nothing to import it for

        for i, numbered in enumerate(controllers):
            namespaces = open_namespaces(numbered, board.nvme.write_cache)
            self.backings += [namespace.backing for namespace in namespaces]
            functions.append(Nvme(f"nvme{i}", self._system, namespaces, board.nvme))
        return functions

    def _accelerators(self) -> list[PciFunction]:
        gpu, tpu = self._board.gpu, self._board.tpu
        fabric = Fabric(gpu.link_mb_s > 0)
        engine = default_engine(gpu.compute_units, reference=self._reference)
        gpus = [Gpu(f"gpu{i}", self._system, gpu, fabric, engine) for i in range(gpu.count)]
        tpus = [Tpu(f"tpu{i}", self._system, tpu) for i in range(tpu.count)]
        return [*gpus, *tpus]

    def _plugins(self) -> list[PciFunction]:
        """The board's further devices: `adder0`, `adder1`, by the names of their classes."""
        made: list[PciFunction] = []
        counts: Counter[str] = Counter()
        for entry in self._board.devices:
            name = entry.device.__name__.lower()
            for _ in range(entry.count):
                make: Callable[..., PciFunction] = entry.device
                own = () if isinstance(entry.parameters, NoParameters) else (entry.parameters,)
                made.append(make(f"{name}{counts[name]}", self._system, *own))
                counts[name] += 1
        return made

    def _map(self) -> None:
        bus = self._bus
        bus.map(at.FINISHER, Finisher.SIZE, self.finisher)
        bus.map(at.RTC, Rtc.SIZE, self.rtc)
        bus.map(at.CLINT, Clint.SIZE, self.clint)
        if self._trace is None:  # which wants to see every access
            for compare in self.clint.mtimecmp:
                compare.alarm.offer(at.CLINT + compare.at)
        bus.map(at.PLIC, Plic.SIZE, self.plic)
        bus.map(at.UART, Uart.SIZE, self.uart)
        for slot in range(at.VIRTIO_SLOTS):
            used = slot < len(self.virtio)
            device = self.virtio[slot] if used else EmptySlot(f"virtio{slot}")
            bus.map(at.VIRTIO + slot * at.VIRTIO_SIZE, at.VIRTIO_SIZE, device)
        bus.map(at.PCIE_ECAM, HostBridge.ECAM_SIZE, self.bridge)

    def reset(self) -> None:
        """Reset every device; the bridge resets its functions."""
        self.bridge.reset()
        for device in (
            *self.htif,
            *self.virtio,
            self.clint,
            self.uart,
            self.rtc,
            self.finisher,
            self.plic,
        ):
            device.reset()

    def cut_power(self) -> None:
        """The power fails for every device."""
        for device in self.devices.values():
            device.power_cut()

    def close(self) -> None:
        """Write drives out and release their files."""
        for backing in self.backings:
            backing.close()


def _nanoseconds(moment: datetime) -> int:
    """A date as the RTC counts: nanoseconds since 1970, UTC where no zone is given."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp()) * NS_PER_SECOND
