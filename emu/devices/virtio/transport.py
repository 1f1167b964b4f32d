"""A virtio device over MMIO: what all kinds of it have in common.

A subclass says what it is (`DEVICE_ID`, `FEATURES`, its configuration as registers from 0x100 on)
and does the work: `duration_ps` and `serve` are called for one request at a time, in the order of
the queue. A driver's mistake in a queue stops the device until it is reset (DEVICE_NEEDS_RESET).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from emu.clock import PS_PER_NS
from emu.devices.device import Device, on_read, on_write, register
from emu.devices.dma import DmaPort
from emu.devices.line import Line
from emu.devices.system import System
from emu.devices.virtio import registers as at
from emu.devices.virtio.registers import LEGACY, MODERN, QUEUE_MAX, Status
from emu.devices.virtio.ring import Chain, Queue, Ring, RingError

CONFIG = 0x100
INDIRECT_DESC, EVENT_IDX, VERSION_1 = 1 << 28, 1 << 29, 1 << 32
_ANY_LAYOUT = 1 << 27  # legacy only: the modern layout always allows it
_NOTIFY_PS = 500 * PS_PER_NS  # from the doorbell to the look into the ring; no product's figure
_QUEUE_MASK = (1 << 32) - 1


class EmptySlot(Device):
    """A slot without a device: device number 0."""

    magic_value = register(at.MagicValue)
    version = register(at.Version)
    device_id = register(at.DeviceId)
    vendor_id = register(at.VendorId)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.version.version = MODERN


class VirtioMmio(Device, ABC):
    """One device in a slot; `legacy` chooses the layout of its registers."""

    DEVICE_ID: ClassVar[int]
    FEATURES: ClassVar[int] = 0
    QUEUES: ClassVar[int] = 1
    queues: list[Queue]
    _driver_features: int
    _busy: bool
    _broken: bool
    state = ("queues", "_driver_features", "_busy", "_broken")

    magic_value = register(at.MagicValue)
    version = register(at.Version)
    device_id = register(at.DeviceId)
    vendor_id = register(at.VendorId)
    device_features = register(at.DeviceFeatures)
    device_features_sel = register(at.DeviceFeaturesSel)
    driver_features = register(at.DriverFeatures)
    driver_features_sel = register(at.DriverFeaturesSel)
    guest_page_size = register(at.GuestPageSize)
    queue_sel = register(at.QueueSel)
    queue_num_max = register(at.QueueNumMax)
    queue_num = register(at.QueueNum)
    queue_align = register(at.QueueAlign)
    queue_pfn = register(at.QueuePfn)
    queue_ready = register(at.QueueReady)
    queue_notify = register(at.QueueNotify)
    interrupt_status = register(at.InterruptStatus)
    interrupt_ack = register(at.InterruptAck)
    status = register(at.Status)
    queue_desc = register(at.QueueDesc)
    queue_driver = register(at.QueueDriver)
    queue_device = register(at.QueueDevice)
    shm_length = register(at.ShmLength)
    config_generation = register(at.ConfigGeneration)

    def __init__(self, name: str, system: System, line: Line, *, legacy: bool = False) -> None:
        super().__init__(name, system.events)
        self.system, self._line, self.legacy = system, line, legacy
        self.dma = DmaPort(system.bus)
        self.reset()

    # --- what a kind of device says ---------------------------------------------------------------

    def offered(self) -> int:
        """The features that this device offers."""
        common = self.FEATURES | INDIRECT_DESC | EVENT_IDX
        return common | (_ANY_LAYOUT if self.legacy else VERSION_1)

    @abstractmethod
    def duration_ps(self, chain: Chain) -> int:
        """How long the request takes."""

    @abstractmethod
    def serve(self, chain: Chain) -> int:
        """Do what the request asks for; gives the number of bytes of its buffers that count as
        written. Raises RingError when it is no request at all."""

    def negotiated(self, feature: int) -> bool:
        """Whether both sides have agreed on the feature (a mask)."""
        return bool(self._driver_features & self.offered() & feature)

    # --- negotiation ------------------------------------------------------------------------------

    @on_read(device_features)
    def _show_features(self) -> int:
        word = self.device_features_sel.value
        return self.offered() >> 32 * word & 0xFFFF_FFFF if word < 2 else 0

    @on_write(driver_features)
    def _accept_features(self, value: int, old: int) -> None:
        word = self.driver_features_sel.value
        if word < 2 and not self.status.features_ok:
            kept = self._driver_features & ~(0xFFFF_FFFF << 32 * word)
            self._driver_features = kept | value << 32 * word

    @on_write(status)
    def _set_status(self, value: int, old: int) -> None:
        if not value:
            self.reset()
        elif self.status.features_ok and not old & Status.features_ok.mask:
            # A driver should accept VERSION_1, but teaching systems never look beyond bit 31.
            self.status.features_ok = int(not self._driver_features & ~self.offered())

    # --- queues -----------------------------------------------------------------------------------

    def _selected(self) -> Queue | None:
        number = self.queue_sel.value
        return self.queues[number] if number < len(self.queues) else None

    @on_read(queue_num_max)
    def _largest(self) -> int:
        return QUEUE_MAX if self._selected() is not None else 0

    @on_write(queue_num)
    def _set_size(self, value: int, old: int) -> None:
        queue = self._selected()
        if queue is not None and 0 < value <= QUEUE_MAX and not value & (value - 1):
            queue.size = value if not queue.ready else queue.size

    @on_write(queue_pfn)
    def _set_page(self, value: int, old: int) -> None:
        queue = self._selected()
        if not value:
            self.reset()
        elif queue is not None and queue.size:
            align = max(1, self.queue_align.value)
            queue.descriptors = value * self.guest_page_size.value
            queue.available = queue.descriptors + 16 * queue.size
            end = queue.available + 4 + 2 * queue.size + 2
            queue.used = -(-end // align) * align
            queue.ready = True

    @on_read(queue_pfn)
    def _page(self) -> int:
        queue = self._selected()
        if queue is None or not queue.ready:
            return 0
        return queue.descriptors // max(1, self.guest_page_size.value) & 0xFFFF_FFFF

    @on_write(queue_ready)
    def _set_ready(self, value: int, old: int) -> None:
        queue = self._selected()
        if queue is None:
            return
        if self.queue_ready.ready and not queue.ready and queue.size:
            queue.descriptors = self.queue_desc.value
            queue.available = self.queue_driver.value
            queue.used = self.queue_device.value
            queue.taken = queue.given = 0
        queue.ready = bool(self.queue_ready.ready and queue.size)

    @on_read(queue_ready)
    def _is_ready(self) -> int:
        queue = self._selected()
        return int(queue is not None and queue.ready)

    def _ring(self, queue: Queue) -> Ring:
        indirect, events = self.negotiated(INDIRECT_DESC), self.negotiated(EVENT_IDX)
        return Ring(self.dma, queue, indirect=indirect, events=events)

    # --- requests -----------------------------------------------------------------------------

    @on_write(queue_notify)
    def _notify(self, value: int, old: int) -> None:
        number = value & _QUEUE_MASK
        if number < len(self.queues) and self.status.driver_ok and not self._busy:
            self._busy = True
            self.after(_NOTIFY_PS, self._look, number)

    def _look(self, number: int) -> None:
        """Take the next request, if there is one, and decide when it is done."""
        self._busy = False
        queue = self.queues[number]
        if self._broken or not queue.ready:
            return
        ring = self._ring(queue)
        try:
            head = ring.take()
            if head is None:
                return
            duration = self.duration_ps(ring.chain(head))
        except RingError as error:
            self._fail(error)
            return
        self._busy = True
        self.after(duration, self._finish, number, head)

    def _finish(self, number: int, head: int) -> None:
        """The time of a request has come. Its descriptors are read anew: what they say now counts,
        and nothing that was noted before can have changed under way."""
        queue = self.queues[number]
        if not queue.ready:
            self._busy = False
            return
        ring = self._ring(queue)
        try:
            written = self.serve(ring.chain(head))
            interrupt = ring.give(head, written)
        except RingError as error:
            self._fail(error)
            return
        if interrupt:
            self.interrupt_status.used = 1
            self._drive()
        self._look(number)

    def _fail(self, error: RingError) -> None:
        """Stop until the driver resets the device."""
        self._broken, self._busy = True, False
        self.status.needs_reset = 1
        if self.status.driver_ok:
            self.interrupt_status.config = 1
            self._drive()
        if self.system.trace is not None:
            self.system.trace.event(self.name, "needs reset", why=str(error))

    # --- interrupts, reset --------------------------------------------------------------------

    @on_write(interrupt_ack)
    def _acknowledge(self, value: int, old: int) -> None:
        self.interrupt_status.value &= ~value
        self._drive()

    def _drive(self) -> None:
        self._line.set(bool(self.interrupt_status.value))

    def reset(self) -> None:
        """As after power-on: no queue, nothing negotiated, nothing under way."""
        super().reset()
        self.select_bank(LEGACY if self.legacy else MODERN)
        self.version.version = LEGACY if self.legacy else MODERN
        self.device_id.device = self.DEVICE_ID
        self.queues = [Queue() for _ in range(self.QUEUES)]
        self._driver_features = 0
        self._busy = self._broken = False
        self._drive()
