"""Admin and I/O commands: results, data and statuses."""

from __future__ import annotations

import struct

import pytest

DATA = 0x8005_0000
OK = (0, 0)
READ, WRITE, COMPARE, ZEROES, FLUSH = 2, 1, 5, 8, 0


def test_identify_controller(driver) -> None:
    assert driver.command(0, 6, cdw10=1).status == OK
    data = driver.get(DATA, 4096)
    assert data[4:24] == b"AIOS-NVME0          "
    assert data[77] == 7  # largest transfer: 512 KiB
    assert data[512:514] == b"\x66\x44"
    assert struct.unpack_from("<I", data, 516)[0] == 1


def test_identify_namespace_and_lists(driver) -> None:
    assert driver.command(0, 6, cdw10=0, nsid=1).status == OK
    assert struct.unpack("<QQQ", driver.get(DATA, 24)) == (2048, 2048, 2048)
    assert driver.get(DATA + 130, 1) == b"\x09"  # 512-byte blocks
    assert driver.command(0, 6, cdw10=2).status == OK
    assert struct.unpack("<II", driver.get(DATA, 8)) == (1, 0)
    assert driver.command(0, 6, cdw10=3, nsid=1).status == OK
    assert driver.get(DATA, 4) == b"\x03\x10\0\0"
    assert driver.command(0, 6, cdw10=6).status == OK


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"cdw10": 0, "nsid": 0}, (0, 0x0B)),
        ({"cdw10": 0, "nsid": 0xFFFF_FFFF}, (0, 0x0B)),
        ({"cdw10": 0, "nsid": 2}, (0, 0x0B)),
        ({"cdw10": 2, "nsid": 0xFFFF_FFFF}, (0, 0x0B)),
        ({"cdw10": 0x55}, (0, 2)),
        ({"cdw10": 1, "prp1": 0x1000}, (0, 4)),
        ({"cdw10": 1, "prp1": DATA + 2}, (0, 0x13)),
        ({"cdw10": 1, "prp1": DATA + 8, "prp2": DATA + 8}, (0, 0x13)),
    ],
)
def test_wrong_identify_commands(driver, fields, status) -> None:
    assert driver.command(0, 6, **fields).status == status


@pytest.mark.parametrize("fid", [1, 2, 4, 5, 7, 8, 9, 0x0A, 0x0B])
def test_mandatory_features_can_be_read(driver, fid) -> None:
    assert driver.command(0, 0x0A, cdw10=fid).status == OK


def test_features_keep_what_is_set_until_reset(driver) -> None:
    default = driver.command(0, 0x0A, cdw10=4).result
    assert driver.command(0, 9, cdw10=4, cdw11=400).status == OK
    assert driver.command(0, 0x0A, cdw10=4).result == 400
    assert driver.command(0, 0x0A, cdw10=4 | 1 << 8).result == default
    assert driver.command(0, 9, cdw10=4 | 1 << 31).status == (1, 0x0D)
    assert driver.command(0, 0x0A, cdw10=0x7E).status == (0, 2)
    driver.enable()
    assert driver.command(0, 0x0A, cdw10=4).result == default


def test_defaults_of_features_come_as_their_values_do(driver) -> None:
    default, under, third_sensor = 1 << 8, 1 << 20, 3 << 16
    assert driver.command(0, 9, cdw10=4, cdw11=under | 280).status == OK
    assert driver.command(0, 0x0A, cdw10=4, cdw11=under).result == 280
    assert driver.command(0, 0x0A, cdw10=4 | default, cdw11=under).result == 0
    assert driver.command(0, 0x0A, cdw10=4 | default, cdw11=third_sensor).status == (0, 2)
    driver.fill(DATA, 8, 0xEE)
    assert driver.command(0, 0x0A, cdw10=0x0E | default).status == OK
    assert driver.get(DATA + 6, 2) == bytes(2)  # in memory: not set by the host


def test_number_of_queues(driver) -> None:
    assert driver.command(0, 9, cdw10=7, cdw11=0x0003_0001).result == 0x0003_0001
    assert driver.command(0, 9, cdw10=7, cdw11=0x00FF_00FF).result == 0x003F_003F
    assert driver.command(0, 9, cdw10=7, cdw11=0xFFFF_0000).status == (0, 2)
    driver.create_queues()
    assert driver.command(0, 9, cdw10=7, cdw11=0).status == (0, 0x0C)


def test_the_timestamp_runs_on_virtual_time(driver) -> None:
    driver.put(DATA, (1_000_000).to_bytes(8, "little"))
    assert driver.command(0, 9, cdw10=0x0E).status == OK
    driver.events.clock.skip_to(driver.events.clock.now_ps + 5 * 10**12)
    assert driver.command(0, 0x0A, cdw10=0x0E).status == OK
    assert 1_005_000 <= int.from_bytes(driver.get(DATA, 6), "little") <= 1_005_001


def test_log_pages(driver) -> None:
    for log in (1, 2, 3, 5):
        assert driver.command(0, 2, cdw10=0x7F_0000 | log).status == OK
    assert driver.command(0, 2, cdw10=0x7F_0077).status == (1, 9)
    assert driver.command(0, 2, cdw10=0x7F_0002, cdw12=512).status == (0, 2)
    assert driver.command(0, 2, cdw10=0x0F_0001).status == OK
    count, sqid, _, status = struct.unpack("<QHHH", driver.get(DATA, 14))
    assert (count, sqid, status >> 1 & 0xFF) == (2, 0, 2)  # the newest error comes first


def test_reads_and_writes_go_through_to_the_file(ready, image) -> None:
    assert ready.io(READ, 7, 1).status == OK
    assert ready.get(DATA, 16) == struct.pack("<Q", 7) + b"\xaa" * 8
    ready.put(DATA, b"w" * 1024)
    assert ready.io(WRITE, 100, 2).status == OK
    assert ready.io(FLUSH, 0, 1).status == OK
    assert image.read_bytes()[100 * 512 : 102 * 512] == b"w" * 1024
    assert image.read_bytes()[102 * 512] == 102


def test_compare_and_write_zeroes(ready) -> None:
    assert ready.io(READ, 5, 1).status == OK
    assert ready.io(COMPARE, 5, 1).status == OK
    assert ready.io(COMPARE, 6, 1).status == (2, 0x85)
    assert ready.io(ZEROES, 5, 2).status == OK
    assert ready.io(COMPARE, 5, 1).status == (2, 0x85)
    assert ready.io(READ, 6, 1).status == OK
    assert ready.get(DATA, 512) == bytes(512)


@pytest.mark.parametrize(
    ("lba", "blocks", "fields", "status"),
    [
        (2047, 2, {}, (0, 0x80)),
        (2048, 1, {}, (0, 0x80)),
        (1 << 63, 1, {}, (0, 0x80)),
        (0, 1, {"nsid": 0}, (0, 0x0B)),
        (0, 1, {"nsid": 0xFFFF_FFFF}, (0, 2)),  # not a command for all of them
        (0, 1025, {}, (0, 2)),
        (0, 1, {"prp1": 0x10_0000}, (0, 4)),
        (0, 1, {"prp1": DATA + 1}, (0, 0x13)),
        (0, 16, {"prp2": DATA + 8}, (0, 0x13)),
        (0, 64, {"prp2": 0x10_0000}, (0, 4)),
    ],
)
def test_wrong_reads(ready, lba, blocks, fields, status) -> None:
    assert ready.io(READ, lba, blocks, **fields).status == status
    assert ready.io(READ, 0, 1).status == OK


def test_last_block_can_be_read(ready) -> None:
    assert ready.io(READ, 2047, 1).status == OK


@pytest.mark.parametrize("offset", [0, 8, 0xFF0])
@pytest.mark.parametrize("list_offset", [0, 0xFE8])
def test_prp_lists_with_offsets_and_chains(ready, image, offset, list_offset) -> None:
    """40 KiB scattered over every other page, the list starting anywhere and chaining."""
    pages = [0x8080_0000 + 0x2000 * i for i in range(12)]
    first_list, second_list = 0x8070_0000 + list_offset, 0x8072_0000
    needed = -(-(40960 - (4096 - offset)) // 4096)
    entries = pages[1 : 1 + needed]
    room = (4096 - list_offset) // 8
    if len(entries) > room:
        head, tail = entries[: room - 1], entries[room - 1 :]
        ready.put(first_list, struct.pack(f"<{room}Q", *head, second_list))
        ready.put(second_list, struct.pack(f"<{len(tail)}Q", *tail))
    else:
        ready.put(first_list, struct.pack(f"<{len(entries)}Q", *entries))
    assert ready.io(READ, 3, 80, prp1=pages[0] + offset, prp2=first_list).status == OK
    got = ready.get(pages[0] + offset, 4096 - offset)
    for page in entries:
        got += ready.get(page, 4096)
    assert got[:40960] == image.read_bytes()[3 * 512 : 83 * 512]


def test_a_readonly_drive_refuses_writes(image, make_driver) -> None:
    driver = make_driver(image, readonly=True)
    driver.enable()
    driver.create_queues()
    before = image.read_bytes()
    assert driver.io(WRITE, 0, 1).status == (0, 0x20)
    assert driver.io(ZEROES, 0, 1).status == (0, 0x20)
    assert driver.io(READ, 0, 1).status == OK
    assert image.read_bytes() == before


def test_health_counts(ready) -> None:
    ready.io(READ, 0, 8)
    ready.io(WRITE, 0, 8)
    ready.command(0, 2, cdw10=0x7F_0002)
    health = ready.get(DATA, 512)
    reads, writes = (int.from_bytes(health[at : at + 16], "little") for at in (64, 80))
    assert (reads, writes) == (1, 1)
