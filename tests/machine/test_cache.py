"""The cache directory is a convenience: whatever is wrong with it, nothing else is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from emu import cache


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_written", 0)
    return tmp_path / "cache"


def age(path: Path, days: float) -> None:
    """Make an entry look as if it had been read so long ago."""
    then = time.time() - days * 24 * 3600
    os.utime(path, (then, then))


def test_what_is_written_is_read(directory: Path) -> None:
    assert cache.read("a.o") is None
    cache.write("a.o", b"code")
    assert cache.read("a.o") == b"code"
    assert [path.name for path in directory.iterdir()] == ["a.o"]


@pytest.mark.parametrize("position", [0, 20, -1])
def test_a_flipped_bit_is_noticed(directory: Path, position: int) -> None:
    cache.write("a.o", b"code")
    stored = bytearray((directory / "a.o").read_bytes())
    stored[position] ^= 1
    (directory / "a.o").write_bytes(stored)
    assert cache.read("a.o") is None


@pytest.mark.parametrize("left", [0, 10, 40, 48])
def test_a_truncated_entry_is_noticed(directory: Path, left: int) -> None:
    cache.write("a.o", b"code")
    os.truncate(directory / "a.o", left)
    assert cache.read("a.o") is None
    cache.write("a.o", b"code")
    assert cache.read("a.o") == b"code"


def test_a_directory_in_an_entry_s_place_is_no_entry(directory: Path) -> None:
    (directory / "a.o").mkdir(parents=True)
    assert cache.read("a.o") is None
    cache.write("a.o", b"code")
    assert [path.name for path in directory.iterdir()] == ["a.o"]


def test_an_entry_under_another_name_is_noticed(directory: Path) -> None:
    cache.write("a.o", b"code")
    (directory / "a.o").rename(directory / "b.o")
    assert cache.read("b.o") is None


def test_a_pipe_in_an_entry_s_place_is_not_waited_for(directory: Path) -> None:
    directory.mkdir()
    os.mkfifo(directory / "a.o", 0o600)
    assert cache.read("a.o") is None


def test_an_entry_that_others_may_write_is_not_believed(directory: Path) -> None:
    umask = os.umask(0)
    cache.write("a.o", b"code")
    os.umask(umask)
    assert cache.read("a.o") == b"code"
    (directory / "a.o").chmod(0o664)
    assert cache.read("a.o") is None


def test_a_directory_that_cannot_be_made_keeps_nothing(directory: Path) -> None:
    directory.write_bytes(b"a file in its place")
    cache.write("a.o", b"code")
    assert cache.read("a.o") is None
    assert cache.names("") == []


def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("AIOS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    cache.write("a.o", b"code")
    assert cache.read("a.o") is None
    assert cache.names("") == []


def test_an_entry_of_another_user_is_not_believed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write("a.o", b"code")
    if os.getuid() == 0:
        os.chown(directory / "a.o", 12345, -1)
    else:
        other = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: other)
    assert cache.read("a.o") is None


def test_a_full_disk_keeps_nothing_and_leaves_nothing(directory: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("the host has no /dev/full")
    cache.write("a.o", b"old")

    def refuse(source: Path, target: Path) -> None:
        full.write_bytes(b"x")  # raises what a full disk raises

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        cache.write("a.o", b"new")
    assert cache.read("a.o") == b"old"
    assert [path.name for path in directory.iterdir()] == ["a.o"]


def test_what_nobody_read_for_longest_goes_first(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOS_CACHE_LIMIT", "1")
    for n in range(5):
        cache.write(f"{n}.o", bytes(200 << 10))
        age(directory / f"{n}.o", 10 - n)
    assert cache.read("0.o") is not None  # the oldest, but now it has been read
    monkeypatch.setattr(cache, "_written", 1 << 40)
    cache.write("new.o", bytes(200 << 10))
    left = sorted(path.name for path in directory.iterdir())
    assert left == ["0.o", "4.o", "new.o"]


def test_files_abandoned_by_a_process_that_died_are_deleted(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write("a.o", b"")
    for name, days in ((".new-1-1", 1), (".new-2-2", 0)):
        (directory / name).write_bytes(b"half")
        age(directory / name, days)
    monkeypatch.setattr(cache, "_written", 1 << 40)
    cache.write("b.o", b"")
    assert sorted(path.name for path in directory.iterdir()) == [".new-2-2", "a.o", "b.o"]
