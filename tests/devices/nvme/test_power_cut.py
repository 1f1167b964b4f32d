"""The volatile write cache: a power cut loses exactly what was not flushed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu.devices.nvme.drives import Drive
from emu.devices.nvme.faults import FaultPlan, Rule

OK = (0, 0)
FLUSH, WRITE, READ, ZEROES, DATASET, COPY = 0, 1, 2, 8, 9, 0x19
FUA = 1 << 30
BLOCK, BLOCKS = 512, 64


def restart(driver) -> None:
    """After a power cut: the guest finds the function as after power-on."""
    driver.turn_on()
    driver.enable()
    driver.create_queues()


def test_what_was_flushed_stays_and_what_was_not_goes(ready, image) -> None:
    before = image.read_bytes()
    assert ready.write_blocks(4, b"F" * 1024).status == OK
    assert ready.io(FLUSH, 0, 1).status == OK
    assert ready.write_blocks(5, b"L" * 1024).status == OK
    assert ready.read_blocks(5, 2) == b"L" * 1024
    ready.nvme.power_cut()
    expected = before[: 4 * 512] + b"F" * 1024 + before[6 * 512 :]
    assert image.read_bytes() == expected
    restart(ready)
    assert ready.read_blocks(4, 3) == expected[4 * 512 : 7 * 512]


def test_a_write_with_fua_stays_and_those_around_it_go(ready, image) -> None:
    before = image.read_bytes()
    assert ready.write_blocks(8, b"a" * 2048).status == OK
    assert ready.write_blocks(9, b"b" * 512, cdw12=FUA).status == OK
    assert ready.write_blocks(10, b"c" * 512).status == OK
    ready.nvme.power_cut()
    assert image.read_bytes() == before[: 9 * 512] + b"b" * 512 + before[10 * 512 :]


def test_without_the_cache_nothing_is_lost(ready, image) -> None:
    assert ready.write_blocks(1, b"x" * 512).status == OK
    assert ready.command(0, 9, cdw10=6, cdw11=0).status == OK  # what it held is made durable
    assert ready.write_blocks(2, b"y" * 512).status == OK
    assert ready.command(0, 0x0A, cdw10=6).result == 0
    ready.nvme.power_cut()
    assert image.read_bytes()[512:1536] == b"x" * 512 + b"y" * 512


def test_zeroes_deallocation_and_copies_are_lost_too(ready, image) -> None:
    before = image.read_bytes()
    assert ready.io(ZEROES, 3, 8).status == OK
    ready.put(0x8005_0000, (0).to_bytes(4, "little") + (5).to_bytes(4, "little") + bytes([20] * 8))
    ready.put(0x8005_0000 + 8, (20).to_bytes(8, "little"))
    assert ready.command(1, DATASET, nsid=1, cdw11=4).status == OK
    assert ready.read_blocks(20, 5) == bytes(2560)
    ready.put(0x8005_0000, bytes(8) + (40).to_bytes(8, "little") + bytes(16))
    assert ready.command(1, COPY, nsid=1, cdw10=50).status == OK
    assert ready.read_blocks(50) == before[40 * 512 : 41 * 512]
    ready.nvme.power_cut()
    assert image.read_bytes() == before


@pytest.mark.parametrize("how", [1, 2])
def test_a_shutdown_makes_everything_durable(ready, image, how) -> None:
    assert ready.write_blocks(7, b"s" * 512).status == OK
    ready.write(0x14, 0x460001 | how << 14)
    ready.let_time_pass()
    ready.nvme.power_cut()
    assert image.read_bytes()[7 * 512 : 8 * 512] == b"s" * 512
    restart(ready)
    health = ready.health()
    assert (health["power_cycles"], health["unsafe_shutdowns"]) == (2, 0)


def test_a_controller_reset_keeps_the_cache_and_a_power_cut_is_counted(ready, image) -> None:
    before = image.read_bytes()
    assert ready.write_blocks(7, b"s" * 512).status == OK
    restart(ready)
    assert ready.read_blocks(7) == b"s" * 512
    ready.nvme.power_cut()
    assert image.read_bytes() == before
    restart(ready)
    assert ready.health()["unsafe_shutdowns"] == 1


def test_the_cache_makes_the_oldest_blocks_durable_when_it_is_full(make_ready, image) -> None:
    driver = make_ready(image, write_cache=4 * 512)
    before = image.read_bytes()
    for lba in range(6):
        assert driver.write_blocks(lba, bytes([lba]) * 512).status == OK
    driver.nvme.power_cut()
    kept = bytes([0]) * 512 + bytes([1]) * 512
    assert image.read_bytes() == kept + before[2 * 512 :]


def test_a_write_larger_than_the_cache_goes_past_it(make_ready, image) -> None:
    driver = make_ready(image, write_cache=4 * 512)
    assert driver.write_blocks(0, b"z" * 8 * 512).status == OK
    driver.nvme.power_cut()
    assert image.read_bytes()[: 8 * 512] == b"z" * 8 * 512


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["write", "write", "write", "fua", "zero", "trim", "flush", "cut", "cache"]
        ),
        st.integers(0, BLOCKS - 1),
        st.integers(1, 12),
    ),
    max_size=24,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_after_any_history_the_medium_holds_what_was_durable(make_ready, tmp_path, steps) -> None:
    """The model: two arrays of blocks, what a read gives and what is durable, and a set of blocks
    in which they may differ."""
    path = tmp_path / "drive.img"
    path.write_bytes(bytes(BLOCK * BLOCKS))
    driver = make_ready(path)
    current = [bytes(BLOCK)] * BLOCKS
    durable = list(current)
    cached = True
    for number, (kind, lba, n) in enumerate(steps):
        n = min(n, BLOCKS - lba)
        blocks = range(lba, lba + n)
        data = [bytes(BLOCK)] * n
        if kind in ("write", "fua"):
            data = [(number * 16 + i + 1).to_bytes(2, "little") * 256 for i in range(n)]
            flags = FUA if kind == "fua" else 0
            assert driver.write_blocks(lba, b"".join(data), cdw12=flags).status == OK
        elif kind == "zero":
            assert driver.io(ZEROES, lba, n).status == OK
        elif kind == "trim":
            entry = bytes(4) + n.to_bytes(4, "little") + lba.to_bytes(8, "little")
            driver.put(0x8005_0000, entry)
            assert driver.command(1, DATASET, nsid=1, cdw11=4).status == OK
        elif kind == "flush":
            assert driver.io(FLUSH, 0, 1).status == OK
        elif kind == "cache":
            cached = not cached
            assert driver.command(0, 9, cdw10=6, cdw11=int(cached)).status == OK
        else:
            driver.nvme.power_cut()
            restart(driver)
            current, cached = list(durable), True
        if kind in ("write", "fua", "zero", "trim"):
            for i, block in zip(blocks, data, strict=True):
                current[i] = block
                if kind == "fua" or not cached:
                    durable[i] = block
        if kind == "flush" or (kind == "cache" and not cached):
            durable = list(current)
        assert driver.read_blocks(0, BLOCKS) == b"".join(current)
    driver.nvme.power_cut()
    assert path.read_bytes() == b"".join(durable)
    driver.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    writes=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)), min_size=1, max_size=8),
)
def test_torn_writes_leave_whole_units_from_the_start(make_ready, tmp_path, seed, writes) -> None:
    """Every block afterwards is the old one or the newest; a write that no later one touches has
    become a beginning of itself in units of 8 blocks, and one of up to 8 blocks is lost whole."""
    path = tmp_path / "drive.img"
    path.write_bytes(bytes(BLOCK * 256))
    driver = make_ready(path)
    driver.namespaces[0].faults = FaultPlan(seed, (Rule("torn-write"),))
    driver.namespaces[0].faulty = True
    newest = [0] * 256
    for number, (lba, n) in enumerate(writes, 1):
        assert driver.write_blocks(lba, bytes([number]) * BLOCK * n).status == OK
        newest[lba : lba + n] = [number] * n
    driver.nvme.power_cut()
    after = path.read_bytes()[::BLOCK]
    assert all(now in (0, new) for now, new in zip(after, newest, strict=True))
    for number, (lba, n) in enumerate(writes, 1):
        if newest[lba : lba + n] == [number] * n:
            kept = after[lba : lba + n].count(number)
            assert after[lba : lba + n] == bytes([number] * kept + [0] * (n - kept))
            assert kept % 8 == 0
            assert kept < n
    driver.close()


def test_the_same_seed_tears_the_same_way(make_driver, tmp_path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('seed = 5\n[[fault]]\nkind = "torn-write"\nprobability = 0.5\n')
    results = []
    for run in range(2):
        path = tmp_path / f"{run}.img"
        path.write_bytes(bytes(1 << 20))
        driver = make_driver([Drive(str(path), faults=str(plan))])
        driver.enable()
        driver.create_queues()
        for i in range(8):
            assert driver.write_blocks(100 * i, bytes([i + 1]) * BLOCK * 64).status == OK
        driver.nvme.power_cut()
        results.append(path.read_bytes())
    assert results[0] == results[1]
    kept = [results[0][51200 * i : 51200 * i + 512 * 64].count(i + 1) // BLOCK for i in range(8)]
    assert any(kept)
    assert not all(kept)


CHILD = """
import sys
from pathlib import Path
from tests.devices.nvme.conftest import Driver
driver = Driver(Path(sys.argv[1]))
driver.enable()
driver.create_queues()
print("ready", flush=True)
while True:
    for lba in range(0, 2048, 16):
        assert driver.write_blocks(lba, b"k" * 16 * 512).status == (0, 0)
"""


def test_killing_the_emulator_leaves_blocks_old_or_new(image) -> None:
    before = image.read_bytes()
    root = Path(__file__).parents[3]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(image)], cwd=root, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    after = image.read_bytes()
    assert len(after) == len(before)
    new = b"k" * 512
    for i in range(2048):
        block = after[512 * i : 512 * i + 512]
        assert block in (before[512 * i : 512 * i + 512], new)
