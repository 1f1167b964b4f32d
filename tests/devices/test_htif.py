"""The mailbox by itself: commands and their answers, in Spike's convention."""

from __future__ import annotations

import struct

import pytest

from emu.console import MemoryConsole
from emu.devices.htif import LATENCY_PS, Htif

RAM = 0x8000_0000
TOHOST, FROMHOST, BUFFER = RAM + 0x1000, RAM + 0x1008, RAM + 0x2000


@pytest.fixture
def mailbox(bench):
    """The device alone; `send` stores a command and gives the answer, `calls` notes the ends."""

    class Mailbox:
        def __init__(self) -> None:
            self.calls: list[int] = []
            self.console, self.memory = MemoryConsole(b"xy"), bench.bus.memory
            self.reasons: list[str] = []
            self.device = Htif(bench.bus, bench.events, self.console, self.finish, TOHOST, FROMHOST)

        def finish(self, code: int, reason: str = "", /) -> None:
            self.calls.append(code)
            self.reasons.append(reason)

        def send(self, command: int) -> int:
            self.memory.write(TOHOST, 8, command)
            bench.bus.stored(TOHOST, 8)
            bench.pass_time(LATENCY_PS)
            assert self.memory.read(TOHOST, 8) == 0
            answer = self.memory.read(FROMHOST, 8)
            self.memory.write(FROMHOST, 8, 0)
            return answer

        def call(self, *arguments: int) -> int:
            padded = [*arguments, *[0] * (8 - len(arguments))]
            self.memory.view(BUFFER, 64)[:] = struct.pack("<8Q", *padded)
            assert self.send(BUFFER) == 1
            return struct.unpack("<q", self.memory.view(BUFFER, 8))[0]

    return Mailbox()


def test_system_calls_reach_the_console_and_nothing_else(mailbox) -> None:
    text = BUFFER + 0x100
    mailbox.memory.view(text, 3)[:] = b"abc"
    assert mailbox.call(64, 1, text, 3) == 3
    assert mailbox.call(64, 7, text, 3) == -9
    assert mailbox.call(64, 1, 0, 3) == mailbox.call(64, 1, text, 1 << 63) == -14
    assert mailbox.call(56, 0) == -38  # openat
    assert mailbox.console.text == "abc"
    assert [mailbox.call(63, 0, text, 9) for _ in range(3)] == [1, 1, 0]
    assert bytes(mailbox.memory.view(text, 2)) == b"yb"
    assert mailbox.calls == []
    mailbox.call(93, 5)
    assert mailbox.calls == [5]
    assert mailbox.reasons == [""]


def test_a_test_that_failed_says_which_case(mailbox) -> None:
    mailbox.send(1)
    mailbox.send(11 << 1 | 1)
    assert mailbox.calls == [0, 11]
    assert mailbox.reasons == [
        "",
        "tohost is 23: test case 11 failed, if this is one of riscv-tests.",
    ]


def test_devices_say_their_names(mailbox) -> None:
    assert mailbox.send(1 << 56 | 0xFF << 48 | BUFFER << 8) == 1 << 56 | 0xFF << 48 | 1
    assert bytes(mailbox.memory.view(BUFFER, 64)) == b"bcd".ljust(64, b"\0")


def test_answers_wait_until_fromhost_is_free(bench, mailbox) -> None:
    mailbox.memory.write(FROMHOST, 8, 7)
    bench.bus.memory.write(TOHOST, 8, 1 << 56)
    bench.bus.stored(TOHOST, 8)
    bench.pass_time(LATENCY_PS)
    assert mailbox.memory.read(FROMHOST, 8) == 7
    mailbox.memory.write(FROMHOST, 8, 0)
    bench.bus.stored(FROMHOST, 8)
    bench.pass_time(LATENCY_PS)
    assert mailbox.memory.read(FROMHOST, 8) == 1 << 56 | 0x100 | ord("x")


def test_what_makes_no_sense_does_nothing(mailbox) -> None:
    for command in (5 << 56, 0xFF << 56 | 0x12 << 48 | 9, 2, 1 << 47, 0xFF << 48):
        mailbox.send(command)
    assert mailbox.calls == []
    assert mailbox.console.text == ""
