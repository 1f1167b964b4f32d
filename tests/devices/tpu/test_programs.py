"""Programs on the device: what comes back is what NumPy says, completion and waiting included."""

from __future__ import annotations

import io

import numpy as np
import pytest

from emu.devices.tpu.registers import State
from emu.trace import Trace
from tests.devices.tpu.conftest import DATA, SMALL, WEIGHTS, Driver
from tests.devices.tpu.oracle import BITS, TYPES, activated, draw, from_bf16, pooled, products

ROWS, COLUMNS, WIDTH = SMALL.rows, SMALL.columns, max(SMALL.rows, SMALL.columns)
X, Y, Z = DATA, DATA + 0x10_0000, DATA + 0x20_0000
MSIX = 0x11  # the capability's number
RANDOM = np.random.default_rng(11)


def size_of(form: str) -> int:
    return BITS[form] // 8


@pytest.mark.parametrize(
    ("x", "w", "result"),
    [("i8", "i8", "i32"), ("u8", "i8", "i32"), ("i16", "i8", "i32"), ("i8", "i16", "i32"),
     ("i16", "i16", "i32"), ("bf16", "bf16", "f32")],
)  # fmt: skip
def test_layer_from_memory_to_memory(driver: Driver, x: str, w: str, result: str) -> None:
    n = 20
    inputs = draw(RANDOM, x, n, WIDTH)
    tiles = [draw(RANDOM, w, ROWS, COLUMNS) for _ in range(2)]
    driver.put(X, inputs)
    for i, tile in enumerate(tiles):
        driver.put_weights(0x8000 * i, tile)
    rows = n * size_of(x)
    driver.run(f"""
        read_weights 0x0, {w}
        read_weights 0x8000, {w}
        read_host u0, {X:#x}, {rows}
        matmul a3, u0, {n}, {x}, next
        matmul a3, u0, {n}, {x}, next, accumulate
        activate u1000, a3, 1, {n}, identity, {result}, none
        write_host u1000, {Y:#x}, {4 * n}
    """)
    got = driver.get(Y, TYPES[result], n, WIDTH)
    first, second = (products(inputs[:, :ROWS], tile, x, w) for tile in tiles)
    assert np.array_equal(got[:, :COLUMNS], first + second)
    assert not got[:, COLUMNS:].any()


def test_convolution_with_padding_and_pooling(driver: Driver) -> None:
    """3 by 3 taps over a padded image, a product each; then relu and the largest of 2 by 2."""
    height, width = 12, 10
    image = draw(RANDOM, "i8", height + 2, width + 2, ROWS)
    taps = [draw(RANDOM, "i8", ROWS, COLUMNS) for _ in range(9)]
    bias = draw(RANDOM, "i16", COLUMNS).astype(np.int32)
    padded = np.zeros((height + 2, width + 2, ROWS), np.int8)
    padded[1:-1, 1:-1] = image[1:-1, 1:-1]
    driver.put(X, padded)
    driver.put(Z, bias)
    for i, tap in enumerate(taps):
        driver.put_weights(4096 * i, tap)
    program = [f"read_host u0, {X:#x}, {padded.shape[0] * padded.shape[1]}",
               "set row_bytes, 32", f"read_host u5000, {Z:#x}, 2", "set row_bytes, 0",
               f"set in_pitch, {width + 2}", "set bias, 5000", "set multiplier, 3",
               "set shift, 8", "set zero, 4", f"set pool_pitch, {width}"]  # fmt: skip
    program += [f"set {name}, 2" for name in
                ("pool_height", "pool_width", "pool_stride_y", "pool_stride_x")]  # fmt: skip
    for i in range(9):
        at, flag = i // 3 * (width + 2) + i % 3, ", accumulate" if i else ""
        program += [f"read_weights {4096 * i:#x}, i8",
                    f"convolve a0, u{at}, {height}, {width}, i8, next{flag}"]  # fmt: skip
    program += [f"set out_pitch, {width // 2 + 1}",
                f"activate u6000, a0, {height // 2}, {width // 2}, relu, u8, max, bias",
                f"write_host u6000, {Y:#x}, {height // 2 * (width // 2 + 1)}"]  # fmt: skip
    driver.run("\n".join(program))
    got = driver.get(Y, np.uint8, height // 2, width // 2 + 1, WIDTH)[:, :-1, :COLUMNS]
    sums = np.zeros((height, width, COLUMNS), np.int32)
    for i, tap in enumerate(taps):
        window = padded[i // 3 : i // 3 + height, i % 3 : i % 3 + width]
        sums += products(window.reshape(-1, ROWS), tap, "i8", "i8").reshape(sums.shape)
    expected = pooled(sums, "max", (2, 2), (2, 2)) + bias
    assert np.array_equal(got, activated(expected, "relu", "u8", 3, 8, 4, 1.0))


def test_convolution_of_bf16_with_a_stride(driver: Driver) -> None:
    image, tap = draw(RANDOM, "bf16", 5, 6, ROWS), draw(RANDOM, "bf16", ROWS, COLUMNS)
    driver.put(X, image)
    driver.put_weights(64, tap)
    driver.run(f"""
        read_weights 64, bf16
        read_host u0, {X:#x}, 60
        set in_pitch, 12
        set in_step, 2
        convolve a0, u0, 2, 3, bf16, next
        activate u100, a0, 2, 3, tanh, bf16, none
        set out_step, 3
        activate u200, a0, 2, 3, identity, f32, none
        write_host u100, {Y:#x}, 12
        write_host u200, {Z:#x}, 72
    """)
    sums = products(image[0:4:2, 0:6:2].reshape(6, ROWS), tap, "bf16", "bf16")
    got = driver.get(Y, np.uint16, 6, WIDTH)[:, :COLUMNS]
    assert np.array_equal(got, activated(sums, "tanh", "bf16", 0, 0, 0, 1.0))
    spread = driver.get(Z, np.float32, 6, 3, WIDTH)
    assert np.array_equal(spread[:, 0, :COLUMNS], sums)
    assert not spread[:, 1:].any()
    assert abs(from_bf16(got) - np.tanh(sums)).max() < 0.01


def test_nan_in_an_accumulator_has_the_same_bits_on_every_host(driver: Driver) -> None:
    """0 times infinity, and a NaN with a sign and a payload, seen as raw integers."""
    inputs = np.zeros((2, WIDTH), np.uint16)
    inputs[1, :] = 0x3F80
    tile = np.full((ROWS, COLUMNS), 0x7F80, np.uint16)
    tile[0, 1::2] = 0xFFC1
    driver.put(X, inputs)
    driver.put_weights(0, tile)
    driver.run(f"""
        read_weights 0, bf16
        read_host u0, {X:#x}, 4
        matmul a0, u0, 2, bf16, next
        matmul a0, u0, 1, bf16, accumulate
        activate u10, a0, 1, 2, identity, i32, none
        write_host u10, {Y:#x}, 8
    """)
    got = driver.get(Y, np.uint32, 2, WIDTH)[:, :COLUMNS]
    assert (got[0] == 0x7FC0_0000).all()
    assert (got[1, 0::2] == 0x7F80_0000).all()
    assert (got[1, 1::2] == 0x7FC0_0000).all()


@pytest.mark.parametrize("result", ["i8", "i16", "i32"])
def test_bias_over_which_results_are_written_counts_for_all_of_them(
    driver: Driver, result: str
) -> None:
    """The rows of the bias are among those of the results."""
    bias = draw(RANDOM, "i8", COLUMNS).astype(np.int32)
    driver.put(X, bias)
    driver.run(f"""
        set bias, 1
        read_host u1, {X:#x}, 2
        activate u0, a0, 2, 4, identity, {result}, none, bias
        write_host u0, {Y:#x}, {8 * size_of(result)}
    """)
    got = driver.get(Y, TYPES[result], 8, WIDTH)
    assert np.array_equal(got[:, :COLUMNS], np.tile(bias, (8, 1)))
    assert not got[:, COLUMNS:].any()


def test_rows_of_a_wider_matrix_are_read_and_written_by_pitch(driver: Driver) -> None:
    matrix = draw(RANDOM, "u8", 9, 50)
    driver.put(X, matrix)
    driver.run(f"""
        set host_pitch, 50
        set row_bytes, 18
        read_host u7, {X + 32:#x}, 9
        write_host u7, {Y + 32:#x}, 9
        set row_bytes, 0
        set host_pitch, 0
        write_host u7, {Z:#x}, 9
    """)
    assert np.array_equal(driver.get(Y, np.uint8, 9, 50)[:, 32:], matrix[:, 32:])
    assert not driver.get(Y, np.uint8, 9, 50)[:, :32].any()
    whole = driver.get(Z, np.uint8, 9, WIDTH)
    assert np.array_equal(whole[:, :18], matrix[:, 32:])
    assert not whole[:, 18:].any()


def test_weights_come_by_dma_and_lie_behind_bar_2(driver: Driver) -> None:
    data = draw(RANDOM, "u8", 8192)
    driver.put(X, data)
    driver.run(f"load_weights 3, {X:#x}, 2")
    assert driver.bus.read(WEIGHTS + 3 * 4096 + 8, 8) == int.from_bytes(
        data[8:16].tobytes(), "little"
    )
    driver.bus.write(WEIGHTS, 4, 0x1234)
    assert bytes(driver.tpu.weights.view(0, 4)) == b"\x34\x12\0\0"


def test_interrupt_gives_its_tag_to_the_register_to_memory_and_to_the_hart(driver: Driver) -> None:
    driver.write(driver.tpu.completion_address.at, 8, Y)
    driver.write(driver.tpu.control.at, 4, 1)
    driver.run("interrupt 77")
    assert driver.read(driver.tpu.completed.at) == 77
    assert driver.get(Y, np.uint32, 1)[0] == 77
    assert driver.lines[1].level
    driver.write(driver.tpu.status.at, 4, 1 << 8)
    assert not driver.lines[1].level


def test_message_is_sent_for_the_end_and_for_a_failure(driver: Driver) -> None:
    """MSI-X: two vectors, each a word written to memory; INTx stays silent."""
    config, table = driver.tpu.config, driver.tpu.bars[4][1]
    at = config.read(0x34, 1)
    while config.read(at, 1) != MSIX:
        at = config.read(at + 1, 1)
    for vector in range(2):
        table.write(16 * vector, 8, Y + 4 * vector)
        table.write(16 * vector + 8, 4, 100 + vector)
        table.write(16 * vector + 12, 4, 0)
    config.write(at + 2, 2, 1 << 15)
    driver.write(driver.tpu.control.at, 4, 1)
    driver.run("interrupt 1")
    assert driver.get(Y, np.uint32, 2).tolist() == [100, 0]
    driver.submit("matmul a0, u0, 1, i8")
    driver.let_time_pass()
    assert driver.get(Y, np.uint32, 2).tolist() == [100, 101]
    assert not driver.lines[1].level


def test_weight_memory_can_be_read_and_written_as_any_memory_on_the_bus(driver: Driver) -> None:
    data = draw(RANDOM, "u8", 4, WIDTH)
    driver.put_weights(0x4000, data)
    driver.run(f"""
        read_host u0, {WEIGHTS + 0x4000:#x}, 4
        write_host u0, {WEIGHTS + 0x100:#x}, 4
        write_host u0, {Y:#x}, 4
        load_weights 2, {WEIGHTS:#x}, 1
    """)
    assert np.array_equal(driver.get(Y, np.uint8, 4, WIDTH), data)
    assert bytes(driver.tpu.weights.view(0x2100, data.size)) == data.tobytes()


def test_nothing_is_seen_before_its_time(driver: Driver) -> None:
    """Four round trips of 547 ns, with 768 bytes of instructions, 128 bytes twice, and the tag, at
    500 MB/s: the data is there after 3.69 us, the tag after 4.25 us."""
    driver.put(X, np.full((4, WIDTH), 7, np.uint8))
    driver.submit(f"read_host u0, {X:#x}, 4\nwrite_host u0, {Y:#x}, 4\ninterrupt 1")
    assert driver.state() is State.RUNNING
    driver.let_time_pass(3.6e-6)
    assert not driver.get(Y, np.uint8, 4 * WIDTH).any()
    driver.let_time_pass(0.2e-6)
    assert driver.get(Y, np.uint8, 4 * WIDTH).all()
    assert driver.read(driver.tpu.completed.at) == 0
    driver.let_time_pass(0.5e-6)
    assert driver.read(driver.tpu.completed.at) == 1


def test_program_waits_for_the_host_s_number(driver: Driver) -> None:
    driver.submit("interrupt 1\nwait_host 5\ninterrupt 2")
    driver.let_time_pass(1e-3)
    assert (driver.state(), driver.read(driver.tpu.completed.at)) == (State.WAITING, 1)
    driver.write(driver.tpu.host_sync.at, 4, 4)
    assert driver.state() is State.WAITING
    driver.write(driver.tpu.host_sync.at, 4, 6)
    driver.let_time_pass(1e-3)
    assert (driver.state(), driver.read(driver.tpu.completed.at)) == (State.IDLE, 2)


def test_halt_stops_until_the_doorbell_rings_again(driver: Driver) -> None:
    driver.submit("interrupt 1\nhalt\ninterrupt 2")
    driver.let_time_pass()
    assert (driver.state(), driver.read(driver.tpu.completed.at)) == (State.HALTED, 1)
    driver.write(driver.tpu.tail.at, 4, driver.tail)
    driver.let_time_pass()
    assert (driver.state(), driver.read(driver.tpu.completed.at)) == (State.IDLE, 2)


@pytest.mark.parametrize("apart", [0, 1e-6, 2.5e-6, 4e-6, 50e-6])
def test_doorbell_while_a_program_runs_adds_to_it(driver: Driver, apart: float) -> None:
    """Whether it waits for a transfer, is in its last cycles, or is long done."""
    data = draw(RANDOM, "u8", 8, WIDTH)
    driver.put(X, data)
    for i in range(8):
        at = WIDTH * i
        driver.submit(f"read_host u{i}, {X + at:#x}, 1\nwrite_host u{i}, {Y + at:#x}, 1")
        driver.let_time_pass(apart)
    driver.run("interrupt 3")
    assert np.array_equal(driver.get(Y, np.uint8, 8, WIDTH), data)
    assert driver.read(driver.tpu.completed.at) == 3


def test_same_program_takes_the_same_time_and_leaves_the_same_trace() -> None:
    stories = []
    for _ in range(2):
        out = io.StringIO()
        driver = Driver(SMALL, trace=Trace(out))
        driver.put_weights(0, np.ones(ROWS * COLUMNS, np.int8))
        driver.run("read_weights 0, i8\nmatmul a0, u0, 9, i8, next\ndebug 4\ninterrupt 1")
        stories.append(out.getvalue())
    assert stories[0] == stories[1]
    assert '"text": "matmul a0, u0, 9, i8, next"' in stories[0]


def test_ring_wraps(driver: Driver) -> None:
    driver.set_ring(5)
    for tag in range(1, 20):
        driver.run(f"debug {tag}\ninterrupt {tag}")
        assert driver.read(driver.tpu.completed.at) == tag
    assert driver.read(driver.tpu.debug_tag.at) == 19


def test_snapshot_in_the_middle_of_a_program_goes_on_as_the_original(driver: Driver) -> None:
    inputs, tile = draw(RANDOM, "i8", 8, WIDTH), draw(RANDOM, "i8", ROWS, COLUMNS)
    driver.put(X, inputs)
    driver.put_weights(0, tile)
    driver.submit(f"""
        read_weights 0, i8
        read_host u0, {X:#x}, 8
        matmul a0, u0, 8, i8, next
        activate u50, a0, 1, 8, identity, i32, none
        write_host u50, {Y:#x}, 32
        interrupt 9
    """)
    driver.let_time_pass(1e-6)
    saved = driver.tpu.snapshot()
    driver.let_time_pass()
    expected = driver.get(Y, np.int32, 8, WIDTH).copy()
    assert np.array_equal(expected[:, :COLUMNS], products(inputs[:, :ROWS], tile, "i8", "i8"))
    driver.put(Y, np.zeros((8, WIDTH), np.int32))
    driver.reset()
    driver.tpu.restore(saved)
    driver.let_time_pass()
    assert np.array_equal(driver.get(Y, np.int32, 8, WIDTH), expected)
    assert driver.read(driver.tpu.completed.at) == 9
