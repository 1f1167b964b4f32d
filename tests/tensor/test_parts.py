"""Along axes and over windows: the same result, bit for bit, on any number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from emu.cpu.tensor import threads
from emu.cpu.tensor.attributes import Attributes
from tests.tensor.bench import Array, Bench
from tests.tensor.test_elementwise import sample

WINDOW = Attributes(kernel=(3, 3, 0, 0), stride=(2, 2, 1, 1), pad_begin=(1, 1, 0, 0))
CASES: list[tuple[str, tuple[int, ...], Attributes]] = [
    ("tsum", (300, 700), Attributes(axes=2)),
    ("tsum", (300, 700), Attributes(axes=1)),
    ("tmean", (210_001,), Attributes()),
    ("tsum", (70_001, 3), Attributes(axes=1)),
    ("tl2", (52_000, 4), Attributes(axes=2)),
    ("tlogsumexp", (2, 105_000), Attributes(axes=2)),
    ("targmax", (300, 700), Attributes(axis=0)),
    ("thardmax", (300, 700), Attributes(axis=1)),
    ("tsoftmax", (301, 700), Attributes(axis=1)),
    ("tsoftmax", (5, 41, 1000), Attributes(axis=1)),
    ("tlogsoftmax", (1, 210_001), Attributes(axis=1)),
    ("tcumsum", (300, 700), Attributes(axis=1)),
    ("tcumprod", (300, 700), Attributes(axis=0)),
    ("tgroupnorm", (3, 8, 9000), Attributes(groups=2)),
    ("tinstancenorm", (3, 80, 900), Attributes()),
    ("tl2norm", (3, 80, 900), Attributes(axis=1, count=2)),
    ("tlrn", (3, 80, 900), Attributes(alpha=1.0, beta=0.75, gamma=1.0, count=5)),
    ("tmaxpool", (2, 20, 71, 73), WINDOW),
    ("tavgpool", (2, 20, 71, 73), WINDOW),
]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = threads.count()
    yield
    threads.set_count(before)


def result(mnemonic: str, x: Array, block: Attributes) -> bytes:
    """The destination's bytes."""
    shape, kind = x.shape, "f32"
    if mnemonic in ("tsum", "tmean", "tl2", "tlogsumexp"):
        shape = tuple(n for d, n in enumerate(shape) if block.axes and not block.axes >> d & 1)
    elif mnemonic == "targmax":
        shape, kind = tuple(n for d, n in enumerate(shape) if d != block.axis), "i64"
    elif mnemonic in ("tmaxpool", "tavgpool"):
        shape = (*shape[:2], *((n - 2) // 2 + 1 for n in shape[2:]))
    return Bench().run(mnemonic, shape, kind, x, attributes=block).tobytes()


@pytest.mark.parametrize(("mnemonic", "shape", "block"), CASES)
def test_the_number_of_threads_changes_no_bit(
    mnemonic: str, shape: tuple[int, ...], block: Attributes
) -> None:
    x = sample("f32", shape, 1) * np.float32(0.5)
    threads.set_count(1)
    alone = result(mnemonic, x, block)
    for count in (2, 3):
        threads.set_count(count)
        assert result(mnemonic, x, block) == alone
