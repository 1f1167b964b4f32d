"""virtio over MMIO (OASIS Virtual I/O Device specification 1.2), in the order in which a request
meets it: `registers` (what the driver sees, in the modern and the legacy layout), `transport` (the
device behind them: negotiation, queues, interrupts), `ring` (split virtqueues in guest memory),
`block` (what a disk does with the buffers it finds there) and `drives` (which host files are such
disks).
"""

from emu.devices.virtio.block import VirtioBlock
from emu.devices.virtio.drives import VirtioDrive
from emu.devices.virtio.transport import EmptySlot

__all__ = ["EmptySlot", "VirtioBlock", "VirtioDrive"]
