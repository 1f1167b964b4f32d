"""The model's times, from the figures of the machine: closed forms, the paper's statements, and its
table of counters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices import tpu as bench
from bench.devices._tpu_workloads import SHIFT, SIDE
from emu.board import load
from emu.clock import PS_PER_US
from emu.devices.systolic import Dataflow, cycles
from emu.devices.tpu.declare import Unit
from emu.devices.tpu.timing import Access, Count, Schedule
from tests.devices.tpu.conftest import DATA, SMALL, Driver

BOARD = load("server").tpu
TILE_CYCLES = 1350  # 65536 bytes at 34 GB/s, in cycles of 700 MHz, rounded up


def schedule() -> Schedule:
    return Schedule(BOARD)


@given(st.integers(1, 4096), st.sampled_from([16, 32, 256]), st.sampled_from([16, 64, 256]))
def test_one_tile_takes_the_cycles_of_the_closed_form(m: int, rows: int, columns: int) -> None:
    """From the first row of weights to the last sum, of which the closed form counts the steps."""
    s = Schedule(replace(BOARD, rows=rows, columns=columns))
    s.fetch(rows * columns, 1)
    arrived = s.done[Unit.WEIGHTS]
    s.multiply(m, 1, True)
    taken = s.done[Unit.MATRIX] - arrived
    assert taken - 1 == cycles(Dataflow.WEIGHT_STATIONARY, rows, columns, m, columns, rows)


def test_product_takes_a_cycle_a_vector_half_or_quarter_speed_for_16_bits() -> None:
    s = schedule()
    s.fetch(65536, 1)
    first = s.multiply(200, 1, True)
    assert s.multiply(300, 2, False) == first + 200
    assert s.multiply(100, 4, False) == first + 200 + 600
    assert s.counters[Count.ACTIVE] == 200 + 600 + 400
    assert s.counters[Count.FULL_SPEED] == 600


def test_products_that_outlast_a_tile_s_way_hide_it() -> None:
    """Double buffering: with 1400 vectors a tile the array never waits again."""
    s = schedule()
    s.fetch(65536, 1)
    begun = [s.multiply(1400, 1, True)]
    for _ in range(9):
        s.fetch(65536, 1)
        begun.append(s.multiply(1400, 1, True))
    assert np.diff(begun[1:]).tolist() == [1400] * 8


def test_weights_bound_product_waits_for_tiles_and_shifts() -> None:
    s = schedule()
    for _ in range(4):
        s.fetch(65536, 1)
    begun = []
    for _ in range(20):
        begun.append(s.multiply(200, 1, True))
        s.fetch(65536, 1)
    assert set(np.diff(begun)) == {TILE_CYCLES}
    assert s.counters[Count.WEIGHT_SHIFT] == 20 * 256


def test_fifo_runs_four_tiles_ahead_and_one_waits_beside_the_array() -> None:
    s = schedule()
    starts = [s.fetch(65536, 1) for _ in range(4)]
    assert np.diff(starts).tolist() == [TILE_CYCLES] * 3
    s.resume(100_000)
    s.multiply(50_000, 1, True)  # the tiles behind: one into the free cells, three stay
    s.multiply(50_000, 1, True)
    assert s.fetch(65536, 1) < 100_100
    second = s.busy_until[Unit.MATRIX] - 50_000
    assert s.fetch(65536, 1) < second
    s.multiply(1, 1, True)
    assert s.fetch(65536, 1) == second


def test_interlock_holds_what_touches_the_same_rows_only() -> None:
    s = schedule()
    s.fetch(65536, 1)
    s.multiply(200, 1, True, Access("u", 0, 200, False), Access("a", 0, 200, True))
    complete = s.done[Unit.MATRIX]
    assert s.activate(200, Access("a", 0, 200, False), Access("u", 500, 700, True)) == complete
    begun = s.multiply(10, 1, False, Access("u", 0, 10, False), Access("a", 300, 310, True))
    assert begun < complete
    after = s.multiply(10, 1, False, Access("u", 690, 700, False), Access("a", 300, 310, True))
    assert after == complete + 200


def test_sync_holds_the_issue_of_everything() -> None:
    s = schedule()
    done = s.transfer(Unit.INPUT, 1 << 20)
    s.wait([Unit.INPUT])
    assert s.fetch(65536, 1) == done + 1 + 3
    assert s.transfer(Unit.OUTPUT, 64) > done


@pytest.mark.parametrize("row", bench.ROWS, ids=lambda row: row.name)
def test_counters_are_within_3_points_of_the_paper_s_table(row: bench.Row) -> None:
    found = bench.shares(bench.counters(row.program))
    for what, published in row.published.items():
        assert found[what] == pytest.approx(published, abs=3)


@given(st.lists(st.tuples(st.integers(1, 2000), st.booleans(), st.integers(0, 3)), max_size=30))
def test_every_busy_cycle_is_counted_once(program: list[tuple[int, bool, int]]) -> None:
    s = schedule()
    s.begin(1000)
    waiting = 0
    for vectors, following, more in program:
        for _ in range(min(more, 4 - waiting)):
            s.fetch(65536, 1)
            waiting += 1
        if following and waiting:
            waiting -= 1
            s.multiply(vectors, 1, True, Access("a", 0, vectors, True))
        else:
            s.activate(vectors, Access("a", 0, vectors, False))
    s.end()
    c = s.counters
    assert c[Count.BUSY] == s.all_done() - 1000
    parts = (Count.ACTIVE, Count.WEIGHT_STALL, Count.WEIGHT_SHIFT, Count.NON_MATRIX)
    assert c[Count.BUSY] == sum(c[part] for part in parts)
    assert c[Count.RAW] + c[Count.INPUT] <= c[Count.NON_MATRIX]


def test_mlp0_computes_what_numpy_computes(large: Driver) -> None:
    rng = np.random.default_rng(0)
    layers, features, batch = 5, 2048, 200
    blocks = features // SIDE
    weights = rng.integers(-128, 128, (layers, features, features), np.int8)
    for layer, matrix in enumerate(weights):
        tiles = matrix.reshape(blocks, SIDE, blocks, SIDE).swapaxes(1, 2)
        large.put_weights(layer * features * features, tiles)
    x = rng.integers(-128, 128, (batch, features), np.int8)
    source, target = DATA, DATA + (4 << 20)
    large.put(source, x.reshape(batch, blocks, SIDE).swapaxes(0, 1))
    program = bench.mlp0(source, target)
    large.set_ring(len(program) // 12 + 1)
    large.run(program)
    for layer, matrix in enumerate(weights):
        sums = (x.astype(float) @ matrix.astype(float)).astype(np.int64)  # exact: below 2^53
        scaled = sums + (1 << SHIFT - 1) >> SHIFT
        if layer + 1 < layers:
            x = np.clip(np.maximum(scaled, 0), -128, 127).astype(np.int8)
    got = large.get(target, np.int16, blocks, batch, SIDE).swapaxes(0, 1).reshape(batch, features)
    assert np.array_equal(got, np.clip(scaled, -32768, 32767))
    assert len(set(got[0].tolist())) > 100


def test_products_start_after_the_doorbell_that_announced_them(driver: Driver) -> None:
    """A transfer of 2 ms is under way when products of 1.5 ms are added, in its second half."""
    driver.submit("read_weights 0, i8\nmatmul a0, u0, 1, i8, next\n")
    driver.submit(f"read_host u0, {DATA:#x}, 32000")
    driver.let_time_pass(1.5e-3)
    rung, count = driver.events.clock.now_ps, 2800
    driver.submit("matmul a0, u32500, 256, i8\n" * count + "interrupt 1")
    driver.let_time_pass(1e-5)
    assert driver.read(driver.tpu.head.at) == 2  # the transfer
    while not driver.read(driver.tpu.completed.at):
        driver.let_time_pass(1e-5)
    least = count * 256 * PS_PER_US // SMALL.clock_mhz
    assert least < driver.events.clock.now_ps - rung < 1.1 * least
