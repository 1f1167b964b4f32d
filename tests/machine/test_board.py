"""Board files."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import board
from emu.errors import AiosError


def test_every_board_loads() -> None:
    assert board.names() == ["edge", "server", "workstation"]
    sizes = [board.load(name).memory.size >> 30 for name in board.names()]
    assert sizes == [1, 160, 16]
    assert (board.load("server").gpu.count, board.load("server").tpu.count) == (8, 2)


def test_an_unknown_board_is_a_sentence() -> None:
    with pytest.raises(AiosError, match="no board 'toaster'; the boards are edge, server, work"):
        board.load("toaster")
    with pytest.raises(AiosError, match=r"The board file none\.toml cannot be read: No such file"):
        board.load("none.toml")


@pytest.mark.parametrize(
    ("before", "after", "match"),
    [
        ('size = "1GiB"', 'size = "lots"', r"says memory.size = 'lots'; write a size like '1GiB'"),
        ('size = "1GiB"', "", "lacks 'memory.size'"),
        ('size = "1GiB"', 'size = "1GiB"\ncolour = 1', "has an unknown key 'memory.colour'"),
        ("rows = 64", "rows = -1", "says tpu.rows = -1, but it must be a number of at least 0"),
        ("rows = 64", 'rows = "x"', "says tpu.rows = 'x', but it must be a number"),
        ("[tpu]", "[tpu", "is not valid TOML"),
    ],
)
def test_mistakes_in_a_board_file_are_named(tmp_path, before, after, match) -> None:
    text = (Path(board.__file__).parent / "boards" / "edge.toml").read_text()
    assert before in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(before, after))
    with pytest.raises(AiosError, match=match):
        board.load(str(path))
