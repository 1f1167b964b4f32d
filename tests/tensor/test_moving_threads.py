"""Instructions that move large tensors give the same bytes on any number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from emu.cpu.tensor import threads
from emu.cpu.tensor.attributes import Attributes
from tests.tensor.bench import Array, Bench

RNG = np.random.default_rng(1)
TABLE = RNG.standard_normal((700, 300)).astype(np.float32)
IMAGE = RNG.standard_normal((2, 3, 150, 170)).astype(np.float32)
ROWS = RNG.integers(-700, 700, 900)
CASES = {
    "tgather": ((900, 300), [TABLE, ROWS], Attributes(axis=0), np.take(TABLE, ROWS, 0)),
    "tgather_elements": (
        (700, 300), [TABLE, np.argsort(TABLE, 0)], Attributes(axis=0), np.sort(TABLE, 0),
    ),
    "tpad": (
        (2, 3, 154, 173), [IMAGE], Attributes(pad_begin=(0, 0, 2, 1), pad_end=(0, 0, 2, 2), mode=1),
        np.pad(IMAGE, ((0, 0), (0, 0), (2, 2), (1, 2)), "reflect"),
    ),
    "ttopk": ((700, 300), [TABLE], Attributes(), np.sort(TABLE, 1)),
    "ttrilu": ((700, 300), [TABLE], Attributes(axis=-3), np.triu(TABLE, -3)),
    "tonehot": (
        (900, 700), [ROWS], Attributes(count=700, beta=1.0),
        np.eye(700, dtype=np.float32)[ROWS],
    ),
    "tresize": (
        (2, 3, 300, 340), [IMAGE], Attributes(count=4 + 2 * 16), IMAGE.repeat(2, 2).repeat(2, 3)
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = threads.count()
    yield
    threads.set_count(before)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("mnemonic", CASES)
def test_results_do_not_depend_on_the_number_of_threads(mnemonic: str, count: int) -> None:
    shape, sources, at, expected = CASES[mnemonic]
    threads.set_count(count)
    got: Array = Bench().run(mnemonic, shape, "f32", *sources, attributes=at)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_one_long_row_is_divided_too(count: int) -> None:
    threads.set_count(count)
    picked = RNG.integers(-700, 700, 100_003)
    column = np.ascontiguousarray(TABLE[:, 0])
    got = Bench().run("tgather", picked.shape, "f32", column, picked, attributes=Attributes(axis=0))
    np.testing.assert_array_equal(got, column[picked])
