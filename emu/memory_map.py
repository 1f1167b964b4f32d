"""Where everything lies in physical memory, and who has which interrupt: as QEMU's virt machine."""

from __future__ import annotations

HARTS = 8
"""So many harts at most: the devices below have registers for these."""

BOOT_ROM, BOOT_ROM_SIZE = 0x1000, 0xF000
FINISHER = 0x10_0000
RTC = 0x10_1000
CLINT = 0x200_0000
PCIE_IO, PCIE_IO_SIZE = 0x300_0000, 0x1_0000
PLIC = 0xC00_0000
UART = 0x1000_0000
VIRTIO, VIRTIO_SIZE, VIRTIO_SLOTS = 0x1000_1000, 0x1000, 8
PCIE_ECAM = 0x3000_0000
PCIE_MEMORY_32, PCIE_MEMORY_32_SIZE = 0x4000_0000, 0x4000_0000
RAM = 0x8000_0000

VIRTIO_IRQ, UART_IRQ, RTC_IRQ, PCIE_IRQ = 1, 10, 11, 32
"""Of several slots (virtio) and lines (PCIe has four) the first one's; the others follow."""

PCIE_MEMORY_64_SIZE = 2 << 40  # eight GPUs with 128 GiB of BAR each, and room to align
_PCIE_MEMORY_64_ALIGNMENT = 1 << 40

_FDT_LIMIT = 3 << 30  # firmware of 32-bit habits must reach the device tree
_FDT_ALIGNMENT = 2 << 20


def pcie_memory_64(ram_size: int) -> int:
    """First address of the 64-bit PCIe window: behind RAM, aligned to 1 TiB."""
    return -(-(RAM + ram_size) // _PCIE_MEMORY_64_ALIGNMENT) * _PCIE_MEMORY_64_ALIGNMENT


def device_tree_address(ram_size: int, tree_size: int) -> int:
    """Where the device tree lies: near the top of RAM, below 3 GiB."""
    top = min(RAM + ram_size, _FDT_LIMIT)
    return (top - tree_size) // _FDT_ALIGNMENT * _FDT_ALIGNMENT
