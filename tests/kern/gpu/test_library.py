"""The kernel library (`kernel_src/gpu/`) against NumPy, on both engines of lanes."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kern.gpu.bench import KernelBench

Array = NDArray[Any]


@cache
def _module(name: str) -> KernelBench:
    return KernelBench(name)


@pytest.fixture
def random() -> np.random.Generator:
    """The same numbers in every test."""
    return np.random.default_rng(4)


def _floats(random: np.random.Generator, *shape: int) -> Array:
    return random.standard_normal(shape).astype(np.float32)


# ── Vectors ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("n", [1, 256, 1000])
def test_vecadd(random: np.random.Generator, n: int) -> None:
    x, y = _floats(random, n), _floats(random, n)
    *_, total = _module("blas").run("vecadd", (n,), (256,), n, x, y, np.zeros_like(x))
    np.testing.assert_array_equal(total, x + y)


def test_saxpy_rounds_once(random: np.random.Generator) -> None:
    x, y = _floats(random, 1000), _floats(random, 1000)
    _, got = _module("blas").run("saxpy", (1000,), (128,), 1000, 2.5, x, y)
    np.testing.assert_array_equal(got, (2.5 * x.astype(float) + y).astype(np.float32))


@pytest.mark.parametrize("n", [0, 5, 1000])
def test_totals_of_groups_add_up(random: np.random.Generator, n: int) -> None:
    x = _floats(random, max(n, 1))
    _, sums = _module("blas").run("total", (192,), (64,), n, x, np.zeros(3, np.float32))
    _, sums = _module("blas").run("total", (64,), (64,), 3, sums, np.zeros(1, np.float32))
    assert sums[0] == pytest.approx(x[:n].sum(dtype=float), abs=1e-4)


def test_dot(random: np.random.Generator) -> None:
    x, y = _floats(random, 777), _floats(random, 777)
    *_, sums = _module("blas").run("dot", (128,), (128,), 777, x, y, np.zeros(1, np.float32))
    assert sums[0] == pytest.approx(x.astype(float) @ y, abs=1e-4)


# ── Matrices and grids ───────────────────────────────────────────────────────────────────────────


def _rounded(n: int, to: int = 16) -> int:
    return -(-n // to) * to


@pytest.mark.parametrize(("m", "n", "k"), [(16, 16, 16), (19, 33, 21), (1, 40, 7)])
@pytest.mark.parametrize("kernel", ["sgemm", "sgemm_tiled", "sgemm_tensor"])
def test_matrix_products(random: np.random.Generator, kernel: str, m: int, n: int, k: int) -> None:
    a, b, c = _floats(random, m, k), _floats(random, k, n), np.zeros((m, n), np.float32)
    grid, group = {
        "sgemm": ((n, m), (8, 8)),
        "sgemm_tiled": ((_rounded(n), _rounded(m)), (16, 16)),
        "sgemm_tensor": ((32 * -(-n // 128), -(-m // 128)), (32,)),
    }[kernel]
    *_, got = _module("gemm").run(kernel, grid, group, m, n, k, a, b, c)
    np.testing.assert_allclose(got, a.astype(float) @ b, atol=1e-5)


def test_matrix_product_of_several_blocks(random: np.random.Generator) -> None:
    a, b = _floats(random, 150, 8), _floats(random, 8, 260)
    c = np.zeros((150, 260), np.float32)
    *_, got = _module("gemm").run("sgemm_tensor", (96, 2), (32,), 150, 260, 8, a, b, c)
    np.testing.assert_allclose(got, a.astype(float) @ b, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (20, 37)])
def test_transpose(random: np.random.Generator, height: int, width: int) -> None:
    x = _floats(random, height, width)
    grid = (_rounded(width), _rounded(height))
    _, got = _module("grids").run(
        "transpose", grid, (16, 16), height, width, x, np.zeros((width, height), np.float32)
    )
    np.testing.assert_array_equal(got, x.T)


def test_conv3(random: np.random.Generator) -> None:
    x, w = _floats(random, 13, 21), _floats(random, 3, 3)
    *_, got = _module("grids").run("conv3", (21, 13), (8, 8), 13, 21, x, w, np.zeros_like(x))
    padded = np.pad(x.astype(float), 1)
    want = sum(w[i, j] * padded[i : i + 13, j : j + 21] for i in range(3) for j in range(3))
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_stencil(random: np.random.Generator) -> None:
    x = _floats(random, 5, 7, 9)
    _, got = _module("grids").run(
        "stencil", (9, 7, 5), (8, 4, 2), 5, 7, 9, 0.1, x, np.zeros_like(x)
    )
    want = x.astype(float)
    inner = want[1:-1, 1:-1, 1:-1]
    around = (
        want[:-2, 1:-1, 1:-1] + want[2:, 1:-1, 1:-1] + want[1:-1, :-2, 1:-1]
        + want[1:-1, 2:, 1:-1] + want[1:-1, 1:-1, :-2] + want[1:-1, 1:-1, 2:]
    )  # fmt: skip
    want[1:-1, 1:-1, 1:-1] = inner + 0.1 * (around - 6 * inner)
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_gaussian_elimination_solves(random: np.random.Generator) -> None:
    n = 9
    a = _floats(random, n, n) + n * np.eye(n, dtype=np.float32)
    b = _floats(random, n)
    want = np.linalg.solve(a.astype(float), b)
    bench, multiples = _module("solving"), np.zeros(n, np.float32)
    for column in range(n - 1):
        a, multiples = bench.run("gaussian_multiples", (n,), (32,), n, column, a, multiples)
        multiples, a, b = bench.run(
            "gaussian_eliminate", (n - column, n - column - 1), (8, 4), n, column, multiples, a, b
        )
    x = np.zeros(n)
    for row in reversed(range(n)):
        x[row] = (b[row] - a[row, row + 1 :] @ x[row + 1 :]) / a[row, row]
    np.testing.assert_allclose(x, want, atol=1e-5)


# ── Counting, graphs, points ─────────────────────────────────────────────────────────────────────


def test_psort_is_stable_among_equals(random: np.random.Generator) -> None:
    x = np.append(_floats(random, 60).round(1), np.float32([0.0, -0.0, 3, 3]))
    _, got = _module("sorting").run("psort", (64,), (32,), 64, x, np.zeros_like(x))
    np.testing.assert_array_equal(got.view(np.int32), np.sort(x, kind="stable").view(np.int32))


def test_histogram(random: np.random.Generator) -> None:
    values = random.integers(0, 256, 2000).astype(np.uint8)
    _, got = _module("sorting").run(
        "histogram", (256,), (64,), 2000, values, np.zeros(256, np.uint32)
    )
    np.testing.assert_array_equal(got, np.bincount(values, minlength=256))


def test_bfs(random: np.random.Generator) -> None:
    n = 80
    adjacent = random.random((n, n)) < 0.025
    adjacent[np.arange(9), np.arange(1, 10)] = True
    offsets = np.append(0, adjacent.sum(1).cumsum()).astype(np.int32)
    edges = np.nonzero(adjacent)[1].astype(np.int32)
    levels = np.full(n, -1, np.int32)
    levels[0] = 0
    something, level = np.ones(1, np.int32), 0
    while something[0]:
        _, _, levels, something = _module("graphs").run(
            "bfs", (n,), (64,), n, level, offsets, edges, levels, np.zeros(1, np.int32)
        )
        level += 1
    assert list(levels) == _breadth_first(adjacent)
    assert level > 3  # there were several steps


def _breadth_first(adjacent: Array) -> list[int]:
    levels = [-1] * len(adjacent)
    levels[0] = 0
    queue = [0]
    for v in queue:
        for other in np.nonzero(adjacent[v])[0]:
            if levels[other] < 0:
                levels[other] = levels[v] + 1
                queue.append(int(other))
    return levels


def test_kmeans_step(random: np.random.Generator) -> None:
    points, centres = _floats(random, 100, 3), _floats(random, 5, 3)
    centres[4] = 100  # has no points and stays
    owner, moved = np.zeros(100, np.int32), np.zeros(1, np.int32)
    bench = _module("clusters")
    _, _, owner, moved = bench.run(
        "kmeans_assign", (100,), (64,), 100, 5, 3, points, centres, owner, moved
    )
    distances = ((points[:, None].astype(float) - centres) ** 2).sum(-1)
    np.testing.assert_array_equal(owner, distances.argmin(1))
    assert moved[0] == 1
    *_, got = bench.run("kmeans_update", (96, 5), (32,), 100, 3, points, owner, centres)
    means = [points[owner == c].mean(0) if (owner == c).any() else centres[c] for c in range(5)]
    np.testing.assert_allclose(got, means, atol=1e-5)


def test_nearest_neighbour(random: np.random.Generator) -> None:
    points, target = _floats(random, 200, 2), _floats(random, 2)
    nearest = np.full(1, 2**64 - 1, np.uint64)
    *_, nearest = _module("clusters").run(
        "nearest_neighbour", (200,), (64,), 200, 2, points, target, nearest
    )
    distances = ((points - target) ** 2).sum(1)
    assert int(nearest[0]) & 0xFFFFFFFF == distances.argmin()


# ── Finance, networks ────────────────────────────────────────────────────────────────────────────


def test_blackscholes(random: np.random.Generator) -> None:
    n = 100
    price, strike = (random.uniform(5, 100, n).astype(np.float32) for _ in range(2))
    years = random.uniform(0.25, 10, n).astype(np.float32)
    zeros = np.zeros(n, np.float32)
    *_, call, put = _module("finance").run(
        "blackscholes", (n,), (64,), n, 0.02, 0.3, price, strike, years, zeros, zeros
    )
    below = np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))
    s, k, t = (a.astype(float) for a in (price, strike, years))
    d1 = (np.log(s / k) + (0.02 + 0.045) * t) / (0.3 * np.sqrt(t))
    d2 = d1 - 0.3 * np.sqrt(t)
    want = s * below(d1) - k * np.exp(-0.02 * t) * below(d2)
    np.testing.assert_allclose(call, want, atol=2e-5)
    np.testing.assert_allclose(put, want - s + k * np.exp(-0.02 * t), atol=2e-5)


@pytest.mark.parametrize(
    ("kernel", "exact"),
    [
        ("relu", lambda x: np.maximum(x, 0)),
        ("gelu", lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("tanh", np.tanh),
    ],
)
def test_activations(random: np.random.Generator, kernel: str, exact: Any) -> None:
    x = 3 * _floats(random, 100)
    _, got = _module("networks").run(kernel, (100,), (64,), 100, x, np.zeros_like(x))
    np.testing.assert_allclose(got, exact(x.astype(float)), atol=1e-6)


def test_products_and_biases(random: np.random.Generator) -> None:
    x, y, bias = _floats(random, 6, 10), _floats(random, 6, 10), _floats(random, 10)
    bench = _module("networks")
    *_, product = bench.run("multiply", (60,), (64,), 60, x, y, np.zeros_like(x))
    np.testing.assert_array_equal(product, x * y)
    _, moved = bench.run("add_bias", (10, 6), (8, 8), 10, 6, bias, x)
    np.testing.assert_array_equal(moved, x + bias)


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize("n", [1, 100, 130])
def test_softmax(random: np.random.Generator, n: int) -> None:
    x = 10 * _floats(random, 3, n)
    _, got = _module("networks").run("softmax", (3 * 64,), (64,), n, x, np.zeros_like(x))
    np.testing.assert_allclose(got, _softmax(x.astype(float)), atol=1e-6)


def test_layer_norm(random: np.random.Generator) -> None:
    x, gain, bias = 5 * _floats(random, 2, 100) + 3, _floats(random, 100), _floats(random, 100)
    *_, got = _module("networks").run(
        "layer_norm", (2 * 64,), (64,), 100, 1e-5, x, gain, bias, np.zeros_like(x)
    )
    wide = x.astype(float)
    deviation = np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    want = (wide - wide.mean(-1, keepdims=True)) / deviation * gain + bias
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_attention(random: np.random.Generator, causal: bool) -> None:
    n, d = 40, 12
    q, k, v = (_floats(random, n, d) for _ in range(3))
    *_, got = _module("networks").run(
        "attention", (n * 32,), (32,), n, d, causal, q, k, v, np.zeros_like(q)
    )
    scores = q.astype(float) @ k.T / math.sqrt(d)
    if causal:
        scores[np.triu_indices(n, 1)] = -np.inf
    np.testing.assert_allclose(got, _softmax(scores) @ v, atol=1e-5)
