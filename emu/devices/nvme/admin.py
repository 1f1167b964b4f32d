"""Admin commands (base specification 1.4, chapter 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.devices.nvme.features import NUMBER_OF_QUEUES
from emu.devices.nvme.identify import identify
from emu.devices.nvme.queues import CompletionQueue, SubmissionQueue
from emu.devices.nvme.registers import MAX_ENTRIES
from emu.devices.nvme.status import CommandError, Status

if TYPE_CHECKING:
    from emu.devices.nvme.command import Command
    from emu.devices.nvme.controller import Nvme

ABORT, ASYNCHRONOUS_EVENT_REQUEST = 0x08, 0x0C
_SQ_ENTRY_LOG2, _CQ_ENTRY_LOG2 = 6, 4
_CONTIGUOUS, _INTERRUPTS = 1, 2


class Admin:
    """Each handler takes a command and returns its result (dword 0), or raises CommandError."""

    def __init__(self, nvme: Nvme) -> None:
        self._nvme = nvme
        self.handlers: dict[int, Callable[[Command], int]] = {
            0x00: self._delete_submission_queue,
            0x01: self._create_submission_queue,
            0x02: lambda command: nvme.logs.get(nvme, command),
            0x04: self._delete_completion_queue,
            0x05: self._create_completion_queue,
            0x06: self._identify,
            ABORT: self._abort,
            0x09: lambda command: nvme.features.set(nvme, command),
            0x0A: lambda command: nvme.features.get(nvme, command),
            ASYNCHRONOUS_EVENT_REQUEST: self._request_event,
            0x7C: self._configure_doorbell_buffers,
        }

    def _identify(self, command: Command) -> int:
        self._nvme.put(command, identify(self._nvme, command))
        return 0

    def _request_event(self, command: Command) -> int:
        raise AssertionError("the controller parks event requests itself")

    def _abort(self, command: Command) -> int:
        """Result 0 when the command was aborted, 1 when it was not there to abort."""
        sqid, cid = command.cdw10 & 0xFFFF, command.cdw10 >> 16
        return 0 if self._nvme.execution.abort(sqid, cid) else 1

    def _granted(self) -> tuple[int, int]:
        """How many submission and completion queues the guest has been given."""
        granted = self._nvme.features.values[NUMBER_OF_QUEUES]
        return (granted & 0xFFFF) + 1, (granted >> 16) + 1

    def _new_queue(self, command: Command, taken: bool, log2: int, configured: int) -> int:
        """Check what both kinds of queue have in common; returns the size in entries. `taken`: the
        identifier cannot be used."""
        size = (command.cdw10 >> 16) + 1
        if taken:
            raise CommandError(Status.INVALID_QUEUE_ID)
        if not 2 <= size <= MAX_ENTRIES:
            raise CommandError(Status.INVALID_QUEUE_SIZE)
        if not command.cdw11 & _CONTIGUOUS or configured != log2:
            raise CommandError(Status.INVALID_FIELD)
        if command.prp1 % self._nvme.page:
            raise CommandError(Status.INVALID_PRP_OFFSET)
        return size

    def _create_completion_queue(self, command: Command) -> int:
        nvme, qid, vector = self._nvme, command.cdw10 & 0xFFFF, command.cdw11 >> 16
        taken = not 1 <= qid <= self._granted()[1] or qid in nvme.completion_queues
        size = self._new_queue(command, taken, _CQ_ENTRY_LOG2, nvme.cc.iocqes)
        # A pin is the one vector 0; messages have as many as their table.
        if vector >= (nvme.MSIX_VECTORS if nvme.msix_enabled else 1):
            raise CommandError(Status.INVALID_INTERRUPT_VECTOR)
        interrupts = bool(command.cdw11 & _INTERRUPTS)
        nvme.completion_queues[qid] = CompletionQueue(qid, command.prp1, size, interrupts, vector)
        return 0

    def _create_submission_queue(self, command: Command) -> int:
        nvme, qid, cqid = self._nvme, command.cdw10 & 0xFFFF, command.cdw11 >> 16
        taken = not 1 <= qid <= self._granted()[0] or qid in nvme.submission_queues
        size = self._new_queue(command, taken, _SQ_ENTRY_LOG2, nvme.cc.iosqes)
        if not 1 <= cqid <= self._granted()[1]:
            raise CommandError(Status.INVALID_QUEUE_ID)
        if cqid not in nvme.completion_queues:
            raise CommandError(Status.INVALID_COMPLETION_QUEUE)
        nvme.submission_queues[qid] = SubmissionQueue(qid, command.prp1, size, cqid)
        return 0

    def _delete_submission_queue(self, command: Command) -> int:
        nvme, qid = self._nvme, command.cdw10 & 0xFFFF
        if qid == 0 or qid not in nvme.submission_queues:
            raise CommandError(Status.INVALID_QUEUE_ID)
        nvme.execution.abort_all(qid)
        del nvme.submission_queues[qid]
        return 0

    def _delete_completion_queue(self, command: Command) -> int:
        nvme, qid = self._nvme, command.cdw10 & 0xFFFF
        if qid == 0 or qid not in nvme.completion_queues:
            raise CommandError(Status.INVALID_QUEUE_ID)
        if any(queue.cqid == qid for queue in nvme.submission_queues.values()):
            raise CommandError(Status.INVALID_QUEUE_DELETION)
        nvme.execution.remove_completion_queue(qid)
        return 0

    def _configure_doorbell_buffers(self, command: Command) -> int:
        """From now on the guest may ring by writing to memory (base specification 1.4, 5.7)."""
        nvme = self._nvme
        if command.prp1 % nvme.page or command.prp2 % nvme.page:
            raise CommandError(Status.INVALID_PRP_OFFSET)
        for address in (command.prp1, command.prp2):
            if nvme.view(address, nvme.page) is None:
                raise CommandError(Status.INVALID_FIELD)
        nvme.shadow.configure(command.prp1, command.prp2)
        return 0
