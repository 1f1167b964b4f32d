"""The device tree of a machine: the names and properties of QEMU's virt machine, our ISA string.

Only what cannot be asked for otherwise stands here: PCIe functions are found in configuration
space.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu import memory_map as at
from emu.clock import TIMEBASE_HZ
from emu.devices.clint import Clint
from emu.devices.finisher import PASS, RESET, Finisher
from emu.devices.pcie import HostBridge
from emu.devices.plic import SOURCES, Plic
from emu.devices.rtc import Rtc
from emu.devices.uart import Uart
from emu.fdt import Node, cells64, flatten

ISA_EXTENSIONS = (
    *("i", "m", "a", "f", "d", "c", "zicsr", "zifencei", "zicntr"),
    *("zba", "zbb", "zbs", "sstc", "xaitensor"),
)
_SINGLE = [name for name in ISA_EXTENSIONS if len(name) == 1]
_LONG = [name for name in ISA_EXTENSIONS if len(name) > 1]
ISA = "_".join(["rv64" + "".join(_SINGLE), *_LONG])

_M_SOFTWARE, _M_TIMER, _S_EXTERNAL, _M_EXTERNAL = 3, 7, 9, 11
_UART_CLOCK_HZ = 3_686_400
_PCI_IO, _PCI_MEMORY_32, _PCI_MEMORY_64 = 0x0100_0000, 0x0200_0000, 0x0300_0000
_DEVICES_IN_MAP, _PINS = 4, 4  # the interrupt map repeats after four device numbers


@dataclass(frozen=True)
class _Handles:
    """The phandles of a tree with so many harts, in QEMU's order: the last hart comes first."""

    harts: int

    def cpu(self, hart: int) -> int:
        return 2 * (self.harts - hart) - 1

    def intc(self, hart: int) -> int:
        return 2 * (self.harts - hart)

    @property
    def plic(self) -> int:
        return 2 * self.harts + 1

    @property
    def test(self) -> int:
        return 2 * self.harts + 2

    def lines(self, *numbers: int) -> list[int]:
        """The interrupts of these numbers of every hart, as `interrupts-extended` has them."""
        return [
            cell
            for hart in range(self.harts)
            for number in numbers
            for cell in (self.intc(hart), number)
        ]


def build(
    ram_size: int,
    bootargs: str,
    kernel_range: tuple[int, int] | None = None,
    harts: int = 1,
    initrd_range: tuple[int, int] | None = None,
) -> bytes:
    """The flattened tree. The ranges, first address and the one behind the last, are where a kernel
    for the firmware to start lies, and where its first file system does."""
    handles = _Handles(harts)
    root = Node("")
    root["#address-cells"] = root["#size-cells"] = 2
    root["compatible"], root["model"] = "riscv-virtio", "aios,virt"
    _chosen(root, bootargs, kernel_range, initrd_range)
    _power(root, handles)
    memory = root.add(f"memory@{at.RAM:x}")
    memory["device_type"], memory["reg"] = "memory", cells64(at.RAM, ram_size)
    _cpus(root, handles)
    soc = root.add("soc")
    soc["#address-cells"] = soc["#size-cells"] = 2
    soc["compatible"], soc["ranges"] = "simple-bus", None
    _low_speed(soc, handles)
    _virtio(soc, handles)
    _pcie(soc, ram_size, handles)
    _interrupts(soc, handles)
    return flatten(root)


def _chosen(
    root: Node,
    bootargs: str,
    kernel_range: tuple[int, int] | None,
    initrd_range: tuple[int, int] | None,
) -> None:
    chosen = root.add("chosen")
    chosen["stdout-path"] = f"/soc/serial@{at.UART:x}"
    if bootargs:
        chosen["bootargs"] = bootargs
    if kernel_range is not None:
        chosen["riscv,kernel-start"] = cells64(kernel_range[0])
        chosen["riscv,kernel-end"] = cells64(kernel_range[1])
    if initrd_range is not None:
        chosen["linux,initrd-start"] = cells64(initrd_range[0])
        chosen["linux,initrd-end"] = cells64(initrd_range[1])


def _power(root: Node, handles: _Handles) -> None:
    for name, value in (("poweroff", PASS), ("reboot", RESET)):
        node = root.add(name)
        node["value"], node["offset"], node["regmap"] = value, 0, handles.test
        node["compatible"] = f"syscon-{name}"


def _cpus(root: Node, handles: _Handles) -> None:
    cpus = root.add("cpus")
    cpus["#address-cells"], cpus["#size-cells"] = 1, 0
    cpus["timebase-frequency"] = TIMEBASE_HZ
    for hart in range(handles.harts):
        _cpu(cpus, hart, handles)
    cluster = cpus.add("cpu-map").add("cluster0")
    for hart in range(handles.harts):
        cluster.add(f"core{hart}")["cpu"] = handles.cpu(hart)


def _cpu(cpus: Node, hart: int, handles: _Handles) -> None:
    cpu = cpus.add(f"cpu@{hart:x}")
    cpu["phandle"], cpu["device_type"], cpu["reg"] = handles.cpu(hart), "cpu", hart
    cpu["status"], cpu["compatible"] = "okay", "riscv"
    cpu["riscv,isa"], cpu["riscv,isa-base"] = ISA, "rv64i"
    cpu["riscv,isa-extensions"] = list(ISA_EXTENSIONS)
    cpu["mmu-type"] = "riscv,sv48"
    intc = cpu.add("interrupt-controller")
    intc["#interrupt-cells"], intc["interrupt-controller"] = 1, None
    intc["compatible"], intc["phandle"] = "riscv,cpu-intc", handles.intc(hart)


def _device(soc: Node, name: str, base: int, size: int, compatible: str | list[str]) -> Node:
    node = soc.add(f"{name}@{base:x}")
    node["reg"], node["compatible"] = cells64(base, size), compatible
    return node


def _low_speed(soc: Node, handles: _Handles) -> None:
    rtc = _device(soc, "rtc", at.RTC, Rtc.SIZE, "google,goldfish-rtc")
    rtc["interrupts"], rtc["interrupt-parent"] = at.RTC_IRQ, handles.plic
    uart = _device(soc, "serial", at.UART, Uart.SIZE, "ns16550a")
    uart["interrupts"], uart["interrupt-parent"] = at.UART_IRQ, handles.plic
    uart["clock-frequency"] = _UART_CLOCK_HZ
    names = ["sifive,test1", "sifive,test0", "syscon"]
    test = _device(soc, "test", at.FINISHER, Finisher.SIZE, names)
    test["phandle"] = handles.test


def _virtio(soc: Node, handles: _Handles) -> None:
    for slot in range(at.VIRTIO_SLOTS):
        base = at.VIRTIO + slot * at.VIRTIO_SIZE
        node = _device(soc, "virtio_mmio", base, at.VIRTIO_SIZE, "virtio,mmio")
        node["interrupts"], node["interrupt-parent"] = at.VIRTIO_IRQ + slot, handles.plic


def _pcie(soc: Node, ram_size: int, handles: _Handles) -> None:
    pci = _device(soc, "pci", at.PCIE_ECAM, HostBridge.ECAM_SIZE, "pci-host-ecam-generic")
    pci["device_type"], pci["dma-coherent"], pci["linux,pci-domain"] = "pci", None, 0
    pci["#address-cells"], pci["#size-cells"], pci["#interrupt-cells"] = 3, 2, 1
    pci["bus-range"] = [0, 255]
    high = at.pcie_memory_64(ram_size)
    ranges = [_PCI_IO, *cells64(0, at.PCIE_IO, at.PCIE_IO_SIZE)]
    low = at.PCIE_MEMORY_32
    ranges += [_PCI_MEMORY_32, *cells64(low, low, at.PCIE_MEMORY_32_SIZE)]
    ranges += [_PCI_MEMORY_64, *cells64(high, high, at.PCIE_MEMORY_64_SIZE)]
    pci["ranges"] = ranges
    pci["interrupt-map-mask"] = [(_DEVICES_IN_MAP - 1) << 11, 0, 0, 7]
    pci["interrupt-map"] = [
        cell
        for device in range(_DEVICES_IN_MAP)
        for pin in range(_PINS)
        for cell in (
            *(device << 11, 0, 0, pin + 1),
            *(handles.plic, at.PCIE_IRQ + (device + pin) % _PINS),
        )
    ]


def _interrupts(soc: Node, handles: _Handles) -> None:
    plic = _device(soc, "plic", at.PLIC, Plic.SIZE, ["sifive,plic-1.0.0", "riscv,plic0"])
    plic["phandle"], plic["riscv,ndev"] = handles.plic, SOURCES
    plic["interrupt-controller"] = None
    plic["#address-cells"], plic["#interrupt-cells"] = 0, 1
    plic["interrupts-extended"] = handles.lines(_M_EXTERNAL, _S_EXTERNAL)
    clint = _device(soc, "clint", at.CLINT, Clint.SIZE, ["sifive,clint0", "riscv,clint0"])
    clint["interrupts-extended"] = handles.lines(_M_SOFTWARE, _M_TIMER)
