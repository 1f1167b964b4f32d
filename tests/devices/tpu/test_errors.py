"""Programs that are wrong: each ends with its code, the instruction and the value; the ring stops,
and after a reset the TPU works."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emu.devices.tpu.declare import encode
from emu.devices.tpu.errors import Code
from emu.devices.tpu.registers import State
from emu.errors import AiosError
from tests.devices.tpu.conftest import BAR, DATA, RAM, RING, SMALL, Driver, Failure

END = RAM + (64 << 20)
BUFFER_ROWS = SMALL.buffer // SMALL.rows
TILE = SMALL.rows * SMALL.columns
READY = "read_weights 0, i8\nmatmul a0, u0, 1, i8, next\n"

CASES = [
    (b"\xee" + bytes(11), Code.OPCODE, 0xEE),
    (encode("nop")[:11] + b"\x80", Code.RESERVED, 1 << 87),
    (encode("matmul", length=1)[:10] + b"\x07\0", Code.RESERVED, 7),
    (f"read_host u{BUFFER_ROWS - 1}, {DATA:#x}, 2", Code.BUFFER, BUFFER_ROWS + 1),
    (f"read_host u0, {DATA:#x}, 0", Code.LENGTH, 0),
    (f"read_host u0, {END - 31:#x}, 1", Code.DMA, END - 31),
    (f"write_host u0, {BAR:#x}, 1", Code.DMA, BAR),
    ("write_host u0, 0x0, 1", Code.DMA, 0),
    (f"set host_pitch, 8\nwrite_host u0, {DATA:#x}, 2", Code.SETTING, 8),
    (f"set row_bytes, 33\nread_host u0, {DATA:#x}, 1", Code.SETTING, 33),
    (f"load_weights 255, {DATA:#x}, 2", Code.WEIGHT_ADDRESS, 255 * 4096),
    (f"load_weights 0, {END - 4096:#x}, 2", Code.DMA, END - 4096),
    (f"read_weights {SMALL.weights - TILE + 1}, i8", Code.WEIGHT_ADDRESS, SMALL.weights - TILE + 1),
    (f"read_weights {SMALL.weights - TILE}, i16", Code.WEIGHT_ADDRESS, SMALL.weights - TILE),
    ("matmul a0, u0, 1, i8, next", Code.NO_WEIGHTS, 0),
    ("matmul a0, u0, 1, i8", Code.NO_WEIGHTS, 0),
    ("read_weights 0, i8\n" * 4 + "read_weights 0x40, i8", Code.FIFO_FULL, 0x40),
    ("read_weights 0, i16\n" * 2 + "read_weights 0x40, i8", Code.FIFO_FULL, 0x40),
    ("read_weights 0, bf16\nmatmul a0, u0, 1, i8, next", Code.FORMAT, 3),
    (READY + "matmul a0, u0, 1, bf16", Code.FORMAT, 0),
    (READY + "matmul a0, u0, 0, i8", Code.LENGTH, 0),
    (READY + "matmul a0, u0, 257, i8", Code.LENGTH, 257),
    (READY + "matmul a1, u0, 256, i8", Code.ACCUMULATOR, 257),
    (READY + f"matmul a0, u{BUFFER_ROWS - 3}, 2, i16", Code.BUFFER, BUFFER_ROWS + 1),
    (READY + "convolve a0, u0, 65535, 65535, i8", Code.LENGTH, 65535**2),
    (READY + f"set in_pitch, {1 << 32 - 1}\nconvolve a0, u0, 2, 1, i8", Code.BUFFER, (1 << 31) + 1),
    ("set shift, 63", Code.SETTING, 63),
    ("set pool_width, 0", Code.SETTING, 0),
    ("activate u0, a0, 1, 2, sigmoid, i32, none", Code.FORMAT, 4),
    ("activate u0, a255, 1, 2, relu, i8, none", Code.ACCUMULATOR, 257),
    ("set pool_height, 64\nset pool_pitch, 8\nactivate u0, a0, 1, 1, relu, i8, max",
     Code.ACCUMULATOR, 505),
    (f"activate u{BUFFER_ROWS - 3}, a0, 1, 1, relu, i32, none", Code.BUFFER, BUFFER_ROWS + 1),
    (f"set bias, {BUFFER_ROWS - 1}\nactivate u0, a0, 1, 1, relu, i8, none, bias",
     Code.BUFFER, BUFFER_ROWS + 1),
]  # fmt: skip


@pytest.mark.parametrize(("program", "code", "value"), CASES)
def test_wrong_program_says_what_and_where(
    driver: Driver, program: str | bytes, code: Code, value: int
) -> None:
    driver.submit("nop")
    driver.submit(program)
    driver.let_time_pass()
    lines = 1 if isinstance(program, bytes) else program.count("\n") + 1
    assert driver.failure() == Failure(code, lines, value & (1 << 64) - 1)
    assert driver.state() is State.FAILED
    driver.submit("interrupt 1")  # nothing more is executed
    driver.let_time_pass()
    assert driver.read(driver.tpu.completed.at) == 0
    driver.reset()
    driver.run("interrupt 2")
    assert driver.read(driver.tpu.completed.at) == 2


def test_failure_raises_the_interrupt(driver: Driver) -> None:
    driver.write(driver.tpu.control.at, 4, 1)
    driver.submit("matmul a0, u0, 1, i8")
    driver.let_time_pass()
    assert driver.lines[1].level
    assert driver.read(driver.tpu.status.at) >> 9 & 1
    driver.write(driver.tpu.status.at, 4, 1 << 9)
    assert not driver.lines[1].level


def test_completion_that_cannot_be_written_is_an_error(driver: Driver) -> None:
    driver.write(driver.tpu.completion_address.at, 8, END - 2)
    driver.submit("interrupt 1")
    driver.let_time_pass()
    assert driver.failure() == Failure(Code.DMA, 0, END - 2)


@pytest.mark.parametrize("value", [4096, 0xFFFF_FFFF])
def test_doorbell_beyond_the_ring_is_an_error(driver: Driver, value: int) -> None:
    driver.write(driver.tpu.tail.at, 4, value)
    assert driver.failure() == Failure(Code.RING, 0, value)


def test_ring_beyond_its_largest_size_is_an_error(driver: Driver) -> None:
    driver.set_ring(65537)
    driver.write(driver.tpu.tail.at, 4, 1)
    assert driver.failure() == Failure(Code.RING, 0, 1)


def test_ring_that_is_no_memory_is_an_error(driver: Driver) -> None:
    driver.write(driver.tpu.ring_base.at, 8, BAR)
    driver.write(driver.tpu.tail.at, 4, 1)
    driver.let_time_pass()
    failure = driver.failure()
    assert failure is not None
    assert (failure.code, failure.value) == (Code.FETCH, BAR)


def test_ring_that_changes_while_it_is_used_is_an_error(driver: Driver) -> None:
    driver.submit("wait_host 1")
    driver.let_time_pass(1e-3)
    driver.write(driver.tpu.ring_entries.at, 4, 16)
    assert driver.failure() == Failure(Code.RING, 0, 16)


def test_nothing_is_reached_before_the_function_is_bus_master(driver: Driver) -> None:
    driver.tpu.config.write(0x04, 2, 2)
    driver.write(driver.tpu.tail.at, 4, 1)
    driver.let_time_pass()
    assert driver.failure() == Failure(Code.FETCH, 0, RING)


def test_program_that_waits_for_ever_is_stopped_by_the_watchdog(driver: Driver) -> None:
    driver.write(driver.tpu.watchdog.at, 4, 500)
    driver.submit("interrupt 1\nwait_host 1")
    driver.let_time_pass(0.4e-3)
    assert driver.state() is State.WAITING
    driver.let_time_pass(0.2e-3)
    assert driver.failure() == Failure(Code.WATCHDOG, 1, 500)


@pytest.mark.parametrize(("limit", "after"), [(0, None), (800, 800), (100, 100)])
def test_watchdog_changed_while_a_program_waits_holds_for_it(
    driver: Driver, limit: int, after: int | None
) -> None:
    driver.write(driver.tpu.watchdog.at, 4, 500)
    driver.submit("wait_host 1")
    driver.let_time_pass(0.2e-3)
    driver.write(driver.tpu.watchdog.at, 4, limit)
    driver.let_time_pass(0.4e-3)
    assert driver.state() is (State.FAILED if limit == 100 else State.WAITING)
    driver.let_time_pass()
    assert driver.failure() == (None if after is None else Failure(Code.WATCHDOG, 0, after))


def test_program_that_never_ends_is_stopped_by_the_watchdog(driver: Driver) -> None:
    """The guest keeps the ring full for ever."""
    driver.write(driver.tpu.watchdog.at, 4, 20)
    driver.submit("read_weights 0, i8\nmatmul a0, u0, 1, i8, next")
    for _ in range(100):
        driver.submit("matmul a0, u0, 256, i8\n" * 20)
        driver.let_time_pass(1e-6)
    failure = driver.failure()
    assert failure is not None
    assert (failure.code, failure.value) == (Code.WATCHDOG, 20)


def test_transfer_that_takes_too_long_is_stopped_by_the_watchdog(driver: Driver) -> None:
    """The last of a program, 2 ms; nothing behind it would notice."""
    driver.write(driver.tpu.watchdog.at, 4, 1000)
    driver.submit(f"write_host u0, {DATA:#x}, 15000")
    driver.let_time_pass()
    assert driver.failure() is None
    driver.submit(f"write_host u0, {DATA:#x}, 32000")
    driver.let_time_pass()
    assert driver.failure() == Failure(Code.WATCHDOG, 1, 1000)


def test_long_instructions_are_stopped_by_the_watchdog_before_they_pile_up(driver: Driver) -> None:
    """Each pools 256 windows of 64 by 64 accumulators: a million cycles, 2.2 ms."""
    driver.write(driver.tpu.watchdog.at, 4, 10_000)
    settings = ["pool_height, 64", "pool_width, 64", "pool_stride_y, 0", "pool_stride_x, 0"]
    settings.append("pool_pitch, 0")
    program = "".join(f"set {setting}\n" for setting in settings)
    driver.submit(program + "activate u0, a0, 16, 16, relu, i8, sum\n" * 50)
    driver.let_time_pass()
    failure = driver.failure()
    assert failure is not None
    assert failure.code is Code.WATCHDOG
    assert failure.entry == len(settings) + 5


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rows": 20}, "has an array of 20 by 16; both must be multiples of 16, up to 65520."),
        ({"columns": 0}, "has an array of 32 by 0; both must be multiples of 16, up to 65520."),
        ({"rows": 65536}, "has an array of 65536 by 16; both must be multiples"),
        ({"weights": 5000}, "has 5000 bytes of weight memory; it must be whole pages"),
    ],
)
def test_impossible_board_is_refused(change: dict[str, int], sentence: str) -> None:
    with pytest.raises(AiosError, match=sentence):
        Driver(replace(SMALL, **change))


def test_reset_stops_a_program_at_once(driver: Driver) -> None:
    driver.put(DATA, np.ones(32, np.uint8))
    driver.submit(f"read_host u0, {DATA:#x}, 1\nwrite_host u0, {DATA + 64:#x}, 1\ninterrupt 1")
    driver.reset()
    driver.let_time_pass()
    assert driver.state() is State.IDLE
    assert not driver.get(DATA + 64, np.uint8, 32).any()
    assert driver.read(driver.tpu.completed.at) == 0
