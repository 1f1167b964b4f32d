"""How long commands take: the board's figures, at queue depth 1, at large depth, and in bulk.

The figures are those of the P3700 data sheet that the board files cite.
"""

from __future__ import annotations

import struct

import pytest

from emu import board

WRITE, READ = 1, 2


def submit(driver, opcode: int, count: int, blocks: int) -> float:
    """Microseconds from the doorbell to the last completion of `count` commands at once."""
    start = driver.events.clock.now_ps
    pages = driver.pages(512 * blocks, at=0x8100_0000)
    for i in range(count):
        driver.cid = driver.cid + 1 & 0xFFFF
        fields = (opcode, 0, driver.cid, 1, pages["prp1"], pages["prp2"])
        entry = struct.pack("<BBHI16xQQ6I", *fields, 8 * i, 0, blocks - 1, 0, 0, 0)
        driver.put(driver.rings[1][0] + 64 * driver.tails[1], entry)
        driver.tails[1] = (driver.tails[1] + 1) % driver.sizes[1]
    driver.write(0x1008, driver.tails[1])
    driver.let_time_pass()
    for _ in range(count):
        assert driver.answer(1).status == (0, 0)
    return (driver.events.clock.now_ps - start) / 1e6


@pytest.fixture
def deep(driver):
    driver.create_queues(entries=1024, sq=0x8080_0000, cq=0x8090_0000)
    return driver


def test_latency_of_one_command(deep) -> None:
    figures = board.load("workstation").nvme
    assert submit(deep, READ, 1, 8) == pytest.approx(figures.read_latency_us, rel=0.01)
    assert submit(deep, WRITE, 1, 8) == pytest.approx(figures.write_latency_us, abs=1)
    reads = [submit(deep, READ, 1, 8) for _ in range(20)]
    assert 20e6 / sum(reads) == pytest.approx(8_900, rel=0.01)  # measured on the real drive


@pytest.mark.parametrize("name", board.names())
def test_many_small_commands_reach_the_rated_number_a_second(make_driver, image, name) -> None:
    figures = board.load(name).nvme
    shown = {key: getattr(figures, key) for key in ("read_iops", "write_iops")}
    driver = make_driver(image, **shown, write_mb_s=figures.write_mb_s)
    driver.enable()
    driver.create_queues(entries=1024, sq=0x8080_0000, cq=0x8090_0000)
    for opcode, iops, latency in (
        (READ, figures.read_iops, figures.read_latency_us),
        (WRITE, figures.write_iops, figures.write_latency_us),
    ):
        elapsed = submit(driver, opcode, 250, 1) - latency
        assert 249e6 / elapsed == pytest.approx(iops, rel=0.05)


def test_large_commands_reach_the_rated_bandwidth(deep) -> None:
    figures = board.load("workstation").nvme
    for opcode, mb_s in ((READ, figures.read_mb_s), (WRITE, figures.write_mb_s)):
        elapsed = submit(deep, opcode, 40, 1024)
        assert 40 * 1024 * 512 / elapsed == pytest.approx(mb_s, rel=0.05)


def test_reads_and_writes_have_paths_of_their_own(deep) -> None:
    """A read does not wait for the 5 MB of writes in front of it."""
    pages = deep.pages(1 << 19, at=0x8100_0000)
    start = deep.events.clock.now_ps
    for i in range(10):
        deep.push(1, WRITE, nsid=1, cdw10=1024 * (i % 2), cdw12=1023, **pages)
    read = deep.push(1, READ, nsid=1)
    deep.let_time_pass(200e-6)
    assert deep.answer(1).cid == read
    assert (deep.events.clock.now_ps - start) / 1e6 == pytest.approx(112, abs=2)
