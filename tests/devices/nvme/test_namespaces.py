"""Several namespaces on one controller: numbers, sizes of blocks, isolation, inactive ones."""

from __future__ import annotations

import struct

import pytest

from emu.devices.nvme.drives import Drive, controllers, open_namespaces
from emu.errors import AiosError

DATA = 0x8005_0000
OK, INVALID_FIELD, INVALID_NAMESPACE = (0, 0), (0, 2), (0, 0x0B)
FLUSH, WRITE, READ = 0, 1, 2


@pytest.fixture
def three(make_ready, tmp_path):
    """Namespaces 1 (512-byte blocks), 3 (4096-byte blocks) and 4 (read only) of one controller."""
    drives = []
    for nsid, block, readonly in ((1, 512, False), (3, 4096, False), (4, 512, True)):
        path = tmp_path / f"{nsid}.img"
        path.write_bytes(bytes([nsid]) * (1 << 20))
        drives.append(Drive(str(path), readonly, block, controller=0, nsid=nsid))
    return make_ready(drives)


def test_the_lists_name_the_active_ones(three) -> None:
    assert three.command(0, 6, cdw10=1).status == OK
    assert struct.unpack("<I", three.get(DATA + 516, 4)) == (4,)
    for above, expected in ((0, (1, 3, 4, 0)), (1, (3, 4, 0, 0)), (4, (0, 0, 0, 0))):
        assert three.command(0, 6, cdw10=2, nsid=above).status == OK
        assert struct.unpack("<4I", three.get(DATA, 16)) == expected


def test_each_has_its_own_size(three) -> None:
    found = []
    for nsid in (1, 3, 4):
        assert three.command(0, 6, cdw10=0, nsid=nsid).status == OK
        data = three.get(DATA, 4096)
        found.append((int.from_bytes(data[:8], "little"), data[130], data[99]))
    assert found == [(2048, 9, 0), (256, 12, 0), (2048, 9, 1)]


def test_an_inactive_number_identifies_as_zeros_and_takes_no_commands(three) -> None:
    three.fill(DATA, 4096, 0xFF)
    assert three.command(0, 6, cdw10=0, nsid=2).status == OK
    assert three.get(DATA, 4096) == bytes(4096)
    assert three.command(0, 6, cdw10=3, nsid=2).status == INVALID_FIELD
    for opcode in (FLUSH, WRITE, READ, 5, 8, 9, 0x0C, 0x19):
        assert three.io(opcode, 0, 1, nsid=2).status == INVALID_FIELD
        assert three.io(opcode, 0, 1, nsid=5).status == INVALID_NAMESPACE


def test_descriptors_differ_and_name_the_command_set(three) -> None:
    found = set()
    for nsid in (1, 3, 4):
        assert three.command(0, 6, cdw10=3, nsid=nsid).status == OK
        data = three.get(DATA, 32)
        assert data[:4] == b"\x03\x10\0\0"
        assert data[20:25] == b"\x04\x01\0\0\0"
        found.add(data[4:20])
    assert len(found) == 3


def test_blocks_of_4096_bytes(three, tmp_path) -> None:
    three.put(DATA, b"p" * 8192)
    assert three.io(WRITE, 255, 1, nsid=3).status == OK
    assert three.io(WRITE, 255, 2, nsid=3, **three.pages(8192)).status == (0, 0x80)
    assert (tmp_path / "3.img").read_bytes()[-4096:] == b"p" * 4096
    assert (tmp_path / "1.img").read_bytes() == b"\1" * (1 << 20)
    assert three.io(READ, 0, 128, nsid=3, **three.pages(1 << 19)).status == OK  # MDTS in bytes
    assert three.io(READ, 0, 129, nsid=3, **three.pages(1 << 19)).status == INVALID_FIELD


def test_write_protection_and_flush_of_all(three) -> None:
    assert three.io(WRITE, 0, 1, nsid=4).status == (0, 0x20)
    assert three.command(1, 9, nsid=4, cdw11=4).status == (0, 0x20)
    three.put(DATA, bytes(32))
    assert three.command(1, 0x19, nsid=4).status == (0, 0x20)
    assert three.io(WRITE, 0, 1, nsid=1).status == OK
    assert three.io(WRITE, 0, 1, nsid=3).status == OK
    assert three.command(1, FLUSH, nsid=0xFFFF_FFFF).status == OK
    assert [namespace.cache.dirty for namespace in three.namespaces] == [0, 0, 0]


def test_a_flush_is_for_one_namespace(three) -> None:
    assert three.io(WRITE, 0, 1, nsid=1).status == OK
    assert three.io(WRITE, 0, 1, nsid=3).status == OK
    assert three.command(1, FLUSH, nsid=1).status == OK
    assert [namespace.cache.dirty for namespace in three.namespaces] == [0, 4096, 0]


def test_health_is_told_for_all_and_for_each(three) -> None:
    assert three.io(READ, 0, 1, nsid=1).status == OK
    assert three.io(READ, 0, 1, nsid=3).status == OK
    assert three.io(READ, 0, 1, nsid=3).status == OK
    reads = {nsid: three.health(nsid=nsid)["reads"] for nsid in (0, 1, 3, 4, 0xFFFF_FFFF)}
    assert reads == {0: 3, 1: 1, 3: 2, 4: 0, 0xFFFF_FFFF: 3}
    assert three.command(0, 2, cdw10=0x7F_0002, nsid=2).status == INVALID_FIELD
    assert three.command(0, 2, cdw10=0x7F_0002, nsid=9).status == INVALID_NAMESPACE


def test_drives_are_grouped_by_the_controller_they_name() -> None:
    drives = [Drive("a"), Drive("b", controller=7), Drive("c"), Drive("d", controller=7)]
    grouped = [{n: d.path for n, d in group.items()} for group in controllers(drives)]
    assert grouped == [{1: "a"}, {1: "b", 2: "d"}, {1: "c"}]
    numbered = [Drive("a", controller=0, nsid=5), Drive("b", controller=0)]
    assert list(controllers(numbered)[0]) == [5, 6]


def test_impossible_numbers_and_blocks_are_a_sentence(image) -> None:
    twice = [Drive("a", controller=0, nsid=2), Drive("b", controller=0, nsid=2)]
    with pytest.raises(AiosError, match="a and b cannot both be namespace 2 of one controller"):
        controllers(twice)
    with pytest.raises(AiosError, match="a cannot be namespace 0: 1 to 256 can be"):
        controllers([Drive("a", nsid=0)])
    with pytest.raises(AiosError, match="cannot have blocks of 1000 bytes; choose 512 or 4096"):
        open_namespaces({1: Drive(str(image), block=1000)}, 1 << 20)
