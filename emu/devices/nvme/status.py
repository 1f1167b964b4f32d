"""Status codes (base specification 1.4, 4.6.1): status code type in bits 10:8, code in bits 7:0."""

from __future__ import annotations

from enum import IntEnum

_DO_NOT_RETRY = 1 << 14


class Status(IntEnum):
    """How a command ended."""

    SUCCESS = 0x000
    INVALID_OPCODE = 0x001
    INVALID_FIELD = 0x002
    ID_CONFLICT = 0x003
    DATA_TRANSFER_ERROR = 0x004
    INTERNAL_ERROR = 0x006
    ABORT_REQUESTED = 0x007
    ABORTED_QUEUE_DELETED = 0x008
    ABORTED_FAILED_FUSED = 0x009
    ABORTED_MISSING_FUSED = 0x00A
    INVALID_NAMESPACE = 0x00B
    SEQUENCE_ERROR = 0x00C
    INVALID_PRP_OFFSET = 0x013
    NAMESPACE_WRITE_PROTECTED = 0x020
    LBA_OUT_OF_RANGE = 0x080
    INVALID_COMPLETION_QUEUE = 0x100
    INVALID_QUEUE_ID = 0x101
    INVALID_QUEUE_SIZE = 0x102
    ABORT_LIMIT = 0x103
    ASYNC_EVENT_LIMIT = 0x105
    INVALID_INTERRUPT_VECTOR = 0x108
    INVALID_LOG_PAGE = 0x109
    INVALID_QUEUE_DELETION = 0x10C
    FEATURE_NOT_SAVEABLE = 0x10D
    FEATURE_NOT_CHANGEABLE = 0x10E
    COMMAND_SIZE_LIMIT = 0x183
    WRITE_FAULT = 0x280
    UNRECOVERED_READ = 0x281
    COMPARE_FAILURE = 0x285

    def field(self) -> int:
        """The 15 bits above the phase tag in a completion. Everything but an abort would fail
        again, and says so."""
        return int(self) if self in _MAY_SUCCEED_LATER else int(self) | _DO_NOT_RETRY


_MAY_SUCCEED_LATER = frozenset(
    {
        Status.SUCCESS,
        Status.ABORT_REQUESTED,
        Status.ABORTED_QUEUE_DELETED,
        Status.ABORTED_FAILED_FUSED,
        Status.ABORT_LIMIT,
    }
)


class CommandError(Exception):
    """A command ends with this status, and with `result` in dword 0 of its completion; `lba` is the
    block that was to blame. Caught by the controller, never seen outside."""

    def __init__(self, status: Status, result: int = 0, lba: int | None = None) -> None:
        super().__init__(status.name)
        self.status, self.result, self.lba = status, result, lba
