"""The host file: sparse, locked, and changed by others while it is in use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from emu.devices.nvme.backing import Backing
from emu.errors import AiosError

OK, UNRECOVERED_READ, WRITE_FAULT = (0, 0), (2, 0x81), (2, 0x80)
WRITE, READ, COMPARE, ZEROES, DATASET, VERIFY = 1, 2, 5, 8, 9, 0x0C


@pytest.fixture
def backing(tmp_path):
    path = tmp_path / "file.img"
    path.write_bytes(b"\xaa" * (4 << 20))
    opened = Backing(str(path))
    yield opened
    opened.close()


@pytest.mark.parametrize(("offset", "n"), [(0, 512), (512, 1 << 20), (4096, 8192), (0, 4 << 20)])
def test_zeroed_ranges_read_as_zeros_and_nothing_else_changes(backing, offset, n) -> None:
    backing.zero(offset, n)
    data = bytearray(4 << 20)
    backing.read(0, [data])
    assert data == b"\xaa" * offset + bytes(n) + b"\xaa" * ((4 << 20) - offset - n)


def test_zeroing_gives_the_host_its_space_back(backing) -> None:
    before = os.stat(backing.path).st_blocks
    backing.zero(1 << 20, 2 << 20)
    after = os.stat(backing.path).st_blocks
    if after == before:
        pytest.skip("the file system under the test keeps its blocks")
    assert (before - after) * 512 >= (2 << 20) - 8192
    assert os.stat(backing.path).st_size == 4 << 20


def test_hosts_without_holes_get_zeros_written(backing) -> None:
    backing._punches = False
    backing.zero(512, 3 << 20)
    data = bytearray(4 << 20)
    backing.read(0, [data])
    assert data == b"\xaa" * 512 + bytes(3 << 20) + b"\xaa" * ((1 << 20) - 512)


def test_a_file_cut_short_fails_commands_and_never_grows(ready, image) -> None:
    """Were the file mapped, the first of these reads would end the emulator with SIGBUS."""
    os.truncate(image, 512 * 10)
    assert ready.io(READ, 9, 1).status == OK
    for opcode in (READ, COMPARE, VERIFY):
        assert ready.io(opcode, 10, 1).status == UNRECOVERED_READ
        assert ready.io(opcode, 9, 2).status == UNRECOVERED_READ
    for opcode in (WRITE, ZEROES):
        assert ready.io(opcode, 9, 2).status == WRITE_FAULT
        assert ready.io(opcode, 1000, 1).status == WRITE_FAULT
    assert image.stat().st_size == 512 * 10
    assert ready.health()["media_errors"] == 10
    assert ready.io(WRITE, 9, 1).status == OK


MAPPED = """
import mmap, os, sys
with open(sys.argv[1], "r+b") as file:
    mapping = mmap.mmap(file.fileno(), 0)
    os.truncate(sys.argv[1], 4096)
    mapping[1 << 15]
"""


def test_a_mapped_file_would_indeed_be_fatal(tmp_path) -> None:
    """Why the file is not mapped (decision 022)."""
    path = tmp_path / "mapped.img"
    path.write_bytes(bytes(1 << 16))
    done = subprocess.run([sys.executable, "-c", MAPPED, str(path)], check=False)
    assert done.returncode == -signal.SIGBUS


def test_large_drives_are_sparse(make_ready, tmp_path) -> None:
    path = tmp_path / "large.img"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    driver = make_ready(path)
    last = (1 << 31) - 1
    driver.put(0x8005_0000, b"e" * 512)
    assert driver.io(WRITE, last, 1).status == OK
    entry = bytes(4) + (0xFFFF_FFFF).to_bytes(4, "little") + bytes(8)
    driver.put(0x8005_0000, entry)
    assert driver.command(1, DATASET, nsid=1, cdw11=4).status == (0, 0x80)
    driver.put(0x8005_0000, bytes(4) + last.to_bytes(4, "little") + bytes(8))
    assert driver.command(1, DATASET, nsid=1, cdw11=4).status == OK
    assert driver.read_blocks(last) == b"e" * 512
    assert path.stat().st_blocks < 100


@pytest.mark.parametrize(("size", "match"), [(0, "has 0 bytes"), (1000, "has 1000 bytes; a drive")])
def test_impossible_sizes_are_a_sentence(tmp_path, size, match) -> None:
    path = tmp_path / "odd.img"
    path.write_bytes(bytes(size))
    with pytest.raises(AiosError, match=match):
        Backing(str(path))


def test_unusable_files_are_a_sentence(tmp_path) -> None:
    with pytest.raises(AiosError, match=r"drive file .*none.img cannot be opened: No such file"):
        Backing(str(tmp_path / "none.img"))
    with pytest.raises(AiosError, match="cannot be opened: Is a directory"):
        Backing(str(tmp_path))
    with pytest.raises(AiosError, match="is not a regular file or a block device"):
        Backing("/dev/null")
    os.mkfifo(tmp_path / "pipe")  # opening it must not wait for a writer
    with pytest.raises(AiosError, match="is not a regular file or a block device"):
        Backing(str(tmp_path / "pipe"), readonly=True)


def test_a_drive_has_one_user_at_a_time(image) -> None:
    first = Backing(str(image))
    with pytest.raises(AiosError, match="is in use by another machine"):
        Backing(str(image))
    first.close()
    shared = [Backing(str(image), readonly=True) for _ in range(2)]
    for backing in shared:
        backing.close()
