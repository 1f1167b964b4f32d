"""From a doorbell to a completion: fetching commands, executing them, answering.

A doorbell fetches what is new in its ring at once; every fetched command gets the time at which it
will be done (`timing`), waits in the pipeline, and is executed then, as a whole. Commands that are
done within a few microseconds of each other are executed and answered together with the first, with
one look at each completion queue and one at the interrupts: that is what makes the emulator fast.

The functions that every read and write passes (`fetch`, `work`, `_execute`) name what they use
several times in local variables; it is worth a quarter of their time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.clock import PS_PER_NS
from emu.devices.nvme.admin import ABORT, ASYNCHRONOUS_EVENT_REQUEST
from emu.devices.nvme.command import ENTRY, FUSED_FIRST, FUSED_SECOND, Command, as_command
from emu.devices.nvme.events import ERROR, INVALID_DOORBELL_VALUE
from emu.devices.nvme.identify import ABORT_LIMIT
from emu.devices.nvme.io import COMPARE, WRITE
from emu.devices.nvme.pipeline import key_of
from emu.devices.nvme.queues import COMPLETION_BYTES, ENTRY_BYTES, CompletionQueue, SubmissionQueue
from emu.devices.nvme.status import CommandError, Status

if TYPE_CHECKING:
    from emu.devices.nvme.controller import Nvme

_FETCH_PS = 500 * PS_PER_NS  # a round trip over PCIe to fetch an entry; no product's figure
_OUTSTANDING_LIMIT = 4096
"""Commands of one queue that may be under way; a guest that rings on and on waits at it."""
_EVENT_REQUEST = Command(ASYNCHRONOUS_EVENT_REQUEST, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


class Execution:
    """What one controller does with commands. It keeps nothing over an event: what is under way
    stands in the controller's `pipeline` and queues."""

    def __init__(self, nvme: Nvme) -> None:
        self._nvme = nvme
        self._answered: list[CompletionQueue] = []

    # --- fetching -------------------------------------------------------------------------------

    def fetch(self, queue: SubmissionQueue) -> None:
        """Take what is in the queue, as far as its commands and their answers find room."""
        nvme, now, qid = self._nvme, self._nvme.now_ps, queue.qid
        live, add, done_at = nvme.pipeline.live, nvme.pipeline.add, nvme.io.done_at
        arrival = now + _FETCH_PS
        while queue.head != queue.tail:
            room = _OUTSTANDING_LIMIT - queue.outstanding
            if room <= 0 or nvme.completion_queues[queue.cqid].waiting:
                nvme.pipeline.stall(qid)
                break
            address, n = queue.take(room)
            entries = nvme.view(address, n * ENTRY_BYTES)
            if entries is None:
                nvme.fail()
                return
            queue.outstanding += n
            for command in map(as_command, ENTRY.iter_unpack(entries)):
                key = qid << 16 | command.cid
                if qid and not command.flags and queue.half is None and key not in live:
                    add(done_at(command, arrival), key, command)
                else:
                    self._start_special(queue, key, command, now)
        nvme.pipeline.begin(now)
        self._arm()

    def _start_special(self, queue: SubmissionQueue, key: int, command: Command, now: int) -> None:
        """Decide when a fetched command will be done that is not simply one of an I/O queue."""
        if key in self._nvme.pipeline.live:
            self._decide(queue, command, Status.ID_CONFLICT)
        elif queue.qid == 0:
            self._start_admin(queue, key, command, now)
        else:
            self._start_fused(queue, key, command, now)

    def _start_admin(self, queue: SubmissionQueue, key: int, command: Command, now: int) -> None:
        nvme, pipeline = self._nvme, self._nvme.pipeline
        if command.opcode == ASYNCHRONOUS_EVENT_REQUEST and not command.flags:
            try:
                nvme.asynchronous.request(command.cid)
            except CommandError as error:
                self._decide(queue, command, error.status)
            nvme.announce()
            return
        if command.opcode == ABORT:
            if pipeline.aborts == ABORT_LIMIT:
                self._decide(queue, command, Status.ABORT_LIMIT)
                return
            pipeline.aborts += 1
        pipeline.add(now + _FETCH_PS + nvme.timing.admin_ps, key, command)

    def _start_fused(self, queue: SubmissionQueue, key: int, command: Command, now: int) -> None:
        """A half of a fused pair, or what follows a first half; or scatter-gather lists, which are
        refused when it is executed."""
        done_at, pipeline = self._nvme.io.done_at, self._nvme.pipeline
        first = queue.pair(command)
        if first is not None and command.flags == FUSED_SECOND and command.cid != first.cid:
            due = max(done_at(half, now + _FETCH_PS) for half in (first, command))
            pipeline.add(due, key_of(queue.qid, first.cid), first, command)
            return
        if first is not None:
            self._decide(queue, first, Status.ABORTED_MISSING_FUSED)
        if command.flags == FUSED_SECOND:
            self._decide(queue, command, Status.ABORTED_MISSING_FUSED)
        elif command.flags != FUSED_FIRST:
            pipeline.add(done_at(command, now + _FETCH_PS), key, command)

    def _decide(
        self, queue: SubmissionQueue, command: Command, status: Status, result: int = 0
    ) -> None:
        """Answer a command without executing it."""
        key, when = key_of(queue.qid, command.cid), self._nvme.now_ps + _FETCH_PS
        self._nvme.pipeline.add_decided(when, key, command, (status, result))

    def answer_request(self, cid: int, result: int) -> None:
        """Answer the Asynchronous Event Request `cid`."""
        request = _EVENT_REQUEST._replace(cid=cid)
        self._decide(self._nvme.submission_queues[0], request, Status.SUCCESS, result)
        self._arm()

    # --- executing ------------------------------------------------------------------------------

    def _arm(self) -> None:
        """See to it that `work` is called when the next command is done."""
        pipeline = self._nvme.pipeline
        due = pipeline.next_due()
        if due is not None and (pipeline.wake_ps is None or due < pipeline.wake_ps):
            pipeline.wake_ps = due
            pipeline.wakes += 1
            self._nvme.at(due, self._nvme.work)

    def work(self) -> None:
        """Execute what is done now or in a moment, and answer it."""
        nvme, pipeline, now = self._nvme, self._nvme.pipeline, self._nvme.now_ps
        if pipeline.wake_ps is not None and pipeline.wake_ps <= now:
            pipeline.wake_ps = None
        pipeline.wakes -= 1
        if not nvme.running():
            return
        queues, execute = nvme.submission_queues, self._execute
        for _, _, key, command, extra in pipeline.take(now + nvme.timing.burst_ps):
            queue = queues[key >> 16 & 0xFFFF]
            if extra is None:
                execute(queue, command)
            elif isinstance(extra, Command):
                self._execute_pair(queue, command, extra)
            else:
                self._answer(queue, command, *extra)
        answered, self._answered = self._answered, []
        for completion_queue in answered:
            self.drain(completion_queue)
        nvme.logs.busy_ps += pipeline.rest(now)
        if pipeline.wakes and not pipeline.live:
            self._sleep()
        self._arm()

    def _sleep(self) -> None:
        """What `work` was to be called for has been aborted: nobody shall wait for it."""
        for wake in self._nvme.scheduled(self._nvme.work):
            wake.cancel()
        self._nvme.pipeline.wakes, self._nvme.pipeline.wake_ps = 0, None

    def _execute(self, queue: SubmissionQueue, command: Command) -> Status:
        """Execute a command and answer it; returns how it ended."""
        nvme, opcode, qid = self._nvme, command.opcode, queue.qid
        if qid:
            handler = None if nvme.admin_only else nvme.io.handlers.get(opcode)
        else:
            handler = nvme.admin.handlers.get(opcode)
            nvme.pipeline.aborts -= opcode == ABORT
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
        target = nvme.completion_queues[queue.cqid]
        waiting = target.waiting
        if not waiting:
            self._answered.append(target)
        waiting.append((result, queue.head, qid, command.cid, 0))
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

    # --- answering ------------------------------------------------------------------------------

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
        if status is not Status.SUCCESS:
            self._nvme.logs.note_error(queue.qid, command, status, lba)
        target = self._nvme.completion_queues[queue.cqid]
        if not target.waiting:
            self._answered.append(target)
        target.waiting.append((result, queue.head, queue.qid, command.cid, status.field()))

    def drain(self, queue: CompletionQueue) -> None:
        """Post what waits while the ring has room, and what that makes room for."""
        nvme = self._nvme
        ring = nvme.view(queue.base, queue.size * COMPLETION_BYTES)
        if ring is None:
            nvme.fail()
            return
        n = queue.produce(ring)
        if queue.qid and nvme.shadow.values is not None:
            self.look_at_head(queue)
            n += queue.produce(ring)
        if n:
            nvme.interrupts.posted(nvme, queue, n)
        if not queue.waiting:
            for submission_queue in nvme.pipeline.resume(nvme.submission_queues, queue.qid):
                self.fetch(submission_queue)

    def look_at_head(self, queue: CompletionQueue) -> None:
        """Take over the shadow head of a queue, and say whether the guest shall ring for it: by
        message it need not, as long as the ring has room."""
        nvme = self._nvme
        ring = bool(queue.waiting) or not nvme.msix_enabled
        if nvme.shadow.head(nvme.view, queue, ring):
            nvme.interrupts.consumed(nvme, queue)
        else:
            nvme.report(ERROR, INVALID_DOORBELL_VALUE)

    # --- taking commands and queues back ----------------------------------------------------------

    def abort(self, sqid: int, cid: int) -> bool:
        """Abort the command `cid` of the queue `sqid` if it is under way; whether it was."""
        nvme = self._nvme
        queue = nvme.submission_queues.get(sqid)
        if queue is None:
            return False
        taken = nvme.pipeline.withdraw(key_of(sqid, cid))
        if not taken and sqid == 0 and nvme.asynchronous.withdraw(cid):
            taken = [_EVENT_REQUEST._replace(cid=cid)]
        for command in taken:  # the second half of a pair goes with the first
            nvme.pipeline.aborts -= sqid == 0 and command.opcode == ABORT
            self._answer(queue, command, Status.ABORT_REQUESTED)
        return bool(taken)

    def abort_all(self, sqid: int) -> None:
        """The queue `sqid` goes: end its commands."""
        queue, pipeline = self._nvme.submission_queues[sqid], self._nvme.pipeline
        for command in pipeline.withdraw_all(sqid):
            self._answer(queue, command, Status.ABORTED_QUEUE_DELETED)
        if queue.half is not None:
            self._answer(queue, queue.half, Status.ABORTED_QUEUE_DELETED)

    def remove_completion_queue(self, qid: int) -> None:
        """The queue `qid` goes; what waits for it is posted as far as it has room."""
        nvme = self._nvme
        queue = nvme.completion_queues[qid]
        if queue.waiting:
            self.drain(queue)
            queue.waiting.clear()
        del nvme.completion_queues[qid]
        self._answered = [other for other in self._answered if other is not queue]
        nvme.interrupts.gone(nvme, qid)
