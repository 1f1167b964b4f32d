"""Products of bytes against NumPy, exactly, and onnxruntime's MatMulInteger."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from emu.cpu.tensor.descriptor import I8, I32, U8, View
from emu.cpu.tensor.plan import Place, planning
from emu.cpu.tensor.qgemm import run_qmatmul
from tests.tensor.bench import Array, Bench, run_in_parts

KINDS = {"u8": np.uint8, "i8": np.int8}
RANDOM = np.random.default_rng(5)


def draw(kind: str, *shape: int) -> Array:
    limits = np.iinfo(KINDS[kind])
    return RANDOM.integers(limits.min, limits.max + 1, shape).astype(KINDS[kind])


def wide(x: Array) -> NDArray[np.int64]:
    return x.astype(np.int64)


@pytest.mark.parametrize("left", KINDS)
@pytest.mark.parametrize("right", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 33, 64), (17, 70, 130), (64, 100, 259)])
def test_products_of_bytes_are_exact(left: str, right: str, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    x, y = draw(left, m, k), draw(right, k, n)
    xz, yz, bias = draw(left, m), draw(right, n), RANDOM.integers(-1000, 1000, n).astype(np.int32)
    plain = Bench().run("tqmatmul", (m, n), "i32", x, y)
    assert (plain == wide(x) @ wide(y)).all()
    moved = Bench().run("tqmatmul", (m, n), "i32", x, y, extras=[bias, xz, yz])
    assert (moved == (wide(x) - wide(xz)[:, None]) @ (wide(y) - wide(yz)) + bias).all()


@pytest.mark.parametrize("turned", [False, True])
def test_any_strides_and_batches_that_broadcast(turned: bool) -> None:
    x, y = draw("u8", 2, 1, 5, 12), draw("i8", 3, 12, 40)
    if turned:
        y = np.ascontiguousarray(y.swapaxes(1, 2)).swapaxes(1, 2)
        x = np.ascontiguousarray(x.T).T
    bench = Bench()
    target = bench.place(np.zeros((2, 3, 5, 80), np.int32)[..., ::2])
    bench.execute("tqmatmul", target, bench.place(x), bench.place(y))
    assert (bench.array(target) == wide(x) @ wide(y)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_requantised_sums_are_rounded_and_saturate(kind: str) -> None:
    x, y = draw("u8", 9, 50), draw("i8", 50, 40)
    scale = RANDOM.uniform(1e-4, 1e-2, 40).astype(np.float32)
    zero = np.array(7, KINDS[kind])
    result = Bench().run("tqmatmul", (9, 40), kind, x, y, extras=[None, None, None, scale, zero])
    real = np.rint((wide(x) @ wide(y)).astype(np.float32) * scale) + 7
    limits = np.iinfo(KINDS[kind])
    assert (result == real.clip(limits.min, limits.max)).all()


@given(parts=st.integers(2, 5), m=st.integers(1, 60), n=st.integers(1, 120))
def test_parts_together_are_the_whole(parts: int, m: int, n: int) -> None:
    x, y = draw("u8", m, 24), draw("i8", 24, n)
    out = np.zeros((m, n), np.int32)
    with planning() as plan:
        views = (
            View(Place(i), dtype, array.shape, array.strides)
            for i, (dtype, array) in enumerate(((I32, out), (U8, x), (I8, y)))
        )
        run_qmatmul(*views, dict.fromkeys(("bias", "xz", "yz", "scale", "dz")))
    run_in_parts(plan, dict(enumerate((out, x, y))), parts)
    assert (out == wide(x) @ wide(y)).all()
