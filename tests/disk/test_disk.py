"""AIFS images: what is put on a disk comes back, and a damaged disk is refused in a sentence."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.errors import AiosError
from toolchain import disk


@given(st.dictionaries(st.from_regex(r"[a-z]{1,12}\.(onnx|npy|bin)", fullmatch=True), st.binary()))
def test_files_come_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("disk")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    image = folder / "image"
    disk.create(image, [(name, folder / name) for name in files], [("out", 100)])
    assert {e.name: disk.extract(image, e.name) for e in disk.read(image)} == {**files, "out": b""}
    assert all(entry.offset % disk.ALIGN == 0 for entry in disk.read(image))


def test_entries_know_their_kind_from_the_name(tmp_path: Path) -> None:
    for name in ("m.onnx", "x.npy", "notes.txt"):
        (tmp_path / name).write_bytes(b"1")
    disk.create(tmp_path / "i", [(p.name, p) for p in sorted(tmp_path.iterdir())])
    assert [e.kind for e in disk.read(tmp_path / "i")] == [disk.MODEL, disk.RAW, disk.TENSOR]


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(AiosError, match="'x' is given twice"):
        disk.create(tmp_path / "i", [("x", tmp_path / "x"), ("x", tmp_path / "x")])


def test_a_missing_file_is_named_and_no_image_is_left(tmp_path: Path) -> None:
    with pytest.raises(AiosError, match=r"absent' cannot be read: No such file"):
        disk.create(tmp_path / "i", [("x", tmp_path / "absent")])
    assert not (tmp_path / "i").exists()


def test_what_is_no_plain_file_is_never_replaced_by_an_image(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for target in (pipe, tmp_path):
        with pytest.raises(AiosError, match="is no plain file"):
            disk.create(target, [("x", tmp_path / "x")])
    assert pipe.is_fifo()


@given(data=st.data())
def test_an_altered_image_is_refused_or_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("disk")
    (folder / "x.npy").write_bytes(b"content")
    image = folder / "image"
    disk.create(image, [("x.npy", folder / "x.npy")])
    raw = bytearray(image.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    image.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with contextlib.suppress(AiosError):
        assert disk.extract(image, "x.npy") == b"content"
