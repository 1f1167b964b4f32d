"""The controller: enabling, doorbells, fetching commands, completing them.

A doorbell fetches what is new in its ring at once; every fetched command gets the time at which it
will be done (`timing`), waits in the pipeline, and is executed then, as a whole. Commands that are
done within a few microseconds of each other are answered together with the first: that is what
makes the emulator fast. What the guest can get wrong ends in a status, in an asynchronous event,
or in CSTS.CFS; never in an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emu.board import NvmeBoard
from emu.clock import PS_PER_NS
from emu.devices.device import on_read, on_write, register, register_array
from emu.devices.nvme import prp
from emu.devices.nvme import registers as r
from emu.devices.nvme.admin import ABORT, ASYNCHRONOUS_EVENT_REQUEST, Admin
from emu.devices.nvme.buffer import ControllerMemory
from emu.devices.nvme.command import (
    BROADCAST,
    ENTRY,
    FUSED_FIRST,
    FUSED_SECOND,
    Command,
    as_command,
)
from emu.devices.nvme.events import (
    ERROR,
    INVALID_DOORBELL,
    INVALID_DOORBELL_VALUE,
    SMART,
    TEMPERATURE,
    AsynchronousEvents,
)
from emu.devices.nvme.features import EVENT_CONFIGURATION, VECTORS, Features
from emu.devices.nvme.identify import ABORT_LIMIT
from emu.devices.nvme.interrupts import Interrupts
from emu.devices.nvme.io import COMPARE, WRITE, Io
from emu.devices.nvme.logs import TEMPERATURE_KELVIN, Logs
from emu.devices.nvme.namespace import Namespace
from emu.devices.nvme.pipeline import Pipeline, key_of
from emu.devices.nvme.queues import COMPLETION_BYTES, ENTRY_BYTES, CompletionQueue, SubmissionQueue
from emu.devices.nvme.shadow import ShadowDoorbells
from emu.devices.nvme.status import CommandError, Status
from emu.devices.nvme.timing import Timing
from emu.devices.pcie import PciFunction
from emu.devices.system import System

_FETCH_PS = 500 * PS_PER_NS  # a round trip over PCIe to fetch an entry; no product's figure
_UNDER_WAY, _COMPLETE = 1, 2  # values of CSTS.SHST
_OUTSTANDING_LIMIT = 4096
"""Commands of one queue that may be under way; a guest that rings on and on waits at it."""
_TEMPERATURE_EVENTS = 1 << 1  # of the event configuration
_EVENT_REQUEST = Command(ASYNCHRONOUS_EVENT_REQUEST, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


class Nvme(PciFunction, prefix="NVME"):
    """An NVMe drive with the given namespaces, as fast as the board says."""

    IDENTITY = (0x1B36, 0x0010, 0x010802, 2)
    BAR_SIZE = 0x4000
    MSIX_VECTORS = VECTORS
    state = (
        *("page", "submission_queues", "completion_queues", "features", "logs", "asynchronous"),
        *("interrupts", "shadow", "timing", "_pipeline", "_stalled", "_aborts"),
        "_admin_only",
        *("_ready_ps", "_wake_ps", "_busy_since"),
    )

    cap = register(r.Cap)
    vs = register(r.Vs)
    intms = register(r.Intms)
    intmc = register(r.Intmc)
    cc = register(r.Cc)
    csts = register(r.Csts)
    nssr = register(r.Nssr)
    aqa = register(r.Aqa)
    asq = register(r.Asq)
    acq = register(r.Acq)
    cmbloc = register(r.Cmbloc)
    cmbsz = register(r.Cmbsz)
    cmbmsc = register(r.Cmbmsc)
    cmbsts = register(r.Cmbsts)
    sqtdbl = register_array(r.Sqtdbl)
    cqhdbl = register_array(r.Cqhdbl)

    def __init__(
        self, name: str, system: System, namespaces: Sequence[Namespace], board: NvmeBoard
    ) -> None:
        super().__init__(name, system)
        self.namespaces = {namespace.nsid: namespace for namespace in namespaces}
        self.last_nsid = max(self.namespaces)
        self.serial = f"AIOS-{name.upper()}"
        self.timing = Timing(board)
        self._ram = system.bus.memory.bytes
        self._window = 0, 0
        self.buffer = ControllerMemory(self, board.cmb)
        self.page = 4096
        """The memory page size that the guest has chosen, in bytes."""
        self.submission_queues: dict[int, SubmissionQueue] = {}
        self.completion_queues: dict[int, CompletionQueue] = {}
        self.features, self.logs = Features(), Logs()
        self.asynchronous, self.interrupts = AsynchronousEvents(), Interrupts()
        self.shadow = ShadowDoorbells()
        self.admin, self.io = Admin(self), Io(self)
        self._pipeline = Pipeline()
        self._answered: list[CompletionQueue] = []
        self._stalled: list[int] = []
        self._aborts = 0
        self._admin_only = False
        self._ready_ps: int | None = None
        self._wake_ps: int | None = None
        self._busy_since: int | None = None

    # --- enabling and disabling -------------------------------------------------------------

    @on_write(cc)
    def _configure(self, value: int, old: int) -> None:
        was_enabled = old & r.Cc.en.mask
        if self.cc.en and not was_enabled:
            self._ready_ps = self.now_ps + self.timing.enable_ps
            self.at(self._ready_ps, self._enable)
        elif was_enabled and not self.cc.en:
            self._disable()
        if self.cc.shn and not r.Cc.shn.of(old):
            self.csts.shst = _UNDER_WAY
            self.after(self.timing.admin_ps, self._shut_down)
        elif not self.cc.shn:
            self.csts.shst = 0

    def _enable(self) -> None:
        """The time to become ready has passed: be it, or fail if the settings are impossible."""
        if self._ready_ps is None or self.now_ps < self._ready_ps:
            return  # disabled since, and perhaps enabled again
        self._ready_ps = None
        self.page = 4096 << self.cc.mps
        self._admin_only = self.cc.css == r.CSS_ADMIN
        misaligned = self.asq.value % self.page or self.acq.value % self.page
        sizes_fit = self.aqa.asqs and self.aqa.acqs
        known = self.cc.css in (r.CSS_NVM, r.CSS_ALL, r.CSS_ADMIN)
        if misaligned or not sizes_fit or not known or self.cc.ams or self.cc.mps > self.cap.mpsmax:
            self._fail()
            return
        acq = CompletionQueue(0, self.acq.value, self.aqa.acqs + 1, interrupts=True)
        self.completion_queues[0] = acq
        self.submission_queues[0] = SubmissionQueue(0, self.asq.value, self.aqa.asqs + 1, cqid=0)
        self.csts.rdy = 1

    def _disable(self) -> None:
        """Controller reset: queues and features go; the admin queue registers and what describes
        the controller memory buffer stay."""
        self._ready_ps = self._busy_since = None
        self._pipeline.clear()
        self._stalled.clear()
        self._aborts = 0
        self.submission_queues.clear()
        self.completion_queues.clear()
        self.asynchronous = AsynchronousEvents()
        self.shadow.clear()
        self.features = Features()
        for namespace in self.namespaces.values():
            namespace.cache.enabled = True
        self.csts.value &= r.Csts.nssro.mask
        self.intms.value = self.intmc.value = 0
        self.interrupts.reset(self)

    def _shut_down(self) -> None:
        """The guest has asked for it some time ago: everything is made durable."""
        if self.csts.shst != _UNDER_WAY:
            return
        try:
            for namespace in self.namespaces.values():
                namespace.flush()
        except CommandError:
            self._fail()
        self.csts.shst = _COMPLETE

    @on_write(nssr)
    def _reset_subsystem(self, value: int, old: int) -> None:
        if value == r.SUBSYSTEM_RESET:
            self._reset_registers()
            self.csts.nssro = 1

    def _reset_registers(self) -> None:
        self._disable()
        for reg in self.registers:
            reg.reset()
        self.buffer.reset()

    def _fail(self) -> None:
        self.csts.cfs = 1

    def reset(self) -> None:
        """A reset of the function; the drive has power all the time and keeps what it was given."""
        self._disable()
        super().reset()
        self._wake_ps = None
        self.timing.reset()
        self.buffer.reset()

    def power_cut(self) -> None:
        """The power fails and comes back: what was not flushed is lost, as the write cache and the
        fault plan say, the commands under way were never executed, and the function is as after
        power-on. AiosError when a host file cannot be written."""
        self.logs.power_cycles += 1
        self.logs.unsafe_shutdowns += self.csts.shst != _COMPLETE
        for namespace in self.namespaces.values():
            namespace.power_cut()
        self.reset()
        self.buffer.clear()

    def has_io_queues(self) -> bool:
        """Whether a queue other than the admin queues exists."""
        return len(self.submission_queues) > 1 or len(self.completion_queues) > 1

    # --- doorbells and fetching -------------------------------------------------------------

    def _running(self) -> bool:
        return self.csts.value & 0xF == 1  # ready, no fatal status, no shutdown

    @on_write(sqtdbl)
    def _ring_tail(self, index: int, value: int, old: int) -> None:
        if not self._running():
            return
        queue = self.submission_queues.get(index)
        if queue is None:
            self._report(ERROR, INVALID_DOORBELL)
            return
        if index and self.shadow.values is not None:
            accepted = self.shadow.tail(self.view, queue)
        else:
            accepted = queue.accept(value & 0xFFFF)
        if accepted:
            self._fetch(queue)
        else:
            self._report(ERROR, INVALID_DOORBELL_VALUE)

    def _fetch(self, queue: SubmissionQueue) -> None:
        """Take what is in the queue, as far as its commands and their answers find room."""
        now = self.now_ps
        while queue.head != queue.tail:
            room = _OUTSTANDING_LIMIT - queue.outstanding
            if room <= 0 or self.completion_queues[queue.cqid].waiting:
                if queue.qid not in self._stalled:
                    self._stalled.append(queue.qid)
                break
            address, n = queue.take(room)
            entries = self.view(address, n * ENTRY_BYTES)
            if entries is None:
                self._fail()
                return
            for command in map(as_command, ENTRY.iter_unpack(entries)):
                self._start(queue, command, now)
        if self._busy_since is None:
            self._busy_since = now
        self._arm()

    def _start(self, queue: SubmissionQueue, command: Command, now: int) -> None:
        """Decide when a fetched command will be done."""
        queue.outstanding += 1
        key = queue.qid << 16 | command.cid
        if key in self._pipeline.live:
            self._decide(queue, command, Status.ID_CONFLICT)
        elif queue.qid == 0:
            self._start_admin(queue, key, command, now)
        elif queue.half is not None or command.flags:
            self._start_fused(queue, key, command, now)
        else:
            self._pipeline.add(self.io.done_at(command, now + _FETCH_PS), key, command)

    def _start_admin(self, queue: SubmissionQueue, key: int, command: Command, now: int) -> None:
        if command.opcode == ASYNCHRONOUS_EVENT_REQUEST and not command.flags:
            try:
                self.asynchronous.request(command.cid)
            except CommandError as error:
                self._decide(queue, command, error.status)
            self._announce()
            return
        if command.opcode == ABORT:
            if self._aborts == ABORT_LIMIT:
                self._decide(queue, command, Status.ABORT_LIMIT)
                return
            self._aborts += 1
        self._pipeline.add(now + _FETCH_PS + self.timing.admin_ps, key, command)

    def _start_fused(self, queue: SubmissionQueue, key: int, command: Command, now: int) -> None:
        """A half of a fused pair, or what follows a first half; or scatter-gather lists, which are
        refused when it is executed."""
        first = queue.pair(command)
        if first is not None and command.flags == FUSED_SECOND and command.cid != first.cid:
            due = max(self.io.done_at(half, now + _FETCH_PS) for half in (first, command))
            self._pipeline.add(due, key_of(queue.qid, first.cid), first, command)
            return
        if first is not None:
            self._decide(queue, first, Status.ABORTED_MISSING_FUSED)
        if command.flags == FUSED_SECOND:
            self._decide(queue, command, Status.ABORTED_MISSING_FUSED)
        elif command.flags != FUSED_FIRST:
            self._pipeline.add(self.io.done_at(command, now + _FETCH_PS), key, command)

    def _decide(
        self, queue: SubmissionQueue, command: Command, status: Status, result: int = 0
    ) -> None:
        """Answer a command without executing it."""
        key = key_of(queue.qid, command.cid)
        self._pipeline.add_decided(self.now_ps + _FETCH_PS, key, command, (status, result))

    # --- executing and answering --------------------------------------------------------------

    def _arm(self) -> None:
        """See to it that `_work` is called when the next command is done."""
        due = self._pipeline.next_due()
        if due is not None and (self._wake_ps is None or due < self._wake_ps):
            self._wake_ps = due
            self.at(due, self._work)

    def _work(self) -> None:
        """Execute what is done now or in a moment, and answer it."""
        now = self.now_ps
        if self._wake_ps is not None and self._wake_ps <= now:
            self._wake_ps = None
        if not self._running():
            return
        queues = self.submission_queues
        for _, _, key, command, extra in self._pipeline.take(now + self.timing.burst_ps):
            queue = queues[key >> 16 & 0xFFFF]
            if extra is None:
                self._execute(queue, command)
            elif isinstance(extra, Command):
                self._execute_pair(queue, command, extra)
            else:
                self._answer(queue, command, *extra)
        answered, self._answered = self._answered, []
        for completion_queue in answered:
            self._drain(completion_queue)
        if not self._pipeline.live and self._busy_since is not None:
            self.logs.busy_ps += now - self._busy_since
            self._busy_since = None
            for wake in self.scheduled(self._work):  # for commands that were aborted since
                wake.cancel()
            self._wake_ps = None
        self._arm()

    def _execute(self, queue: SubmissionQueue, command: Command) -> Status:
        """Execute a command and answer it; returns how it ended."""
        if not queue.qid:
            handlers = self.admin.handlers
            self._aborts -= command.opcode == ABORT
        else:
            handlers = {} if self._admin_only else self.io.handlers
        handler = handlers.get(command.opcode)
        try:
            if handler is None:
                raise CommandError(Status.INVALID_OPCODE)
            if command.flags:
                raise CommandError(Status.INVALID_FIELD)
            result = handler(command)
        except CommandError as error:
            self._answer(queue, command, error.status, error.result, error.lba)
            return error.status
        # As `_answer` does it, for the most frequent case of all.
        queue.outstanding -= 1
        target = self.completion_queues[queue.cqid]
        if not target.waiting:
            self._answered.append(target)
        target.waiting.append((result, queue.head, queue.qid, command.cid, 0))
        return Status.SUCCESS

    def _execute_pair(self, queue: SubmissionQueue, first: Command, second: Command) -> None:
        """Compare and Write, as one: nothing comes between them."""
        a, b = first._replace(flags=0), second._replace(flags=0)
        kinds = (a.opcode, b.opcode) == (COMPARE, WRITE)
        if not kinds or (a.nsid, a.lba, a.blocks) != (b.nsid, b.lba, b.blocks):
            self._answer(queue, first, Status.INVALID_FIELD)
            self._answer(queue, second, Status.INVALID_FIELD)
        elif self._execute(queue, a) is Status.SUCCESS:
            self._execute(queue, b)
        else:
            self._answer(queue, second, Status.ABORTED_FAILED_FUSED)

    def _answer(
        self,
        queue: SubmissionQueue,
        command: Command,
        status: Status,
        result: int = 0,
        lba: int | None = None,
    ) -> None:
        """A completion for the command; it is posted together with others."""
        queue.outstanding -= 1
        field = 0
        if status is not Status.SUCCESS:
            self.logs.note_error(queue.qid, command, status, lba)
            field = status.field()
        target = self.completion_queues[queue.cqid]
        if not target.waiting:
            self._answered.append(target)
        target.waiting.append((result, queue.head, queue.qid, command.cid, field))

    def _drain(self, queue: CompletionQueue) -> None:
        """Post what waits while the ring has room, and what that makes room for."""
        ring = self.view(queue.base, queue.size * COMPLETION_BYTES)
        if ring is None:
            self._fail()
            return
        n = queue.produce(ring)
        if queue.qid and self.shadow.values is not None:
            self._look_at_head(queue)
            n += queue.produce(ring)
        if n:
            self.interrupts.posted(self, queue, n)
        self._go_on(queue)

    def _go_on(self, queue: CompletionQueue) -> None:
        """Fetch again for the submission queues that waited for room in `queue`."""
        for qid in list(self._stalled):
            stalled = self.submission_queues[qid]
            if stalled.cqid == queue.qid and not queue.waiting:
                self._stalled.remove(qid)
                self._fetch(stalled)

    @on_write(cqhdbl)
    def _ring_head(self, index: int, value: int, old: int) -> None:
        if not self._running():
            return
        queue = self.completion_queues.get(index)
        if queue is None:
            self._report(ERROR, INVALID_DOORBELL)
            return
        if index and self.shadow.values is not None:
            self._look_at_head(queue)
        elif queue.accept(value & 0xFFFF):
            self.interrupts.consumed(self, queue)
        else:
            self._report(ERROR, INVALID_DOORBELL_VALUE)
        if queue.waiting:
            self._drain(queue)

    def _look_at_head(self, queue: CompletionQueue) -> None:
        ring = bool(queue.waiting) or not self.msix_enabled
        if self.shadow.head(self.view, queue, ring):
            self.interrupts.consumed(self, queue)
        else:
            self._report(ERROR, INVALID_DOORBELL_VALUE)

    # --- taking commands and queues back ------------------------------------------------------

    def abort(self, sqid: int, cid: int) -> bool:
        """Abort the command `cid` of the queue `sqid` if it is under way; whether it was."""
        queue = self.submission_queues.get(sqid)
        if queue is None:
            return False
        aborted = _EVENT_REQUEST._replace(cid=cid)
        if self._pipeline.live.pop(key_of(sqid, cid), None) is None and not (
            sqid == 0 and self.asynchronous.withdraw(cid)
        ):
            return False
        self._answer(queue, aborted, Status.ABORT_REQUESTED)
        return True

    def abort_all(self, sqid: int) -> None:
        """The queue `sqid` goes: end its commands."""
        queue = self.submission_queues[sqid]
        for command in self._pipeline.withdraw(sqid):
            self._answer(queue, command, Status.ABORTED_QUEUE_DELETED)
        if queue.half is not None:
            self._answer(queue, queue.half, Status.ABORTED_QUEUE_DELETED)
        if sqid in self._stalled:
            self._stalled.remove(sqid)

    def remove_completion_queue(self, qid: int) -> None:
        """The queue `qid` goes; what waits for it is posted as far as it has room."""
        queue = self.completion_queues[qid]
        if queue.waiting:
            self._drain(queue)
            queue.waiting.clear()
        del self.completion_queues[qid]
        self._answered = [other for other in self._answered if other is not queue]
        self.interrupts.gone(self, qid)

    # --- asynchronous events ------------------------------------------------------------------

    def _report(self, kind: int, info: int) -> None:
        """There is news for the guest."""
        self.asynchronous.add(kind, info)
        self._announce()

    def _announce(self) -> None:
        for cid, result in self.asynchronous.take():
            request = _EVENT_REQUEST._replace(cid=cid)
            self._decide(self.submission_queues[0], request, Status.SUCCESS, result)
        self._arm()

    def log_was_read(self, identifier: int) -> None:
        """The guest has read a log page: events that it tells of may come again."""
        self.asynchronous.unmask(identifier)
        self._announce()

    def temperature_is_fine(self) -> bool:
        """Whether the temperature lies between the thresholds."""
        over, under = self.features.thresholds
        return under < TEMPERATURE_KELVIN < over

    def check_temperature(self) -> None:
        """A threshold has changed: report if it is passed now, and the guest wants to know."""
        wanted = self.features.values[EVENT_CONFIGURATION] & _TEMPERATURE_EVENTS
        if wanted and not self.temperature_is_fine():
            self._report(SMART, TEMPERATURE)

    @property
    def commands_under_way(self) -> int:
        """How many commands have been fetched and not executed."""
        return len(self._pipeline.live)

    # --- interrupts -----------------------------------------------------------------------------

    def coalescing_expired(self, vector: int) -> None:
        """The time for which entries of a vector may wait is over."""
        self.interrupts.expired(self, vector)

    def _set_mask(self, mask: int) -> None:
        self.intms.value = self.intmc.value = mask
        self.interrupts.drive(self)

    @on_write(intms)
    def _mask(self, value: int, old: int) -> None:
        self._set_mask(self.intms.value)

    @on_write(intmc)
    def _unmask(self, value: int, old: int) -> None:
        self._set_mask(self.intmc.value)

    @on_read(intmc)
    def _read_mask(self) -> int:
        return self.intms.value

    # --- memory ---------------------------------------------------------------------------------

    def _config_changed(self) -> None:
        super()._config_changed()
        self.open_window()

    def open_window(self) -> None:
        """Find out anew whether RAM may be reached without asking `dma` each time: the guest has
        made the function bus master, and no address in commands means the buffer."""
        ram = self.system.bus.memory
        may = self.config.command.master and self.buffer.start is None
        self._window = (ram.base, ram.end) if may else (0, 0)

    def view(self, address: int, n: int) -> memoryview | None:
        """The `n` bytes at an address in a command or a register, or None."""
        first, end = self._window
        if first <= address and address + n <= end:
            return self._ram[address - first : address - first + n]
        if self.buffer.start is not None and self.buffer.holds(address, n):
            return self.buffer.view(address, n)
        return self.dma.view(address, n)

    def data(self, command: Command, n: int) -> list[memoryview]:
        """The `n` bytes of the command's data, where they lie; raises CommandError."""
        return prp.regions(self.view, command.prp1, command.prp2, n, self.page)

    def fetch(self, command: Command, n: int) -> bytes:
        """A copy of the `n` bytes of the command's data; raises CommandError."""
        return b"".join(self.data(command, n))

    def put(self, command: Command, data: bytes) -> None:
        """Return `data` to where the command wants it; raises CommandError."""
        done = 0
        for view in self.data(command, len(data)):
            view[:] = data[done : done + len(view)]
            done += len(view)

    @on_read(cmbloc)
    def _read_buffer_location(self) -> int:
        return self.buffer.location

    @on_read(cmbsz)
    def _read_buffer_size(self) -> int:
        return self.buffer.size_register

    @on_write(cmbmsc)
    def _place_buffer(self, value: int, old: int) -> None:
        self.buffer.place()

    # --- namespaces -----------------------------------------------------------------------------

    def no_namespace(self, nsid: int) -> CommandError:
        """What is wrong with a number that no namespace has."""
        exists = 1 <= nsid <= self.last_nsid
        return CommandError(Status.INVALID_FIELD if exists else Status.INVALID_NAMESPACE)

    def namespaces_of(self, nsid: int) -> list[Namespace]:
        """The namespaces that a log page is about; raises CommandError."""
        if nsid in (0, BROADCAST):
            return list(self.namespaces.values())
        if nsid not in self.namespaces:
            raise self.no_namespace(nsid)
        return [self.namespaces[nsid]]

    def set_write_cache(self, enabled: bool) -> None:
        """Switch the volatile write cache; what it holds when it goes is made durable. Raises
        CommandError."""
        for namespace in self.namespaces.values():
            if not enabled:
                namespace.flush()
            namespace.cache.enabled = enabled

    # --- as a whole -----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """All but the drive's blocks, which stay in their files."""
        namespaces = {nsid: ns.snapshot() for nsid, ns in self.namespaces.items()}
        return {**super().snapshot(), "namespaces": namespaces}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave."""
        super().restore(saved)
        for nsid, namespace in self.namespaces.items():
            namespace.restore(saved["namespaces"][nsid])
        self.buffer.place()
