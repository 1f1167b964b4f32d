"""How many threads share the work of a large tensor instruction, and those threads.

    set_count(2)                      # or the environment variable AIOS_TENSOR_THREADS
    count()

Results do not depend on the number. Threads are started when there is first something for them to
do, and sleep when there has been nothing for a while. `emu.cpu.tensor.unit.teamwork` is what they
execute; it takes no lock of Python's.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from collections.abc import Callable

from emu.cpu.tensor.arena import reserved
from emu.cpu.tensor.kernels import THREADS_MAX
from emu.cpu.tensor.unit.build import unit_code
from emu.cpu.tensor.unit.layout import WORD, Team
from emu.errors import AiosError

VARIABLE = "AIOS_TENSOR_THREADS"
_FLOPS_PER_NS, _BYTES_PER_NS = 128, 20
_WORTH_NS = 12_000
"""How long one thread should be busy, at the rates of one core with its data in a cache, before
others help: handing out parts takes about a microsecond, waking a thread several."""
_STACK_BYTES = 4 << 20
"""Of every thread: kernels keep tiles there, and some hosts give threads little."""


def is_large(flops: int, moved: int) -> bool:
    """Whether an instruction of so many operations and bytes moved gains from several threads."""
    return max(flops // _FLOPS_PER_NS, moved // _BYTES_PER_NS) >= _WORTH_NS


def _usual() -> int:
    """The environment's number, else the processors that this process may use."""
    text = os.environ.get(VARIABLE)
    if text is None:
        getaffinity = getattr(os, "sched_getaffinity", None)  # macOS has none
        there = len(getaffinity(0)) if getaffinity else os.cpu_count() or 1
        return min(there, THREADS_MAX)
    if not text.isdecimal() or not 1 <= int(text) <= THREADS_MAX:
        raise AiosError(f"{VARIABLE} is '{text}'; it should be a number from 1 to {THREADS_MAX}.")
    return int(text)


class _Team:
    """The threads of this process and the memory they share."""

    def __init__(self) -> None:
        self._memory = reserved(Team.SIZE)  # private: a fork must not share it
        self._words = memoryview(self._memory).cast("Q")
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._threads: list[threading.Thread] = []
        self._wanted: int | None = None
        self._is_open = self._is_needed = False
        atexit.register(self.stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    @property
    def wanted(self) -> int:
        """How many threads there are to be, the one that issues included."""
        if self._wanted is None:
            self._wanted = _usual()
        return self._wanted

    def set_wanted(self, number: int) -> None:
        """Change how many there are to be."""
        if not 1 <= number <= THREADS_MAX:
            raise ValueError(f"{number} is no number of threads from 1 to {THREADS_MAX}")
        self.stop()
        self._wanted = number
        if self._is_needed:
            self.start()

    def start(self) -> None:
        """Have the threads run, if they do not yet."""
        self._is_needed = True
        if self._threads or self.wanted == 1:
            return
        if not self._is_open:
            self._call("open_team")(self.address)
            self._is_open = True
        self._words[Team.QUIT // WORD] = 0
        before = threading.stack_size(_STACK_BYTES)
        for number in range(1, self.wanted):
            thread = threading.Thread(
                target=self._call("work"),
                args=(self.address,),
                name=f"tensor-{number}",
                daemon=True,
            )
            self._threads.append(thread)
            thread.start()
        threading.stack_size(before)
        self._words[Team.PARTS // WORD] = self.wanted

    def stop(self) -> None:
        """End the threads: at exit, before the code they execute is unloaded."""
        self._words[Team.PARTS // WORD] = 1
        if self._threads:
            self._call("close_team")(self.address)
            for thread in self._threads:
                thread.join()
            self._threads.clear()

    def _forget(self) -> None:
        """After a fork, in the child: its only thread is the one that forked."""
        self._memory[:] = bytes(Team.SIZE)
        self._threads.clear()
        self._is_open = False

    def _call(self, name: str) -> Callable[[int], None]:
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(unit_code().address(name))


_team = _Team()


def team_address() -> int:
    """Host address of the team's memory."""
    return _team.address


def start() -> None:
    """Have the threads ready; costs nothing when they are."""
    _team.start()


def count() -> int:
    """How many threads a large instruction uses."""
    return _team.wanted


def set_count(number: int) -> None:
    """Use `number` threads from now on, 1 to `THREADS_MAX`; not while an instruction executes."""
    _team.set_wanted(number)
