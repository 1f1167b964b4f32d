"""A function that runs in a process of its own, while the machine runs on.

    translator = Background("emu.cpu.native.translate.service:translate")
    translator.submit(key, request)                  # bytes; returns at once
    for key, answer in translator.poll():            # never waits
        ...                                          # bytes, or a sentence that says what failed

The function takes bytes and gives bytes. Its process is started by the first request, has a
lower claim on a core, serves requests in their order, and ends when its parent closes it or ends
in whatever way. Nothing here is needed for a right result: a request that fails is answered with a
`str`, and where a process cannot be had, or has died twice, every request is.

Read `Background` first (the parent), then `serve` (the process). Both directions of the pipe carry
frames: a header of `_HEADER`, then as many bytes as it says.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

if TYPE_CHECKING:
    import queue

Key = TypeVar("Key")
"""Whatever the caller names its requests by; it stays in the parent."""

_HEADER = struct.Struct("<QBI")
"""Number of the request, whether it failed (0 in requests), bytes that follow."""

_CHUNK = 1 << 20
_NICE = 5
"""Added to the niceness of the parent, which should not be kept from a core. It is not more: on a
busy host the answers, which make the parent faster, would never come."""

_DEATHS = 2
"""How often a process may die before no other is started. The first death may be the fault of one
request, such as one that makes LLVM abort; more of them speak against all."""

_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from {module} import serve; serve(sys.argv[1])"


class Background(Generic[Key]):
    """Runs `function`, given as "package.module:name", on requests in another process."""

    def __init__(self, function: str) -> None:
        self.function = function
        self._requests: dict[int, tuple[Key, bytes]] = {}  # not yet answered, oldest first
        self._answers: list[tuple[Key, bytes | str]] = []  # made by the parent itself
        self._worker: _Worker | None = None
        self._deaths = self._count = 0

    def submit(self, key: Key, request: bytes) -> None:
        """Have `function(request)` run; a later `poll` gives its answer under `key`."""
        self._count += 1
        self._requests[self._count] = (key, request)
        if self._worker is not None:
            self._worker.send(self._count, request)
        else:
            self._start()

    @property
    def pending(self) -> int:
        """Requests whose answers `poll` has not given yet."""
        return len(self._requests) + len(self._answers)

    def poll(self) -> list[tuple[Key, bytes | str]]:
        """Answers that have arrived, in the order of the requests: bytes, or why there are none.

        It also passes on what the pipe had no room for, so call it now and then while requests are
        pending; a call without any costs next to nothing.
        """
        if not self._requests and not self._answers:
            return []
        if self._worker is not None:
            frames, alive = self._worker.receive()
            for number, answer in frames:
                self._answers.append((self._requests.pop(number)[0], answer))
            if not alive:
                self._died()
        answers, self._answers = self._answers, []
        return answers

    def wait(self, seconds: float) -> list[tuple[Key, bytes | str]]:
        """What `poll` gives, after waiting at most `seconds` for an answer."""
        import time  # nothing that runs beside a machine waits

        end = time.monotonic() + seconds
        while not (answers := self.poll()) and self._requests:
            left = end - time.monotonic()
            if left <= 0 or self._worker is None:
                break
            self._worker.wait(left)
        return answers

    def close(self) -> None:
        """End the process, whatever it is doing, and forget all requests."""
        self._stop()
        self._requests.clear()
        self._answers.clear()

    def _start(self) -> None:
        """Start a process and send it all requests; answer them where that cannot be."""
        why = f"its process died {_DEATHS} times"
        if self._deaths < _DEATHS:
            try:
                self._worker = _Worker(self.function)
            except OSError as error:
                self._deaths, why = _DEATHS, f"no process can be started: {error}"
        if self._worker is None:
            self._fail(len(self._requests), why)
            return
        for number, (_, request) in self._requests.items():
            self._worker.send(number, request)

    def _died(self) -> None:
        """Blame the oldest request, which was being served; another process serves the others."""
        self._stop()
        self._deaths += 1
        self._fail(1, "its process died")
        if self._requests:
            self._start()

    def _fail(self, count: int, why: str) -> None:
        """Answer the `count` oldest requests."""
        for number in list(self._requests)[:count]:
            key, _ = self._requests.pop(number)
            self._answers.append((key, f"'{self.function}' did not answer, because {why}."))

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


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

    def send(self, number: int, request: bytes) -> None:
        """Send a request, now or, where the pipe is full, by and by."""
        self._unsent += _HEADER.pack(number, 0, len(request)) + request
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


def _end(parent: int, process: int, pipes: tuple[int, int]) -> None:
    """End a process and its pipes. It may be killed at any moment: what it writes to disk it
    writes under another name first. A fork of the parent leaves it alone."""
    for pipe in pipes:
        os.close(pipe)
    if os.getpid() == parent:
        with suppress(ProcessLookupError, ChildProcessError):  # somebody waits for all children
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def serve(function: str) -> None:
    """The process: answer the frames of standard input on standard output until the parent ends.

    A thread reads, so that the end of the pipe, which is the end of the parent, is noticed in the
    middle of a long request too.
    """
    import queue
    import threading

    os.nice(_NICE)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints cannot come between the frames
    requests: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    run = _resolve(function)
    while True:
        number, request = requests.get()
        try:
            failed, content = 0, run(request)
        except Exception as error:
            failed, content = 1, f"{type(error).__name__}: {error}".encode()
        answers.write(_HEADER.pack(number, failed, len(content)) + content)
        answers.flush()


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


def _read_requests(requests: queue.SimpleQueue[tuple[int, bytes]]) -> None:
    """Queue the frames of standard input; end the process where they end."""
    source: BinaryIO = sys.stdin.buffer
    while len(header := source.read(_HEADER.size)) == _HEADER.size:
        number, _, size = _HEADER.unpack(header)
        requests.put((number, source.read(size)))
    os._exit(0)
