"""Asynchronous events (base specification 1.4, 5.2): commands that wait until there is news."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from emu.devices.nvme.identify import EVENT_LIMIT
from emu.devices.nvme.status import CommandError, Status

ERROR = 0
INVALID_DOORBELL, INVALID_DOORBELL_VALUE = 0, 1
_LOG_OF_TYPE = {ERROR: 0x01}


class AsynchronousEvents:
    """The waiting requests and the news that nobody has asked for yet. After an event of a type was
    reported, others of that type wait until the guest reads its log page."""

    def __init__(self, complete: Callable[[int, int], None]) -> None:
        self._complete = complete  # called with a command identifier and a result
        self._requests: deque[int] = deque()
        self._news: deque[tuple[int, int]] = deque()
        self._masked: set[int] = set()

    def request(self, cid: int) -> None:
        """An Asynchronous Event Request came; raises CommandError if there are too many."""
        if len(self._requests) >= EVENT_LIMIT:
            raise CommandError(Status.ASYNC_EVENT_LIMIT)
        self._requests.append(cid)
        self._match()

    def withdraw(self, cid: int) -> bool:
        """Forget the request `cid` (it is aborted); whether there was one."""
        if cid in self._requests:
            self._requests.remove(cid)
            return True
        return False

    def report(self, kind: int, info: int) -> None:
        """There is news; what is already waiting to be told is not told twice."""
        if (kind, info) not in self._news:
            self._news.append((kind, info))
            self._match()

    def unmask(self, log: int) -> None:
        """The guest has read the log page `log`."""
        self._masked -= {kind for kind, page in _LOG_OF_TYPE.items() if page == log}
        self._match()

    def _match(self) -> None:
        for kind, info in list(self._news):
            if not self._requests:
                return
            if kind not in self._masked:
                self._masked.add(kind)
                self._news.remove((kind, info))
                result = _LOG_OF_TYPE[kind] << 16 | info << 8 | kind
                self._complete(self._requests.popleft(), result)

    def clear(self) -> None:
        """Forget everything (controller reset)."""
        self._requests.clear()
        self._news.clear()
        self._masked.clear()
