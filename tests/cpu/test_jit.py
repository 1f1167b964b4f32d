"""Object code is compiled once, survives on disk, and never depends on the disk."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.cpu.jit import compile_cached, source_key


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIOS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _constant(value: int, calls: list[int]) -> Callable[[], str]:
    def build() -> str:
        calls.append(value)
        return f"define i64 @f() {{ ret i64 {value} }}"

    return build


def _call(key: str, value: int, calls: list[int]) -> int:
    code = compile_cached(key, _constant(value, calls))
    return int(ctypes.CFUNCTYPE(ctypes.c_int64)(code.address("f"))())


def test_the_second_time_nothing_is_built(cache: Path) -> None:
    calls: list[int] = []
    assert [_call("seven", 7, calls), _call("seven", 8, calls)] == [7, 7]
    assert calls == [7]


def test_another_key_is_another_module(cache: Path) -> None:
    calls: list[int] = []
    assert [_call("seven", 7, calls), _call("eight", 8, calls)] == [7, 8]


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b[:-1] + b"x", lambda b: b""])
def test_a_damaged_file_is_made_anew(cache: Path, damage: Callable[[bytes], bytes]) -> None:
    calls: list[int] = []
    _call("seven", 7, calls)
    (file,) = cache.glob("seven-*.o")
    file.write_bytes(damage(file.read_bytes()))
    assert [_call("seven", 7, calls), _call("seven", 7, calls)] == [7, 7]
    assert calls == [7, 7]


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path) -> None:
    cache.write_text("a file where the directory should be")
    calls: list[int] = []
    assert [_call("seven", 7, calls), _call("seven", 7, calls)] == [7, 7]
    assert calls == [7, 7]


def test_no_temporary_files_are_left(cache: Path) -> None:
    _call("seven", 7, [])
    assert len(list(cache.iterdir())) == 1


def test_a_function_that_is_not_there_is_a_key_error(cache: Path) -> None:
    with pytest.raises(KeyError, match="g"):
        compile_cached("seven", _constant(7, [])).address("g")


def test_source_key_covers_the_modules_of_a_package() -> None:
    keys = {source_key("emu.isa"), source_key("emu.isa.graph"), source_key("emu.errors")}
    assert len(keys) == 3
