"""Asynchronous events (base specification 1.4, 5.2): commands that wait until there is news."""

from __future__ import annotations

from dataclasses import dataclass, field

from emu.devices.nvme.status import CommandError, Status

EVENT_LIMIT = 4
"""How many requests may wait."""
ERROR, SMART = 0, 1
INVALID_DOORBELL, INVALID_DOORBELL_VALUE = 0, 1
TEMPERATURE = 1
_LOG_OF_TYPE = {ERROR: 0x01, SMART: 0x02}


@dataclass
class AsynchronousEvents:
    """The waiting requests and the news that nobody has asked for yet. After an event of a type was
    reported, others of that type wait until the guest reads its log page."""

    requests: list[int] = field(default_factory=list)
    news: list[tuple[int, int]] = field(default_factory=list)
    masked: set[int] = field(default_factory=set)

    def request(self, cid: int) -> None:
        """An Asynchronous Event Request came; raises CommandError if there are too many."""
        if len(self.requests) >= EVENT_LIMIT:
            raise CommandError(Status.ASYNC_EVENT_LIMIT)
        self.requests.append(cid)

    def withdraw(self, cid: int) -> bool:
        """Forget the request `cid` (it is aborted); whether there was one."""
        if cid in self.requests:
            self.requests.remove(cid)
            return True
        return False

    def add(self, kind: int, info: int) -> None:
        """There is news; what is already waiting to be told is not told twice."""
        if (kind, info) not in self.news:
            self.news.append((kind, info))

    def unmask(self, log: int) -> None:
        """The guest has read the log page `log`."""
        self.masked -= {kind for kind, page in _LOG_OF_TYPE.items() if page == log}

    def take(self) -> list[tuple[int, int]]:
        """Requests that can be answered now: command identifiers and results."""
        answers = []
        for kind, info in list(self.news):
            if self.requests and kind not in self.masked:
                self.masked.add(kind)
                self.news.remove((kind, info))
                answers.append((self.requests.pop(0), _LOG_OF_TYPE[kind] << 16 | info << 8 | kind))
        return answers
