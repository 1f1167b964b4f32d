"""The host-target interface: two doublewords of RAM, `tohost` and `fromhost`, shared with the host.

Programs for the Spike simulator (riscv-tests, riscv-arch-test, its proxy kernel) end and print by
it: the ELF file's symbols say where the two are (`emu.loader`), so no other program has them. A
command is a doubleword that the guest stores to `tohost`, device 63:56, command 55:48, payload
47:0; the host takes it by storing zero there. An answer comes in `fromhost`, with the same device
and command, as soon as that is zero. As in Spike:

| device | command | meaning |
| --- | --- | --- |
| 0 | 0, payload odd | end the run with exit code payload >> 1 |
| 0 | 0, payload even | a system call: the payload is the address of eight doublewords |
| 1 | 0 | read a character: the answer is 0x100 with its bits |
| 1 | 1 | write a character |
| any | 0xFF | name yourself: the payload's bits 47:8 are an address for 64 bytes; the answer is 1 |

System calls are Linux's by number; the host's files are not the guest's, so only its console can be
read and written, and the others fail with ENOSYS. The host looks `LATENCY_PS` after a store: a
doubleword may be stored in halves, and virtual time decides, not the engine.
"""

from __future__ import annotations

import struct
from typing import Protocol

from emu.bus import Bus
from emu.clock import PS_PER_MS, PS_PER_NS, EventQueue
from emu.console import END_OF_INPUT, Console
from emu.devices.device import Device

LATENCY_PS = 100 * PS_PER_NS
_KEY_PS = PS_PER_MS  # between two looks for a key of a terminal
_PATIENCE = 0.001  # seconds of host time for which such a look waits

_SIZE = 8
_SYSCALL, _CONSOLE = 0, 1
_NAMES = {_SYSCALL: b"syscall_proxy", _CONSOLE: b"bcd"}
_NAME_SIZE = 64
_READ_CHARACTER, _WRITE_CHARACTER, _IDENTIFY = 0, 1, 0xFF
_PAYLOAD = (1 << 48) - 1
_GOT_CHARACTER = 0x100

_ARGUMENTS = struct.Struct("<8Q")
_SYS_READ, _SYS_WRITE, _SYS_EXIT = 63, 64, 93
_EBADF, _EFAULT, _ENOSYS = -9, -14, -38
_MOST_WRITTEN = 1 << 20  # bytes of one system call; it may write less than it was asked to


class Finish(Protocol):
    """Ends the run with an exit code, and perhaps a sentence about it."""

    def __call__(self, code: int, reason: str = "", /) -> None: ...


class Htif(Device, prefix="HTIF"):
    """Serves the mailbox at the physical addresses `tohost` and `fromhost` (None: no answers)."""

    state = ("_answers", "_reading")

    def __init__(
        self,
        bus: Bus,
        events: EventQueue,
        console: Console,
        finish: Finish,
        tohost: int,
        fromhost: int | None,
    ) -> None:
        super().__init__("htif", events)
        self._memory, self._console, self._finish = bus.memory, console, finish
        self._tohost, self._fromhost = tohost, fromhost
        self._answers: list[int] = []
        self._reading: list[int] = []  # commands that wait for a character
        for address in (tohost, fromhost):
            if address is not None:
                bus.watch(address, _SIZE, self._stored)

    def _stored(self) -> None:
        """The guest has stored to the mailbox: a command perhaps, or there is room for an answer.
        Times are exact, so what the first of several stores scheduled is left as it is."""
        if not self.scheduled(self._look):
            self.after(LATENCY_PS, self._look)

    def _look(self) -> None:
        command = self._memory.read(self._tohost, _SIZE)
        if command:
            self._memory.write(self._tohost, _SIZE, 0)
            self._obey(command)
        self._answer()

    def _answer(self) -> None:
        if self._fromhost is None:
            self._answers.clear()
        elif self._answers and not self._memory.read(self._fromhost, _SIZE):
            self._memory.write(self._fromhost, _SIZE, self._answers.pop(0))

    def _respond(self, command: int, payload: int) -> None:
        self._answers.append(command & ~_PAYLOAD | payload & _PAYLOAD)

    def _obey(self, command: int) -> None:
        device, what, payload = command >> 56, command >> 48 & 0xFF, command & _PAYLOAD
        if what == _IDENTIFY:
            name = _NAMES.get(device, b"").ljust(_NAME_SIZE, b"\0")
            if self._memory.contains(payload >> 8, _NAME_SIZE):
                self._memory.view(payload >> 8, _NAME_SIZE)[:] = name
            self._respond(command, 1)
        elif (device, what) == (_SYSCALL, 0):
            if payload & 1:
                self._end(payload)
            elif self._memory.contains(payload, _ARGUMENTS.size):
                arguments = self._memory.view(payload, _ARGUMENTS.size)
                result = self._call(*_ARGUMENTS.unpack(arguments)[:4])
                struct.pack_into("<q", arguments, 0, result)
                self._respond(command, 1)
        elif (device, what) == (_CONSOLE, _READ_CHARACTER):
            self._reading.append(command)
            self._read_character()
        elif (device, what) == (_CONSOLE, _WRITE_CHARACTER):
            self._console.write(payload & 0xFF)

    def _end(self, payload: int) -> None:
        """The program ends as a test does: 1 says that it passed."""
        code = payload >> 1
        failed = f"tohost is {payload}: test case {code} failed, if this is one of riscv-tests."
        self._finish(code, failed if code else "")

    def _read_character(self) -> None:
        """Answer the oldest command that waits for a character, now or when there is one. The guest
        has asked and waits: a moment at which a pipe may be read."""
        if not self._reading:
            return
        byte = self._console.wait(_PATIENCE)
        if byte is not None:
            self._respond(self._reading.pop(0), _GOT_CHARACTER | byte)
            self._answer()
        if self._reading and not self._console.ended():
            self.at(self.now_ps + _KEY_PS, self._read_character, timer=True)

    def _call(self, number: int, a0: int, a1: int, a2: int) -> int:
        """A system call's result, negative if it is an error."""
        if number == _SYS_EXIT:
            self._finish(a0 & 0xFFFF_FFFF)
            return 0
        if number not in (_SYS_READ, _SYS_WRITE):
            return _ENOSYS
        if a0 > 2 or (number == _SYS_READ) != (a0 == 0):
            return _EBADF
        if not self._memory.contains(a1, a2):
            return _EFAULT
        return self._write(a1, a2) if number == _SYS_WRITE else self._read(a1, a2)

    def _write(self, address: int, count: int) -> int:
        count = min(count, _MOST_WRITTEN)
        for byte in bytes(self._memory.view(address, count)):
            self._console.write(byte)
        return count

    def _read(self, address: int, count: int) -> int:
        """One byte, as a terminal may give it; none at the end of the input."""
        byte = self._console.wait(None) if count else None
        if byte is None or (byte == END_OF_INPUT and self._console.ended()):
            return 0
        self._memory.write(address, 1, byte)
        return 1

    def reset(self) -> None:
        """Forget commands and answers."""
        super().reset()
        self._answers.clear()
        self._reading.clear()
