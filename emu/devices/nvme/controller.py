"""The controller: enabling, doorbells, fetching commands, completing them, interrupts.

A doorbell schedules a fetch; every fetched command gets the time at which it will be done, and is
executed then, as a whole. What the guest can get wrong ends in a status, in an asynchronous
event, or in CSTS.CFS; never in an exception.
"""

from __future__ import annotations

from emu.clock import PS_PER_NS, Event
from emu.devices.device import on_read, on_write, register, register_array
from emu.devices.nvme import prp
from emu.devices.nvme.admin import ASYNCHRONOUS_EVENT_REQUEST, Admin
from emu.devices.nvme.backing import Backing
from emu.devices.nvme.command import ENTRY_BYTES, Command, parse
from emu.devices.nvme.events import (
    ERROR,
    INVALID_DOORBELL,
    INVALID_DOORBELL_VALUE,
    AsynchronousEvents,
)
from emu.devices.nvme.features import Features
from emu.devices.nvme.io import Io
from emu.devices.nvme.logs import Logs
from emu.devices.nvme.queues import Completion, CompletionQueue, SubmissionQueue
from emu.devices.nvme.registers import (
    Acq,
    Aqa,
    Asq,
    Cap,
    Cc,
    Cqhdbl,
    Csts,
    Intmc,
    Intms,
    Sqtdbl,
    Vs,
)
from emu.devices.nvme.status import CommandError, Status
from emu.devices.nvme.timing import Timing
from emu.devices.pcie import PciFunction
from emu.devices.system import System

_FETCH_PS = 500 * PS_PER_NS  # a round trip over PCIe to fetch an entry; no product's figure
_SHUTDOWN_COMPLETE = 2


class Nvme(PciFunction, prefix="NVME"):
    """An NVMe drive with one namespace in `backing`, as fast as `timing` says."""

    IDENTITY = (0x1B36, 0x0010, 0x010802, 2)
    BAR_SIZE = 0x4000

    cap = register(Cap)
    vs = register(Vs)
    intms = register(Intms)
    intmc = register(Intmc)
    cc = register(Cc)
    csts = register(Csts)
    aqa = register(Aqa)
    asq = register(Asq)
    acq = register(Acq)
    sqtdbl = register_array(Sqtdbl)
    cqhdbl = register_array(Cqhdbl)

    def __init__(self, name: str, system: System, backing: Backing, timing: Timing) -> None:
        super().__init__(name, system)
        self.backing, self.timing = backing, timing
        self.serial = f"AIOS-{name.upper()}"
        self.submission_queues: dict[int, SubmissionQueue] = {}
        self.completion_queues: dict[int, CompletionQueue] = {}
        self.features, self.logs = Features(), Logs()
        self.asynchronous = AsynchronousEvents(self._complete_event)
        self.admin, self.io = Admin(self), Io(self)
        self._in_flight: dict[tuple[int, int], Event] = {}
        self._enabling: Event | None = None

    @property
    def page(self) -> int:
        """The memory page size that the guest has chosen, in bytes."""
        return 4096 << self.cc.mps

    # --- enabling and disabling -------------------------------------------------------------

    @on_write(cc)
    def _configure(self, value: int, old: int) -> None:
        was_enabled = old & Cc.en.mask
        if self.cc.en and not was_enabled:
            self._enabling = self.events.after(self.timing.enable_ps, self._enable)
        elif was_enabled and not self.cc.en:
            self._disable()
        if self.cc.shn and not Cc.shn.of(old):
            self._shut_down()
        elif not self.cc.shn:
            self.csts.shst = 0

    def _enable(self) -> None:
        """The time to become ready has passed: be it, or fail if the settings are impossible."""
        self._enabling = None
        misaligned = self.asq.value % self.page or self.acq.value % self.page
        sizes_fit = self.aqa.asqs and self.aqa.acqs
        unsupported = self.cc.css or self.cc.ams or self.cc.mps > self.cap.mpsmax
        if misaligned or not sizes_fit or unsupported:
            self._fail()
            return
        acq = CompletionQueue(0, self.acq.value, self.aqa.acqs + 1, interrupts=True)
        self.completion_queues[0] = acq
        self.submission_queues[0] = SubmissionQueue(0, self.asq.value, self.aqa.asqs + 1, cqid=0)
        self.csts.rdy = 1

    def _disable(self) -> None:
        """Controller reset: queues and features go, the admin queue registers stay."""
        if self._enabling is not None:
            self._enabling.cancel()
            self._enabling = None
        for event in self._in_flight.values():
            event.cancel()
        self._in_flight.clear()
        self.submission_queues.clear()
        self.completion_queues.clear()
        self.asynchronous.clear()
        self.features.reset()
        self.csts.value = 0
        self._set_mask(0)

    def _shut_down(self) -> None:
        try:
            self.backing.flush()
        except OSError:
            self._fail()
        self.csts.shst = _SHUTDOWN_COMPLETE

    def _fail(self) -> None:
        self.csts.cfs = 1

    def reset(self) -> None:
        """Power-on reset; what was written to the drive stays."""
        self._disable()
        super().reset()

    def has_io_queues(self) -> bool:
        """Whether a queue other than the admin queues exists."""
        return len(self.submission_queues) > 1 or len(self.completion_queues) > 1

    # --- doorbells and fetching -------------------------------------------------------------

    @on_write(sqtdbl)
    def _ring_tail(self, index: int, value: int, old: int) -> None:
        tail = self.sqtdbl[index].sqt
        if not self._running():
            return
        queue = self.submission_queues.get(index)
        if queue is None:
            self.asynchronous.report(ERROR, INVALID_DOORBELL)
        elif tail >= queue.size:
            self.asynchronous.report(ERROR, INVALID_DOORBELL_VALUE)
        else:
            queue.tail = tail
            self._fetch_later(queue)

    def _running(self) -> bool:
        return bool(self.csts.rdy) and not self.csts.cfs

    def _fetch_later(self, queue: SubmissionQueue) -> None:
        if not queue.fetching and queue.head != queue.tail:
            queue.fetching = True
            self.events.after(_FETCH_PS, lambda: self._fetch(queue))

    def _fetch(self, queue: SubmissionQueue) -> None:
        """Take every command that is in the queue now."""
        queue.fetching = False
        while queue.head != queue.tail:
            if self.submission_queues.get(queue.qid) is not queue or not self._running():
                return
            entry = self.dma.view(queue.base + queue.head * ENTRY_BYTES, ENTRY_BYTES)
            if entry is None:
                self._fail()
                return
            queue.advance()
            self._start(queue, parse(bytes(entry)))

    def _start(self, queue: SubmissionQueue, command: Command) -> None:
        """Decide when a fetched command will be done."""
        key = queue.qid, command.cid
        now = self.events.clock.now_ps
        if key in self._in_flight:
            self._complete(queue, command, Status.ID_CONFLICT, 0)
        elif queue.qid == 0 and command.opcode == ASYNCHRONOUS_EVENT_REQUEST:
            try:
                self.asynchronous.request(command.cid)
            except CommandError as error:
                self._complete(queue, command, error.status, 0)
        else:
            done = self.timing.admin(now) if queue.qid == 0 else self.io.done_at(command, now)
            finish = self.events.schedule(done, lambda: self._finish(queue, command))
            self._in_flight[key] = finish

    def _finish(self, queue: SubmissionQueue, command: Command) -> None:
        """The time of a command has come: execute it and report."""
        del self._in_flight[queue.qid, command.cid]
        handlers = self.io.handlers if queue.qid else self.admin.handlers
        handler = handlers.get(command.opcode)
        status, result = Status.SUCCESS, 0
        try:
            if handler is None:
                raise CommandError(Status.INVALID_OPCODE)
            if not command.plain:
                raise CommandError(Status.INVALID_FIELD)
            result = handler(command)
        except CommandError as error:
            status = error.status
        self._complete(queue, command, status, result)

    def abort(self, sqid: int, cid: int) -> bool:
        """Abort the command `cid` of the queue `sqid` if it is under way; whether it was."""
        queue = self.submission_queues.get(sqid)
        if queue is None:
            return False
        event = self._in_flight.pop((sqid, cid), None)
        if event is not None:
            event.cancel()
        elif sqid != 0 or not self.asynchronous.withdraw(cid):
            return False
        self._post(queue, cid, Status.ABORT_REQUESTED, 0)
        return True

    def abort_all(self, sqid: int) -> None:
        """The queue `sqid` goes: end its commands."""
        queue = self.submission_queues[sqid]
        for key in [key for key in self._in_flight if key[0] == sqid]:
            self._in_flight.pop(key).cancel()
            self._post(queue, key[1], Status.ABORTED_QUEUE_DELETED, 0)

    # --- data --------------------------------------------------------------------------------

    def data(self, command: Command, n: int) -> list[memoryview]:
        """The `n` bytes of the command's data, in guest memory; raises CommandError."""
        return prp.regions(self.dma.view, command.prp1, command.prp2, n, self.page)

    def put(self, command: Command, data: bytes) -> None:
        """Return `data` to where the command wants it; raises CommandError."""
        done = 0
        for view in self.data(command, len(data)):
            view[:] = data[done : done + len(view)]
            done += len(view)

    # --- completing and interrupts -------------------------------------------------------------

    def _complete(
        self, queue: SubmissionQueue, command: Command, status: Status, result: int
    ) -> None:
        if status is not Status.SUCCESS:
            self.logs.note_error(queue.qid, command, status)
        self._post(queue, command.cid, status, result)

    def _complete_event(self, cid: int, result: int) -> None:
        self._post(self.submission_queues[0], cid, Status.SUCCESS, result)

    def _post(self, queue: SubmissionQueue, cid: int, status: Status, result: int) -> None:
        target = self.completion_queues[queue.cqid]
        target.waiting.append(Completion(result, queue.head, queue.qid, cid, status.field()))
        self._drain(target)

    def _drain(self, queue: CompletionQueue) -> None:
        """Write waiting completions while the ring has room."""
        while queue.waiting and not queue.full():
            address, entry = queue.produce(queue.waiting.popleft())
            if not self.dma.write(address, entry):
                self._fail()
                return
        self.update_interrupt()

    @on_write(cqhdbl)
    def _ring_head(self, index: int, value: int, old: int) -> None:
        head = self.cqhdbl[index].cqh
        if not self._running():
            return
        queue = self.completion_queues.get(index)
        if queue is None:
            self.asynchronous.report(ERROR, INVALID_DOORBELL)
        elif head >= queue.size:
            self.asynchronous.report(ERROR, INVALID_DOORBELL_VALUE)
        else:
            queue.head = head
            self._drain(queue)

    def update_interrupt(self) -> None:
        """Raise INTx while a queue that interrupts has unread entries and vector 0 is unmasked."""
        unread = any(q.interrupts and q.unread() for q in self.completion_queues.values())
        self.set_interrupt(unread and not self.intms.value & 1)

    def _set_mask(self, mask: int) -> None:
        self.intms.value = self.intmc.value = mask
        self.update_interrupt()

    @on_write(intms)
    def _mask(self, value: int, old: int) -> None:
        self._set_mask(self.intms.value)

    @on_write(intmc)
    def _unmask(self, value: int, old: int) -> None:
        self._set_mask(self.intmc.value)

    @on_read(intmc)
    def _read_mask(self) -> int:
        return self.intms.value
