"""What drivers that people have do to a drive, register write by register write and command by
command: U-Boot, SeaBIOS, Linux 6.1, nvme-cli (as their sources and traces show it).
"""

from __future__ import annotations

import struct

from tests.devices.nvme.test_interrupts import arrived, enable_messages

CAP, VS, INTMS, CC, CSTS, AQA, ASQ, ACQ = 0, 8, 0xC, 0x14, 0x1C, 0x24, 0x28, 0x30
ADMIN_SQ, ADMIN_CQ, IO_SQ, IO_CQ, DATA = (0x8000_0000 + i * 0x10000 for i in range(1, 6))
OK = (0, 0)
FLUSH, WRITE, READ, ZEROES, DATASET = 0, 1, 2, 8, 9
DELETE_SQ, CREATE_SQ, GET_LOG, DELETE_CQ, CREATE_CQ, IDENTIFY = 0, 1, 2, 4, 5, 6
SET_FEATURES, GET_FEATURES, EVENT = 9, 0x0A, 0x0C


def point(driver, register: int, address: int) -> None:
    """Low half first, as all of them do."""
    driver.write(register, address & 0xFFFF_FFFF)
    driver.write(register + 4, address >> 32)


def wait(driver, mask: int, value: int) -> None:
    """Poll CSTS; CAP.TO says for how long at most."""
    limit = (driver.read(CAP) >> 24) * 500_000
    for _ in range(limit // 100):
        if driver.read(CSTS) & mask == value:
            return
        driver.let_time_pass(100e-6)
        driver.events.clock.skip_to(driver.events.clock.now_ps + 100_000_000)
    raise AssertionError("not in time")


def bring_up(driver, entries: int, cc: int, *, first_cc: int | None = 0) -> None:
    """The part that all have in common; `entries` of both admin queues."""
    if first_cc is not None:
        driver.write(CC, first_cc)
        wait(driver, 1, 0)
    driver.write(AQA, (entries - 1) << 16 | entries - 1)
    point(driver, ASQ, ADMIN_SQ)
    point(driver, ACQ, ADMIN_CQ)
    driver.write(CC, cc)
    wait(driver, 1, 1)
    driver.heads[0] = driver.tails[0] = 0
    driver.sizes[0], driver.rings[0] = entries, (ADMIN_SQ, ADMIN_CQ)


def create_pair(driver, entries: int, *, vector: int = 0, cq_flags: int = 3, sq_flags: int = 1):
    size = (entries - 1) << 16 | 1
    cq = driver.command(0, CREATE_CQ, prp1=IO_CQ, cdw10=size, cdw11=vector << 16 | cq_flags)
    sq = driver.command(0, CREATE_SQ, prp1=IO_SQ, cdw10=size, cdw11=1 << 16 | sq_flags)
    assert (cq.status, sq.status) == (OK, OK)
    driver.heads[1] = driver.tails[1] = 0
    driver.sizes[1], driver.rings[1] = entries, (IO_SQ, IO_CQ)


def test_uboot(bare) -> None:
    """Admin and I/O queues of two entries, everything polled, buffers that are not page aligned."""
    bring_up(bare, 2, 0x46_0001)
    assert bare.read(AQA) == 0x1_0001
    assert bare.command(0, SET_FEATURES, cdw10=7, cdw11=0).result == 0
    create_pair(bare, 2, sq_flags=5)  # medium priority: without meaning under round robin
    assert bare.command(0, IDENTIFY, cdw10=1, prp1=DATA).status == OK
    (count,) = struct.unpack("<I", bare.get(DATA + 516, 4))
    mdts = bare.get(DATA + 77, 1)[0]
    for nsid in range(1, count + 1):
        assert bare.command(0, IDENTIFY, nsid=nsid, prp1=DATA).status == OK
        (blocks,) = struct.unpack("<Q", bare.get(DATA, 8))
        assert blocks == 2048
    assert 4096 << mdts >= 128 * 512
    for lba, offset in ((0, 0), (1, 512), (2040, 8), (17, 4092)):
        pages = bare.pages(8 * 512, offset)
        assert bare.io(READ, lba, 8, **pages).status == OK
        got = bare.get(DATA + offset, 8 * 512)
        assert [got[i * 512 : i * 512 + 2] for i in range(8)] == [
            struct.pack("<H", lba + i) for i in range(8)
        ]
    bare.put(DATA + 8, b"boot" * 128)
    assert bare.io(WRITE, 3, 1, prp1=DATA + 8).status == OK
    assert bare.read_blocks(3) == b"boot" * 128


def test_seabios(bare) -> None:
    """Queues of 256 entries, one page of buffer, sectors of 512 bytes, reads of a page at most."""
    bring_up(bare, 256, 0x46_0001, first_cc=None)
    assert bare.read(AQA) == 0xFF_00FF
    assert bare.command(0, IDENTIFY, cdw10=1).status == OK
    (count,) = struct.unpack("<I", bare.get(DATA + 516, 4))
    create_pair(bare, 256, cq_flags=1)
    for nsid in range(1, count + 1):
        assert bare.command(0, IDENTIFY, nsid=nsid).status == OK
    assert bare.read_blocks(0)[:8] == bytes(8)
    for lba in range(0, 300 * 8 % 2040, 8):
        assert bare.io(READ, lba, 8, prp1=DATA).status == OK


def enumerate_like_linux(driver) -> None:
    """From the first look at the registers to the last Identify of a probe."""
    assert driver.read(CAP + 4) >> 5 & 0x40  # command sets by identifier
    assert driver.read(VS) == 0x1_0400
    bring_up(driver, 32, 0x46_0061, first_cc=0x46_0060)
    assert driver.read(AQA) == 0x1F_001F
    assert driver.command(0, IDENTIFY, cdw10=1).status == OK
    assert driver.command(0, GET_LOG, nsid=0xFFFF_FFFF, cdw10=1023 << 16 | 5).status == OK
    effects = driver.get(DATA, 4096)
    assert struct.unpack_from("<I", effects, 1024 + 4 * WRITE)[0] & 3 == 3
    assert struct.unpack_from("<I", effects, 4 * IDENTIFY)[0] & 1 == 1
    driver.put(DATA, struct.pack("<Q", 1_700_000_000_000))
    assert driver.command(0, SET_FEATURES, cdw10=0x0E).status == OK
    driver.put(DATA, bytes([1]).ljust(512, b"\0"))
    assert driver.command(0, SET_FEATURES, cdw10=0x16).status == OK
    assert driver.command(0, GET_LOG, nsid=0xFFFF_FFFF, cdw10=127 << 16 | 2).status == OK
    assert driver.command(0, SET_FEATURES, cdw10=7, cdw11=0x1_0001).result == 0x1_0001


def scan_like_linux(driver) -> None:
    assert driver.command(0, SET_FEATURES, cdw10=0x0B, cdw11=0x1FF).status == OK
    driver.push(0, EVENT)
    assert driver.command(0, IDENTIFY, cdw10=6).status == OK
    assert driver.command(0, IDENTIFY, cdw10=2).status == OK
    assert struct.unpack("<2I", driver.get(DATA, 8)) == (1, 0)
    assert driver.command(0, IDENTIFY, nsid=1, cdw10=3).status == OK
    kinds, at = [], DATA
    while (kind := driver.get(at, 1)[0]) != 0:
        kinds.append(kind)
        at += 4 + driver.get(at + 1, 1)[0]
    assert kinds == [3, 4]  # it wants to see the command set
    assert driver.command(0, IDENTIFY, nsid=1, cdw10=0).status == OK
    assert driver.command(0, IDENTIFY, nsid=1, cdw10=5).status == OK


def shut_down_like_linux(driver) -> None:
    assert driver.command(0, DELETE_SQ, cdw10=1).status == OK
    assert driver.command(0, DELETE_CQ, cdw10=1).status == OK
    driver.write(CC, 0x46_4061)
    wait(driver, 0xC, 8)


def test_linux_by_pin(bare) -> None:
    enumerate_like_linux(bare)
    bare.write(INTMS, 1)
    create_pair(bare, 1024)
    scan_like_linux(bare)
    for lba in range(0, 2048, 1024):  # MDTS at once, then a page
        assert bare.io(READ, lba, 1024, **bare.pages(1 << 19, at=0x8100_0000)).status == OK
        assert bare.io(READ, lba, 8).status == OK
    shut_down_like_linux(bare)


def test_linux_by_message(bare) -> None:
    """The admin queue on vector 0, the I/O queue on vector 1; then a reset, and all again."""
    for _ in range(2):
        enable_messages(bare, 2)
        enumerate_like_linux(bare)
        create_pair(bare, 1024, vector=1)
        scan_like_linux(bare)
        arrived(bare)
        assert bare.read_blocks(8)[:2] == b"\x08\0"
        assert arrived(bare) == [1]
        shut_down_like_linux(bare)
        bare.write(CC, 0x46_0060)
        wait(bare, 1, 0)


def test_nvme_cli(ready) -> None:
    """id-ctrl, id-ns, list-ns, the logs, get-feature, dsm, write-zeroes, flush, reset."""
    assert ready.command(0, IDENTIFY, cdw10=1).status == OK
    assert ready.command(0, IDENTIFY, nsid=1).status == OK
    assert ready.command(0, IDENTIFY, cdw10=2).status == OK
    error_log = ready.log(1, 64 * 64, cdw11=0)
    assert error_log == bytes(4096)
    assert ready.log(3, 512)[8:16] == b"1.0     "
    assert len(ready.log(5, 4096)) == 4096
    found = [ready.command(0, GET_FEATURES, cdw10=fid) for fid in (1, 7)]
    assert [(answer.status, answer.result) for answer in found] == [(OK, 6), (OK, 63 << 16 | 63)]
    assert ready.write_blocks(0, b"d" * 4096).status == OK
    ranges = struct.pack("<IIQIIQ", 0, 2, 0, 0, 1, 7)
    ready.put(DATA, ranges.ljust(4096, b"\0"))
    assert ready.command(1, DATASET, nsid=1, cdw10=1, cdw11=4).status == OK
    expected = bytes(1024) + b"d" * 2560 + bytes(512)
    assert ready.read_blocks(0, 8) == expected
    assert ready.io(ZEROES, 2, 4).status == OK
    assert ready.io(FLUSH, 0, 1, nsid=0xFFFF_FFFF).status == OK
    assert ready.read_blocks(0, 8) == bytes(3072) + b"d" * 512 + bytes(512)
    health = ready.health()
    assert (health["writes"], health["errors"], health["power_cycles"]) == (1, 0, 1)
    ready.enable()
    assert ready.command(0, IDENTIFY, cdw10=1).status == OK
