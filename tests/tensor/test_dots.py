"""Sums of products of bytes, by the host's instruction and without one."""

from __future__ import annotations

from functools import cache
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from emu.cpu.tensor import dots
from emu.cpu.tensor.emit import I8, I32, Block, Emitter, vector
from emu.cpu.tensor.kernels import kernel
from emu.cpu.tensor.plan import REGIONS, Place, planning

_BLOCK = Block("sums x y out")


@cache
def _lanes(native: bool) -> int:
    return dots.quad_lanes() if native else 2


def _write_dot(e: Emitter, lanes: int) -> None:
    kind = vector(I32, lanes)
    sums, x, y = (e.load(e.pointer(name), kind) for name in ("sums", "x", "y"))
    e.store(dots.dot(e, sums, x, y), e.pointer("out"))


def _write_interleave(e: Emitter) -> None:
    rows = [e.load(e.offset(e.pointer("x"), 8 * row), vector(I8, 8)) for row in range(4)]
    e.store(dots.interleave(e, rows), e.pointer("out"))


def _run(arrays: list[NDArray[np.generic]], name: str, **words: Place) -> None:
    write = {
        "interleave": _write_interleave,
        "dot native": lambda e: _write_dot(e, _lanes(True)),
        "dot generic": lambda e: _write_dot(e, _lanes(False)),
    }[name]
    with planning() as plan:
        kernel(f"test {name}", _BLOCK, write)(**words)
    bases = [a.ctypes.data for a in arrays]
    plan.run(bases + [0] * (REGIONS - len(bases)))


@pytest.mark.parametrize("native", [True, False])
@given(data=st.data())
def test_a_dot_adds_the_four_products_of_every_lane(native: bool, data: st.DataObject) -> None:
    lanes = _lanes(native)
    seed = data.draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    x = random.integers(0, 256, 4 * lanes).astype(np.uint8)
    y = random.integers(-128, 128, 4 * lanes).astype(np.int8)
    sums = random.integers(-(2**31), 2**31, lanes).astype(np.int32)
    out = np.zeros(lanes, np.int32)
    arrays = cast(list[NDArray[np.generic]], [sums, x, y, out])
    places = {name: Place(i) for i, name in enumerate(("sums", "x", "y", "out"))}
    _run(arrays, f"dot {'native' if native else 'generic'}", **places)
    products = (x.astype(np.int64) * y).reshape(lanes, 4).sum(axis=1)
    assert out.tolist() == (sums + products).astype(np.int32).tolist()


def test_interleaved_rows_are_quads_of_columns() -> None:
    x = np.arange(32, dtype=np.uint8)
    out = np.zeros(32, np.uint8)
    _run(cast(list[NDArray[np.generic]], [x, out]), "interleave", x=Place(0), out=Place(1))
    assert out.reshape(8, 4).tolist() == x.reshape(4, 8).T.tolist()
