"""The virtio disk where QEMU's comparison does not reach: features, events, time, host files."""

from __future__ import annotations

import os
import struct

import pytest

RAM = 0x8000_0000
USED, AVAILABLE, STATUS, DATA = RAM + 0x3000, RAM + 0x2000, RAM + 0x5000, RAM + 0x6000
VERSION_1, EVENT_IDX, READ_ONLY, ZEROES, DISCARDS = 1 << 32, 1 << 29, 1 << 5, 1 << 14, 1 << 13
IN, OUT, FLUSH, DISCARD, WRITE_ZEROES = 0, 1, 4, 11, 13


def test_a_driver_that_wants_what_is_not_offered_is_refused(driver) -> None:
    offered = driver.offered()
    assert driver.negotiate(offered)
    assert not driver.negotiate(offered | 1 << 40)
    driver.start()
    driver.write(0x24, 0)
    driver.write(0x20, 0xFFFF_FFFF)  # too late: negotiation is over
    assert driver.request(IN, 3, 512, write=True) == 0


def test_a_driver_that_knows_only_32_features_is_served(driver) -> None:
    """As xv6's: without VERSION_1, which QEMU's device does not insist on either."""
    driver.start(0)
    assert driver.request(IN, 3, 512, write=True) == 0


def test_requests_take_time_and_come_one_after_the_other(driver) -> None:
    driver.start()
    driver.prepare(IN, 3, 512, write=True)
    driver.post()
    driver.post()
    times = []
    while (at := driver.events.next_ps()) is not None:
        driver.events.clock.skip_to(at)
        driver.events.run_due()
        times.append((driver.used(), at))
    first = next(at for used, at in times if used == 1)
    second = next(at for used, at in times if used == 2)
    assert first > 80_000_000
    assert second - first > 80_000_000


def test_nothing_is_done_before_the_driver_is_ready(driver) -> None:
    driver.start()
    driver.write(0x70, 11)
    driver.prepare(IN, 3, 512, write=True)
    driver.post()
    driver.let_time_pass()
    assert driver.used() == 0


def test_event_indices_ask_for_notifications_and_choose_interrupts(driver) -> None:
    driver.start(VERSION_1 | EVENT_IDX)
    driver.memory.write(AVAILABLE + 4 + 2 * 8, 2, 1)  # used_event: interrupt after the second
    assert driver.request(IN, 0, 512, write=True) == 0
    assert not driver.line.level
    assert driver.memory.read(USED + 4 + 8 * 8, 2) == 1  # avail_event
    assert driver.request(IN, 0, 512, write=True) == 0
    assert driver.line.level
    driver.write(0x64, 1)
    assert not driver.line.level


def test_a_read_only_disk_says_so_and_stays_as_it_is(make_driver, image) -> None:
    before = image.read_bytes()
    driver = make_driver(image, readonly=True)
    assert driver.offered() & READ_ONLY
    driver.start(VERSION_1 | ZEROES)
    assert driver.request(OUT, 0, 512) == 1
    driver.memory.view(DATA, 16)[:] = struct.pack("<QII", 0, 1, 0)
    assert driver.request(WRITE_ZEROES, 0, 16) == 1
    assert driver.request(FLUSH, 0, 0) == 0
    assert image.read_bytes() == before


def test_discarded_sectors_read_as_zeros(driver, image) -> None:
    driver.start()
    driver.memory.view(DATA, 16)[:] = struct.pack("<QII", 5, 2, 0)
    assert driver.request(DISCARD, 0, 16) == 2  # was not negotiated
    driver.start(VERSION_1 | DISCARDS)
    assert driver.request(DISCARD, 0, 16) == 0
    assert image.read_bytes()[4 * 512 : 8 * 512] == b"\4" * 512 + bytes(1024) + b"\7" * 512
    driver.memory.view(DATA, 16)[:] = struct.pack("<QII", 5, 2, 1)
    assert driver.request(DISCARD, 0, 16) == 2  # a flag that only WRITE ZEROES has


def test_a_host_file_that_fails_is_an_io_error(driver, image) -> None:
    driver.start()
    os.truncate(image, 512)
    assert driver.request(IN, 1, 512, write=True) == 1
    assert driver.request(OUT, 1, 512) == 1
    assert driver.request(IN, 0, 512, write=True) == 0


@pytest.mark.parametrize("when", ["at once", "in flight"])
def test_a_snapshot_holds_requests_in_flight(driver, when: str) -> None:
    driver.start()
    driver.prepare(IN, 9, 512, write=True)
    driver.post()
    if when == "in flight":
        driver.events.clock.skip_to(driver.events.next_ps())
        driver.events.run_due()
    saved, memory = driver.disk.snapshot(), driver.memory.snapshot()
    driver.write(0x70, 0)
    driver.let_time_pass()
    assert driver.used() == 0
    driver.disk.restore(saved)
    driver.memory.restore(memory)
    driver.let_time_pass()
    assert driver.used() == 1
    assert bytes(driver.memory.view(DATA, 512)) == b"\11" * 512


def test_a_buffer_beyond_memory_stops_the_device(driver) -> None:
    driver.start()
    driver.prepare(IN, 0, 512, write=True)
    driver.describe(1, 0x1000_0000, 512, 3, 2)  # the UART is no memory
    driver.post()
    driver.let_time_pass()
    assert driver.read(0x70) & 64
    assert driver.line.level
    driver.start()
    assert not driver.line.level
    assert driver.request(IN, 0, 512, write=True) == 0
