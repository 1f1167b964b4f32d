"""The 16550A, and the console's rule for pipes."""

from __future__ import annotations

import os

import pytest

from emu.console import END_OF_INPUT, MemoryConsole, PipeConsole
from emu.devices.line import Line
from emu.devices.uart import Uart

UART = 0x1000_0000
RBR = THR = 0
IER, IIR, LCR, MCR, LSR, MSR, SCR = 1, 2, 3, 4, 5, 6, 7
FCR = IIR


class Setup:
    """A UART on a bus with a console in memory."""

    def __init__(self, bench, data: bytes = b"") -> None:
        self.console, self.line = MemoryConsole(data), Line()
        self.events = bench.events
        self.uart = Uart(bench.bus, bench.events, self.line, self.console)
        bench.bus.map(UART, Uart.SIZE, self.uart)
        self.bus = bench.bus

    def read(self, offset: int) -> int:
        return self.bus.read(UART + offset, 1)

    def write(self, offset: int, value: int) -> None:
        self.bus.write(UART + offset, 1, value)


@pytest.fixture
def setup(bench) -> Setup:
    return Setup(bench)


def test_bytes_written_reach_the_console(setup: Setup) -> None:
    for byte in b"hello":
        assert setup.read(LSR) & 0x60 == 0x60
        setup.write(THR, byte)
    assert setup.console.text == "hello"


def test_the_divisor_latch_hides_data_and_ier(setup: Setup) -> None:
    setup.write(IER, 0x0F)
    setup.write(LCR, 0x83)
    setup.write(0, 0x12)
    setup.write(1, 0x34)
    assert (setup.read(0), setup.read(1)) == (0x12, 0x34)
    setup.write(LCR, 0x03)
    assert setup.read(IER) == 0x0F
    assert setup.console.text == ""


def test_received_bytes_interrupt_and_are_read_in_order(setup: Setup) -> None:
    setup.write(FCR, 0x81)  # FIFOs on, trigger at 8
    setup.write(IER, 1)
    for byte in b"abc":
        setup.uart.receive(byte)
    assert setup.line.level
    assert setup.read(IIR) == 0xCC  # below the trigger: time-out
    for byte in b"defgh":
        setup.uart.receive(byte)
    assert setup.read(IIR) == 0xC4
    assert bytes(setup.read(RBR) for _ in range(8)) == b"abcdefgh"
    assert not setup.line.level
    assert setup.read(IIR) == 0xC1


def test_the_transmitter_interrupt_ends_when_iir_is_read(setup: Setup) -> None:
    setup.write(IER, 2)
    assert setup.line.level
    assert setup.read(IIR) == 2
    assert not setup.line.level
    assert setup.read(IIR) == 1
    setup.write(THR, 0x41)
    assert setup.line.level


def test_an_overrun_loses_the_byte_and_is_reported_once(setup: Setup) -> None:
    setup.write(FCR, 1)
    setup.write(IER, 4)
    for byte in range(17):
        setup.uart.receive(byte)
    assert setup.read(IIR) == 0xC6
    assert setup.read(LSR) & 3 == 3
    assert setup.read(LSR) & 3 == 1
    assert [setup.read(RBR) for _ in range(16)] == list(range(16))


def test_clearing_the_fifo_drops_what_was_received(setup: Setup) -> None:
    setup.write(FCR, 1)
    setup.uart.receive(1)
    setup.write(FCR, 3)
    assert setup.read(LSR) & 1 == 0


def test_loop_mode_connects_the_transmitter_to_the_receiver(setup: Setup) -> None:
    setup.write(MCR, 0x1A)
    setup.write(THR, 0x55)
    assert setup.read(RBR) == 0x55
    assert setup.read(MSR) & 0xF0 == 0x90
    assert setup.console.text == ""
    setup.write(SCR, 0xA5)
    assert setup.read(SCR) == 0xA5


def test_a_pipes_byte_comes_at_the_64th_poll_in_a_row(bench) -> None:
    setup = Setup(bench, b"x")
    for _ in range(10):
        assert setup.read(LSR) & 1 == 0
    setup.read(SCR)  # another access: not idle
    polls = 1
    while not setup.read(LSR) & 1:
        polls += 1
    assert polls == 64
    assert setup.read(RBR) == ord("x")


def test_no_input_is_taken_while_a_device_works(bench) -> None:
    setup = Setup(bench, b"x")
    work = setup.events.schedule(10**12, lambda: None)
    assert not any(setup.read(LSR) & 1 for _ in range(200))
    work.cancel()
    assert any(setup.read(LSR) & 1 for _ in range(64))


def test_a_pipe_ends_with_one_control_d() -> None:
    source, far = os.pipe()
    os.write(far, b"hi")
    os.close(far)
    console = PipeConsole(source)
    assert [console.wait(None) for _ in range(4)] == [104, 105, END_OF_INPUT, None]
    assert console.ended()
    os.close(source)
