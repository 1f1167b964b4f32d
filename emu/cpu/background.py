"""A function that runs in a process of its own, while the machine runs on.

    background = Background("emu.cpu.native.service:answer")
    background.submit(key, request)                  # bytes; returns at once
    for key, answer in background.poll():            # never waits
        ...                                          # bytes, or a sentence that says what failed

The function takes bytes and gives bytes. Its process is started by the first request, has a
lower claim on a core, serves requests in their order, and ends when all who use it have closed it
or its parent ends in whatever way; what it is doing then it may still finish, within `GRACE`
seconds, for the sake of what it leaves on disk. A request that can wait is served `later`: when
there has been no other for a while, or at the end. All Backgrounds of one function share a process:
those of the harts of a machine. Nothing here is needed for a right result: a request that fails is
answered with a `str`, and where a process cannot be had, or has died twice, every request is.

Read `Background` first (what a user holds), then `_Service` (what they share), `_Worker` (pipes)
and `serve` (the process). Both directions of the pipe carry frames: a header of `_HEADER`, then as
many bytes as it says.
"""

from __future__ import annotations

import os
import struct
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

if TYPE_CHECKING:
    import queue

Key = TypeVar("Key")
"""Whatever the caller names its requests by; it stays in the parent."""

_Answer = bytes | str
"""What the function gave, or a sentence that says why it has not."""
_Request = tuple[int, bool, bytes]
"""A frame of the process's input: number, whether it can wait, content."""

GRACE = 2.0
"""Seconds that a process may go on after its parent has closed it, to finish a request."""

_IDLE = 2.0
"""Seconds without a request after which one that can wait is served."""

_HEADER = struct.Struct("<QBI")
"""Number of the request, whether it can wait or, in answers, has failed, bytes that follow."""

_CHUNK = 1 << 20
"""Bytes that are read or written at a time."""

_NICE = 5
"""Added to the niceness of the parent, which should not be kept from a core. It is not more: on a
busy host the answers, which make the parent faster, would never come."""

_MEMORY = 4 << 30
"""Bytes of memory that a process may have; one that asks for more dies of it."""

_COLLECT_AFTER = 500_000
"""New objects in the process after which it looks for garbage: the code that it builds is
hundreds of thousands of them, which live until they are compiled."""

_DEATHS = 2
"""How often a process may die before no other is started. The first death may be the fault of one
request, such as one that makes LLVM abort; more of them speak against all."""

_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from {module} import serve; serve(sys.argv[1])"


class Background(Generic[Key]):
    """Runs `function`, given as "package.module:name", on requests in another process."""

    def __init__(self, function: str) -> None:
        self.function = function
        self._keys: dict[int, Key] = {}  # of requests not yet answered, by their numbers
        self._answers: list[tuple[int, _Answer]] = []
        self._service: _Service | None = None

    def submit(self, key: Key, request: bytes, *, later: bool = False) -> None:
        """Have `function(request)` run; some `poll` to come gives its answer under `key`."""
        if self._service is None:
            self._service = _service(self.function)
        self._keys[self._service.submit(self._answers, request, later)] = key

    @property
    def pending(self) -> int:
        """Requests whose answers `poll` has not given yet."""
        return len(self._keys)

    def poll(self) -> list[tuple[Key, _Answer]]:
        """Answers that have arrived, in their order: bytes, or why there are none.

        It also passes on what the pipe had no room for, so call it now and then while requests are
        pending; a call without any costs next to nothing.
        """
        if not self._keys or self._service is None:
            return []
        self._service.receive()
        answers = [(self._keys.pop(number), answer) for number, answer in self._answers]
        self._answers.clear()
        return answers

    def wait(self, seconds: float) -> list[tuple[Key, _Answer]]:
        """What `poll` gives, after waiting at most `seconds` for an answer."""
        import time  # nothing that runs beside a machine waits

        end = time.monotonic() + seconds
        while not (answers := self.poll()) and self._keys and self._service is not None:
            left = end - time.monotonic()
            if left <= 0 or not self._service.wait(left):
                break
        return answers

    def close(self) -> None:
        """Forget all requests, and end the process if nobody else uses it."""
        if self._service is not None:
            self._service.forget(self._keys)
            self._service = None
        self._keys.clear()
        self._answers.clear()


_services: weakref.WeakValueDictionary[tuple[int, str], _Service] = weakref.WeakValueDictionary()
"""By process, since a fork has none of its parent's, and function. Those who use one keep it."""


def _service(function: str) -> _Service:
    """The service of a function."""
    key = os.getpid(), function
    service = _services.get(key)
    if service is None:
        service = _services[key] = _Service(function)
    return service


class _Service:
    """The process of one function, if it has been started, and the requests it has not answered,
    oldest first: each with the list that its answer goes to."""

    def __init__(self, function: str) -> None:
        self._function = function
        self._requests: dict[int, tuple[list[tuple[int, _Answer]], bytes, bool]] = {}
        self._worker: _Worker | None = None
        self._deaths = self._count = 0

    def submit(self, answers: list[tuple[int, _Answer]], request: bytes, later: bool) -> int:
        """Send a request; gives its number."""
        self._count += 1
        self._requests[self._count] = (answers, request, later)
        if self._worker is not None:
            self._worker.send(self._count, request, later)
        else:
            self._start()
        return self._count

    def receive(self) -> None:
        """Hand out the answers that have arrived."""
        if self._worker is None:
            return
        frames, alive = self._worker.receive()
        for number, answer in frames:
            self._answer(number, answer)
        if not alive:
            self._died()

    def wait(self, seconds: float) -> bool:
        """Wait until something can be received; False when nothing can, ever."""
        if self._worker is None:
            return False
        self._worker.wait(seconds)
        return True

    def forget(self, numbers: Iterable[int]) -> None:
        """Nobody waits for the answers to these requests any more."""
        for number in numbers:
            self._requests.pop(number, None)

    def _answer(self, number: int, answer: _Answer) -> None:
        if number in self._requests:  # else nobody waits for it any more
            self._requests.pop(number)[0].append((number, answer))

    def _start(self) -> None:
        """Start a process and send it all requests; answer them where that cannot be."""
        why = f"its process died {_DEATHS} times"
        if self._deaths < _DEATHS:
            try:
                self._worker = _Worker(self._function)
            except OSError as error:
                self._deaths, why = _DEATHS, f"no process can be started: {error}"
        if self._worker is None:
            self._fail([*self._requests], why)
            return
        for number, (_, request, later) in self._requests.items():
            self._worker.send(number, request, later)

    def _died(self) -> None:
        """Blame the request that was being served, the oldest that cannot wait; another process
        serves the others."""
        if self._worker is not None:
            self._worker.stop()
        self._worker = None
        self._deaths += 1
        served = [n for n, (_, _, later) in self._requests.items() if not later]
        self._fail((served or [*self._requests])[:1], "its process died")
        if self._requests:
            self._start()

    def _fail(self, numbers: list[int], why: str) -> None:
        """Answer these requests."""
        for number in numbers:
            self._answer(number, f"'{self._function}' did not answer, because {why}.")


class _Worker:
    """The parent's end of one process: frames to it and from it, without ever waiting."""

    def __init__(self, function: str) -> None:
        program = _PROGRAM.format(module=__name__)
        requests, self._to = os.pipe()
        self._from, answers = os.pipe()
        try:
            process = os.posix_spawn(  # subprocess would take longer to import than this to run
                sys.executable,
                [sys.executable, "-c", program, function, *sys.path],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, requests, 0),
                    (os.POSIX_SPAWN_DUP2, answers, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setpgroup=0,  # Ctrl-C and Ctrl-Z at the terminal are meant for the machine
            )
        except OSError:
            os.close(self._to)
            os.close(self._from)
            raise
        finally:
            os.close(requests)
            os.close(answers)
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        self._unsent, self._received = bytearray(), bytearray()
        # also when nobody closes it: a process that is no longer referred to is not left behind
        self.stop = weakref.finalize(self, _end, os.getpid(), process, (self._to, self._from))

    def send(self, number: int, request: bytes, later: bool) -> None:
        """Send a request, now or, where the pipe is full, by and by."""
        self._unsent += _HEADER.pack(number, later, len(request)) + request
        self._flush()

    def receive(self) -> tuple[list[tuple[int, bytes | str]], bool]:
        """Answers that have arrived, by their requests' numbers; False when no more will."""
        if self._unsent:
            self._flush()
        alive = True
        try:
            while chunk := os.read(self._from, _CHUNK):
                self._received += chunk
            alive = False
        except BlockingIOError:
            pass
        return self._frames(), alive

    def wait(self, seconds: float) -> None:
        """Wait until the process takes or gives something."""
        import select

        select.select([self._from], [self._to] if self._unsent else [], [], seconds)

    def _frames(self) -> list[tuple[int, bytes | str]]:
        """Whole frames among what was received, which are taken from it."""
        frames: list[tuple[int, bytes | str]] = []
        received = self._received
        while len(received) >= _HEADER.size:
            number, failed, size = _HEADER.unpack_from(received)
            if len(received) < _HEADER.size + size:
                break
            content = bytes(received[_HEADER.size : _HEADER.size + size])
            del received[: _HEADER.size + size]
            frames.append((number, content.decode() if failed else content))
        return frames

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(self._to, self._unsent[:_CHUNK])]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it has died, which `receive` is going to notice
            self._unsent.clear()


_leaving: list[int] = []
"""Processes that were told to end, until they have."""


def _end(parent: int, process: int, pipes: tuple[int, int]) -> None:
    """Close the pipes, at which the process ends by itself. What a fork of the parent does with
    its own ends is nothing to it."""
    for pipe in pipes:
        os.close(pipe)
    if os.getpid() == parent:
        _leaving.append(process)
        _reap()


def _reap() -> None:
    """Take note of the ends of processes, so that the host forgets them."""
    for process in list(_leaving):
        try:
            if not os.waitpid(process, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            pass  # somebody waits for all children
        _leaving.remove(process)


def serve(function: str) -> None:
    """The process: answer the frames of standard input on standard output until the parent ends.

    A thread reads, so that the end of the pipe, which is the end of the parent, is noticed in the
    middle of a long request too.
    """
    import gc
    import queue
    import resource
    import signal
    import threading

    gc.set_threshold(_COLLECT_AFTER)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.nice(_NICE)
    with suppress(OSError, ValueError):  # where the limit is lower already
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints cannot come between the frames
    requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    run = _resolve(function)
    for number, request in _in_order(requests):
        try:
            failed, content = 0, run(request)
        except Exception as error:
            failed, content = 1, f"{type(error).__name__}: {error}".encode()
        with suppress(BrokenPipeError):  # the parent has ended, but not yet we
            answers.write(_HEADER.pack(number, failed, len(content)) + content)
            answers.flush()
    os._exit(0)


def _in_order(requests: queue.SimpleQueue[_Request | None]) -> Iterator[tuple[int, bytes]]:
    """The requests as they are to be served, until None has come out of the queue."""
    import queue

    waiting: list[tuple[int, bytes]] = []
    while True:
        try:
            found = requests.get(timeout=_IDLE if waiting else None)
        except queue.Empty:
            yield waiting.pop(0)
            continue
        if found is None:
            yield from waiting
            return
        number, later, request = found
        if later:
            waiting.append((number, request))
        else:
            yield number, request


def _resolve(function: str) -> Callable[[bytes], bytes]:
    """The function of that name, or one that raises why it cannot be imported."""
    import importlib

    module, _, name = function.partition(":")
    try:
        run: Callable[[bytes], bytes] = getattr(importlib.import_module(module), name)
    except Exception as error:
        raised = error

        def run(request: bytes) -> bytes:
            raise raised

    return run


def _read_requests(requests: queue.SimpleQueue[_Request | None]) -> None:
    """Queue the frames of standard input. Where they end, those that are still in the queue and
    cannot wait are in vain, and soon the process ends, done or not."""
    import queue
    import signal

    source: BinaryIO = sys.stdin.buffer
    while len(header := source.read(_HEADER.size)) == _HEADER.size:
        number, later, size = _HEADER.unpack(header)
        requests.put((number, bool(later), source.read(size)))
    left = []
    with suppress(queue.Empty):
        while True:
            left.append(requests.get_nowait())
    for request in left:
        if request is not None and request[1]:
            requests.put(request)
    requests.put(None)
    signal.setitimer(signal.ITIMER_REAL, GRACE)  # its signal ends the process, whatever it does
